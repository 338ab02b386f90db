"""The diff tab: two trials to choose, and what they differ in."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Protocol

import ipywidgets as widgets

from workbench.core.errors import WorkbenchError
from workbench.methods.comparison.reads import Reads
from workbench.methods.diff.view import TrialDiff
from workbench.ui.bench import Bench
from workbench.ui.parts import labelled, make, message, offer
from workbench.ui.presenter import Presenter
from workbench.ui.tab import Tab, TabBody

__all__ = ["DIFF", "DiffPanel", "DiffTab"]

HINT = "What do two trials differ in? Train two, or select two in the table."
TRIALS = 50
"""So many of the newest trials are offered, besides the best and those that are selected."""


class DiffPanel:
    """look: called with the two trials after each choice; must only enqueue."""

    def __init__(self, look: Callable[[int, int], None]) -> None:
        self._look = look
        self._quiet = False
        self.first = make(widgets.Dropdown, options=[], tooltip="The trial to compare with")
        self.second = make(widgets.Dropdown, options=[], tooltip="The other trial")
        for menu in (self.first, self.second):
            menu.observe(self._chosen, "value")
        controls = [labelled("trial", self.first), labelled("and trial", self.second)]
        bar = make(widgets.Box, controls, classes="wb-toprow")
        self.shown = make(widgets.HTML, message(HINT, "hint"), classes="wb-board")
        self.widget = make(widgets.VBox, [bar, self.shown], classes="wb-errors")

    def offer(self, choices: Sequence[tuple[str, int]], pair: tuple[int, int] | None) -> None:
        """The trials to choose from, as (label, number), and the pair to choose now, None to leave that as it is."""
        self._quiet = True
        try:
            for place, menu in enumerate((self.first, self.second)):
                offer(menu, choices)
                if pair is not None:
                    menu.value = pair[place]
        finally:
            self._quiet = False

    @property
    def pair(self) -> tuple[int, int] | None:
        """The trials that are chosen; None unless there are two different ones."""
        first, second = self.first.value, self.second.value
        return None if first is None or second is None or first == second else (first, second)

    def show(self, found: TrialDiff) -> None:
        """Show what two trials differ in, and the call that says the same."""
        call = f"bench.diff({', '.join(map(str, found.trials))})"
        self.shown.value = f'<div role="status"><code>{html.escape(call)}</code></div>{found._repr_html_()}'

    def show_problem(self, text: str, kind: str = "error") -> None:
        """Why there is nothing to show."""
        self.shown.value = message(text, kind)

    def _chosen(self, _: object) -> None:
        if self._quiet:
            return
        if self.pair is not None:
            self._look(*self.pair)
        elif self.first.value is not None:
            self.show_problem("Choose two different trials.", "hint")


class DiffBench(Bench, Protocol):
    """What the tab asks of a workbench."""

    def diff(self, *trials: int) -> TrialDiff: ...


class DiffTab(TabBody):
    """The diff tab: which trials there are, and what the chosen ones differ in."""

    def __init__(self, presenter: Presenter, bench: DiffBench) -> None:
        self._presenter, self._bench = presenter, bench
        self._selected: list[int] = []
        self.panel = DiffPanel(lambda first, second: presenter.dispatch.ask(self.look, first, second))
        super().__init__(self.panel.widget)

    @property
    def cheap(self) -> bool:
        return False

    def refresh(self) -> None:
        """Offer the newest trials, choose those that were selected since, and show what they differ in."""
        reads, selected = Reads.of(self._presenter.session), self._presenter.selected
        best = [int(trial) for trial in reads.leaderboard(1)["trial"]]
        newest = [int(trial) for trial in reads.trials(last=TRIALS)["trial"]][::-1]
        trials = list(dict.fromkeys([*best, *selected, *newest]))
        pair = None
        if selected != self._selected and len(selected) > 1:
            pair = (selected[-2], selected[-1])
        elif len(trials) > 1 and not {self.panel.first.value, self.panel.second.value}.issubset(trials):
            pair = (trials[0], trials[1])
        self._selected = list(selected)
        self.panel.offer([(f"{trial}" + " (best)" * (trial in best), trial) for trial in trials], pair)
        if self.panel.pair is not None:
            self.look(*self.panel.pair)
        else:
            self.panel.show_problem(HINT, "hint")

    def look(self, first: int, second: int) -> None:
        """Show what two trials differ in."""
        try:
            self.panel.show(self._bench.diff(first, second))
        except WorkbenchError as error:  # of a trial that was removed meanwhile
            self.panel.show_problem(str(error))


DIFF = Tab("Diff", DiffTab, DiffTab.refresh, follows_selection=True)
