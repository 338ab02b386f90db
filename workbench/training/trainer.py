"""The training loop: a generator of events that knows no database, no widget and no search."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from statistics import fmean
from typing import Any

import torch

from workbench.core.config import Config
from workbench.core.direction import better_of, rank, sign
from workbench.core.errors import ConfigError, LogError, ModelError, Problem, RunError
from workbench.core.events import (
    CohortJoined,
    CohortLeft,
    EpochEnd,
    Event,
    Message,
    Mismatch,
    StateChanged,
    StepProgress,
    TrialState,
)  # fmt: skip
from workbench.core.registry import METRICS
from workbench.training.blueprint import Blueprint
from workbench.training.capacity import work_of
from workbench.training.cohort import Cohort
from workbench.training.commands import Commands
from workbench.training.endings import Unstarted, ended, ending_of, out_of_memory
from workbench.training.epoch import EpochRecord, by_fold, mean_of
from workbench.training.fold_cohort import cohort_class
from workbench.training.live_changes import apply_recorded, execute
from workbench.training.preparation import cohort_key, prepare
from workbench.training.results import Results
from workbench.training.resumption import Change, ChangeRecord, Keeper, Origin, ResumedCohort
from workbench.training.row import Row, TaskData
from workbench.training.stages import Features
from workbench.training.state import Weights
from workbench.training.stopping import FixedLength
from workbench.training.supply import Supply

__all__ = ["Training", "train"]

PROGRESS_SECONDS = 0.1
WEIGHTS_KEPT = 32
"""Number of the best trials of a search whose weights stay in memory."""
FEATURES_KEPT = 8
"""Number of the last cohorts whose features of frozen layers stay in memory, for later cohorts."""


class Training:
    """One call of the training loop over some trials; `weights` holds each ended trial's best weights.

    trials: Config by trial key, as `prepare` returned them. Iterate `moments()` for the events, in groups that belong to one
    moment (one epoch of all trials of a cohort), so that a log can write each group in one transaction.
    supply: where further trials come from; then a trial that raises ends as failed and the others go on, and only the best
    keep their weights. cores: threads that the rows of a cohort may be divided among. around: called with the work of a
    cohort (see `work_of`), for the time it trains. keeper: takes the state after each epoch.
    origins: starting points of the trials that are branches, called on the training thread. changes: live changes to repeat.
    stop_after: optimizer steps after which to stop, all trials at once. resumed: cohorts to continue first. fixed: how long the
    trials train on a task without validation rows.
    """

    def __init__(
        self,
        task: TaskData,
        trials: Mapping[int, Config],
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        commands: Commands | None = None,
        supply: Supply | None = None,
        cores: int = 1,
        around: Callable[[float], AbstractContextManager[None]] = lambda _: nullcontext(),
        keeper: Keeper | None = None,
        origins: Mapping[int, Origin] | None = None,
        changes: Mapping[int, Sequence[Change]] | None = None,
        stop_after: int | None = None,
        resumed: Sequence[ResumedCohort] = (),
        fixed: FixedLength | None = None,
    ) -> None:
        self.task, self.trials, self.dtype, self.fixed = task, dict(trials), dtype, fixed
        self.supply, self.cores, self.around, self.keeper = supply, cores, around, keeper
        self.origins, self.stop_after = dict(origins or {}), stop_after
        logged = {trial: entry for cohort in resumed for trial, entry in cohort.logged.items()}
        self._changes = ChangeRecord(changes or {}, {trial: entry.changes for trial, entry in logged.items()})
        self._resumed = {next(iter(cohort.trials)): cohort for cohort in resumed}
        self._reported = {trial: entry.epochs for trial, entry in logged.items()}
        self._ends = {trial: entry.end for trial, entry in logged.items() if entry.end is not None}
        self._so_far = {trial: entry.so_far for trial, entry in logged.items() if entry.so_far is not None}
        self._over = frozenset(self._ends)  # their end is on record: they report nothing more
        self._row_of: dict[int, Row] = {}
        self.device = torch.device(device)
        self.commands = commands or Commands()
        self.weights: dict[int, Weights] = {}
        self.fold_weights: dict[int, tuple[Weights, ...]] = {}
        self._blueprints: dict[int, Blueprint] = {}
        self._undefined: set[tuple[int, str]] = set()  # trials and metrics that were reported to have no value
        self._features: list[Features | None] = []  # of the last cohorts, for later ones

    def moments(self) -> Iterator[tuple[Event, ...]]:
        """The events of all trials: cohort after cohort, each of its moments as one group."""
        for moment in self._moments():
            news = tuple(event for event in moment if event.trial not in self._over) if self._over else moment
            if news:
                yield news

    def _moments(self) -> Iterator[tuple[Event, ...]]:
        try:
            yield from self._all_groups()
        finally:
            self._features = []

    def _all_groups(self) -> Iterator[tuple[Event, ...]]:
        for resumed in list(self._resumed.values()):
            yield from self._group(dict(resumed.trials))
        groups: dict[Any, dict[int, Config]] = {}
        for trial, config in self.trials.items():
            groups.setdefault(cohort_key(config), {})[trial] = config
        for group in groups.values():
            yield from self._group(group)
        while self.supply is not None and not self.commands.stopped:
            group = self.supply.next()
            if not group:
                break
            yield from self._group(group)

    def module(self, trial: int) -> torch.nn.Module:
        """A trial's module with its best weights, on the CPU, in evaluation mode. Raises: KeyError before it ended."""
        return self._blueprints[trial].module_of(self.weights[trial])

    def results(self) -> Results:
        """The ended trials' best weights and what builds their modules."""
        blueprints = {trial: self._blueprints[trial] for trial in self.weights}
        return Results(dict(self.weights), blueprints, dict(self.fold_weights))

    def _group(self, trials: dict[int, Config]) -> Iterator[tuple[Event, ...]]:
        """Train trials together; if that fails, train them again in smaller groups, down to one trial."""
        joined = dict(trials)
        try:
            yield from self._together(joined)
            return
        except (LogError, RunError):
            raise  # not an error of the trials
        except Exception as error:
            left = {trial: config for trial, config in joined.items() if trial not in self._ends}
            short = out_of_memory(error)
            if not left or (len(left) == 1 and self.supply is None) or not (short or self.supply is not None):
                raise
            text = f"{type(error).__name__}: {error}".strip()
            if len(left) == 1:
                (trial,) = left
                row = self._row_of.get(trial) or Unstarted(trial)
                self._ends[trial] = ended(row, TrialState.FAILED, text, traceback.format_exc())
                yield (self._ends[trial],)
                return
        size = -(-len(left) // 2) if short else 1
        if short and self.supply is not None:
            self.supply.shrink(size)
        message = f"the cohort raised {text}; its trials train again one by one, to find the one that fails"
        if short:
            message = (
                f"{len(left)} trials did not fit into memory together ({text}); they train again, {size} at a time"
            )
        yield (*(Message(trial, message) for trial in left), *(CohortLeft(trial) for trial in left))
        waiting = list(left.items())
        for start in range(0, len(waiting), size):
            if self.commands.stopped:
                reason = "stopped by the user"
                yield tuple(ended(Unstarted(trial), TrialState.STOPPED, reason) for trial, _ in waiting[start:])
                return
            yield from self._group(dict(waiting[start : start + size]))

    def _together(self, trials: dict[int, Config]) -> Iterator[tuple[Event, ...]]:
        """One cohort, if its model can be stacked. Trials that join it later are added to `trials`."""
        resumed = self._resumed.pop(next(iter(trials)), None)
        with self.around(math.inf):
            cohort = self._form(trials, resumed)
        self._features = [*self._features[1 - FEATURES_KEPT :], cohort.inputs.features]
        if not cohort.rows:
            return
        reason = "" if cohort.direct else cohort.stacking_error()
        if not reason:
            if warning := cohort.rebuilt.warning:
                yield tuple(Message(trial, warning) for trial in trials)
            if self.keeper is not None and resumed is None:
                self.keeper.begin(cohort.series)
            yield from self._cohort(cohort, trials, resumed)
            return
        if self.task.folds is not None:
            raise ModelError(
                f"model={cohort.rows[0].config.model!r}: the folds of a trial train together, and this model cannot be "
                f"vectorised over them ({reason}); change the model, or make the task without folds: split=(0.6, 0.2, 0.2)"
            )
        if self.supply is not None:
            self.supply.shrink(1)
        message = f"trials run one after another: the model cannot be vectorised over trials ({reason})"
        yield tuple(Message(trial, message) for trial in trials)
        for trial, config in list(trials.items()):
            yield from self._group({trial: config})

    def _form(self, trials: dict[int, Config], resumed: ResumedCohort | None) -> Cohort:
        """A cohort of these trials; a resumed one continues from its state, without the rows that had ended there."""
        if resumed is None or resumed.state is None:
            origins = {trial: origin() for trial, origin in self.origins.items() if trial in trials}
            made = cohort_class(self.task)
            return made(self.task, trials, self.device, self.dtype, self.cores, origins=origins, fixed=self.fixed)
        cohort = cohort_class(self.task).restore(self.task, resumed.state, self.device, self.dtype, self.cores)
        for after, joined in resumed.joins.items():
            trials |= joined if after < resumed.state.epoch else {}
        known = {*trials, *(trial for joined in resumed.joins.values() for trial in joined)}
        leaders = {own[0]: own for own in cohort.trials()}
        left = [
            place
            for i, row in enumerate(cohort.rows)
            if i in leaders and row.trial in known and not self._had_ended(row)
            for place in leaders[i]
        ]
        if len(left) < len(cohort.rows):
            cohort.keep(left)
        return cohort

    def _had_ended(self, row: Row) -> bool:
        """Whether the trial's end on record is at the row's step or before it."""
        return row.trial in self._over and row.step >= self._ends[row.trial].step

    def _cohort(
        self, cohort: Cohort, trials: dict[int, Config], resumed: ResumedCohort | None
    ) -> Iterator[tuple[Event, ...]]:
        yield from self._begin_rows(cohort, [cohort.rows[own[0]].trial for own in cohort.trials()])
        while cohort.rows:
            if cohort.unfreezes:
                with self.around(math.inf):
                    cohort.unfreeze()
            with self.around(work_of(self.task, cohort)):
                yield from self._epochs(cohort, trials, resumed)

    def _epochs(
        self, cohort: Cohort, trials: dict[int, Config], resumed: ResumedCohort | None
    ) -> Iterator[tuple[Event, ...]]:
        """Epochs of a cohort until no row is left, or frozen layers train from the next one on."""
        while cohort.rows and not cohort.unfreezes:
            if cohort.epoch and cohort.takes_more and not self.commands.stopped:
                more = self._joining(cohort, resumed)
                if more:
                    trials |= more
                    cohort.add(more)
                    yield from self._begin_rows(cohort, list(more))
            yield from self._epoch(cohort)

    def _joining(self, cohort: Cohort, resumed: ResumedCohort | None) -> Mapping[int, Config]:
        """The trials that join between two epochs: those on record, or new ones of a search."""
        if resumed is not None and cohort.epoch <= resumed.epochs:
            known = resumed.joins.get(cohort.epoch, {})
            if known or cohort.epoch < resumed.epochs:
                return known
        return {} if self.supply is None else self.supply.refill(len(cohort.trials()))

    def _begin_rows(self, cohort: Cohort, trials: Sequence[int]) -> Iterator[tuple[Event, ...]]:
        """Report that trials have joined a cohort."""
        rows = {cohort.rows[own[0]].trial: cohort.rows[own[0]] for own in cohort.trials()}
        events: list[Event] = []
        for trial in trials:
            known, row = trial in self._row_of or trial in self._ends, rows[trial]
            self._blueprints[trial], self._row_of[trial] = Blueprint.of(self.task, row.config), row
            self._changes.enter(row)
            if not known:
                events.append(StateChanged(trial, TrialState.RUNNING, row.step))
            if trial not in self._reported or known:
                events.append(CohortJoined(trial, cohort.series, cohort.epoch - row.epoch, len(rows)))
            self._reported.setdefault(trial, row.epoch)
        if events:
            yield tuple(events)

    def _epoch(self, cohort: Cohort) -> Iterator[tuple[Event, ...]]:
        """One epoch of a cohort with its validation; ended trials leave the cohort."""
        started = reported = time.perf_counter()
        record = cohort.record()
        losses, norms, outputs, targets = record.losses, record.norms, record.outputs, record.targets
        for batch in cohort.batches():
            if self._changes.pending:
                yield from apply_recorded(self._changes, cohort)
            reason = ""
            if self.stop_after is not None and all(
                cohort.rows[own[0]].step >= self.stop_after for own in cohort.trials()
            ):
                reason = f"stopped after step {self.stop_after}, as requested"
            if self.commands.pending:
                before = time.perf_counter()
                yield from execute(self.commands, self._changes, cohort, self._reported)
                started += time.perf_counter() - before  # a pause is not training time
                reason = "stopped by the user" if self.commands.stopped else reason
            if reason:
                for row in cohort.rows:
                    row.seconds += time.perf_counter() - started
                yield self._end(
                    cohort, dict.fromkeys((own[0] for own in cohort.trials()), (TrialState.STOPPED, reason))
                )
                return
            loss, norm, output = cohort.step(*batch)
            losses.append(loss)
            norms.append(norm)
            outputs.append(output)
            targets.append(batch.y)
            now = time.perf_counter()
            if now - reported > PROGRESS_SECONDS:
                reported = now
                mean = record.mean_losses(record.loss_by_step())
                if not torch.isfinite(mean).any():
                    break  # every trial has diverged
                yield tuple(
                    StepProgress(row.trial, row.epoch + 1, row.step, cohort.steps_per_epoch, float(mean[own].mean()))
                    for own in cohort.trials()
                    for row in [cohort.rows[own[0]]]
                )
        yield self._finish_epoch(cohort, record, started)

    def _finish_epoch(self, cohort: Cohort, record: EpochRecord, started: float) -> tuple[Event, ...]:
        """Validate the cohort after an epoch, end the trials that are done, and report it."""
        steps = record.loss_by_step()
        train_losses, mean_norms = record.mean_losses(steps), record.mean_norms()
        broken = (~torch.isfinite(steps)).int()
        validation = cohort.evaluate()
        penalties = cohort.penalties()
        train_metrics = record.metrics(self.task.metrics, cohort.predict, cohort.objective.in_own_unit)
        seconds = time.perf_counter() - started
        headline, monitor = self.task.metrics[0], self.task.monitor
        events: list[EpochEnd] = []
        messages: list[Message] = []
        endings: dict[int, tuple[TrialState, str]] = {}
        cohort.epoch += 1
        for own in cohort.trials():
            index, rows = own[0], [cohort.rows[place] for place in own]
            row = rows[0]
            for one in rows:
                one.seconds += seconds
            if broken[:, own].any():
                first = int(broken[:, own].any(1).int().argmax())
                row.step += first + 1 - len(steps)
                value = next(float(steps[first, place]) for place in own if broken[first, place])
                reason = f"training loss is {value} at step {row.step} (epoch {row.epoch + 1})"
                endings[index] = TrialState.DIVERGED, reason
                continue
            for one in rows:
                one.epoch += 1
            loss, scores = mean_of([validation[place] for place in own])
            metric = scores[headline]
            monitored = loss if monitor == "loss" else -sign(better_of(monitor)) * scores[monitor]
            trained = {name: fmean(train_metrics[place][name] for place in own) for name in scores}
            metrics = {name: (trained[name], scores[name]) for name in scores}
            events.append(
                EpochEnd(
                    row.trial, row.epoch, row.step, float(train_losses[own].mean()), fmean(penalties[i] for i in own),
                    trained[headline], loss, metric, row.learning_rate, fmean(mean_norms[i] for i in own), seconds, metrics,
                    monitored, by_fold(cohort.rows, own, validation),
                )
            )  # fmt: skip
            messages += self._without_value(row, loss, scores)
            if row.watch.update(row.epoch, loss, metric, monitored):
                for place, one in zip(own, rows, strict=True):
                    one.best = cohort.measured_weights(place)
            ending = ending_of(row, loss)
            if ending is not None:
                endings[index] = ending
            elif self._had_ended(row):  # by a decision from outside, such as a pruner's
                endings[index] = self._ends[row.trial].state, self._ends[row.trial].reason
        # a trial that trains again, after an error in its cohort, has reported its first epochs before
        events = [event for event in events if event.epoch > self._reported[event.trial]]
        self._reported |= {event.trial: event.epoch for event in events}
        newly_reported = {event.trial for event in events}
        leaders = [cohort.rows[own[0]] for own in cohort.trials()]
        for row in leaders:
            if row.trial in newly_reported:
                self._so_far[row.trial] = ended(row, TrialState.STOPPED, "")
        if self.supply is not None:
            places = {cohort.rows[own[0]].trial: own[0] for own in cohort.trials()}
            for trial, reason in self.supply.prune(events).items():
                if trial in places:  # the other seeds of a configuration may train elsewhere, or have ended
                    endings.setdefault(places[trial], (TrialState.PRUNED, reason))
        if self.keeper is not None and self.keeper.wants(len(endings) == len(cohort.trials())):
            self.keeper.take(cohort.state())
        messages = [message for message in messages if message.trial in newly_reported]
        if cohort.unfreezes:
            going = [cohort.rows[own[0]].trial for own in cohort.trials() if own[0] not in endings]
            message = "from here on all layers train, the frozen ones included; the optimizer begins with a new state"
            messages += [Message(trial, message) for trial in going if trial in newly_reported]
        return (*events, *messages, *self._end(cohort, endings))

    def _without_value(self, row: Row, loss: float, scores: Mapping[str, float]) -> Iterator[Message]:
        """Report each metric that has no value on the validation rows, once a trial; a model that diverged has none anyway."""
        for name, score in scores.items():
            if math.isnan(score) and math.isfinite(loss) and (row.trial, name) not in self._undefined:
                self._undefined.add((row.trial, name))
                metric = METRICS[name].value
                why = (
                    f": {metric.undefined}"
                    if metric.undefined
                    else ", its function returned NaN" * (not metric.batched)
                )
                text = f"{METRICS[name].label} has no value on the {len(self.task.validation.x)} validation rows{why}"
                if name in (self.task.monitor, self.task.metrics[0]):
                    what = "no epoch can be selected by it" if name == self.task.monitor else "this trial is not ranked"
                    text += f"; {what}"
                yield Message(row.trial, text)

    def _end(self, cohort: Cohort, endings: Mapping[int, tuple[TrialState, str]]) -> tuple[Event, ...]:
        """End some rows: keep their best weights, remove them from the cohort, report it.

        Sorted by trial, because a search's decisions must not depend on the order of the rows.
        """
        events: list[Event] = []
        for index, (state, reason) in sorted(endings.items(), key=lambda item: cohort.rows[item[0]].trial):
            row = cohort.rows[index]
            so_far = self._so_far.get(row.trial)
            if so_far is not None and row.epoch < so_far.epochs_run and state is TrialState.STOPPED:
                end = replace(so_far, state=state, reason=reason)  # stopped while it repeated epochs on record
            else:
                own = {one.fold: place for place, one in enumerate(cohort.rows) if one.trial == row.trial}
                found = tuple(cohort.rows[own[fold]].best or cohort.weights(own[fold]) for fold in sorted(own))
                self.weights[row.trial], self.fold_weights[row.trial] = found[0], found
                end = ended(row, state, reason)
                if mismatch := cohort.mismatch(row):
                    events.append(Mismatch(row.trial, mismatch))
            self._ends[row.trial] = end
            events.append(end)
            self._row_of.pop(row.trial, None)
        if self.supply is not None:
            self._forget_weights()
        if endings:
            over = {cohort.rows[index].trial for index in endings}
            cohort.keep([index for index, row in enumerate(cohort.rows) if row.trial not in over])
        return tuple(events)

    def _forget_weights(self) -> None:
        """Keep the weights of the best trials of a search only: memory must not grow with the number of trials."""
        while len(self.weights) > WEIGHTS_KEPT:
            better = better_of(self.task.metrics[0])
            worst = min(self.weights, key=lambda trial: rank(self._ends[trial].best_val_metric, better))
            del self.weights[worst], self._blueprints[worst], self.fold_weights[worst]


def train(
    task: TaskData, trials: Mapping[int, Config], *, device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32, commands: Commands | None = None,
) -> Iterator[Event]:  # fmt: skip
    """Train some trials and yield what happens, event by event. The arguments are checked at once.

    trials: Config by trial key; those that share architecture, batch size and loss train as one stacked model.
    commands: live changes, pause and stop, read at every step. Raises: ConfigError, ModelError before the first step;
    whatever the model, loss or data raise during training.
    """
    if not isinstance(trials, Mapping) or not all(isinstance(config, Config) for config in trials.values()):
        message = f"trials={trials!r}: give configurations by trial, such as trials={{1: wb.Config(epochs=3)}}"
        raise ConfigError([Problem("trials", trials, message)])
    prepared = {trial: prepare(task, config) for trial, config in trials.items()}
    training = Training(task, prepared, device=device, dtype=dtype, commands=commands)
    return (event for moment in training.moments() for event in moment)
