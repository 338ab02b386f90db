"""Numbers and lists as words."""

from __future__ import annotations

__all__ = ["counted", "in_sentence"]

PROPER_NAMES = frozenset({"Poisson", "Gaussian"})


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 trial", "2,000 trials"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def in_sentence(label: str) -> str:
    """A label as it stands within a sentence: "Mean IoU" is "mean IoU", "RMSE" and proper names stay."""
    words = label.split(" ")
    return " ".join(word.lower() if word[1:].islower() and word not in PROPER_NAMES else word for word in words)
