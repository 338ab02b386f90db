"""The table of metrics: each entry carries its direction, unit, standard error, and on which rows it has no value.

The functions take an `Evaluation` of several trials and return (trials,), since all trials of a cohort are measured at once
after each epoch; scikit-learn's would take ten times as long as the training of small models. The tests compare each with
scikit-learn, weighted and not.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from workbench.core.registration import Metric, register
from workbench.core.registry import METRICS
from workbench.metrics.evaluation import Evaluation

__all__ = ["LEVEL", "weighted_mean"]

Array = NDArray[np.float64]
LEVEL = 0.95
"""The confidence level of every interval."""

CLASSES = ["classification", "dense"]
NUMBERS = ["regression", "count"]


# --- classes and labels ---------------------------------------------------------------------------------------------------


def accuracy(of: Evaluation) -> Tensor:
    """Share of rows whose most probable class is the target."""
    return of.mean(of.labels == of.targets)


def balanced_accuracy(of: Evaluation) -> Tensor:
    """Mean over the classes of the share of their rows that are recognised (recall); classes without a row are left out."""
    return (of.tallies.right / of.tallies.actual).nanmean(1)


def f1(of: Evaluation) -> Tensor:
    """Macro F1: 2·TP / (predicted + actual) of each class or label, averaged over those that are predicted or present."""
    return (2 * of.tallies.right / (of.tallies.predicted + of.tallies.actual)).nanmean(1)


def mcc(of: Evaluation) -> Tensor:
    """Matthews correlation coefficient of predicted and actual classes (Gorodkin 2004); 0 if one class is predicted only."""
    right, predicted, actual = of.tallies
    total = actual.sum(1)
    covariance = right.sum(1) * total - (predicted * actual).sum(1)
    spread = (total**2 - (predicted**2).sum(1)), (total**2 - (actual**2).sum(1))
    found = covariance / (spread[0] * spread[1]).sqrt()
    return torch.where(spread[1] <= 0, math.nan, torch.where(spread[0] <= 0, 0.0, found))


def mean_iou(of: Evaluation) -> Tensor:
    """Intersection over union of predicted and actual positions of each class, averaged over those that occur."""
    right, predicted, actual = of.tallies
    return (right / (predicted + actual - right)).nanmean(1)


def exact_match(of: Evaluation) -> Tensor:
    """Share of rows of which every label is right, by a threshold of 0.5."""
    return of.mean((of.labels == of.targets).all(-1))


def log_loss(of: Evaluation) -> Tensor:
    """-log of the probability of the actual class, in nats; probabilities are held above float64's epsilon."""
    shares = of.predictions / of.predictions.sum(-1, keepdim=True)
    epsilon = torch.finfo(torch.float64).eps
    found = shares.gather(-1, of.targets[..., None])[..., 0].clamp(epsilon, 1 - epsilon)
    return of.mean(-found.log())


class Thresholds(NamedTuple):
    """The scores of the rows that belong to a column, filled up with inf of weight 0: (trials, columns, most of them).

    scores, weights: of these rows. below, upto: the weight of all rows with a lower score, and with one that is not higher.
    positive, negative: (trials, columns), the weight of the rows that belong, and of the others.
    """

    scores: Tensor
    weights: Tensor
    below: Tensor
    upto: Tensor
    positive: Tensor
    negative: Tensor


def thresholds(of: Evaluation) -> Thresholds:
    """Each row that belongs to a column, against all rows. With ten classes these are a tenth of the rows, and unweighted
    scores need no order of the rows: together that is a quarter of the time of sorting and looking up all of them."""
    scores, belongs = of.one_against_rest
    scores, belongs = scores.contiguous(), belongs.expand(scores.shape)
    counts = belongs.sum(-1)
    trial, column, row = belongs.nonzero(as_tuple=True)
    first = (counts.flatten().cumsum(0) - counts.flatten()).view_as(counts)
    place = trial, column, torch.arange(len(row)) - first[trial, column]
    shape = (*counts.shape, max(int(counts.max()), 1))
    own = torch.full(shape, math.inf, dtype=scores.dtype).index_put(place, scores[trial, column, row])
    weights = torch.zeros(shape, dtype=torch.float64).index_put(place, of.weights[trial, row])
    if of.weighted:
        ordered, order = scores.sort(-1)
        rows = of.weights[:, None].expand(scores.shape).gather(-1, order)
        total = torch.nn.functional.pad(rows.cumsum(-1), (1, 0))
        below, upto = (total.gather(-1, torch.searchsorted(ordered, own, right=right)) for right in (False, True))
    else:
        ordered = torch.from_numpy(np.sort(scores.numpy()))
        below, upto = (torch.searchsorted(ordered, own, right=right).double() for right in (False, True))
    negative = torch.where(belongs, 0.0, of.weights[:, None]).sum(-1)
    return Thresholds(own, weights, below, upto, weights.sum(-1), negative)


