"""The learning-rate range test: which rate to train with, from short runs at many rates.

The test of Smith (2017, "Cyclical learning rates") raises the rate within one run, so that each rate acts on weights that the
smaller ones have left, and the loss, smoothed over steps, lags behind the rate. Here each rate has short runs of its own from
the same initial weights, with several seeds, and what is compared is the validation loss at their end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.errors import RunError

__all__ = ["Suggestion", "range_table", "suggest"]

CLIMB = 2.0
"""A run whose training loss, as the mean of any epoch, exceeds this many times the untrained model's loss has diverged: some
come back from there, with weights so large that the loss on other rows is a matter of luck."""
WIDTH = 0.2
"""Decades over which the mean loss is smoothed: neighbouring rates share the noise of few seeds."""
TOLERANCE = 0.05
"""Of what the best rate gains over the untrained model, what may be missing at a rate that is as good."""
KEPT = 0.5
"""Of that gain, what a rate must keep to count as stable."""
SAFETY = 2.0
"""The suggestion stays below the largest stable rate by this factor: a longer run meets sharper curvature than a short one."""
LEAST_RATES = 5


@dataclass(frozen=True)
class Suggestion:
    """What a range test says. rate: to train with, None if no rate helped. reason: in words, with the numbers.

    best: the rate of the smallest smoothed loss. low, high: the valley around it. steepest: where the loss falls fastest with
    the rate. largest_stable: the largest rate that does not diverge. All None if no rate helped.
    """

    rate: float | None
    reason: str
    best: float | None = None
    low: float | None = None
    high: float | None = None
    steepest: float | None = None
    largest_stable: float | None = None


def range_table(points: pd.DataFrame, untrained: Mapping[int, float]) -> pd.DataFrame:
    """One row a learning rate: the validation loss over the seeds, and how many of them diverged.

    points: one row a run, with learning_rate, seed, train_loss (mean of its last epoch), val_loss (after it) and peak_loss
    (the largest train_loss of its epochs), infinite where it is not finite; and start_loss, that of the training rows before
    the first step (taken to be the validation rows' if there is no such column). untrained: the validation loss before the
    first step, by seed.
    Returns learning_rate, loss, low and high (mean, smallest and largest validation loss; infinite if a run diverged to no
    finite loss), train_loss (mean), diverged (share of the runs, see `CLIMB`) and seeds.
    """
    lost = _diverged(points, untrained)
    groups = points.assign(diverged=lost.astype(float)).groupby("learning_rate", sort=True)
    table = pd.DataFrame(
        {
            "loss": groups["val_loss"].mean(),
            "low": groups["val_loss"].min(),
            "high": groups["val_loss"].max(),
            "train_loss": groups["train_loss"].mean(),
            "diverged": groups["diverged"].mean(),
            "seeds": groups["seed"].nunique(),
        }
    )
    return table.reset_index()


def suggest(points: pd.DataFrame, untrained: Mapping[int, float], *, steps: int | None = None) -> Suggestion:
    """The learning rate to train with. points, untrained: as in `range_table`. steps: of each run, for the reason.

    The mean loss of each rate is smoothed over its neighbours. Around the smallest lies a valley of rates that are as good:
    within one standard error of the difference (paired by seed), or 5% of the gain over the untrained model. The suggestion is
    its middle on the logarithmic scale, where an error to either side costs least, but at most half of the largest stable rate.
    Raises: RunError with fewer than 5 rates.
    """
    wide = points.pivot(index="seed", columns="learning_rate", values="val_loss").dropna(axis=1)
    if wide.shape[1] < LEAST_RATES:
        raise RunError(
            f"a range test needs at least {LEAST_RATES} learning rates that were tried, there are {wide.shape[1]}; "
            "let it run longer, or choose more points"
        )
    rates, losses = wide.columns.to_numpy(float), wide.to_numpy(float)
    places = np.log10(rates)
    lost = points.assign(lost=_diverged(points, untrained)).groupby("learning_rate")["lost"].any()
    start = float(np.mean([untrained[int(seed)] for seed in wide.index]))
    fine = _below_the_first_lost(losses.mean(0), ~lost.loc[rates].to_numpy(bool))
    if not fine.any():
        return Suggestion(None, f"every rate from {_short(rates[0])} to {_short(rates[-1])} diverges: start lower")
    smooth = _smoothed(places, losses.mean(0), fine)
    best = int(np.argmin(smooth))
    gain = start - smooth[best]
    after = "" if steps is None else f" after {steps} steps"
    if not gain > 0:
        return Suggestion(
            None,
            f"no rate from {_short(rates[0])} to {_short(rates[-1])} brings the validation loss{after} below the untrained "
            f"model's {start:.3g}: test larger rates or more steps, or look at model and data",
        )
    stable = _last(best, fine & (start - smooth >= KEPT * gain), +1)
    excess = smooth - smooth[best]
    limit = max(TOLERANCE * gain, _noise(losses, fine, best))
    first, last = _crossing(places, excess, limit, best, -1), _crossing(places, excess, limit, best, +1)
    middle, ceiling = (first + last) / 2, places[stable] - math.log10(SAFETY)
    rate = float(f"{10 ** min(middle, ceiling):.2g}")
    falls = np.gradient(smooth[: best + 1], places[: best + 1]) if best else np.zeros(1)
    found = Suggestion(
        rate, "", float(rates[best]), 10**first, 10**last, float(rates[int(np.argmin(falls))]),
        float(rates[stable]),
    )  # fmt: skip
    reason = _reason(found, middle <= ceiling, smooth[best], start, after, len(wide), rates)
    return Suggestion(**{**vars(found), "reason": reason})


# --------------------------------------------------------------------------------------------------------------------


def _diverged(points: pd.DataFrame, untrained: Mapping[int, float]) -> pd.Series[Any]:
    finite = np.isfinite(points["val_loss"]) & np.isfinite(points["train_loss"])
    # a loss of the user's own may be negative
    start = points["start_loss"] if "start_loss" in points else points["seed"].map(dict(untrained))
    limits = start + (CLIMB - 1) * start.abs()
    return ~(finite & (points["peak_loss"] <= limits))


def _below_the_first_lost(mean: NDArray[Any], fine: NDArray[Any]) -> NDArray[Any]:
    """The rates at which no run diverged, up to the first above the best of them at which one did."""
    if not fine.any():
        return fine
    best = int(np.argmin(np.where(fine, mean, np.inf)))
    lost = np.flatnonzero(~fine[best:])
    return fine & (np.arange(len(fine)) < (best + lost[0] if len(lost) else len(fine)))


def _smoothed(places: NDArray[Any], values: NDArray[Any], fine: NDArray[Any]) -> NDArray[Any]:
    """Local linear regression with Gaussian weights over the fine places; infinite elsewhere. A straight line stays as it is."""
    x, y = places[fine], values[fine]
    found = np.full(len(places), np.inf)
    for index in np.flatnonzero(fine):
        weights = np.exp(-0.5 * ((x - places[index]) / WIDTH) ** 2)
        centre, level = np.average(x, weights=weights), np.average(y, weights=weights)
        spread = np.average((x - centre) ** 2, weights=weights)
        slope = np.average((x - centre) * (y - level), weights=weights) / spread if spread > 1e-12 else 0.0
        found[index] = level + slope * (places[index] - centre)
    return found


def _noise(losses: NDArray[Any], fine: NDArray[Any], best: int) -> float:
    """Standard error of the mean difference between neighbours of the best rate and it, paired by seed; 0 for one seed.

    losses: (seeds, rates). Pooled over up to two rates on either side.
    """
    near = [i for i in range(max(0, best - 2), min(len(fine), best + 3)) if i != best and fine[i]]
    if len(losses) < 2 or not near:
        return 0.0
    variance = (losses[:, near] - losses[:, [best]]).var(0, ddof=1).mean()
    return float(np.sqrt(variance / len(losses)))


def _last(start: int, good: NDArray[Any], direction: int) -> int:
    """The last index from `start` on in a direction up to which all are good."""
    index = start
    while 0 <= index + direction < len(good) and good[index + direction]:
        index += direction
    return index


def _crossing(places: NDArray[Any], excess: NDArray[Any], limit: float, best: int, direction: int) -> float:
    """The place where the excess first passes the limit, between two rates by a straight line: the grid is coarse."""
    inside = _last(best, excess <= limit, direction)
    outside = inside + direction
    if not 0 <= outside < len(places) or not np.isfinite(excess[outside]):
        return float(places[inside])
    share = (limit - excess[inside]) / (excess[outside] - excess[inside])
    return float(places[inside] + share * (places[outside] - places[inside]))


def _reason(
    found: Suggestion, central: bool, loss: float, start: float, after: str, seeds: int, rates: NDArray[Any]
) -> str:
    """In words, why this rate."""
    over = f"mean of {seeds} seeds" if seeds > 1 else "one seed"
    assert found.rate is not None
    assert found.low is not None
    assert found.high is not None
    assert found.largest_stable is not None
    valley = f"from {_short(found.low)} to {_short(found.high)} the validation loss{after} is as good as at its best "
    valley += f"({loss:.3g}, untrained {start:.3g}; {over})"
    edge = f"the largest stable rate is {_short(found.largest_stable)}"
    if found.largest_stable == rates[-1]:
        edge = f"even the largest rate tried, {_short(rates[-1])}, is stable"
    where = "the middle of the valley" if central else "half of the largest stable rate, below the middle of the valley"
    text = f"{_short(found.rate)} is {where}: {valley}; {edge}."
    ends = [
        name
        for name, mine, end in (("low", found.low, rates[0]), ("high", found.high, rates[-1]))
        if math.isclose(mine, end)
    ]
    if ends:
        text += f" The range ends there: a better rate may lie beyond, test again with another {ends[0]}."
    return text


def _short(rate: float | None) -> str:
    return f"{rate:.2g}"
