"""Wrong answers as matplotlib figures: confusion matrix, reliability, residuals, and the worst pictures."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from workbench.ui.axes import literal, tidy
from workbench.ui.figures import COLORS, NotebookFigure
from workbench.ui.pictures import as_colors

if TYPE_CHECKING:
    from workbench.methods.errors.errors import TrialErrors

__all__ = ["caption", "errors_figure", "worst_pictures"]

WIDTH = 7.0
"""Inches: about what a tab has in a window of 1,200 pixels, so that text is not made smaller there."""
COUNTED = 15
"""Counts are written into the matrix of at most so many classes."""
NAMED = 30
"""Of more classes only some are named on the axes."""
MOST_OUTPUTS = 4
LONGEST = 14
"""Characters of a class's name on an axis."""
PICTURES, ACROSS = 20, 5


def errors_figure(found: TrialErrors) -> NotebookFigure:
    """Of a classification the confusion matrix, and the reliability of its probabilities, else recall and precision by
    class; of numbers the residuals against the predictions, and their distribution, one line a target, at most four."""
    if found.confusion is None:
        return _residuals(found)
    classes = len(found.confusion)
    height = min(6.4, max(3.2, 1.4 + 0.25 * classes))
    figure = NotebookFigure(figsize=(WIDTH, height), layout="constrained", dpi=100)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    if found.kind == "multilabel":
        _label_bars(left, found.confusion)
    else:
        _matrix(left, found.confusion, "positions" if found.kind == "dense" else "rows")
    if found.calibration is not None:
        of = "a label" if found.kind == "multilabel" else "the predicted class"
        _reliability(right, found.calibration, float(found.summary["calibration_error"].iloc[0]), of)
    elif found.per_class is not None:
        _scores(right, found.per_class)
    return figure


def worst_pictures(found: TrialErrors) -> NotebookFigure:
    """The worst rows of a task on pictures, five in a line, at most 20, each with its row number, true and predicted."""
    assert found.inputs is not None
    colors = as_colors(found.inputs[:PICTURES])
    lines = max(1, math.ceil(len(colors) / ACROSS))
    figure = NotebookFigure(figsize=(WIDTH, 0.4 + 1.85 * lines), layout="constrained", dpi=100)
    figure.suptitle(literal(found.title), fontsize=9, x=0.01, ha="left")
    for axes in figure.subplots(lines, ACROSS, squeeze=False).flat:
        axes.set_axis_off()
    for axes, picture, row in zip(figure.axes, colors, found.worst.to_dict("records"), strict=False):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(literal("\n".join(caption(found, row))), fontsize=8)
    return figure


def caption(found: TrialErrors, row: Mapping[Hashable, Any]) -> list[str]:
    """What stands under the picture of a row of `worst`, in lines."""
    if found.confusion is None:
        output = f"{row['output']}: " if "output" in row else ""
        return [f"row {row['row']}", f"{output}true {row['true']:.4g}", f"predicted {row['predicted']:.4g}"]
    if "true" not in row:
        return [f"row {row['row']}", f"{row['wrong']:,} of {row['positions']:,} positions wrong"]
    sure = f" ({row['probability']:.2f})" if "probability" in row else ""
    return [f"row {row['row']}", f"true {_short(row['true'])}", f"predicted {_short(row['predicted'])}{sure}"]


# ----------------------------------------------------------------------------------------------------------------------


def _matrix(axes: Axes, confusion: pd.DataFrame, counted: str) -> None:
    """Colour: share of the true class; text: how many. counted: what is counted."""
    counts = confusion.to_numpy()
    size = len(counts)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if size <= COUNTED:
        fontsize = 9 if size <= 10 else 8
        for (row, column), count in np.ndenumerate(counts):
            if count:
                dark = shares[row, column] > 0.55
                wrong = row != column
                color = "white" if dark else "#A33B00" if wrong else "black"
                axes.text(
                    column, row, f"{count:,}", ha="center", va="center", fontsize=fontsize, color=color,
                    fontweight="bold" if wrong else "normal",
                )  # fmt: skip
    step = math.ceil(size / NAMED)
    names = [literal(_short(label)) for label in confusion.index]
    slanted = max(map(len, names)) * size > 40
    axes.set_xticks(range(0, size, step), names[::step], rotation=45 if slanted else 0, ha="right" if slanted else "center",
                    rotation_mode="anchor" if slanted else None)  # fmt: skip
    axes.set_yticks(range(0, size, step), names[::step])
    axes.tick_params(labelsize=8, length=0)
    axes.set_xlabel("predicted", fontsize=9)
    axes.set_ylabel("true", fontsize=9)
    axes.set_title(f"confusion matrix: number of {counted}", fontsize=9, loc="left")
    axes.spines[:].set_visible(False)


