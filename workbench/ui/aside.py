"""Work that views wait for, such as a diagnosis: done beside the main thread, told on it."""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, NamedTuple

from workbench.core.errors import WorkbenchError

__all__ = ["Aside", "keep_traceback"]

LOGGER = logging.getLogger("workbench")


def keep_traceback(error: BaseException, what: str) -> None:
    """Of an error that a view tells in one line: the traceback into Python's logger "workbench", and where `%tb` finds it.

    An error of this package's own (`WorkbenchError`) says all there is to say, and leaves none. what: what raised it.
    """
    if not isinstance(error, WorkbenchError):
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
        LOGGER.error("unexpected error (%s): %r", what, error, exc_info=error)


class _Piece(NamedTuple):
    work: Callable[[], Any]
    then: Callable[[Any, Exception | None], object]


class _Outcome(NamedTuple):
    key: str
    then: Callable[[Any, Exception | None], object]
    result: Any
    error: Exception | None


class Aside:
    """Pieces of work by key, one of each key at a time. wake: called when there is something to deliver, on any thread.

    An error that is none of this package's own is a bug, here or in the user's model: besides being told, it leaves its
    traceback (`keep_traceback`), once as long as the same work raises the same.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: dict[str, _Piece | None] = {}
        self._found: deque[_Outcome] = deque()
        self._kept: dict[str, str] = {}

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
            key, then, result, error = self._found.popleft()
            if error is not None and repr(error) != self._kept.get(key):
                keep_traceback(error, key)
            self._kept[key] = repr(error)
            then(result, error)

    def _start(self, key: str, piece: _Piece) -> None:
        threading.Thread(
            target=copy_context().run, args=[self._run, key, piece], name=f"workbench-{key}", daemon=True
        ).start()

    def _run(self, key: str, piece: _Piece) -> None:
        while True:
            try:
                result, error = piece.work(), None
            except Exception as raised:  # told where its result would have been
                result, error = None, raised
            self._found.append(_Outcome(key, piece.then, result, error))
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
