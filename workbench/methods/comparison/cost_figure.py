"""What trials cost against what they reach, and what early stopping would have saved, as figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from workbench.core.direction import Better, best_first, best_score, sign
from workbench.core.text import counted
from workbench.methods.comparison.cost import LOST
from workbench.ui.axes import tidy
from workbench.ui.figures import COLORS, NotebookFigure

__all__ = ["complexity_panels", "patience_curve"]

SCORE = "best_val_metric"
FURTHEST = 10.0


def complexity_panels(
    table: pd.DataFrame, *, metric_label: str = "metric", better: Better = "higher"
) -> NotebookFigure:
    """The validation metric against training time and against the number of parameters, both logarithmic.

    table: as `bench.complexity()` gives it. The Pareto front is a step line: what is the best that was reached at this cost or
    less. Dots on it are filled, the best trial is a star; a cross has diverged or failed, and is neither. Where all trials cost
    the same, the panel says so. Trials far poorer than the others are outside the axes, and counted.
    """
    figure = NotebookFigure(figsize=(9.6, 3.6), layout="constrained", dpi=100)
    panels = figure.subplots(1, 2, sharey=True)
    found = table[np.isfinite(table[SCORE].astype(float))]
    for axes, name, label in zip(
        panels, ("seconds", "parameters"), ("training time of the trial (s)", "trained parameters"), strict=True
    ):
        _panel(axes, found[np.isfinite(found[name]) & (found[name] > 0)], name, label, better)
        lacking = int((~np.isfinite(found[name])).sum())
        if lacking:
            axes.set_title(f"{counted(lacking, 'trial')} left out: {name} unknown", fontsize=9, loc="left")
    hidden = _show_the_better(panels[0], found[SCORE].to_numpy(float), better)
    panels[0].set_ylabel(f"best {metric_label}", fontsize=9)
    if hidden:
        figure.suptitle(f"{counted(hidden, 'trial')} too far from the best to show", fontsize=9, x=0.01, ha="left")
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside right upper")
    return figure


def patience_curve(table: pd.DataFrame, suggestion: int | None = None, *, trials: int | None = None) -> NotebookFigure:
    """Against the patience: the share of trials that come within the noise of their best, and the share of epochs saved.

    table: as `patience_table` makes it.
    """
    figure = NotebookFigure(figsize=(6.8, 3.4), layout="constrained", dpi=100)
    axes = figure.subplots()
    for name, label, style in (
        ("within_noise", "trials within the noise of their best", "-"),
        ("best_kept", "trials that keep their very best epoch", "--"),
        ("saved", "epochs saved", "-"),
    ):
        color = COLORS[1] if name == "saved" else COLORS[0]
        axes.plot(
            table["patience"], table[name], style, color=color, linewidth=1.6, label=label, marker=".", markersize=4
        )
    if suggestion is not None:
        axes.axvline(suggestion, color=COLORS[2], linewidth=1.6, label=f"suggestion {suggestion}")
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("patience (epochs)", fontsize=9)
    axes.set_ylabel("share", fontsize=9)
    axes.set_title(
        "" if trials is None else f"early stopping simulated on the curves of {counted(trials, 'trial')}",
        fontsize=9,
        loc="left",
    )
    tidy(axes)
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    return figure


# --------------------------------------------------------------------------------------------------------------------


def _panel(axes: Axes, table: pd.DataFrame, name: str, label: str, better: Better) -> None:
    axes.set_xlabel(label, fontsize=9)
    tidy(axes)
    if table.empty:
        axes.set_title("no trial to show", fontsize=9, loc="left")
        return
    axes.set_xscale("log")
    gone = table["state"].isin(LOST)
    lost, table = table[gone], table[~gone]
    on = table[f"pareto_{name}"].to_numpy(bool)
    off, front = table[~on], table[on].sort_values([name, SCORE])
    if len(lost):
        axes.scatter(lost[name], lost[SCORE], s=22, color="0.5", marker="x", label="diverged or failed")
    if table.empty:
        return
    axes.scatter(off[name], off[SCORE], s=18, facecolor="none", edgecolor=COLORS[0], alpha=0.7, label="trials")
    axes.scatter(front[name], front[SCORE], s=22, color=COLORS[1], zorder=3, label="Pareto front")
    axes.step([*front[name], table[name].max()], [*front[SCORE], front[SCORE].iloc[-1]], where="post", color=COLORS[1])
    best = best_first(table, SCORE, better).iloc[0]
    axes.plot(
        best[name], best[SCORE], "*", color=COLORS[2], markersize=13, zorder=4, label=f"best: trial {best['trial']}"
    )
    values = table[name].unique()
    if len(values) == 1 and len(table) > 1:
        axes.set_title(f"all trials have {values[0]:,.4g} {name}", fontsize=9, loc="left")


def _show_the_better(axes: Axes, scores: NDArray[np.float64], better: Better) -> int:
    """End the axis where a score is 10 times as far from the best as the median is: one trial that nearly diverged would
    squeeze all others into a line. Returns how many lie beyond."""
    if not len(scores):
        return 0
    top = best_score(scores, better)
    end = top + FURTHEST * (float(np.median(scores)) - top)
    beyond = sign(better) * scores < sign(better) * end
    if end == top or not beyond.any():
        return 0
    shown = scores[~beyond]
    margin = 0.05 * float(np.ptp(shown))
    axes.set_ylim(shown.min() - margin, shown.max() + margin)
    return int(beyond.sum())
