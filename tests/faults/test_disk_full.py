"""A disk that gets full while a trial trains: training waits, says so, and goes on as if nothing had happened.

Each test runs on a real disk of a few megabytes, where this process may mount one, and on a pretended one everywhere.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Connection, event

import workbench as wb
from tests.faults.heard import PATIENCE, Heard
from workbench.checkpoints import CheckpointStore
from workbench.core import files
from workbench.core.events import EpochEnd, Event, TrialEnded

pytestmark = pytest.mark.timeout(120)

CONFIG = wb.Config(hidden_units=8, batch_size=2, epochs=60, dropout=0.2)
FULL_AT = 15
"""The epoch after which the disk gets full."""
DISK_MEGABYTES = 4


class RealDisk:
    """A tmpfs of a few megabytes, full when a filler takes what is left of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def watch(self, bench: wb.Workbench) -> None:
        """What is on the disk needs no help to notice that it is full."""

    def fill(self) -> None:
        if not os.path.ismount(self.folder):  # a test that ended before its training has taken the disk away
            raise OSError(errno.ENODEV, "the disk of this test is no longer mounted", str(self.folder))
        with self._filler.open("wb", buffering=0) as file:
            for size in (65536, 4096, 1):
                with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                    while True:
                        file.write(b"\0" * size)

    def free(self) -> None:
        self._filler.unlink()


class PretendedDisk:
    """An ordinary folder: while it is full, SQLite may take no further page, and no file gets through to the disk."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._full = False
        through = os.fsync

        def fsync(descriptor: int) -> None:
            mine = os.fstat(descriptor).st_ino in {path.stat().st_ino for path in folder.rglob("*")}
            if self._full and mine:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            through(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)

    def watch(self, bench: wb.Workbench) -> None:
        def limit(connection: Connection) -> None:
            full = self._full and Path(connection.engine.url.database or "").is_relative_to(self.folder)
            connection.exec_driver_sql(f"PRAGMA max_page_count = {1 if full else 2**30}")

        event.listen(bench.log.database.engine, "begin", limit)

    def fill(self) -> None:
        self._full = True

    def free(self) -> None:
        self._full = False


@pytest.fixture(params=["real", "pretended"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A disk of its own that can be filled and freed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "pretended":
        yield PretendedDisk(folder, monkeypatch)
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("a tmpfs can be mounted on Linux only; the pretended disk is tried")
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except OSError as error:
        pytest.skip(f"this machine has no `mount` ({error}); the pretended disk is tried")
    if mounted.returncode:
        pytest.skip(f"this process may not mount a tmpfs ({mounted.stderr.strip()}); the pretended disk is tried")
    try:
        yield RealDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=20)


class Attempts:
    """How often something was tried, to be waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self._count, self._news = 0, threading.Condition()
        usual = getattr(owner, name)

        def tried(*arguments: Any, **options: Any) -> Any:
            with self._news:
                self._count += 1
                self._news.notify_all()
            return usual(*arguments, **options)

        monkeypatch.setattr(owner, name, tried)

    def wait_for(self, more: int) -> None:
        with self._news:
            goal = self._count + more
            assert self._news.wait_for(lambda: self._count >= goal, PATIENCE), "nothing is tried any more"


@pytest.fixture(scope="module")
def undisturbed() -> pd.DataFrame:
    """The curves of the same training on a disk with room."""
    bench = wb.Workbench(wb.Task.load("iris"))
    bench.run(CONFIG)
    return curves(bench)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon: the tests wait for attempts, not for seconds."""
    monkeypatch.setattr("workbench.runs.runner.RETRY_SECONDS", 0.02)
    monkeypatch.setattr("workbench.checkpoints.store.RETRY_SECONDS", 0.02)
    # each epoch wants its checkpoint, however slow the machine
    monkeypatch.setattr("workbench.checkpoints.store.ALLOWANCE_SECONDS", 1000.0)


def curves(bench: wb.Workbench) -> pd.DataFrame:
    return bench.curves(1).drop(columns="seconds").reset_index(drop=True)


def check_log(path: Path, heard: Heard) -> None:
    """Another process finds the file whole, with everything in it that was published."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    kept = set(connection.execute("SELECT epoch, step, train_loss, val_loss FROM epochs").fetchall())
    connection.close()
    assert {(one.epoch, one.step, one.train_loss, one.val_loss) for one in heard.epochs} <= kept


