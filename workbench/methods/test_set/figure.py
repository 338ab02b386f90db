"""Test scores as a figure: each with its interval, next to the validation score by which its model was chosen."""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.core.text import counted, in_sentence
from workbench.ui.axes import tidy
from workbench.ui.figures import COLORS, NotebookFigure

__all__ = ["opened_scores"]


def opened_scores(frame: pd.DataFrame, *, metric_label: str = "metric") -> NotebookFigure:
    """One line an opening of a test set, in order from the top.

    frame: columns what, stamp, score, low, high, validation, baseline, looked, rows, as `bench.openings` has them. The dot with
    its bar is the test score with its 95% interval, the hollow one the validation score, the dashed line the baseline, if near.
    """
    figure = NotebookFigure(figsize=(7.6, 1.35 + 0.42 * max(1, len(frame))), layout="constrained", dpi=100)
    axes = figure.subplots()
    for place, row in enumerate(frame[::-1].itertuples(index=False)):
        sure = np.isfinite([row.score, row.low, row.high]).all()
        error = [[max(0.0, row.score - row.low)], [max(0.0, row.high - row.score)]] if sure else None
        label = "test, 95% interval" if not place else None
        axes.errorbar(row.score, place, xerr=error, fmt="o", color=COLORS[0], capsize=3, label=label)
        label = "validation" if not place else None
        axes.plot(row.validation, place, "o", color=COLORS[1], markerfacecolor="white", label=label)
    axes.set_yticks(range(len(frame)), [f"{row.what}\n{row.stamp}" for row in frame[::-1].itertuples(index=False)])
    axes.set_ylim(-0.6, len(frame) - 0.4)
    if len(frame):
        last = frame.iloc[-1]
        values = frame[["low", "high", "score", "validation"]].to_numpy(float)
        finite = values[np.isfinite(values)]  # R² of one row, say, is not a number
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        margin = max(0.35 * (high - low), 1e-3)
        axes.set_xlim(low - margin, high + margin)
        text = (
            f"{counted(last['rows'], 'test row')}; {counted(last['looked'], 'trial')} evaluated on the validation set"
        )
        if low - margin <= last["baseline"] <= high + margin:
            axes.axvline(last["baseline"], color="0.5", linewidth=1, linestyle="--", label="baseline")
        else:  # far away it would squeeze what is to be compared
            text += f"; baseline {last['baseline']:.3g}"
        axes.set_title(text, fontsize=9, loc="left")
        figure.legend(*axes.get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside right center")
    axes.set_xlabel(in_sentence(metric_label), fontsize=9)
    tidy(axes)
    return figure
