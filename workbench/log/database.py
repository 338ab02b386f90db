"""The database of a log: opening it, transactions, copies, and what its errors mean."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from workbench.core.errors import LogError
from workbench.log import schema
from workbench.log.rules import APPEND_ONLY, HAS_ENDED

__all__ = ["Database", "explain", "log_name"]

LOCK_SECONDS = 60
"""How long a writer waits for another process's transaction, which takes milliseconds, before an error is raised."""


class Database:
    """Connections to the database of a log. May be used from several threads.

    target: a path (SQLite), an SQLAlchemy URL, or None (in memory). Raises: LogError naming the path and the remedy.
    """

    def __init__(self, target: str | os.PathLike[str] | None) -> None:
        self.name = log_name(target)
        self.engine = _make_engine(target)
        self._writing = self.engine.execution_options(writes=True)
        self._lock = threading.RLock()
        self._in_memory = target is None

    @property
    def url(self) -> str:
        """Where the database is; a password is shown as ***."""
        return _shown_url(self.engine.url)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that reads. Raises: LogError for an error of the database."""
        # in memory all threads share one connection, so they take turns; a file has a connection each
        turn = self._lock if self._in_memory else nullcontext()
        with turn, self._explained(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self, *, exclusive: bool = False) -> Iterator[Connection]:
        """A transaction that writes. Raises: LogError for an error of the database; nothing is written then.

        exclusive: one after another among all processes, for decisions about a trial's owner or the trash. On SQLite every
        writer waits for its turn.
        """
        with self._lock, self._explained(), self._writing.begin() as connection:
            if exclusive and connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"LOCK TABLE {schema.adoptions.name} IN EXCLUSIVE MODE")
            yield connection

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def checkpoint_wal(self) -> None:
        """Write the `-wal` file of an SQLite log into the database file, as far as readers allow; waits for no one.

        Nothing is lost when it fails: SQLite keeps the `-wal` file and writes it at the next occasion.
        """
        if self._in_memory or self.engine.dialect.name != "sqlite":
            return
        # such as a full disk: the log is complete with its `-wal` file, and a run's end must reach those who wait for it
        with suppress(sqlite3.Error, SQLAlchemyError), closing(self.engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").close()

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy an SQLite log into a new file, consistent whatever is written meanwhile.

        Raises: LogError if the file exists or cannot be written, or the log is no SQLite database; no file is left then.
        """
        if self.engine.dialect.name != "sqlite":
            remedy = "copy it with the server's own tool, such as pg_dump"
            raise LogError(f"log={self.name!r}: is on a database server; {remedy}")
        place = Path(path).expanduser()
        try:
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            raise LogError(f"path={str(place)!r}: the file exists; choose another path for the backup") from None
        except OSError as error:
            raise LogError(f"path={str(place)!r}: the backup cannot be written: {error.strerror or error}") from None
        try:
            with (
                self._lock,
                closing(self.engine.raw_connection()) as source,
                closing(sqlite3.connect(place)) as target,
            ):
                assert source.driver_connection is not None
                source.driver_connection.backup(target)
        except BaseException as error:
            place.unlink(missing_ok=True)
            if isinstance(error, sqlite3.Error):
                raise LogError(f"path={str(place)!r}: the backup cannot be written: {error}") from None
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            explained = explain(error, self.name, self.engine.url.password)
            try:
                raise explained
            finally:
                explained.__context__ = None  # the driver's error may hold the password of the URL


def _make_engine(target: str | os.PathLike[str] | None) -> Engine:
    """An engine for a path, an SQLAlchemy URL or None (in memory). Raises: LogError naming the path and the remedy."""
    if target is None:
        # one connection for all threads: each new one would be another, empty database
        arguments: dict[str, Any] = {"check_same_thread": False}
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args=arguments)
    else:
        url = _url(target)
        arguments = {"timeout": LOCK_SECONDS} if url.get_backend_name() == "sqlite" else {}
        failed = ""
        try:
            engine = create_engine(url, connect_args=arguments)
        except (ImportError, NoSuchModuleError, SQLAlchemyError) as error:
            failed = str(error)
        if failed:  # raised here, so that the driver's error is not its context
            raise LogError(f"log={_shown_url(url)!r}: cannot be opened: {failed}; install the database's driver")
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def log_name(target: str | os.PathLike[str] | None) -> str:
    """The name of a log in messages: its path or URL, without a password."""
    if target is None:
        return "in memory"
    if not isinstance(target, (str, os.PathLike)):
        raise LogError(f"log is a {type(target).__name__}: give a path or a URL, or None for a log in memory")
    text = os.fspath(target)
    return _shown_url(_parsed(text)) if "://" in text else text


def _shown_url(url: URL) -> str:
    """A URL for people to read, without the passwords before its host and in its query."""
    secret = [name for name in url.query if "password" in name.lower()]
    return url.difference_update_query(secret).render_as_string(hide_password=True)


def _url(target: str | os.PathLike[str]) -> URL:
    text = os.fspath(target)
    if "://" in text:
        url = _parsed(text)
        if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
            _check_path(Path(url.database))
        return url
    path = Path(text).expanduser()
    _check_path(path)
    return URL.create("sqlite", database=str(path))


def _parsed(text: str) -> URL:
    """Raises: LogError that shows nothing of the text, in which a password may stand anywhere."""
    url = None
    with suppress(ArgumentError, ValueError):  # they hold the text: the LogError must not have them as its context
        url = make_url(text)
    if url is None:
        message = "is no URL that SQLAlchemy understands; write 'postgresql+psycopg://user:password@host/database'"
        raise LogError(f"the log's URL {message}, or give a path such as 'trials.db'")
    if url.host and "@" in url.host:
        raise LogError("the log's URL has more than one '@'; write one in a user name or password as %40")
    return url


