"""Matplotlib figures from DataFrames: pure functions without state."""

from workbench.figures.comparison import importance_bars, intervals, parallel_coordinates, scatter, slices
from workbench.figures.curves import NotebookFigure, learning_curves
from workbench.figures.ensembles import ensemble_scores
from workbench.figures.opening import opened_scores

__all__ = [
    "NotebookFigure",
    "ensemble_scores",
    "importance_bars",
    "intervals",
    "learning_curves",
    "opened_scores",
    "parallel_coordinates",
    "scatter",
    "slices",
]
