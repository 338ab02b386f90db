"""Refits: trials that were trained again on the training and validation rows, without a validation score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.core.config import Config
from workbench.core.errors import RunError
from workbench.log import TrialLog
from workbench.tasks.merged import merged
from workbench.training import FixedLength, plateau_drops

if TYPE_CHECKING:
    from workbench.tasks import Task

__all__ = ["SOURCE", "Refits"]

SOURCE = "refit"
"""The source of such trials in the log. They stand under the task of the trial that they repeat, which is their parent."""


class Refits:
    """Reads of one task's log: which trials are refits, what they were trained on, and for how long."""

    def __init__(self, task: Task, log: TrialLog) -> None:
        self.task, self._log = task, log
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
        curve = self._log.curves(trial)
        losses = curve.loc[curve["epoch"] <= epoch, "val_loss"]
        return FixedLength(epoch, plateau_drops(Config(**self._log.record(trial).config), losses))

    def check_measured(self, trial: int, call: str) -> None:
        """Raises RunError for a refit. call: what was asked of it, such as "a branch"."""
        record = self._log.record(trial)
        if record.source == SOURCE:
            raise RunError(
                f"trial {trial} is a refit of trial {record.parent}: it was trained on the validation rows as well, and {call} "
                f"needs rows that it has not seen; use trial {record.parent}"
            )
