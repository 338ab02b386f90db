"""Refits: trials that were trained again on the training and validation rows, without a validation score."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch

from workbench.core.config import Config
from workbench.core.errors import RunError
from workbench.log import TrialLog
from workbench.models import build_model
from workbench.runs.catcher import Catcher
from workbench.tasks.merged import merged
from workbench.training import Change, FixedLength, Origin, Trained, Training, plateau_drops
from workbench.training.devices import fitting_threads
from workbench.training.stages import rows_per_epoch

if TYPE_CHECKING:
    import pandas as pd

    from workbench.tasks import Task

__all__ = ["SOURCE", "Refits"]

SOURCE = "refit"
"""The source of such trials in the log. They stand under the task of the trial that they repeat, which is their parent."""


class Refits:
    """Of one task's log: which trials are refits, what they were trained on, from where and for how long.

    check_code: raises if a trial cannot be trained again by the code that is registered now.
    """

    def __init__(self, task: Task, log: TrialLog, check_code: Callable[[int], object]) -> None:
        self.task, self._log, self._check_code = task, log, check_code
        self._merged: Task | None = None

    def includes(self, trial: int) -> bool:
        """Whether a trial is a refit. Raises: LogError for an unknown trial."""
        return self._log.record(trial).source == SOURCE

    @property
    def merged(self) -> Task:
        """The task that refits are trained on: this one with its validation rows among the training rows. Made once.

        Raises: TaskError as `tasks.merged.merged`.
        """
        if self._merged is None:
            self._merged = merged(self.task)
        return self._merged

    def task_of(self, trial: int) -> Task:
        """The task that a trial was trained on: `merged` for a refit, else this one."""
        return self.merged if self.includes(trial) else self.task

    def length_of(self, trial: int) -> FixedLength | None:
        """How long a refit trains; None for any other trial."""
        record = self._log.record(trial)
        if record.source != SOURCE or record.parent is None or record.parent_epoch is None:
            return None
        return self.length_until(record.parent, record.parent_epoch)

    def length_until(self, trial: int, epoch: int) -> FixedLength:
        """The length of a training that repeats a trial up to an epoch, with the drops of its plateau schedule."""
        path = []
        until, one = epoch, trial
        while True:
            curve = self._log.curves(one)
            values = curve.loc[curve["epoch"] <= until, "monitored"].tolist()
            steps = _steps_per_epoch(curve)
            set_in = {step // steps + 1 for step, name, _ in self._log.history.changes(one) if name == "learning_rate"}
            record = self._log.record(one)
            path.append((Config(**record.config), record.monitor, values, set_in))
            origin = self._log.history.origin(one)
            if origin is None:
                return FixedLength(epoch, plateau_drops(path[::-1]))
            one, until = origin

    def changes_until(self, trial: int, epoch: int, config: Config) -> list[Change]:
        """The live changes of a trial before the end of an epoch, at the same share of the same epoch of a refit, which has more
        steps in an epoch. config: as the trial began."""
        curve = self._log.curves(trial)
        before = _steps_per_epoch(curve)
        rows = rows_per_epoch(len(self.merged.train), build_model(self.merged, config), config)
        now = math.ceil(rows / config.batch_size)
        changes = [Change(*change) for change in self._log.history.changes(trial)]
        return [
            change._replace(step=change.step // before * now + change.step % before * now // before)
            for change in changes
            if change.step < before * epoch
        ]

    def origin_of(self, trial: int) -> Origin | None:
        """Where a refit of a branch begins, called when it is needed; None for any other trial."""
        record = self._log.record(trial)
        return self.origin_for(record.parent) if record.source == SOURCE and record.parent is not None else None

    def origin_for(self, trial: int) -> Origin | None:
        """Where a refit of this trial begins, if it is a branch: the path to it, trained on `merged`. Else None."""
        origin = self._log.history.origin(trial)
        return None if origin is None else partial(self._trained_until, *origin)

    def _trained_until(self, trial: int, epoch: int) -> Trained:
        """Train a trial up to an epoch on `merged`, without a record."""
        self._check_code(trial)
        record = self._log.record(trial)
        config, device, begin = Config(**record.config), torch.device(record.device), self.origin_for(trial)
        catcher = Catcher(epoch)
        training = Training(
            self.merged, {trial: config}, device=device, around=partial(fitting_threads, device), keeper=catcher,
            origins={} if begin is None else {trial: begin}, fixed=self.length_until(trial, epoch),
            changes={trial: self.changes_until(trial, epoch, config)},
        )  # fmt: skip
        return catcher.row(training, trial)

    def check_measured(self, trial: int, call: str) -> None:
        """Raises RunError for a refit. call: what was asked of it, such as "a branch"."""
        record = self._log.record(trial)
        if record.source == SOURCE:
            raise RunError(
                f"trial {trial} is a refit of trial {record.parent}: it was trained on the validation rows as well, and {call} "
                f"needs rows that it has not seen; use trial {record.parent}"
            )


def _steps_per_epoch(curve: pd.DataFrame) -> int:
    """Optimizer steps in an epoch of a trial, by its curve; a branch counts those of its path as its own."""
    return int(curve["step"].iloc[0]) // int(curve["epoch"].iloc[0])
