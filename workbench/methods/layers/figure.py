"""A network's inside as matplotlib figures: histograms of weights and activations, the decision boundary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from workbench.methods.layers.live_figure import (
    DEEPEST,
    STAGE_COLORS,
    class_color,
    moments,
    points_drawn,
    stage_parts,
    stage_titles,
)
from workbench.methods.layers.views import BINS, Block, Boundary, Distribution, Plane
from workbench.ui.figures import COLORS, NotebookFigure

__all__ = ["decision_boundary", "layer_histograms"]


def layer_histograms(blocks: Sequence[Block], title: str = "") -> NotebookFigure:
    """One line of histograms a layer with weights: its weights, its outputs, and these after normalisation and activation.

    Outputs of one line share their range. Above each: mean ± standard deviation of all values.
    """
    titles = stage_titles(blocks)
    rows, columns = max(1, len(blocks)), max(1, len(titles))
    size = (max(4.8, 2.4 * columns), 1.25 * rows + 0.7)
    figure = NotebookFigure(figsize=size, layout="constrained", dpi=100)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, block in enumerate(blocks):
        parts = stage_parts(block)
        for column, stage in enumerate(titles):
            found = parts[stage]
            if found is not None:
                _draw(grid[row, column], found, STAGE_COLORS[stage])
        grid[row, 0].set_title(
            f"{block.layer.name} {block.layer.kind}".strip(), fontsize=8, loc="left", fontweight="bold"
        )
    for column, text in enumerate(titles.values()):
        grid[-1, column].text(0.5, -0.38, text, transform=grid[-1, column].transAxes, ha="center", va="top", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return figure


def decision_boundary(boundary: Boundary, plane: Plane, title: str = "") -> NotebookFigure:
    """What a model answers over the plane of two inputs, with the training points (dots) and validation points (rings).

    Classes: the colour of the likeliest one, deeper with its probability. Numbers: blue below the mean of the training targets,
    red above, deeper up to two standard deviations.
    """
    figure = NotebookFigure(figsize=(5.2, 4.6), layout="constrained", dpi=100)
    axes = figure.subplots()
    corners = (float(plane.low[0]), float(plane.high[0]), float(plane.low[1]), float(plane.high[1]))
    axes.imshow(_picture(boundary, plane), extent=corners, aspect="auto", interpolation="bilinear")
    for split, points in plane.points.items():
        some = points_drawn(len(points))
        targets = plane.targets[split][some]
        for value, color, label in _groups(plane):
            own = points[some][targets == value] if plane.classes is not None else points[some][(targets > 0) == value]
            if split == "train":
                axes.plot(own[:, 0], own[:, 1], "o", color=color, markersize=3, label=label)
            else:
                axes.plot(own[:, 0], own[:, 1], "o", color=color, markersize=5, markerfacecolor="white")
    axes.set_xlim(corners[0], corners[1])
    axes.set_ylim(corners[2], corners[3])
    axes.set_xlabel(plane.names[0], fontsize=9)
    axes.set_ylabel(plane.names[1], fontsize=9)
    axes.tick_params(labelsize=8)
    axes.set_title(title or "dots: training, rings: validation", fontsize=9, loc="left")
    if len(plane.classes or ("", "")) <= 8:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


# --------------------------------------------------------------------------------------------------------------------


def _draw(axes: Axes, found: Distribution, color: str) -> None:
    axes.set_axis_on()
    axes.stairs(found.counts, np.linspace(found.low, found.high, BINS + 1), fill=True, color=color)
    axes.axvline(0, color="0.4", linewidth=0.6, linestyle=":")
    axes.set_xlim(found.low, found.high)
    axes.set_yticks([])
    axes.set_xticks(sorted({found.low, 0.0, found.high}))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title(moments(found), fontsize=7, loc="right")


def _picture(boundary: Boundary, plane: Plane) -> NDArray[np.float64]:
    """(side, side, 4): red, green, blue and opacity."""
    classes = len(plane.classes or ())
    palette = np.array([to_rgb(class_color(index)) for index in range(max(2, classes))])
    hue, depth = boundary.shades(classes)
    return np.concatenate([palette[hue], DEEPEST * depth[..., None]], axis=-1)


def _groups(plane: Plane) -> list[tuple[int | bool, str, str]]:
    """Which points have one colour: the class or the side of the mean, the colour, what the legend says."""
    if plane.classes is None:
        return [(False, COLORS[0], "below the mean"), (True, COLORS[1], "above the mean")]
    return [(index, class_color(index), label) for index, label in enumerate(plane.classes)]
