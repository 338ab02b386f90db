"""Whether higher or lower values of a metric are better. Every order of trials and every comparison of scores comes from here.

A trial without a score (None or NaN: it failed, diverged, or has not been evaluated yet) is last in either direction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from workbench.core.registry import METRICS
from workbench.core.text import in_sentence

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Better", "best_first", "best_score", "better_of", "is_better", "objective", "rank", "selected_by", "sign"]

Better = Literal["higher", "lower"]


def better_of(metric: str) -> Better:
    """The direction of a metric; "higher" for one that a log mentions and that is not registered now."""
    better: Better = METRICS[metric].value.better if metric in METRICS else "higher"
    return better


def selected_by(monitor: str) -> str:
    """What selects the epoch within a trial, in words: "lowest validation loss", "highest validation F1 (macro)"."""
    if monitor == "loss":
        return "lowest validation loss"
    label = in_sentence(METRICS[monitor].label) if monitor in METRICS else monitor
    return f"{'highest' if better_of(monitor) == 'higher' else 'lowest'} validation {label}"


def sign(better: Better) -> float:
    """1.0 if higher is better, else -1.0: a score times the sign is higher for the better one."""
    return 1.0 if better == "higher" else -1.0


def rank(value: float | None, better: Better) -> float:
    """A score as a sort key, higher for the better one; -inf, the worst, for None and NaN."""
    return -math.inf if value is None or math.isnan(value) else sign(better) * value


def is_better(value: float | None, other: float | None, better: Better) -> bool:
    """Whether a score is better than another one. Any finite score is better than none; equal scores are not."""
    return rank(value, better) > rank(other, better)


def best_score(values: Iterable[float | None], better: Better) -> float:
    """The best of some scores, NaN if there is none."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    return max(known, key=lambda value: rank(value, better), default=math.nan)


def best_first(frame: pd.DataFrame, column: str, better: Better, *, then: str | None = None) -> pd.DataFrame:
    """The rows of a table, best score first and those without a score last.

    column: the score. then: a column by which equal scores are ordered, smallest first; without it they keep their order.
    """
    if then is not None:
        frame = frame.sort_values(then, kind="stable")
    return frame.sort_values(column, ascending=sign(better) < 0, kind="stable", na_position="last")


def objective(better: Better) -> Literal["maximize", "minimize"]:
    """The direction in optuna's words."""
    return "maximize" if sign(better) > 0 else "minimize"
