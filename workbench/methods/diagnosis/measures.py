"""What the rules of the diagnosis measure in a case, and how they say it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from workbench.core.text import counted
from workbench.methods.diagnosis.case import Case, Slope, slope
from workbench.metrics.intervals import LEVEL
from workbench.models.layers import LayerFacts
from workbench.training.optimizers import rule_of

__all__ = [
    "BEYOND_NOISE",
    "BLOWN_UP",
    "GOOD_SHARE",
    "deadest",
    "error_of_mean",
    "has_usual_rate",
    "is_good",
    "seeds",
    "slopes_of_seeds",
    "stands",
    "still_falling",
    "swinging",
    "swings",
]

GOOD_SHARE = 0.95
"""A score this share of the way from the baseline to the best known one is as good as that."""
BEYOND_NOISE = 2.0
"""Standard errors."""
STEADY, SURE = 0.6, 0.7
"""A loss is far from where it is going if it falls in the last third by 0.6 of its fall in the third before, and so steadily that
the slope's interval stays within 30% of it."""
UNFINISHED = 0.6
"""A training loss of so much of the baseline's is not yet learned, where no other configuration says what can be reached."""
BLOWN_UP = 1.5
"""A training loss this many times the baseline's, or an untrained model's if that is larger, was thrown up by steps too long."""
USUAL = 5.0
"""A learning rate that differs from the optimizer's usual one by less than this factor is a usual one."""


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


def still_falling(case: Case) -> Slope | None:
    """The slope of a training loss that still falls steadily at the end, far from what is known to be possible; else None."""
    n, losses = len(case.epoch), case.train_loss
    if n < 6 or not case.is_finite:
        return None
    middle, last = losses[n // 3] - losses[2 * n // 3], losses[2 * n // 3] - losses[-1]
    line = slope(case.epoch[case.tail], losses[case.tail])
    alone = case.rival is None and losses[-1] > UNFINISHED * case.unit
    far = not is_good(case) or alone
    return line if line.high < SURE * line.value < 0 and last >= STEADY * middle and far else None


def has_usual_rate(case: Case, *, below: float = USUAL, above: float = math.inf) -> bool:
    """Whether the highest learning rate is at most these factors below and above the one that is usual for the optimizer."""
    rate, usual = float(case.rates.max()), rule_of(case.config).usual_rate
    return usual / below <= rate <= usual * above


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
