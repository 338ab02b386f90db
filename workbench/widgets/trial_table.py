"""The trial log as a table to sort, search and select from."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import ipywidgets as widgets
import pandas as pd
from itables.widget import ITable

from workbench.widgets.parts import make

__all__ = ["TrialTable", "readable"]

ALWAYS = ("learning_rate", "optimizer", "batch_size")
LAST = ("seconds", "source", "note")


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns worth reading, newest trial first: what a trial is called and came to, and the hyperparameters that differ."""
    settings = [name for name in frame.columns[5 : frame.columns.get_loc("epochs_run")] if name in frame]
    varied = [name for name in settings if name in ALWAYS or frame[name].nunique(dropna=False) > 1]
    columns = ["trial", "name", "state", "best_val_metric", "best_val_loss", "best_epoch", "epochs_run", *varied, *LAST]
    short = frame[columns].iloc[::-1].reset_index(drop=True)
    for name in short.columns:
        if pd.api.types.is_float_dtype(short[name]):
            # text that reads as a number is sorted as one; a missing or infinite value is left blank
            digits = 4 if name.startswith("best") else 3
            short[name] = [f"{value:.{digits}g}" if math.isfinite(value) else "" for value in short[name]]
    rename = {"best_val_metric": f"best {_metric(frame)}", "best_val_loss": "best loss", "best_epoch": "at epoch"}
    return short.rename(columns={**rename, "epochs_run": "epochs run"}).rename(
        columns=lambda name: str(name).replace("_", " ")
    )


def _metric(frame: pd.DataFrame) -> str:
    names = list(frame["metric"].unique())
    return str(names[0]) if len(names) == 1 else "metric"


class TrialTable:
    """Rows by trial number; the selection is kept when rows come in.

    selected: called with the trial numbers of the selected rows. load, rename: what the buttons do with the selection.
    """

    def __init__(
        self,
        selected: Callable[[list[int]], None],
        load: Callable[[int], None],
        annotate: Callable[[int, str | None, str | None, list[str] | None], None],
    ) -> None:
        self._selected, self._load, self._annotate = selected, load, annotate
        self._trials: list[int] = []
        self._shown: pd.DataFrame | None = None
        self._quiet = False
        self._more = ""
        self.table = ITable(
            pd.DataFrame({"trial": []}),
            showIndex=False,
            select={"style": "os", "items": "row"},
            selected_rows=[],
            paging=True,
            pageLength=10,
            lengthMenu=[10, 25, 100],
            order=[],
            classes="display compact nowrap",
            style="width:100%;margin:0",
            scrollX=True,
            allow_html=False,
            maxBytes="4MB",
        )
        self.table.observe(self._rows_selected, "selected_rows")
        self.hint = make(widgets.HTML, classes="wb-hint")
        self.load_button = make(widgets.Button, description="Load into controls", icon="sliders", disabled=True)
        self.load_button.on_click(lambda _: self.selection and self._load(self.selection[0]))
        self.name = make(
            widgets.Text, placeholder="name", continuous_update=False, tooltip="Name of the selected trial"
        )
        self.note = make(
            widgets.Text, placeholder="note", continuous_update=False, tooltip="Note to the selected trial"
        )
        self.tags = make(widgets.Text, placeholder="tags, separated by commas", continuous_update=False)
        self.save = make(
            widgets.Button,
            description="Save",
            icon="pencil",
            disabled=True,
            tooltip="Write name, note and tags to the log",
        )
        self.save.on_click(self._save)
        bar = make(widgets.Box, [self.load_button, self.name, self.note, self.tags, self.save], classes="wb-tablebar")
        box = make(widgets.VBox, [self.table], classes="wb-table")
        self.widget = make(widgets.VBox, [self.hint, box, bar])
        self._frame = pd.DataFrame()
        self._tell_selection()

    @property
    def selection(self) -> list[int]:
        """The trial numbers of the selected rows."""
        return [self._trials[row] for row in self.table.selected_rows if row < len(self._trials)]

    def select(self, trials: list[int]) -> None:
        """Select the rows of these trials, as a brush in the parallel coordinates does."""
        self._quiet = True
        try:
            self.table.selected_rows = [self._trials.index(trial) for trial in trials if trial in self._trials]
        finally:
            self._quiet = False
        self._tell_selection()

    def update(self, frame: pd.DataFrame, count: int | None = None) -> None:
        """Show the log as it is now, or its newest of `count` trials.

        An unchanged table is left alone, so that a search is not disturbed.
        """
        self._frame = frame
        self._more = "" if count is None or count <= len(frame) else f" The newest {len(frame):,} of {count:,} trials."
        short = readable(frame)
        if self._shown is not None and short.equals(self._shown):
            return
        selection = self.selection
        self._shown = short
        self._trials = [int(trial) for trial in short["trial"]]
        rows = [self._trials.index(trial) for trial in selection if trial in self._trials]
        self._quiet = True
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # itables warns of options it passes on to the table
                self.table.update(short, selected_rows=rows)
        finally:
            self._quiet = False
        self._tell_selection()

    def _rows_selected(self, _: object) -> None:
        if not self._quiet:
            self._tell_selection()
            self._selected(self.selection)

    def _tell_selection(self) -> None:
        count = len(self.selection)
        self.load_button.disabled = count != 1
        self.save.disabled = self.name.disabled = self.note.disabled = self.tags.disabled = count != 1
        self.hint.value = (
            f"Every attempt is here. Select rows to draw them in the charts.{self._more}"
            if not count
            else f"{count} selected and drawn in the charts. Ctrl or Shift and click to select more."
        )
        if count == 1 and len(self._frame):
            row = self._frame[self._frame["trial"] == self.selection[0]].iloc[0]
            self.name.value, self.note.value, self.tags.value = row["name"], row["note"], ", ".join(row["tags"])
        elif count != 1:
            self.name.value = self.note.value = self.tags.value = ""

    def _save(self, _: object) -> None:
        if len(self.selection) == 1:
            tags = [tag.strip() for tag in self.tags.value.split(",") if tag.strip()]
            self._annotate(self.selection[0], self.name.value, self.note.value, tags)
