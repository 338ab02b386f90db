"""An ensemble next to its members."""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.ui.axes import tidy
from workbench.ui.figures import COLORS, NotebookFigure

__all__ = ["ensemble_scores"]


def ensemble_scores(
    table: pd.DataFrame, *, metric_label: str = "metric", single: float | None = None
) -> NotebookFigure:
    """Scores with their 95% intervals, one row a member, then the ensemble's own.

    table: as `Ensemble.table`: columns who, votes, model, score, low, high. single: the score of the best single trial, which a
    dashed line marks. Hollow: as measured on the validation rows; filled: to be expected on new rows.
    """
    figure = NotebookFigure(figsize=(6.4, 0.95 + 0.32 * max(1, len(table))), layout="constrained", dpi=100)
    axes = figure.subplots()
    names = []
    for place, row in enumerate(table[::-1].itertuples(index=False)):
        own = row.model == "ensemble"
        color = COLORS[1] if own else COLORS[0]
        face = color if str(row.who).endswith("corrected") else "white"
        known = np.isfinite([row.score, row.low, row.high]).all()
        error = [[max(0.0, row.score - row.low)], [max(0.0, row.high - row.score)]] if known else None
        axes.errorbar(row.score, place, xerr=error, fmt="o", color=color, markerfacecolor=face, capsize=3)
        several = f" x{row.votes}" if row.votes > 1 and not own else ""
        names.append(str(row.who) if own else f"{row.who}{several} ({row.model})")
    says = "hollow: on the validation rows; filled: to expect on new rows"
    if single is not None and np.isfinite(single):
        axes.axvline(single, color="0.5", linewidth=0.9, linestyle="--")
        says += "\ndashed: the best single trial, on the validation rows"
    axes.set_title(says, fontsize=8, loc="left")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(f"{metric_label}, 95% interval", fontsize=9)
    tidy(axes)
    return figure
