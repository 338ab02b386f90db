"""A run that has ended keeps its results and lets go of its cohort and the cohort's copy of the data."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from typing import Any

import pytest
import torch

import workbench as wb
from workbench.training.cohort import Cohort


def test_an_ended_run_frees_its_cohorts_and_keeps_its_results(monkeypatch: pytest.MonkeyPatch) -> None:
    cohorts: list[weakref.ref[Any]] = []
    enter = Cohort._enter

    def noted(self: Any, config: wb.Config, size: int | None) -> None:
        cohorts.append(weakref.ref(self))
        enter(self, config, size)

    monkeypatch.setattr(Cohort, "_enter", noted)
    task = wb.Task.load("iris")
    bench = wb.Workbench(task, log=None)
    runs = [bench.start(wb.Config(epochs=1, seed=seed)).wait() for seed in range(3)]
    search = bench.search("random", {"learning_rate": wb.LogRange(1e-4, 1e-1)}, wb.Config(epochs=1), trials=3).wait()
    for thread in threading.enumerate():
        if thread.name == "workbench-training":
            thread.join(60)
    gc.collect()
    assert len(cohorts) >= 4
    assert [one for one in cohorts if one() is not None] == []
    for run in runs:
        (trial,) = run.trials
        assert run.states[trial].value == "completed"
        assert run.verdict == ""
        own, logged = run.model(), bench.model(trial)
        x = task.validation.x[:5]
        with torch.no_grad():
            assert torch.equal(own(x), logged(x))
    assert len(search.trials) == 3
    assert len(bench._session._requests) <= 1


MANY_RUNS = """
import gc, psutil, numpy as np, workbench as wb
from workbench.training import stages
stages._on = lambda split, device, dtype: split.x.to(device, dtype).clone()  # as on a GPU: a copy for each cohort
X = np.random.default_rng(0).normal(size=(50_000, 100)).astype("float32")
bench = wb.Workbench(wb.Task.from_arrays(X, (X[:, 0] > 0).astype("int64"), name="big"))
sizes = []
for seed in range(16):
    bench.run(wb.Config(epochs=1, batch_size=2048, seed=seed))
    gc.collect()
    sizes.append(psutil.Process().memory_info().rss / 2**20)
print(max(sizes[-3:]) - max(sizes[:5]))
"""


def test_many_runs_on_large_data_do_not_grow_the_process() -> None:
    """Memory that a training thread has freed goes back to the system: many runs on 20 MB of data take less than 30 MiB more."""
    done = subprocess.run([sys.executable, "-c", MANY_RUNS], capture_output=True, text=True, check=True, timeout=240)
    assert float(done.stdout) < 30
