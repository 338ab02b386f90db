"""A diagnosis as a figure: learning curves with the evidence marked, and the layers where a finding is about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from workbench.core.direction import sign
from workbench.methods.diagnosis.case import RuleFindings
from workbench.models.layers import LayerFacts
from workbench.ui.axes import over_epochs, tidy
from workbench.ui.figures import COLORS, NotebookFigure

__all__ = ["diagnosis_figure"]

MARK = "#B00020"
MOST_SHOWN = 3.0
"""Losses beyond so many times the baseline's are cut off, so that one that blew up does not flatten the rest."""
MOST_RISEN = 20.0
"""The same where the rise of the validation loss is what was found."""
FAR = 1e3
"""A curve leaves the chart towards at most so many times its height, which a plotting library can draw."""


def diagnosis_figure(found: RuleFindings) -> NotebookFigure:
    """Loss and metric against epochs with what the rules saw; for findings about layers a second row with a bar a layer."""
    layered = any(finding.on_layers for finding in found.findings)
    figure = NotebookFigure(figsize=(9.6, 6.2 if layered else 3.4), layout="constrained", dpi=100)
    grid = figure.subplots(2 if layered else 1, 2, squeeze=False)
    _losses(grid[0, 0], found)
    _scores(grid[0, 1], found)
    if layered:
        case = found.case
        facts = case.initial if case.initial is not None else case.trained
        when = "at the initial weights" if case.initial is not None else f"after epoch {case.trained_epoch}"
        _gradients(grid[1, 0], facts or (), when)
        _dead(grid[1, 1], found)
    figure.suptitle(f"trial {found.trial}: {found.title}", fontsize=10, x=0.01, ha="left", fontweight="bold")
    return figure


# --------------------------------------------------------------------------------------------------------------------


def _losses(axes: Axes, found: RuleFindings) -> None:
    case = found.case
    risen = any(finding.line is not None for finding in found.findings)
    top = MOST_SHOWN * case.unit
    if risen:  # the rise is what it is about
        known = case.val_loss[np.isfinite(case.val_loss)]
        top = min(max(top, float(known.max(initial=top))), MOST_RISEN * case.unit)
    curves = (("training", case.train_loss, "--"), ("validation", case.val_loss, "-"))
    drawn = [
        _line(axes, case.epoch, np.where(np.isfinite(values) & (values <= top), values, np.nan), style, label)
        for label, values, style in curves
    ]
    if math.isfinite(case.baseline_loss):
        axes.axhline(case.baseline_loss, color="0.5", linewidth=0.9, linestyle=":", label="baseline")
    over_epochs(axes, "loss")
    low, high = axes.get_ylim()
    high += 0.25 * (high - low)  # for the legend
    for line, (_, values, _) in zip(
        drawn, curves, strict=True
    ):  # off the chart and back: an epoch alone would not be seen
        line.set_ydata(np.where(np.isfinite(values), np.minimum(values, FAR * top), np.nan))
    for finding in found.findings:
        if finding.line is not None:
            (x0, y0), (x1, y1) = finding.line
            axes.plot(
                [x0, x1], [y0, y1], color=MARK, linewidth=1.4, label=f"slope {(y1 - y0) / max(x1 - x0, 1):.2g} an epoch"
            )
            _gap(axes, found, high)
    axes.set_ylim(low, high)
    _since(axes, found)
    _outside(axes, case.epoch, [(label, values, ~(values <= top)) for label, values, _ in curves], f"beyond {top:.3g}")
    _legend(axes, loc="upper center", ncols=2)


def _gap(axes: Axes, found: RuleFindings, high: float) -> None:
    """An arrow from the end of one loss to that of the other, no further than the chart, labelled like the gap in the text."""
    case = found.case
    end, low, top = case.epoch[-1], case.train_loss[-1], min(case.val_loss[-1], high)
    axes.annotate("", (end, top), (end, low), arrowprops={"arrowstyle": "<->", "color": MARK, "linewidth": 1})
    axes.annotate(
        case.gap_words, (end, (low + top) / 2), (-4, 0), textcoords="offset points", ha="right", fontsize=8, color=MARK
    )


