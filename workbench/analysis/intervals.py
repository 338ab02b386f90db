"""How sure a score on held-out rows is: its 95% confidence interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from workbench.training.metrics import evaluate_metric

__all__ = ["Interval", "score_interval"]

LEVEL = 0.95
RESAMPLES = 2000


class Interval(NamedTuple):
    """score with the ends of its 95% interval; method: how that was found, for people."""

    score: float
    low: float
    high: float
    method: str


def score_interval(metric: str, outputs: Tensor, targets: Tensor) -> Interval:
    """A metric over some rows, with what it may be on other rows of the same kind.

    outputs (rows, outputs), targets (rows,) or (rows, outputs). metric: a name in the metrics table. Accuracy is a share of
    independent rows, so its interval is exact (Clopper and Pearson 1934). Any other metric is bootstrapped: the 2.5% and
    97.5% quantiles over 2,000 resamples of the rows (Efron 1979), drawn from seed 0, so that the same rows give the same
    interval. NaN ends: no resample had a finite score.
    """
    score = evaluate_metric(metric, outputs, targets)
    rows = len(targets)
    if metric == "accuracy":
        right = round(score * rows)
        exact = stats.binomtest(right, rows).proportion_ci(LEVEL, method="exact")
        return Interval(score, float(exact.low), float(exact.high), "exact (Clopper-Pearson)")
    draws = np.random.default_rng(0).integers(0, rows, (RESAMPLES, rows))
    found = []
    for draw in torch.from_numpy(draws):
        value = evaluate_metric(metric, outputs[draw], targets[draw])
        if np.isfinite(value):
            found.append(value)
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if found else (np.nan, np.nan)
    return Interval(score, float(low), float(high), f"bootstrap ({RESAMPLES:,} resamples of the rows)")
