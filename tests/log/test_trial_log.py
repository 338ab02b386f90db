"""The log against what was put in, against other processes, and against bad files."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, text
from sqlalchemy.exc import SQLAlchemyError

import workbench as wb
from workbench.events import EpochEnd, KnobChanged, Remark, StateChanged, StepProgress, TrialEnded, TrialState
from workbench.log import NewTrial, TrialLog, schema

CONFIG = wb.Config().model_dump()
number = st.floats(width=64)


def new(**values: Any) -> NewTrial:
    return NewTrial(**{"config": CONFIG, "task": "t", "task_fingerprint": "f", "metric": "accuracy", **values})


def end(trial: int, epochs: int = 0, state: TrialState = TrialState.COMPLETED) -> TrialEnded:
    return TrialEnded(trial, state, epochs, epochs * 10, epochs, 0.5, 0.9, 1.0)


def epoch(trial: int, n: int, value: float = 0.5) -> EpochEnd:
    return EpochEnd(trial, n, n * 10, value, 0.0, 0.9, value, 0.9, 0.01, 1.0, 0.1)


@pytest.fixture(params=["memory", "file"])
def log(request: Any, tmp_path: Path) -> Any:
    log = TrialLog.open(None if request.param == "memory" else tmp_path / "trials.db")
    yield log
    log.close()


@given(st.lists(st.tuples(*[number] * 8), max_size=5))
def test_every_number_comes_back_as_it_was(rows: list[tuple[float, ...]]) -> None:
    log = TrialLog.open(None)
    (trial,) = log.create([new()])
    events = [EpochEnd(trial, i + 1, i, *row) for i, row in enumerate(rows)]
    log.append(events)
    names = ["train_loss", "penalty", "train_metric", "val_loss", "val_metric", "learning_rate", "grad_norm", "seconds"]
    back = log.curves(trial)[names].to_numpy().tolist()
    for ours, theirs in zip(back, rows, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a == b or (math.isnan(a) and math.isnan(b))
    log.close()


@given(st.text(), st.text(), st.lists(st.text()))
def test_names_notes_and_tags_are_text_of_any_kind(name: str, note: str, tags: list[str]) -> None:
    safe = [s.encode("utf-8", "ignore").decode().replace("\0", "") for s in (name, note, *tags)]
    log = TrialLog.open(None)
    _first, second = log.create([new(name=safe[0], note=safe[1], tags=safe[2:]), new()])
    log.annotate(second, name=safe[0], note=safe[1], tags=safe[2:])
    for row in log.trials().itertuples():
        assert (row.name, row.note, list(row.tags)) == (safe[0], safe[1], safe[2:])
    log.close()


def test_a_trials_life(log: TrialLog) -> None:
    assert log.trials().empty
    one, two = log.create([new(name="<b>1</b>"), new(source="replicate", parent=1)])
    assert log.state(one) is TrialState.QUEUED
    log.append([StateChanged(one, TrialState.RUNNING), StepProgress(one, 1, 3, 10, 0.1)])
    log.append([epoch(one, 1, 0.7)])
    log.append([epoch(one, 2, 0.3), KnobChanged(one, 2, 15, "l2", 0.0, 0.1), Remark(one, "a remark")])
    running = log.trials().set_index("trial").loc[one]
    assert (running["state"], running["epochs_run"], running["best_epoch"]) == ("running", 2, 2)
    assert running["best_val_loss"] == 0.3
    log.append([epoch(one, 3, math.nan), end(one, 3, TrialState.DIVERGED)])
    ended = log.trials().set_index("trial").loc[one]
    assert ended["state"] == "diverged"
    assert math.isnan(ended["val_loss"])
    assert ended["learning_rate"] == wb.Config().learning_rate
    assert log.config(one) == CONFIG
    assert list(log.events(one)["kind"]) == ["state", "change", "remark"]
    assert log.state(two) is TrialState.QUEUED
    assert list(log.trials().columns[:5]) == ["trial", "name", "source", "state", "parent"]


def test_an_ended_trial_takes_nothing_more(log: TrialLog) -> None:
    one, two = log.create([new(), new()])
    log.append([epoch(one, 1), end(one, 1)])
    for late in ([epoch(one, 2)], [Remark(one, "late")], [end(one)], [epoch(two, 1), epoch(one, 2)]):
        with pytest.raises(wb.LogError, match="ended"):
            log.append(late)
    assert len(log.curves()) == 1  # the other trial's epoch of the refused group is not there either


def test_nothing_is_changed_or_removed(log: TrialLog) -> None:
    (one,) = log.create([new()])
    log.append([epoch(one, 1), Remark(one, "x"), end(one, 1)])
    for table in schema.metadata.tables:
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET rowid = rowid"):
            with log._write() as connection:
                if connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0:
                    continue
            with pytest.raises((wb.LogError, SQLAlchemyError), match="append-only"), log._write() as connection:
                connection.execute(text(statement))


def test_unknown_trials_are_named(log: TrialLog) -> None:
    for call in (log.config, log.curves, log.events, log.state):
        with pytest.raises(wb.LogError, match="trial 77 is not in the log"):
            call(77)
    with pytest.raises(wb.LogError, match="trial 77"):
        log.annotate(77, name="x")
    with pytest.raises(wb.LogError, match="no trial of that number"):
        log.append([epoch(77, 1)])


def test_bad_places_for_a_log(tmp_path: Path) -> None:
    with pytest.raises(wb.LogError, match=r"folder .*missing.* does not exist; create it"):
        TrialLog.open(tmp_path / "missing" / "trials.db")
    with pytest.raises(wb.LogError, match="is a folder"):
        TrialLog.open(tmp_path)
    words = tmp_path / "words.db"
    words.write_text("not a database, but long enough to be read as one" * 100)
    with pytest.raises(wb.LogError, match="no database"):
        TrialLog.open(words)
    assert words.read_text().startswith("not a database")
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(wb.LogError, match=r"something else .*recipes"):
        TrialLog.open(other)


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


def test_an_older_schema_is_migrated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TrialLog.open(tmp_path / "trials.db").close()
    newest = schema.MIGRATIONS[-1].version
    planted = schema.Migration(
        newest + 1, "planted", lambda c: c.exec_driver_sql("CREATE TABLE planted (x INTEGER)") and None
    )
    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, planted])
    for _ in range(2):
        log = TrialLog.open(tmp_path / "trials.db")
        with log._read() as connection:
            assert [v for (v,) in connection.execute(text("SELECT version FROM schema_versions"))] == [
                *range(1, newest + 2)
            ]
            assert connection.execute(text("SELECT count(*) FROM planted")).scalar() == 0
        log.close()


def test_a_log_from_before_searches_keeps_its_trials(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    log = TrialLog.open(path)
    first, second = log.create([new(config={"learning_rate": 0.1, "seed": seed}) for seed in (0, 1)])
    for trial in (first, second):
        log.append([epoch(trial, 1), end(trial, 1)])
    with log._write() as connection:  # back to schema 1
        connection.exec_driver_sql("DROP TRIGGER schema_versions_no_delete")
        connection.exec_driver_sql("DROP TABLE searches")
        connection.exec_driver_sql("DELETE FROM schema_versions WHERE version = 2")
        for column in ("search", "suggestion", "setting"):
            connection.exec_driver_sql(f"ALTER TABLE trials DROP COLUMN {column}")
    log.close()
    log = TrialLog.open(path)
    assert list(log.trials()["trial"]) == [first, second]
    assert log.trials()["search"].isna().all()
    assert log.searches().empty
    scores = log.scores(new().task_fingerprint, new().metric)
    assert list(scores["trial"]) == [first, second]
    assert scores["setting"].nunique() == 1
    number = log.create_search("random", {"seed": 0}, task_fingerprint="x")
    log.create([new(search=number, suggestion=4, setting="s")])
    assert log.suggestions(number) == 5
    assert list(log.searches()["trials"]) == [1]
    with pytest.raises(wb.LogError, match="append-only"), log._write() as connection:
        connection.execute(text("DELETE FROM searches"))


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    log = TrialLog.open(tmp_path / "trials.db")
    (one,) = log.create([new()])
    with log._write() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar()
    log._engine.dispose()  # the limit belongs to a connection: let the pool keep just one
    kept = 0
    with log._writing.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
        connection.rollback()
    with pytest.raises(wb.LogError, match="disk is full; free some space"):
        for n in range(1, 2000):
            log.append([epoch(one, n)])
            kept = n
    assert 0 < kept < 1999
    assert len(log.curves(one)) == kept
    with log._writing.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        connection.rollback()
    log.append([epoch(one, kept + 1)])
    assert len(log.curves(one)) == kept + 1
    log.close()


WRITER = """
import sys
from workbench.log import NewTrial, TrialLog
from workbench.events import EpochEnd
log = TrialLog.open(sys.argv[1])
for i in range(int(sys.argv[2])):
    (trial,) = log.create([NewTrial({}, "t", "f", "accuracy", name=sys.argv[3])])
    for n in (1, 2, 3):
        log.append([EpochEnd(trial, n, n, 1, 0, 1, 1, 1, 1, 1, 1)])
        print(trial, n, flush=True)
