"""`kill -9` at any moment: what the log acknowledged is there, and what is resumed ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import workbench as wb
from tests.faults.victim import JOBS

if TYPE_CHECKING:
    from tests.faults.conftest import Victims

ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("WORKBENCH_KILLS", "4"))
"""Kills for each job; more by `make soak`."""


def rows_of(log: Path, table: str, columns: str) -> list[tuple[Any, ...]]:
    """What another process finds in the file; nothing in one whose process was killed before its tables were there."""
    connection = sqlite3.connect(log)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        # all tables or none: half a schema would be a damaged log
        assert not tables or {"trials", "epochs", "ends", "findings"} <= tables
        return connection.execute(f"SELECT {columns} FROM {table}").fetchall() if tables else []
    finally:
        connection.close()


def epochs_of(log: Path) -> set[tuple[Any, ...]]:
    """Every epoch, as it was measured."""
    columns = "trial, epoch, step, train_loss, val_loss, val_metric, learning_rate, grad_norm"
    return set(rows_of(log, "epochs", columns))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("job", JOBS)
def test_killed_at_random_moments_it_ends_as_if_nothing_had_happened(
    victims: Victims, tmp_path: Path, job: str
) -> None:
    whole = tmp_path / "whole.db"
    seconds = victims.run(job, whole)
    wanted = json.loads(whole.with_suffix(".json").read_text())
    assert wanted["ends"]
    draw = random.Random(job)
    for kill in range(ROUNDS):
        log = tmp_path / f"killed-{kill}.db"
        lived = victims.run(job, log, kill_after=draw.uniform(0.05, 1.0) * seconds)
        if not log.exists():
            continue  # killed before there was a log
        acknowledged = epochs_of(log)
        if kill % 2:  # the next process does not live long either
            victims.run(job, log, resume=True, kill_after=draw.uniform(0.05, 0.5) * seconds)
            assert acknowledged <= epochs_of(log)
        begun = len(rows_of(log, "trials", "id"))
        victims.run(job, log, resume=True)
        found = json.loads(log.with_suffix(".json").read_text())
        assert acknowledged <= epochs_of(log)
        place = f"killed after {lived:.2f} of {seconds:.2f} s, {len(acknowledged)} epochs, {begun} trials"
        trials = set(found["configs"])
        if trials != set(wanted["configs"]):  # killed before all had been asked for
            assert trials <= set(wanted["configs"]), place
            asked = {"branch": 1, "learning_search": 1, "queue": 3}.get(job, 0)  # what was entered before the rest
            assert begun <= asked, place
            continue
        assert found["configs"] == wanted["configs"], place
        assert found["ends"] == wanted["ends"], place
        assert found["bits"] == wanted["bits"], place
        for series, state in wanted["states"].items():
            # killed within the last burst of checkpoints after its trials had ended, a cohort has nothing to be resumed
            assert found["states"][series] == state or found["states"][series][0] < state[0], place


def test_a_living_process_is_left_alone(victims: Victims, tmp_path: Path) -> None:
    log = tmp_path / "trials.db"
    bench = wb.Workbench(wb.Task.load("iris"), log=log)
    run = bench.start(wb.Config(epochs=50_000))
    while not len(bench.curves(1)):
        run._done.wait(0.01)
    script = (
        "import sys, workbench as wb; bench = wb.Workbench(wb.Task.load('iris'), log=sys.argv[1]);"
        "print(len(bench.resume()), bench.trials['state'][0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(log)], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.split() == ["0", "running"]
    run.stop()
    run.wait(60)
    assert bench.trials["state"].tolist() == ["stopped"]
    assert len(bench.resume()) == 0


def test_a_file_left_before_its_tables_were_there_is_a_new_log(victims: Victims, tmp_path: Path) -> None:
    log = tmp_path / "trials.db"
    with sqlite3.connect(log) as connection:  # as far as a process gets that is killed while it creates its log
        connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert log.exists()
    assert rows_of(log, "epochs", "*") == []
    victims.run("alone", log, resume=True)  # nothing to be resumed is no error
    bench = wb.Workbench(wb.Task.load("iris"), log=log)
    assert len(bench.trials) == 0
    bench.run(wb.Config(epochs=2))
    assert len(epochs_of(log)) == 2
