"""The layers tab with what keeps it up to date: it shows the trial in view, while it trains too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from workbench.methods.layers.tab import LayersPanel
from workbench.methods.layers.watch import Watcher
from workbench.ui.bench import Bench
from workbench.ui.presenter import Presenter
from workbench.ui.tab import Tab, TabBody

if TYPE_CHECKING:
    from workbench.runs.trained_model import TrainedModel

__all__ = ["LAYERS", "LayersTab"]


class LayersBench(Bench, Protocol):
    """What the tab asks of a workbench."""

    def model(self, trial: int, epoch: int | None, *, fold: int | None) -> TrainedModel: ...


class LayersTab(TabBody):
    """The layers of the trial in view; of a cross-validated one those of its first fold."""

    def __init__(self, presenter: Presenter, bench: LayersBench) -> None:
        self._presenter, self._bench = presenter, bench
        self.panel = LayersPanel(lambda epoch: presenter.dispatch.ask(self.look, epoch))
        self._watcher = Watcher(
            presenter.session.recall.refits.task_of,
            self.panel,
            run_of=presenter.session.run_of,
            model_of=self._model_of,
            epochs_of=self._epochs_of,
            wake=presenter.pump.wake,
        )
        super().__init__(self.panel.widget)

    def look(self, epoch: int | None) -> None:
        """Show the layers after an epoch, None for the best one."""
        self._watcher.look(epoch)

    def tick(self, *, in_front: bool) -> None:
        self._watcher.tick(self._presenter.trial_in_view(), in_front=in_front)

    def _model_of(self, trial: int, epoch: int | None) -> TrainedModel:
        folds = self._presenter.session.recall.refits.task_of(trial).folds
        return self._bench.model(trial, epoch, fold=None if folds is None else 1)

    def _epochs_of(self, trial: int) -> tuple[int, int]:
        curve = self._presenter.log.curves(trial)
        return int(curve["epoch"].iloc[0]), int(curve["epoch"].iloc[-1])


LAYERS = Tab("Layers", LayersTab)
