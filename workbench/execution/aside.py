"""Work that views wait for, such as a diagnosis: done beside the main thread, told on it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Aside"]


class _Piece(NamedTuple):
    work: Callable[[], Any]
    then: Callable[[Any, Exception | None], object]


class Aside:
    """Pieces of work by key, one of each key at a time. wake: called when there is something to deliver, on any thread."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: dict[str, _Piece | None] = {}
        self._found: deque[Callable[[], object]] = deque()

    def ask(self, key: str, work: Callable[[], Any], then: Callable[[Any, Exception | None], object]) -> None:
        """Do a piece of work soon; of those that wait under one key, only the newest is done.

        then: called by `deliver` with the result and None, or with None and what was raised.
        """
        with self._lock:
            busy = key in self._waiting
            self._waiting[key] = _Piece(work, then) if busy else None
        if not busy:
            self._start(key, _Piece(work, then))

    def busy(self, key: str) -> bool:
        """Whether a piece of work of this key goes on."""
        return key in self._waiting

    def deliver(self) -> None:
        """Tell what came of the pieces that are done. Main thread."""
        while self._found:
            self._found.popleft()()

    def _start(self, key: str, piece: _Piece) -> None:
        threading.Thread(target=self._run, args=[key, piece], name=f"workbench-{key}", daemon=True).start()

    def _run(self, key: str, piece: _Piece) -> None:
        while True:
            try:
                result, error = piece.work(), None
            except Exception as raised:  # told where its result would have been
                result, error = None, raised
            self._found.append(lambda then=piece.then, result=result, error=error: then(result, error))  # type: ignore[misc]
            with self._lock:
                waiting = self._waiting[key]
                if waiting is None:
                    del self._waiting[key]
                else:
                    self._waiting[key] = None
            self._wake()
            if waiting is None:
                return
            piece = waiting
