"""`kill -9` at any moment: what the log acknowledged is there, and what is resumed ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from tests.faults.victim import JOBS

ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("WORKBENCH_KILLS", "4"))
"""Kills for each job; more by `make soak`."""


class Victims:
    """Forks processes that train (see victim.py)."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.victim"], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, job: str, log: Path, *, resume: bool = False, kill_after: float | None = None) -> float:
        """One process: to its end, or killed after so many seconds. Returns how long it lived."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        started = time.monotonic()
        self._process.stdin.write(json.dumps({"job": job, "log": str(log), "resume": resume}) + "\n")
        self._process.stdin.flush()
        child = int(self._process.stdout.readline())
        if kill_after is not None:
            time.sleep(max(0.0, kill_after - (time.monotonic() - started)))  # the moment of the kill is what is tried
            with suppress(ProcessLookupError):  # it was faster
                os.kill(child, signal.SIGKILL)
        code = int(self._process.stdout.readline())
        if kill_after is None and code:
            self._process.kill()
            raise AssertionError(self._process.communicate()[1])
        return time.monotonic() - started

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    victims = Victims()
    yield victims
    victims.close()


def epochs_of(log: Path) -> set[tuple[Any, ...]]:
    """Every epoch that another process finds in the file, as it was measured."""
    with sqlite3.connect(log) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = "trial, epoch, step, train_loss, val_loss, val_metric, learning_rate, grad_norm"
        found = set(connection.execute(f"SELECT {names} FROM epochs").fetchall())
    connection.close()
    return found


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
        begun = sqlite3.connect(log).execute("SELECT count(*) FROM trials").fetchone()[0]
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
        assert found["states"] == wanted["states"], place


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
