"""The training loop: a generator of events that knows no database, no widget and no search."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from workbench.errors import ConfigError, LogError, RunError
from workbench.events import EpochEnd, Event, KnobChanged, Remark, StateChanged, StepProgress, TrialEnded, TrialState
from workbench.hyperparameters import Config
from workbench.training.capacity import work_of
from workbench.training.cohort import Cohort, Row, TaskData, Weights
from workbench.training.commands import Commands
from workbench.training.metrics import evaluate_metric, evaluate_metrics
from workbench.training.preparation import cohort_key, prepare
from workbench.training.stopping import Watch

__all__ = ["Supply", "Training", "train"]

PROGRESS_SECONDS = 0.1
WEIGHTS_KEPT = 32
"""So many of the best trials of a search keep their weights in memory."""


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


class Training:
    """One call of the training loop over some trials; `weights` holds each ended trial's best weights.

    trials: Config by trial key, as `prepare` returned them. Iterate `moments()` for the events, in groups that belong to one
    moment (one epoch of all trials of a cohort), so that a log can write each group in one transaction.
    supply: where further trials come from; then a trial that raises ends as failed and the others go on, and only the best
    keep their weights. cores: threads that the rows of a cohort may be divided among. around: called with the work of a
    cohort (see `work_of`), for the time it trains.
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
    ) -> None:
        self.task, self.trials, self.dtype = task, dict(trials), dtype
        self.supply, self.cores, self.around = supply, cores, around
        self._told: dict[int, int] = {}
        self._ends: dict[int, TrialEnded] = {}
        self._row_of: dict[int, Row] = {}
        self.device = torch.device(device)
        self.commands = commands or Commands()
        self.weights: dict[int, Weights] = {}
        self._modules: dict[int, Cohort] = {}

    def moments(self) -> Iterator[tuple[Event, ...]]:
        """The events of all trials: cohort after cohort, each of its moments as one group."""
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
            short = _out_of_memory(error)
            if not left or (len(left) == 1 and self.supply is None) or not (short or self.supply is not None):
                raise
            text = f"{type(error).__name__}: {error}".strip()
            if len(left) == 1:
                yield (self._failed(next(iter(left)), text, traceback.format_exc()),)
                return
        size = -(-len(left) // 2) if short else 1
        if short and self.supply is not None:
            self.supply.shrink(size)
        remark = f"{len(left)} trials did not fit into memory together ({text}); tried again with {size} at a time"
        if not short:
            remark = f"the cohort raised {text}; its trials are tried again one by one, to find which"
        yield tuple(Remark(trial, remark) for trial in left)
        waiting = list(left.items())
        for start in range(0, len(waiting), size):
            if self.commands.stopped:
                ends = [
                    _ended(_Unstarted(trial), TrialState.STOPPED, "stopped by the user") for trial, _ in waiting[start:]
                ]
                yield tuple(ends)
                return
            yield from self._group(dict(waiting[start : start + size]))

    def _failed(self, trial: int, reason: str, trace: str) -> TrialEnded:
        row = self._row_of.get(trial) or _Unstarted(trial)
        end = _ended(row, TrialState.FAILED, reason, trace)
        self._ends[trial] = end
        return end

    def _together(self, trials: dict[int, Config]) -> Iterator[tuple[Event, ...]]:
        """One cohort, if its model can be stacked. Trials that join it later are added to `trials`."""
        cohort = Cohort(self.task, trials, self.device, self.dtype, self.cores)
        reason = "" if cohort.direct else cohort.refuses_stacking()
        if not reason:
            with self.around(work_of(self.task, cohort)):
                yield from self._cohort(cohort, trials)
            return
        if self.supply is not None:
            self.supply.shrink(1)
        remark = f"trials run one after another: the model cannot be vectorised over trials ({reason})"
        yield tuple(Remark(trial, remark) for trial in trials)
        for trial, config in list(trials.items()):
            yield from self._group({trial: config})

    def _cohort(self, cohort: Cohort, trials: dict[int, Config]) -> Iterator[tuple[Event, ...]]:
        yield from self._welcome(cohort, trials)
        while cohort.rows:
            yield from self._epoch(cohort)
            if self.supply is not None and cohort.rows and not self.commands.stopped:
                more = self.supply.refill(len(cohort.rows))
                if more:
                    trials |= more
                    cohort.add(more)
                    yield from self._welcome(cohort, more)

    def _welcome(self, cohort: Cohort, trials: Mapping[int, Config]) -> Iterator[tuple[Event, ...]]:
        for row in cohort.rows:
            self._modules[row.trial] = cohort
            self._row_of[row.trial] = row
        new = [trial for trial in trials if trial not in self._told]
        self._told |= dict.fromkeys(new, 0)
        if new:
            yield tuple(StateChanged(trial, TrialState.RUNNING) for trial in new)

    def _epoch(self, cohort: Cohort) -> Iterator[tuple[Event, ...]]:
        """One epoch of a cohort with its validation; ended trials leave the cohort."""
        started = told = time.perf_counter()
        losses, norms, outputs, targets, sizes = [], [], [], [], []
        for x, y in cohort.batches():
            if self.commands.pending:
                before = time.perf_counter()
                yield from self._obey(cohort)
                started += time.perf_counter() - before  # a pause is not training time
                if self.commands.stopped:
                    for row in cohort.rows:
                        row.seconds += time.perf_counter() - started
                    yield self._end(
                        cohort, dict.fromkeys(range(len(cohort.rows)), (TrialState.STOPPED, "stopped by the user"))
                    )
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
        ended: dict[int, tuple[TrialState, str]] = {}
        for index, row in enumerate(cohort.rows):
            row.seconds += seconds
            if broken[:, index].any():
                first = int(broken[:, index].argmax())
                row.step += first + 1 - len(losses)
                value = float(steps[first, index])
                ended[index] = (
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
                ended[index] = TrialState.DIVERGED, f"validation loss is {loss} after epoch {row.epoch}"
            elif row.watch.ran_out:
                reason = f"validation loss has not fallen for {row.config.patience} epochs"
                ended[index] = TrialState.EARLY_STOPPED, reason
            elif row.epoch >= row.config.epochs:
                ended[index] = TrialState.COMPLETED, ""
        # a trial that is trained again, after its cohort broke off, has told its first epochs already
        events = [event for event in events if event.epoch > self._told[event.trial]]
        self._told |= {event.trial: event.epoch for event in events}
        if self.supply is not None:
            places = {row.trial: index for index, row in enumerate(cohort.rows)}
            for trial, reason in self.supply.judge(events).items():
                ended.setdefault(places[trial], (TrialState.PRUNED, reason))
        yield (*events, *self._end(cohort, ended))

    def _end(self, cohort: Cohort, ended: Mapping[int, tuple[TrialState, str]]) -> tuple[Event, ...]:
        """End some rows: keep their best weights, take them out of the cohort, say so."""
        events = []
        for index, (state, reason) in ended.items():
            row = cohort.rows[index]
            self.weights[row.trial] = row.best or cohort.weights(index)
            end = self._ends[row.trial] = _ended(row, state, reason)
            events.append(end)
            self._row_of.pop(row.trial, None)
        if self.supply is not None:
            self._forget_weights()
        if ended:
            cohort.keep([index for index in range(len(cohort.rows)) if index not in ended])
        return tuple(events)

    def _forget_weights(self) -> None:
        """Of a long search, only the best trials keep their weights: memory must not grow with the number of trials."""
        while len(self.weights) > WEIGHTS_KEPT:
            worst = max(self.weights, key=lambda trial: self._ends[trial].best_val_loss)
            del self.weights[worst], self._modules[worst]

    def _obey(self, cohort: Cohort) -> Iterator[tuple[Event, ...]]:
        """Carry out what was asked: live changes, pause (which waits here), resume; stop is left to the caller."""
        paused = False
        while True:
            events: list[Event] = []
            for change in self.commands.take():
                for row in cohort.rows:
                    if change.trial in (None, row.trial):
                        events.extend(_change(row, change.name, change.value))
            if events:
                cohort.refresh()
                yield tuple(events)
            if not self.commands.paused:
                break
            if not paused:
                paused = True
                yield tuple(StateChanged(row.trial, TrialState.PAUSED, row.step) for row in cohort.rows)
            self.commands.wait()
        if paused and not self.commands.stopped:
            yield tuple(StateChanged(row.trial, TrialState.RUNNING, row.step) for row in cohort.rows)


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
        yield Remark(row.trial, f"not changed: {error}")
        return
    yield KnobChanged(row.trial, row.epoch + 1, row.step, name, old, new)


class _Unstarted:
    """What there is to say of a trial that never came to its first step."""

    def __init__(self, trial: int) -> None:
        self.trial, self.watch = trial, Watch(None, 0.0, 0)
        self.epoch = self.step = 0
        self.seconds = 0.0


def _ended(row: Row | _Unstarted, state: TrialState, reason: str, trace: str = "") -> TrialEnded:
    watch = row.watch
    best = (watch.best_epoch, watch.best_loss, watch.best_metric)
    return TrialEnded(row.trial, state, row.epoch, row.step, *best, row.seconds, reason, trace)


def _out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, in the words of Python, torch's CPU allocator or CUDA."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


def train(
    task: TaskData,
    trials: Mapping[int, Config],
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    commands: Commands | None = None,
) -> Iterator[Event]:
    """Train some trials and yield what happens, event by event.

    trials: Config by trial key; those that share architecture, batch size and loss train as one stacked model.
    commands: live changes, pause and stop, read at every step. Raises: ConfigError, ModelError before the first step;
    whatever the model, loss or data raise during training.
    """
    prepared = {trial: prepare(task, config) for trial, config in trials.items()}
    for moment in Training(task, prepared, device=device, dtype=dtype, commands=commands).moments():
        yield from moment
