"""The entry point for requests: a click on any thread puts one into the queue, the main thread executes it."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple

from workbench.core.errors import WorkbenchError
from workbench.ui.parts import error_text

__all__ = ["Background", "Dispatch", "ShowText", "keep_traceback"]

LOGGER = logging.getLogger("workbench")
ORDER_SECONDS = 1.0
"""A request waits at most this long for the page's earlier messages."""

ShowText = Callable[[str], object]
Done = Callable[[Any, Exception | None], object]


class _Request:
    """A request in the queue. ready: whether the page's earlier messages were handled."""

    def __init__(self, action: Callable[[], object], show: ShowText | None) -> None:
        self.action, self.show = action, show
        self.ready = False
        self._latest = time.monotonic() + ORDER_SECONDS

    @property
    def due(self) -> bool:
        return self.ready or time.monotonic() > self._latest


class Dispatch:
    """A queue of requests. `ask` may be called on any thread, all else is for the main thread.

    A click calls `ask(self.build_ensemble, 5, None)`, which only enqueues and wakes the pump. The next `tick` executes the
    request; work that takes longer goes to `background`.

    show_error: shows an error of a request, given the error and the request's `show`. wake: wakes the pump, on any thread.
    after_messages: calls a function once the page's earlier messages were handled (see `Pump.after_messages`).
    """

    def __init__(
        self,
        show_error: Callable[[Exception, ShowText | None], object],
        wake: Callable[[], None],
        after_messages: Callable[[Callable[[], None]], None],
    ) -> None:
        self._show_error, self._wake, self._after_messages = show_error, wake, after_messages
        self._requests: deque[_Request] = deque()
        self.background = Background(wake)

    def ask(self, action: Callable[..., object], *arguments: Any, show: ShowText | None = None) -> None:
        """Enqueue a request. Any thread.

        show: shows the message of an error next to what was clicked; by default under the buttons of the run.
        """
        request = _Request(partial(action, *arguments), show)
        self._requests.append(request)
        self._after_messages(partial(self._release, request))

    def tick(self) -> None:
        """Execute the requests in the queue, and deliver the results of background work."""
        while self._requests and self._requests[0].due:
            request = self._requests.popleft()
            try:
                request.action()
            except Exception as error:  # the other requests are executed all the same
                keep_traceback(error, "a click")
                self._show_error(error, request.show)
        self.background.deliver()

    def fail(self, show: ShowText, error: BaseException) -> None:
        """Show an error of background work next to what was clicked; an unexpected one under the buttons of the run too."""
        show(error_text(error))
        if isinstance(error, Exception) and not isinstance(error, WorkbenchError):
            self._show_error(error, None)

    def _release(self, request: _Request) -> None:
        request.ready = True
        self._wake()


def keep_traceback(error: BaseException, what: str) -> None:
    """Log the traceback of an unexpected error, of which a view shows one line, and keep it where `%tb` finds it.

    A `WorkbenchError` is complete with its message and leaves no traceback. what: what raised it.
    """
    if not isinstance(error, WorkbenchError):
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
        LOGGER.error("unexpected error (%s): %r", what, error, exc_info=error)


class _Work(NamedTuple):
    work: Callable[[], Any]
    done: Done


class _Outcome(NamedTuple):
    key: str
    done: Done
    result: Any
    error: Exception | None


class Background:
    """Work that a view waits for, such as a diagnosis: done in a thread for each key, its result delivered on the main thread.

    wake: called on any thread when there is a result to deliver. An unexpected error leaves its traceback
    (`keep_traceback`), once for as long as the same work raises the same.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: dict[str, _Work | None] = {}
        self._outcomes: deque[_Outcome] = deque()
        self._logged: dict[str, str] = {}

    def submit(self, key: str, work: Callable[[], Any], done: Done) -> None:
        """Do some work soon; of several that wait under one key, only the newest is done.

        done: called by `deliver` with the result and None, or with None and the exception.
        """
        work = partial(copy_context().run, work)  # with the choices of the Workbench that asks
        with self._lock:
            busy = key in self._waiting
            self._waiting[key] = _Work(work, done) if busy else None
        if not busy:
            name = f"workbench-{key}"
            threading.Thread(target=self._run, args=[key, _Work(work, done)], name=name, daemon=True).start()

    def busy(self, key: str) -> bool:
        """Whether work under this key is going on."""
        return key in self._waiting

    def deliver(self) -> None:
        """Hand over the results of what is done. Main thread."""
        while self._outcomes:
            key, done, result, error = self._outcomes.popleft()
            if error is not None and repr(error) != self._logged.get(key):
                keep_traceback(error, key)
            self._logged[key] = repr(error)
            done(result, error)

    def _run(self, key: str, one: _Work) -> None:
        following: _Work | None = one
        while following is not None:
            current = following
            try:
                result, error = current.work(), None
            except Exception as raised:  # delivered in place of the result
                result, error = None, raised
            self._outcomes.append(_Outcome(key, current.done, result, error))
            with self._lock:
                following = self._waiting[key]
                if following is None:
                    del self._waiting[key]
                else:
                    self._waiting[key] = None
            self._wake()
