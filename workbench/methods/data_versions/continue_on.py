"""Continuous improvement: the best configurations on a new version of the task, their old models measured and new
ones trained."""

from __future__ import annotations

import html
import math
import time
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from workbench.core.config import Config
from workbench.core.direction import Better, best_first, better_of, is_better
from workbench.core.errors import ModelError, TaskError, WorkbenchError
from workbench.core.events import ENDED
from workbench.core.registry import METRICS
from workbench.core.text import counted, in_sentence
from workbench.methods.comparison.reads import Reads
from workbench.methods.data_versions.drift import drift
from workbench.methods.data_versions.figure import configuration_changes, drift_bars
from workbench.methods.data_versions.score_change import Change, score_change
from workbench.methods.data_versions.versions import CHANGES, number_of, plain, plain_value, typed
from workbench.methods.ensembles.build import nothing_to_choose
from workbench.metrics.evaluation import evaluate_metric
from workbench.metrics.predictions import loss_entry
from workbench.runs.job import Job
from workbench.runs.restore import logged_config
from workbench.runs.run import Run, Runs
from workbench.runs.session import Session
from workbench.tasks import Task
from workbench.training import cohort_key, prepare, resolve_loss
from workbench.training.losses import loss_of
from workbench.ui.figures import NotebookFigure

__all__ = ["Continuation", "continue_on"]

SOURCE = "continue"
SHOWN_COLUMNS = 50
"""Of so many columns, those that moved most, the log keeps the drift."""
POLL_SECONDS = 0.05
W = TypeVar("W")
"""What `Continuation.bench` is: a `Workbench`, which lies above this package."""
_going: weakref.WeakValueDictionary[tuple[Any, ...], Continuation[Any]] = weakref.WeakValueDictionary()


