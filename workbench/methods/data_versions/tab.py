"""The versions of the task's data: new rows, what has drifted in them, and what training again has changed."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import ipywidgets as widgets
import pandas as pd

from workbench.core.config import Config
from workbench.core.errors import ConfigError
from workbench.core.text import rounded
from workbench.methods.data_versions.namespace import as_code
from workbench.methods.finetuning.tab import TransferPanel, finetune_call
from workbench.ui.parts import labelled, make

__all__ = ["VersionsPanel", "continue_call", "transfer_calls"]

SHOWN_COLUMNS, SHOWN_NAMES = 8, 4
HINT = "One version of the data so far."
ABOUT = (
    "More or newer data make a new version of the task: the best configurations' old models are measured on it, and the "
    "configurations are trained again, in a workbench of their own. Earlier rows keep their split."
)


class VersionsPanel:
    """Asks for new data to continue on; below, three short tables: versions, configurations, columns that moved.

    start: called by the button, and stop, while it is running; both must only enqueue. What is asked for is in `data`, a text for
    `namespace.looked_up`, and `options()`. changed: called after each change of a control. table: whether the data are
    tables, so that a CSV file will do.
    """

    def __init__(
        self,
        start: Callable[[], object],
        stop: Callable[[], object],
        changed: Callable[[], object],
        *,
        table: bool,
    ) -> None:
        self._going = False
        self.data = make(
            widgets.Combobox, placeholder="variable or .csv file" if table else "variable, or X, y",
            tooltip="All rows of the new version, the old ones too: a variable of the notebook"
            + (", or the path of a CSV file" if table else ' that holds a pair (X, y) or a data set, or two: "X, y"'),
        )  # fmt: skip
        self.top = make(
            widgets.BoundedIntText, 5, min=1, max=100, tooltip="So many of the best configurations are trained again"
        )
        self.seeds = make(widgets.BoundedIntText, 1, min=1, max=1000, tooltip="Each with so many seeds")
        for control in (self.data, self.top, self.seeds):
            control.observe(lambda _: changed(), "value")
        self.button = make(widgets.Button, classes="wb-train")
        self.button.on_click(lambda _: stop() if self._going else start())
        counts = [labelled("best configurations", self.top), labelled("seeds", self.seeds)]
        grid = make(
            widgets.Box,
            [labelled("new data", self.data), make(widgets.Box, counts, classes="wb-versions-counts")],
            classes="wb-search-grid wb-transfer-grid",
        )
        heading = make(widgets.HTML, '<div class="wb-heading">Continue on new data</div>')
        about = make(widgets.HTML, f'<div class="wb-hint">{html.escape(ABOUT)}</div>', classes="wb-about")
        self.note = make(widgets.HTML, classes="wb-message wb-space")
        row = make(
            widgets.Box, [make(widgets.Box, [self.button], classes="wb-buttons"), self.note], classes="wb-search-row"
        )
        self.progress = make(widgets.FloatProgress, 0.0, min=0.0, max=1.0, classes="wb-progress")
        self.text = make(widgets.HTML, classes="wb-board")
        self.widget = make(
            widgets.VBox, [heading, about, grid, row, self.progress, self.text], classes="wb-search wb-versions"
        )
        self._turn(going=False, progress=0.0)

    def offer(self, names: Sequence[str]) -> None:
        """What of the notebook's variables can be the new data."""
        if list(self.data.options) != list(names):
            self.data.options = list(names)

    def options(self) -> dict[str, Any]:
        """The options of `bench.continue_on`."""
        return {"top": self.top.value, "seeds": self.seeds.value}

    def show(self, versions: pd.DataFrame, changes: pd.DataFrame, drift: pd.DataFrame, *, metric_label: str) -> None:
        """Bring the tables up to date. versions, changes, drift: as the properties of the workbench with these names."""
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
        """What is being done before the training; the button waits."""
        self._turn(going=False, progress=0.0, waits=True)
        self._say("note", text)

    def show_running(self, progress: float, text: str, code: str = "") -> None:
        """A continuation is under way. progress: 0 to 1. code: Python that shows its trials."""
        self._turn(going=True, progress=progress)
        self._say("note", text, code)

    def show_done(self, text: str, code: str = "") -> None:
        """What came of it, until the next click. code: Python that shows its trials."""
        self._turn(going=False, progress=1.0)
        self._say("note", text, code)

    def show_problem(self, text: str) -> None:
        """What could not be done, and why, until the next click; the tables stay."""
        self._turn(going=False, progress=0.0)
        self._say("error", text)

    # ----------------------------------------------------------------------------------------------------------------

    def _turn(self, *, going: bool, progress: float, waits: bool = False) -> None:
        self._going = going
        self.button.description, self.button.icon = ("Stop", "stop") if going else ("Continue", "forward")
        self.button.tooltip = (
            "Stop training and compare the results so far" if going else "Start a new version of the data"
        )
        self.button.disabled = waits
        self.progress.value = progress

    def _set(self, text: str) -> None:
        if self.text.value != text:
            self.text.value = text

    def _say(self, kind: str, text: str, code: str = "") -> None:
        role = "alert" if kind == "error" else "status"
        shown = f" <code>{html.escape(code)}</code>" if code else ""
        text = f'<div class="wb-{kind}" role="{role}">{html.escape(text)}{shown}</div>'
        if self.note.value != text:
            self.note.value = text


