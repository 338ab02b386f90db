"""Whether a prescription helped: what its rule is about, before and after, over the seeds there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from workbench.core.direction import Better, sign
from workbench.core.text import counted
from workbench.methods.diagnosis.measures import swing
from workbench.metrics.intervals import LEVEL

__all__ = ["MEASURE_WORDS", "Measure", "Outcome", "Reached", "Seeds", "difference", "helped", "measure_of"]

Measure = Literal["best", "end", "apart"]
MEASURE_WORDS: dict[Measure, str] = {
    "best": "the best validation metric",
    "end": "the validation loss at the end, with the best metric kept",
    "apart": "whether the two configurations differ significantly",
}
LAST = 3
"""Epochs at the end of a run whose mean loss is compared."""
OTHER_LOSS = frozenset({"loss", "label_smoothing", "huber_delta"})
"""A change of one of these makes it another loss, which cannot be compared."""


class Reached(NamedTuple):
    """The results of a run. best: validation metric at its best epoch. end: validation loss, the mean of its last epochs; NaN if
    one is no number. swing: of that loss from epoch to epoch, by itself."""

    best: float
    end: float
    swing: float
    epochs: int

    @classmethod
    def of(cls, curve: pd.DataFrame, best: float) -> Reached:
        losses = curve["val_loss"].to_numpy(float)
        end = float(losses[-LAST:].mean()) if len(losses) else math.nan
        third = losses[-max(4, round(len(losses) / 3)) :]
        size = swing(third) if np.isfinite(third).all() else 0.0
        return cls(best, end if math.isfinite(end) else math.nan, size, len(losses))


Seeds = Mapping[float, Reached]
"""Runs of one configuration, by seed."""


@dataclass(frozen=True)
class Outcome:
    """helped: whether. compared: what was compared with what, in words."""

    helped: bool
    compared: str


def measure_of(measure: Measure, changes: Mapping[str, Any]) -> Measure:
    """The measure of a rule's prescription with these changes: "best" instead of "end" if the loss itself is changed."""
    return "best" if measure == "end" and OTHER_LOSS & set(changes) else measure


def helped(
    measure: Measure,
    before: Reached,
    after: Reached,
    seeds: tuple[Seeds, Seeds] = ({}, {}),
    *,
    metric: str,
    better: Better,
    noise: float,
    stops: bool = False,
) -> Outcome:
    """Whether the run that was tried is better than the one before. measure: not "apart".

    A metric must be better by more than `noise`, one standard error by the number of validation rows; a loss by more than it goes
    up and down at the end of the two runs. "end" also wants the best metric kept within `noise`; where the prescription was to
    stop early (`stops`), keeping it with fewer epochs is enough. A run without a number is helped by any, and none helps.
    seeds: all known runs of both configurations, these two included. Where there are several, the words give their difference an
    interval; they do not decide, or each seed that was tried would count with all the others.
    """
    way = sign(better)
    best = f"best validation {metric}"
    if measure == "best":
        pairs = [{seed: run.best for seed, run in runs.items()} for runs in seeds]
        words = _compared(before.best, after.best, pairs, f"of the validation rows {noise:.2g}")
        return Outcome(_better(before.best, after.best, way, noise), f"{best}: {words}")
    pairs = [{seed: run.end for seed, run in runs.items()} for runs in seeds]
    swing = math.hypot(before.swing, after.swing)
    words = _compared(before.end, after.end, pairs, f"from epoch to epoch {swing:.2g}")
    kept = math.isfinite(after.best) and not way * (after.best - before.best) < -noise
    parts = [
        f"validation loss at the end (mean of the last {LAST} epochs): {words}",
        f"{best} {after.best:.3g} against {before.best:.3g}, {'' if kept else 'not '}kept "
        f"within one standard error ({noise:.2g})",
    ]
    if stops:
        parts.append(f"{counted(after.epochs, 'epoch')} instead of {before.epochs}")
    good = _better(before.end, after.end, -1.0, swing) or (stops and after.epochs < before.epochs)
    return Outcome(kept and good, "; ".join(parts))


def difference(before: Mapping[float, float], after: Mapping[float, float]) -> tuple[float, float, str] | None:
    """The 95% interval of the mean of `after` minus that of `before`, both by seed, and its name; None for a single seed.

    Student's t of the differences where at least two seeds are in both; else Welch's, where both have two.
    """
    shared = sorted(before.keys() & after.keys())
    if len(shared) > 1:
        own = np.array([after[seed] - before[seed] for seed in shared])
        half = float(stats.t.ppf((1 + LEVEL) / 2, len(own) - 1) * stats.sem(own))
        return float(own.mean()) - half, float(own.mean()) + half, f"paired t over {len(own)} seeds"
    if min(len(before), len(after)) < 2:
        return None
    first, second = np.array(list(before.values())), np.array(list(after.values()))
    gap = float(second.mean() - first.mean())
    if first.var() == 0 and second.var() == 0:
        return gap, gap, f"{len(first)} and {len(second)} seeds without spread"
    interval = stats.ttest_ind(second, first, equal_var=False).confidence_interval(LEVEL)
    return float(interval.low), float(interval.high), f"Welch's t over {len(first)} and {len(second)} seeds"


# --------------------------------------------------------------------------------------------------------------------


def _better(before: float, after: float, way: float, least: float) -> bool:
    """Whether a value is better (way 1: higher) by more than `least`."""
    if not (math.isfinite(before) and math.isfinite(after)):
        return math.isfinite(after)
    return way * (after - before) > least


def _compared(before: float, after: float, seeds: list[dict[float, float]], known: str) -> str:
    """The two values, and how sure their difference is. known: what is known of the noise with one seed."""
    words = f"{after:.3g} against {before:.3g} before"
    if not (math.isfinite(before) and math.isfinite(after)):
        return words
    old, new = ({seed: value for seed, value in one.items() if math.isfinite(value)} for one in seeds)
    interval = difference(old, new)
    if interval is None:
        return f"{words} ({after - before:+.2g}; one seed, its noise unknown; {known})"
    low, high, name = interval
    return f"{words} (95% interval of the difference {low:+.2g} to {high:+.2g}, {name})"
