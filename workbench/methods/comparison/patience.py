"""How long to wait for a better epoch: what early stopping would have cost and saved on the curves in the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from workbench.core.direction import Better, sign
from workbench.core.errors import RunError
from workbench.core.text import counted
from workbench.metrics.intervals import LEVEL
from workbench.training.stopping import Patience

__all__ = ["Stops", "patience_table", "suggest_patience"]

LEAST_TRIALS = 5
SHARE = 0.95
"""Of the trials, how many must come within the noise of their best for a patience to be suggested."""
LATE = 0.9
"""A best epoch after this part of the trial is late: it may still have been improving."""


@dataclass(frozen=True)
class Stops:
    """What comes of the curves. table: see `patience_table`. suggestion: epochs, None if none saves any. reason: in words."""

    table: pd.DataFrame
    suggestion: int | None
    reason: str


def patience_table(
    curves: pd.DataFrame,
    *,
    better: Better = "higher",
    noise: float = 0.0,
    min_delta: dict[int, float] | None = None,
) -> pd.DataFrame:
    """One row a patience from 1 to the longest trial's epochs less one: early stopping simulated on curves that ran without it.

    curves: one row an epoch (trial, epoch, monitored, val_metric). The rule is that of training: stop once the monitored value
    (lower is better: the validation loss, or a metric turned so) has not fallen by more than min_delta (by trial, 0 by default)
    for so many epochs; the best epoch is that of the lowest one so far. noise: how much worse the metric may be to count as the
    same. Columns: patience, saved (share of all epochs), best_kept (share of the trials whose best epoch came before the stop),
    within_noise (share whose metric at the best epoch is not worse by more than the noise), metric_loss (mean over the trials of
    how much worse it is).
    """
    return _simulated(curves, better, noise, min_delta)[0]


def _simulated(
    curves: pd.DataFrame, better: Better, noise: float, min_delta: dict[int, float] | None
) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """The table, and how much worse the metric of each trial is with each patience, (trials, patiences)."""
    groups = [group for _, group in curves.groupby("trial", sort=True)]
    patiences = np.arange(1, max(2, max(len(group) for group in groups)))
    epochs, kept, lost = [], [], []
    for group in groups:
        monitored, metrics = group["monitored"].to_numpy(float), group["val_metric"].to_numpy(float)
        delta = (min_delta or {}).get(int(group["trial"].iloc[0]), 0.0)
        ends = _ends(monitored, patiences, delta)
        best = _best_so_far(monitored)
        epochs.append(ends + 1)
        kept.append(best[ends] == best[-1])
        lost.append(sign(better) * (metrics[best[-1]] - metrics[best[ends]]))
    worse = np.array(lost)
    total = sum(map(len, groups))
    table = pd.DataFrame(
        {
            "patience": patiences,
            "saved": 1 - np.sum(epochs, axis=0) / total,
            "best_kept": np.mean(kept, axis=0),
            "within_noise": np.mean(worse <= noise + 1e-12, axis=0),
            "metric_loss": worse.mean(0),
        }
    )
    return table, worse


def suggest_patience(
    curves: pd.DataFrame,
    *,
    better: Better = "higher",
    noise: float | None = None,
    min_delta: dict[int, float] | None = None,
    metric_label: str = "metric",
) -> Stops:
    """The smallest patience with which at least 95% of the trials come within the noise of their best.

    The shares of the trials have exact (Clopper-Pearson) 95% intervals, and the mean by which the metric is worse a bootstrap
    over the trials. They take the trials for independent, and the patience was chosen on these same trials.

    curves: as in `patience_table`, of trials that ran their epochs without early stopping. noise: of the metric, such as its
    standard deviation over seeds; by default what it jumps from epoch to epoch once a trial is past its middle.
    Raises: RunError with fewer than 5 trials.
    """
    count = curves["trial"].nunique()
    if count < LEAST_TRIALS:
        raise RunError(
            f"a patience is suggested from at least {LEAST_TRIALS} trials that ran all their epochs without early stopping "
            f"(patience=None), there are {count}; run more of them, such as a search with a base of patience=None"
        )
    source = "its standard deviation over seeds"
    if noise is None:
        noise, source = _jumps(curves), "its jumps from epoch to epoch"
    table, worse = _simulated(curves, better, noise, min_delta)
    good = table[(table["within_noise"] >= SHARE) & (table["saved"] > 0)]
    late = float(np.mean([_is_late(group["monitored"].to_numpy(float)) for _, group in curves.groupby("trial")]))
    still = (
        f" In {late:.0%} of the trials the best epoch is among the last tenth: more epochs may help them."
        if late > 0.5
        else ""
    )
    known = f"({counted(count, 'trial')}; the noise of the {metric_label} is {noise:.2g}, from {source})"
    if good.empty:
        return Stops(
            table, None, f"No patience saves epochs and keeps 95% of the trials near their best {known}.{still}"
        )
    row = good.iloc[0]
    patience, lost = int(row["patience"]), worse[:, good.index[0]]
    text = (
        f"A patience of {counted(patience, 'epoch')} would have saved {row['saved']:.0%} of the epochs; "
        f"{_share(row['within_noise'], count)} of the trials (exact 95% interval) come within the noise of their best, "
        f"{_share(row['best_kept'], count)} keep their very best epoch, and {_worse(lost, metric_label)} {known}.{still}"
    )
    return Stops(table, patience, text)


# --------------------------------------------------------------------------------------------------------------------


def _ends(monitored: NDArray[Any], patiences: NDArray[Any], min_delta: float) -> NDArray[np.int64]:
    """The index of the last epoch with each patience (increasing), that of the whole trial where it never runs out."""
    watch = Patience(min_delta)
    waited = np.maximum.accumulate([watch.update(value) for value in monitored])
    found: NDArray[np.int64] = np.minimum(np.searchsorted(waited, patiences), len(monitored) - 1)
    return found


def _best_so_far(monitored: NDArray[Any]) -> NDArray[np.int64]:
    """The index of the lowest value up to each epoch, the first of equals."""
    best, found = 0, []
    for index, value in enumerate(monitored):
        best = index if value < monitored[best] or not np.isfinite(monitored[best]) else best
        found.append(best)
    return np.array(found)


def _jumps(curves: pd.DataFrame) -> float:
    """What the metric varies from one epoch to the next in the second half of a trial: the median over the trials of the
    standard deviation of the differences, by √2 (each has the noise of two epochs)."""
    found = []
    for _, group in curves.groupby("trial"):
        steps = np.diff(group["val_metric"].to_numpy(float)[len(group) // 2 :])
        if len(steps) > 1:
            found.append(float(steps.std(ddof=1)) / np.sqrt(2))
    return float(np.median(found)) if found else 0.0


def _share(share: float, count: int) -> str:
    """A share of the trials with its exact interval."""
    interval = stats.binomtest(round(share * count), count).proportion_ci(LEVEL, "exact")
    return f"{share:.0%} ({interval.low:.0%} to {interval.high:.0%})"


def _worse(lost: NDArray[np.float64], metric_label: str) -> str:
    """By how much the metric is worse, with the bootstrap's interval of the mean over the trials; lost: (trials,)."""
    if not lost.any():  # resamples of zeros would claim to be sure of it
        return f"the {metric_label} is the same in all of them"
    random = np.random.default_rng(0)
    found = stats.bootstrap(
        (lost,), np.mean, n_resamples=2000, confidence_level=LEVEL, method="percentile", random_state=random
    )
    (low, high), mean = found.confidence_interval, lost.mean()
    return (
        f"the {metric_label} is {'worse' if mean >= 0 else 'better'} by {abs(mean):.2g} on average "
        f"({_ordered(low, high, mean)}, bootstrap over the trials)"
    )


def _ordered(low: float, high: float, mean: float) -> str:
    """An interval, reversed if its middle is negative: the text names the direction."""
    low, high = (low, high) if mean >= 0 else (-high, -low)
    return f"{low:.2g} to {high:.2g}"


def _is_late(monitored: NDArray[Any]) -> bool:
    return bool(np.nanargmin(monitored) + 1 > LATE * len(monitored))
