"""Commands to a running training loop: set, pause, resume, stop, and a request for a copy of a trial's weights.

The loop reads it at its next step boundary.
"""

from __future__ import annotations

import threading
from collections import deque
from queue import SimpleQueue
from typing import Any, NamedTuple

from workbench.core.config import HYPERPARAMETERS
from workbench.core.errors import ConfigError, Problem, did_you_mean
from workbench.training.state import Weights

__all__ = ["Commands", "Mailbox", "Peek", "SetValue", "live_value"]


class SetValue(NamedTuple):
    """Change a live hyperparameter; `trial` None means every trial of the run."""

    name: str
    value: float
    trial: int | None = None


class Peek(NamedTuple):
    """A copy of a trial's weights between two steps, on the device where it trains.

    epoch: finished ones. step: optimizer steps taken. seconds: what the copy took of the training.
    """

    trial: int
    epoch: int
    step: int
    weights: Weights
    seconds: float


Mailbox = SimpleQueue[Peek | None]
"""Receives the answer to a peek; None if the trial does not train in the current cohort."""


def live_value(name: str, value: object) -> Any:
    """A value for a hyperparameter that may change during a run, checked. Raises: ConfigError."""
    live = [known for known, hyperparameter in HYPERPARAMETERS.items() if hyperparameter.live]
    if name not in live:
        known = f"; live are {', '.join(live)}" if name in HYPERPARAMETERS else did_you_mean(name, live)
        raise ConfigError([Problem(name, value, f"{name} cannot be changed while a trial runs{known}")])
    return HYPERPARAMETERS[name].check(value)


class Commands:
    """A thread-safe queue of commands to a training loop. Any thread may add; only the loop takes."""

    def __init__(self) -> None:
        self._changes: deque[SetValue] = deque()
        self._peeks: dict[int, Mailbox] = {}
        self._wake = threading.Condition()
        self._paused = False
        self._stopped = False
        self.waiting = False
        """Whether the loop sleeps, paused, between two steps."""
        self.pending = False
        """Whether there is something to read: a plain attribute, since it is read at each step."""

    def set(self, trial: int | None = None, **values: float) -> None:
        """Change live hyperparameters from the next step on. Raises: ConfigError for one that is not live, or a bad value."""
        checked = [SetValue(name, live_value(name, value), trial) for name, value in values.items()]
        with self._wake:
            self._changes.extend(checked)
            self.pending = True
            self._wake.notify_all()

    def pause(self) -> None:
        self._turn(paused=True)

    def resume(self) -> None:
        self._turn(paused=False)

    def stop(self) -> None:
        """End all trials of the run at the next step; what is done is kept. Ends a pause too."""
        with self._wake:
            self._stopped = self.pending = True
            self._wake.notify_all()

    def _turn(self, *, paused: bool) -> None:
        with self._wake:
            self._paused, self.pending = paused, True
            self._wake.notify_all()

    def peek(self, trial: int, mailbox: Mailbox) -> None:
        """Ask for a copy of a trial's weights at the next step, while paused too. A later request replaces an earlier one.

        It changes neither the training, nor its random numbers, nor its events.
        """
        with self._wake:
            self._peeks[trial] = mailbox
            self.pending = True
            self._wake.notify_all()

    @property
    def paused(self) -> bool:
        return self._paused and not self._stopped

    @property
    def stopped(self) -> bool:
        return self._stopped

    def take(self) -> list[SetValue]:
        """The changes since the last call, in order."""
        with self._wake:
            changes = list(self._changes)
            self._changes.clear()
            self.pending = self._stopped or self._paused or bool(self._peeks)
            return changes

    def take_peeks(self) -> dict[int, Mailbox]:
        """The requests for weights since the last call, by trial."""
        with self._wake:
            peeks, self._peeks = self._peeks, {}
            self.pending = self._stopped or self._paused or bool(self._changes)
            return peeks

    def wait(self, *, for_changes: bool = True) -> None:
        """Sleep while paused, until a resume or a stop, or a change or a peek arrives."""
        with self._wake:
            self.waiting = True
            self._wake.wait_for(
                lambda: (for_changes and self._changes) or self._peeks or not self._paused or self._stopped
            )
            self.waiting = False

    def wait_for_stop(self, seconds: float) -> None:
        """Sleep until a stop, at most `seconds`."""
        with self._wake:
            self._wake.wait_for(lambda: self._stopped, timeout=seconds)
