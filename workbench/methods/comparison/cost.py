"""What trials cost and what they reach: training time and parameter count against the validation metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.direction import Better, sign

__all__ = ["LOST", "complexity", "own_seconds", "pareto_front"]

SCORE = "best_val_metric"
LOST = ("diverged", "failed")
"""States in which a metric that was reached is not one to rely on."""
COLUMNS = (
    "trial", "state", "model", "parameters", "seconds", "wall_seconds", "epochs_run", SCORE, "pareto", "pareto_seconds",
    "pareto_parameters",
)  # fmt: skip


def complexity(
    frame: pd.DataFrame,
    seconds: Mapping[int, float],
    parameters: Mapping[int, float],
    *,
    better: Better = "higher",
) -> pd.DataFrame:
    """One row a trial, in the order of `frame`: what it cost, what it reached, and whether it lies on a Pareto front.

    frame: trials as `bench.trials` gives them. seconds: each trial's own training time (see `own_seconds`). parameters: by
    trial, NaN where they cannot be counted. Columns: COLUMNS. pareto: no other trial is at least as good in metric, seconds
    and parameters and better in one of them; pareto_seconds, pareto_parameters: in the metric and one of the two. A trial that
    lacks one of these values is on none of the fronts that need it, and one that diverged or failed on none at all.
    """
    table = frame[["trial", "state", "model", "epochs_run", SCORE]].reset_index(drop=True)
    table["wall_seconds"] = frame["seconds"].to_numpy(float)
    table["seconds"] = table["trial"].map(seconds).astype(float)
    table["parameters"] = table["trial"].map(parameters).astype(float)
    score = table[SCORE].mask(table["state"].isin(LOST)).to_numpy(float) * -sign(better)
    costs = {name: table[name].to_numpy(float) for name in ("seconds", "parameters")}
    table["pareto"] = pareto_front(np.column_stack([score, *costs.values()]))
    for name, cost in costs.items():
        table[f"pareto_{name}"] = pareto_front(np.column_stack([score, cost]))
    return table[list(COLUMNS)]


def own_seconds(curves: pd.DataFrame, places: Mapping[int, tuple[int, int]]) -> dict[int, float]:
    """Each trial's share of the time that its cohorts took: every epoch of a cohort is divided among the trials in it.

    The log has with each epoch of a trial the time of its whole cohort, by which a trial among 64 would seem to cost 64 times
    as much as it does. curves: one row an epoch (trial, epoch, seconds). places: of each trial, the cohort it trained in and the
    cohort's epochs before its first, as `History.cohorts` gives them.
    """
    curves = curves[["trial", "epoch", "seconds"]]
    # a trial without an entry has trained alone
    cohort = curves["trial"].map({trial: series for trial, (series, _) in places.items()}).fillna(-curves["trial"])
    after = curves["trial"].map({trial: after for trial, (_, after) in places.items()}).fillna(0)
    keys = [cohort.astype(np.int64), (curves["epoch"] + after).astype(np.int64)]
    share = curves["seconds"] / curves.groupby(keys)["trial"].transform("count")
    return {int(trial): float(total) for trial, total in share.groupby(curves["trial"]).sum().items()}


def pareto_front(points: NDArray[Any]) -> NDArray[np.bool_]:
    """Which points (n, criteria), all to be small, no other one dominates: at most as large in all, smaller in one.

    Equal points stand or fall together. A point with a value that is not finite is on no front and dominates none.
    """
    front = np.zeros(len(points), bool)
    finite = np.flatnonzero(np.isfinite(points).all(1))
    # in lexicographic order, a point can only be dominated by one that came before it
    order = finite[np.lexsort(points[finite].T[::-1])]
    kept = np.empty((0, points.shape[1]))
    for index in order:
        point = points[index]
        dominated = (kept <= point).all(1) & (kept < point).any(1)
        if not dominated.any():
            front[index] = True
            kept = np.vstack([kept, point])
    return front
