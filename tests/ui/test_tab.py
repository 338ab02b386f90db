"""The list of tabs that a view is given: one of a test's own beside those of the package."""

from __future__ import annotations

import ipywidgets

import workbench as wb
from tests.ui.canned import record
from workbench.core.config import Config
from workbench.core.errors import ConfigError
from workbench.methods.tabs import TABS
from workbench.ui.presenter import Presenter
from workbench.ui.tab import Tab, TabBody


class CountBody(TabBody):
    """Says how many trials there are."""

    def __init__(self, bench: wb.Workbench) -> None:
        self._bench = bench
        self.ticks: list[bool] = []
        super().__init__(ipywidgets.Label(""))

    def refresh(self) -> None:
        self.widget.value = f"{len(self._bench.trials)} trials"

    def tick(self, *, in_front: bool) -> None:
        self.ticks.append(in_front)

    def configured(self, config: Config | ConfigError, *, in_front: bool) -> list[str]:
        return ["count = len(bench.trials)"] if in_front else []


def test_a_custom_tab_is_made_when_it_is_first_shown_and_refreshed_in_front() -> None:
    bench = wb.Workbench(wb.Task.load("iris"))
    made: list[CountBody] = []

    def build(presenter: Presenter, bench: wb.Workbench) -> CountBody:
        made.append(CountBody(bench))
        return made[-1]

    view = bench.presenter.build(bench, [*TABS, Tab("Count", build, CountBody.refresh)])
    assert view.tabs.titles == (*(tab.title for tab in TABS), "Count")
    bench.presenter.tick()
    assert made == []
    view.tabs.selected_index = len(TABS)
    bench.presenter.tick()
    assert len(made) == 1
    assert view.tabs.children[-1].children == (made[0].widget,)
    assert made[0].widget.value == "0 trials"
    view.panel.name.value = "mine"  # the controls say something else
    assert view.code.text.splitlines()[-1] == "count = len(bench.trials)"
    record(bench)
    bench.presenter.tick()
    assert made[0].widget.value == "1 trials"
    view.tabs.selected_index = 0
    bench.presenter.tick()
    assert made[0].ticks[-1] is False
    record(bench)
    bench.presenter.tick()
    assert made[0].widget.value == "1 trials"  # nothing is read for a tab that is not in front
    assert bench.presenter.build(bench, TABS[:1]).tabs.titles == ("Trials",)


def test_titles_are_different() -> None:
    assert len({tab.title for tab in TABS}) == len(TABS)
