"""How sure a score on held-out rows is: its 95% confidence interval."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from workbench.core.errors import ModelError
from workbench.core.registry import METRICS
from workbench.metrics.evaluation import evaluate, evaluate_metric
from workbench.metrics.table import LEVEL

__all__ = ["LEVEL", "Interval", "score_interval", "scores_of_resamples", "standard_error"]

RESAMPLES = 2000
AT_ONCE = 2**20
"""So many resampled outputs are in memory at a time."""


class Interval(NamedTuple):
    """score with the ends of its 95% interval; method: how that was found, for people."""

    score: float
    low: float
    high: float
    method: str


def score_interval(
    metric: str,
    predictions: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    groups: Tensor | None = None,
) -> Interval:
    """A metric over some rows, with what it may be on other rows of the same kind.

    predictions (rows, outputs): probabilities, or numbers in the target's own unit, as targets (rows,) or (rows, outputs).
    metric: a name in the metrics table. weights: (rows,), None for equal ones. If there are none and its entry has an exact
    interval, that is used (accuracy). Any other metric is bootstrapped: the 2.5% and 97.5% quantiles over 2,000 resamples of
    the rows (Efron 1979), drawn from seed 0, so that the same rows give the same interval. Resamples on which the metric is
    not defined are left out. groups: (rows,) numbers of the groups that rows belong to: then whole groups are
    resampled in place of rows, since rows of one group are no independent evidence (Field and Welsh 2007). NaN ends: it was
    defined on none, or there is a single row. Raises: ModelError if a metric of the user's raises on the rows themselves.
    """
    score = evaluate_metric(metric, predictions, targets, weights)
    rows = len(targets)
    if groups is not None:
        return _of_groups(metric, predictions, targets, weights, groups, score)
    if weights is None and (exact := METRICS[metric].value.interval) is not None:
        return Interval(score, *exact(score, rows))
    random = np.random.default_rng(0)
    found: list[float] = []
    resamples = RESAMPLES if rows > 1 else 0  # the only resample of one row is that row
    at_once = max(1, AT_ONCE // max(1, predictions.numel()))
    for start in range(0, resamples, at_once):
        draws = torch.from_numpy(random.integers(0, rows, (min(at_once, resamples - start), rows)))
        found += scores_of_resamples(
            metric, predictions[draws], targets[draws], None if weights is None else weights[draws]
        )
    found = [value for value in found if np.isfinite(value)]
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if found else (np.nan, np.nan)
    return Interval(score, float(low), float(high), f"bootstrap ({RESAMPLES:,} resamples of the rows)")


def _of_groups(
    metric: str, predictions: Tensor, targets: Tensor, weights: Tensor | None, groups: Tensor, score: float
) -> Interval:
    """The interval by resamples of whole groups."""
    # of some rows of a split, not all groups are left
    groups = torch.from_numpy(np.unique(groups.numpy(), return_inverse=True)[1])
    count = int(groups.max()) + 1
    random = np.random.default_rng(0)
    found: list[float] = []
    at_once = max(1, AT_ONCE // max(1, predictions.numel()))
    batched = METRICS[metric].value.batched
    for start in range(0, RESAMPLES if count > 1 else 0, at_once):
        draws = min(at_once, RESAMPLES - start)
        times = torch.from_numpy(random.multinomial(count, np.full(count, 1 / count), size=draws))[:, groups]
        if batched:
            own = times.double() if weights is None else times * weights
            answers, truth = (values.expand(draws, *values.shape) for values in (predictions, targets))
            found += scores_of_resamples(metric, answers, truth, own)
            continue
        for one in times:
            rows = torch.repeat_interleave(one)
            more = None if weights is None else weights[rows]
            with suppress(ModelError):  # it may raise where a class is missing
                found.append(evaluate_metric(metric, predictions[rows], targets[rows], more))
    found = [value for value in found if np.isfinite(value)]
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if found else (np.nan, np.nan)
    return Interval(score, float(low), float(high), f"bootstrap ({RESAMPLES:,} resamples of the {count:,} groups)")


def standard_error(metric: str, score: float, rows: int) -> float:
    """The standard deviation of a score over samples of so many rows. NaN if the metric is unknown or has none."""
    formula = METRICS[metric].value.standard_error if metric in METRICS else None
    return math.nan if formula is None or not math.isfinite(score) or rows < 1 else float(formula(score, rows))


def scores_of_resamples(
    metric: str, predictions: Tensor, targets: Tensor, weights: Tensor | None = None
) -> list[float]:
    """The metric on each of several resamples of the rows: predictions (resamples, rows, ...), targets (resamples, rows, ...).

    NaN for those on which a metric of the user's raises, as it may where a class is missing.
    """
    with suppress(ModelError):  # of one of them
        return [own[metric] for own in evaluate([metric], predictions, targets, weights)]
    found = []
    for at, (own, target) in enumerate(zip(predictions, targets, strict=True)):
        try:
            found.append(evaluate_metric(metric, own, target, None if weights is None else weights[at]))
        except ModelError:
            found.append(math.nan)
    return found
