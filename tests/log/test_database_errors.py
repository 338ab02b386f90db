"""Errors of the database become LogErrors with a remedy, by their code and never by the driver's words."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError, OperationalError

import workbench as wb
from tests.log.making import epoch, new
from workbench.log import TrialLog
from workbench.log.database import _switch_to_wal, explain


def coded(name: str, text: str = "planted") -> sqlite3.OperationalError:
    """An error of SQLite with a result code. text: what a code is never recognised by."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("cause", "words", "passing"),
    [
        (coded("SQLITE_FULL"), "the disk is full; free", True),
        (coded("SQLITE_BUSY_SNAPSHOT"), "is locked by another program", True),
        (coded("SQLITE_LOCKED"), "is locked by another program", True),
        (coded("SQLITE_READONLY_DIRECTORY"), "it is read-only; make", True),
        (coded("SQLITE_IOERR_FSYNC"), "the disk does not answer", True),
        (coded("SQLITE_CANTOPEN"), "check that its folder exists", True),
        (coded("SQLITE_PERM"), "permission denied", False),
        (coded("SQLITE_AUTH"), "permission denied", False),
        (coded("SQLITE_CORRUPT_INDEX"), "is damaged; restore a copy", False),
        (coded("SQLITE_NOTADB"), "is a file but no database", False),
        (coded("SQLITE_CONSTRAINT_FOREIGNKEY"), "no trial of that number", False),
        (coded("SQLITE_CONSTRAINT_CHECK", "disk is full"), "rejected the statement: disk is full", False),
        (coded("SQLITE_ERROR", "no such table: x"), "rejected the statement: no such table: x", False),
        (sqlite3.ProgrammingError("closed database is locked"), "rejected the statement: closed", False),
        (errors.DiskFull("x"), "the disk is full; free", True),
        (errors.ReadOnlySqlTransaction("x"), "the database is read-only; make", True),
        (errors.LockNotAvailable("x"), "is locked by another program", True),
        (errors.IoError("x"), "the disk does not answer", True),
        (errors.DataCorrupted("x"), "is damaged; restore a backup", False),
        (errors.IndexCorrupted("x"), "REINDEX", False),
        (errors.InsufficientPrivilege("x"), "permission denied", False),
        (errors.ForeignKeyViolation("x"), "no trial of that number", False),
        (errors.RaiseException("the trial log is append-only\nCONTEXT:  PL/pgSQL"), "it is append-only", False),
        (errors.RaiseException("trial has ended"), "takes no more events", False),
        (errors.RaiseException("of another trigger"), "rejected the statement: of another trigger", False),
        (errors.SyntaxError("at or near x"), "rejected the statement: at or near x", False),
        (errors.AdminShutdown("x"), "check that the server runs", True),
        (psycopg.OperationalError("connection refused: No space left"), "check that the server runs", True),
    ],
    ids=lambda value: getattr(value, "sqlite_errorname", type(value).__name__),
)
def test_errors_are_recognised_by_their_code(cause: Any, words: str, passing: bool) -> None:
    kind = (
        OperationalError if isinstance(cause, (sqlite3.OperationalError, psycopg.OperationalError)) else DatabaseError
    )
    error = explain(kind("INSERT INTO epochs (trial) VALUES (?)", {}, cause), "trials.db")
    assert str(error).startswith("log='trials.db': ")
    assert words in str(error)
    assert error.passing is passing


@pytest.mark.parametrize("cause", [coded("SQLITE_CONSTRAINT_PRIMARYKEY"), errors.UniqueViolation("x")])
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("INSERT INTO epochs (trial, epoch) VALUES (?, ?)", "epoch already in the log"),
        ("INSERT INTO ends (trial) VALUES (?)", "a trial ends once"),
        ("INSERT INTO trials (id) VALUES (?)", "rejected the statement"),
    ],
)
def test_what_is_there_twice_is_named_by_its_table(cause: Exception, statement: str, words: str) -> None:
    error = explain(IntegrityError(statement, {}, cause), "trials.db")
    assert words in str(error)
    assert not error.passing


def test_a_damaged_file(tmp_path: Path) -> None:
    log = TrialLog.open(tmp_path / "trials.db")
    log.append([epoch(trial, 1) for trial in log.create([new()] * 50)])
    log.run_ended()
    log.close()
    content = (tmp_path / "trials.db").read_bytes()
    (tmp_path / "damaged.db").write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(wb.LogError, match="is damaged; restore a copy"):
        TrialLog.open(tmp_path / "damaged.db").trials()


def test_a_lost_connection_may_come_back() -> None:
    cause = psycopg.DatabaseError("server closed the connection unexpectedly")
    assert explain(DBAPIError("INSERT", {}, cause, connection_invalidated=True), "x").passing
    assert not explain(DBAPIError("INSERT", {}, cause), "x").passing


@pytest.mark.parametrize("code", ["SQLITE_BUSY", "SQLITE_LOCKED_SHAREDCACHE"])
def test_the_switch_to_wal_is_tried_again_while_the_file_is_locked(code: str) -> None:
    raised = [coded(code), coded(code)]

    class Cursor:
        def execute(self, statement: str) -> None:
            if raised:
                raise raised.pop()

    _switch_to_wal(Cursor())  # type: ignore[arg-type]
    assert raised == []
    raised += [coded("SQLITE_IOERR_LOCK", "database is locked")] * 2
    with pytest.raises(sqlite3.OperationalError):
        _switch_to_wal(Cursor())  # type: ignore[arg-type]
    assert len(raised) == 1
