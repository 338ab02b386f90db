"""Metrics where they have no value: outputs that are NaN, rows of one class, and rows of weight 0."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn import metrics
from torch import Tensor

import workbench as wb
from workbench.core.registry import METRICS
from workbench.metrics.evaluation import evaluate
from workbench.metrics.intervals import score_interval

GENERATOR = torch.Generator().manual_seed(0)


def some(kind: str, trials: int = 3, rows: int = 40) -> tuple[Tensor, Tensor]:
    outputs = torch.rand(trials, rows, 3, generator=GENERATOR, dtype=torch.float64)
    if kind == "classification":
        return outputs / outputs.sum(-1, keepdim=True), (torch.arange(rows) % 3).expand(trials, -1)
    if kind == "dense":
        targets = torch.randint(0, 3, (trials, rows, 5), generator=GENERATOR)
        return outputs.unsqueeze(-1).repeat(1, 1, 1, 5), targets
    targets = torch.randint(0, 2, outputs.shape, generator=GENERATOR).double()
    return outputs + 0.1, targets + 1 if kind in ("regression", "count") else targets


CASES = [(name, kind) for name in METRICS for kind in sorted(METRICS[name].kinds) if METRICS[name].value.batched]


@pytest.mark.parametrize(("metric", "kind"), CASES)
def test_outputs_that_are_nan_have_no_metric(metric: str, kind: str) -> None:
    """One NaN is enough, and the other trials keep their values."""
    outputs, targets = some(kind)
    whole = [own[metric] for own in evaluate([metric], outputs, targets)]
    outputs = outputs.clone()
    outputs[0], outputs[1, 7, 1] = math.nan, math.nan
    found = [own[metric] for own in evaluate([metric], outputs, targets)]
    assert math.isnan(found[0])
    assert math.isnan(found[1])
    assert found[2] == whole[2]
    assert math.isfinite(found[2])


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "log_loss"])
def test_outputs_whose_probabilities_are_nan_have_no_metric_of_these(metric: str) -> None:
    outputs, targets = some("classification")
    outputs = outputs.clone()
    outputs[0, 3] = math.inf  # its softmax is NaN
    found = evaluate([metric], outputs, targets, predict=lambda values: values.softmax(-1))
    assert math.isnan(found[0][metric])
    assert math.isfinite(found[1][metric])


@pytest.mark.parametrize("seed", range(20))
def test_a_weighted_roc_auc_of_one_class_has_no_value(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(1, 50, generator=generator, dtype=torch.float64)
    scores = torch.rand(1, 50, 2, generator=generator, dtype=torch.float64)
    for targets in (torch.ones(1, 50, dtype=torch.long), torch.zeros(1, 50, dtype=torch.long)):
        assert math.isnan(evaluate(["roc_auc"], scores, targets, weights)[0]["roc_auc"])
    labels = torch.randint(0, 2, (1, 50, 3), generator=generator).double()
    labels[..., 0] = 1  # a label that all rows have is left out of the mean
    found = evaluate(["roc_auc"], scores[..., [0, 1, 0]], labels, weights)[0]["roc_auc"]
    expected = [
        metrics.roc_auc_score(labels[0, :, k], scores[0, :, [0, 1, 0][k]], sample_weight=weights[0]) for k in (1, 2)
    ]
    assert found == pytest.approx(sum(expected) / 2)


@pytest.mark.parametrize("metric", ["mape", "poisson_deviance", "rmse", "mae", "r2"])
def test_a_row_of_weight_0_counts_for_nothing(metric: str) -> None:
    """Not even where the metric has no value on it: a target of 0, a prediction of 0 or infinity."""
    outputs, targets = some("regression")
    weights = torch.rand(3, 40, generator=GENERATOR, dtype=torch.float64) + 0.1
    expected = evaluate([metric], outputs[:, 1:], targets[:, 1:], weights[:, 1:])
    weights[:, 0], outputs[:, 0] = 0, math.inf if metric == "mae" else 0
    targets[:, 0] = 0 if metric == "mape" else 1
    found = evaluate([metric], outputs, targets, weights)
    assert [own[metric] for own in found] == pytest.approx([own[metric] for own in expected])


def test_a_metric_of_ones_own_gets_one_weight_a_row_of_a_dense_task() -> None:
    wb.register_metric(
        "by_row", lambda predictions, targets, weights: float((weights * targets[:, 0]).sum()), kinds=["dense"]
    )
    try:
        outputs, targets = some("dense")
        weights = torch.rand(3, 40, generator=GENERATOR, dtype=torch.float64)
        found = [own["by_row"] for own in evaluate(["by_row"], outputs, targets, weights)]
        assert found == pytest.approx((weights * targets[..., 0]).sum(1).tolist())
    finally:
        METRICS.unregister("by_row")


@pytest.mark.parametrize("default", [False, True])
def test_resamples_keep_their_weights_when_a_metric_raises_on_one_of_them(default: bool) -> None:
    """The row that the metric needs is missing in a third of the resamples."""

    def mean(predictions: Tensor, targets: Tensor, weights: Tensor) -> float:
        if not (targets == 1).any():
            raise ValueError("no row of class 1")
        return float((weights * targets).sum() / weights.sum())

    def optional(predictions: Tensor, targets: Tensor, weights: Tensor | None = None) -> float:
        return mean(predictions, targets, torch.ones(len(targets)) if weights is None else weights)

    wb.register_metric("needs_1", optional if default else mean, kinds=["classification"])
    try:
        targets = torch.tensor([1] + [0] * 20 + [2] * 20)
        weights = torch.where(targets == 2, 100.0, 1.0).double()
        predictions = torch.zeros(41, 3)
        found = score_interval("needs_1", predictions, targets, weights)
        assert 1.9 < found.low < found.score < found.high < 2.0
    finally:
        METRICS.unregister("needs_1")
