"""What training again has changed: two models' scores on the same rows, and whether the difference is beyond noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from workbench.metrics.evaluation import evaluate_metric
from workbench.metrics.intervals import LEVEL, score_interval, scores_of_resamples

__all__ = ["Change", "score_change"]

RESAMPLES = 1000
PIECE = 4_000_000
"""Values that are resampled at once."""
Z = float(stats.norm.ppf((1 + LEVEL) / 2))


class Change(NamedTuple):
    """The score after (mean over seeds) with its 95% interval, and its difference to the score before with its own."""

    before: float
    after: float
    low: float
    high: float
    change: float
    change_low: float
    change_high: float

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval of the change leaves out 0."""
        return self.change_low > 0 or self.change_high < 0


def score_change(
    metric: str, before: Tensor, after: Sequence[Tensor], targets: Tensor, groups: NDArray[Any] | None = None
) -> Change:
    """Compare a model with its successors, one a seed, on rows that none was trained on.

    before, and each of after: predictions (rows, outputs); targets (rows,) or (rows, outputs) in their own unit. metric: a
    name in the table. groups: (rows,) the group of each row, None where rows stand alone.

    Two sources of noise are added in quadrature: which rows these happen to be, and, with two seeds or more, the seed
    (Student's t over seeds). With one seed the noise of training is not in the intervals. The rows' part of the difference
    is that of pairs, since both models answer the same rows: for accuracy Agresti and Min's interval (2005: half a row added
    to each cell of the table of pairs), for any other metric by 1,000 resamples of the rows; the rows' part of the score
    itself is that of `score_interval`. If rows belong to groups, whole groups are resampled, for any metric. A single row, or
    group, says nothing of the others: the difference has no interval then (NaN).
    """
    old = evaluate_metric(metric, before, targets)
    scores = np.array([evaluate_metric(metric, one, targets) for one in after])
    mean = float(scores.mean()) if len(scores) else math.nan
    if not math.isfinite(mean):
        return Change(old, mean, *(math.nan,) * 5)
    seeds = 0.0
    if len(scores) > 1:
        seeds = float(stats.t.ppf((1 + LEVEL) / 2, len(scores) - 1) * scores.std(ddof=1) / math.sqrt(len(scores)))
    units = None if groups is None else torch.from_numpy(np.unique(groups, return_inverse=True)[1].reshape(-1))
    found = [score_interval(metric, one, targets, None, units) for one in after]
    down = float(np.mean([one.score - one.low for one in found]))
    up = float(np.mean([one.high - one.score for one in found]))
    middle: float | None = None
    if units is not None:
        rows = _error(_of_groups(metric, [before, *after], targets, units.numpy()))
    elif metric == "accuracy":
        middle, rows = _pairs(before, after, targets)
    else:
        rows = _error(_of_rows(metric, [before, *after], targets))
    half = math.hypot(Z * rows, seeds)
    centre = mean - old if middle is None else middle
    return Change(
        old,
        mean,
        mean - math.hypot(down, seeds),
        mean + math.hypot(up, seeds),
        mean - old,
        centre - half,
        centre + half,
    )


# ----------------------------------------------------------------------------------------------------------------------


def _pairs(before: Tensor, after: Sequence[Tensor], targets: Tensor) -> tuple[float, float]:
    """Centre and standard error of a difference of accuracies; a row's difference is a mean over seeds, from -1 to 1."""
    right = [(one.argmax(-1) == targets).double() for one in (before, *after)]
    difference = torch.stack(right[1:]).mean(0) - right[0]
    rows = len(targets) + 2
    centre = float(difference.sum()) / rows
    squares = float(difference.square().sum()) + 1  # of the four half rows, two are pairs that differ
    return centre, math.sqrt(max(0.0, squares / rows - centre**2) / rows)


def _of_rows(metric: str, models: Sequence[Tensor], targets: Tensor) -> NDArray[np.float64]:
    """The metric of each model over resamples of the rows (Efron 1979), drawn from seed 0: (models, resamples)."""
    rows = len(targets)
    if rows < 2:
        return np.empty((len(models), 0))
    draws = torch.from_numpy(np.random.default_rng(0).integers(0, rows, (RESAMPLES, rows)))
    step = max(1, PIECE // (rows * max(1, models[0].shape[-1])))
    pieces = [
        [scores_of_resamples(metric, one[piece], targets[piece]) for one in models]
        for piece in torch.split(draws, step)
    ]
    return np.concatenate([np.array(piece, float) for piece in pieces], axis=1)


def _of_groups(metric: str, models: Sequence[Tensor], targets: Tensor, units: NDArray[np.int64]) -> NDArray[np.float64]:
    """The same over resamples of whole groups. units: (rows,) numbers of the groups, from 0."""
    count, found = int(units.max()) + 1, []
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    for times in draws if count > 1 else ():
        rows = torch.from_numpy(np.repeat(np.arange(len(units)), times[units]))
        found.append([scores_of_resamples(metric, one[rows][None], targets[rows][None])[0] for one in models])
    return np.array(found, float).reshape(-1, len(models)).T


def _error(scores: NDArray[np.float64]) -> float:
    """Standard error of the difference of the first model's score to the mean of the others'; NaN if it is unknown."""
    differences = scores[1:].mean(0) - scores[0]
    differences = differences[np.isfinite(differences)]
    return float(differences.std(ddof=1)) if len(differences) > 1 else math.nan
