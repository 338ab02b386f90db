"""What is read of a log on one task: tables, figures and sentences. Writes nothing, trains nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.core.config import HYPERPARAMETERS, Config, unread
from workbench.core.direction import best_first, better_of
from workbench.core.domains import IntRange
from workbench.core.errors import ConfigError, Problem, RunError, WorkbenchError, did_you_mean
from workbench.core.events import ENDED, TrialState
from workbench.core.registry import MODELS
from workbench.core.space import Space
from workbench.log import UNRANKED, TrialLog
from workbench.log.openings import KIND, openings, unseen
from workbench.methods.comparison.cost import complexity, own_seconds
from workbench.methods.comparison.cost_figure import complexity_panels
from workbench.methods.comparison.figure import importance_bars, parallel_coordinates, scatter, slices
from workbench.methods.comparison.fold_test import compared_by_folds
from workbench.methods.comparison.importance import importance, varied
from workbench.methods.comparison.leaderboard import SIGNIFICANT, leaderboard, with_ensembles
from workbench.methods.comparison.range_edges import RangeEdge, range_edges
from workbench.models import Backbone, Source, build_model, count_parameters
from workbench.ui.figures import NotebookFigure
from workbench.ui.task_log import TABLE_TRIALS, TaskLog

if TYPE_CHECKING:
    from workbench.runs.session import Session
    from workbench.tasks import Task

__all__ = ["Reads", "listed_searches"]

TRAINED = ENDED - {TrialState.FAILED, TrialState.DIVERGED}
"""Final states whose weights can be trained further."""


class Reads(TaskLog):
    """The log as seen from one task, with what compares its trials."""

    def __init__(self, task: Task, log: TrialLog) -> None:
        super().__init__(task, log)
        self._counts: dict[Any, float] = {}

    @classmethod
    def of(cls, session: Session) -> Reads:
        """The log of a session, as seen from its task."""
        return cls(session.task, session.log)

    def trials_of(
        self, search: int | None, trials: Sequence[int] | None = None, last: int | None = None
    ) -> pd.DataFrame:
        """The trials on this task, of one search, those of the given numbers, of the newest."""
        frame = self.trials(last=last)
        frame = frame[frame["source"] != "refit"]  # without a validation score there is nothing to compare
        if search is not None:
            frame = frame[frame["search"] == self._origin(search)]
        return frame if trials is None else frame[frame["trial"].isin(list(trials))]

    def _origin(self, search: int) -> int:
        """The search under whose number the trials of one are: of one that continues another, the other's."""
        frame = self.log.searches.table()
        found = frame.loc[frame["search"] == search, "continues"].dropna()
        return search if found.empty else int(found.iloc[0])

    def leaderboard(self, top: int | None) -> pd.DataFrame:
        scores = self.log.results.scores(self.task.fingerprint, self.task.metric)
        return self.ranked(scores, self.task.metric, top=top)

    def ranked(
        self, scores: pd.DataFrame, metric: str, *, top: int | None = None, reference: str | None = None
    ) -> pd.DataFrame:
        """The leaderboard by one of the task's metrics; under a cross-validation with what the folds say.

        scores: as `log.results.scores` returns them. reference: see `leaderboard`.
        """
        board = leaderboard(scores, better=better_of(metric), top=top, reference=reference)
        if self.task.folds is None or board.empty:
            return board
        shown = scores[scores["configuration"].isin(board["configuration"])]
        folds = self._fold_scores(shown, metric)
        return compared_by_folds(board, shown, folds, self.task.folds.ratio, SIGNIFICANT, reference)

    def _fold_scores(self, scores: pd.DataFrame, metric: str) -> pd.DataFrame:
        """A metric of each fold at the trial's best epoch: trial, fold and score."""
        trials = [int(trial) for trial in scores["trial"]]
        epochs = self.log.history.folds(*trials)
        best = {trial: end.best_epoch for trial, end in self.log.history.ends(*trials).items()}
        at_best = epochs[epochs["epoch"] == epochs["trial"].map(best)]
        return at_best.rename(columns={f"val_{metric}": "score"}).reindex(columns=["trial", "fold", "score"])

    def leaderboard_with_configurations(self, top: int | None) -> pd.DataFrame:
        """The leaderboard with the hyperparameters in which its configurations differ."""
        board = self.leaderboard(top)
        tested = self._tested(dict(zip(board["configuration"], board["trial"], strict=True)))
        records = self.log.records([int(trial) for trial in board["trial"]])
        read = [_read(records[int(trial)].config) for trial in board["trial"]]
        configurations = pd.DataFrame(read, index=board.index)
        whole = [
            name for name, one in HYPERPARAMETERS.items() if isinstance(one.domain, IntRange) and name in configurations
        ]
        configurations = configurations.astype(dict.fromkeys(whole, "Int64"))  # also where a model reads none
        names = [name for name in configurations if name != "seed" and _differs(name, read)]
        board, configurations = board.drop(columns="configuration"), configurations[names]
        found = self.ensembles()
        found = found[found["complete"] & (found["metric"] == self.task.metric) & found["score"].notna()]
        if found.empty:
            return pd.concat([_stamped(board, tested), configurations], axis=1)
        both = with_ensembles(board, found.rename(columns={"score": "mean"}), better=self.better)
        # whole numbers and truth values keep their type next to rows that have none
        kinds = {"i": "Int64", "b": "boolean"}
        configurations = configurations.astype(
            {name: kinds.get(kind.kind, kind) for name, kind in configurations.dtypes.items()}
        )
        configurations = (
            configurations.set_index(board["trial"].astype("Int64")).reindex(both["trial"]).set_axis(both.index)
        )
        return pd.concat([_stamped(both, tested), configurations], axis=1).head(len(both) if top is None else top)

    def _tested(self, firsts: Mapping[str, int]) -> dict[tuple[str, int], tuple[float, str]]:
        """The last test score with its stamp, by ("trial", the configuration's first) and ("ensemble", number).

        firsts: the first trial by configuration; a configuration's score is that of whichever of its trials was opened last.
        """
        opened = openings(self.log.findings(KIND))
        if not opened:
            return {}
        scores = self.log.results.scores(self.task.fingerprint, self.task.metric)
        pairs = zip(scores["trial"], scores["configuration"], strict=True)
        first = {int(trial): int(firsts[configuration]) for trial, configuration in pairs if configuration in firsts}
        found: dict[tuple[str, int], tuple[float, str]] = {}
        for opening in opened:
            data = opening.finding.data
            kind = "ensemble" if data["trial"] is None else "trial"
            number = data["ensemble"] if data["trial"] is None else first.get(data["trial"])
            if number is not None:
                found[kind, int(number)] = (float(data["score"]), opening.stamp)
        return found

    def unseen_test_rows(self) -> int:
        """How many rows of the task's test split no opening in the log has seen."""
        return int(unseen(self.task.row_keys["test"], openings(self.log.findings(KIND))).sum())

    def origins(self, top: int) -> pd.DataFrame:
        """The trials to start a fine-tuning from: of each task its `top` best ones, those on this task first.

        Columns: trial, task, own (whether it is this one), metric, best_val_metric. Looked for among the log's newest
        `TABLE_TRIALS` trials, of whatever task; this task's best is among them, however old it is.
        """
        newest = self.log.trials(last=TABLE_TRIALS)
        best = self.log.results.best(self.task.fingerprint, self.task.metric, self.better)
        if best is not None and best["trial"] not in set(newest["trial"]):
            row = {"task": self.task.name, "task_fingerprint": self.task.fingerprint, "metric": self.task.metric}
            row |= {"trial": best["trial"], "best_val_metric": best["best_val_metric"]}
            row["state"] = self.log.state(best["trial"])
            newest = pd.concat([pd.DataFrame([row]), newest], ignore_index=True)
        usable = newest["state"].isin(TRAINED) & np.isfinite(newest["best_val_metric"].astype(float))
        newest = newest[usable & ~newest["source"].isin(UNRANKED)]
        newest = newest.assign(own=newest["task_fingerprint"] == self.task.fingerprint)
        found = [newest.iloc[:0]]
        for (_, metric), group in newest.groupby(["task_fingerprint", "metric"], sort=False):
            found.append(best_first(group, "best_val_metric", better_of(str(metric))).head(top))
        columns = ["trial", "task", "own", "metric", "best_val_metric"]
        table = pd.concat(found)[columns].astype({"trial": int, "own": bool})
        return table.sort_values("own", ascending=False, kind="stable", ignore_index=True)

    def layer_groups(self, trial: int) -> list[str]:
        """The groups of layers that can be frozen in a trial's model, from the input on; none if they are unknown here.

        A trial on another task is taken for one on this task's inputs, without which it cannot be fine-tuned here.
        """
        values = self.log.record(trial).config
        if values["model"] not in MODELS:
            return []
        try:
            config = Config(**values)
            module = build_model(self.task, config)
            source = Source.of_module("probe", "", trial, module, config, self.task)
            return [group.description for group in Backbone("probe", source.make).groups]
        except WorkbenchError:
            return []

    def ensembles(self) -> pd.DataFrame:
        """One row an ensemble on this task, in the order they were made; see `Workbench.ensembles`."""
        tested = self._tested({})
        names = ("metric", "score", "corrected", "optimism", "low", "high", "gain", "gain_low", "gain_high")
        rows = []
        found = self.log.findings("ensemble")
        kept = self.log.trash.outside(int(member["trial"]) for one in found for member in one.data["members"])
        for number, one in enumerate(found, 1):
            if one.task_fingerprint == self.task.fingerprint:
                facts = one.data["facts"]
                members = [member for member in one.data["members"] if member["fold"] in (None, 1)]  # each trial once
                trials = tuple(int(member["trial"]) for member in members)
                row = {"ensemble": number, "name": facts["name"], "select": facts["select"], "trials": trials}
                row |= {"votes": tuple(int(member["votes"]) for member in members)}
                row |= {name: facts[name] for name in names} | {"how": facts["how"], "note": facts["note"]}
                row |= {"complete": kept.issuperset(trials), "created": one.created}
                row["test_metric"], row["test_set"] = tested.get(("ensemble", number), (math.nan, ""))
                rows.append(row)
        columns = ["ensemble", "name", "select", "trials", "votes", *names, "how", "note", "complete", "created"]
        columns += ["test_metric", "test_set"]
        frame = pd.DataFrame(rows, columns=columns).astype({"ensemble": int, "complete": bool})
        frame = frame.astype(dict.fromkeys((*names[1:], "test_metric"), float))
        frame["created"] = pd.to_datetime(frame["created"], format="ISO8601", utc=True)
        return frame

    def seeds_of(self, configurations: Sequence[str]) -> dict[str, set[int]]:
        """The seeds that each of some configurations was tried with."""
        scores = self.log.results.scores(self.task.fingerprint, self.task.metric)
        scores = scores[scores["configuration"].isin(list(configurations))]
        records = self.log.records([int(trial) for trial in scores["trial"]])
        found: dict[str, set[int]] = {configuration: set() for configuration in configurations}
        for trial, configuration in zip(scores["trial"], scores["configuration"], strict=True):
            found[configuration].add(int(records[int(trial)].config["seed"]))
        return found

    def range_edges(self, search: int | None) -> list[RangeEdge]:
        """Ranges of a search, by default the last one with a space, whose best configurations lie at an end."""
        frame = self.log.searches.table()
        if frame.empty:
            return []
        frame = frame[(frame["task_fingerprint"] == self.task.fingerprint) & frame["space"].notna()]
        rows = frame if search is None else frame[frame["search"] == search]
        if rows.empty:
            return []
        row = rows.iloc[-1]
        space = Space.from_json(json.dumps(row["space"]), Config(**row["base"]))
        return range_edges(self.trials_of(int(row["search"])), space, better=self.better)

    def plot(self, kind: str, names: Sequence[str], search: int | None, trials: Sequence[int] | None) -> NotebookFigure:
        frame = self.trials_of(search, trials)
        if kind == "complexity":
            table = self.complexity(frame)
            if not np.isfinite(table["best_val_metric"].astype(float)).any():
                raise RunError("there is no trial with a finished epoch to draw; train one with bench.run(wb.Config())")
            return complexity_panels(table, metric_label=self.metric_label, better=self.better)
        chosen = list(names) or varied(frame, conditional=True)
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
        kinds = ("parallel", "scatter", "slices", "importance", "complexity")
        raise ConfigError([Problem("kind", kind, f"kind={kind!r}: unknown{did_you_mean(kind, kinds)}")])

    def complexity(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """What the trials on this task cost and reached; see `Workbench.complexity`. frame: these trials only."""
        frame = self.trials() if frame is None else frame
        frame = frame[~frame["source"].isin(UNRANKED) & (frame["metric"] == self.task.metric)]
        trials = [int(trial) for trial in frame["trial"]]
        seconds = own_seconds(self.log.curves(*trials), self.log.history.cohorts(*trials)) if trials else {}
        records = self.log.records(trials)
        parameters = {trial: self._parameters(records[trial].config) for trial in trials}
        return complexity(frame, seconds, parameters, better=self.better)

    def _parameters(self, values: Mapping[str, Any]) -> float:
        """How many parameters a configuration's model trains; NaN if its model is not known here or cannot be built."""
        if values["model"] not in MODELS:
            return math.nan
        read = (values["model"], *((name, values.get(name)) for name in sorted(MODELS[values["model"]].uses)))
        if read not in self._counts:
            try:
                self._counts[read] = float(count_parameters(build_model(self.task, Config(**values))))
            except WorkbenchError:
                self._counts[read] = math.nan
        return self._counts[read]


# ----------------------------------------------------------------------------------------------------------------------


def _stamped(board: pd.DataFrame, tested: Mapping[tuple[str, int], tuple[float, str]]) -> pd.DataFrame:
    """A leaderboard with the test scores of what was opened and their stamps, if any of it stands there."""
    numbers = [("trial", board["trial"]), *([("ensemble", board["ensemble"])] if "ensemble" in board else [])]
    metrics, stamps = [math.nan] * len(board), [""] * len(board)
    for kind, column in numbers:
        for place, number in enumerate(column):
            if not pd.isna(number) and (kind, int(number)) in tested:
                metrics[place], stamps[place] = tested[kind, int(number)]
    if not any(stamps):
        return board
    board = board.copy()
    board.insert(board.columns.get_loc("tied"), "test_metric", metrics)
    board.insert(board.columns.get_loc("tied"), "test_set", stamps)
    return board


def _read(config: Mapping[str, Any]) -> dict[str, Any]:
    """A logged configuration without what its choices do not read."""
    left_out = unread(config)
    return {name: value for name, value in config.items() if name not in left_out}


def _differs(name: str, configs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the configurations that have a hyperparameter have several values of it."""
    return len({repr(config[name]) for config in configs if name in config}) > 1


def listed_searches(reads: Reads) -> list[tuple[str, int, bool, bool]]:
    """Of each search on the task: label, number, whether it continues no other, whether it has a space (a search has)."""
    searches = reads.log.searches.table()
    if len(searches):
        searches = searches[searches["task_fingerprint"] == reads.task.fingerprint]
    return [
        (f"search {row.search} ({row.strategy})", int(row.search), pd.isna(row.continues), row.space is not None)
        for row in searches.itertuples(index=False)
    ]
