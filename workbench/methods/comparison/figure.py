"""Figures that compare many trials: parallel coordinates, scatter, slices, importance, intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.ticker import LogFormatterSciNotation

from workbench.core.config import HYPERPARAMETERS
from workbench.core.direction import Better, best_first, sign
from workbench.core.domains import IntRange, Range
from workbench.core.text import counted
from workbench.ui.axes import tidy
from workbench.ui.figures import COLORS, NotebookFigure

__all__ = ["importance_bars", "intervals", "parallel_coordinates", "scatter", "slices"]

SCORE = "best_val_metric"


def parallel_coordinates(
    frame: pd.DataFrame, names: Sequence[str], *, metric_label: str = "metric", better: Better = "higher"
) -> NotebookFigure:
    """One line a trial over one axis for each hyperparameter and the metric; better trials darker and on top.

    frame: trials as `bench.trials` gives them; those without a finite metric are left out.
    """
    frame = _scored(frame, better)
    figure = NotebookFigure(figsize=(max(6.0, 1.7 * (len(names) + 1)), 3.8), layout="constrained", dpi=100)
    axes = figure.subplots()
    columns = [*names, SCORE]
    shares = (
        np.column_stack([_share(frame[name], name) for name in columns]) if len(frame) else np.empty((0, len(columns)))
    )
    colours = _colours(frame[SCORE], better)
    for row, colour in zip(shares, colours, strict=True):
        axes.plot(range(len(columns)), row, color=colour, linewidth=1.1, alpha=0.8)
    for index, name in enumerate(columns):
        axes.axvline(index, color="0.4", linewidth=0.8)
        for share, text in _ticks(frame[name], name):
            axes.annotate(
                text, (index, share), xytext=(4, 0), textcoords="offset points", fontsize=7, va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
            )  # fmt: skip
    axes.set_xticks(range(len(columns)), [_label(name) for name in names] + [metric_label], fontsize=8)
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(columns) - 0.6)
    axes.set_ylim(-0.05, 1.05)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def scatter(
    frame: pd.DataFrame, x: str, y: str, *, metric_label: str = "metric", better: Better = "higher"
) -> NotebookFigure:
    """Two hyperparameters against each other, coloured by the metric; a cross is a trial without a finite one."""
    figure = NotebookFigure(figsize=(5.6, 4.0), layout="constrained", dpi=100)
    axes = figure.subplots()
    good = _scored(frame, better)
    lost = frame[~np.isfinite(frame[SCORE].astype(float))]
    places = {name: _places(frame[name]) for name in (x, y)}
    dots = axes.scatter(
        places[x].loc[good.index], places[y].loc[good.index], c=good[SCORE].astype(float), cmap=_map(better), s=28,
        edgecolor="white", linewidth=0.4,
    )  # fmt: skip
    if len(lost):
        axes.scatter(
            places[x].loc[lost.index],
            places[y].loc[lost.index],
            marker="x",
            s=22,
            color="0.5",
            label="diverged or failed",
        )
        axes.legend(frameon=False, fontsize=8)
    _scale(axes, "x", frame[x], x)
    _scale(axes, "y", frame[y], y)
    if len(good):
        figure.colorbar(dots, ax=axes, label=metric_label)
    return figure


def slices(
    frame: pd.DataFrame, names: Sequence[str], *, metric_label: str = "metric", better: Better = "higher"
) -> NotebookFigure:
    """The metric against each hyperparameter by itself, one dot a trial."""
    frame = _scored(frame, better)
    columns = min(4, max(1, len(names)))
    rows = -(-max(1, len(names)) // columns)
    figure = NotebookFigure(figsize=(3.0 * columns, 2.7 * rows), layout="constrained", dpi=100)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for index, (axes, name) in enumerate(zip(grid.flat, names, strict=False)):
        axes.scatter(_places(frame[name]), frame[SCORE], s=14, color=COLORS[0], alpha=0.7, linewidth=0)
        _scale(axes, "x", frame[name], name)
        if index % columns == 0:
            axes.set_ylabel(metric_label, fontsize=9)
    return figure


def importance_bars(table: pd.DataFrame) -> NotebookFigure:
    """`bench.importance()` as bars, with the number of trials it rests on."""
    figure = NotebookFigure(figsize=(5.6, 0.9 + 0.34 * max(1, len(table))), layout="constrained", dpi=100)
    axes = figure.subplots()
    axes.barh([_label(name) for name in table["hyperparameter"]][::-1], table["importance"][::-1], color=COLORS[0])
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the variation explained", fontsize=9)
    trials = int(table["trials"].iloc[0])
    note = "" if table["enough"].iloc[0] else ": too few to trust the order"
    axes.set_title(f"importance, from {counted(trials, 'trial')}{note}", fontsize=9, loc="left")
    tidy(axes)
    return figure


def intervals(table: pd.DataFrame, *, label: str, metric_label: str = "metric") -> NotebookFigure:
    """Means with their 95% intervals, best on top. table: columns `label`, mean, low, high, tied.

    Hollow: differs significantly from the best.
    """
    figure = NotebookFigure(figsize=(5.6, 0.9 + 0.36 * max(1, len(table))), layout="constrained", dpi=100)
    axes = figure.subplots()
    for place, row in enumerate(table[::-1].itertuples(index=False)):
        known = np.isfinite(row.low)
        error = [[row.mean - row.low], [row.high - row.mean]] if known else None
        face = COLORS[0] if row.tied else "white"
        axes.errorbar(row.mean, place, xerr=error, fmt="o", color=COLORS[0], markerfacecolor=face, capsize=3)
    axes.set_yticks(range(len(table)), [str(value) for value in table[label]][::-1])
    axes.set_ylim(-0.6, len(table) - 0.4)
    axes.set_xlabel(f"{metric_label}, mean and 95% interval (hollow: significantly worse than the best)", fontsize=8)
    tidy(axes)
    return figure


# --------------------------------------------------------------------------------------------------------------------


def _scored(frame: pd.DataFrame, better: Better) -> pd.DataFrame:
    """Trials with a finite metric, the best last so that they are drawn on top."""
    frame = frame[np.isfinite(frame[SCORE].astype(float))]
    return best_first(frame, SCORE, better)[::-1]


def _map(better: Better) -> str:
    return "viridis_r" if sign(better) > 0 else "viridis"


def _colours(values: pd.Series[Any], better: Better) -> Any:
    ranks = values.rank(pct=True) if len(values) else values
    return matplotlib.colormaps[_map(better)](Normalize(0, 1)(ranks.astype(float)))


def _label(name: str) -> str:
    declaration = HYPERPARAMETERS.get(name)
    words = name.replace("_", " ")
    return f"{words} ({declaration.symbol})" if declaration is not None and len(declaration.symbol) < 4 else words


def _numeric(values: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values))


def _few(values: pd.Series[Any]) -> list[float]:
    """The values of a number that takes only a few, as the marks of its axis; else none."""
    found = sorted({float(value) for value in values.dropna()}) if _numeric(values) else []
    return found if len(found) <= 6 else []


def _is_log(values: pd.Series[Any], name: str) -> bool:
    declaration = HYPERPARAMETERS.get(name)
    domain = declaration.domain if declaration is not None else None
    declared = isinstance(domain, (Range, IntRange)) and domain.scale != "linear"
    return declared and _numeric(values) and bool((values.dropna() > 0).all())


def _categories(values: pd.Series[Any]) -> list[str]:
    return sorted({str(value) for value in values.dropna()})


def _places(values: pd.Series[Any]) -> pd.Series[Any]:
    """Where values stand on an axis: numbers as they are, names by their place in the alphabet."""
    if _numeric(values):
        return values.astype(float)
    order = _categories(values)
    return values.map(lambda value: float(order.index(str(value))), na_action="ignore").astype(float)


def _share(values: pd.Series[Any], name: str) -> Any:
    """0 to 1 from the smallest to the largest value, on the hyperparameter's scale; NaN stays."""
    places = _places(values).to_numpy(float)
    if _is_log(values, name):
        places = np.log(places)
    finite = places[np.isfinite(places)]
    if not len(finite) or finite.min() == finite.max():
        return np.where(np.isfinite(places), 0.5, np.nan)
    return (places - finite.min()) / (finite.max() - finite.min())


