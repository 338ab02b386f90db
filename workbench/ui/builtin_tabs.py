"""The tabs that every view has: trials, history, code and data."""

from __future__ import annotations

import html

import ipywidgets as widgets

from workbench.tasks import Task
from workbench.ui.bench import Bench
from workbench.ui.history_tab import HistoryTab
from workbench.ui.parts import make
from workbench.ui.presenter import Presenter
from workbench.ui.tab import Tab, TabBody

__all__ = ["CODE", "DATA", "HISTORY", "TRIALS", "facts"]


class _Code(TabBody):
    """The code tab; the view fills it."""

    def __init__(self, presenter: Presenter, bench: Bench) -> None:
        self.refresh = presenter.shown.show_script
        super().__init__(presenter.shown.code.widget)


def _trials(presenter: Presenter, bench: Bench) -> TabBody:
    return TabBody(presenter.shown.table.widget)


def facts(task: Task) -> str:
    """The task's summary as an HTML table; all text escaped."""
    rows = "".join(
        f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in task.summary()["value"].items()
    )
    return f'<table class="wb-facts"><caption>{html.escape(task.name)}</caption>{rows}</table>'


def _data(presenter: Presenter, bench: Bench) -> TabBody:
    return TabBody(make(widgets.HTML, facts(presenter.task)))


TRIALS = Tab("Trials", _trials, early=True)
HISTORY = Tab("History", HistoryTab, HistoryTab.refresh, early=True, follows_selection=True)
CODE = Tab("Code", _Code, lambda body: body.refresh(), early=True, follows_selection=True)
DATA = Tab("Data", _data, early=True)
