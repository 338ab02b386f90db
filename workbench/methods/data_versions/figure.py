"""Figures of a task's new version: which columns moved, and what training again changed for each configuration."""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.core.direction import Better
from workbench.ui.axes import tidy
from workbench.ui.figures import COLORS, NotebookFigure

__all__ = ["configuration_changes", "drift_bars"]

MOST = 20
PALE = "0.72"


def drift_bars(table: pd.DataFrame) -> NotebookFigure:
    """How surely each column moved: -log10 of its adjusted p-value, the columns that moved in colour.

    table: as `data_versions.drift.drift` gives it; at most 20 rows, those that moved most, are drawn. The bars of very
    small p-values end at 10^-16, where the numbers of a computer do.
    """
    rows = table[table["p_adjusted"].notna()].head(MOST).iloc[::-1]
    figure = NotebookFigure(figsize=(7.2, 1.1 + 0.3 * max(2, len(rows))), layout="constrained", dpi=100)
    axes = figure.subplots()
    sizes = -np.log10(np.clip(rows["p_adjusted"].astype(float), 1e-16, 1))
    places = np.arange(len(rows))
    axes.barh(places, sizes, color=[COLORS[1] if moved else PALE for moved in rows["moved"]], height=0.66)
    labels = [
        f"{row.column}{' (target)' if row.role == 'target' else ''}{', missing' if row.what == 'share missing' else ''}"
        for row in rows.itertuples()
    ]
    axes.set_yticks(places, labels, fontsize=8)
    for place, row, size in zip(places, rows.itertuples(), sizes, strict=True):
        text = f"{row.what}: {row.old:.3g} → {row.new:.3g}"
        axes.annotate(
            text,
            (size, place),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=7,
            va="center",
            color="0.35",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )
    axes.axvline(-np.log10(0.05), color="0.4", linewidth=0.8, linestyle="--")
    axes.set_xlim(0, max(2.0, 1.3 * float(sizes.max()) if len(sizes) else 2.0))
    axes.set_xlabel("-log₁₀ of the p-value, adjusted for all columns (dashed: 5%)", fontsize=9)
    moved, more = int(table["moved"].sum()), len(table) - len(rows)
    title = f"{moved} of {len(table)} comparisons moved" if len(table) else "too few new rows to compare"
    axes.set_title(title + (f"; the {len(rows)} clearest" if more else ""), fontsize=9, loc="left")
    tidy(axes, "x")
    return figure


def configuration_changes(
    table: pd.DataFrame, *, metric_label: str = "metric", better: Better = "higher"
) -> NotebookFigure:
    """A line a configuration: the score it was chosen by, its old model's on the new version, and that of training again.

    table: as `Continuation.table`. What is not known yet is left out.
    """
    figure = NotebookFigure(figsize=(7.2, 1.5 + 0.36 * max(2, len(table))), layout="constrained", dpi=100)
    axes = figure.subplots()
    places = np.arange(len(table))[::-1]
    axes.plot(table["score"], places, "o", markerfacecolor="white", markeredgecolor="0.5", label="when it was chosen")
    axes.plot(table["old_model"], places, "D", color=COLORS[1], markersize=5, label="old model on the new version")
    known = table["rerun"].notna()
    rows, at = table[known], places[known.to_numpy()]
    errors = np.vstack([rows["rerun"] - rows["low"], rows["high"] - rows["rerun"]])
    axes.errorbar(
        rows["rerun"], at, xerr=errors, fmt="o", color=COLORS[0], markersize=6, capsize=3, label="trained again, 95%"
    )
    for row, place in zip(table.itertuples(), places, strict=True):
        if np.isfinite(row.rerun) and np.isfinite(row.old_model):
            axes.plot([row.old_model, row.rerun], [place, place], color="0.75", linewidth=1, zorder=0)
    labels = [
        f"trial {row.trial}\n{row.verdict}" if row.verdict else f"trial {row.trial}" for row in table.itertuples()
    ]
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_ylim(-0.6, max(0.6, len(table) - 0.4))
    axes.set_xlabel(f"{metric_label} ({better} is better)", fontsize=9)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3, fontsize=8, frameon=False)
    tidy(axes, "x")
    return figure
