"""The training loop: a generator of events that knows no database, no widget and no search."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from workbench.errors import ConfigError, Problem
from workbench.events import EpochEnd, Event, KnobChanged, Remark, StateChanged, StepProgress, TrialEnded, TrialState
from workbench.hyperparameters import Config
from workbench.models import build_model, probe
from workbench.registry import LOSSES, METRICS, MODELS
from workbench.training.cohort import Cohort, Row, TaskData, Weights
from workbench.training.commands import Commands
from workbench.training.losses import resolve_loss
from workbench.training.metrics import evaluate_metric

__all__ = ["Training", "cohort_key", "prepare", "train"]

PROGRESS_SECONDS = 0.1


def prepare(task: TaskData, config: Config) -> Config:
    """`config` made concrete for the task, after every check that can be made before the first step.

    Raises: ConfigError naming the field; ModelError when the model cannot be built or returns the wrong shape.
    """
    config = resolve_loss(config, task.kind)
    METRICS[task.metric]  # an unknown metric fails here, with a hint
    rows = len(task.train.x)
    if config.batch_size > rows:
        message = (
            f"batch_size={config.batch_size}: larger than the training split of {rows} rows; choose at most {rows}"
        )
        raise ConfigError([Problem("batch_size", config.batch_size, message)])
    probe(build_model(task, config), task, config.model)
    return config


def cohort_key(config: Config) -> tuple[Any, ...]:
    """Trials with the same key can be stacked: same architecture, batch size and loss."""
    entries = MODELS[config.model], LOSSES[config.loss]
    names = sorted(frozenset().union(*(entry.uses for entry in entries)))
    return (config.model, config.loss, config.batch_size, *((name, getattr(config, name)) for name in names))


class Training:
    """One call of the training loop over some trials; `weights` holds each ended trial's best weights.

    trials: Config by trial key, as `prepare` returned them. Iterate `moments()` for the events, in groups that belong to one
    moment (one epoch of all trials of a cohort), so that a log can write each group in one transaction.
    """

    def __init__(
        self,
        task: TaskData,
        trials: Mapping[int, Config],
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        commands: Commands | None = None,
    ) -> None:
        self.task, self.trials, self.dtype = task, dict(trials), dtype
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

    def module(self, trial: int) -> torch.nn.Module:
        """A trial's module with its best weights, on the CPU, in evaluation mode. Raises: KeyError before it ended."""
        return self._modules[trial].module_of(self.weights[trial])

    def work(self) -> float:
        """Floating-point operations of the largest cohort's forward pass over one batch; inf if they cannot be counted."""
        from torch.utils.flop_counter import FlopCounterMode

        sizes = Counter(cohort_key(config) for config in self.trials.values())
        found = []
        for config in {cohort_key(config): config for config in self.trials.values()}.values():
            model = build_model(self.task, config)
            rows: list[int] = []
            model.register_forward_pre_hook(lambda _, inputs, rows=rows: rows.append(len(inputs[0])))
            try:
                with FlopCounterMode(display=False) as counter:
                    probe(model, self.task, config.model)
            except Exception:  # a model that the counter cannot follow trains all the same
                return math.inf
            found.append(counter.get_total_flops() / sum(rows) * config.batch_size * sizes[cohort_key(config)])
        return float(max(found))

    def _group(self, trials: dict[int, Config]) -> Iterator[tuple[Event, ...]]:
        cohort = Cohort(self.task, trials, self.device, self.dtype)
        reason = "" if cohort.direct else cohort.refuses_stacking()
        if not reason:
            yield from self._cohort(cohort)
            return
        remark = f"trials run one after another: the model cannot be vectorised over trials ({reason})"
        yield tuple(Remark(trial, remark) for trial in trials)
        for trial, config in trials.items():
            yield from self._cohort(Cohort(self.task, {trial: config}, self.device, self.dtype))

    def _cohort(self, cohort: Cohort) -> Iterator[tuple[Event, ...]]:
        for row in cohort.rows:
            self._modules[row.trial] = cohort
        yield tuple(StateChanged(row.trial, TrialState.RUNNING) for row in cohort.rows)
        while cohort.rows:
            yield from self._epoch(cohort)

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
        yield from self._finish_epoch(
            cohort, losses, norms, sizes, _Collected(outputs, targets, cohort.direct), started
        )

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
        collected: _Collected,
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
        seconds = time.perf_counter() - started
        events: list[Event] = []
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
            train_metric = evaluate_metric(self.task.metric, *collected.of(index))
            events.append(
                EpochEnd(
                    row.trial, row.epoch, row.step, float(train_losses[index]), penalties[index], train_metric,
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
        yield (*events, *self._end(cohort, ended))

    def _end(self, cohort: Cohort, ended: Mapping[int, tuple[TrialState, str]]) -> tuple[Event, ...]:
        """End some rows: keep their best weights, take them out of the cohort, say so."""
        events = []
        for index, (state, reason) in ended.items():
            row = cohort.rows[index]
            self.weights[row.trial] = row.best or cohort.weights(index)
            events.append(_ended(row, state, reason))
        if ended:
            cohort.keep([index for index in range(len(cohort.rows)) if index not in ended])
        return tuple(events)

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


class _Collected:
    """Outputs and targets of an epoch's steps, joined when the metric asks for them."""

    def __init__(self, outputs: list[Tensor], targets: list[Tensor], direct: bool) -> None:
        axis = 0 if direct else 1
        self._outputs, self._targets, self._direct = torch.cat(outputs, axis), torch.cat(targets, axis), direct

    def of(self, index: int) -> tuple[Tensor, Tensor]:
        return (self._outputs, self._targets) if self._direct else (self._outputs[index], self._targets[index])


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


def _ended(row: Row, state: TrialState, reason: str) -> TrialEnded:
    watch = row.watch
    return TrialEnded(
        row.trial, state, row.epoch, row.step, watch.best_epoch, watch.best_loss, watch.best_metric, row.seconds, reason
    )


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
