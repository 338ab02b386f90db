"""Comparisons of cross-validated configurations: folds share training rows, so that their scores are not independent."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from workbench.metrics.intervals import LEVEL

__all__ = ["compared_by_folds", "corrected_error", "corrected_p_value"]

Array = NDArray[np.float64]


def corrected_error(values: Array, ratio: float) -> float:
    """Standard error of the mean of scores by fold, √((1/k + n_validation/n_train) s²): approximate, since no estimate from one
    cross-validation is unbiased (Nadeau and Bengio 2003).

    values: (folds,). ratio: validation rows by training rows of a fold. NaN for one fold.
    """
    if len(values) < 2:
        return math.nan
    return math.sqrt((1 / len(values) + ratio) * float(np.var(values, ddof=1)))


def corrected_p_value(first: Array, second: Array, ratio: float) -> float:
    """Two-sided p-value of the corrected resampled t-test of two configurations on the same folds (Nadeau and Bengio 2003).

    first, second: scores by fold (folds,). Student's t with one degree of freedom less than there are folds. 1 for equal means.
    """
    difference = np.asarray(first, float) - np.asarray(second, float)
    mean, error = float(difference.mean()), corrected_error(difference, ratio)
    if mean == 0:
        return 1.0
    if not math.isfinite(error):
        return math.nan
    return 0.0 if error == 0 else float(2 * stats.t.sf(abs(mean) / error, len(difference) - 1))


def compared_by_folds(
    board: pd.DataFrame,
    scores: pd.DataFrame,
    folds: pd.DataFrame,
    ratio: float,
    significant: float,
    reference: str | None = None,
) -> pd.DataFrame:
    """A leaderboard whose intervals and p-values are those of the folds, instead of the seeds.

    scores: trial and configuration. folds: trial, fold and score at the trial's best epoch; of several seeds of a configuration
    the mean of each fold counts. ratio: see `corrected_error`. The interval is approximate. reference: the configuration that
    the p-values compare with, by default the first.
    """
    table = folds.merge(scores[["trial", "configuration"]], on="trial")
    by_fold = table.groupby(["configuration", "fold"])["score"].mean().unstack("fold")
    own = {name: by_fold.loc[name].to_numpy(float) for name in board["configuration"] if name in by_fold.index}
    first = board["configuration"].iloc[0] if len(board) else None
    best = own.get(first if reference is None else reference)
    low, high, p = [], [], []
    for name, mean in zip(board["configuration"], board["mean"], strict=True):
        values = own.get(name)
        half = math.nan
        if values is not None:
            half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * corrected_error(values, ratio)
        low.append(mean - half)
        high.append(mean + half)
        p.append(math.nan if values is None or best is None else corrected_p_value(values, best, ratio))
    found = np.array(p, float)
    return board.assign(low=low, high=high, p_value=found, tied=~(found < significant))
