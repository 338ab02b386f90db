"""`kill -9` at every kind of moment: what the log acknowledged is there, and what is resumed ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import workbench as wb
from tests.faults.moments import MOMENTS
from tests.faults.victim import JOBS

if TYPE_CHECKING:
    from tests.faults.conftest import Victims

ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("WORKBENCH_KILLS", "1"))
"""Kills at random moments for each job; more by `make soak`."""


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


@pytest.fixture(scope="module")
def wholes(victims: Victims, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[dict[str, Any], float]]:
    """What an uninterrupted process of a job leaves, and how many seconds it took."""

    @cache
    def whole(job: str) -> tuple[dict[str, Any], float]:
        log = tmp_path_factory.mktemp(job) / "whole.db"
        seconds = victims.run(job, log)
        return json.loads(log.with_suffix(".json").read_text()), seconds

    return whole


def check_equal(found: dict[str, Any], wanted: dict[str, Any], place: str) -> None:
    """What was resumed has ended as if nothing had happened."""
    assert wanted["ends"]
    assert found["configs"] == wanted["configs"], place
    assert found["ends"] == wanted["ends"], place
    assert found["bits"] == wanted["bits"], place
    for series, state in wanted["states"].items():
        # killed within the last burst of checkpoints after its trials had ended, a cohort has nothing to be resumed
        assert found["states"][series] == state or found["states"][series][0] < state[0], place


KILLS: dict[str, list[list[tuple[str, int]]]] = {
    "alone": [[("epoch inserted", 1)], [("checkpoint written", 2)], [("epoch committed", 110), ("epoch inserted", 1)]],
    "seeds": [[("checkpoint renamed", 1), ("epoch committed", 40)], [("end committed", 1)]],
    "branch": [[("epoch committed", 50)], [("epoch inserted", 60), ("checkpoint written", 1)]],
    "queue": [[("trials created", 3)], [("epoch inserted", 100), ("end committed", 3)]],
    "random_search": [[("configuration asked", 10)], [("end committed", 9), ("epoch inserted", 30)]],
    "learning_search": [[("configuration asked", 12), ("trials created", 1)], [("epoch committed", 30)]],
    "grid_search": [[("trials created", 2)], [("end committed", 5), ("checkpoint renamed", 1)]],
    "comparison": [[("end committed", 12)], [("configuration asked", 9), ("epoch committed", 80)]],
}
"""By job: the moments at which one process after the other is killed."""


def test_every_job_is_killed_and_every_moment_occurs() -> None:
    assert KILLS.keys() == JOBS.keys()
    named = {name for kills in KILLS.values() for kill in kills for name, _ in kill}
    assert named == MOMENTS.keys() - {"event committed"}


@pytest.mark.parametrize(
    ("job", "kill"),
    [pytest.param(job, kill, id=f"{job}-{kill}") for job, kills in KILLS.items() for kill in range(len(kills))],
)
def test_killed_at_a_named_moment_it_ends_as_if_nothing_had_happened(
    victims: Victims, wholes: Callable[[str], tuple[dict[str, Any], float]], tmp_path: Path, job: str, kill: int
) -> None:
    log = tmp_path / "trials.db"
    acknowledged: set[tuple[Any, ...]] = set()
    for turn, moment in enumerate(KILLS[job][kill]):
        victims.run(job, log, resume=turn > 0, kill_at=moment)
        assert acknowledged <= epochs_of(log)
        acknowledged = epochs_of(log)
        if turn == 0 and moment[0].startswith("epoch"):
            done = len(acknowledged)
            assert done >= moment[1] if moment[0] == "epoch committed" else done < moment[1]
    victims.run(job, log, resume=True)
    assert acknowledged <= epochs_of(log)
    check_equal(json.loads(log.with_suffix(".json").read_text()), wholes(job)[0], str(KILLS[job][kill]))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("job", JOBS)
def test_killed_at_random_moments_it_ends_as_if_nothing_had_happened(
    victims: Victims, wholes: Callable[[str], tuple[dict[str, Any], float]], tmp_path: Path, job: str
) -> None:
    wanted, seconds = wholes(job)
    draw = random.Random(f"{job} {ROUNDS}")
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
        check_equal(found, wanted, place)


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
