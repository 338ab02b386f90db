"""Matplotlib figures from DataFrames: pure functions without state."""

from workbench.figures.curves import NotebookFigure, learning_curves

__all__ = ["NotebookFigure", "learning_curves"]
