"""The tabs that every view has: trials, history and code."""

from __future__ import annotations

from workbench.ui.bench import Bench
from workbench.ui.history_tab import HistoryTab
from workbench.ui.presenter import Presenter
from workbench.ui.tab import Tab, TabBody

__all__ = ["CODE", "HISTORY", "TRIALS"]


class _Code(TabBody):
    """The code tab; the view fills it."""

    def __init__(self, presenter: Presenter, bench: Bench) -> None:
        self.refresh = presenter.shown.show_script
        super().__init__(presenter.shown.code.widget)


def _trials(presenter: Presenter, bench: Bench) -> TabBody:
    return TabBody(presenter.shown.table.widget)


TRIALS = Tab("Trials", _trials, early=True)
HISTORY = Tab("History", HistoryTab, HistoryTab.refresh, early=True, follows_selection=True)
CODE = Tab("Code", _Code, lambda body: body.refresh(), early=True, follows_selection=True)
