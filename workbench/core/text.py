"""Numbers and lists as words."""

from __future__ import annotations

import math

__all__ = ["counted", "in_sentence", "rounded"]

PROPER_NAMES = frozenset({"Poisson", "Gaussian"})


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 trial", "2,000 trials"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def rounded(value: float, digits: int = 5, *, sign: bool = False) -> str:
    """A score or loss for people: `digits` significant digits, with at most one fewer decimals: "0.9750", "12.346", "319,830".

    Numbers below 0.01 have two significant digits fewer, without zeros at the end: "0.00012". sign: whether numbers above 0 have
    one too.
    """
    plus = "+" if sign else ""
    if not math.isfinite(value) or value == 0:
        return f"{value:{plus}.{digits - 1}f}"
    exponent = math.floor(math.log10(abs(value)))
    if not -2 <= exponent < 9:
        return f"{value:{plus}.{digits - 2}g}"
    decimals = digits - 1 - exponent
    return f"{round(value, decimals):{plus},.{min(max(decimals, 0), digits - 1)}f}"


def in_sentence(label: str) -> str:
    """A label as it stands within a sentence: "Mean IoU" is "mean IoU", "RMSE" and proper names stay."""
    words = label.split(" ")
    return " ".join(word.lower() if word[1:].islower() and word not in PROPER_NAMES else word for word in words)