def _label_bars(axes: Axes, counts: pd.DataFrame) -> None:
    """Of each label the rows that have it (found, missed), and those for which it is wrong, as one bar."""
    shown = counts.head(NAMED)
    places = np.arange(len(shown))
    before = np.zeros(len(shown))
    for name, label, color in (
        ("true_positive", "found", COLORS[0]), ("false_negative", "missed", COLORS[4]), ("false_positive", "wrong", COLORS[1]),
    ):  # fmt: skip
        values = shown[name].to_numpy()
        axes.barh(places, values, left=before, height=0.7, color=color, label=label)
        before = before + values
    axes.set_yticks(places, [literal(_short(label)) for label in shown.index])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_title("rows by label", fontsize=9, loc="left")
    tidy(axes, "x")
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3)


def _reliability(axes: Axes, bins: pd.DataFrame, error: float, of: str) -> None:
    """Accuracy against confidence, each point as large as its bin; below, the share of the rows by confidence."""
    full = bins[bins["rows"] > 0]
    total = max(1, int(bins["rows"].sum()))
    axes.bar(
        (bins["low"] + bins["high"]) / 2,
        bins["rows"] / total,
        width=0.09,
        color="0.85",
        label="share of rows",
        zorder=1,
    )
    axes.plot([0, 1], [0, 1], color="0.5", linewidth=0.9, linestyle="--", label="perfect", zorder=2)
    axes.plot(full["confidence"], full["accuracy"], color=COLORS[0], linewidth=1.4, label="accuracy", zorder=3)
    axes.scatter(full["confidence"], full["accuracy"], s=18 + 120 * full["rows"] / total, color=COLORS[0], zorder=4)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel(f"probability of {of}", fontsize=9)
    axes.set_title(f"calibration (expected error {error:.3f})", fontsize=9, loc="left")
    tidy(axes)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)


def _scores(axes: Axes, table: pd.DataFrame) -> None:
    """Recall and precision of each class as two points on a line."""
    shown = table.head(NAMED)
    places = np.arange(len(shown))
    axes.hlines(places, 0, 1, color="0.9", linewidth=0.8)
    axes.plot(shown["recall"], places, "o", color=COLORS[0], markersize=5, label="recall")
    axes.plot(shown["precision"], places, "D", color=COLORS[1], markersize=5, markerfacecolor="none", label="precision")
    axes.set_yticks(places, [literal(_short(label)) for label in shown.index])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    tidy(axes, "x")
    axes.set_title("scores by class", fontsize=9, loc="left")
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)


def _residuals(found: TrialErrors) -> NotebookFigure:
    names = list(found.summary.index)[:MOST_OUTPUTS]
    figure = NotebookFigure(figsize=(WIDTH, 0.3 + 2.7 * len(names)), layout="constrained", dpi=100)
    grid = figure.subplots(len(names), 2, squeeze=False, width_ratios=(1.6, 1))
    for (left, right), name in zip(grid, names, strict=True):
        rows = found.rows[found.rows["output"] == name] if "output" in found.rows else found.rows
        known = rows[np.isfinite(rows["residual"]) & np.isfinite(rows["predicted"])]
        left.plot(
            known["predicted"], known["residual"], "o", color=COLORS[0], markersize=4, alpha=0.6, markeredgewidth=0
        )
        for axes, line in ((left, left.axhline), (right, right.axvline)):
            line(0, color="0.4", linewidth=0.9, linestyle="--")
            axes.margins(x=0.03)
        left.set_xlabel(f"predicted {literal(name)}", fontsize=9)
        left.set_title(f"{literal(name)}: true minus predicted, against the prediction", fontsize=9, loc="left")
        right.hist(
            known["residual"], bins=min(40, max(8, round(2 * len(known) ** (1 / 3)))), color=COLORS[0], alpha=0.75
        )
        right.set_xlabel("true minus predicted", fontsize=9)
        right.set_title("number of rows", fontsize=9, loc="left")
        right.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        tidy(left)
        tidy(right, "y")
    return figure


def _short(label: object) -> str:
    text = str(label)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
