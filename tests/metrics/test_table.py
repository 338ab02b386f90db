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
from workbench.core.registration import LINK_NAMES
from workbench.core.registry import METRICS
from workbench.metrics.evaluation import evaluate, evaluate_metric
from workbench.metrics.predictions import LINKS
from workbench.metrics.table import weighted_mean

Reference = Callable[..., float]


def _by_label(score: Callable[..., float]) -> Reference:
    """One class or label against the rest, averaged; of two classes the second one."""

    def macro(y: Any, p: Any, **options: Any) -> float:
        if y.ndim == 1 and p.shape[1] == 2:
            return score(y, p[:, 1], **options)
        hot = y if y.ndim == 2 else np.eye(p.shape[1])[y]
        return float(np.mean([score(hot[:, k], p[:, k], **options) for k in range(p.shape[1])]))

    return macro


def _nan_means_left_out(y: Any, p: Any, **options: Any) -> float:
    labels = (p > 0.5).astype(int) if y.ndim == 2 else p.argmax(1)
    return float(metrics.f1_score(y, labels, average="macro", zero_division=np.nan, **options))


SKLEARN: dict[str, Reference] = {
    "accuracy": lambda y, p, **options: metrics.accuracy_score(y, p.argmax(1), **options),
    "balanced_accuracy": lambda y, p, **options: metrics.balanced_accuracy_score(y, p.argmax(1), **options),
    "f1": _nan_means_left_out,
    "mcc": lambda y, p, **options: metrics.matthews_corrcoef(y, p.argmax(1), **options),
    "mean_iou": lambda y, p, **options: metrics.jaccard_score(y, p.argmax(1), average="macro", **options),
    "roc_auc": _by_label(metrics.roc_auc_score),
    "average_precision": _by_label(metrics.average_precision_score),
    "log_loss": lambda y, p, **options: metrics.log_loss(y, p, labels=range(p.shape[1]), **options),
    "exact_match": lambda y, p, **options: metrics.accuracy_score(y, p > 0.5, **options),
    "r2": metrics.r2_score,
    "rmse": metrics.root_mean_squared_error,
    "mae": metrics.mean_absolute_error,
    "mape": metrics.mean_absolute_percentage_error,
    "poisson_deviance": metrics.mean_poisson_deviance,
}
SCORERS = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced_accuracy", "f1": "f1_macro", "mcc": "matthews_corrcoef",
    "mean_iou": "jaccard_macro", "roc_auc": "roc_auc", "average_precision": "average_precision", "log_loss": "neg_log_loss",
    "r2": "r2", "rmse": "neg_root_mean_squared_error", "mae": "neg_mean_absolute_error",
    "mape": "neg_mean_absolute_percentage_error", "poisson_deviance": "neg_mean_poisson_deviance",
}  # fmt: skip
EVERY = [
    (name, kind, size)
    for name in METRICS
    for kind in sorted(METRICS[name].kinds - {"dense"})
    for size in ((2, 5) if kind == "classification" else (1,) if name == "poisson_deviance" else (1, 3))
    if not (kind == "multilabel" and size == 1)
]


