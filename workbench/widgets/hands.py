"""Whether somebody's hands are on the views of a page, as the page tells it."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Hands"]

PATIENCE = 60.0
"""Seconds for which hands are believed to be there without word from the page, which repeats it every 20 seconds: one that was
closed while something was held tells nothing any more."""


class Hands:
    """What the page said last. Every method may be called from any thread.

    patience: seconds after which hands that are not heard of are taken for gone.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._words = 0  # how often the page has said something
        self._held = False
        self._callbacks: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    @property
    def held(self) -> bool:
        """Whether a view that is made anew now would be torn from somebody's hands."""
        return self._held

    def on_release(self, callback: Callable[[], object]) -> None:
        """Calls `callback()` when the hands have gone. It may run on another thread: let it only enqueue."""
        self._callbacks.append(callback)

    def tell(self, held: bool) -> None:
        """Take what the page says."""
        with self._lock:
            self._words += 1
            before, self._held = self._held, held
            if held:
                timer = threading.Timer(self._patience, self._give_up, [self._words])
                timer.daemon, timer.name = True, "workbench-hands"
                timer.start()
        if before and not held:
            self._released()

    def _give_up(self, words: int) -> None:
        """At the end of the patience. words: how many there had been when it began."""
        with self._lock:
            if words != self._words:
                return
            self._held = False
        self._released()

    def _released(self) -> None:
        for callback in tuple(self._callbacks):
            callback()
