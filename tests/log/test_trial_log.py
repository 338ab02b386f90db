"""The log against what was put in, against other processes, and against bad files."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
import traceback
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

import workbench as wb
from tests.log.making import CONFIG, end, epoch, new, running
from workbench.core.errors import LogError
from workbench.core.events import Branched, EpochEnd, KnobChanged, Message, StateChanged, StepProgress, TrialState
from workbench.log import SearchStep, TrialLog, schema
from workbench.log.database import log_name

number = st.floats(width=64)


@settings(deadline=None)
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


words = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
AWKWARD = [
    "<script>alert('x')</script> &amp; <b>",
    "'; DROP TABLE trials; -- \" %s %(x)s :name ? {0}",
    "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 \u202eright to left\u202c \u200b zero width",
    "\ufeff\u2028\u0085\x1b[31m\x07\t\r\n  end ",
    "\U0010ffff\ud7ff\ue000",
]


def check_text(name: str, note: str, tags: list[str]) -> None:
    log = TrialLog.open(None)
    first, second = log.create([new(name=name, note=note, tags=tags, config={"model": name}), new()])
    log.annotate(second, name=name, note=note, tags=tags)
    log.append([Message(first, note), Branched(second, first, 1, {"model": (name, note)})])
    for row in log.trials().itertuples():
        assert (row.name, row.note, list(row.tags)) == (name, note, tags)
    assert log.record(first).config["model"] == name
    assert log.events(first)["message"].tolist() == [note]
    assert log.history.branches()["changes"].tolist() == [{"model": (name, note)}]
    assert f"model {name!r} → {note!r}" in log.events(second)["message"][0]
    log.close()


@settings(deadline=None)
@given(words, words, st.lists(words))
def test_names_notes_and_tags_are_text_of_any_kind(name: str, note: str, tags: list[str]) -> None:
    check_text(name, note, tags)


@pytest.mark.parametrize("text", AWKWARD)
def test_text_made_of_markup_sql_and_odd_characters_stays_as_it_is(text: str) -> None:
    check_text(text, text, [text, text])


@pytest.mark.parametrize("text", [*(name.replace("/", "") for name in AWKWARD), "100% {full} is locked"])
def test_messages_hold_with_odd_names(text: str, tmp_path: Path) -> None:
    folder = tmp_path / text.strip()
    with pytest.raises(wb.LogError, match="does not exist; create it") as caught:
        TrialLog.open(folder / "trials.db")
    assert repr(str(folder)) in str(caught.value)
    folder.mkdir()
    log = TrialLog.open(folder / "trials.db")
    (trial,) = log.create([new(name=text)])
    log.append([end(trial)])
    with pytest.raises(wb.LogError, match="has ended") as caught:
        log.append([end(trial)])
    assert not caught.value.passing
    log.close()


def test_a_trials_life(log: TrialLog) -> None:
    assert log.trials().empty
    one, two = log.create([new(name="<b>1</b>"), new(source="replicate", parent=1)])
    assert log.state(one) is TrialState.QUEUED
    log.append([StateChanged(one, TrialState.RUNNING), StepProgress(one, 1, 3, 10, 0.1)])
    log.append([epoch(one, 1, 0.7)])
    log.append([epoch(one, 2, 0.3), KnobChanged(one, 2, 15, "l2", 0.0, 0.1), Message(one, "a note")])
    running = log.trials().set_index("trial").loc[one]
    assert (running["state"], running["epochs_run"], running["best_epoch"]) == ("running", 2, 2)
    assert running["best_val_loss"] == 0.3
    log.append([epoch(one, 3, math.nan), end(one, 3, TrialState.DIVERGED)])
    ended = log.trials().set_index("trial").loc[one]
    assert ended["state"] == "diverged"
    assert math.isnan(ended["val_loss"])
    assert ended["learning_rate"] == wb.Config().learning_rate
    assert log.record(one).config == CONFIG
    assert list(log.events(one)["kind"]) == ["state", "change", "message"]
    assert log.state(two) is TrialState.QUEUED
    assert list(log.trials().columns[:5]) == ["trial", "name", "source", "state", "parent"]


def check_unended(log: TrialLog, losses: list[list[float]]) -> None:
    """Compare the table of unfinished trials with the losses of their epochs."""
    trials = log.create([new()] * len(losses))
    for trial, losses_of in zip(trials, losses, strict=True):
        log.append([epoch(trial, number, loss) for number, loss in enumerate(losses_of, 1)])
    (over,) = log.create([new()])
    log.append([epoch(over, 1, -1.0), end(over, 1)])
    frame = log.trials().set_index("trial")
    for trial, losses_of in zip(trials, losses, strict=True):
        row, finite = frame.loc[trial], [loss for loss in losses_of if not math.isnan(loss)]
        assert row["epochs_run"] == len(losses_of)
        assert row["seconds"] == pytest.approx(0.1 * len(losses_of) or math.nan, nan_ok=True)
        assert str(row["val_loss"]) == str(losses_of[-1] if losses_of else math.nan)
        if not losses_of:
            assert row["best_epoch"] is pd.NA
        else:
            assert row["best_epoch"] == (losses_of.index(min(finite)) + 1 if finite else 0)
        assert str(row["best_val_loss"]) == str(min(finite) if finite else math.nan)


@pytest.mark.parametrize("more", [[], [[math.nan], [math.nan, math.nan], [math.inf, math.nan], [math.nan, -math.inf]]])
def test_what_unended_trials_have_come_to(log: TrialLog, more: list[list[float]]) -> None:
    check_unended(log, [[0.5, 0.3, 0.3, 0.4], [], [2.0], *more])


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.25, 0.5, 1e-300, math.inf, math.nan]), max_size=4), max_size=4))
def test_what_unended_trials_have_come_to_whatever_their_losses(losses: list[list[float]]) -> None:
    log = TrialLog.open(None)
    check_unended(log, losses)
    log.close()


def test_a_hyperparameter_that_only_later_trials_have(log: TrialLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are converted in parts; a column that begins in a later one is empty before it."""
    monkeypatch.setattr("workbench.log.queries.PART", 2)
    wide = {**CONFIG, "width": 7}
    log.create([new(), new(), new(), new(config=wide), new(), new(config={**wide, "depth": 2})])
    frame = log.trials()
    assert frame["trial"].tolist() == [1, 2, 3, 4, 5, 6]
    assert frame["width"].fillna(-1).tolist() == [-1, -1, -1, 7, -1, 7]
    assert frame["depth"].fillna(-1).tolist() == [-1] * 5 + [2]
    assert frame["seed"].tolist() == [CONFIG["seed"]] * 6