class Continuation(Job[pd.DataFrame], Generic[W]):
    """The best configurations of a task on its new version: `wait()`, `stop()`, `done`; can be awaited.

    task: the new version; version: its number in `bench.versions`. bench: a `Workbench` on it and the same log. runs: the
    training again. reruns: the new trials by the old one whose configuration they have. drift: one row a column,
    those that moved most
    first: the former training rows against the new rows (see `workbench.methods.data_versions.drift`).
    """

    def __init__(
        self,
        session: Session,
        former: Session,
        runs: Runs,
        reruns: Mapping[int, Sequence[int]],
        *,
        drift: pd.DataFrame,
        scores: Mapping[int, float],
        bench: W,
    ) -> None:
        super().__init__(self._work_on, name="continuation", pump=self._tick, news=self._wake)
        self.session, self.former, self.runs, self.drift = session, former, runs, drift
        self.reruns = {old: tuple(new) for old, new in reruns.items()}
        self.task, self.version, self.bench = session.task, number_of(session), bench
        assert self.task.former is not None
        self._before, self._scores = self.task.former, scores
        self._predictions: dict[int, Tensor] = {}
        self._table: pd.DataFrame | None = None

    @property
    def table(self) -> pd.DataFrame:
        """One row a configuration, in the order of the former leaderboard.

        trial: its best one on the former version; reruns: its new trials; score: on the former validation rows, by which it was
        chosen, and so flattered; old_model: what its old model scores on the new version's validation rows, with the old
        preprocessing; old_model_new_rows: on those of them that are new (NaN for none, or where it is no number there); rerun:
        the mean score of the new trials on the same rows, with low and high (95%); change: rerun - old_model, with its own
        interval; beyond_noise: whether that leaves out 0; verdict in words. How the intervals are found:
        `data_versions.score_change.score_change`; with one seed the noise of training is not in them. A regression's scores
        are in the units of the new version.
        Before the end: what is known so far.
        """
        return self._rows() if self._table is None else self._table.copy()

    def figure(self) -> NotebookFigure:
        """Of each configuration the score on the former version, its old model's on the new one, and that of training again."""
        return configuration_changes(self.table, **_labels(self.task))

    def drift_figure(self) -> NotebookFigure:
        """The columns that moved most, by how far."""
        return drift_bars(self.drift)

    def stop(self) -> None:
        """End the training after the step under way; what there is by then is compared."""
        super().stop()
        self.runs.stop()

    def __repr__(self) -> str:
        moved = self.drift.loc[self.drift["moved"], "column"].tolist()
        drifted = f"moved: {', '.join(map(str, moved[:5]))}{' ...' * (len(moved) > 5)}" if moved else "no column moved"
        state = "stopped" if self.done and self.stopped else "done" if self.done else "running"
        configurations = counted(len(self.reruns), "configuration")
        missing = self._before.missing
        left_out = f", {counted(missing, 'former row')} left out" if missing else ""
        return f"<Continuation of {self.task.name!r}, version {self.version}, {state}: {configurations}, {drifted}{left_out}>"

    def _repr_html_(self) -> str:
        table = self.table.drop(columns=["low", "high", "change_low", "change_high"])
        shown = self.drift.head(10).drop(columns=["old_rows", "new_rows"])
        parts = (table.to_html(index=False, float_format="%.4g"), shown.to_html(index=False, float_format="%.3g"))
        return f"<b>{html.escape(repr(self)[1:-1])}</b>{parts[0]}{parts[1]}"

    # --- in a thread of its own -------------------------------------------------------------------------------------

    def _work_on(self, job: Job[pd.DataFrame]) -> pd.DataFrame:
        trouble: WorkbenchError | None = None
        for trial in self.reruns:
            try:
                self._predictions[trial] = self._old_predictions(trial)
            except WorkbenchError as error:  # of one old model: the others, and the training, go on
                trouble = trouble or error
        while not self.runs.done:
            ended = sum(state in ENDED for run in self.runs for state in run.states.values())
            self.progress = ended / (len(self.runs.trials) + 1)
            time.sleep(POLL_SECONDS)
        self._table = table = self._rows(ended=True)
        data = {"former": self._before.fingerprint, "rows": plain(table)}
        self.session.log.add_finding("change", data, task_fingerprint=self.task.fingerprint)
        failed = next((run.error for run in self.runs if run.error is not None), trouble)
        if failed is not None:
            raise failed
        return table

    def _old_predictions(self, trial: int) -> Tensor:
        """An old model's predictions on the new validation rows; its score goes into the log.

        Its loss, too, is on targets as the new version transforms them, where the loss sees transformed ones.
        """
        model = self.former.recall.model(trial)
        outputs = model.outputs(self._before.validation)
        predictions = model.schema.predictions(outputs, model.config.loss)
        score, newest = self._scored(predictions)
        config, validation = resolve_loss(model.config, self.task.kind), self.task.validation
        entry = loss_entry(config.loss, self.task.kind)
        targets = validation.y if entry.transformed else validation.target.to(outputs.dtype)
        if self.task.kind == "regression" and entry.transformed and entry.width == 1:
            outputs = self.task.target.apply(predictions.numpy())
        loss = loss_of(config)[1](outputs, targets)
        data = {
            "trial": trial, "epoch": model.epoch, "of": self._before.fingerprint, "metric": self.task.metric, "score": score,
            "score_new_rows": newest, "loss": float(loss), "rows": len(targets),
        }  # fmt: skip
        values = {key: plain_value(value) for key, value in data.items()}
        self.session.log.add_finding("evaluation", values, task_fingerprint=self.task.fingerprint)
        return predictions

    def _scored(self, predictions: Tensor) -> tuple[float, float]:
        """The metric on all validation rows, and on those that are new; NaN where there are none."""
        targets, fresh = self.task.validation.target, torch.from_numpy(self._before.fresh)
        newest = math.nan
        if fresh.any():
            with suppress(ModelError):  # one of the user's may raise where a class is missing
                newest = evaluate_metric(self.task.metric, predictions[fresh], targets[fresh])
        return evaluate_metric(self.task.metric, predictions, targets), newest

    def _rows(self, ended: bool = False) -> pd.DataFrame:
        """The table as far as it is known. ended: whether the new trials are to be measured."""
        rows = []
        outputs = dict(self._predictions)
        for trial, reruns in self.reruns.items():
            row: dict[str, Any] = {"trial": trial, "reruns": reruns, "score": self._scores[trial], "seeds": len(reruns)}
            before = outputs.get(trial)
            if before is not None:
                row["old_model"], row["old_model_new_rows"] = self._scored(before)
            if before is not None and ended:
                after = [found for rerun in reruns if (found := self._new_predictions(rerun)) is not None]
                groups = None if self.task.groups is None else self.task.groups["validation"]
                change = score_change(self.task.metric, before, after, self.task.validation.target, groups)
                row |= {"rerun": change.after, "low": change.low, "high": change.high, "seeds": len(after)}
                row |= {"change": change.change, "change_low": change.change_low, "change_high": change.change_high}
                row |= {
                    "beyond_noise": change.beyond_noise,
                    "verdict": _verdict(change, METRICS[self.task.metric].value.better),
                }
            rows.append(row)
        return typed(pd.DataFrame(rows, columns=CHANGES), "not compared" if ended else "in training")

    def _new_predictions(self, trial: int) -> Tensor | None:
        """A new trial's best model's predictions on the validation rows; None if it has come to none."""
        curve = self.session.log.curves(trial)
        if self.session.weights_at_hand(trial) is None or not np.isfinite(curve["val_loss"].astype(float)).any():
            return None  # stopped, or diverged, before its first epoch was through
        return self.session.recall.model(trial).predictions(self.task.validation.x)

    def _tick(self) -> None:
        for session in (self.former, self.session):
            session.keep_live()

    def _wake(self) -> None:
        for session in (self.former, self.session):
            session.publish()