def continue_call(data: str, options: dict[str, Any]) -> str:
    """The call of `bench.continue_on` as text; what is at its default is left out."""
    defaults = {"top": 5, "seeds": 1, "name": "", "device": "cpu"}
    given = [f"{name}={value!r}" for name, value in options.items() if value != defaults[name]]
    return f"bench.continue_on({', '.join([as_code(data), *given])})"


def transfer_calls(
    transfer: TransferPanel, versions: VersionsPanel, config: Config, seeds: int, about: dict[str, Any]
) -> list[str]:
    """The calls that the buttons of the transfer tab would make. about: name and device."""
    calls = []
    if transfer.source.value is not None:
        with suppress(ConfigError):
            options = {**transfer.options(), "seeds": seeds, **about}
            calls.append(finetune_call(transfer.source.value, options, config))
    if versions.data.value.strip():
        calls.append(f"run = {continue_call(versions.data.value, {**versions.options(), **about})}")
    return calls


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
        rerun = _number(row["rerun"])
        if math.isfinite(row["low"]):
            rerun += f" ({rounded(row['low'])} to {rounded(row['high'])})"
        change = f"{row['change']:+.4f}" if math.isfinite(row["change"]) else ""
        if math.isfinite(row["change_low"]):
            change += f" ({row['change_low']:+.4f} to {row['change_high']:+.4f})"
        cells = [
            str(row["version"]), str(row["trial"]), _number(row["score"]), _number(row["old_model"]), rerun, change,
            row["verdict"].replace(" ", "\u00a0") if len(row["verdict"]) < 14 else row["verdict"],
        ]  # fmt: skip
        rows.append((cells, row["beyond_noise"]))
    heads = [
        "version", "configuration of trial", "when chosen", "old model now", "trained again (95%)", "change (95%)", "",
    ]  # fmt: skip
    return _table(f"Change for each configuration: {metric_label}", heads, rows)


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
    """A table under a heading; rows that do not stand out are pale. All text is escaped. A line may break before brackets."""

    def shown(cell: Any) -> str:
        whole = re.sub(r"\([^()]*\)", lambda found: found[0].replace(" ", "\u00a0"), str(cell))
        return html.escape(whole)

    lines = []
    for cells, strong in rows:
        pale = "" if strong else ' class="wb-worse"'
        lines.append(f"<tr{pale}>{''.join(f'<td>{shown(cell)}</td>' for cell in cells)}</tr>")
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    body = f'<table class="wb-leaderboard"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    return f'<div class="wb-heading">{html.escape(title)}</div>{body}'


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else ""
