"""Matplotlib figures from DataFrames: pure functions without state."""

from workbench.figures.curves import learning_curves

__all__ = ["learning_curves"]
