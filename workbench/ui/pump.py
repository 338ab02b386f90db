"""The pump: refreshes the views a few times a second, on the main thread, as long as there is something new."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

__all__ = ["TICK_SECONDS", "Pump"]

TICK_SECONDS = 1 / 15
SETTLE_SECONDS = 0.05
RETRY_SECONDS = 1.0


class Pump:
    """Calls `tick` until it returns False, with pauses of `pause()` seconds; `wake` starts it again.

    In a notebook the ticks come from the kernel's event loop, between cells and while a cell awaits. Without a running
    loop (a plain script) nothing is scheduled, and only a blocking `wait()` ticks.
    """

    def __init__(self, tick: Callable[[], bool], pause: Callable[[], float] = lambda: TICK_SECONDS) -> None:
        self._tick = tick
        self._pause = pause
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False

    def wake(self) -> None:
        """Schedule a tick. May be called from any thread."""
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

    def after_messages(self, action: Callable[[], None]) -> None:
        """Call an action after the main thread has handled the page's earlier messages; without an event loop, at once.

        JupyterLab sends a widget's first message to the main thread and its later ones to a subshell's thread, where a
        click can overtake the value typed before it. May be called from any thread, and does not wait.
        """
        loop = self._loop
        if loop is None or loop.is_closed():
            action()
        else:
            loop.call_soon_threadsafe(loop.call_later, SETTLE_SECONDS, action)

    def _schedule(self, seconds: float | None = None) -> None:
        if not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_later(self._pause() if seconds is None else seconds, self._run)

    def _run(self) -> None:
        self._scheduled = False
        try:
            more = self._tick()
        except (
            Exception
        ):  # such as a log that cannot be read just now: the event loop reports it, and the next tick tries again
            self._schedule(RETRY_SECONDS)
            raise
        if more:
            self._schedule()
