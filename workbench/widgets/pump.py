"""The one pump: calls the views' refresh a few times a second, on the main thread, as long as there is news."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

__all__ = ["Pump"]


class Pump:
    """Calls `tick` at most about 15 times a second until it returns False; `wake` starts it again.

    In a notebook the ticks come from the kernel's event loop, between cells and while a cell awaits. Without a running
    loop (a plain script) nothing is scheduled, and only a blocking `wait()` ticks.
    """

    def __init__(self, tick: Callable[[], bool], seconds: float = 1 / 15) -> None:
        self._tick = tick
        self._seconds = seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False

    def wake(self) -> None:
        """There is news. May be called from any thread."""
        if threading.current_thread() is threading.main_thread():
            try:
                self._loop = asyncio.get_running_loop()
            except RuntimeError:
                return
            self._schedule()
        elif self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._schedule)

    def attach(self) -> None:
        """Remember the event loop of this (the main) thread, so that other threads can wake the pump."""
        if threading.current_thread() is threading.main_thread():
            try:
                self._loop = asyncio.get_running_loop()
            except RuntimeError:
                self._loop = None

    def _schedule(self) -> None:
        if not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_later(self._seconds, self._run)

    def _run(self) -> None:
        self._scheduled = False
        if self._tick():
            self._schedule()
