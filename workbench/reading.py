"""The reading half of `Workbench`: tables, figures, settings, models and scripts out of the log. Nothing here writes or trains
on record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.branching import Tree, tree
from workbench.errors import RunError
from workbench.execution import Run
from workbench.figures import NotebookFigure
from workbench.hyperparameters import Config
from workbench.log import TrialLog
from workbench.recall import logged_config, whole
from workbench.replaying import script
from workbench.session import Session
from workbench.snapshots import SnapshotStore

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from workbench.trained import TrainedModel

__all__ = ["Reader"]


class Reader:
    """What can be read of a log on one task."""

    _session: Session

    @property
    def log(self) -> TrialLog:
        """The trial log itself."""
        return self._session.log

    @property
    def trials(self) -> pd.DataFrame:
        """Every attempt in the log, one row a trial; those on other tasks included (see the column `task`)."""
        return self._session.log.trials()

    @property
    def searches(self) -> pd.DataFrame:
        """Every search in the log, one row each: its number, strategy, space, budget and how many trials it started."""
        return self._session.log.searches()

    def leaderboard(self, top: int | None = 20) -> pd.DataFrame:
        """Settings on this task by their mean validation metric over seeds, best first; only trials that ran to their end.

        One row a setting: rank, trial (its first), seeds, mean, low and high (95% confidence interval of the mean by
        Student's t, NaN for one seed), p_value and tied: whether it cannot be told from the best at 5% by Welch's two-sided
        t-test. Where a setting has one seed, its variance is taken as the pooled variance of those with more; nothing is
        told apart while no setting has two. Then the hyperparameters in which the settings differ. top: rows, None for all.
        """
        return self._session.reads.leaderboard_with_settings(top)

    def importance(self, search: int | None = None, *, evaluator: str = "fanova") -> pd.DataFrame:
        """Share of the variation of the validation metric that each hyperparameter explains, largest first.

        search: only the trials of one search, by default all on this task; comparisons across other settings mix effects.
        evaluator: "fanova" or "ped_anova" (optuna's). The column `trials` says how many trials it rests on; below 10 for
        each hyperparameter a UserWarning says that it is a hint only. Raises: RunError with fewer than 4 trials.
        """
        from workbench.analysis import importance

        return importance(self._session.reads.trials_of(search), better=self._session.reads.better, evaluator=evaluator)

    def border(self, search: int | None = None) -> pd.DataFrame:
        """The searched ranges at whose end the best trials lie, so that a better value may lie beyond.

        search: its number, by default the last one. One row a range: hyperparameter, side, best, low, high, and wider_low,
        wider_high: the range to search next.
        """
        found = self._session.reads.border(search)
        columns = ["hyperparameter", "side", "best", "low", "high", "wider_low", "wider_high"]
        rows = [(b.name, b.side, b.best, b.domain.low, b.domain.high, b.wider.low, b.wider.high) for b in found]
        return pd.DataFrame(rows, columns=columns)

    def plot(
        self, kind: str = "parallel", *names: str, search: int | None = None, trials: Sequence[int] | None = None
    ) -> NotebookFigure:
        """A matplotlib figure over many trials: "parallel" coordinates, "scatter" of two hyperparameters, "slices",
        "importance".

        names: the hyperparameters, by default those that vary. search, trials: which trials, by default all on this task.
        Raises: ConfigError for an unknown kind or name; RunError when there is nothing to draw.
        """
        return self._session.reads.plot(kind, names, search, trials)

    def curves(self, *trials: int) -> pd.DataFrame:
        """Learning curves, one row an epoch, of the given trials or of all."""
        return self._session.log.curves(*trials)

    def events(self, *trials: int) -> pd.DataFrame:
        """What happened beside the epochs: live changes, pauses, remarks."""
        return self._session.log.events(*trials)

    def config(self, trial: int) -> Config:
        """The Config a trial started with. Raises: LogError for an unknown trial; ConfigError naming what is not registered."""
        trial = whole("trial", trial)
        return logged_config(trial, self._session.log.config(trial))

    def code(self, trial: int) -> str:
        """A Python script that stands by itself and does this trial again: its task, its setting, its live changes, and, of a
        branch, the path that leads to it. Raises: LogError for an unknown trial; RunError for one on another task."""
        return script(self._session, whole("trial", trial))

    def tree(self, trial: int | None = None) -> Tree:
        """The branches on this task as a tree, or the tree that a trial belongs to; `tree().frame` has one row a branch."""
        return tree(self._session, None if trial is None else whole("trial", trial))

    def model(self, trial: int, epoch: int | None = None) -> TrainedModel:
        """A trial's `nn.Module` with its best weights (lowest validation loss), or those after an epoch, ready to predict.

        What no snapshot holds is trained again first, in silence, from the snapshot before. Raises: LogError for an unknown
        trial; RunError for one without a finished epoch, on another task, or for an epoch it does not have;
        CheckpointError if the snapshot that is needed is damaged.
        """
        trial = whole("trial", trial)
        run = self._session.run_of(trial)
        at_hand = None if run is None or epoch is not None else run.weights_of(trial)
        return self._session.recall.model(trial, epoch, at_hand)

    def predict(self, trial: int, X: Any) -> NDArray[Any]:
        """The answers of a trial's best model for raw rows, like those that the task was made from: labels (rows,), or numbers
        (rows, outputs) in the target's units. Raises: as `model`; TaskError for rows of another kind."""
        return self.model(trial).predict(X)

    def save(self, trial: int, path: str | Path, *, epoch: int | None = None) -> Path:
        """Write a trial's model into one safe file, for `wb.load_model(path)`: weights, setting, preprocessing, versions.

        Returns its path. Raises: as `model`; CheckpointError if it cannot be written, or the preprocessing not be kept.
        """
        from workbench.trained import save_model

        return save_model(self.model(trial, epoch), path)

    @property
    def snapshots(self) -> SnapshotStore:
        """The snapshots of this log: `budget` in bytes, `used`, `folder`."""
        return self._session.snapshots

    @property
    def bin(self) -> pd.DataFrame:
        """The deleted trials, one row each; `bench.restore()` brings them back, `bench.empty_bin()` removes them for good."""
        return self._session.log.bin()

    def figure(self, *trials: int) -> NotebookFigure:
        """Learning curves as a matplotlib figure, of the given trials or of the last run. Raises: RunError without any."""
        shown = [[trial] for trial in trials] or self._session.reads.seeds_together(self._session.last_trials())
        if not shown:
            raise RunError("there is no trial to draw yet; train one with bench.run(wb.Config())")
        return self._session.reads.figure(shown)

    @property
    def selected(self) -> list[int]:
        """The trials whose rows are selected in the table."""
        return list(self._session.selected)

    @property
    def active(self) -> list[Run]:
        """The run that trains now and those that wait for it."""
        return self._session.runner.runs
