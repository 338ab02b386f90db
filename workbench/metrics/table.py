"""The table of metrics: each entry carries its direction, unit, standard error, interval and weighted form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from workbench.core.errors import ModelError
from workbench.core.registration import Metric, register_metric
from workbench.core.registry import METRICS

__all__ = ["LEVEL", "evaluate_metric", "evaluate_metrics", "weighted_mean"]

Array = NDArray[np.float64]
LEVEL = 0.95
"""The confidence level of every interval."""


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of rows whose largest output is the target's class."""
    return (outputs.argmax(-1) == targets).sum() / len(targets)


def r2(outputs: Tensor, targets: Tensor) -> Tensor:
    """Coefficient of determination 1 - Σ(y - ŷ)² / Σ(y - ȳ)², averaged over the targets."""
    residual = (targets - outputs).double().square().sum(0)
    total = (targets - targets.mean(0)).double().square().sum(0)
    return (1 - residual / total).mean()


def rmse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Root of the mean squared error, in standardised target units."""
    return (targets - outputs).double().square().mean().sqrt()


def weighted_mean(by_row: Array, counts: Array) -> Array:
    """Means of values by row (candidates, rows) with the row weights of each draw (draws, rows): (draws, candidates)."""
    means: Array = counts @ by_row.T / counts.sum(1, keepdims=True)
    return means


def accuracy_error(score: float, rows: int) -> float:
    """Binomial: √(p(1 - p)/n), with p moved half a row away from 0 and 1."""
    share = min(max(score, 0.5 / rows), 1 - 0.5 / rows)
    return math.sqrt(share * (1 - share) / rows)


def accuracy_interval(score: float, rows: int) -> tuple[float, float, str]:
    """The exact interval of a share of independent rows (Clopper and Pearson 1934)."""
    exact = stats.binomtest(round(score * rows), rows).proportion_ci(LEVEL, method="exact")
    return float(exact.low), float(exact.high), "exact (Clopper-Pearson)"


def weighted_accuracy(answers: Array, targets: NDArray[Any], counts: Array) -> Array:
    return weighted_mean((answers.argmax(2) == targets).astype(np.float64), counts)


def r2_error(score: float, rows: int) -> float:
    """(1 - R²)√(2/n): the residual sum is one of n squared normal errors."""
    return (1 - min(score, 1.0)) * math.sqrt(2 / rows)


def weighted_r2(answers: Array, targets: NDArray[Any], counts: Array) -> Array:
    y = targets.astype(np.float64)
    rows = counts.sum(1, keepdims=True)
    residual = np.einsum("bn,knc->bkc", counts, np.square(y - answers), optimize=True)
    total = counts @ np.square(y) - np.square(counts @ y) / rows
    total[total <= 1e-12 * (counts @ np.square(y))] = np.nan  # equal targets, up to rounding
    found: Array = (1 - residual / total[:, None]).mean(2)
    return found


def rmse_error(score: float, rows: int) -> float:
    """rmse/√(2n), for normal errors."""
    return score / math.sqrt(2 * rows)


def weighted_rmse(answers: Array, targets: NDArray[Any], counts: Array) -> Array:
    return np.sqrt(weighted_mean(np.square(targets.astype(np.float64) - answers).mean(2), counts))


register_metric(
    "accuracy", accuracy, label="Accuracy", kinds=["classification"], unit="share of rows",
    standard_error=accuracy_error, interval=accuracy_interval, weighted=weighted_accuracy, batched=True,
)  # fmt: skip
register_metric(
    "r2", r2, label="R²", kinds=["regression"], standard_error=r2_error, weighted=weighted_r2, batched=True
)  # fmt: skip
register_metric(
    "rmse", rmse, better="lower", label="RMSE", kinds=["regression"], unit="standardised target units",
    standard_error=rmse_error, weighted=weighted_rmse, batched=True,
)  # fmt: skip


def evaluate_metric(name: str, outputs: Tensor, targets: Tensor) -> float:
    """The metric of one trial's outputs. Raises: ModelError if a registered metric raises or returns no number."""
    metric: Metric = METRICS[name].value
    try:
        with torch.no_grad():
            return float(metric.function(outputs.cpu(), targets.cpu()))
    except Exception as error:
        raise ModelError(f"metric {name!r}: must return one number, raised {type(error).__name__}: {error}") from error


def evaluate_metrics(name: str, outputs: Tensor, targets: Tensor) -> list[float]:
    """The metric of several trials: outputs (trials, rows, outputs), targets of each trial (trials, rows, ...).

    A batched metric is computed for all trials at once, any other is called for each.
    """
    metric: Metric = METRICS[name].value
    if len(outputs) == 1 or not metric.batched:
        return [evaluate_metric(name, own, target) for own, target in zip(outputs, targets, strict=True)]
    with torch.no_grad():
        values: list[float] = torch.vmap(metric.function)(outputs.cpu(), targets.cpu()).tolist()
    return values
