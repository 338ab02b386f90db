"""Logs of every earlier schema: what they held is there, and what is new works on them."""

from __future__ import annotations

import math
import socket
import sqlite3
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import SQLAlchemyError

import workbench as wb
from tests.log.making import ended, epoch, new
from workbench.core.events import TrialState
from workbench.log import TrialLog, migrations, schema

FIXTURES = Path(__file__).parent / "fixtures"
Rows = dict[str, list[dict[str, Any]]]


def rows(path: Path) -> Rows:
    """Every row of every table, read past the log."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {table: [dict(row) for row in connection.execute(f"SELECT * FROM {table}")] for table in tables}
    connection.close()
    return found


def shape(path: Path) -> dict[str, Any]:
    """Columns, foreign keys, indexes and triggers, in a form that does not depend on the order they were made in."""
    connection = sqlite3.connect(path)
    found: dict[str, Any] = {}
    for name, kind, sql in connection.execute("SELECT name, type, sql FROM sqlite_master").fetchall():
        if kind == "table":
            columns = {row[1:] for row in connection.execute(f"PRAGMA table_info({name})")}
            keys = {row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({name})")}
            found[name] = (columns, keys, "AUTOINCREMENT" in (sql or ""))
        else:
            found[name] = sql
    connection.close()
    return found


@pytest.fixture(params=[1, 2, 3])
def old(request: Any, tmp_path: Path) -> tuple[int, Path]:
    """A log that the code of an earlier schema has written: its version and where it lies."""
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    connection.executescript((FIXTURES / f"schema_{request.param}.sql").read_text(encoding="utf-8"))
    connection.close()
    return request.param, path


def test_every_row_survives(old: tuple[int, Path]) -> None:
    _, path = old
    before = rows(path)
    TrialLog.open(path).close()
    after = rows(path)
    assert sum(map(len, before.values())) > 30
    for table, held in before.items():
        now = [{name: row[name] for name in held[0]} for row in after[table]] if held else []
        assert [row for row in held if row not in now] == [], table


def test_the_reads_tell_what_was_written(old: tuple[int, Path]) -> None:
    version, path = old
    log = TrialLog.open(path)
    frame = log.trials().set_index("trial")
    assert list(frame.index) == list(range(1, 7 if version == 1 else 9))
    first = frame.loc[1]
    assert (first["name"], first["note"]) == ('<b>bold</b> & "quotes"', "'; DROP TABLE trials; --")
    assert first["tags"] == ("🎉", "naïve")
    assert (first["best_val_metric"], first["learning_rate"], first["optimizer"]) == (0.75, 0.01, "adam")
    assert log.builder_source(1) == "def build(task):\n    return None\n"
    assert frame.loc[2, "state"] == "diverged"
    assert frame.loc[2, "train_loss"] == math.inf
    curve = log.curves(2)
    assert math.isnan(curve["val_loss"][0])
    assert curve["val_loss"][1] == -math.inf
    assert log.traceback(3).endswith("ValueError: no\n")
    assert log.changes(4) == [(13, "l2", 0.1), (15, "learning_rate", 0.001)]
    assert (frame.loc[6, "name"], frame.loc[6, "note"], frame.loc[6, "tags"]) == ("six", "a better note", ("kept",))
    assert log.events(2)["message"][1] == "the loss is <not> finite 😱"
    assert list(log.events(6)["name"]) == ["running", "paused", "running"]
    best = (6, 0.85) if version == 1 else (7, 0.9)
    assert log.best("f", "accuracy", "higher") == {"trial": best[0], "best_val_metric": best[1], "best_epoch": 1}
    assert list(log.scores("f", "accuracy")["trial"]) == [1, 6]
    if version >= 2:
        assert list(log.searches()["trials"]) == [2]
        assert log.suggestions(1) == 2
        assert log.steps(1) == []
    log.close()


def test_a_migrated_log_is_as_a_new_one(old: tuple[int, Path], tmp_path: Path) -> None:
    TrialLog.open(tmp_path / "new.db").close()
    TrialLog.open(old[1]).close()
    assert shape(old[1]) == shape(tmp_path / "new.db")


def test_it_is_migrated_once(old: tuple[int, Path]) -> None:
    _, path = old
    for _ in range(2):
        TrialLog.open(path).close()
    after = rows(path)
    assert [row["version"] for row in after["schema_versions"]] == [1, 2, 3, 4]
    assert after["schema_versions"][-1]["name"] == "findings"


def test_trials_of_a_dead_process_are_interrupted(old: tuple[int, Path]) -> None:
    version, path = old
    log = TrialLog.open(path)
    left = [4, 5] if version == 1 else [4, 5, 8]  # running, queued, and queued by the search
    assert log.interrupted() == left
    assert log.state(4) is TrialState.INTERRUPTED
    assert log.trials().set_index("trial").loc[4, ["state", "epochs_run"]].tolist() == ["interrupted", 1]
    log.adopt([4])
    log.append([epoch(4, 2)])
    assert log.interrupted() == left[1:]
    log.close()


def test_a_process_of_this_host_is_looked_up(old: tuple[int, Path]) -> None:
    """Logs from before machines were told apart have the host's name only."""
    version, path = old
    if version > 2:
        return  # later ones know the machine, see test_ownership.py
    mine = psutil.Process()
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER sessions_no_update")
    connection.execute(
        "UPDATE sessions SET host = ?, pid = ?, process_started = ?",
        (socket.gethostname(), mine.pid, mine.create_time()),
    )
    connection.commit()
    connection.close()
    log = TrialLog.open(path)
    assert log.interrupted() == []
    log.close()
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER sessions_no_update")
    connection.execute("UPDATE sessions SET process_started = process_started - 100")
    connection.commit()
    connection.close()
    log = TrialLog.open(path)
    assert log.interrupted()[:2] == [4, 5]
    log.close()