def continue_on(
    session: Session,
    new_data: Any,
    *,
    top: int,
    seeds: int,
    name: str,
    note: str,
    device: str,
    workbench: Callable[[Session], W],
) -> Continuation[W]:
    """Begin a new version of the session's task with its best configurations. Nothing is changed when it raises.

    workbench: makes `Continuation.bench` of the session on the new version.

    Raises: TaskError for data that do not fit; RunError if no trial has run to its end; ConfigError, ModelError for
    a configuration
    that the new version cannot take.
    """
    session.recall.check_one_model("a comparison of versions")
    former = session.task
    task = new_data if isinstance(new_data, Task) else former.version(new_data)
    if task.former is None or task.former.fingerprint != former.fingerprint:
        raise TaskError(
            f"new_data is the task {task.name!r}, which is not a version of {former.name!r}: its rows may be split differently, "
            "and test rows would be trained on; give the data themselves, or task.version(data)"
        )
    key = (session.log.identity, task.fingerprint, top, seeds, device)
    with session.lock:
        going = _going.get(key)
        if going is not None and not going.done:
            return going  # a cell that was run again
        best = _best(session, top)
        configs = {
            trial: [
                prepare(task, config.replace(seed=config.seed + index))
                for config in [logged_config(trial, session.log.record(trial).config)]
                for index in range(seeds)
            ]
            for trial in best
        }
        moved = drift(
            former.sample.inputs, task.former.arrivals.inputs, former.sample.targets, task.former.arrivals.targets
        )
        _warn_of_missing_rows(session, task)
        later = session.on(task)
        runs, reruns = _train(later, configs, name=name, note=note, device=device)
        data = {
            "former": former.fingerprint, "version": task.version_number, "name": name, "note": note, "task": task.name,
            "sizes": task.sizes, "former_sizes": task.former.sizes, "new": task.former.new, "top": top, "seeds": seeds,
            "columns": len(moved), "drift": plain(moved.head(SHOWN_COLUMNS)),
            "moved": moved.loc[moved["moved"], "column"].unique().tolist(),
            "trials": [[old, list(new)] for old, new in reruns.items()],
        }  # fmt: skip
        session.log.add_finding("version", data, task_fingerprint=task.fingerprint)

        made = Continuation(later, session, runs, reruns, drift=moved, scores=best, bench=workbench(later))
        _going[key] = made
    return made.start()


# ----------------------------------------------------------------------------------------------------------------------


def _warn_of_missing_rows(session: Session, task: Task) -> None:
    """A UserWarning if rows of the former version are not in the new one: new rows alone are a usual slip."""
    former, missing = session.task, 0 if task.former is None else task.former.missing
    if not missing:
        return
    remedy = "pd.concat([old, new])" if former.schema.columns is not None else "old and new together"
    message = (
        f"{missing:,} of the {sum(former.sizes.values()):,} rows of {former.name!r} (version {number_of(session)}) are not in "
        f"the new data, and are left out: new_data means all rows of the new version. Give {remedy}, unless they are to go"
    )
    warnings.warn(message, UserWarning, stacklevel=4)


def _best(session: Session, top: int) -> dict[int, float]:
    """The best trial of each of the top configurations, with its score. Raises: RunError if there is none, or none
    with a score."""
    log, task = session.log, session.task
    frame = log.trials(task_fingerprint=task.fingerprint)
    usable = set(frame.loc[np.isfinite(frame["best_val_loss"].astype(float)), "trial"])
    scores = log.results.scores(task.fingerprint, task.metric)
    scores = best_first(scores[scores["trial"].isin(usable)], "score", better_of(task.metric))
    found: dict[int, float] = {}
    for configuration in Reads.of(session).leaderboard(None)["configuration"]:
        own = scores[scores["configuration"] == configuration]
        if len(own) and len(found) < top:
            found[int(own["trial"].iloc[0])] = float(own["score"].iloc[0])
    if not found:
        message = f"no trial on {task.name!r} has run to its end, so there is no configuration to continue with"
        raise nothing_to_choose(session, f"{message}; train one with bench.run(wb.Config())")
    return found


def _train(
    session: Session, configs: Mapping[int, Sequence[Config]], *, name: str, note: str, device: str
) -> tuple[Runs, dict[int, list[int]]]:
    """Queue the new trials, a run for those that can be stacked; returns the runs, and the numbers by old trial."""
    groups: dict[Any, list[tuple[int, Config]]] = {}
    for parent, seeds in configs.items():
        for config in seeds:
            groups.setdefault(cohort_key(config), []).append((parent, config))

    reruns: dict[int, list[int]] = {parent: [] for parent in configs}
    runs = []
    for pairs in groups.values():
        run: Run = session.launch(
            [config for _, config in pairs], source=SOURCE, each=[{"parent": parent} for parent, _ in pairs], name=name,
            note=note, device=device,
        )  # fmt: skip
        runs.append(run)
        for (parent, _), number in zip(pairs, run.trials, strict=True):
            reruns[parent].append(number)
    return Runs(runs), reruns


def _verdict(change: Change, better: Better) -> str:
    if not math.isfinite(change.change):
        return "no new model"
    if not math.isfinite(change.change_low):
        return "noise unknown"
    if not change.beyond_noise:
        return "within noise"
    return "better" if is_better(change.change, 0.0, better) else "worse"


def _labels(task: Task) -> dict[str, Any]:
    return {
        "metric_label": f"validation {in_sentence(METRICS[task.metric].label)}",
        "better": better_of(task.metric),
    }
