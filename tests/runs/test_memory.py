"""A run that has ended keeps its results and lets go of its cohort and the cohort's copy of the data."""

from __future__ import annotations

import gc
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
