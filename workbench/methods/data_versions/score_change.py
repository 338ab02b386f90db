"""What training again has changed: two models' scores on the same rows, and whether the difference is beyond noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

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


def score_change(metric: str, before: Tensor, after: Sequence[Tensor], targets: Tensor) -> Change:
    """Compare a model with its successors, one a seed, on rows that none was trained on.

    before, and each of after: predictions (rows, outputs); targets (rows,) or (rows, outputs) in their own unit. metric: a
    name in the table.

    Two sources of noise are added in quadrature: which rows these happen to be, and, with two seeds or more, the seed
    (Student's t over seeds). With one seed the noise of training is not in the intervals. The rows' part of the difference
    is that of pairs, since both models answer the same rows: for accuracy Agresti and Min's interval (2005: half a row added
    to each cell of the table of pairs), for any other metric by 1,000 resamples of the rows; the rows' part of the score
    itself is that of `score_interval`. A single row says nothing of the others: the difference has no interval then (NaN).
    """
    old = evaluate_metric(metric, before, targets)
    scores = np.array([evaluate_metric(metric, one, targets) for one in after])
    mean = float(scores.mean()) if len(scores) else math.nan
    if not math.isfinite(mean):
        return Change(old, mean, *(math.nan,) * 5)
    seeds = 0.0
    if len(scores) > 1:
        seeds = float(stats.t.ppf((1 + LEVEL) / 2, len(scores) - 1) * scores.std(ddof=1) / math.sqrt(len(scores)))
    found = [score_interval(metric, one, targets) for one in after]
    down = float(np.mean([one.score - one.low for one in found]))
    up = float(np.mean([one.high - one.score for one in found]))
    middle, rows = (
        _pairs(before, after, targets) if metric == "accuracy" else _resampled(metric, before, after, targets)
    )
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


def _pairs(before: Tensor, after: Sequence[Tensor], targets: Tensor) -> tuple[float | None, float]:
    """Centre and standard error of a difference of accuracies; a row's difference is a mean over seeds, from -1 to 1."""
    right = [(one.argmax(-1) == targets).double() for one in (before, *after)]
    difference = torch.stack(right[1:]).mean(0) - right[0]
    rows = len(targets) + 2
    centre = float(difference.sum()) / rows
    squares = float(difference.square().sum()) + 1  # of the four half rows, two are pairs that differ
    return centre, math.sqrt(max(0.0, squares / rows - centre**2) / rows)


def _resampled(metric: str, before: Tensor, after: Sequence[Tensor], targets: Tensor) -> tuple[None, float]:
    """Standard error of a difference over resamples of the rows (Efron 1979), drawn from seed 0; NaN if it is unknown."""
    rows = len(targets)
    if rows < 2:
        return None, math.nan
    draws = torch.from_numpy(np.random.default_rng(0).integers(0, rows, (RESAMPLES, rows)))
    step = max(1, PIECE // (rows * max(1, before.shape[-1])))
    found: list[NDArray[np.float64]] = []
    for piece in torch.split(draws, step):
        drawn = targets[piece]
        values = [np.array(scores_of_resamples(metric, one[piece], drawn)) for one in (before, *after)]
        found.append(np.mean(values[1:], axis=0) - values[0])
    differences = np.concatenate(found)
    differences = differences[np.isfinite(differences)]
    return None, float(differences.std(ddof=1)) if len(differences) > 1 else math.nan