"""


def test_four_processes_share_a_log(tmp_path: Path) -> None:
    path = str(tmp_path / "trials.db")
    script = [sys.executable, "-c", WRITER, path, "25"]
    writers = [subprocess.Popen([*script, str(i)], stdout=subprocess.DEVNULL) for i in range(4)]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    log = TrialLog.open(path)
    assert log.trials().groupby("name").size().to_dict() == {str(i): 25 for i in range(4)}
    assert len(log.curves()) == 4 * 25 * 3
    log.close()


def test_a_killed_writer_leaves_what_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), "9999", "x"], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    told = [writer.stdout.readline().split() for _ in range(200)]
    writer.kill()
    told += [line.split() for line in writer.stdout.read().splitlines()]
    writer.stdout.close()
    writer.wait()
    log = TrialLog.open(path)
    there = set(map(tuple, log.curves()[["trial", "epoch"]].to_numpy().tolist()))
    assert {(int(trial), int(n)) for trial, n in filter(lambda words: len(words) == 2, told)} <= there
    with log._read() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    log.close()


def test_a_password_is_never_shown() -> None:
    with pytest.raises(wb.LogError) as caught:
        TrialLog.open("postgresql+nodriver://me:hunter2@localhost/x")
    assert "hunter2" not in f"{caught.value!r}{caught.value.__cause__!r}"
