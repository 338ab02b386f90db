"""Whether higher or lower values of a metric are better: sign and rank."""

from __future__ import annotations

import math
from typing import Literal

__all__ = ["Better", "rank", "sign"]

Better = Literal["higher", "lower"]


def sign(better: Better) -> float:
    """1.0 where higher is better, -1.0 where lower is; a score times it is higher for the better one."""
    return 1.0 if better == "higher" else -1.0


def rank(value: float | None, better: Better) -> float:
    """A score as a sort key, higher for the better one; -inf, the worst, for None and NaN."""
    return -math.inf if value is None or math.isnan(value) else sign(better) * value
