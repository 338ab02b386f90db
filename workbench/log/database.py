"""Opening the database and putting its complaints into words."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from workbench.core.errors import LogError

__all__ = ["backup", "checkpoint_wal", "explain", "make_engine", "shown_url", "where"]

LOCK_SECONDS = 60
"""How long a writer waits for another process's transaction, which takes milliseconds, before it gives up."""


def make_engine(target: str | os.PathLike[str] | None) -> Engine:
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
            raise LogError(f"log={shown_url(url)!r}: cannot be opened: {failed}; install the database's driver")
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def where(target: str | os.PathLike[str] | None) -> str:
    """How a log is called in messages: its path or URL, without a password."""
    if target is None:
        return "in memory"
    if not isinstance(target, (str, os.PathLike)):
        raise LogError(f"log is a {type(target).__name__}: give a path or a URL, or None for a log in memory")
    text = os.fspath(target)
    return shown_url(_parsed(text)) if "://" in text else text


def shown_url(url: URL) -> str:
    """A URL for people to see: no password in it, be it before the host or among the query's parts."""
    secret = [name for name in url.query if "password" in name.lower()]
    return url.difference_update_query(secret).render_as_string(hide_password=True)


def checkpoint_wal(engine: Engine) -> None:
    """Write the `-wal` file of an SQLite log into the database file, as far as readers allow; waits for nobody.

    Nothing is lost when it fails: SQLite keeps the `-wal` file and writes it at the next occasion.
    """
    if engine.dialect.name != "sqlite":
        return
    # such as a full disk: the log is complete with its `-wal` file, and the end of a run must reach those who wait for it
    with suppress(sqlite3.Error, SQLAlchemyError), closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
        cursor.close()


def backup(engine: Engine, path: str | os.PathLike[str], name: str) -> None:
    """Copy an SQLite log into a new file, consistent whatever is written meanwhile. name: of the log, for messages.

    Raises: LogError if the file exists or cannot be written, or the log is no SQLite database; no file is left then.
    """
    if engine.dialect.name != "sqlite":
        raise LogError(f"log={name!r}: is on a database server; copy it with the server's own tool, such as pg_dump")
    place = Path(path).expanduser()
    try:
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        raise LogError(f"path={str(place)!r}: the file exists; choose another path for the backup") from None
    except OSError as error:
        raise LogError(f"path={str(place)!r}: the backup cannot be written: {error.strerror or error}") from None
    source = engine.raw_connection()
    try:
        with closing(sqlite3.connect(place)) as target:
            assert source.driver_connection is not None
            source.driver_connection.backup(target)
    except sqlite3.Error as error:
        place.unlink(missing_ok=True)
        raise LogError(f"path={str(place)!r}: the backup cannot be written: {error}") from None
    except BaseException:
        place.unlink(missing_ok=True)
        raise
    finally:
        source.close()


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
    """Where several open the same new file at once, SQLite refuses the switch without waiting, whatever its timeout."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # a writer takes the lock at once and so waits for its turn; upgrading a read lock later could fail instead
    immediate = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


REMEDIES = {
    "ends.trial": "is not changed: the trial has ended, and a trial ends once",
    "ends_pkey": "is not changed: the trial has ended, and a trial ends once",
    "epochs.trial": "epoch already in the log: another process goes on with this trial",
    "epochs_pkey": "epoch already in the log: another process goes on with this trial",
    "foreign key": "is not changed: it has no trial of that number",
    "trial has ended": "is not changed: the trial has ended, and an ended trial takes no more events",
    "append-only": "is not changed: it is append-only",
    "disk is full": "could not be written: the disk is full; free some space. Everything acknowledged so far is kept",
    "no space left": "could not be written: the disk is full; free some space. Everything acknowledged so far is kept",
    "not a database": "is a file but no database; choose another path, the file is unchanged",
    "readonly": "cannot be written: it is read-only; make the file and its folder writable",
    "read-only": "cannot be written: the database is read-only; make it writable",
    "is locked": f"is locked by another program for more than {LOCK_SECONDS} s; close that program",
    "malformed": "is damaged; restore a copy, or rescue it with SQLite's `.recover`",
    "unable to open": "cannot be opened; check that its folder exists and may be written to",
    "disk i/o error": "could not be written: the disk does not answer; check the drive or network folder it is on",
}
"""What to say when a database's complaint holds some words."""
PASSING = {"disk is full", "no space left", "readonly", "read-only", "is locked", "unable to open", "disk i/o error"}
"""Those whose cause may go away, so that trying again makes sense."""


def explain(error: SQLAlchemyError, name: str, secret: str | None = None) -> LogError:
    """A database's complaint as a LogError that names the log and the remedy. secret: a password to hide in it."""
    cause = str(getattr(error, "orig", None) or error).strip()
    if secret:
        cause = cause.replace(secret, "***")
    text = cause.lower()
    for sign, remedy in REMEDIES.items():
        if sign in text:
            return LogError(f"log={name!r}: {remedy}.", passing=sign in PASSING)
    if isinstance(error, DBAPIError) and (error.connection_invalidated or _is_servers(error)):
        remedy = "check that the server runs and can be reached"
        return LogError(f"log={name!r}: the database does not answer as it should: {cause}; {remedy}", passing=True)
    return LogError(f"log={name!r}: the database refused: {cause}")


def _is_servers(error: DBAPIError) -> bool:
    """Whether the trouble lies with a server or the way to it, not with what was asked."""
    return isinstance(error, OperationalError) and not isinstance(error.orig, sqlite3.Error)
