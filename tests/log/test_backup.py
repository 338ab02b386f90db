"""Copies of a log that is in use."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import workbench as wb
from tests.log.making import new
from workbench.core.errors import LogError
from workbench.log import TrialLog


def epochs_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("SELECT count(*) FROM epochs").fetchone()[0])


def test_a_copy_of_the_file_alone_holds_the_ended_runs(tmp_path: Path) -> None:
    bench = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db")
    bench.start(wb.Config(epochs=3)).wait()
    shutil.copy(tmp_path / "trials.db", tmp_path / "copy.db")  # without the -wal file, while the log is open
    assert epochs_in(tmp_path / "copy.db") == 3


def test_a_backup_holds_what_is_written_and_replaces_no_file(tmp_path: Path) -> None:
    bench = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db")
    bench.start(wb.Config(epochs=3)).wait()
    bench.backup(tmp_path / "copy.db")
    bench.start(wb.Config(epochs=2)).wait()
    assert epochs_in(tmp_path / "copy.db") == 3
    copy = TrialLog.open(tmp_path / "copy.db")
    assert copy.trials()["epochs_run"].tolist() == [3]
    copy.close()
    with pytest.raises(LogError, match="the file exists"):
        bench.backup(tmp_path / "copy.db")
    with pytest.raises(LogError, match="cannot be written: No such file or directory"):
        bench.backup(tmp_path / "nowhere" / "copy.db")


def test_a_log_in_memory_can_be_backed_up(tmp_path: Path) -> None:
    log = TrialLog.open(None)
    log.create([new(), new()])
    log.backup(tmp_path / "copy.db")
    assert len(TrialLog.open(tmp_path / "copy.db").trials()) == 2


def test_a_backup_of_a_server_names_its_tool(postgresql: str, tmp_path: Path) -> None:
    log = TrialLog.open(postgresql)
    with pytest.raises(LogError, match="pg_dump"):
        log.backup(tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    log.close()


def test_a_database_that_raises_at_a_runs_end_does_not_stop_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db")

    def broken() -> None:
        raise sqlite3.DatabaseError("planted")

    monkeypatch.setattr(bench.log.database.engine, "raw_connection", broken)
    assert bench.run(wb.Config(epochs=1)).done
    assert bench.run(wb.Config(epochs=1, seed=1)).done
