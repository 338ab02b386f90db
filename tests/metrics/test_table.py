"""The metrics agree with scikit-learn, for one trial, for several at once, and on weighted rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import Tensor

import workbench as wb
from workbench.core.direction import sign
from workbench.core.errors import ModelError
from workbench.core.registry import METRICS
from workbench.metrics.table import evaluate_metric, evaluate_metrics, weighted_mean

SKLEARN: dict[str, Callable[..., float]] = {
    "accuracy": lambda y, outputs, **options: metrics.accuracy_score(y, outputs.argmax(1), **options),
    "r2": lambda y, outputs, **options: metrics.r2_score(y, outputs, multioutput="uniform_average", **options),
    "rmse": lambda y, outputs, **options: metrics.mean_squared_error(y, outputs, **options) ** 0.5,
}
SCORERS = {"accuracy": "accuracy", "r2": "r2", "rmse": "neg_root_mean_squared_error"}


def data(metric: str, trials: int, rows: int = 37, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Outputs (trials, rows, 3) and targets (rows,) or (rows, 3), which the outputs follow with noise."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(trials, rows, 3, generator=generator)
    if metric == "accuracy":
        targets = torch.randint(0, 3, (rows,), generator=generator)
        return noise + torch.nn.functional.one_hot(targets, 3), targets
    targets = torch.randn(rows, 3, generator=generator) * torch.tensor([1.0, 2.0, 5.0]) + 4
    return targets + noise, targets


@pytest.mark.parametrize("metric", SKLEARN)
def test_a_metric_is_that_of_scikit_learn_for_one_trial_and_for_several(metric: str) -> None:
    outputs, targets = data(metric, 4)
    expected = [SKLEARN[metric](targets.numpy(), own.numpy()) for own in outputs]
    assert len(set(expected)) == 4
    assert evaluate_metric(metric, outputs[0], targets) == pytest.approx(expected[0], abs=1e-6)
    together = evaluate_metrics(metric, outputs, targets.expand(4, *targets.shape))
    assert together == pytest.approx(expected, abs=1e-6)
    assert evaluate_metrics(metric, outputs[:1], targets[None]) == pytest.approx(expected[:1], abs=1e-6)


@pytest.mark.parametrize("metric", SKLEARN)
def test_a_metric_on_weighted_rows_is_that_of_scikit_learn(metric: str) -> None:
    outputs, targets = data(metric, 3)
    counts = np.random.default_rng(1).integers(0, 4, (5, len(targets))).astype(float)
    weighted = METRICS[metric].value.weighted(outputs.double().numpy(), targets.numpy(), counts)
    expected = [[SKLEARN[metric](targets.numpy(), own.numpy(), sample_weight=row) for own in outputs] for row in counts]
    np.testing.assert_allclose(weighted, expected, rtol=1e-5)


@pytest.mark.parametrize("metric", SKLEARN)
def test_the_direction_is_that_of_scikit_learns_scorer(metric: str) -> None:
    assert sign(METRICS[metric].value.better) == metrics.get_scorer(SCORERS[metric])._sign


def test_a_weighted_mean_is_numpys() -> None:
    values, counts = np.random.default_rng(0).random((2, 6)), np.arange(18.0).reshape(3, 6)
    expected = [[np.average(own, weights=row) for own in values] for row in counts]
    np.testing.assert_allclose(weighted_mean(values, counts), expected)


def test_r2_of_equal_targets_is_not_defined_on_weighted_rows_either() -> None:
    targets = np.full((4, 1), 0.1)
    weighted = METRICS["r2"].value.weighted
    assert np.isnan(weighted(np.zeros((2, 4, 1)), targets, np.ones((1, 4)))).all()
    varied = np.array([[0.1], [0.1], [0.1], [0.2]])  # the draw leaves the row that differs out
    assert np.isnan(weighted(np.zeros((1, 4, 1)), varied, np.array([[1.0, 1.0, 2.0, 0.0]]))).all()


@pytest.mark.parametrize("returned", ["no number", torch.zeros(2), None])
def test_a_metric_that_returns_no_number_is_named(returned: Any) -> None:
    wb.register_metric("broken", lambda outputs, targets: returned)
    try:
        with pytest.raises(ModelError, match="metric 'broken': must return one number, raised"):
            evaluate_metric("broken", torch.zeros(3, 2), torch.zeros(3))
    finally:
        METRICS.unregister("broken")