def test_an_ended_trial_takes_nothing_more(log: TrialLog) -> None:
    one, two = log.create([new(), new()])
    log.append([epoch(one, 1), end(one, 1)])
    for late in ([epoch(one, 2)], [Message(one, "late")], [end(one)], [epoch(two, 1), epoch(one, 2)]):
        with pytest.raises(wb.LogError, match="ended"):
            log.append(late)
    assert len(log.curves()) == 1  # the other trial's epoch of the rejected group is not there either


def test_nothing_is_changed_or_removed(log: TrialLog) -> None:
    gone, one, two = log.create([new(), new(), new()])
    log.append([end(gone)])
    log.trash.delete([gone])
    log.trash.empty()
    log.append([epoch(one, 1), Message(one, "x"), end(one, 1)])
    log.annotate(one, name="x")
    log.ownership.mark_interrupted()
    log.ownership.adopt([two])
    log.next_cohort()
    log.searches.add_step(SearchStep(log.searches.create("grid", {}, task_fingerprint="f"), "ask", {}))
    log.add_finding("opening", {}, task_fingerprint="f")
    for table in set(schema.metadata.tables) - {"leases"}:
        with log.database.read() as connection:
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar(), table
            on_server = connection.dialect.name == "postgresql"
        column = next(iter(schema.metadata.tables[table].c)).name
        statements = [f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"]
        for statement in [*statements, f"TRUNCATE {table} CASCADE"] if on_server else statements:
            with pytest.raises((wb.LogError, SQLAlchemyError), match="append-only"), log.database.write() as connection:
                connection.execute(text(statement))


def test_unknown_trials_are_named(log: TrialLog) -> None:
    for call in (log.record, log.curves, log.events, log.state):
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
    with pytest.raises(wb.LogError, match=r"another program .*recipes"):
        TrialLog.open(other)


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    log = TrialLog.open(tmp_path / "trials.db")
    (one,) = log.create([new()])
    with log.database.write() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar()
    log.database.engine.dispose()  # the limit belongs to a connection: let the pool keep just one
    kept = 0
    with log.database.engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
        connection.rollback()
    with pytest.raises(wb.LogError, match="disk is full; free some space") as caught:
        for n in range(1, 2000):
            log.append([epoch(one, n)])
            kept = n
    assert 0 < kept < 1999
    assert caught.value.passing
    assert len(log.curves(one)) == kept
    with log.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        connection.rollback()
    log.append([epoch(one, kept + 1)])
    assert len(log.curves(one)) == kept + 1
    log.close()


WRITER = """
import sys
from workbench.log import NewTrial, TrialLog
from workbench.core.events import EpochEnd
log = TrialLog.open(sys.argv[1])
for i in range(int(sys.argv[2])):
    (trial,) = log.create([NewTrial({}, "t", "f", "accuracy", name=sys.argv[3])])
    for n in (1, 2, 3):
        log.append([EpochEnd(trial, n, n, 1, 0, 1, 1, 1, 1, 1, 1)])
        print(trial, n, flush=True)
"""


def test_four_processes_share_a_log(tmp_path: Path) -> None:
    path = str(tmp_path / "trials.db")
    script = [sys.executable, "-c", WRITER, path, "250"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*script, str(i)], **quiet) for i in range(4)]
    errors = [writer.communicate(timeout=200)[1] for writer in writers]
    assert ([writer.returncode for writer in writers], errors) == ([0] * 4, [""] * 4)
    log = TrialLog.open(path)
    assert log.trials().groupby("name").size().to_dict() == {str(i): 250 for i in range(4)}
    assert sorted(log.trials()["trial"]) == list(range(1, 1001))
    assert len(log.curves()) == 4 * 250 * 3
    log.close()