def test_its_triggers_hold(old: tuple[int, Path]) -> None:
    _, path = old
    log = TrialLog.open(path)
    log.delete([3])
    log.restore()
    for table, held in rows(path).items():
        if table in ("leases", "sqlite_sequence") or not held:
            continue
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET rowid = rowid"):
            with pytest.raises((wb.LogError, SQLAlchemyError), match="append-only"), log._write() as connection:
                connection.execute(text(statement))
    with pytest.raises(wb.LogError, match="ended"):
        log.append([epoch(1, 3)])
    log.close()


def test_its_bin_works(old: tuple[int, Path]) -> None:
    version, path = old
    log = TrialLog.open(path)
    log.delete([1, 2, 3, 4, 6])
    assert list(log.trials()["trial"]) == ([5] if version == 1 else [5, 7, 8])
    log.restore([6])  # made from 1
    assert log.empty_trash() == ([2, 3, 4], [1])
    assert list(log.trash()["trial"]) == [1]
    assert len(log.curves(1)) == 2
    with pytest.raises(wb.LogError, match="trial 2 is not in the log"):
        log.curves(2)
    assert ended(log) == [7 if version == 1 else 9]
    log.close()
    left = rows(path)
    for table in ("epochs", "events", "ends", "annotations", "adoptions"):
        assert not {row["trial"] for row in left[table]} & {2, 3, 4}


def test_searches_go_on_in_it(old: tuple[int, Path]) -> None:
    _, path = old
    log = TrialLog.open(path)
    number = log.create_search("random", {"seed": 0}, task_fingerprint="f")
    log.create([new(search=number, suggestion=4, configuration="s")])
    assert log.suggestions(number) == 5
    assert list(log.searches()["trials"])[-1] == 1
    log.close()


def test_an_older_schema_is_migrated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TrialLog.open(tmp_path / "trials.db").close()
    newest = migrations.MIGRATIONS[-1].version
    planted = migrations.Migration(
        newest + 1, "planted", lambda c: c.exec_driver_sql("CREATE TABLE planted (x INTEGER)") and None
    )
    monkeypatch.setattr(migrations, "MIGRATIONS", [*migrations.MIGRATIONS, planted])
    for _ in range(2):
        TrialLog.open(tmp_path / "trials.db").close()
        after = rows(tmp_path / "trials.db")
        assert [row["version"] for row in after["schema_versions"]] == [*range(1, newest + 2)]
        assert after["planted"] == []


def test_a_migration_that_fails_changes_nothing(old: tuple[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = old
    before = rows(path), shape(path)

    def broken(connection: Any) -> None:
        connection.exec_driver_sql("CREATE TABLE half_done (x INTEGER)")
        connection.exec_driver_sql("INSERT INTO no_such_table VALUES (1)")

    planted = migrations.Migration(migrations.MIGRATIONS[-1].version + 1, "broken", broken)
    monkeypatch.setattr(migrations, "MIGRATIONS", [*migrations.MIGRATIONS, planted])
    with pytest.raises(wb.LogError, match="no_such_table"):
        TrialLog.open(path)
    assert (rows(path), shape(path)) == before


def test_a_newer_schema_is_refused_unharmed(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    log = TrialLog.open(path)
    with log._write() as connection:
        connection.execute(insert(schema.versions).values(version=99, name="from the future"))
    log.close()
    before = path.read_bytes()
    with pytest.raises(wb.LogError, match="newer version.*upgrade"):
        TrialLog.open(path)
    assert path.read_bytes() == before
