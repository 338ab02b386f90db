"""The trials of the log as a table to sort, search and select from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import pandas as pd
from itables import JavascriptFunction
from itables.widget import ITable

from workbench.core.config import HYPERPARAMETERS
from workbench.ui.parts import button, listed, make, message, show

__all__ = ["TrialTable", "readable"]

ALWAYS = ("learning_rate", "optimizer", "batch_size")
LAST = ("best_val_loss", "best_epoch", "epochs_run", "seconds", "source", "note")
WRITTEN = ("name", "note")
"""Typed by the user; a column without any text is not shown."""

KEPT: dict[str, Any] = {
    "warn_on_undocumented_option": False,  # of the two functions, which it passes on
    "stateSave": True,
    "stateDuration": 0,
    "stateSaveCallback": JavascriptFunction(
        "function (settings, { time, start, length, order, search, columns }) {"
        " settings.nTable.workbenchState = { time, start, length, order, search, columns }; }"
    ),
    "stateLoadCallback": JavascriptFunction("function (settings) { return settings.nTable.workbenchState || null; }"),
}
"""Page, order and search stay, with the table's element, when it is filled again. The widget keeps the selection itself."""


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of the table, newest trial first: name, state, scores, and the hyperparameters that differ."""
    varying = [name for name in frame.columns[5 : frame.columns.get_loc("epochs_run")] if name in frame]
    varied = [name for name in varying if name not in ALWAYS and _differs(frame[name], name)]
    made = ["source"] if (frame["source"] != "manual").any() else []
    opened = ["test"] if (frame["test_set"] != "").any() else []
    # the configuration follows the score, so that a narrow window shows both
    columns = ["trial", "name", *made, "state", "best_val_metric", *opened, *ALWAYS, *varied]
    columns += [name for name in LAST if name not in made]
    columns = [name for name in columns if name not in WRITTEN or frame[name].fillna("").ne("").any()]
    whole = frame.assign(source=_sources(frame), test=_tests(frame))
    short = whole[columns].iloc[::-1].reset_index(drop=True)
    for name in short.columns:
        if pd.api.types.is_float_dtype(short[name]):
            # text that reads as a number is sorted as one; a missing or infinite value is left blank
            digits = 4 if name.startswith("best") else 3
            short[name] = [f"{value:.{digits}g}" if math.isfinite(value) else "" for value in short[name]]
        elif short[name].isna().any():  # a hyperparameter that some trials do not read
            short[name] = short[name].astype(object).where(short[name].notna(), "")
    rename = {"best_val_metric": f"best {_metric(frame)}", "best_val_loss": "best loss", "best_epoch": "at epoch"}
    return short.rename(columns={**rename, "epochs_run": "epochs run"}).rename(
        columns=lambda name: str(name).replace("_", " ")
    )


def _differs(values: pd.Series[Any], name: str) -> bool:
    """Whether the trials that read a hyperparameter have several values of it, or switched it on and off."""
    declared = HYPERPARAMETERS.get(name)
    return bool(values.nunique(dropna=declared is None or not declared.optional) > 1)


def _sources(frame: pd.DataFrame) -> list[str]:
    """The call that made each trial, and the trial and epoch it began from."""
    found = []
    for source, parent, epoch in zip(frame["source"], frame["parent"], frame["parent_epoch"], strict=True):
        if source == "replay" or pd.isna(parent):  # the name of a replay has its original
            found.append(str(source))
        else:
            found.append(f"{source} of {parent}" + ("" if pd.isna(epoch) else f" @ {epoch}"))
    return found


def _tests(frame: pd.DataFrame) -> list[str]:
    """The test score of each trial that has one, with its stamp."""
    pairs = zip(frame["test_metric"], frame["test_set"], strict=True)
    return [f"{score:.4g}, {stamp}" if stamp else "" for score, stamp in pairs]


def _button(label: str, icon: str, tooltip: str) -> Any:
    return button(label, icon, tooltip, disabled=True)


def _metric(frame: pd.DataFrame) -> str:
    names = list(frame["metric"].unique())
    return str(names[0]) if len(names) == 1 else "metric"


class TrialTable:
    """One row a trial; the selection is kept when rows are added.

    selected: called with the trial numbers of the selected rows. load, branch, replay, annotate, delete: called with the
    selection by the buttons; undo: called by Undo, for the trials of `take_deleted`. All are called on any thread and must
    only enqueue.
    """

    def __init__(
        self,
        selected: Callable[[list[int]], None],
        *,
        load: Callable[[int], None],
        branch: Callable[[int], None],
        replay: Callable[[int], None],
        annotate: Callable[..., None],
        delete: Callable[[list[int]], None],
        undo: Callable[[], None],
    ) -> None:
        self._selected, self._annotate = selected, annotate
        self._deleted: list[int] = []
        self._wanted: list[int] = []
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
        self.undo = button("Undo", "undo", "Restore the deleted trials", hidden=True)
        self.undo.on_click(lambda _: undo())
        self.load_button = _button("Load into controls", "sliders", "Put this trial's configuration into the controls")
        self.branch = _button("Branch…", "code-fork", "Continue from this trial's best epoch, with changes")
        self.replay = _button("Replay", "repeat", "Train this trial again from its first step, and compare")
        self.delete = _button("Delete", "trash", "Move the selected trials to the trash (see History)")
        for one, action in ((self.load_button, load), (self.branch, branch), (self.replay, replay)):
            one.on_click(self._for_one(action))
        self.delete.on_click(lambda _: delete(self.selection) if self.selection else None)
        typed: dict[str, Any] = {"continuous_update": False}
        self.name = make(widgets.Text, placeholder="name", tooltip="Name of the selected trial", **typed)
        self.note = make(widgets.Text, placeholder="note", tooltip="Note on the selected trial", **typed)
        self.tags = make(widgets.Text, placeholder="tags, separated by commas", **typed)
        self.save = _button("Save", "pencil", "Write name, note and tags to the log")
        self.save.on_click(self._save)
        self.problem = make(widgets.HTML, classes="wb-message")
        top = make(widgets.Box, [self.hint, self.undo], classes="wb-tablehint")
        buttons = [self.load_button, self.branch, self.replay, self.delete]
        row = make(widgets.Box, buttons, classes="wb-tablebar wb-tablebuttons")
        bar = make(widgets.Box, [self.name, self.note, self.tags, self.save], classes="wb-tablebar")
        box = make(widgets.VBox, [self.table], classes="wb-table")
        self.widget = make(widgets.VBox, [top, box, row, bar, self.problem])
        self._frame = pd.DataFrame()
        self._show_selection()

    @property
    def selection(self) -> list[int]:
        """The trial numbers of the selected rows."""
        return [self._trials[row] for row in self.table.selected_rows if row < len(self._trials)]

    def _for_one(self, action: Callable[[int], None]) -> Callable[[object], None]:
        return lambda _: action(self.selection[0]) if self.selection else None

    def select(self, trials: list[int]) -> None:
        """Select the rows of these trials."""
        self._quiet = True
        try:
            self.table.selected_rows = [self._trials.index(trial) for trial in trials if trial in self._trials]
        finally:
            self._quiet = False
        self._show_selection()

    def update(self, frame: pd.DataFrame, count: int | None = None) -> None:
        """Show these trials, the newest of `count` in the log.

        An unchanged table is not sent again, which would disturb what is typed into its search field.
        """
        self._frame = frame
        self._more = "" if count is None or count <= len(frame) else f" The newest {len(frame):,} of {count:,} trials."
        short = readable(frame)
        if self._shown is not None and short.equals(self._shown):
            return
        selection = self.selection
        self._shown = short
        self._trials = [int(trial) for trial in short["trial"]]
        back = self._wanted and set(self._wanted) <= set(self._trials)
        if back:
            selection, self._wanted = self._wanted, []
        rows = [self._trials.index(trial) for trial in selection if trial in self._trials]
        self._quiet = True
        try:
            self.table.update(short, selected_rows=rows, **KEPT)
        finally:
            self._quiet = False
        self._show_selection()
        if back:
            self._selected(self.selection)

    def show_deleted(self, trials: list[int]) -> None:
        """Show which trials were deleted, and offer to undo it, until rows are selected."""
        self._deleted = trials
        self._show_selection()

    def take_deleted(self) -> list[int]:
        """The trials that were deleted last, to be restored: they are selected when they are back."""
        self._wanted, self._deleted = self._deleted, []
        self._show_selection()
        return self._wanted

    def show_problem(self, text: str) -> None:
        """Show what could not be done, under the buttons; "" takes the message away."""
        self.problem.value = message(text)

    def _rows_selected(self, _: object) -> None:
        if not self._quiet:
            if self.table.selected_rows:
                self._deleted = []
            self._show_selection()
            self._selected(self.selection)

    def _show_selection(self) -> None:
        count = len(self.selection)
        row = None
        if count == 1 and len(self._frame):
            row = self._frame[self._frame["trial"] == self.selection[0]].iloc[0]
        state = "" if row is None else str(row["state"])
        epochs = 0 if row is None or pd.isna(row["best_epoch"]) else int(row["best_epoch"])
        self.load_button.disabled = count != 1
        self.branch.disabled = not epochs
        self.replay.disabled = state in ("", "queued", "running", "paused", "failed")
        self.delete.disabled = not count
        show(self.undo, bool(self._deleted))
        self.save.disabled = self.name.disabled = self.note.disabled = self.tags.disabled = count != 1
        self.hint.value = (
            f"Deleted {listed(self._deleted)}."
            if self._deleted
            else f"All trials of this task. Select rows to draw them in the charts.{self._more}"
            if not count
            else f"{count} selected and drawn in the charts. Ctrl or Shift and click to select more."
        )
        if row is not None:
            self.name.value, self.note.value, self.tags.value = row["name"], row["note"], ", ".join(row["tags"])
        elif count != 1:
            self.name.value = self.note.value = self.tags.value = ""

    def _save(self, _: object) -> None:
        if len(self.selection) == 1:
            tags = [tag.strip() for tag in self.tags.value.split(",") if tag.strip()]
            self._annotate(self.selection[0], name=self.name.value, note=self.note.value, tags=tags)
