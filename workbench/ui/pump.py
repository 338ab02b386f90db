"""The one pump: calls the views' refresh a few times a second, on the main thread, as long as there is news."""

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

    def settle(self, action: Callable[[], None]) -> None:
        """Do something after the page's earlier messages were handled.

        JupyterLab sends a widget's first message to the main thread and its later ones to a subshell's thread, so that a
        click can overtake the value typed before it. On the main thread the action is put off a little; on any other this
        waits until the main thread has had its turn, at most a second, since a long cell may keep it busy.
        """
        if self._loop is None or self._loop.is_closed():
            action()
        elif threading.current_thread() is threading.main_thread():
            self._loop.call_later(SETTLE_SECONDS, action)
        else:
            turn = threading.Event()
            loop = self._loop
            loop.call_soon_threadsafe(lambda: loop.call_later(SETTLE_SECONDS, turn.set))
            turn.wait(1.0)
            action()

    def _schedule(self, seconds: float | None = None) -> None:
        if not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_later(self._pause() if seconds is None else seconds, self._run)

    def _run(self) -> None:
        self._scheduled = False
        try:
            more = self._tick()
        except Exception:  # such as a log that cannot be read just now: the event loop tells it, and the views go on
            self._schedule(RETRY_SECONDS)
            raise
        if more:
            self._schedule()
