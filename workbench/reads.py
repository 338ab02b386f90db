"""What is read of a log on one task: tables, figures and sentences. Writes nothing, trains nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.analysis import Border, border, importance, leaderboard, varied
from workbench.errors import ConfigError, Problem, RunError, did_you_mean
from workbench.figures import (
    NotebookFigure,
    importance_bars,
    learning_curves,
    parallel_coordinates,
    scatter,
    slices,
)
from workbench.hyperparameters import Config
from workbench.log import TrialLog
from workbench.registry import LOSSES, METRICS
from workbench.search import Space
from workbench.training import resolve_loss

if TYPE_CHECKING:
    from workbench.tasks import Task

__all__ = ["Reads"]


class Reads:
    """The log as seen from one task."""

    def __init__(self, task: Task, log: TrialLog) -> None:
        self.task, self.log = task, log

    def trials(self, last: int | None = None) -> pd.DataFrame:
        """The log's trials on this very task: scores on other data cannot be compared with theirs. last: the newest only."""
        return self.log.trials(task_fingerprint=self.task.fingerprint, last=last)

    def seeds_together(self, trials: Sequence[int]) -> list[list[int]]:
        """Trials by setting: the seeds of one are drawn as mean and band."""
        groups: dict[str, list[int]] = {}
        for trial, config in self.log.configs(trials).items():
            groups.setdefault(json.dumps({**config, "seed": 0}, sort_keys=True), []).append(trial)
        return list(groups.values())

    @property
    def better(self) -> Any:
        """Which way the task's metric goes."""
        return METRICS[self.task.metric].value.better

    @property
    def metric_label(self) -> str:
        return f"validation {METRICS[self.task.metric].label.lower()}"

    def trials_of(
        self, search: int | None, trials: Sequence[int] | None = None, last: int | None = None
    ) -> pd.DataFrame:
        """The trials on this task, of one search, those of the given numbers, of the newest."""
        frame = self.trials(last=last)
        if search is not None:
            frame = frame[frame["search"] == search]
        return frame if trials is None else frame[frame["trial"].isin(list(trials))]

    def leaderboard(self, top: int | None) -> pd.DataFrame:
        scores = self.log.scores(self.task.fingerprint, self.task.metric)
        return leaderboard(scores, better=self.better, top=top)

    def leaderboard_with_settings(self, top: int | None) -> pd.DataFrame:
        """The leaderboard with the hyperparameters in which its settings differ."""
        board = self.leaderboard(top)
        configs = self.log.configs([int(trial) for trial in board["trial"]])
        settings = pd.DataFrame([configs[int(trial)] for trial in board["trial"]], index=board.index)
        names = [name for name in settings if name != "seed" and settings[name].nunique(dropna=False) > 1]
        return pd.concat([board.drop(columns="setting"), settings[names]], axis=1)

    def seeds_of(self, settings: Sequence[str]) -> dict[str, set[int]]:
        """The seeds that each of some settings was tried with."""
        scores = self.log.scores(self.task.fingerprint, self.task.metric)
        scores = scores[scores["setting"].isin(list(settings))]
        configs = self.log.configs([int(trial) for trial in scores["trial"]])
        found: dict[str, set[int]] = {setting: set() for setting in settings}
        for trial, setting in zip(scores["trial"], scores["setting"], strict=True):
            found[setting].add(int(configs[int(trial)]["seed"]))
        return found

    def border(self, search: int | None) -> list[Border]:
        """Ranges of a search, by default the last one with a space, whose best settings lie at an end."""
        frame = self.log.searches()
        if frame.empty:
            return []
        frame = frame[(frame["task_fingerprint"] == self.task.fingerprint) & frame["space"].notna()]
        rows = frame if search is None else frame[frame["search"] == search]
        if rows.empty:
            return []
        row = rows.iloc[-1]
        origin = int(row["search"] if pd.isna(row["continues"]) else row["continues"])
        space = Space.from_json(json.dumps(row["space"]), Config(**row["base"]))
        return border(self.trials_of(origin), space, better=self.better)

    def plot(self, kind: str, names: Sequence[str], search: int | None, trials: Sequence[int] | None) -> NotebookFigure:
        frame = self.trials_of(search, trials)
        chosen = list(names) or varied(frame)
        for name in chosen:
            if name not in frame:
                message = f"unknown hyperparameter {name!r}{did_you_mean(name, frame.columns)}"
                raise ConfigError([Problem("names", name, message)])
        if frame["best_val_metric"].notna().sum() < 2 or not chosen:
            raise RunError("there are no trials that differ in a hyperparameter; run a search first")
        options: dict[str, Any] = {"metric_label": self.metric_label, "better": self.better}
        if kind == "parallel":
            return parallel_coordinates(frame, chosen, **options)
        if kind == "slices":
            return slices(frame, chosen, **options)
        if kind == "importance":
            return importance_bars(importance(frame, better=self.better, names=list(names) or None))
        if kind == "scatter":
            if len(chosen) < 2:
                raise ConfigError(
                    [Problem("names", chosen, "a scatter needs two hyperparameters: plot('scatter', x, y)")]
                )
            return scatter(frame, chosen[0], chosen[1], **options)
        kinds = ("parallel", "scatter", "slices", "importance")
        raise ConfigError([Problem("kind", kind, f"kind={kind!r}: unknown{did_you_mean(kind, kinds)}")])

    def roots(self, trials: Sequence[int]) -> pd.DataFrame:
        """Where the branches among some trials begin: columns as in the curves, of the parent at that epoch, and `parent`."""
        table = self.log.branches(self.task.fingerprint)
        table = table[table["trial"].isin(list(trials))]
        parents = sorted({int(parent) for parent in table["parent"]})
        curves = self.log.curves(*parents) if parents else self.log.curves(*list(trials)[:1]).iloc[:0]
        keys = table.rename(columns={"trial": "branch", "parent": "trial"})[["branch", "trial", "epoch"]]
        found = keys.merge(curves, on=["trial", "epoch"])
        return found.rename(columns={"trial": "parent", "branch": "trial"})

    def curves(self, *trials: int) -> pd.DataFrame:
        """The curves of some trials as they are drawn: a branch from its parent's point."""
        own, roots = self.log.curves(*trials), self.roots(trials)
        if roots.empty:
            return own
        joined = pd.concat([roots[own.columns], own], ignore_index=True)
        return joined.sort_values(["trial", "epoch"], ignore_index=True)

    def figure(self, groups: Sequence[Sequence[int]]) -> NotebookFigure:
        curves = self.curves(*[trial for group in groups for trial in group])
        metric = METRICS[self.task.metric].label
        loss = LOSSES[resolve_loss(Config(), self.task.kind).loss].label
        return learning_curves(curves, groups, loss_label=loss.lower(), metric_label=f"validation {metric.lower()}")

    def summary(self) -> str:
        """The log in one line."""
        count = self.log.count(self.task.fingerprint)
        if not count:
            return "no trial yet"
        line = f"{count} trial{'s' * (count != 1)}"
        best = self.log.best(self.task.fingerprint, self.task.metric, self.better)
        if best is not None:
            label = METRICS[self.task.metric].label.lower()
            line += f", best trial {best['trial']} "
            line += f"with validation {label} {best['best_val_metric']:.3f} at epoch {best['best_epoch']}"
        return line
