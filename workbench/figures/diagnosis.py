"""A diagnosis as a figure: learning curves with the evidence marked, and the layers where a finding is about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from workbench.analysis.diagnosis import Judgement
from workbench.figures.curves import COLORS, NotebookFigure
from workbench.models.layers import LayerFacts

__all__ = ["diagnosis_figure"]

MARK = "#B00020"
MOST_SHOWN = 3.0
"""Losses beyond so many times the baseline's are cut off, so that one that blew up does not flatten the rest."""


def diagnosis_figure(judgement: Judgement) -> NotebookFigure:
    """Loss and metric against epochs with what the rules saw; for findings about layers a second row with a bar a layer."""
    layered = any(finding.on_layers for finding in judgement.findings)
    figure = NotebookFigure(figsize=(9.6, 6.2 if layered else 3.4), layout="constrained", dpi=100)
    grid = figure.subplots(2 if layered else 1, 2, squeeze=False)
    _losses(grid[0, 0], judgement)
    _scores(grid[0, 1], judgement)
    if layered:
        case = judgement.case
        facts = case.initial if case.initial is not None else case.trained
        when = "at the initial weights" if case.initial is not None else f"after epoch {case.trained_epoch}"
        _gradients(grid[1, 0], facts or (), when)
        _dead(grid[1, 1], judgement)
    figure.suptitle(f"trial {judgement.trial}: {judgement.title}", fontsize=10, x=0.01, ha="left", fontweight="bold")
    return figure


# --------------------------------------------------------------------------------------------------------------------


def _losses(axes: Axes, judgement: Judgement) -> None:
    case = judgement.case
    top = MOST_SHOWN * case.unit
    for values, style, label in ((case.train_loss, "--", "training"), (case.val_loss, "-", "validation")):
        shown = np.where(np.isfinite(values) & (values <= top), values, np.nan)
        _line(axes, case.epoch, shown, style, label)
    if math.isfinite(case.baseline_loss):
        axes.axhline(case.baseline_loss, color="0.5", linewidth=0.9, linestyle=":", label="baseline")
    lost = case.epoch[~(np.isfinite(case.train_loss) & (case.train_loss <= top))]
    if len(lost):
        axes.plot(lost, [0.98] * len(lost), "^", color=MARK, markersize=4, transform=axes.get_xaxis_transform(),
                  label=f"beyond {top:.3g}, or no number", clip_on=False)  # fmt: skip
    _finish(axes, "loss")
    low, high = axes.get_ylim()
    high += 0.25 * (high - low)  # for the legend
    for finding in judgement.findings:
        if finding.line is not None:
            (x0, y0), (x1, y1) = finding.line
            axes.plot(
                [x0, x1], [y0, y1], color=MARK, linewidth=1.4, label=f"slope {(y1 - y0) / max(x1 - x0, 1):.2g} an epoch"
            )
            end, gap = case.epoch[-1], case.val_loss[-1] - case.train_loss[-1]
            arrow = {"arrowstyle": "<->", "color": MARK, "linewidth": 1}
            axes.annotate("", (end, case.val_loss[-1]), (end, case.train_loss[-1]), arrowprops=arrow)
            middle = (case.val_loss[-1] + case.train_loss[-1]) / 2
            axes.annotate(
                f"gap {gap:.2g}", (end, middle), (-4, 0), textcoords="offset points", ha="right", fontsize=8, color=MARK
            )
    axes.set_ylim(low, high)
    _since(axes, judgement)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=7, loc="upper center", ncols=2)


def _scores(axes: Axes, judgement: Judgement) -> None:
    case = judgement.case
    _line(axes, case.epoch, case.curve["train_metric"].to_numpy(float), "--", "training")
    _line(axes, case.epoch, case.curve["val_metric"].to_numpy(float), "-", "validation")
    if math.isfinite(case.baseline_score):
        axes.axhline(case.baseline_score, color="0.5", linewidth=0.9, linestyle=":", label="baseline")
    if math.isfinite(case.best_score):
        axes.axhline(case.best_score, color=COLORS[2], linewidth=0.9, linestyle="-.", label="best known")
        if case.noise > 0:
            axes.axhspan(
                case.best_score - case.noise, case.best_score + case.noise, color=COLORS[2], alpha=0.12, linewidth=0
            )
        if math.isfinite(case.baseline_score):
            _within(
                axes, case.baseline_score, case.best_score, case.curve[["train_metric", "val_metric"]].to_numpy(float)
            )
    _finish(axes, case.metric)
    _since(axes, judgement)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=7)


def _within(axes: Axes, baseline: float, best: float, values: Any) -> None:
    """Limits that show baseline, best and all scores but those that have blown up, which would flatten the rest."""
    low, high = sorted((baseline, best))
    way = high - low + 1e-3
    near = values[np.isfinite(values) & (values > low - way) & (values < high + 2 * way)]
    low, high = min([low, *near]), max([high, *near])
    axes.set_ylim(low - 0.05 * (high - low) - 1e-3, high + 0.05 * (high - low) + 1e-3)


def _gradients(axes: Axes, facts: Sequence[LayerFacts], when: str) -> None:
    """Length of each layer's gradient relative to its weights, on a log scale; none where it is zero."""
    layers = [one for one in facts if one.weight is not None]
    sizes = np.array([one.gradient / max(one.weight_norm, 1e-12) for one in layers])
    places = np.arange(len(layers))
    known = np.isfinite(sizes) & (sizes > 0)
    if known.any():
        axes.barh(places[known], sizes[known], color=COLORS[0])
        axes.set_xscale("log")
    for place in places[~known]:
        axes.annotate("zero", (0.02, place), xycoords=axes.get_yaxis_transform(), fontsize=7, va="center", color=MARK)
    _layers(axes, [one.title for one in layers])
    axes.set_title(f"gradient / weights (L2 norms), {when}", fontsize=9, loc="left")


def _dead(axes: Axes, judgement: Judgement) -> None:
    """Share of dead units of each activation layer, at first and after training."""
    case = judgement.case
    shown = [
        (case.initial, "initial weights", COLORS[4]),
        (case.trained, f"after epoch {case.trained_epoch}", COLORS[1]),
    ]
    names: list[str] = []
    for index, (facts, label, color) in enumerate(shown):
        layers = [one for one in facts or () if one.role == "activation"]
        if layers:
            names = [one.title for one in layers]
            places = np.arange(len(layers)) + 0.4 * index - 0.2
            axes.barh(places, [one.dead for one in layers], height=0.38, color=color, label=label)
    _layers(axes, names)
    axes.set_xlim(0, 1)
    axes.set_title("share of dead units", fontsize=9, loc="left")
    if names:
        axes.legend(frameon=False, fontsize=7)


def _layers(axes: Axes, names: Sequence[str]) -> None:
    """A row a layer, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.6, axis="x")
    axes.spines[["top", "right"]].set_visible(False)


def _line(axes: Axes, x: Any, y: Any, style: str, label: str) -> None:
    marker = "o" if len(x) == 1 else ""
    alpha = 1.0 if style == "-" else 0.6
    axes.plot(x, y, style, color=COLORS[0], alpha=alpha, label=label, linewidth=1.5, marker=marker, markersize=4)


def _since(axes: Axes, judgement: Judgement) -> None:
    """A vertical line where the main finding begins."""
    main = judgement.finding()
    if main is not None and main.since is not None:
        axes.axvline(main.since, color=MARK, linewidth=1, linestyle="--", label=f"since epoch {main.since}")


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xlabel("epoch", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