def test_a_killed_writer_leaves_what_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), "9999", "x"], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    printed = [writer.stdout.readline().split() for _ in range(200)]
    writer.kill()
    printed += [line.split() for line in writer.stdout.read().splitlines()]
    writer.stdout.close()
    writer.wait()
    log = TrialLog.open(path)
    there = set(map(tuple, log.curves()[["trial", "epoch"]].to_numpy().tolist()))
    assert {(int(trial), int(n)) for trial, n in filter(lambda words: len(words) == 2, printed)} <= there
    with log.database.read() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    log.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+nodriver://me:hunter2@localhost/x",
        "postgresql+psycopg://me:hunter2@127.0.0.1:1/x",
        "postgresql+psycopg://me@127.0.0.1:1/x?password=hunter2&connect_timeout=2",
        "postgresql+psycopg://me:hunter2@127.0.0.1:port/x",
        "postgresql+psycopg://me:top@hunter2@127.0.0.1/x",
        "postgresql+psycopg me://hunter2",
    ],
)
def test_a_password_is_never_shown(url: str) -> None:
    with pytest.raises(wb.LogError) as caught:
        TrialLog.open(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in f"{caught.value!r}{caught.value.__cause__!r}"


def test_a_password_is_not_in_the_name_of_a_log() -> None:
    assert log_name("postgresql+psycopg://me:hunter2@host/x") == "postgresql+psycopg://me:***@host/x"
    assert log_name("postgresql+psycopg://host/x?sslPassword=hunter2") == "postgresql+psycopg://host/x"
    log = TrialLog.open(None)
    assert repr(log) == "<TrialLog sqlite://>"
    log.close()


def test_an_epoch_is_written_once(log: TrialLog) -> None:
    (one,) = log.create([new()])
    log.append([*running(one), epoch(one, 1)])
    with pytest.raises(wb.LogError, match="epoch already in the log: another process continues this trial") as caught:
        log.append([epoch(one, 2), epoch(one, 1)])
    assert not caught.value.passing
    assert log.curves(one)["epoch"].tolist() == [1]


def test_a_locked_log_is_waited_for_and_then_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.log.database.LOCK_SECONDS", 0)
    log = TrialLog.open(tmp_path / "trials.db")
    (one,) = log.create([new()])
    other = sqlite3.connect(tmp_path / "trials.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(wb.LogError, match="is locked by another program") as caught:
        log.append(running(one))
    assert caught.value.passing
    other.execute("ROLLBACK")
    other.close()
    log.append(running(one))
    assert log.state(one) is TrialState.RUNNING
    log.close()


def test_events_of_other_trials_are_not_in_the_table(log: TrialLog) -> None:
    """Unfinished and renamed trials of another task, or older than the newest asked for, stay out of the table."""
    other, ours = log.create([new(task_fingerprint="g"), new()])
    log.append([*running(other), epoch(other, 1), *running(ours), epoch(ours, 1, 0.25)])
    log.annotate(other, name="other", tags=["x"])
    log.annotate(ours, name="ours")
    for frame in (log.trials(task_fingerprint="f"), log.trials(last=1)):
        assert frame[["trial", "name", "state", "best_val_loss"]].to_numpy().tolist() == [
            [ours, "ours", "running", 0.25]
        ]


def test_a_drivers_error_with_the_password_is_not_reachable(log: TrialLog, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "hunter2-of-the-server"
    monkeypatch.setattr(log.database.engine, "url", log.database.engine.url.set(password=secret))
    driver = sqlite3.OperationalError(f"connection to server failed: password={secret}")
    with pytest.raises(LogError) as caught, log.database.write():
        raise OperationalError("INSERT", {}, driver) from driver
    pending: list[BaseException | None] = [caught.value]
    while pending:
        error = pending.pop()
        if error is not None:
            assert secret not in f"{error!r} {error} {error.args} {vars(error)}"
            pending += [error.__cause__, error.__context__]


def test_a_url_that_cannot_be_parsed_is_not_reachable() -> None:
    with pytest.raises(LogError) as caught:
        TrialLog.open("postgresql://user:pass@host:hunter2/base")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "hunter2" not in str(caught.value)
