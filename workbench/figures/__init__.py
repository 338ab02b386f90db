"""Matplotlib figures from DataFrames: pure functions without state."""

from workbench.figures.comparison import importance_bars, intervals, parallel_coordinates, scatter, slices
from workbench.figures.curves import NotebookFigure, learning_curves

__all__ = [
    "NotebookFigure",
    "importance_bars",
    "intervals",
    "learning_curves",
    "parallel_coordinates",
    "scatter",
    "slices",
]
