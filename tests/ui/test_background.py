"""Background work: its result is delivered on the main thread; of those that wait, only the newest is done."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from workbench.core.errors import RunError
from workbench.ui.dispatch import Background


class Awaited:
    """Background work whose results can be awaited."""

    def __init__(self) -> None:
        self._woken = threading.Semaphore(0)
        self.background = Background(self._woken.release)
        self.results: list[Any] = []

    def done(self, name: str) -> Callable[[Any, Exception | None], None]:
        return lambda result, error: self.results.append((name, result, error, threading.current_thread()))

    def deliver(self) -> None:
        assert self._woken.acquire(timeout=30)
        self.background.deliver()


def test_the_result_is_delivered_on_the_thread_that_asks_for_it() -> None:
    awaited = Awaited()
    awaited.background.submit("a", lambda: threading.current_thread(), awaited.done("one"))
    awaited.deliver()
    ((name, worker, error, receiver),) = awaited.results
    assert (name, error) == ("one", None)
    assert receiver is threading.current_thread() is not worker


def test_an_exception_is_delivered_too() -> None:
    awaited = Awaited()
    awaited.background.submit("a", lambda: 1 / 0, awaited.done("one"))
    awaited.deliver()
    assert isinstance(awaited.results[0][2], ZeroDivisionError)
    awaited.background.submit("a", lambda: 2, awaited.done("two"))
    awaited.deliver()
    assert awaited.results[1][:3] == ("two", 2, None)


def test_of_those_that_wait_only_the_newest_is_done() -> None:
    awaited, go = Awaited(), threading.Event()
    awaited.background.submit("a", go.wait, awaited.done("first"))
    for name in ("second", "third"):
        awaited.background.submit("a", lambda: None, awaited.done(name))
    awaited.background.submit("b", lambda: None, awaited.done("another key"))
    awaited.deliver()
    assert [result[0] for result in awaited.results] == ["another key"]
    assert awaited.background.busy("a")
    go.set()
    awaited.deliver()
    awaited.deliver()
    assert [result[0] for result in awaited.results][1:] == ["first", "third"]
    assert not awaited.background.busy("a")


def test_an_unexpected_error_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    awaited = Awaited()

    def expected() -> None:
        raise RunError("no trial")

    def broken() -> None:
        raise KeyError("x")

    with caplog.at_level(logging.ERROR, "workbench"):
        for work in (expected, broken, broken, expected, broken):
            awaited.background.submit("a", work, awaited.done("one"))
            awaited.deliver()
    assert [type(result[2]) for result in awaited.results] == [RunError, KeyError, KeyError, RunError, KeyError]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [
        KeyError,
        KeyError,
    ]  # once while it lasts
    assert "in broken" in caplog.text
