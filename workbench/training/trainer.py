"""The training loop: a generator of events that knows no database, no widget and no search."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from workbench.core.config import Config
from workbench.core.errors import ConfigError, LogError, Problem, RunError
from workbench.core.events import (
    CohortJoined,
    CohortLeft,
    EpochEnd,
    Event,
    KnobChanged,
    Message,
    StateChanged,
    StepProgress,
    TrialEnded,
    TrialState,
)
from workbench.core.text import counted
from workbench.metrics.table import evaluate_metric, evaluate_metrics
from workbench.training.capacity import work_of
from workbench.training.cohort import Blueprint, Cohort
from workbench.training.commands import Commands, Peek
from workbench.training.endings import Unstarted, ended, out_of_memory
from workbench.training.preparation import cohort_key, prepare
from workbench.training.resumption import Change, Keeper, Origin, Script, TakeUp, Told
from workbench.training.row import Row, TaskData
from workbench.training.stages import Features
from workbench.training.state import Weights

__all__ = ["Results", "Supply", "Training", "train"]

PROGRESS_SECONDS = 0.1
WEIGHTS_KEPT = 32
"""So many of the best trials of a search keep their weights in memory."""
FEATURES_KEPT = 8
"""So many of the last cohorts' features of frozen layers wait for cohorts to come."""


class Supply(Protocol):
    """Where the trials of a search come from. Asked by the training loop, between two epochs."""

    def next(self) -> dict[int, Config]:
        """The trials of the next cohort, all with one `cohort_key`; empty when there are no more."""

    def refill(self, training: int) -> dict[int, Config]:
        """Further trials for the cohort under way, in which `training` are left."""

    def shrink(self, size: int) -> None:
        """The cohort ran out of memory; at most `size` such trials fit together."""

    def judge(self, epochs: Sequence[EpochEnd]) -> Mapping[int, str]:
        """Trials to end as pruned after these epochs, with the reason."""


@dataclass(frozen=True)
class Results:
    """What is left of a training that has ended: each trial's best weights, and what builds its module."""

    weights: dict[int, Weights]
    blueprints: dict[int, Blueprint]

    def module(self, trial: int) -> torch.nn.Module:
        """A trial's module with its best weights, on the CPU, in evaluation mode. Raises: KeyError if it has none."""
        return self.blueprints[trial].module_of(self.weights[trial])


