"""What a trial was after any of its epochs: out of a checkpoint, or trained again from the checkpoint before."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from workbench.checkpoints import CheckpointStore
from workbench.core.config import CHOICES, Config
from workbench.core.direction import best_first, better_of
from workbench.core.errors import CheckpointError, ConfigError, ModelError, Problem, RunError
from workbench.core.events import ENDED
from workbench.core.registry import MODELS
from workbench.log import UNRANKED, TrialLog
from workbench.models import (
    SOURCE_NAME,
    Backbone,
    Pretrained,
    build_model,
    builder_identity,
    code_of,
    former_builder,
    read_source,
    why_unusable,
)
from workbench.runs.catcher import Catcher
from workbench.runs.decision import KIND, Decision
from workbench.runs.refits import SOURCE, Refits
from workbench.training import (
    Change,
    CohortState,
    LoggedTrial,
    ResumedCohort,
    Trained,
    Training,
    Weights,
    filled,
)
from workbench.training.agreement import disagreement, sample_rows
from workbench.training.devices import fitting_threads
from workbench.training.stages import trained_part

if TYPE_CHECKING:
    from workbench.runs.trained_model import TrainedModel
    from workbench.tasks import Task
    from workbench.tasks.fold_data import Fold

__all__ = ["Recall", "logged_config", "whole"]

TOP = 10
"""Of so many trials at the top of the leaderboard, the best model is always at hand."""


def whole(name: str, value: object) -> int:
    """A trial's or epoch's number, also of numpy's kinds, as tables hold them. Raises: RunError naming what is no number."""
    try:
        if not isinstance(value, bool) and abs(number := operator.index(value)) < 2**63:  # type: ignore[arg-type]
            return number
    except TypeError:
        pass
    raise RunError(f"{name}={value!r}: must be a whole number, such as one out of bench.trials[{name!r}]")


def logged_config(trial: int, values: Mapping[str, Any]) -> Config:
    """A trial's configuration out of the log. Raises: ConfigError naming what it uses and is not registered here,
    and the remedy."""
    problems = []
    for field, registry in CHOICES.items():
        name = values.get(field)
        if name is not None and name != "auto" and name not in registry:
            remedy = f"wb.Workbench(..., models={{{name!r}: build}})" if field == "model" else f"wb.register_{field}"
            message = f"trial {trial} uses the {field} {name!r}, which is not registered here; register it by {remedy}"
            if field == "model" and (source := SOURCE_NAME.fullmatch(name)):
                why = why_unusable(name) or (
                    "its file next to the checkpoints is missing or damaged; "
                    f"bench.finetune(from_trial={source[1]}) creates it again"
                )
                message = (
                    f"trial {trial} uses the model {name!r}, which is trial {source[1]}, and cannot be used: {why}"
                )
            problems.append(Problem(field, name, message))
    if problems:
        raise ConfigError(problems)
    return Config(**values)


