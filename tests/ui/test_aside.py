"""Work beside the main thread: told on it, the newest of those that wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from workbench.core.errors import RunError
from workbench.ui.aside import Aside


class Waiting:
    """An Aside whose deliveries can be awaited."""

    def __init__(self) -> None:
        self._news = threading.Semaphore(0)
        self.aside = Aside(self._news.release)
        self.told: list[Any] = []

    def then(self, name: str) -> Callable[[Any, Exception | None], None]:
        return lambda result, error: self.told.append((name, result, error, threading.current_thread()))

    def deliver(self) -> None:
        assert self._news.acquire(timeout=30)
        self.aside.deliver()


def test_the_result_is_told_on_the_thread_that_delivers() -> None:
    waiting = Waiting()
    waiting.aside.ask("a", lambda: threading.current_thread(), waiting.then("one"))
    waiting.deliver()
    ((name, worker, error, teller),) = waiting.told
    assert (name, error) == ("one", None)
    assert teller is threading.current_thread() is not worker


def test_what_is_raised_is_told_too() -> None:
    waiting = Waiting()
    waiting.aside.ask("a", lambda: 1 / 0, waiting.then("one"))
    waiting.deliver()
    assert isinstance(waiting.told[0][2], ZeroDivisionError)
    waiting.aside.ask("a", lambda: 2, waiting.then("two"))
    waiting.deliver()
    assert waiting.told[1][:3] == ("two", 2, None)


def test_of_those_that_wait_only_the_newest_is_done() -> None:
    waiting, go = Waiting(), threading.Event()
    waiting.aside.ask("a", go.wait, waiting.then("first"))
    for name in ("second", "third"):
        waiting.aside.ask("a", lambda: None, waiting.then(name))
    waiting.aside.ask("b", lambda: None, waiting.then("another key"))
    waiting.deliver()
    assert [told[0] for told in waiting.told] == ["another key"]
    assert waiting.aside.busy("a")
    go.set()
    waiting.deliver()
    waiting.deliver()
    assert [told[0] for told in waiting.told][1:] == ["first", "third"]
    assert not waiting.aside.busy("a")


def test_an_error_that_nobody_foresaw_goes_into_the_log_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    waiting = Waiting()

    def foreseen() -> None:
        raise RunError("no trial")

    def broken() -> None:
        raise KeyError("x")

    with caplog.at_level(logging.ERROR, "workbench"):
        for work in (foreseen, broken, broken, foreseen, broken):
            waiting.aside.ask("a", work, waiting.then("one"))
            waiting.deliver()
    assert [type(told[2]) for told in waiting.told] == [RunError, KeyError, KeyError, RunError, KeyError]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [
        KeyError,
        KeyError,
    ]  # once while it lasts
    assert "in broken" in caplog.text
