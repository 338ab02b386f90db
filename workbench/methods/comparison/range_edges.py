"""Whether the best configurations lie at the edge of what was searched: then the optimum may lie beyond."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from workbench.core.config import HYPERPARAMETERS
from workbench.core.direction import Better, best_first
from workbench.core.domains import Choice, Domain, IntRange, LogRange, Range
from workbench.core.errors import ConfigError

__all__ = ["RangeEdge", "range_edges", "widened"]

NEAR = 0.05
"""A value this close to an end, as a share of the range on its scale, lies at the edge."""
BEST_SHARE, BEST_LEAST = 0.1, 3
"""The best configurations: a tenth of the trials, at least 3."""


@dataclass(frozen=True)
class RangeEdge:
    """One range whose best configurations lie at an end. wider: the range to search next."""

    name: str
    side: Literal["low", "high"]
    best: float
    domain: Range | IntRange
    wider: Range | IntRange

    def __str__(self) -> str:
        end = self.domain.low if self.side == "low" else self.domain.high
        return (
            f"{self.name}: the best configurations (best {self.best:.4g}) lie at the {self.side} end {end:g} of the searched "
            f"range; a better value may lie beyond. Widen it to {self.wider.low:g} to {self.wider.high:g}."
        )


def range_edges(frame: pd.DataFrame, space: Mapping[str, Domain], *, better: Better = "higher") -> list[RangeEdge]:
    """The ranges of `space` at whose ends the best of the trials in `frame` lie.

    Of the best tenth of the trials (at least 3), the very best and at least half must lie within 5% of an end, on the
    range's scale. Trials that do not read a hyperparameter do not count for it, and at least 3 have to. A range that already
    ends where the hyperparameter does is passed over.
    """
    frame = frame[np.isfinite(frame["best_val_metric"].astype(float))]
    best = best_first(frame, "best_val_metric", better)
    best = best.head(max(BEST_LEAST, round(BEST_SHARE * len(best))))
    found = []
    for name, domain in space.items():
        if isinstance(domain, Choice) or name not in best or best[name].notna().sum() < BEST_LEAST:
            continue
        values = best[name].dropna()
        places = np.array([_place(domain, float(value)) for value in values])
        for side, near in (("low", places <= NEAR), ("high", places >= 1 - NEAR)):
            wider = widened(name, domain, side)  # type: ignore[arg-type]
            if near[0] and near.mean() >= 0.5 and wider != domain:
                found.append(RangeEdge(name, side, float(values.iloc[0]), domain, wider))  # type: ignore[arg-type]
    return found


def widened(name: str, domain: Range | IntRange, side: Literal["low", "high"]) -> Range | IntRange:
    """The domain continued beyond one end: by a factor of 10 (2 for whole numbers) or half its width, as far as the
    hyperparameter allows."""
    if domain.scale == "linear":
        step = (domain.high - domain.low) / 2
        low, high = domain.low - step, domain.high + step
    else:
        factor = 2 if isinstance(domain, IntRange) else 10
        low, high = domain.low / factor, domain.high * factor
    low, high = (low, domain.high) if side == "low" else (domain.low, high)
    declared = HYPERPARAMETERS.get(name)
    if declared is not None and isinstance(declared.domain, (Range, IntRange)):
        low, high = max(low, declared.domain.low), min(high, declared.domain.high)
    try:
        if isinstance(domain, IntRange):
            return IntRange(math.floor(low), math.ceil(high), scale=domain.scale)
        return LogRange(low, high) if isinstance(domain, LogRange) else Range(low, high)
    except ConfigError:  # a hyperparameter of a model of the user's that knows no wider range
        return domain


def _place(domain: Range | IntRange, value: float) -> float:
    """Where a value lies in its range, 0 to 1 on its scale."""
    if domain.scale == "linear":
        return (value - domain.low) / (domain.high - domain.low)
    if value <= 0:
        return 0.0
    return (math.log(value) - math.log(domain.low)) / (math.log(domain.high) - math.log(domain.low))