def check_whole(bench: wb.Workbench, undisturbed: pd.DataFrame, checkpoints: Path) -> None:
    """The trial is complete, equal to the undisturbed one to the last bit, and so are its checkpoints."""
    assert bench.trials["state"].tolist() == ["completed"]
    assert bench.curves(1)["epoch"].tolist() == list(range(1, CONFIG.epochs + 1))
    pd.testing.assert_frame_equal(curves(bench), undisturbed, check_exact=True)
    assert bench.checkpoints.flush(PATIENCE)
    assert [path.name for path in checkpoints.rglob("*") if ".tmp" in path.name] == []
    series, _ = bench.log.history.cohorts(1)[1]
    epochs = bench.checkpoints.epochs(series)
    assert epochs[-1] == CONFIG.epochs
    for epoch in epochs:
        assert bench.checkpoints.load(series, epoch).epoch == epoch


# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint_case(disk: Any, tmp_path: Path) -> tuple[wb.Workbench, Heard]:
    """Checkpoints on the disk that gets full, the log elsewhere."""
    bench = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db", checkpoints=disk.folder / "checkpoints")
    disk.watch(bench)
    return bench, Heard(bench, FULL_AT, disk.fill)


def test_full_in_the_middle_of_a_checkpoint(
    disk: Any,
    checkpoint_case: tuple[wb.Workbench, Heard],
    tmp_path: Path,
    undisturbed: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench, heard = checkpoint_case
    attempts = Attempts(monkeypatch, files, "write")
    run = bench.start(CONFIG)
    told = heard.wait_for_remark("Training waits")
    assert "could not be written: the disk is full; free some space" in told
    assert str(disk.folder) in told
    assert told.endswith("Training waits and goes on when there is room; Stop ends it.")
    reached = len(heard.epochs)
    attempts.wait_for(5)
    assert len(heard.epochs) == reached < CONFIG.epochs
    assert not run.done
    check_log(tmp_path / "trials.db", heard)
    disk.free()
    run.wait(PATIENCE)
    assert heard.messages == [told, "Written now: training goes on."]
    check_whole(bench, undisturbed, disk.folder / "checkpoints")
    check_log(tmp_path / "trials.db", heard)


def test_stop_ends_the_waiting_for_a_checkpoint(
    disk: Any, checkpoint_case: tuple[wb.Workbench, Heard], tmp_path: Path
) -> None:
    bench, heard = checkpoint_case
    run = bench.start(CONFIG)
    told = heard.wait_for_remark("Training waits")
    reached = len(heard.epochs)
    run.stop()
    run.wait(PATIENCE)
    assert bench.trials["state"].tolist() == ["stopped"]
    assert reached <= len(bench.curves(1)) < CONFIG.epochs
    check_log(tmp_path / "trials.db", heard)
    assert heard.messages == [told]  # nothing was written: it must not say so
    disk.free()
    assert bench.checkpoints.flush(PATIENCE) or bench.checkpoints.write_error is not None
    with bench.checkpoints._lock:  # what could not be written is written now
        assert bench.checkpoints._lock.wait_for(
            lambda: not bench.checkpoints._waiting and not bench.checkpoints._busy, PATIENCE
        )
    assert bench.checkpoints.write_error is None
    assert [path.name for path in disk.folder.rglob("*") if ".tmp" in path.name] == []


def test_the_next_run_waits_too_and_goes_on(
    disk: Any, checkpoint_case: tuple[wb.Workbench, Heard], undisturbed: pd.DataFrame
) -> None:
    bench, heard = checkpoint_case
    run = bench.start(CONFIG)
    heard.wait_for_remark("Training waits")
    run.stop()
    run.wait(PATIENCE)
    before = len(heard.messages)
    again = bench.start(CONFIG)
    with heard._news:
        assert heard._news.wait_for(lambda: any("waits" in text for text in heard.messages[before:]), PATIENCE)
    assert not again.done
    disk.free()
    again.wait(PATIENCE)
    assert bench.trials["state"].tolist() == ["stopped", "completed"]
    second = bench.curves(2).drop(columns="seconds").reset_index(drop=True).assign(trial=1)
    pd.testing.assert_frame_equal(second, undisturbed, check_exact=True)


def test_full_at_the_very_end_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last checkpoint finds no room after the trial's end has been published."""
    bench = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db")
    disk = PretendedDisk(bench.checkpoints.folder, monkeypatch)
    ended, fsync = threading.Event(), os.fsync

    def late(descriptor: int) -> None:
        if disk._full:
            ended.wait(1.0)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", late)

    def fill() -> None:
        assert bench.checkpoints.flush(PATIENCE)  # all but the last are there
        disk.fill()

    heard = Heard(bench, 4, fill)

    def published(events: Sequence[Event]) -> None:
        if any(isinstance(one, TrialEnded) for one in events):
            ended.set()

    bench.presenter.session.subscribe(published)
    run = bench.start(CONFIG.replace(epochs=5))
    try:
        heard.wait_for_remark("could not be written: the disk is full; free some space")
    finally:
        disk.free()
    run.wait(PATIENCE)
    heard.wait_for_remark("Written now: the last checkpoint is kept")
    assert bench.checkpoints.epochs(bench.log.history.cohorts(1)[1][0])[-1] == 5
    assert bench.trials["state"].tolist() == ["completed"]


def test_what_a_killed_process_left_of_a_checkpoint_is_taken_away(tmp_path: Path) -> None:
    bench = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db")
    bench.run(CONFIG.replace(epochs=3))
    assert bench.checkpoints.flush(PATIENCE)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(PATIENCE)
    place = bench.checkpoints.folder / "00000001"
    left, going = (place / f".000002.pt.{pid}-1.tmp" for pid in (gone.pid, os.getppid()))
    left.write_bytes(b"half a checkpoint")
    os.utime(left, (0, 0))
    going.write_bytes(b"another process writes here at this moment")
    again = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db")
    again.run(CONFIG.replace(epochs=3, seed=1))
    assert again.checkpoints.flush(PATIENCE)
    assert not left.exists()
    assert going.exists()


# --- the log --------------------------------------------------------------------------------------------------------


@pytest.fixture
def log_case(disk: Any, tmp_path: Path) -> tuple[wb.Workbench, Heard]:
    """The log, a SQLite file with its write-ahead log, on the disk that gets full, the checkpoints elsewhere."""
    bench = wb.Workbench(wb.Task.load("iris"), log=disk.folder / "trials.db", checkpoints=tmp_path / "checkpoints")
    disk.watch(bench)
    return bench, Heard(bench, FULL_AT, disk.fill)


def test_full_in_the_middle_of_the_log(
    disk: Any,
    log_case: tuple[wb.Workbench, Heard],
    tmp_path: Path,
    undisturbed: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench, heard = log_case
    attempts = Attempts(monkeypatch, bench.log, "append")
    run = bench.start(CONFIG)
    told = heard.wait_for_remark("Training waits")
    assert "the disk is full; free some space. Everything acknowledged so far is kept." in told
    assert str(disk.folder / "trials.db") in told
    assert told.endswith("Training waits and tries again; Stop ends it.")
    reached = len(heard.epochs)
    attempts.wait_for(5)
    assert len(heard.epochs) == reached < CONFIG.epochs
    assert not run.done
    assert len(bench.curves(1)) == reached  # it can be read while it cannot be written
    check_log(disk.folder / "trials.db", heard)
    disk.free()
    run.wait(PATIENCE)
    assert heard.messages == [told, "Written now: training goes on."]
    check_whole(bench, undisturbed, tmp_path / "checkpoints")
    check_log(disk.folder / "trials.db", heard)


def test_stop_ends_the_waiting_for_the_log_and_it_can_be_resumed(
    disk: Any, log_case: tuple[wb.Workbench, Heard], tmp_path: Path, undisturbed: pd.DataFrame
) -> None:
    bench, heard = log_case
    run = bench.start(CONFIG)
    heard.wait_for_remark("Training waits")
    reached = len(heard.epochs)
    run.stop()
    with pytest.raises(wb.LogError, match="disk is full; free some space"):
        run.wait(PATIENCE)
    check_log(disk.folder / "trials.db", heard)
    disk.free()
    assert len(bench.curves(1)) == reached
    bench.resume().wait(PATIENCE)
    check_whole(bench, undisturbed, tmp_path / "checkpoints")
    check_log(disk.folder / "trials.db", heard)


def test_killed_while_it_waits(disk: Any, tmp_path: Path, undisturbed: pd.DataFrame) -> None:
    """The disk is full, and then the process dies: what was acknowledged is there, and the rest is trained again."""
    if not isinstance(disk, RealDisk):
        pytest.skip("a pretended disk is pretended in this process only")
    script = (
        "import os, sys, workbench as wb; from pathlib import Path;"
        "from tests.faults.test_disk_full import CONFIG, FULL_AT, Heard, RealDisk;"
        "disk = RealDisk(Path(sys.argv[1]));"
        "bench = wb.Workbench(wb.Task.load('iris'), log=disk.folder / 'trials.db', checkpoints=sys.argv[2]);"
        "heard = Heard(bench, FULL_AT, disk.fill);"
        "run = bench.start(CONFIG);"
        "heard.wait_for_remark('Training waits');"
        "print(len(heard.epochs), flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(disk.folder), str(tmp_path / "checkpoints")],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    reached = int(done.stdout)
    with pytest.raises(wb.LogError, match="disk is full|disk does not answer"):
        wb.Workbench(wb.Task.load("iris"), log=disk.folder / "trials.db", checkpoints=tmp_path / "checkpoints")
    disk.free()
    bench = wb.Workbench(wb.Task.load("iris"), log=disk.folder / "trials.db", checkpoints=tmp_path / "checkpoints")
    assert bench.trials["state"].tolist() == ["interrupted"]
    assert len(bench.curves(1)) == reached
    bench.resume().wait(PATIENCE)
    check_whole(bench, undisturbed, tmp_path / "checkpoints")


# --- the budget -----------------------------------------------------------------------------------------------------


def test_checkpoints_stay_within_their_budget_during_long_runs(tmp_path: Path) -> None:
    bench = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db")
    bench.checkpoints.budget = budget = 150_000
    folder = bench.checkpoints.folder
    spent: list[int] = []
    largest = [0]

    def sizes() -> list[int]:
        found = []
        for path in folder.rglob("*.pt"):
            try:
                found.append(path.stat().st_size)
            except FileNotFoundError:  # thinned out between the look and the measurement
                continue
        return found

    def measured(events: Sequence[Event]) -> None:
        if any(isinstance(one, EpochEnd) for one in events) and (found := sizes()):
            spent.append(sum(found))
            largest[0] = max(largest[0], *found)

    bench.presenter.session.subscribe(measured)
    for seed in range(3):
        bench.run(CONFIG.replace(epochs=120, batch_size=16, seed=seed))
    assert bench.checkpoints.flush(PATIENCE)
    # a new one is written before others go, so that no kill leaves none: one more than fits may be there for a moment
    assert max(spent) <= budget + largest[0]
    assert sum(sizes()) <= budget
    assert bench.checkpoints.used == sum(sizes())
    written = 3 * 120 * largest[0]
    assert written > 5 * budget  # it had to thin out
    for trial in (1, 2, 3):  # and thinned out evenly, so that each trial can still be looked back on
        series, _ = bench.log.history.cohorts(trial)[trial]
        epochs = bench.checkpoints.epochs(series)
        assert epochs[-1] == 120
        assert bench.checkpoints.load(series, epochs[-1]).epoch == 120
    assert CheckpointStore(folder).budget == budget
