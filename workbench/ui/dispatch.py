"""The entry point for requests: put into a queue on whatever thread a click arrives, done on the main one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from workbench.core.errors import WorkbenchError
from workbench.ui.aside import Aside, keep_traceback
from workbench.ui.parts import said

__all__ = ["Dispatch"]


class Dispatch:
    """A queue of requests. `ask` may be called on any thread, all else is for the main thread.

    A click calls `ask(self.build_ensemble, 5, None)`: that puts the request into the queue and wakes the pump. The next `tick`
    does what was asked; work that takes its time goes to `aside`.

    show_error: shows what a request raises. wake: wakes the pump, on any thread.
    """

    def __init__(self, show_error: Callable[[Exception], object], wake: Callable[[], None]) -> None:
        self._show_error, self._wake = show_error, wake
        self._asked: deque[Callable[[], object]] = deque()
        self.aside = Aside(wake)

    def ask(self, action: Callable[..., object], *arguments: Any) -> None:
        """Have something done at the next tick. Any thread."""
        self._asked.append(partial(action, *arguments))
        self._wake()

    def tick(self) -> None:
        """Do what was asked, and show what came of work that was begun before."""
        while self._asked:
            request = self._asked.popleft()
            try:
                request()
            except Exception as error:  # of one request: the others are done all the same
                keep_traceback(error, "a click")
                self._show_error(error)
        self.aside.deliver()

    def fail(self, show: Callable[[str], object], error: BaseException) -> None:
        """Show an error where the click was; one that nobody foresaw stays under the buttons as well."""
        show(said(error))
        if isinstance(error, Exception) and not isinstance(error, WorkbenchError):
            self._show_error(error)
