"""The log as seen from one task: its trials, their curves as they are drawn, and a summary. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.core.config import Config
from workbench.core.direction import better_of, selected_by
from workbench.core.registry import LOSSES, METRICS
from workbench.core.text import counted, in_sentence, rounded
from workbench.log import TrialLog
from workbench.training import resolve_loss
from workbench.ui.figures import NotebookFigure, learning_curves

if TYPE_CHECKING:
    from workbench.tasks import Task

__all__ = ["TABLE_TRIALS", "TaskLog"]

TABLE_TRIALS = 2000
"""The views show at most so many of the newest trials; `bench.trials` has all."""


class TaskLog:
    """The log as seen from one task."""

    def __init__(self, task: Task, log: TrialLog) -> None:
        self.task, self.log = task, log

    def trials(self, last: int | None = None) -> pd.DataFrame:
        """The trials on this task; scores on other data are not comparable. last: only so many of the newest."""
        return self.log.trials(task_fingerprint=self.task.fingerprint, last=last)

    def seeds_together(self, trials: Sequence[int]) -> list[list[int]]:
        """Trials grouped by configuration: its seeds are drawn as mean and band. Refits, on other rows, are by themselves."""
        groups: dict[str, list[int]] = {}
        for trial, record in self.log.records(trials).items():
            key = json.dumps({**record.config, "seed": 0}, sort_keys=True) + " refit" * (record.source == "refit")
            groups.setdefault(key, []).append(trial)
        return list(groups.values())

    @property
    def better(self) -> Any:
        """Which way the task's metric goes."""
        return better_of(self.task.metric)

    @property
    def metric_label(self) -> str:
        return f"validation {in_sentence(METRICS[self.task.metric].label)}{self.of_folds}"

    @property
    def of_folds(self) -> str:
        """What scores are under a cross-validation, in parentheses; "" without one."""
        return "" if self.task.folds is None else f" (mean of {len(self.task.folds)} folds)"

    def roots(self, trials: Sequence[int]) -> pd.DataFrame:
        """The points where the branches among some trials begin, one row a branch.

        Columns: as in the curves, with the values of the parent at that epoch, and `parent`.
        """
        table = self.log.history.branches(self.task.fingerprint)
        table = table[table["trial"].isin(list(trials))]
        if table.empty:  # the common case
            return table
        curves = self.log.curves(*sorted({int(parent) for parent in table["parent"]}))
        keys = table.rename(columns={"trial": "branch", "parent": "trial"})[["branch", "trial", "epoch"]]
        found = keys.merge(curves, on=["trial", "epoch"])
        return found.rename(columns={"trial": "parent", "branch": "trial"})

    def curves(self, *trials: int) -> pd.DataFrame:
        """The curves of some trials as they are drawn: a branch begins at its parent's point."""
        own, roots = self.log.curves(*trials), self.roots(trials)
        if roots.empty:
            return own
        joined = pd.concat([roots[own.columns], own], ignore_index=True)
        return joined.sort_values(["trial", "epoch"], ignore_index=True)

    def figure(self, groups: Sequence[Sequence[int]]) -> NotebookFigure:
        curves = self.curves(*[trial for group in groups for trial in group])
        loss = LOSSES[resolve_loss(Config(), self.task.kind).loss].label
        return learning_curves(curves, groups, loss_label=in_sentence(loss), metric_label=self.metric_label)

    def summary(self) -> str:
        """The log in one line."""
        count = self.log.results.count(self.task.fingerprint)
        if not count:
            return "no trial yet"
        line = counted(count, "trial")
        trial, score = self.best()
        if trial is not None:
            line += f", best trial {trial} with validation {score}"
        return line

    def best(self) -> tuple[int | None, str]:
        """The best ended trial on the task, None if there is none, and its score in words: "accuracy 0.967 at epoch 6
        (lowest validation loss)"."""
        best = self.log.results.best(self.task.fingerprint, self.task.metric, self.better)
        if best is None:
            return None, ""
        score = f"{self.metric_label.removeprefix('validation ')} {rounded(best['best_val_metric'])}"
        return int(best["trial"]), f"{score} at epoch {best['best_epoch']} ({selected_by(self.task.monitor)})"
