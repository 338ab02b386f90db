"""The tabs that every view has: trials, history, code and data."""

from __future__ import annotations

from workbench.core.errors import WorkbenchError
from workbench.ui.facts import Facts
from workbench.ui.history_tab import HistoryTab
from workbench.ui.presenter import Presenter
from workbench.ui.tab import Tab, TabBody

__all__ = ["CODE", "DATA", "HISTORY", "TRIALS"]


class _History(TabBody):
    """The history tab, with what its buttons do."""

    def __init__(self, presenter: Presenter) -> None:
        view, bench = presenter.shown, presenter.bench
        self._presenter = presenter
        self.history = HistoryTab(
            bench,
            select=view.guarded(lambda trial: view.select_trials([trial])),
            set_budget=lambda size: setattr(bench.checkpoints, "budget", size),
            restore=lambda trials: bench.restore(*trials),
            empty=bench.empty_trash,
            ask=view.ask,
        )
        super().__init__(self.history.widget)

    def refresh(self) -> None:
        try:
            self.history.refresh(self._presenter.drawn)
        except WorkbenchError as error:
            self._presenter.shown.show_error(error)


class _Code(TabBody):
    """The code tab; the view fills it."""

    def __init__(self, presenter: Presenter) -> None:
        self._view = presenter.shown
        super().__init__(self._view.code.widget)

    def refresh(self) -> None:
        self._view.show_script()


TRIALS = Tab("Trials", lambda presenter: TabBody(presenter.shown.table.widget), early=True)
HISTORY = Tab("History", _History, _History.refresh, early=True, follows_selection=True)
CODE = Tab("Code", _Code, _Code.refresh, early=True, follows_selection=True)
DATA = Tab("Data", lambda presenter: TabBody(Facts(presenter.task).widget), early=True)
