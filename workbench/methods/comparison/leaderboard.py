"""A leaderboard that knows noise: configurations, not single lucky runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from workbench.core.direction import Better, best_first
from workbench.metrics.intervals import LEVEL

__all__ = ["SIGNIFICANT", "by_seed", "leaderboard", "pooled_variance", "tied_with_best", "with_ensembles"]

SIGNIFICANT = 1 - LEVEL
"""Configurations whose p-value against the best is below this differ from it."""


def by_seed(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a configuration and seed, at its first trial, with the mean score: a seed that is tried twice is one draw, not two.

    scores: trial, configuration, seed (missing: a draw of its own) and score.
    """
    # a trial without a seed is a draw of its own
    draw = scores["seed"].astype(float).where(scores["seed"].notna(), -1.0 - scores["trial"])
    groups = scores.assign(draw=draw).groupby(["configuration", "draw"], sort=False)
    table = groups.agg(trial=("trial", "min"), seed=("seed", "first"), score=("score", "mean")).reset_index()
    return table[["trial", "configuration", "seed", "score"]].sort_values("trial", ignore_index=True)


def leaderboard(
    scores: pd.DataFrame, *, better: Better = "higher", top: int | None = None, reference: str | None = None
) -> pd.DataFrame:
    """Configurations by their mean score over seeds.

    scores: one row an ended trial, with the columns trial, configuration (what the trials of one configuration share), seed and
    score. Returns one row a configuration, best first: rank, configuration, trial (its first), seeds (different ones: the same
    again is no further evidence, see `by_seed`), mean, low and high (95% confidence interval of the mean, Student's t; NaN for
    one seed), p_value and tied (see `tied_with_best`). Where the seeds of a configuration agree to the last digit, as the
    accuracies on few rows may, the spread of the others stands in for theirs.

    All of this is about seeds: how the scores on these validation rows would come out for others. It does not say how the
    configurations compare on other rows.

    A mean of one seed is one draw: at the top of many configurations stand those that were good and lucky. Add seeds
    (`bench.add_seeds`) before you believe an order.

    reference: the configuration that the p-values compare with, by default the best one.
    """
    scores = by_seed(scores[np.isfinite(scores["score"].astype(float))])
    groups = scores.groupby("configuration", sort=False)["score"]
    table = pd.DataFrame({"seeds": groups.count(), "mean": groups.mean(), "variance": groups.var(ddof=1)})
    table["trial"] = scores.groupby("configuration", sort=False)["trial"].min()
    table = best_first(table, "mean", better, then="trial").reset_index()
    pooled, freedom = pooled_variance(table["variance"].to_numpy(), table["seeds"].to_numpy())
    own = table["variance"] > 0
    variance = table["variance"].where(own, pooled if pooled > 0 else np.nan)
    half = stats.t.ppf((1 + LEVEL) / 2, np.where(own, np.maximum(table["seeds"] - 1, 1), freedom or 1)) * np.sqrt(
        variance / table["seeds"]
    )
    half = np.where(table["seeds"] > 1, half, np.nan)
    table["low"], table["high"] = table["mean"] - half, table["mean"] + half
    place = 0 if reference is None else int(np.flatnonzero(table["configuration"] == reference)[0])
    table["p_value"] = tied_with_best(table["mean"], table["variance"], table["seeds"], place)
    table["tied"] = ~(table["p_value"] < SIGNIFICANT)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    columns = ["rank", "configuration", "trial", "seeds", "mean", "low", "high", "p_value", "tied"]
    return table[columns].head(top) if top is not None else table[columns]


def with_ensembles(board: pd.DataFrame, ensembles: pd.DataFrame, *, better: Better = "higher") -> pd.DataFrame:
    """A leaderboard with ensembles among the configurations, in the column `ensemble` by their number; ranks count all rows.

    ensembles: one row each, with the columns ensemble, mean, corrected, low, high. They have no seeds, and so no p_value; those
    of the configurations stay, against the best configuration. Of equals the configuration comes first.
    """
    names = ["ensemble", "mean", "corrected", "low", "high"]
    rows = ensembles[names].assign(trial=pd.NA, seeds=pd.NA, p_value=math.nan, tied=True)
    whole = {"trial": "Int64", "seeds": "Int64", "ensemble": "Int64"}
    configurations = board.assign(ensemble=pd.NA, corrected=math.nan).astype(whole)
    both = pd.concat([configurations, rows.astype(whole)], ignore_index=True) if len(board) else rows.astype(whole)
    both = best_first(both, "mean", better).reset_index(drop=True)
    both["rank"] = np.arange(1, len(both) + 1)
    names = ["rank", "ensemble", *(name for name in board if name != "rank")]
    names.insert(names.index("p_value"), "corrected")
    return both[names].astype({"tied": bool})


def tied_with_best(
    mean: Sequence[float], variance: Sequence[float], seeds: Sequence[int], reference: int = 0
) -> np.ndarray:
    """p-values of each configuration against the one at the place `reference`, by default the first: are their means the same?

    Welch's two-sided t-test where both have two seeds or more, and those differ (`scipy.stats.ttest_ind(equal_var=False)`).
    Where one has a single seed, or seeds without any spread, its variance is taken to be the pooled variance of all
    configurations with more seeds, and the t-test is that of equal variances with the pooled degrees of freedom. NaN (unknown)
    when no configuration has two seeds that differ; equal means are equal all the same. Not corrected for the number of
    configurations; if the reference was picked as the best, read a small p as "probably worse", not as proof.
    """
    m, v, n = (np.asarray(values, float) for values in (mean, variance, seeds))
    if not len(m):
        return np.empty(0)
    pooled, freedom = pooled_variance(v, n)
    spreads = (n > 1) & (v > 0)
    if freedom and pooled > 0:
        t = np.abs(m - m[reference]) / np.sqrt(pooled * (1 / n + 1 / n[reference]))
        p: np.ndarray = 2 * stats.t.sf(t, freedom)
    else:
        p = np.where((m == m[reference]) & (n > 1), 1.0, np.nan)
    if spreads[reference]:
        s, best = np.sqrt(v), (m[reference], np.sqrt(v[reference]), n[reference])
        p[spreads] = stats.ttest_ind_from_stats(m[spreads], s[spreads], n[spreads], *best, equal_var=False).pvalue
    p[reference] = 1.0
    return p


def pooled_variance(variance: np.ndarray, seeds: np.ndarray) -> tuple[float, float]:
    """The variance of the configurations with several seeds, pooled, and its degrees of freedom; NaN and 0 if there is none."""
    several = seeds > 1
    freedom = float((seeds[several] - 1).sum())
    return (float(((seeds[several] - 1) * variance[several]).sum() / freedom) if freedom else math.nan), freedom
