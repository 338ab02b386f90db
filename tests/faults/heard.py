"""What a runner says while it works, to be waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import workbench as wb
from workbench.core.events import EpochEnd, Event, Message

PATIENCE = 60.0
"""Seconds to wait for what has to come, before the test fails."""


class Heard:
    """What the runner publishes, kept, to be waited for. Does something once, after an epoch was published."""

    def __init__(self, bench: wb.Workbench, after_epoch: int, do: Callable[[], None]) -> None:
        self.events: list[Event] = []
        self._news = threading.Condition()
        self._after_epoch, self._do = after_epoch, do
        bench.presenter.session.subscribe(self._take)

    def _take(self, events: Sequence[Event]) -> None:
        with self._news:
            self.events += events
            self._news.notify_all()
        if any(isinstance(one, EpochEnd) and one.epoch == self._after_epoch for one in events):
            self._after_epoch = 0  # once
            self._do()

    @property
    def messages(self) -> list[str]:
        return [one.message for one in self.events if isinstance(one, Message)]

    @property
    def epochs(self) -> list[EpochEnd]:
        return [one for one in self.events if isinstance(one, EpochEnd)]

    def wait_for_remark(self, part: str) -> str:
        with self._news:
            found = self._news.wait_for(lambda: [text for text in self.messages if part in text], PATIENCE)
        assert found, f"nothing was said of {part!r}: {self.messages}"
        return found[0]
