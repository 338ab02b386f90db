"""Learning curves as a matplotlib figure: the picture that a saved notebook shows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.ui.axes import over_epochs

__all__ = ["COLORS", "NotebookFigure", "learning_curves"]

# Okabe and Ito's palette for all kinds of colour vision, without its yellow, which vanishes on white
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")


class NotebookFigure(Figure):
    """A figure that a notebook shows as a picture; made without pyplot and its global state."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def learning_curves(
    curves: pd.DataFrame,
    groups: Sequence[Sequence[int]] | None = None,
    *,
    loss_label: str = "loss",
    metric_label: str = "metric",
    labels: Mapping[int, str] | None = None,
) -> NotebookFigure:
    """Loss and metric against epochs, validation solid and training dashed.

    curves: one row an epoch, as `bench.curves()` returns it. groups: trials drawn together as their mean with a band from
    lowest to highest (the seeds of one configuration); by default each trial on its own, with a band of one standard deviation
    of its folds if it was cross-validated. labels: legend text by the first
    trial of a group. A dot marks the epoch that the monitor selects. Non-finite values are gaps.
    """
    if groups is None:
        groups = [[int(trial)] for trial in curves["trial"].unique()]
    figure = NotebookFigure(figsize=(9.6, 3.4), layout="constrained", dpi=100)
    loss, metric = figure.subplots(1, 2)
    for index, group in enumerate(groups):
        rows = curves[curves["trial"].isin(list(group))]
        if rows.empty:
            continue
        name = (labels or {}).get(group[0], f"trial {group[0]}")
        if len(group) > 1:
            name += f" ({len(group)} seeds)"
        color = COLORS[index % len(COLORS)]
        best = _wide(rows, "monitored" if "monitored" in rows else "val_loss").mean(axis=1)
        best_epoch = best.idxmin() if best.notna().any() else None
        for axes, kind in ((loss, "loss"), (metric, "metric")):
            _draw(axes, rows, f"train_{kind}", color, "--", None)
            middle = _draw(axes, rows, f"val_{kind}", color, "-", name)
            if best_epoch is not None and best_epoch in middle.index:
                axes.plot([best_epoch], [middle[best_epoch]], "o", color=color, markersize=5)
    over_epochs(loss, f"{loss_label} (solid: validation, dashed: training)")
    over_epochs(metric, metric_label)
    if len(groups) <= 12 and metric.get_legend_handles_labels()[0]:
        metric.legend(frameon=False, fontsize=8)
    return figure


def _wide(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """(epochs, trials) of one column, infinite values as missing."""
    return rows.pivot_table(index="epoch", columns="trial", values=column, dropna=False).replace(
        [np.inf, -np.inf], np.nan
    )


def _draw(axes: Axes, rows: pd.DataFrame, column: str, color: str, style: str, label: str | None) -> pd.Series[Any]:
    wide = _wide(rows, column)
    middle = wide.mean(axis=1)
    alpha = 1.0 if style == "-" else 0.55
    # a single epoch makes no line: show it as a point
    marker = "o" if len(middle) == 1 else ""
    axes.plot(
        middle.index, middle, style, color=color, alpha=alpha, label=label, linewidth=1.6, marker=marker, markersize=4
    )
    if wide.shape[1] > 1 and style == "-":
        axes.fill_between(wide.index, wide.min(axis=1), wide.max(axis=1), color=color, alpha=0.15, linewidth=0)
    elif style == "-" and f"{column}_std" in rows:
        spread = _wide(rows, f"{column}_std").mean(axis=1)
        axes.fill_between(middle.index, middle - spread, middle + spread, color=color, alpha=0.15, linewidth=0)
    return middle
