"""What the rules of the diagnosis measure in a case, and how they say it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from workbench.core.text import counted
from workbench.methods.diagnosis.case import Case, slope
from workbench.metrics.intervals import LEVEL
from workbench.models.layers import LayerFacts

__all__ = [
    "BEYOND_NOISE",
    "GOOD_SHARE",
    "deadest",
    "error_of_mean",
    "is_good",
    "seeds",
    "slopes_of_seeds",
    "stands",
    "swinging",
    "swings",
]

GOOD_SHARE = 0.95
"""A score this share of the way from the baseline to the best known one is as good as that."""
BEYOND_NOISE = 2.0
"""Standard errors."""


def is_good(case: Case) -> bool:
    """Whether the score does not differ from the best known beyond noise, or is close to it."""
    if case.at_baseline:
        return False
    near = case.behind <= BEYOND_NOISE if math.isfinite(case.behind) else False
    return near or case.share(case.score) >= GOOD_SHARE


def stands(case: Case) -> str:
    """Where the score stands between baseline and best known, as a sentence."""
    share = case.share(case.score)
    base = "" if not math.isfinite(case.baseline_score) else f" from the baseline's {case.baseline_score:.3g}"
    return (
        f"its validation {case.metric} of {case.score:.3g} is {max(0.0, share):.0%} of the way{base} to the best known, "
        f"{case.best_score:.3g}"
    )


def swing(values: Any) -> float:
    """Standard deviation from epoch to epoch, a trend left out: that of second differences, over √6."""
    return float(np.std(np.diff(values, 2)) / math.sqrt(6)) if len(values) >= 4 else 0.0


def swings(case: Case) -> tuple[float, float]:
    """Ups and downs of the training and the validation loss over the last epochs, in units of the baseline's loss."""
    return swing(case.train_loss[case.tail]) / case.unit, swing(case.val_loss[case.tail]) / case.unit


def swinging(swings: tuple[float, float]) -> str:
    return (
        f"from epoch to epoch the losses go up and down by {swings[0]:.2g} (training) and {swings[1]:.2g} (validation) times "
        "the baseline's loss"
    )


def slopes_of_seeds(case: Case) -> tuple[float, float, float, int] | None:
    """Mean slope of the validation loss since its minimum over the seeds, with Student's t interval; None for one seed."""
    slopes = []
    for curve in [case.curve, *case.seeds]:
        losses = curve["val_loss"].to_numpy(float)
        if np.isfinite(losses).all() and len(losses):
            start = int(losses.argmin())
            slopes.append(slope(curve["epoch"].to_numpy(float)[start:], losses[start:]).value)
    known = [value for value in slopes if math.isfinite(value)]
    if len(known) < 2:
        return None
    mean = float(np.mean(known))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(known) - 1) * stats.sem(known))
    return mean, mean - half, mean + half, len(known)


def deadest(facts: Sequence[LayerFacts] | None) -> LayerFacts | None:
    """The activation layer with the largest share of dead units."""
    layers = [one for one in facts or () if one.role == "activation" and math.isfinite(one.dead)]
    return max(layers, key=lambda one: one.dead, default=None)


def error_of_mean(case: Case, scores: Any) -> float:
    """Standard error of a configuration's mean score: from the rows, or from the seeds' spread if that is larger."""
    rows = case.error_of(float(np.mean(scores)))
    spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    return max(rows if math.isfinite(rows) else 0.0, spread) / math.sqrt(len(scores))


def seeds(scores: Any) -> str:
    return counted(len(scores), "seed")
