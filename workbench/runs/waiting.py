"""Waiting for work in the background, with the views kept live: what every handle has in common."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from typing import Any, Self

from workbench.core.registry import Scoped, user_choices

__all__ = ["RunInterrupted", "Waiting"]

PUMP_SECONDS = 1 / 15
HELD_UP_SECONDS = 1.0
"""After this time the views show that a cell waits."""


class RunInterrupted(KeyboardInterrupt):
    """The kernel's interrupt reached a waiting cell: the run was stopped and what it did is in the log."""

    def _render_traceback_(self) -> list[str]:
        """IPython shows these lines in place of a traceback: nothing went wrong."""
        return [str(self)]


class Waiting(Scoped, ABC):
    """Work under way that can be waited for, or awaited. The worker sets `error`, then `_done`.

    pump: refreshes the views, called on the main thread while it waits there.
    """

    def __init__(self, pump: Callable[[], object] | None) -> None:
        self.choices = user_choices().copy()  # what the work uses is fixed when it is made
        self.error: BaseException | None = None
        self._pump = pump
        self.held_up = False
        """Whether a cell waits for it in the main thread, which also handles clicks."""
        self._done = threading.Event()

    @abstractmethod
    def stop(self) -> None:
        """Ask it to end soon."""

    def wait(self, timeout: float | None = None) -> Self:
        """Block until it has ended, with the views kept live. Returns the handle itself.

        timeout: seconds, None for no limit. Raises: TimeoutError; the error that ended it, if one did; RunInterrupted (a
        KeyboardInterrupt) after the kernel's interrupt, once it has been stopped cleanly.
        """
        try:
            self._block(timeout)
        except KeyboardInterrupt:
            self.stop()
            self._block(None)
            raise RunInterrupted(f"Stopped by the interrupt ({self._kept()}).") from None
        self._raise_error()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        while not self._done.is_set():
            yield from asyncio.sleep(PUMP_SECONDS).__await__()
            self._refresh()
        self._refresh()
        self._raise_error()
        return self

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._done.is_set()

    def _called(self) -> str:
        """What it is called in messages."""
        return repr(self)

    def _kept(self) -> str:
        """Its state, for the message after an interrupt has stopped it."""
        return self._called()

    def _block(self, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        in_main, began = threading.current_thread() is threading.main_thread(), time.monotonic()
        try:
            while not self._done.wait(PUMP_SECONDS):
                self.held_up = in_main and time.monotonic() - began > HELD_UP_SECONDS
                self._refresh()
                if deadline is not None and time.monotonic() > deadline:
                    raise TimeoutError(
                        f"{self._called()} has not ended after {timeout:g} s; it goes on in the background"
                    )
        finally:
            self.held_up = False
            self._refresh()

    def _refresh(self) -> None:
        if self._pump is not None and threading.current_thread() is threading.main_thread():
            self._pump()

    def _raise_error(self) -> None:
        if self.error is not None:
            raise self.error
