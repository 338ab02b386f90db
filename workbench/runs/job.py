"""The handle of work at the side: what belongs to no trial of the log and trains in a thread of its own."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar
from weakref import WeakSet

from workbench.core.errors import RunError
from workbench.runs.waiting import Waiting

__all__ = ["Job"]

EXIT_SECONDS = 10.0

T = TypeVar("T")


class Job(Waiting, Generic[T]):
    """Work in the background that is no run of the log: `wait()`, `stop()`, `done`, `result`; can be awaited, as a `Run`.

    work: called with the job itself, once, in a daemon thread that `start` makes. It returns the result; it reads `stopped`
    now and then, and returns soon after with what it has, or raises RunError if that is nothing. It may set `progress`.
    name: what the work is called in messages. pump: refreshes the views, called on the main thread while it waits there.
    news: called on the working thread when the progress has changed and at the end; must only enqueue (`Pump.wake`).

    A subclass that is a public handle adds what is read of the result.
    """

    def __init__(
        self,
        work: Callable[[Job[T]], T],
        *,
        name: str,
        pump: Callable[[], object] | None = None,
        news: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(pump)
        self.name = name
        self._work, self._news = work, news
        self._result: list[T] = []
        self._progress = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Begin, and return at once. Starting twice does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name=f"workbench-{self.name.replace(' ', '-')}", daemon=True
            )
            _GOING.add(self)
            self._thread.start()
        return self

    # --- what a person asks of it -----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask it to end soon, with what it has. Stopping twice is fine."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    @property
    def progress(self) -> float:
        """How much of it is done, 0 to 1; set by the work."""
        return self._progress

    @progress.setter
    def progress(self, share: float) -> None:
        self._progress = min(1.0, max(0.0, share))
        self._tell()

    @property
    def result(self) -> T:
        """What came of it. Raises: RunError while it goes on; the error that ended it, if one did."""
        if not self.done:
            raise RunError(f"the {self.name} has not ended yet ({self.progress:.0%} done); wait for it: .wait()")
        self._raise_error()
        return self._result[0]

    def __repr__(self) -> str:
        if self.error is not None:
            state = f"failed ({self.error})"
        elif self.done:
            state = "stopped" if self.stopped else "done"
        else:
            state = f"{self.progress:.0%} done"
        return f"<{type(self).__name__}: {state}>"

    # ----------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with self.choices.active():
                self._result.append(self._work(self))
        except BaseException as error:  # the waiting cell must get the error, whatever it is
            self.error = error
        else:
            self._progress = 1.0
        self._done.set()
        self._tell()

    def _tell(self) -> None:
        if self._news is not None:
            self._news()

    def _called(self) -> str:
        return f"the {self.name}"


_GOING: WeakSet[Job[Any]] = WeakSet()


@atexit.register
def _leave() -> None:
    """At interpreter exit: stop what is running and let its thread finish; torch aborts the process otherwise."""
    jobs = [job for job in _GOING if not job.done]
    for job in jobs:
        job.stop()
    deadline = time.monotonic() + EXIT_SECONDS
    for job in jobs:
        if job._thread is not None:
            job._thread.join(max(0.0, deadline - time.monotonic()))
