"""The history tab: the tree of branches, what the checkpoints take, and the trash."""

from __future__ import annotations

import html
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import pandas as pd

from workbench.checkpoints.store import shown
from workbench.core.errors import ConfigError, Problem, WorkbenchError
from workbench.core.text import counted
from workbench.ui.parts import button, labelled, listed, make, message, number_of, show
from workbench.ui.tab import TabBody
from workbench.ui.tree import TreeList

if TYPE_CHECKING:
    from workbench.ui.bench import Bench
    from workbench.ui.presenter import Presenter

__all__ = ["HistoryTab"]

GIB = 2**30
NO_BRANCH = "No branches yet. Click a point of a curve, or select a trial and press Branch…"
OVER_BUDGET = "More than the budget: branches, the best models and running trials need these checkpoints."


class HistoryTab(TabBody):
    """Reads when it is refreshed, which is while it is in front; its parts are made then."""

    def __init__(self, presenter: Presenter, bench: Bench) -> None:
        self._presenter, self._bench = presenter, bench
        super().__init__(make(widgets.VBox, [], classes="wb-history"))

    def refresh(self) -> None:
        """Read the tree, the checkpoints and the trash again."""
        if not self.widget.children:
            self._make()
        try:
            trashed = self._bench.trash
            self._show_tree(set(map(int, trashed["trial"])))
            self._show_checkpoints()
            self._show_trash(trashed)
        except WorkbenchError as error:
            self._presenter.shown.show_error(error)

    # --- parts ------------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        ask = self._presenter.dispatch.ask
        self.tree = make(TreeList, lambda trial: ask(self._presenter.shown.select_trials, [trial]))
        self.no_tree = make(widgets.HTML, f'<div class="wb-hint">{NO_BRANCH}</div>', hidden=True)
        self.used = make(widgets.HTML, classes="wb-used")
        self.budget = make(
            widgets.Text, continuous_update=False, classes="wb-number",
            tooltip="Disk space for the checkpoints; 0 keeps no checkpoint",
        )  # fmt: skip
        self.budget_note = make(widgets.HTML)
        self.budget.observe(lambda _: ask(self._set_budget, show=partial(_write, self.budget_note)), "value")
        self._typed = ""
        self.list = make(widgets.SelectMultiple, options=[], classes="wb-trash", rows=4)
        self.list.observe(lambda _: self._enable_restore(), "value")
        self.restore = button("Restore selected", "undo", disabled=True)
        self.empty = button("Empty trash…", "trash")
        self.remove = button(icon="trash", classes="wb-danger", hidden=True)
        self.keep = button("Keep", hidden=True)
        self.trash_note = make(widgets.HTML)
        show = partial(_write, self.trash_note)
        self.restore.on_click(lambda _: ask(self._restore, list(self.list.value), show=show))
        self.empty.on_click(lambda _: ask(self._confirm, True))
        self.keep.on_click(lambda _: ask(self._confirm, False))
        self.remove.on_click(lambda _: ask(self._remove, show=show))
        self._buttons = make(widgets.Box, [self.restore, self.empty, self.remove, self.keep], classes="wb-tablebar")
        checkpoints = make(
            widgets.Box, [self.used, labelled("budget", self.budget), make(widgets.HTML, "GiB", classes="wb-unit")],
            classes="wb-toprow",
        )  # fmt: skip
        self.widget.children = (
            _heading("Branches"), self.tree, self.no_tree,
            _heading("Checkpoints"), checkpoints, self.budget_note,
            _heading("Trash"), self.list, self._buttons, self.trash_note,
        )  # fmt: skip

    # --- the tree ---------------------------------------------------------------------------------------------------

    def _show_tree(self, trashed: Collection[int]) -> None:
        drawn = self._presenter.drawn
        lines = [
            {
                "trial": node.trial, "before": before, "text": node.description, "shown": node.trial in drawn,
                "gone": node.trial in trashed,
            }
            for before, node in self._bench.tree().lines()
        ]  # fmt: skip
        self.tree.lines = lines
        show(self.tree, bool(lines))
        show(self.no_tree, not lines)

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def _show_checkpoints(self) -> None:
        store = self._bench.checkpoints
        used, budget = store.used, store.budget
        full = min(1.0, used / budget) if budget else 1.0
        where = html.escape(str(store.folder))
        self.used.value = (
            f'<div class="wb-meter"><i style="width:{full:.1%}"></i></div>'
            f"<div><b>{shown(used)}</b> of {shown(budget)} · in <span title='{where}'>{where}</span></div>"
        )
        if self._typed == self.budget.value:  # else the note is about what was typed
            self._typed = self.budget.value = f"{budget / GIB:.4g}"
            trouble = store.write_error or store.budget_error
            if trouble is not None:
                _write(self.budget_note, str(trouble))
            else:
                _write(self.budget_note, OVER_BUDGET if used > budget else "", "note")

    def _set_budget(self) -> None:
        text = self.budget.value.strip()
        if text == self._typed:
            return
        size = number_of(text)
        if isinstance(size, str) or not 0 <= size < 2**30:
            raise ConfigError(
                [Problem("budget", text, f"budget={text!r}: must be a number of GiB from 0, such as 1 or 0.5")]
            )
        self._bench.checkpoints.budget = round(size * GIB)
        self._typed = self.budget.value
        self._show_checkpoints()

    # --- the trash ----------------------------------------------------------------------------------------------------

    def _show_trash(self, frame: pd.DataFrame) -> None:
        options = [(_row(row), int(row["trial"])) for row in frame.iloc[::-1].to_dict("records")]
        if list(self.list.options) != options:
            chosen = [trial for trial in self.list.value if trial in {number for _, number in options}]
            self.list.options = options
            self.list.rows = min(8, max(2, len(options)))
            self.list.value = chosen
            self._confirm(False)
        show(self.list, bool(options))
        show(self._buttons, bool(options))
        if not options and not self.trash_note.value:
            _write(self.trash_note, "The trash is empty.", "hint")
        elif options and "wb-hint" in self.trash_note.value:
            _write(self.trash_note, "")
        self._enable_restore()

    def _enable_restore(self) -> None:
        self.restore.disabled = not self.list.value

    def _confirm(self, asking: bool) -> None:
        """Ask whether the trash is to be emptied, or take the question back."""
        self.remove.description = f"Remove {counted(len(self.list.options), 'trial')} permanently"
        for one in (self.restore, self.empty):
            show(one, not asking)
        for one in (self.remove, self.keep):
            show(one, asking)

    def _restore(self, trials: list[int]) -> None:
        _write(self.trash_note, "")
        self._bench.restore(*trials)

    def _remove(self) -> None:
        self._confirm(False)
        removed, kept = self._bench.empty_trash()
        words = [f"Removed {listed(removed)}."] if removed else []
        if kept:
            words.append(
                f"Kept {listed(kept)}: a trial outside the trash was made from {'it' if len(kept) == 1 else 'them'}."
            )
        _write(self.trash_note, " ".join(words), "note")


def _write(note: Any, text: str, kind: str = "error") -> None:
    note.value = message(text, kind)


def _heading(text: str) -> Any:
    return make(widgets.HTML, f'<div class="wb-heading">{text}</div>')


def _row(row: dict[Any, Any]) -> str:
    name = f" · {row['name']!r}" if row["name"] else ""
    epochs = 0 if pd.isna(row["epochs_run"]) else int(row["epochs_run"])
    state = str(row["state"]).replace("_", " ")
    return f"trial {row['trial']}{name} · {state}, {counted(epochs, 'epoch')} · deleted {row['deleted']:%Y-%m-%d %H:%M} UTC"