def _check_path(path: Path) -> None:
    folder = path.parent
    if not folder.exists():
        raise LogError(
            f"log={str(path)!r}: the folder {str(folder)!r} does not exist; create it or choose another path"
        )
    if path.is_dir():
        raise LogError(f"log={str(path)!r}: is a folder; name a file in it, such as {str(path / 'trials.db')!r}")
    if path.exists() and not os.access(path, os.W_OK):
        raise LogError(f"log={str(path)!r}: the file is read-only; make it writable or choose another path")
    if not os.access(folder, os.W_OK):
        raise LogError(f"log={str(path)!r}: the folder {str(folder)!r} is read-only; choose one you may write to")


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # the driver leaves BEGIN to `_begin_sqlite`
    cursor = connection.cursor()
    # readers do not block the writer; a commit survives the death of the process (a power cut may cost the last ones)
    _switch_to_wal(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _switch_to_wal(cursor: sqlite3.Cursor) -> None:
    """Retry while locked: when several open a new file at once, SQLite fails the switch at once, whatever its timeout."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            locked = error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
            if not locked or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # a writer takes the lock at once and so waits for its turn; upgrading a read lock later could fail instead
    immediate = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


DISK_FULL = "could not be written: the disk is full; free some space. Everything acknowledged so far is kept"
LOCKED = f"is locked by another program for more than {LOCK_SECONDS} s; close that program"
IO_ERROR = "could not be written: the disk does not answer; check the drive or network folder it is on"
NO_TRIAL = "is not changed: it has no trial of that number"
NOT_PERMITTED = "cannot be used: permission denied; ask its owner for the right to read and write"

REMEDIES = {
    # SQLite's result codes, by their primary name or a longer one
    "SQLITE_FULL": (DISK_FULL, True),
    "SQLITE_READONLY": ("cannot be written: it is read-only; make the file and its folder writable", True),
    "SQLITE_BUSY": (LOCKED, True),
    "SQLITE_LOCKED": (LOCKED, True),
    "SQLITE_CANTOPEN": ("cannot be opened; check that its folder exists and may be written to", True),
    "SQLITE_IOERR": (IO_ERROR, True),
    "SQLITE_NOTADB": ("is a file but no database; choose another path, the file is unchanged", False),
    "SQLITE_CORRUPT": ("is damaged; restore a copy, or rescue it with SQLite's `.recover`", False),
    "SQLITE_PERM": (NOT_PERMITTED, False),
    "SQLITE_AUTH": (NOT_PERMITTED, False),
    "SQLITE_CONSTRAINT_FOREIGNKEY": (NO_TRIAL, False),
    # PostgreSQL's states
    "53100": (DISK_FULL, True),
    "25006": ("cannot be written: the database is read-only; make it writable", True),
    "55P03": (LOCKED, True),
    "58030": (IO_ERROR, True),
    "XX001": ("is damaged; restore a backup", False),
    "XX002": ("is damaged: an index of it; rebuild it with REINDEX, or restore a backup", False),
    "42501": (NOT_PERMITTED, False),
    "23503": (NO_TRIAL, False),
}
"""What to do about an error, by its code, and whether its cause may go away, so that trying again makes sense."""
REPEATED = {
    "ends": "is not changed: the trial has ended, and a trial ends once",
    "epochs": "epoch already in the log: another process continues this trial",
}
"""The message for a second row with the same key, by table."""
TRIGGERED = {
    APPEND_ONLY: "is not changed: it is append-only",
    HAS_ENDED: "is not changed: the trial has ended, and an ended trial takes no more events",
}
"""The messages for the errors that the triggers in rules.py raise."""


def explain(error: SQLAlchemyError, name: str, secret: str | None = None) -> LogError:
    """A database error as a LogError that names the log and the remedy. secret: a password to hide in it."""
    cause = str(getattr(error, "orig", None) or error).strip()
    if secret:
        cause = cause.replace(secret, "***")
    remedy, passing = _remedy(error)
    if remedy:
        return LogError(f"log={name!r}: {remedy}.", passing=passing)
    if isinstance(error, DBAPIError) and (error.connection_invalidated or _is_servers(error)):
        remedy = "check that the server runs and can be reached"
        return LogError(f"log={name!r}: the database does not answer as it should: {cause}; {remedy}", passing=True)
    return LogError(f"log={name!r}: the database rejected the statement: {cause}")


def _remedy(error: SQLAlchemyError) -> tuple[str, bool]:
    """The remedy for a driver's error by its code, "" for an unknown one, and whether its cause may pass."""
    orig = getattr(error, "orig", None)
    code = getattr(orig, "sqlite_errorname", None) or getattr(orig, "sqlstate", None) or ""
    if code in ("SQLITE_CONSTRAINT_TRIGGER", "P0001"):
        raised = str(orig).partition("\n")[0]  # a server adds lines on where it was raised
        return TRIGGERED.get(raised, ""), False
    if code in ("SQLITE_CONSTRAINT_PRIMARYKEY", "23505") and isinstance(error, DBAPIError):
        table = re.match(r"INSERT INTO (\w+)", error.statement or "")
        return REPEATED.get(table[1] if table else "", ""), False
    primary = "_".join(code.split("_")[:2])
    return REMEDIES.get(code) or REMEDIES.get(primary) or ("", False)


def _is_servers(error: DBAPIError) -> bool:
    """Whether the error lies with a server or the connection to it, not with the statement."""
    return isinstance(error, OperationalError) and not isinstance(error.orig, sqlite3.Error)