def _ticks(values: pd.Series[Any], name: str) -> list[tuple[float, str]]:
    if not values.notna().any():
        return []
    if not _numeric(values):
        order = _categories(values)
        return [(i / (len(order) - 1) if len(order) > 1 else 0.5, text) for i, text in enumerate(order)]
    few = _few(values)
    if few:
        shares = _share(pd.Series(few), name)
        return [(float(share), f"{value:g}") for share, value in zip(shares, few, strict=True)]
    low, high = float(values.min()), float(values.max())
    if low == high:
        return [(0.5, f"{low:.4g}")]
    middle = float(np.sqrt(low * high)) if _is_log(values, name) else (low + high) / 2
    return [(0.0, f"{low:.3g}"), (0.5, f"{middle:.3g}"), (1.0, f"{high:.3g}")]


def _scale(axes: Axes, which: Literal["x", "y"], values: pd.Series[Any], name: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    if not _numeric(values):
        order = _categories(values)
        axis.set_ticks(range(len(order)), order)
        if which == "x" and sum(map(len, order)) > 24:
            axes.tick_params("x", rotation=40)
    elif _is_log(values, name):
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        if values.max() / values.min() < 100:
            axis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(2, 1)))
    few = _few(values)
    if few:
        axis.set_ticks(few, [f"{value:g}" for value in few])
        axis.set_ticks([], minor=True)
    (axes.set_xlabel if which == "x" else axes.set_ylabel)(_label(name), fontsize=9)
    tidy(axes)