def roc_auc(of: Evaluation) -> Tensor:
    """Area under the ROC curve, ties counted by half (Hanley and McNeil 1982): of the second of two classes, else the mean of
    each class or label against the rest, over those with rows on both sides."""
    at = thresholds(of)
    # among themselves the rows that belong win half of their comparisons
    wins = (at.weights * (at.below + at.upto)).sum(-1) / 2 - at.positive**2 / 2
    pairs = at.positive * at.negative
    return torch.where(pairs > 0, wins / pairs, math.nan).nanmean(1)  # rounding leaves weighted wins without pairs


def average_precision(of: Evaluation) -> Tensor:
    """Sum over the thresholds of the precision times the gain in recall: of the second of two classes, else the mean of each
    class or label against the rest, over those that occur."""
    at = thresholds(of)
    scores, order = at.scores.sort(-1)
    hits = torch.nn.functional.pad(at.weights.gather(-1, order).cumsum(-1), (1, 0))
    hits_above = hits[..., -1:] - hits.gather(-1, torch.searchsorted(scores, at.scores))
    above = (at.positive + at.negative)[..., None] - at.below
    precision = torch.where(at.weights > 0, at.weights * hits_above / above, 0.0)
    return (precision.sum(-1) / hits[..., -1]).nanmean(1)


# --- numbers --------------------------------------------------------------------------------------------------------------


def r2(of: Evaluation) -> Tensor:
    """Coefficient of determination 1 - Σ(y - ŷ)² / Σ(y - ȳ)², averaged over the targets that are not constant."""
    middle = of.mean(of.targets)[:, None]
    residual, total = of.mean((of.targets - of.predictions).square()), of.mean((of.targets - middle).square())
    # equal targets, up to rounding: neither -inf nor the quotient of two rounding errors
    total = torch.where(total <= 1e-24 * of.mean(of.targets.square()), math.nan, total)
    return (1 - residual / total).nanmean(1)


def rmse(of: Evaluation) -> Tensor:
    """Root of the mean squared error, in the target's unit; averaged over several targets."""
    return of.mean((of.targets - of.predictions).square()).sqrt().mean(1)


def mae(of: Evaluation) -> Tensor:
    """Mean absolute error, in the target's unit; averaged over several targets."""
    return of.mean((of.targets - of.predictions).abs()).mean(1)


def mape(of: Evaluation) -> Tensor:
    """Mean of |y - ŷ| / |y|, a share and not in percent; averaged over several targets."""
    shares = torch.where(of.targets == 0, math.nan, (of.targets - of.predictions).abs() / of.targets.abs())
    return of.mean(shares).mean(1)


def poisson_deviance(of: Evaluation) -> Tensor:
    """Mean Poisson deviance 2(y log(y/ŷ) - y + ŷ), for predictions above 0 and targets from 0 on."""
    y, rate = of.targets.double(), of.predictions
    possible = (y >= 0) & (rate > 0)
    deviance = 2 * (torch.special.xlogy(y, y / rate) - y + rate)
    return of.mean(torch.where(possible, deviance, math.nan)).mean(1)


# --- how sure a score is --------------------------------------------------------------------------------------------------


def weighted_mean(by_row: Array, counts: Array) -> Array:
    """Means of values by row (candidates, rows) with the row weights of each draw (draws, rows): (draws, candidates)."""
    means: Array = counts @ by_row.T / counts.sum(1, keepdims=True)
    return means


def share_error(score: float, rows: int) -> float:
    """Binomial: √(p(1 - p)/n), with p moved half a row away from 0 and 1. An approximation for means of shares by class."""
    share = min(max(score, 0.5 / rows), 1 - 0.5 / rows)
    return math.sqrt(share * (1 - share) / rows)


def accuracy_interval(score: float, rows: int) -> tuple[float, float, str]:
    """The exact interval of a share of independent rows (Clopper and Pearson 1934)."""
    exact = stats.binomtest(round(score * rows), rows).proportion_ci(LEVEL, method="exact")
    return float(exact.low), float(exact.high), "exact (Clopper-Pearson)"


def auc_error(score: float, rows: int) -> float:
    """That of Hanley and McNeil (1982), for as many positive as negative rows."""
    half, area = rows / 2, min(max(score, 0.5 / rows), 1 - 0.5 / rows)
    above, below = area / (2 - area), 2 * area**2 / (1 + area)
    return math.sqrt((area * (1 - area) + (half - 1) * (above + below - 2 * area**2)) / half**2)


def correlation_error(score: float, rows: int) -> float:
    """(1 - r²)/√n, as of a correlation of normal variables."""
    return (1 - min(score**2, 1 - 0.5 / rows)) / math.sqrt(rows)