class Training:
    """One call of the training loop over some trials; `weights` holds each ended trial's best weights.

    trials: Config by trial key, as `prepare` returned them. Iterate `moments()` for the events, in groups that belong to one
    moment (one epoch of all trials of a cohort), so that a log can write each group in one transaction.
    supply: where further trials come from; then a trial that raises ends as failed and the others go on, and only the best
    keep their weights. cores: threads that the rows of a cohort may be divided among. around: called with the work of a
    cohort (see `work_of`), for the time it trains. keeper: takes the state after each epoch.
    origins: where trials begin that are branches, asked on the training thread. changes: live changes to make by
    themselves. stop_after: optimizer steps after which to stop, all trials at once. take_ups: cohorts to go on with, before
    all else.
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
        take_ups: Sequence[TakeUp] = (),
    ) -> None:
        self.task, self.trials, self.dtype = task, dict(trials), dtype
        self.supply, self.cores, self.around, self.keeper = supply, cores, around, keeper
        self.origins, self.stop_after = dict(origins or {}), stop_after
        told: dict[int, Told] = {trial: told for one in take_ups for trial, told in one.told.items()}
        self._script = Script(changes or {}, {trial: one.changes for trial, one in told.items()})
        self._take_ups = {next(iter(one.trials)): one for one in take_ups}
        self._told: dict[int, int] = {trial: one.epochs for trial, one in told.items()}
        self._ends: dict[int, TrialEnded] = {trial: one.end for trial, one in told.items() if one.end is not None}
        self._so_far = {trial: one.so_far for trial, one in told.items() if one.so_far is not None}
        self._over = frozenset(self._ends)
        """Trials that had ended before: nothing more is told of them."""
        self._row_of: dict[int, Row] = {}
        self.device = torch.device(device)
        self.commands = commands or Commands()
        self.weights: dict[int, Weights] = {}
        self._modules: dict[int, Cohort] = {}
        self._features: list[Features | None] = []
        """Of the last cohorts, so that those to come find them."""

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
        for one in list(self._take_ups.values()):
            yield from self._group(dict(one.trials))
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
        return self._modules[trial].module_of(self.weights[trial])

    def results(self) -> Results:
        """The ended trials' best weights and what builds their modules, without cohorts and their copies of the data."""
        blueprints = {id(cohort): cohort.blueprint() for cohort in self._modules.values()}
        return Results(
            dict(self.weights),
            {trial: blueprints[id(self._modules[trial])] for trial in self.weights if trial in self._modules},
        )

    def _group(self, trials: dict[int, Config]) -> Iterator[tuple[Event, ...]]:
        """Train together what can be; what breaks off together is tried again in smaller parts, down to one trial."""
        joined = dict(trials)
        try:
            yield from self._together(joined)
            return
        except (LogError, RunError):
            raise  # not the trials' own failure
        except Exception as error:
            left = {trial: config for trial, config in joined.items() if trial not in self._ends}
            short = out_of_memory(error)
            if not left or (len(left) == 1 and self.supply is None) or not (short or self.supply is not None):
                raise
            text = f"{type(error).__name__}: {error}".strip()
            if len(left) == 1:
                yield (self._failed(next(iter(left)), text, traceback.format_exc()),)
                return
        size = -(-len(left) // 2) if short else 1
        if short and self.supply is not None:
            self.supply.shrink(size)
        message = f"{len(left)} trials did not fit into memory together ({text}); tried again with {size} at a time"
        if not short:
            message = f"the cohort raised {text}; its trials are tried again one by one, to find which"
        yield (*(Message(trial, message) for trial in left), *(CohortLeft(trial) for trial in left))
        waiting = list(left.items())
        for start in range(0, len(waiting), size):
            if self.commands.stopped:
                ends = [
                    ended(Unstarted(trial), TrialState.STOPPED, "stopped by the user") for trial, _ in waiting[start:]
                ]
                yield tuple(ends)
                return
            yield from self._group(dict(waiting[start : start + size]))

    def _failed(self, trial: int, reason: str, trace: str) -> TrialEnded:
        row = self._row_of.get(trial) or Unstarted(trial)
        end = ended(row, TrialState.FAILED, reason, trace)
        self._ends[trial] = end
        return end

    def _together(self, trials: dict[int, Config]) -> Iterator[tuple[Event, ...]]:
        """One cohort, if its model can be stacked. Trials that join it later are added to `trials`."""
        again = self._take_ups.pop(next(iter(trials)), None)
        with self.around(math.inf):
            cohort = self._form(trials, again)
        self._features = [*self._features[1 - FEATURES_KEPT :], cohort.inputs.features]
        if not cohort.rows:
            return
        reason = "" if cohort.direct else cohort.refuses_stacking()
        if not reason:
            if self.keeper is not None and again is None:
                self.keeper.begin(cohort.series)
            yield from self._cohort(cohort, trials, again)
            return
        if self.supply is not None:
            self.supply.shrink(1)
        message = f"trials run one after another: the model cannot be vectorised over trials ({reason})"
        yield tuple(Message(trial, message) for trial in trials)
        for trial, config in list(trials.items()):
            yield from self._group({trial: config})

    def _form(self, trials: dict[int, Config], again: TakeUp | None) -> Cohort:
        """A cohort of these trials; one that is taken up goes on from its state, without the rows that had ended there."""
        if again is None or again.state is None:
            origins = {trial: origin() for trial, origin in self.origins.items() if trial in trials}
            return Cohort(self.task, trials, self.device, self.dtype, self.cores, origins=origins)
        cohort = Cohort.again(self.task, again.state, self.device, self.dtype, self.cores)
        for after, joined in again.joins.items():
            trials |= joined if after < again.state.epoch else {}
        known = {*trials, *(trial for joined in again.joins.values() for trial in joined)}
        left = [i for i, row in enumerate(cohort.rows) if row.trial in known and not self._had_ended(row)]
        if len(left) < len(cohort.rows):
            cohort.keep(left)
        return cohort

    def _had_ended(self, row: Row) -> bool:
        """Whether the trial's end, told before, lies at the row's step or before it."""
        return row.trial in self._over and row.step >= self._ends[row.trial].step

    def _cohort(self, cohort: Cohort, trials: dict[int, Config], again: TakeUp | None) -> Iterator[tuple[Event, ...]]:
        yield from self._welcome(cohort, [row.trial for row in cohort.rows])
        while cohort.rows:
            if cohort.opens:
                with self.around(math.inf):
                    cohort.open()
            with self.around(work_of(self.task, cohort)):
                yield from self._epochs(cohort, trials, again)

    def _epochs(self, cohort: Cohort, trials: dict[int, Config], again: TakeUp | None) -> Iterator[tuple[Event, ...]]:
        """Epochs of a cohort until no row is left, or frozen layers are to train from the next one on."""
        while cohort.rows and not cohort.opens:
            if cohort.epoch and cohort.takes_more and not self.commands.stopped:
                more = self._joining(cohort, again)
                if more:
                    trials |= more
                    cohort.add(more)
                    yield from self._welcome(cohort, list(more))
            yield from self._epoch(cohort)

    def _joining(self, cohort: Cohort, again: TakeUp | None) -> Mapping[int, Config]:
        """Who joins between two epochs: those that joined here before, or whom a search sends."""
        if again is not None and cohort.epoch <= again.epochs:
            known = again.joins.get(cohort.epoch, {})
            if known or cohort.epoch < again.epochs:
                return known
        return {} if self.supply is None else self.supply.refill(len(cohort.rows))

    def _welcome(self, cohort: Cohort, trials: Sequence[int]) -> Iterator[tuple[Event, ...]]:
        rows = {row.trial: row for row in cohort.rows}
        events: list[Event] = []
        for trial in trials:
            known, row = trial in self._row_of or trial in self._ends, rows[trial]
            self._modules[trial], self._row_of[trial] = cohort, row
            self._script.enter(row)
            if not known:
                events.append(StateChanged(trial, TrialState.RUNNING, row.step))
            if trial not in self._told or known:
                events.append(CohortJoined(trial, cohort.series, cohort.epoch - row.epoch, len(cohort.rows)))
            self._told.setdefault(trial, row.epoch)
        if events:
            yield tuple(events)

    def _epoch(self, cohort: Cohort) -> Iterator[tuple[Event, ...]]:
        """One epoch of a cohort with its validation; ended trials leave the cohort."""
        started = told = time.perf_counter()
        losses, norms, outputs, targets, sizes = [], [], [], [], []
        for x, y in cohort.batches():
            if self._script.pending:
                yield from self._follow(cohort)
            reason = ""
            if self.stop_after is not None and all(row.step >= self.stop_after for row in cohort.rows):
                reason = f"stopped after step {self.stop_after}, as asked for"
            if self.commands.pending:
                before = time.perf_counter()
                yield from self._obey(cohort)
                started += time.perf_counter() - before  # a pause is not training time
                reason = "stopped by the user" if self.commands.stopped else reason
            if reason:
                for row in cohort.rows:
                    row.seconds += time.perf_counter() - started
                yield self._end(cohort, dict.fromkeys(range(len(cohort.rows)), (TrialState.STOPPED, reason)))
                return
            loss, norm, output = cohort.step(x, y)
            losses.append(loss)
            norms.append(norm)
            outputs.append(output)
            targets.append(y)
            sizes.append(y.shape[0 if cohort.direct else 1])
            now = time.perf_counter()
            if now - told > PROGRESS_SECONDS:
                told = now
                mean = torch.stack(losses).mean(0)
                if not torch.isfinite(mean).any():
                    break  # no trial of the cohort has anything left to learn
                yield self._progress(cohort, mean)
        yield from self._finish_epoch(cohort, losses, norms, sizes, outputs, targets, started)

    def _progress(self, cohort: Cohort, mean: Tensor) -> tuple[Event, ...]:
        return tuple(
            StepProgress(row.trial, row.epoch + 1, row.step, cohort.steps_per_epoch, float(value))
            for row, value in zip(cohort.rows, mean, strict=True)
        )

    def _finish_epoch(
        self,
        cohort: Cohort,
        losses: list[Tensor],
        norms: list[Tensor],
        sizes: list[int],
        outputs: list[Tensor],
        targets: list[Tensor],
        started: float,
    ) -> Iterator[tuple[Event, ...]]:
        steps = (
            torch.stack(losses).double().cpu() if cohort.device.type == "cpu" else torch.stack(losses).cpu().double()
        )
        counts = torch.tensor(sizes, dtype=torch.float64)[:, None]
        train_losses = (steps * counts).sum(0) / counts.sum()
        mean_norms = torch.stack(norms).mean(0).tolist()
        broken = (~torch.isfinite(steps)).int()
        validation = cohort.evaluate()
        penalties = cohort.penalties()
        train_metrics = _training_metrics(self.task.metric, outputs, targets, cohort.direct)
        seconds = time.perf_counter() - started
        events: list[EpochEnd] = []
        endings: dict[int, tuple[TrialState, str]] = {}
        cohort.epoch += 1
        for index, row in enumerate(cohort.rows):
            row.seconds += seconds
            if broken[:, index].any():
                first = int(broken[:, index].argmax())
                row.step += first + 1 - len(losses)
                value = float(steps[first, index])
                endings[index] = (
                    TrialState.DIVERGED,
                    f"training loss is {value} at step {row.step} (epoch {row.epoch + 1})",
                )
                continue
            row.epoch += 1
            loss, metric = validation[index]
            events.append(
                EpochEnd(
                    row.trial, row.epoch, row.step, float(train_losses[index]), penalties[index], train_metrics[index],
                    loss, metric, row.learning_rate, mean_norms[index], seconds,
                )
            )  # fmt: skip
            if row.watch.update(row.epoch, loss, metric):
                row.best = cohort.weights(index)
            if not math.isfinite(loss):
                endings[index] = TrialState.DIVERGED, f"validation loss is {loss} after epoch {row.epoch}"
            elif row.watch.ran_out:
                reason = f"validation loss has not fallen for {counted(row.watch.patience or 0, 'epoch')}"
                endings[index] = TrialState.EARLY_STOPPED, reason
            elif row.epoch >= row.config.epochs:
                endings[index] = TrialState.COMPLETED, ""
            elif self._had_ended(row):  # by a decision from outside, such as a pruner's
                endings[index] = self._ends[row.trial].state, self._ends[row.trial].reason
        # a trial that is trained again, after its cohort broke off, has told its first epochs already
        events = [event for event in events if event.epoch > self._told[event.trial]]
        self._told |= {event.trial: event.epoch for event in events}
        told_now = {event.trial for event in events}
        self._so_far |= {row.trial: ended(row, TrialState.STOPPED, "") for row in cohort.rows if row.trial in told_now}
        if self.supply is not None:
            places = {row.trial: index for index, row in enumerate(cohort.rows)}
            for trial, reason in self.supply.judge(events).items():
                if trial in places:  # the other seeds of a configuration may train elsewhere, or have ended
                    endings.setdefault(places[trial], (TrialState.PRUNED, reason))
        if self.keeper is not None and self.keeper.wants(len(endings) == len(cohort.rows)):
            self.keeper.take(cohort.state())
        messages = []
        if cohort.opens:
            going = [row for index, row in enumerate(cohort.rows) if index not in endings and row.trial in told_now]
            message = (
                "from here on all layers train, those that were frozen included; the optimizer's state starts anew"
            )
            messages = [Message(row.trial, message) for row in going]
        yield (*events, *messages, *self._end(cohort, endings))

    def _end(self, cohort: Cohort, endings: Mapping[int, tuple[TrialState, str]]) -> tuple[Event, ...]:
        """End some rows: keep their best weights, take them out of the cohort, say so. In the order of the trials, on which
        what a search makes of it must not depend."""
        events = []
        for index, (state, reason) in sorted(endings.items(), key=lambda item: cohort.rows[item[0]].trial):
            row = cohort.rows[index]
            so_far = self._so_far.get(row.trial)
            if so_far is not None and row.epoch < so_far.epochs_run and state is TrialState.STOPPED:
                end = replace(so_far, state=state, reason=reason)  # stopped while it was trained again in silence
            else:
                self.weights[row.trial] = row.best or cohort.weights(index)
                end = ended(row, state, reason)
            self._ends[row.trial] = end
            events.append(end)
            self._row_of.pop(row.trial, None)
        if self.supply is not None:
            self._forget_weights()
        if endings:
            cohort.keep([index for index in range(len(cohort.rows)) if index not in endings])
        return tuple(events)

    def _forget_weights(self) -> None:
        """Of a long search, only the best trials keep their weights: memory must not grow with the number of trials."""
        while len(self.weights) > WEIGHTS_KEPT:
            worst = max(self.weights, key=lambda trial: self._ends[trial].best_val_loss)
            del self.weights[worst], self._modules[worst]

    def _follow(self, cohort: Cohort) -> Iterator[tuple[Event, ...]]:
        """Make the changes that the script has for this step."""
        events: list[Event] = []
        changed = False
        for row in cohort.rows:
            for change, silent in self._script.due(row):
                found = list(_change(row, change.name, change.value))
                changed = changed or bool(found)
                events.extend([] if silent else found)
        if changed:
            cohort.refresh()
        if events:
            yield tuple(events)

    def _obey(self, cohort: Cohort) -> Iterator[tuple[Event, ...]]:
        """Carry out what was asked: live changes, pause (which waits here), resume; stop is left to the caller."""
        paused = False
        # what is trained again in silence is on record: a change waits until that is caught up with
        behind = any(row.epoch < self._told.get(row.trial, 0) for row in cohort.rows)
        while True:
            self._show(cohort)
            events: list[Event] = []
            for change in [] if behind else self.commands.take():
                for row in cohort.rows:
                    if change.trial in (None, row.trial):
                        found = list(_change(row, change.name, change.value))
                        if any(isinstance(event, KnobChanged) for event in found):
                            self._script.made(row.trial, Change(row.step, change.name, change.value))
                        events.extend(found)
            if events:
                cohort.refresh()
                yield tuple(events)
            if not self.commands.paused:
                break
            if not paused:
                paused = True
                yield tuple(StateChanged(row.trial, TrialState.PAUSED, row.step) for row in cohort.rows)
            self.commands.wait(for_changes=not behind)
        if paused and not self.commands.stopped:
            yield tuple(StateChanged(row.trial, TrialState.RUNNING, row.step) for row in cohort.rows)

    def _show(self, cohort: Cohort) -> None:
        """Answer whoever wants to see a trial's weights, by a copy."""
        for trial, mailbox in self.commands.take_peeks().items():
            started = time.perf_counter()
            index = next((i for i, row in enumerate(cohort.rows) if row.trial == trial), None)
            if index is None:
                mailbox.put(None)
                continue
            row, weights = cohort.rows[index], cohort.weights(index)
            mailbox.put(Peek(trial, row.epoch, row.step, weights, time.perf_counter() - started))


def _training_metrics(name: str, outputs: list[Tensor], targets: list[Tensor], direct: bool) -> list[float]:
    """The metric of each trial over what an epoch's steps put out, each step with the weights it had."""
    if direct:
        return [evaluate_metric(name, torch.cat(outputs), torch.cat(targets))]
    return evaluate_metrics(name, torch.cat(outputs, 1), torch.cat(targets, 1))


def _change(row: Row, name: str, new: float) -> Iterator[Event]:
    """Put a live change into force for one row."""
    old = getattr(row.config, name)
    if old == new:
        return
    try:
        row.config = row.config.replace(**{name: new})
    except ConfigError as error:  # fine alone, but at odds with another field of this trial
        yield Message(row.trial, f"not changed: {error}")
        return
    yield KnobChanged(row.trial, row.epoch + 1, row.step, name, old, new)


def train(
    task: TaskData,
    trials: Mapping[int, Config],
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    commands: Commands | None = None,
) -> Iterator[Event]:
    """Train some trials and yield what happens, event by event. What is given is checked at once.

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
