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

from workbench.core.errors import RunError

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
MIDDLE, HALF = "the middle of the valley", "half of the largest stable rate, below the middle of the valley"
BELOW = "half of the largest stable rate, below the valley, since a longer run meets sharper curvature than a short one"
LARGEST = "the largest rate tried"
"""What a suggestion is."""


@dataclass(frozen=True)
class Suggestion:
    """What a range test says. rate: to train with, None if no rate helped. reason: in words, with the numbers.

    best: the rate of the smallest smoothed loss. low, high: the valley around it. steepest: where the loss falls fastest with
    the rate. largest_stable: the largest rate that does not diverge. loss: the smallest smoothed loss, the column `smoothed`
    of `range_table` at `best`. margin: by how much the smoothed loss may exceed it within the valley. All None if no rate
    helped.
    """

    rate: float | None
    reason: str
    best: float | None = None
    low: float | None = None
    high: float | None = None
    steepest: float | None = None
    largest_stable: float | None = None
    loss: float | None = None
    margin: float | None = None


def range_table(points: pd.DataFrame, untrained: Mapping[int, float]) -> pd.DataFrame:
    """One row a learning rate: the validation loss over the seeds, and how many of them diverged.

    points: one row a run, with learning_rate, seed, train_loss (mean of its last epoch), val_loss (after it) and peak_loss (the
    largest train_loss of its epochs), infinite where it is not finite; and start_loss, that of the training rows before the
    first step (taken to be the validation rows' if there is no such column). untrained: the validation loss before the first
    step, by seed. Returns learning_rate, loss, low and high (mean, smallest and largest validation loss; infinite if a run
    diverged to no finite loss), train_loss (mean), diverged (share of the runs, see `CLIMB`), seeds, and smoothed: the mean
    loss smoothed over neighbouring rates, by which `suggest` decides; NaN where a run diverged, and beyond the first such rate
    above the best.
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
    wide = _wide(points)
    if wide.shape[1]:
        places, mean = np.log10(wide.columns.to_numpy(float)), wide.to_numpy(float).mean(0)
        fine = _below_the_first_lost(mean, (table.loc[wide.columns, "diverged"] == 0).to_numpy(bool))
        smooth = pd.Series(_smoothed(places, mean, fine), wide.columns)
        table["smoothed"] = smooth.where(np.isfinite(smooth)).reindex(table.index)
    else:
        table["smoothed"] = np.nan
    return table.reset_index()


def suggest(points: pd.DataFrame, untrained: Mapping[int, float], *, steps: int | None = None) -> Suggestion:
    """The learning rate to train with. points, untrained: as in `range_table`. steps: of each run, for the reason.

    The mean loss of each rate is smoothed over its neighbours. Around the smallest lies a valley of rates that are as good:
    within one standard error of the difference (paired by seed), or 5% of the gain over the untrained model. The suggestion is
    its middle on the logarithmic scale, where an error to either side costs least, but at most half of the largest stable rate.
    Where no rate tried diverges and half of the largest lies below the valley, nothing is known of an edge to keep away from:
    it is the largest rate then, and the reason says to test higher ones. Raises: RunError with fewer than 5 rates.
    """
    wide = _wide(points)
    if wide.shape[1] < LEAST_RATES:
        raise RunError(
            f"a range test needs at least {LEAST_RATES} learning rates that were tried, there are {wide.shape[1]}; "
            "run it longer, or choose more points"
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
    place, where = (middle, MIDDLE) if middle <= ceiling else (ceiling, HALF if ceiling >= first else BELOW)
    if place < first and stable == len(rates) - 1:
        # no rate diverged: the ceiling is that of the range, not of the training
        place, where = (places[-1], LARGEST) if math.isclose(last, places[-1]) else (middle, MIDDLE)
    rate = _short_within(10**place, 10 ** min(first, place), 10**last)
    falls = np.gradient(smooth[: best + 1], places[: best + 1]) if best else np.zeros(1)
    found = Suggestion(
        rate, "", float(rates[best]), 10**first, 10**last, float(rates[int(np.argmin(falls))]),
        float(rates[stable]), float(smooth[best]), float(limit),
    )  # fmt: skip
    own = {rate: mean for rate, mean in zip(rates, losses.mean(0), strict=True) if first <= math.log10(rate) <= last}
    reason = _reason(found, where, start, after, len(wide), rates, own, _together(places[fine], places[best]))
    return Suggestion(**{**vars(found), "reason": reason})


# --------------------------------------------------------------------------------------------------------------------


def _wide(points: pd.DataFrame) -> pd.DataFrame:
    """Validation losses, a row a seed and a column a rate; only rates that were tried with all seeds."""
    return points.pivot(index="seed", columns="learning_rate", values="val_loss").dropna(axis=1)


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


def _together(places: NDArray[Any], place: float) -> int:
    """Over how many rates the smoothing averages at a place: Kish's effective number of its weights."""
    weights = np.exp(-0.5 * ((places - place) / WIDTH) ** 2)
    return max(1, round(float(weights.sum() ** 2 / (weights**2).sum())))


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
    found: Suggestion,
    where: str,
    start: float,
    after: str,
    seeds: int,
    rates: NDArray[Any],
    own: Mapping[float, float],
    together: int,
) -> str:
    """In words, why this rate. own: the mean loss, not smoothed, of each rate in the valley."""
    over = f"mean of {seeds} seeds" if seeds > 1 else "one seed"
    assert found.loss is not None
    assert found.margin is not None
    assert found.low is not None
    assert found.high is not None
    smoothing = f", smoothed over about {together} neighbouring rates" if together > 1 else ""
    valley = f"from {_short(found.low)} to {_short(found.high)} the validation loss{after}{smoothing}, stays within "
    valley += f"{found.margin:.2g} of its lowest, {found.loss:.3g} (untrained {start:.3g}; {over})"
    worse = [rate for rate, loss in own.items() if loss > found.loss + found.margin]
    if worse and together > 1:
        valley += f"; not smoothed, {len(worse)} of the {len(own)} rates tried there {_are(worse)} worse than that"
    edge = f"the largest stable rate is {_short(found.largest_stable)}"
    if found.largest_stable == rates[-1]:
        edge = f"even the largest rate tried, {_short(rates[-1])}, is stable"
    text = f"{_short(found.rate)} is {where}: {valley}; {edge}."
    ends = [
        name
        for name, mine, end in (("low", found.low, rates[0]), ("high", found.high, rates[-1]))
        if math.isclose(mine, end)
    ]
    if ends:
        beyond = {"low": "a lower", "high": "a higher"}[ends[0]]
        text += f" The range ends there: a better rate may lie beyond, test again with {beyond} `{ends[0]}`."
    return text


def _are(some: list[float]) -> str:
    return f"({', '.join(map(_short, some[:3]))}{', …' if len(some) > 3 else ''}) {'is' if len(some) == 1 else 'are'}"


def _short(rate: float | None) -> str:
    return f"{rate:.2g}"


def _short_within(rate: float, low: float, high: float) -> float:
    """A rate to two digits, or to as many more as it takes to stay between two others."""
    return next((short for digits in range(2, 17) if low <= (short := float(f"{rate:.{digits}g}")) <= high), rate)
