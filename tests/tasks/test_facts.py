"""What a task tells about itself: the score to beat, by the task's own metric, and the table of facts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, r2_score

import workbench as wb
from workbench.core.registry import METRICS

RNG = np.random.default_rng(8)
X = RNG.normal(size=(120, 2))
Y = np.repeat([0, 1, 2], [70, 30, 20])


def fact(task: wb.Task, name: str = "baseline") -> str:
    return str(task.summary().loc[name, "value"])


@pytest.fixture
def own() -> Iterator[Any]:
    """Registers metrics of the user's own for a while."""
    before = set(METRICS)
    yield wb.register_metric
    for name in set(METRICS) - before:
        METRICS.unregister(name)


def test_the_baseline_of_classes_is_the_most_frequent_one() -> None:
    task = wb.Task.from_arrays(X, Y)
    right = accuracy_score(task.validation.y, np.zeros(len(task.validation)))
    assert task.baseline.metric == pytest.approx(right)
    assert task.baseline.description == "always answers '0'"
    assert fact(task).startswith(f"accuracy {right:.3f}, loss ")


@pytest.mark.parametrize("columns", [1, 2])
def test_the_baseline_of_numbers_is_the_training_mean(columns: int) -> None:
    y = RNG.normal(100, [3, 50], (120, 2))[:, :columns]
    task = wb.Task.from_arrays(X, y)
    targets = task.validation.y.double().numpy()
    assert task.baseline.metric == pytest.approx(r2_score(targets, np.zeros_like(targets)), abs=1e-6)
    assert fact(task).startswith("R² ")
    rmse = wb.Task.from_arrays(X, y, metrics="rmse")
    errors = task.validation.target.numpy() - task.train.target.numpy().mean(0)  # in the target's own unit
    assert rmse.baseline.metric == pytest.approx(np.sqrt((errors**2).mean(0)).mean(), rel=1e-9)
    assert rmse.baseline.loss == task.baseline.loss
    assert fact(rmse).startswith(f"RMSE {rmse.baseline.metric:.4g}, loss ")


def test_the_baseline_is_measured_by_a_metric_of_the_users_own(own: Any) -> None:
    def balanced(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        return float(balanced_accuracy_score(targets, outputs.argmax(1)))

    def entropy(probabilities: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.nll_loss(probabilities.log(), targets)

    own("balanced", balanced, label="Balanced accuracy", kinds=["classification"])
    own("entropy", entropy, better="lower", kinds=["classification"])
    task = wb.Task.from_arrays(X, Y, metrics="balanced")
    assert task.baseline.metric == pytest.approx(1 / 3)
    assert fact(task).startswith("balanced accuracy 0.333, loss ")
    task = wb.Task.from_arrays(X, Y, metrics="entropy")
    assert task.baseline.metric == pytest.approx(task.baseline.loss, rel=1e-5)  # of the classes' shares


def test_a_baseline_that_is_not_defined_is_not_a_number(own: Any) -> None:
    def picky(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        raise ZeroDivisionError("all answers are equal")

    own("picky", picky)
    assert math.isnan(wb.Task.from_arrays(X, Y, metrics="picky").baseline.metric)
    assert fact(wb.Task.from_arrays(X, Y, metrics="not yet registered")).startswith("not yet registered nan, loss ")
    zeros = np.zeros(120)
    zeros[wb.Task.from_arrays(np.arange(120.0)[:, None], np.arange(120) / 7, standardize=False).train.x[0].long()] = 1.5
    equal = wb.Task.from_arrays(X, zeros, kind="regression")  # R² of validation targets that are all equal
    assert math.isnan(equal.baseline.metric)
    assert math.isfinite(equal.baseline.loss)
