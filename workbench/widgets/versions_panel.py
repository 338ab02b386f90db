"""The versions of the task's data: what moved in the inputs, and what training anew has changed for each setting."""

from __future__ import annotations

import html
import math
from typing import Any

import ipywidgets as widgets
import pandas as pd

from workbench.widgets.parts import make

__all__ = ["VersionsPanel"]

SHOWN_COLUMNS, SHOWN_NAMES = 8, 4
HINT = (
    "One version of the data so far. With more or newer rows of the same kind: <code>bench.continue_on(new_data)</code>"
)


class VersionsPanel:
    """Three short tables: versions, columns that moved, settings. It only shows; `bench.continue_on` begins a version."""

    def __init__(self) -> None:
        self.text = make(widgets.HTML, classes="wb-board")
        self.note = make(widgets.HTML, classes="wb-message")
        self.widget = make(widgets.VBox, [self.note, self.text], classes="wb-versions")

    def show(self, versions: pd.DataFrame, changes: pd.DataFrame, drift: pd.DataFrame, *, metric_label: str) -> None:
        """Bring it up to date. versions, changes, drift: as `bench.versions`, `bench.version_changes` and `bench.drift`."""
        self._say("")
        if len(versions) < 2:
            self._set(f'<div class="wb-hint">{HINT}</div>')
            return
        parts = [_versions(versions, metric_label)]
        if len(changes):
            parts.append(_changes(changes, metric_label))
        if len(drift):
            parts.append(_drift(drift))
        self._set("".join(parts))

    def busy(self, text: str) -> None:
        """What is being done; the tables stay."""
        self._say(f'<div class="wb-note" role="status">{html.escape(text)}</div>')

    def show_problem(self, text: str) -> None:
        """What could not be done, and why; the tables stay."""
        self._say(f'<div class="wb-error" role="alert">{html.escape(text)}</div>')

    # ----------------------------------------------------------------------------------------------------------------

    def _set(self, text: str) -> None:
        if self.text.value != text:
            self.text.value = text

    def _say(self, text: str) -> None:
        if self.note.value != text:
            self.note.value = text


def _versions(frame: pd.DataFrame, metric_label: str) -> str:
    rows = []
    for row in frame.to_dict("records"):
        began = "" if pd.isna(row["created"]) else row["created"].strftime("%Y-%m-%d %H:%M")
        sizes = " / ".join(f"{row[split]:,}" for split in ("train", "validation", "test"))
        names = row["moved"].split(", ") if row["moved"] else []
        moved = ", ".join(names[:SHOWN_NAMES]) + f" and {len(names) - SHOWN_NAMES} more" * (len(names) > SHOWN_NAMES)
        moved = moved or ("" if pd.isna(row["columns"]) else "none")
        this = " (this one)" if row["current"] else ""
        new = "" if pd.isna(row["new_rows"]) else f"{row['new_rows']:,}"
        cells = [
            f"{row['version']}{this}",
            row["name"],
            began,
            sizes,
            new,
            moved,
            f"{row['trials']:,}",
            _number(row["best"]),
        ]
        rows.append((cells, row["current"]))
    heads = [
        "version",
        "name",
        "begun (UTC)",
        "train / validation / test",
        "new rows",
        "moved",
        "trials",
        f"best {metric_label}",
    ]
    return _table("Versions of the data", heads, rows)


def _changes(frame: pd.DataFrame, metric_label: str) -> str:
    rows = []
    for row in frame.to_dict("records"):
        anew = _number(row["rerun"])
        if math.isfinite(row["low"]):
            anew += f" ({row['low']:.4f} to {row['high']:.4f})"
        change = f"{row['change']:+.4f}" if math.isfinite(row["change"]) else ""
        if math.isfinite(row["change_low"]):
            change += f" ({row['change_low']:+.4f} to {row['change_high']:+.4f})"
        cells = [
            str(row["version"]), str(row["trial"]), _number(row["score"]), _number(row["old_model"]), anew, change,
            row["verdict"],
        ]  # fmt: skip
        rows.append((cells, row["beyond_noise"]))
    heads = [
        "version", "setting of trial", "when chosen", "old model now", "trained anew (95%)", "change (95%)", "",
    ]  # fmt: skip
    return _table(f"Change for each setting: {metric_label}", heads, rows)


def _drift(frame: pd.DataFrame) -> str:
    rows = []
    hidden = 0
    for _, group in frame.groupby("version", sort=False):
        hidden += max(0, len(group) - SHOWN_COLUMNS)
        for row in group.head(SHOWN_COLUMNS).to_dict("records"):
            what = f"{row['what']}: {_number(row['old'], 3)} → {_number(row['new'], 3)}"
            name = f"{row['column']}{' (target)' if row['role'] == 'target' else ''}"
            p = "" if not math.isfinite(row["p_adjusted"]) else f"{row['p_adjusted']:.2g}"
            cells = [str(row["version"]), name, "moved" if row["moved"] else "", what, p, row["test"]]
            rows.append((cells, row["moved"]))
    heads = ["version", "column", "", "former training rows → new rows", "adjusted p", "test"]
    more = f'<div class="wb-hint">{hidden:,} more in bench.drift</div>' if hidden else ""
    return _table("Drift of the data", heads, rows) + more


def _table(title: str, heads: list[str], rows: list[tuple[list[Any], bool]]) -> str:
    """A table under a heading; rows that do not stand out are pale. All text is escaped."""
    lines = []
    for cells, strong in rows:
        pale = "" if strong else ' class="wb-worse"'
        lines.append(f"<tr{pale}>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in cells)}</tr>")
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    body = f'<table class="wb-leaderboard"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    return f'<div class="wb-heading">{html.escape(title)}</div>{body}'


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else ""
