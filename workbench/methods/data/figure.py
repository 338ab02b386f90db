"""The targets of a task as matplotlib figures: rows of each class, or histograms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from workbench.methods.data.overview import LABELS
from workbench.ui.axes import literal, tidy
from workbench.ui.figures import COLORS, NotebookFigure

__all__ = ["class_bars", "target_histograms"]

CLASSES = 30
TARGETS = 4
STYLES: tuple[dict[str, Any], ...] = (
    {"color": COLORS[0], "alpha": 0.45, "fill": True}, {"color": COLORS[1], "linewidth": 1.5}
)  # fmt: skip


def class_bars(sizes: pd.DataFrame, counted: str = "rows") -> NotebookFigure:
    """Rows of each class, the classes in their order; of more than 30 the most frequent.

    sizes: as `overview.class_sizes`. counted: what was counted.
    """
    shown = sizes if len(sizes) <= CLASSES else sizes.sort_values("share", ascending=False).head(CLASSES)
    upright = len(shown) <= 12 and max(len(str(label)) for label in shown.index) <= 10
    places = np.arange(len(shown))
    height = 2.3 if upright else 1.0 + 0.28 * len(shown)
    figure = NotebookFigure(figsize=(7.0, height), layout="constrained", dpi=100)
    axes = figure.subplots()
    before = np.zeros(len(shown))
    for split, color in (("train", COLORS[0]), ("validation", COLORS[4]), ("open", COLORS[0])):
        if split not in shown:
            continue
        values = shown[split].to_numpy()
        if upright:
            axes.bar(places, values, width=0.7, bottom=before, color=color, label=LABELS[split])
        else:
            axes.barh(places, values, height=0.7, left=before, color=color, label=LABELS[split])
        before = before + values
    names = [literal(label if len(str(label)) <= 24 else f"{str(label)[:23]}…") for label in shown.index]
    if upright:
        axes.set_xticks(places, names)
    else:
        axes.set_yticks(places, names)
        axes.set_ylim(len(shown) - 0.4, -0.6)
    tidy(axes, "y" if upright else "x")
    more = f", the {CLASSES} most frequent of {len(sizes)} classes" if len(shown) < len(sizes) else ""
    axes.set_title(f"{counted} by {sizes.index.name or 'class'}{more}", fontsize=9, loc="left")
    figure.legend(frameon=False, fontsize=8, loc="outside right upper")
    return figure


def target_histograms(values: Mapping[str, pd.DataFrame]) -> NotebookFigure:
    """The distribution of each target, at most four, in its own unit: training and validation rows as shares of their split.

    values: as `overview.target_values`.
    """
    names = list(next(iter(values.values())).columns)[:TARGETS]
    columns = min(2, len(names))
    lines = -(-len(names) // columns)
    figure = NotebookFigure(figsize=(7.0 if columns > 1 else 5.4, 0.3 + 2.3 * lines), layout="constrained", dpi=100)
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid.flat, names, strict=False):
        own = {split: frame[name].to_numpy() for split, frame in values.items()}
        bins = min(40, max(8, round(2 * len(next(iter(own.values()))) ** (1 / 3))))
        edges = np.histogram_bin_edges(np.concatenate([*own.values()]), bins=bins)
        for (split, numbers), style in zip(own.items(), STYLES, strict=False):
            shares = np.histogram(numbers, edges)[0] / max(1, len(numbers))
            axes.stairs(shares, edges, label=LABELS[split], **style)
        of = "of a split" if len(own) > 1 else LABELS[next(iter(own))]
        axes.set_title(f"{literal(name)}: share of the rows {of}", fontsize=9, loc="left")
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        tidy(axes, "y")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside right upper")
    return figure