def data(kind: str, size: int, trials: int, rows: int = 61, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Predictions (trials, rows, size) and targets of a kind, which the predictions follow with noise. Some scores are tied."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(trials, rows, size, generator=generator, dtype=torch.float64)
    if kind == "classification":
        targets = torch.cat([torch.arange(size), torch.randint(0, size, (rows - size,), generator=generator)])
        return ((noise + torch.nn.functional.one_hot(targets, size)).mul(4).round() / 4).softmax(-1), targets
    if kind == "multilabel":
        targets = (torch.rand(rows, size, generator=generator) < 0.4).double()
        return torch.sigmoid((noise + 2 * targets - 1).mul(4).round() / 4), targets
    if kind == "count":
        targets = torch.randint(1, 9, (rows, size), generator=generator).double()
        return (targets * (0.3 * noise).exp()), targets
    targets = torch.randn(rows, size, generator=generator, dtype=torch.float64).exp() * 1e6
    return targets * (1 + 0.3 * noise).abs(), targets


@pytest.mark.parametrize(("metric", "kind", "size"), EVERY)
def test_a_metric_is_that_of_scikit_learn_for_one_trial_and_for_several(metric: str, kind: str, size: int) -> None:
    predictions, targets = data(kind, size, 4)
    expected = [SKLEARN[metric](targets.numpy(), own.numpy()) for own in predictions]
    assert len(set(expected)) > 1
    together = evaluate([metric], predictions, targets.expand(4, *targets.shape))
    assert [own[metric] for own in together] == pytest.approx(expected, rel=1e-9)
    assert evaluate_metric(metric, predictions[0], targets) == pytest.approx(expected[0], rel=1e-9)


@pytest.mark.parametrize(("metric", "kind", "size"), EVERY)
def test_a_metric_with_row_weights_is_that_of_scikit_learn(metric: str, kind: str, size: int) -> None:
    predictions, targets = data(kind, size, 3)
    weights = torch.rand(3, len(targets), generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    expected = [
        SKLEARN[metric](targets.numpy(), own.numpy(), sample_weight=row.numpy())
        for own, row in zip(predictions, weights, strict=True)
    ]
    together = evaluate([metric], predictions, targets.expand(3, *targets.shape), weights)
    assert [own[metric] for own in together] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("metric", ["accuracy", "r2", "rmse"])
def test_the_form_for_many_draws_is_that_of_scikit_learn(metric: str) -> None:
    kind, size = ("classification", 3) if metric == "accuracy" else ("regression", 3)
    predictions, targets = data(kind, size, 3)
    counts = np.random.default_rng(1).integers(0, 4, (5, len(targets))).astype(float)
    weighted = METRICS[metric].value.weighted(predictions.numpy(), targets.numpy(), counts)
    expected = [
        [SKLEARN[metric](targets.numpy(), own.numpy(), sample_weight=row) for own in predictions] for row in counts
    ]
    np.testing.assert_allclose(weighted, expected, rtol=1e-9)


@pytest.mark.parametrize("metric", SCORERS)
def test_the_direction_is_that_of_scikit_learns_scorer(metric: str) -> None:
    assert sign(METRICS[metric].value.better) == metrics.get_scorer(SCORERS[metric])._sign


def test_every_built_in_metric_is_compared() -> None:
    assert {name for name in METRICS if METRICS.is_built_in(name)} == SKLEARN.keys()


@pytest.mark.parametrize("metric", [name for name in METRICS if "dense" in METRICS[name].kinds])
def test_positions_of_a_dense_task_count_as_rows(metric: str) -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 3, (7, 4, 5), generator=generator)
    outputs = torch.randn(2, 7, 3, 4, 5, generator=generator, dtype=torch.float64).softmax(2)
    found = evaluate([metric], outputs, targets.expand(2, *targets.shape))
    for own, of in zip(found, outputs, strict=True):
        flat = np.array([of[row, :, i, j].numpy() for row in range(7) for i in range(4) for j in range(5)])
        assert own[metric] == pytest.approx(SKLEARN[metric](targets.numpy().ravel(), flat), rel=1e-9)


@pytest.mark.parametrize(
    ("metric", "predictions", "targets"),
    [
        ("roc_auc", [[0.2, 0.8], [0.5, 0.5]], [1, 1]),
        ("average_precision", [[0.2, 0.8], [0.5, 0.5]], [0, 0]),
        ("mcc", [[0.2, 0.8], [0.6, 0.4]], [1, 1]),
        ("r2", [[1.0], [2.0]], [[0.1], [0.1]]),
        ("r2", [[1.0], [2.0]], [[1e6], [1e6]]),
        ("mape", [[1.0], [2.0]], [[0.0], [2.0]]),
        ("poisson_deviance", [[-1.0], [2.0]], [[0.0], [2.0]]),
    ],
)
def test_a_metric_without_a_value_is_nan_and_its_entry_says_when(
    metric: str, predictions: list[Any], targets: list[Any]
) -> None:
    own = torch.tensor(targets) if isinstance(targets[0], int) else torch.tensor(targets, dtype=torch.float64)
    assert np.isnan(evaluate_metric(metric, torch.tensor(predictions, dtype=torch.float64), own))
    assert METRICS[metric].value.undefined


def test_a_mean_is_taken_over_the_outputs_with_a_value() -> None:
    predictions, targets = data("regression", 3, 1)
    targets[:, 1] = 5.0
    left = [0, 2]
    expected = metrics.r2_score(targets[:, left].numpy(), predictions[0][:, left].numpy())
    assert evaluate_metric("r2", predictions[0], targets) == pytest.approx(expected, rel=1e-9)
    predictions, targets = data("classification", 4, 1)
    kept = targets != 3
    predictions, targets = predictions[0][kept], targets[kept]
    expected = np.mean([metrics.roc_auc_score(targets == k, predictions[:, k]) for k in range(3)])
    assert evaluate_metric("roc_auc", predictions, targets) == pytest.approx(expected, rel=1e-9)


def _spread(metric: str, kind: str, size: int, rows: int) -> tuple[float, float]:
    """Mean and standard deviation of a score over 400 samples of rows of one population."""
    predictions, targets = data(kind, size, 1, rows=20_000, seed=3)
    draws = torch.from_numpy(np.random.default_rng(0).integers(0, 20_000, (400, rows)))
    scores = [own[metric] for own in evaluate([metric], predictions[0][draws], targets[draws])]
    return float(np.mean(scores)), float(np.std(scores))


@pytest.mark.parametrize(
    ("metric", "kind", "size"),
    [("accuracy", "classification", 3), ("roc_auc", "classification", 2), ("balanced_accuracy", "classification", 3),
     ("f1", "classification", 3), ("mcc", "classification", 2), ("log_loss", "classification", 3),
     ("exact_match", "multilabel", 3), ("mean_iou", "classification", 3), ("average_precision", "classification", 2)],
)  # fmt: skip
def test_the_standard_error_is_about_the_deviation_over_samples(metric: str, kind: str, size: int) -> None:
    score, deviation = _spread(metric, kind, size, 300)
    assert METRICS[metric].value.standard_error(score, 300) == pytest.approx(deviation, rel=0.6)


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


def test_every_link_that_a_loss_may_name_is_computed() -> None:
    assert tuple(LINKS) == LINK_NAMES
