"""The history tab: the tree of branches, what the checkpoints take, and the trash."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection
from typing import Any, Protocol

import ipywidgets as widgets
import pandas as pd

from workbench.checkpoints.store import CheckpointStore, shown
from workbench.core.errors import WorkbenchError
from workbench.core.text import counted
from workbench.ui.parts import labelled, listed, make, number_of, show
from workbench.ui.tree import TreeList

__all__ = ["HistoryTab", "Past"]

GIB = 2**30
NO_BRANCH = "No branches yet. Click a point of a curve, or select a trial and press Branch…"


class Past(Protocol):
    """What the tab reads; `Workbench` is one."""

    def tree(self) -> Any: ...
    @property
    def checkpoints(self) -> CheckpointStore: ...
    @property
    def trash(self) -> pd.DataFrame: ...


class HistoryTab:
    """Reads when it is refreshed, which is while it is in front; its parts are made then.

    select: called with the trial whose line is clicked. set_budget: with bytes. restore: with the trials to bring back.
    empty: empties the trash; returns the trials removed and those kept. A WorkbenchError of any is shown beside its button.
    ask: has a request done on the main thread.
    """

    def __init__(
        self,
        past: Past,
        *,
        select: Callable[[int], object],
        set_budget: Callable[[int], object],
        restore: Callable[[list[int]], object],
        empty: Callable[[], tuple[list[int], list[int]]],
        ask: Callable[[Callable[[], None]], object],
    ) -> None:
        self._past, self._request = past, ask
        self._select, self._set_budget, self._restore, self._empty = select, set_budget, restore, empty
        self.widget = make(widgets.VBox, [], classes="wb-history")

    def refresh(self, drawn: Collection[int]) -> None:
        """Read the tree, the checkpoints and the trash anew. drawn: the trials on show in the charts."""
        if not self.widget.children:
            self._make()
        trashed = self._past.trash
        self._show_tree(drawn, set(map(int, trashed["trial"])))
        self._show_checkpoints(self._past.checkpoints)
        self._show_trash(trashed)

    # --- parts ------------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        self.tree = make(TreeList, self._select)
        self.no_tree = make(widgets.HTML, f'<div class="wb-hint">{NO_BRANCH}</div>', hidden=True)
        self.used = make(widgets.HTML, classes="wb-used")
        self.budget = make(
            widgets.Text,
            continuous_update=False,
            tooltip="What the checkpoints may take; 0 keeps none",
            classes="wb-number",
        )
        self.budget.observe(lambda _: self._request(self._budget_typed), "value")
        self.budget_note = make(widgets.HTML)
        self._typed = ""
        self.list = make(widgets.SelectMultiple, options=[], classes="wb-bin", rows=4)
        self.list.observe(lambda _: self._tell(), "value")
        self.restore = make(widgets.Button, description="Restore selected", icon="undo", disabled=True)
        self.empty = make(widgets.Button, description="Empty bin…", icon="trash")
        self.remove = make(widgets.Button, icon="trash", classes="wb-danger", hidden=True)
        self.keep = make(widgets.Button, description="Keep", hidden=True)
        self.restore.on_click(
            lambda _: self._request(lambda: self._guarded(lambda: self._restore(list(self.list.value))))
        )
        self.empty.on_click(lambda _: self._ask(True))
        self.keep.on_click(lambda _: self._ask(False))
        self.remove.on_click(lambda _: self._request(lambda: self._guarded(self._remove)))
        self._buttons = make(widgets.Box, [self.restore, self.empty, self.remove, self.keep], classes="wb-tablebar")
        self.trash_note = make(widgets.HTML)
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

    def _show_tree(self, drawn: Collection[int], trashed: Collection[int]) -> None:
        lines = [
            {
                "trial": node.trial, "before": before, "text": node.says, "shown": node.trial in drawn,
                "gone": node.trial in trashed,
            }
            for before, node in self._past.tree().lines()
        ]  # fmt: skip
        self.tree.lines = lines
        show(self.tree, bool(lines))
        show(self.no_tree, not lines)

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def _show_checkpoints(self, store: CheckpointStore) -> None:
        used, budget = store.used, store.budget
        full = min(1.0, used / budget) if budget else 1.0
        where = html.escape(str(store.folder))
        self.used.value = (
            f'<div class="wb-meter"><i style="width:{full:.1%}"></i></div>'
            f"<div><b>{shown(used)}</b> of {shown(budget)} · in <span title='{where}'>{where}</span></div>"
        )
        if self._typed == self.budget.value:  # nothing is being said about what was typed
            self._typed = self.budget.value = f"{budget / GIB:.4g}"
            trouble = store.write_error or store.budget_error
            if trouble is not None:
                self._say(self.budget_note, str(trouble))
            elif used > budget:
                words = "More than the budget: branches, the best models and trials under way need them."
                self._say(self.budget_note, words, "note")
            else:
                self._say(self.budget_note, "")

    def _budget_typed(self) -> None:
        text = self.budget.value.strip()
        if text == self._typed:
            return
        size = number_of(text)
        if isinstance(size, str) or not 0 <= size < 2**30:
            self._say(self.budget_note, f"budget={text!r}: must be a number of GiB from 0, such as 1 or 0.5")
            return
        try:
            self._set_budget(round(size * GIB))
        except WorkbenchError as error:
            self._say(self.budget_note, str(error))
            return
        self._typed = self.budget.value
        self._show_checkpoints(self._past.checkpoints)

    # --- the trash ----------------------------------------------------------------------------------------------------

    def _show_trash(self, frame: pd.DataFrame) -> None:
        options = [(_row(row), int(row["trial"])) for row in frame.iloc[::-1].to_dict("records")]
        if list(self.list.options) != options:
            chosen = [trial for trial in self.list.value if trial in {number for _, number in options}]
            self.list.options = options
            self.list.rows = min(8, max(2, len(options)))
            self.list.value = chosen
            self._ask(False)
        show(self.list, bool(options))
        show(self._buttons, bool(options))
        if not options and not self.trash_note.value:
            self._say(self.trash_note, "Nothing is in the trash.", "hint")
        elif options and "wb-hint" in self.trash_note.value:
            self._say(self.trash_note, "")
        self._tell()

    def _tell(self) -> None:
        self.restore.disabled = not self.list.value

    def _ask(self, asking: bool) -> None:
        """Ask whether the trash is to be emptied, or take the question back."""
        count = len(self.list.options)
        self.remove.description = f"Remove {counted(count, 'trial')} for good"
        for button, visible in ((self.restore, not asking), (self.empty, not asking), (self.remove, asking)):
            show(button, visible)
        show(self.keep, asking)

    def _remove(self) -> None:
        self._ask(False)
        removed, kept = self._empty()
        words = [f"Removed {listed(removed)}."] if removed else []
        if kept:
            words.append(
                f"Kept {listed(kept)}: a trial outside the trash was made from {'it' if len(kept) == 1 else 'them'}."
            )
        self._say(self.trash_note, " ".join(words), "note")

    def _guarded(self, action: Callable[[], object]) -> None:
        self._say(self.trash_note, "")
        try:
            action()
        except WorkbenchError as error:
            self._say(self.trash_note, str(error))

    def _say(self, note: Any, text: str, kind: str = "error") -> None:
        role = "alert" if kind == "error" else "status"
        note.value = f'<div class="wb-{kind}" role="{role}">{html.escape(text)}</div>' if text else ""


def _heading(text: str) -> Any:
    return make(widgets.HTML, f'<div class="wb-heading">{text}</div>')


def _row(row: dict[Any, Any]) -> str:
    name = f" · {row['name']!r}" if row["name"] else ""
    epochs = 0 if pd.isna(row["epochs_run"]) else int(row["epochs_run"])
    state = str(row["state"]).replace("_", " ")
    return f"trial {row['trial']}{name} · {state}, {counted(epochs, 'epoch')} · deleted {row['deleted']:%Y-%m-%d %H:%M} UTC"
