"""What may be said to a running training loop: set, pause, resume, stop. The loop reads it at its next step boundary."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, NamedTuple

from workbench.errors import ConfigError, Problem, did_you_mean
from workbench.hyperparameters import HYPERPARAMETERS

__all__ = ["Commands", "SetValue", "live_value"]


class SetValue(NamedTuple):
    """Change a live hyperparameter; `trial` None means every trial of the run."""

    name: str
    value: float
    trial: int | None = None


def live_value(name: str, value: object) -> Any:
    """A value for a hyperparameter that may change during a run, checked. Raises: ConfigError."""
    live = [known for known, hyperparameter in HYPERPARAMETERS.items() if hyperparameter.live]
    if name not in live:
        known = f"; live are {', '.join(live)}" if name in HYPERPARAMETERS else did_you_mean(name, live)
        raise ConfigError([Problem(name, value, f"{name} cannot be changed while a trial runs{known}")])
    return HYPERPARAMETERS[name].check(value)


class Commands:
    """A thread-safe way into a training loop. Any thread may call; only the loop takes."""

    def __init__(self) -> None:
        self._changes: deque[SetValue] = deque()
        self._wake = threading.Condition()
        self._paused = False
        self._stopped = False
        self.pending = False
        """Whether there is something to read: a plain attribute, so that a step's look costs next to nothing."""

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

    @property
    def paused(self) -> bool:
        return self._paused and not self._stopped

    @property
    def stopped(self) -> bool:
        return self._stopped

    def take(self) -> list[SetValue]:
        """The changes since the last look, in order."""
        with self._wake:
            changes = list(self._changes)
            self._changes.clear()
            self.pending = self._stopped or self._paused
            return changes

    def wait(self, *, for_changes: bool = True) -> None:
        """Sleep while paused, until a resume or a stop, or a change arrives."""
        with self._wake:
            self._wake.wait_for(lambda: (for_changes and self._changes) or not self._paused or self._stopped)

    def wait_for_stop(self, seconds: float) -> None:
        """Sleep until a stop, at most `seconds`."""
        with self._wake:
            self._wake.wait_for(lambda: self._stopped, timeout=seconds)