def r2_error(score: float, rows: int) -> float:
    """(1 - R²)√(2/n): the residual sum is one of n squared normal errors."""
    return (1 - min(score, 1.0)) * math.sqrt(2 / rows)


def rmse_error(score: float, rows: int) -> float:
    """rmse/√(2n), for normal errors."""
    return score / math.sqrt(2 * rows)


def mae_error(score: float, rows: int) -> float:
    """mae·√((π/2 - 1)/n), for normal errors."""
    return score * math.sqrt((math.pi / 2 - 1) / rows)


def mean_error(score: float, rows: int) -> float:
    """score/√n: values by row that spread as much as their mean, as exponential ones do."""
    return score / math.sqrt(rows)


def deviance_error(score: float, rows: int) -> float:
    """score·√(2/n), for unit deviances that are multiples of χ² with one degree of freedom."""
    return score * math.sqrt(2 / rows)


def weighted_accuracy(predictions: Array, targets: NDArray[Any], counts: Array) -> Array:
    return weighted_mean((predictions.argmax(2) == targets).astype(np.float64), counts)


def weighted_r2(predictions: Array, targets: NDArray[Any], counts: Array) -> Array:
    y = targets.astype(np.float64)
    y = y - y.mean(0)  # or the difference of two large numbers is left with their rounding errors
    errors = np.square(targets.astype(np.float64) - predictions)
    rows = counts.sum(1, keepdims=True)
    residual = np.einsum("bn,knc->bkc", counts, errors, optimize=True)
    total = counts @ np.square(y) - np.square(counts @ y) / rows
    total[total <= 1e-12 * (counts @ np.square(y))] = np.nan  # equal targets, up to rounding
    by_target: Array = 1 - residual / total[:, None]
    defined = ~np.isnan(by_target)
    sums = np.where(defined, by_target, 0).sum(2)
    found: Array = np.where(defined.any(2), sums / np.maximum(defined.sum(2), 1), np.nan)
    return found


def weighted_rmse(predictions: Array, targets: NDArray[Any], counts: Array) -> Array:
    squares = np.square(targets.astype(np.float64) - predictions)
    means = np.einsum("bn,knc->bkc", counts, squares, optimize=True) / counts.sum(1)[:, None, None]
    found: Array = np.sqrt(means).mean(2)
    return found


def _add(function: Any, label: str, kinds: list[str], *, better: str = "higher", **more: Any) -> None:
    value = Metric(function, better, batched=True, **more)  # type: ignore[arg-type]
    register(METRICS, function.__name__, function, label=label, kinds=kinds, value=value)


ONE_CLASS = "all rows are of one class"
NO_LABEL = "no label occurs"
TARGET_UNIT = "target units"
_add(
    accuracy, "Accuracy", CLASSES, unit="share of rows", standard_error=share_error, interval=accuracy_interval,
    weighted=weighted_accuracy,
)  # fmt: skip
_add(balanced_accuracy, "Balanced accuracy", CLASSES, unit="share", standard_error=share_error)
_add(f1, "F1 (macro)", [*CLASSES, "multilabel"], standard_error=share_error, undefined=NO_LABEL)
_add(
    roc_auc, "ROC AUC", ["classification", "multilabel"], standard_error=auc_error, undefined=ONE_CLASS, probabilities=True
)  # fmt: skip
_add(
    average_precision, "Average precision", ["classification", "multilabel"], standard_error=share_error,
    undefined=NO_LABEL, probabilities=True,
)  # fmt: skip
_add(log_loss, "Log loss", CLASSES, better="lower", unit="nats", standard_error=mean_error, probabilities=True)
_add(mcc, "MCC", CLASSES, standard_error=correlation_error, undefined=ONE_CLASS)
_add(mean_iou, "Mean IoU", CLASSES, unit="share", standard_error=share_error)
_add(exact_match, "Exact match", ["multilabel"], unit="share of rows", standard_error=share_error)
_add(
    r2, "R²", NUMBERS, standard_error=r2_error, weighted=weighted_r2, undefined="every target has the same value in all rows"
)  # fmt: skip
_add(rmse, "RMSE", NUMBERS, better="lower", unit=TARGET_UNIT, standard_error=rmse_error, weighted=weighted_rmse)
_add(mae, "MAE", NUMBERS, better="lower", unit=TARGET_UNIT, standard_error=mae_error)
_add(mape, "MAPE", NUMBERS, better="lower", unit="share", standard_error=mean_error, undefined="a target is 0")
_add(
    poisson_deviance, "Poisson deviance", NUMBERS, better="lower", standard_error=deviance_error,
    undefined="a prediction is not above 0, or a target is below 0",
)  # fmt: skip
