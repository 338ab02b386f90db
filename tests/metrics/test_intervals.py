"""The intervals of scores agree with SciPy's, and standard errors with the spread of many samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import workbench as wb
from workbench.core.errors import ModelError
from workbench.core.registry import METRICS
from workbench.metrics import intervals
from workbench.metrics.intervals import score_interval, standard_error


def regression(rows: int = 60) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    targets = torch.randn(rows, 1, generator=generator)
    return targets + 0.5 * torch.randn(rows, 1, generator=generator), targets


@pytest.mark.parametrize("correct", [0, 1, 25, 39, 40])
def test_the_interval_of_an_accuracy_is_clopper_and_pearsons(correct: int) -> None:
    targets = torch.zeros(40, dtype=torch.long)
    outputs = torch.tensor([[1.0, 0.0]] * correct + [[0.0, 1.0]] * (40 - correct))
    found = score_interval("accuracy", outputs, targets)
    low = stats.beta.ppf(0.025, correct, 41 - correct) if correct else 0.0
    high = stats.beta.ppf(0.975, correct + 1, 40 - correct) if correct < 40 else 1.0
    assert found[:3] == pytest.approx((correct / 40, low, high), abs=1e-6)
    assert found.method == "exact (Clopper-Pearson)"


@pytest.mark.parametrize("metric", ["rmse", "r2"])
def test_other_intervals_are_scipys_percentile_bootstrap(metric: str) -> None:
    outputs, targets = regression()

    def statistic(rows: np.ndarray) -> float:
        y, answers = targets.numpy()[rows.astype(int), 0], outputs.numpy()[rows.astype(int), 0]
        squared = np.mean((y - answers) ** 2)
        return float(np.sqrt(squared) if metric == "rmse" else 1 - squared / y.var())

    found = score_interval(metric, outputs, targets)
    expected = stats.bootstrap(
        (np.arange(len(targets)),), statistic, n_resamples=4000, vectorized=False, method="percentile", random_state=1
    ).confidence_interval
    width = expected.high - expected.low
    assert found.score == pytest.approx(statistic(np.arange(len(targets))), abs=1e-6)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.08 * width)
    assert found.method == "bootstrap (2,000 resamples of the rows)"


def test_the_interval_is_the_same_each_time_and_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, targets = regression(20)
    found = score_interval("rmse", outputs, targets)
    assert score_interval("rmse", outputs, targets) == found
    monkeypatch.setattr(intervals, "AT_ONCE", 20 * 300 + 7)
    assert score_interval("rmse", outputs, targets)[:3] == pytest.approx(found[:3], abs=1e-12)


def test_a_single_row_has_no_interval_but_an_exact_one() -> None:
    found = score_interval("rmse", torch.tensor([[1.0]]), torch.tensor([[3.0]]))
    assert found.score == 2.0
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert score_interval("accuracy", torch.tensor([[0.0, 1.0]]), torch.tensor([1]))[:3] == pytest.approx((1, 0.025, 1))


def test_a_metric_that_raises_on_some_resamples_has_an_interval_and_raises_on_the_rows_themselves() -> None:
    """A rare class is missing in a third of the resamples."""

    def recall(outputs: Tensor, targets: Tensor) -> Tensor:
        rare = targets == 1
        if not rare.any():
            raise ValueError("no row of the rare class")
        return (outputs.argmax(1) == targets)[rare].float().mean()

    wb.register_metric("rare_recall", recall, label="Recall", kinds=["classification"])
    try:
        targets = torch.zeros(30, dtype=torch.long)
        targets[0] = 1
        outputs = torch.nn.functional.one_hot(targets, 2).float()
        assert score_interval("rare_recall", outputs, targets)[:3] == (1.0, 1.0, 1.0)
        with pytest.raises(ModelError, match="no row of the rare class"):
            score_interval("rare_recall", outputs[1:], targets[1:])
    finally:
        METRICS.unregister("rare_recall")


def test_standard_errors_are_those_of_many_draws_of_the_rows() -> None:
    rng = np.random.default_rng(2)
    draws = rng.binomial(300, 0.8, 20_000) / 300
    assert standard_error("accuracy", 0.8, 300) == pytest.approx(draws.std(), rel=0.03)
    y = rng.normal(0, 1, (4000, 200))
    residual = rng.normal(0, 0.6, y.shape)
    r2 = 1 - (residual**2).sum(1) / ((y - y.mean(1, keepdims=True)) ** 2).sum(1)
    # the targets' own spread, which two models on the same rows share, is left out of the formula
    fixed = 1 - (residual**2).sum(1) / 200
    assert standard_error("r2", float(r2.mean()), 200) == pytest.approx(fixed.std(), rel=0.05)
    assert standard_error("rmse", 0.6, 200) == pytest.approx(np.sqrt((residual**2).mean(1)).std(), rel=0.05)


def test_a_perfect_or_hopeless_accuracy_has_an_error_of_half_a_row() -> None:
    expected = math.sqrt(0.005 * 0.995 / 100)
    assert standard_error("accuracy", 1.0, 100) == pytest.approx(expected)
    assert standard_error("accuracy", 0.0, 100) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metric", "score", "rows"), [("mine", 0.5, 100), ("r2", math.nan, 9), ("rmse", math.inf, 9), ("accuracy", 0.5, 0)]
)
def test_there_is_no_standard_error_without_a_known_metric_a_score_and_rows(
    metric: str, score: float, rows: int
) -> None:
    assert math.isnan(standard_error(metric, score, rows))


@pytest.mark.parametrize("metric", ["accuracy", "own_of_groups"])
def test_rows_of_one_group_count_as_one(metric: str) -> None:
    """Ten copies of each row are no more evidence than the row: the interval is that of the rows themselves."""
    wb.register_metric(
        "own_of_groups", lambda predictions, targets: float((predictions.argmax(1) == targets).double().mean())
    )
    try:
        generator = torch.Generator().manual_seed(0)
        targets = torch.randint(0, 2, (30,), generator=generator)
        predictions = torch.randn(30, 2, generator=generator) + torch.nn.functional.one_hot(targets, 2)
        groups = torch.arange(30).repeat_interleave(10)
        alone = score_interval(metric, predictions, targets, groups=torch.arange(30))
        copies = score_interval(metric, predictions[groups], targets[groups], groups=groups)
        assert copies.score == pytest.approx(alone.score)
        assert (copies.low, copies.high) == pytest.approx((alone.low, alone.high))
        naive = score_interval(metric, predictions[groups], targets[groups])
        assert copies.high - copies.low > 2 * (naive.high - naive.low)
        assert "30 groups" in copies.method
    finally:
        METRICS.unregister("own_of_groups")


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "log_loss"])
def test_groups_without_a_row_are_not_resampled(metric: str) -> None:
    """Of the rows that no opening has seen, for instance, only some groups are left."""
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(0, 2, (60,), generator=generator)
    predictions = (torch.randn(60, 2, generator=generator) + torch.nn.functional.one_hot(targets, 2)).softmax(1)
    groups = torch.arange(6).repeat_interleave(10)
    alone = score_interval(metric, predictions, targets, groups=groups)
    assert score_interval(metric, predictions, targets, groups=groups * 7 + 3) == alone
    assert "6 groups" in alone.method