class Recall:
    """Restores the trials of one task's log as they were. Trains without a record if it must; writes nothing.

    refits: which trials are refits, and what they were trained on.
    """

    def __init__(
        self,
        task: Task,
        log: TrialLog,
        store: CheckpointStore,
        at_hand: Callable[[int, int], Weights | None] = lambda trial, fold: None,
    ) -> None:
        """at_hand: the best weights of an ended trial, of the fold with an index, if they are in memory."""
        self.task, self.log, self.store, self.at_hand = task, log, store, at_hand
        self.refits = Refits(task, log, self.check_code)
        # the last trial of folds that was trained again up to an epoch: all its folds at once
        self._folds_of: tuple[int, int, CohortState] | None = None

    # --- from the log -----------------------------------------------------------------------------------------------

    def changes(self, trial: int) -> list[Change]:
        """The live changes of a trial, in order."""
        return [Change(*change) for change in self.log.history.changes(trial)]

    def check_epoch(self, trial: int, epoch: int | None) -> int:
        """A finished epoch of a trial on this task, by default the last. Raises: LogError, RunError naming what is wrong."""
        curve = self.log.curves(trial)
        self.check_trial_task(trial)
        if curve.empty:
            raise RunError(f"trial {trial} has no finished epoch")
        first, last = int(curve["epoch"].iloc[0]), int(curve["epoch"].iloc[-1])
        if epoch is None:
            return last
        epoch = whole("epoch", epoch)
        if not first <= epoch <= last:
            raise RunError(f"epoch={epoch!r}: trial {trial} has the epochs {first} to {last}")
        return epoch

    def steps(self, trial: int, epoch: int) -> int:
        """Optimizer steps that a trial had taken after an epoch."""
        curve = self.log.curves(trial)
        return int(curve.loc[curve["epoch"] == epoch, "step"].iloc[0])

    def config(self, trial: int, epoch: int) -> Config:
        """A trial's configuration as it was after an epoch, the live changes before it included."""
        steps = self.steps(trial, epoch)
        made = {change.name: change.value for change in self.changes(trial) if change.step < steps}
        config = logged_config(trial, self.log.record(trial).config)
        return config.replace(**made) if made else config

    def origin(self, trial: int) -> tuple[int, int] | None:
        """The trial and epoch that a branch began from, None for any other trial."""
        return self.log.history.origin(trial)

    def needed(self) -> tuple[dict[int, set[int]], set[int]]:
        """The checkpoints that must stay, as epochs by series, and the series of trials that have not ended.

        Those that branches began from, the best ones of the leaderboard's top, of each series its best epoch, and those that
        members of ensembles vote with.
        """
        frame = self.log.trials()  # of all tasks, whose checkpoints lie in the same folder
        branches = self.log.history.branches()
        places = self.log.history.cohorts(*(int(trial) for trial in frame["trial"]))
        stays: dict[int, set[int]] = {}

        def stay(trial: int, epoch: int) -> None:
            if trial in places and epoch:
                series, after = places[trial]
                stays.setdefault(series, set()).add(after + epoch)

        for parent, epoch in zip(branches["parent"], branches["epoch"], strict=True):
            stay(int(parent), int(epoch))
        best = {
            int(trial): int(epoch) for trial, epoch in zip(frame["trial"], frame["best_epoch"].fillna(0), strict=True)
        }
        attempts = frame[~frame["source"].isin(UNRANKED)]
        for (_, metric), group in attempts.groupby(["task_fingerprint", "metric"]):
            for trial in best_first(group, "best_val_metric", better_of(metric))["trial"].head(TOP):
                stay(int(trial), best[int(trial)])
        seen: set[int] = set()
        for trial in map(int, frame.sort_values("best_val_loss")["trial"]):
            if trial in places and places[trial][0] not in seen:
                seen.add(places[trial][0])
                stay(trial, best[trial])
        for ensemble in self.log.findings("ensemble"):
            for member in ensemble.data["members"]:
                stay(int(member["trial"]), int(member["epoch"]))
        ended = frame["state"].isin([str(state) for state in ENDED])
        going = {places[trial][0] for trial in map(int, frame.loc[~ended, "trial"]) if trial in places}
        return stays, going

    def check_task(self, what: str, fingerprint: str) -> None:
        """Raises RunError if something in the log is of other data than this task. what: its name, such as "search 3"."""
        if fingerprint != self.task.fingerprint:
            raise RunError(f"{what} is of other data than {self.task.name!r}; make a Workbench on its own task")

    def check_trial_task(self, trial: int) -> None:
        """Raises RunError if a trial is of other data than this task; LogError for an unknown one."""
        self.check_task(f"trial {trial}", self.log.record(trial).task_fingerprint)

    def check_scores(self, what: str, *trials: int) -> None:
        """For calls that go on with the record of trials. what: the call, such as "resume"; trials not in the log are left out.

        Raises: RunError if one was ranked by another headline metric or monitored by another score than the task has now.
        """
        for trial, record in self.log.records(trials).items():
            if (record.metric, record.monitor) != (self.task.metric, self.task.monitor):
                raise RunError(
                    f"trial {trial} was started with the headline metric {record.metric!r} and monitor={record.monitor!r}, and "
                    f"the task has {self.task.metric!r} and monitor={self.task.monitor!r}; to {what} it, make the task with "
                    f"metrics=({record.metric!r}, ...), monitor={record.monitor!r}"
                )

    def check_repeatable(self, *trials: int) -> None:
        """For calls that train the configuration of trials with further seeds.

        Raises: RunError for a trial of other data, in the trash, or altered while it trained; LogError for an unknown one.
        """
        altered = self.log.results.altered()
        for trial in trials:
            self.check_trial_task(trial)
            if trial in altered:
                raise RunError(
                    f"trial {trial} is a branch or was changed while it trained, which no other seed repeats; start its last "
                    f"configuration with bench.run(bench.config({trial}), seeds=5)"
                )
        self.check_outside_trash(*trials)

    def check_outside_trash(self, *trials: int) -> None:
        """For calls that begin work from trials; calls that only read them accept trials in the trash too.

        Raises: RunError naming the first that is in it, and the remedy.
        """
        kept = self.log.trash.outside(trials)
        for trial in trials:
            if trial not in kept and self.log.state(trial):  # which complains of one that is not there at all
                raise RunError(f"trial {trial} is in the trash; bring it back with bench.restore({trial})")

    def former_builder(self, trial: int) -> Callable[..., Any] | None:
        """The earlier version of the builder that a trial was trained with, None if that is the registered one.

        The weights of a trial fit any network of the same shapes, so its model is built by the very builder that it had.
        Raises ModelError if neither the registered builder nor an earlier version of it is the one.
        """
        name, logged = logged_config(trial, self.log.record(trial).config).model, self.log.record(trial).builder
        now = builder_identity(name)
        if logged is None or logged == now:
            return None
        former = former_builder(name, logged)
        if former is None:
            raise ModelError(
                f"trial {trial} was trained with another version of the model {name!r} (builder {logged}, now {now}): the code "
                "of its builder, or something that it refers to, has changed since, and its weights would make another network. "
                f"Bring the earlier version along, wb.Workbench(..., models={{{name!r}: [earlier, newest]}}); "
                f"bench.log.builder_source({trial}) has its source"
            )
        return former

    def check_code(self, trial: int, weights: Weights | None = None) -> None:
        """`check_builder`, and that the user's own loss, optimizer and schedule are those that the trial was trained with.

        Raises: ModelError.
        """
        self.check_builder(trial, weights)
        record = self.log.record(trial)
        config, parts = logged_config(trial, record.config), record.configuration.split()[1:]
        logged = dict(zip(parts[::2], parts[1::2], strict=True))
        for field, identity in code_of(config).items():
            if field != "model" and logged.get(field, identity) != identity:
                name = getattr(config, field)
                raise ModelError(
                    f"trial {trial} was trained with another version of the {field} {name!r} (code {logged[field]}, now "
                    f"{identity}). Register the original with wb.register_{field}({name!r}, ...) and make the Workbench again"
                )

    def check_builder(self, trial: int, weights: Weights | None = None) -> None:
        """Check that a trial can be trained further, or again: by the builder and the pretrained weights that it began with.

        Frozen layers are in no checkpoint: they come from the function or file that the pretrained network is made by.
        weights: the trial's, where they are at hand; those of the whole network need nothing else. Raises ModelError if the
        network is built in another way, or has other weights, than when the trial was entered.
        """
        config = logged_config(trial, self.log.record(trial).config)
        builder = MODELS[config.model].value
        if self.former_builder(trial) is not None:
            raise ModelError(
                f"trial {trial} was trained with an earlier version of the model {config.model!r}, which restores it but "
                f"trains no more; to train it, register that version last: models={{{config.model!r}: [..., earlier]}}"
            )
        _, then = read_source(self.log.builder_source(trial))
        if not isinstance(builder, Backbone) or then is None or then == builder.digest:
            return
        if weights is not None:
            module = build_model(self.refits.task_of(trial), config)
            trained_part(module, weights.vector.numel())
            if not (isinstance(module, Pretrained) and module.rests_on_backbone):
                return
        raise ModelError(
            f"trial {trial} began from the backbone {config.model!r} with weights (digest {then}) that differ from those "
            f"registered now ({builder.digest}), and no checkpoint holds the frozen ones. Register the original with "
            f"wb.register_backbone({config.model!r}, ...)"
        )

    # --- states -----------------------------------------------------------------------------------------------------

    def after(self, trial: int, epoch: int, fold: int = 0) -> Trained:
        """The row of a trial after an epoch, of the fold with this index: to the last bit if it trained alone.

        One that trained with others, and has to be trained again, comes up to rounding, with dropout in distribution.
        Raises: CheckpointError if the checkpoint that is needed is damaged.
        """
        found = self.kept(trial, epoch, fold)
        if found is not None and found.progress.epoch == epoch:
            return found
        # a row that trains with those of its other folds cannot go on without them
        return self.again(trial, epoch, None if self.task.folds else found, fold)

    def kept(self, trial: int, epoch: int, fold: int = 0) -> Trained | None:
        """The newest checkpoint of a trial at an epoch or before it, None if there is none."""
        seat = self.log.history.cohorts(trial).get(trial)
        if seat is None:
            return None
        series, joined = seat
        for number in reversed(self.store.epochs(series)):
            if joined < number <= joined + epoch:
                try:
                    row = self.store.load(series, number).row(trial, fold)
                except KeyError:
                    continue  # of another cohort, which began with the same trial and broke off
                except CheckpointError as error:
                    hint = "delete the file, and what it held is trained again from the checkpoint before"
                    raise CheckpointError(f"{error} ({hint})") from None
                if row.config == self.config(trial, number - joined):
                    return row  # else left over from another log of the same name
        return None

    def again(self, trial: int, epoch: int, start: Trained | None = None, fold: int = 0) -> Trained:
        """Train a trial again up to an epoch, without a record: from `start`, or from the first step."""
        self.check_code(trial, None if start is None else start.weights)
        if self._folds_of is not None and self._folds_of[:2] == (trial, epoch):
            return self._folds_of[2].row(trial, fold)
        config, changes = logged_config(trial, self.log.record(trial).config), self.changes(trial)
        record, catcher = self.log.record(trial), Catcher(epoch)
        task, device = _monitored_by(self.refits.task_of(trial), record.monitor), torch.device(record.device)
        options: dict[str, Any] = {"device": device, "around": partial(fitting_threads, device), "keeper": catcher}
        if start is not None:
            logged = {trial: LoggedTrial(start.progress.epoch, changes)}
            one = ResumedCohort({trial: config}, CohortState.alone(start), start.progress.epoch, logged=logged)
            training = Training(task, {}, resumed=[one], **options)
        else:
            origin, fixed = self.origin(trial), self.refits.length_of(trial)
            begin = self.refits.origin_of(trial) if origin is None else partial(self.again, *origin)
            origins = {} if begin is None else {trial: begin}
            training = Training(
                task, {trial: config}, origins=origins, changes={trial: changes}, fixed=fixed, **options
            )  # fmt: skip
        row = catcher.row(training, trial, fold)
        if self.task.folds is not None and catcher.found is not None:
            self._folds_of = trial, epoch, catcher.found
        return row

    def best_epoch(self, trial: int) -> int:
        """The epoch that the monitor selects; of a refit the last one. Raises: RunError if no epoch has a finite loss."""
        curve = self.log.curves(trial)
        if self.refits.includes(trial):
            return self.check_epoch(trial, None)
        values = curve["monitored"].where(curve["val_loss"].abs() < float("inf")).dropna()
        if values.empty:
            raise RunError(
                f"trial {trial} has no epoch with a finite validation loss and a value of its monitor, so there is no best model"
            )
        return int(curve.loc[values.idxmin(), "epoch"])

    def weights(self, trial: int, epoch: int | None = None, fold: int = 0) -> tuple[Weights, int]:
        """A trial's weights after an epoch, by default the best one, and that epoch. fold: index of the fold."""
        self.check_trial_task(trial)
        self.former_builder(trial)
        if epoch is not None:
            epoch = self.check_epoch(trial, epoch)
            return self.after(trial, epoch, fold).weights, epoch
        best, found = self.best_epoch(trial), self.best_kept(trial, fold)
        return (self.after(trial, best, fold).weights if found is None else found), best

    def best_kept(self, trial: int, fold: int = 0) -> Weights | None:
        """A trial's best weights, from memory or a checkpoint, also on another task; None if they had to be trained again."""
        found = self.at_hand(trial, fold)
        if found is not None:
            return found
        best, curve = self.best_epoch(trial), self.log.curves(trial)
        last = self.kept(trial, int(curve["epoch"].iloc[-1]), fold)
        if last is not None and last.best is not None and last.progress.watch["best_epoch"] == best:
            return last.best
        kept = self.kept(trial, best, fold)
        return None if kept is None or kept.progress.epoch != best else kept.weights

    def model(self, trial: int, epoch: int | None = None, fold: int | None = None) -> TrainedModel:
        """A trial's model, ready to predict, with its best weights or those after an epoch; `mismatch` if it is another one.

        fold: its number, from 1. Its outputs are compared with those that were measured with its weights, where these are at
        hand. Raises: RunError unless a fold is named exactly where there are folds.
        """
        from workbench.runs.trained_model import TrainedModel

        self.check_trial_task(trial)
        config = logged_config(trial, self.log.record(trial).config)
        index = self._index_of(trial, fold)
        weights, epoch = self.weights(trial, epoch, index or 0)
        former = self.former_builder(trial)
        if former is None:
            self.check_builder(trial, weights)
        task, record = self.refits.task_of(trial), self.log.record(trial)
        module = filled(build_model(task, config, former), weights)
        # a refit of a cross-validated trial is one model
        one: Task | Fold = task if index is None or task.folds is None else task.folds.members[index]
        model = TrainedModel(
            module, config, one.schema, trial=trial, epoch=epoch, builder=record.builder,
            decision=self.decision(trial, epoch),
        )  # fmt: skip
        if weights.outputs is not None:
            rows = len(one.validation.x) if task.folds is None else task.folds.least
            places = sample_rows(rows, weights.outputs[0].numel())
            model.mismatch = disagreement(model.outputs, one.validation.x[places], weights.outputs, record.device)
        if not model.mismatch and epoch == self.best_epoch(trial):
            model.mismatch = self.log.history.mismatch(trial)
        return model

    def _index_of(self, trial: int, fold: int | None) -> int | None:
        folds = self.refits.task_of(trial).folds
        if folds is None:
            if fold is not None:
                raise RunError(f"fold={fold!r}: trial {trial} has no folds; leave fold= out")
            return None
        if fold is None:
            raise RunError(
                f"trial {trial} was cross-validated and has {len(folds)} models: give fold=1 to {len(folds)} for one of them; "
                f"bench.refit({trial}) trains one model on all rows outside the test set; bench.ensemble(trials=[{trial}]) is an "
                "ensemble of the folds"
            )
        number = whole("fold", fold)
        if not 1 <= number <= len(folds):
            raise RunError(f"fold={fold!r}: trial {trial} has the folds 1 to {len(folds)}")
        return number - 1

    def check_one_model(self, what: str, remedy: str = "") -> None:
        """Raises RunError where each trial has a model for every fold. what: what needs a single one, such as "a branch".
        remedy: by default a task without folds."""
        if self.task.folds is not None:
            raise RunError(
                f"{self.task.name!r} is cross-validated, so that each trial has {len(self.task.folds)} models, and {what} needs "
                f"one; {remedy or 'make a task without folds for it, such as split=(0.6, 0.2, 0.2)'}"
            )

    def decision(self, trial: int, epoch: int) -> Decision:
        """The calibration and threshold that were last chosen for a trial's model with its weights after an epoch.

        Of a refit, those of the trial that it repeats, up to that trial's best epoch.
        """
        record = self.log.record(trial)
        if record.source == SOURCE and record.parent is not None:
            return self.decision(record.parent, epoch).carried_from(record.parent)
        found = Decision()
        for finding in self.log.findings(KIND, self.task.fingerprint):
            if (finding.data["trial"], finding.data["epoch"]) == (trial, epoch):
                found = Decision.of_json(finding.data["decision"])
        return found


def _monitored_by(task: Task, monitor: str) -> Task:
    """The task with the monitor that a trial had, which decides its plateaus and its early stopping."""
    if task.monitor == monitor:
        return task
    found = copy(task)
    metrics = task.metrics if monitor in ("loss", *task.metrics) else (*task.metrics, monitor)
    found.schema = replace(task.schema, monitor=monitor, metrics=metrics)
    return found