def _scores(axes: Axes, found: RuleFindings) -> None:
    case = found.case
    curves = [(name, case.curve[f"{key}_metric"].to_numpy(float), style)
              for name, key, style in (("training", "train", "--"), ("validation", "val", "-"))]  # fmt: skip
    for label, values, style in curves:
        _line(axes, case.epoch, np.where(np.isfinite(values), values, np.nan), style, label)
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
    over_epochs(axes, case.metric)
    _since(axes, found)
    low, high = axes.get_ylim()
    _outside(axes, case.epoch, [(label, values, ~((values >= low) & (values <= high))) for label, values, _ in curves],
             "outside the chart", at_top=sign(case.better) < 0)  # fmt: skip
    _legend(axes)


def _within(axes: Axes, baseline: float, best: float, values: Any) -> None:
    """Limits that show baseline, best and all scores but those that have blown up, which would flatten the rest.

    Blown up are those that lie further from both than the larger of their distance and their size: no score from 0 to 1 does
    where one of the two is near 1.
    """
    low, high = sorted((baseline, best))
    way = max(high - low, abs(low), abs(high)) + 1e-3
    near = values[np.isfinite(values) & (values > low - way) & (values < high + way)]
    low, high = min([low, *near]), max([high, *near])
    axes.set_ylim(low - 0.05 * (high - low) - 1e-3, high + 0.05 * (high - low) + 1e-3)


def _outside(
    axes: Axes, epoch: Any, curves: Sequence[tuple[str, Any, Any]], where: str, *, at_top: bool = True
) -> None:
    """A triangle at the edge of the chart for each epoch of a curve that is not on it, and in the legend how many.

    curves: label, values (epochs,), and whether each is out of sight, (epochs,).
    """
    for place, (label, values, out) in enumerate(curves):
        if out.any():
            height = 0.98 - 0.04 * place if at_top else 0.02 + 0.04 * place
            count = f"{label} {where}" + (", or no number" if not np.isfinite(values).all() else "")
            axes.plot(
                epoch[out], np.full(int(out.sum()), height), "^" if at_top else "v", color=MARK, markersize=4,
                fillstyle="none" if label == "training" else "full", transform=axes.get_xaxis_transform(),
                label=f"{count}: {int(out.sum())} of {len(epoch)} epochs", clip_on=False,
            )  # fmt: skip


def _legend(axes: Axes, **about: Any) -> None:
    """A legend of what can be seen."""
    low, high = sorted(axes.get_ylim())
    seen = []
    for line in axes.lines:
        y = np.asarray(line.get_ydata(), float)
        inside = line.get_transform() == axes.get_xaxis_transform() or bool(((y >= low) & (y <= high)).any())
        across = bool(len(y) > 1 and np.isfinite(y).all() and y.min() <= high and y.max() >= low)
        if (inside or across) and not str(line.get_label()).startswith("_"):
            seen.append(line)
    if seen:
        axes.legend(handles=seen, framealpha=0.8, edgecolor="none", fontsize=7, **about)


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


def _dead(axes: Axes, found: RuleFindings) -> None:
    """Share of dead units of each activation layer, at first and after training."""
    case = found.case
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
    tidy(axes, "x")


def _line(axes: Axes, x: Any, y: Any, style: str, label: str) -> Line2D:
    marker = "o" if len(x) == 1 else ""
    alpha = 1.0 if style == "-" else 0.6
    (line,) = axes.plot(
        x, y, style, color=COLORS[0], alpha=alpha, label=label, linewidth=1.5, marker=marker, markersize=4
    )
    return line


def _since(axes: Axes, found: RuleFindings) -> None:
    """A vertical line where the main finding begins."""
    main = found.finding()
    if main is not None and main.since is not None:
        axes.axvline(main.since, color=MARK, linewidth=1, linestyle="--", label=f"since epoch {main.since}")
