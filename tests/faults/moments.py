"""The named moments at which a victim ends: as by `kill -9`, always at the same place."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from itertools import count
from typing import Any

from sqlalchemy import Engine, event

import workbench as wb
from workbench.core.events import EpochEnd, TrialEnded
from workbench.methods.search.arm import Arm

MOMENTS = {
    "configuration asked": "in the middle of a search's ask: drawn, and not in the log yet",
    "trials created": "the log has new trials, nobody trains them yet",
    "epoch inserted": "the rows of an epoch are inserted, their transaction is not committed",
    "epoch committed": "the log has an epoch, nobody has heard of it",
    "end committed": "the log has a trial's end, nobody has heard of it",
    "checkpoint written": "a checkpoint is complete, under its temporary name",
    "checkpoint renamed": "a checkpoint is in its place",
    "event committed": "the log has an event with the given values",
}
"""What has happened when the process ends."""

PATIENCE = 60.0
HELD = 20
"""Epochs after which training waits for the thread that writes checkpoints to come to its moment."""


class Moment:
    """Ends this process the `count`-th time that something happens.

    values: attributes that an event has to have to count, and its class as "kind"; for those about events only.
    asked: set when all that the process was to start is in the log, so that the outcome does not depend on how far its main
    thread had come.
    """

    def __init__(self, name: str, count: int, values: dict[str, Any], asked: threading.Event) -> None:
        self.name, self._left, self._values, self._asked = name, count, values, asked
        self._lock = threading.Lock()

    def happens(self, name: str, times: int = 1) -> bool:
        """Count; whether this is the moment."""
        if name != self.name or not times:
            return False
        with self._lock:
            before, self._left = self._left, self._left - times
        return before > 0 >= self._left

    def counted(self, events: list[Any]) -> int:
        """How many of the events are meant."""
        kinds = {"epoch inserted": EpochEnd, "epoch committed": EpochEnd, "end committed": TrialEnded}
        meant = [one for one in events if isinstance(one, kinds.get(self.name, object))]
        return sum(all(_value(one, name) == value for name, value in self._values.items()) for one in meant)

    def end(self) -> None:
        """End the process without a goodbye."""
        self.wait_until_asked()
        os.kill(os.getpid(), signal.SIGKILL)

    def wait_until_asked(self) -> None:
        self._asked.wait(PATIENCE)


def _value(event: Any, name: str) -> Any:
    return type(event).__name__ if name == "kind" else getattr(event, name, None)


def install(moment: Moment) -> None:
    """Have this process end at the moment."""
    inserting = threading.local()
    epochs = count(1)

    def appended(real: Callable[..., Any]) -> Callable[..., Any]:
        def append(log: wb.TrialLog, events: Any, **about: Any) -> None:
            events = list(events)
            counted = moment.counted(events)
            inserting.ends = moment.happens("epoch inserted", counted)
            if inserting.ends:
                moment.wait_until_asked()  # before the transaction: the main thread writes too
            real(log, events, **about)
            if (
                any(isinstance(one, EpochEnd) for one in events)
                and next(epochs) == HELD
                and "checkpoint" in moment.name
            ):
                threading.Event().wait(PATIENCE)
            if any(moment.happens(name, counted) for name in ("epoch committed", "end committed", "event committed")):
                moment.end()

        return append

    def after(owner: type, name: str, what: str) -> None:
        real = getattr(owner, name)

        def call(*given: Any, **named: Any) -> Any:
            result = real(*given, **named)
            if moment.happens(what):
                moment.end()
            return result

        setattr(owner, name, call)

    def committing(_connection: Any) -> None:
        if getattr(inserting, "ends", False):
            moment.end()

    def replace(source: Any, target: Any, *, real: Callable[[Any, Any], None] = os.replace) -> None:
        checkpoint = str(target).endswith(".pt")
        if checkpoint and moment.happens("checkpoint written"):
            moment.end()
        real(source, target)
        if checkpoint and moment.happens("checkpoint renamed"):
            moment.end()

    wb.TrialLog.append = appended(wb.TrialLog.append)  # type: ignore[method-assign]
    after(wb.TrialLog, "create", "trials created")
    after(Arm, "ask", "configuration asked")
    event.listen(Engine, "commit", committing)
    os.replace = replace  # type: ignore[assignment]
