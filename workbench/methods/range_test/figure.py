"""The learning-rate range test as a figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from workbench.methods.range_test.suggestion import Suggestion
from workbench.ui.axes import tidy
from workbench.ui.figures import COLORS, NotebookFigure

__all__ = ["range_curve"]

Floats = NDArray[np.float64]

ROOM = 0.15
"""Of the height between the best and the untrained loss, what is shown above and below; what lies higher is cut off."""


def range_curve(
    table: pd.DataFrame, found: Suggestion, *, untrained: float, loss_label: str = "loss", steps: int | None = None
) -> NotebookFigure:
    """Validation loss against learning rate (logarithmic): mean as a line, smallest to largest over the seeds as a band.

    table: columns learning_rate, loss, low, high, train_loss, diverged, smoothed, as `range_table` makes them. The valley is
    shaded green, the rates at which a run diverged red; the suggestion is a line. The smoothed loss, by which it is decided, is
    dotted, with a point at its lowest. untrained: the loss before the first step.
    """
    figure = NotebookFigure(figsize=(8.2, 3.6), layout="constrained", dpi=100)
    axes = figure.subplots()
    rates = table["learning_rate"].to_numpy(float)
    mean, low, high, train = (
        table[name].where(np.isfinite(table[name])).to_numpy(float) for name in ("loss", "low", "high", "train_loss")
    )
    lost = (table["diverged"] > 0).to_numpy(bool)
    train = np.where(lost, np.nan, train)  # of runs that have lost themselves, it says nothing more
    seeds = int(table["seeds"].max())
    axes.set_xscale("log")
    axes.plot(rates, train, "--", color=COLORS[0], alpha=0.55, linewidth=1.2, label="training loss, last epoch")
    axes.plot(rates, mean, color=COLORS[0], linewidth=1.6, label="validation loss at the end")
    if seeds > 1:
        axes.fill_between(rates, low, high, color=COLORS[0], alpha=0.18, linewidth=0, label=f"{seeds} seeds")
    axes.plot(rates, table["smoothed"], ":", color="black", linewidth=1.3, label="the same, smoothed")
    if found.best is not None and found.loss is not None:
        axes.plot([found.best], [found.loss], "o", color="black", markersize=4, label=f"its lowest ({found.loss:.3g})")
    axes.axhline(untrained, color="0.5", linewidth=0.9, linestyle=":", label=f"untrained ({untrained:.3g})")
    for first, last in _stretches(rates, lost):
        axes.axvspan(first, last, color=COLORS[1], alpha=0.12, linewidth=0)
    if lost.any():
        axes.plot([], [], color=COLORS[1], alpha=0.25, linewidth=7, label="a seed diverges")
    if found.rate is not None and found.low is not None and found.high is not None:
        axes.axvspan(found.low, found.high, color=COLORS[2], alpha=0.15, linewidth=0)
        axes.plot([], [], color=COLORS[2], alpha=0.3, linewidth=7, label=f"smoothed within {found.margin:.2g} of it")
        axes.axvline(found.rate, color=COLORS[2], linewidth=1.6, label=f"suggestion {found.rate:g}")
    _limit(axes, np.concatenate([mean, low, train]), untrained)
    axes.set_xlim(rates[0], rates[-1])
    axes.set_xlabel("learning rate η (per step)", fontsize=9)
    axes.set_ylabel(loss_label, fontsize=9)
    axes.set_title("" if steps is None else f"each rate trained by itself for {steps} steps", fontsize=9, loc="left")
    tidy(axes)
    figure.legend(frameon=False, fontsize=8, loc="outside right upper")
    return figure


# --------------------------------------------------------------------------------------------------------------------


def _limit(axes: Axes, values: Floats, untrained: float) -> None:
    """Show what lies between the best and the untrained loss: next to a diverged one it would be a flat line."""
    finite = values[np.isfinite(values)]
    least = min(float(finite.min()), untrained) if len(finite) else untrained
    height = max(untrained - least, 1e-3 * abs(untrained), 1e-12)
    axes.set_ylim(least - ROOM * height, untrained + 2 * ROOM * height)


def _stretches(rates: Floats, marked: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """The intervals around marked rates, out to halfway between neighbours on the logarithmic scale."""
    edges = np.concatenate([rates[:1], np.sqrt(rates[1:] * rates[:-1]), rates[-1:]])
    found: list[tuple[float, float]] = []
    for index in np.flatnonzero(marked):
        if found and found[-1][1] == edges[index]:
            found[-1] = (found[-1][0], float(edges[index + 1]))
        else:
            found.append((float(edges[index]), float(edges[index + 1])))
    return found
