"""One trial's row of a cohort: its configuration and progress."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch
from torch import Tensor

from workbench.core.config import Config
from workbench.metrics.predictions import Scale
from workbench.tasks.rows import Inputs
from workbench.training.optimizers import Rule, rule_of
from workbench.training.schedules import after_live_change, schedule_of
from workbench.training.state import ORDER_SEED, RowProgress, Trained, Weights
from workbench.training.stopping import FixedLength, Watch

if TYPE_CHECKING:
    from workbench.tasks.fold_data import Folds

__all__ = ["Row", "SplitData", "TaskData"]


class SplitData(Protocol):
    """Inputs (rows, ...) and targets (rows, ...) of one split: y as losses see them, target in their own unit."""

    @property
    def x(self) -> Inputs: ...
    @property
    def y(self) -> Tensor: ...
    @property
    def target(self) -> Tensor: ...
    @property
    def weight(self) -> Tensor | None: ...


class TaskData(Protocol):
    """What training asks of a task."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def metrics(self) -> tuple[str, ...]: ...
    @property
    def monitor(self) -> str: ...
    @property
    def target(self) -> Scale: ...
    @property
    def classes(self) -> tuple[str, ...] | None: ...
    @property
    def target_names(self) -> tuple[str, ...] | None: ...
    @property
    def positions(self) -> tuple[int, ...]: ...
    @property
    def input_shape(self) -> Any: ...
    @property
    def output_size(self) -> int: ...
    @property
    def train(self) -> SplitData: ...
    @property
    def validation(self) -> SplitData: ...
    @property
    def folds(self) -> Folds | None: ...


@dataclass
class Row:
    """One trial of the cohort, or one fold of it.

    rate: (base rate, step, plateaus) -> rate of its schedule. order: draws the data's order. peak: the schedule's highest rate
    since the learning rate was set live, None if it was not. fold: its index; the folds of a trial share their `watch`, which
    monitors the mean.
    """

    trial: int
    config: Config
    rate: Callable[[float, int, int], float]
    watch: Watch
    order: torch.Generator
    rule: Rule
    best: Weights | None = None
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    learning_rate: float = math.nan
    peak: float | None = None
    fold: int = 0

    def next_rate(self) -> float:
        """The learning rate of the coming step."""
        base = self.config.learning_rate
        rate = self.rate(base, self.step, self.watch.plateaus)
        if self.peak is None:
            return rate
        self.peak = max(self.peak, rate)
        return after_live_change(base, rate, self.peak, self.config)

    def rate_was_set(self) -> None:
        """Continue from a learning rate that was set live: the plateau schedule counts its drops from here."""
        self.watch.rate_was_set()
        self.peak = self.rate(self.config.learning_rate, self.step, 0)

    @classmethod
    def begin(
        cls, trial: int, config: Config, steps_per_epoch: int, monitor: str, fixed: FixedLength | None = None
    ) -> Self:
        """A trial before its first step."""
        watch = Watch(config.patience, config.min_delta, config.plateau_patience, monitor)
        if fixed is not None:
            watch.fixed_epochs, watch.drops, watch.best_loss = fixed.epochs, list(fixed.drops), math.nan
        order = torch.Generator().manual_seed(config.seed + ORDER_SEED)
        return cls(trial, config, schedule_of(config, steps_per_epoch), watch, order, rule_of(config))

    @classmethod
    def restore(cls, progress: RowProgress, order: Tensor, steps_per_epoch: int, best: Weights | None) -> Self:
        """A row in the state that was saved."""
        row = cls.begin(progress.trial, Config(**progress.config), steps_per_epoch, progress.watch["monitor"])
        row.order.set_state(order)
        row.watch, row.best = progress.restored_watch(), best
        row.epoch, row.step, row.seconds = progress.epoch, progress.step, progress.seconds
        row.learning_rate, row.peak, row.fold = progress.learning_rate, progress.peak, progress.fold
        return row

    def progress(self) -> RowProgress:
        """How far the row has come, in plain values."""
        return RowProgress(
            self.trial, self.config.model_dump(), self.epoch, self.step, self.seconds, self.learning_rate,
            self.watch.as_dict(), self.peak, self.fold,
        )  # fmt: skip

    @classmethod
    def branch(
        cls,
        trial: int,
        config: Config,
        steps_per_epoch: int,
        monitor: str,
        origin: Trained,
        fixed: FixedLength | None = None,
    ) -> Self:
        """A new trial that continues from a state of another one.

        Its best epoch is one of its own. Early stopping compares with the lowest loss of the whole path, but counts from
        zero; the plateaus that the schedule has acted on are kept. Steps are counted as if the whole path had had this batch
        size, so that the schedule follows the epoch. The same seed continues the same random numbers, another seed begins new
        ones.
        """
        row = cls.begin(trial, config, steps_per_epoch, monitor, fixed)
        before = origin.progress.restored_watch()
        row.epoch = origin.progress.epoch
        row.step = row.epoch * steps_per_epoch
        row.watch.plateaus = before.plateaus
        if before.monitor == monitor:
            row.watch._plateau, row.watch._stop.reference = before._plateau, before._stop.reference
        if all(getattr(config, name) == getattr(origin.config, name) for name in ("learning_rate", "schedule")):
            row.peak = origin.progress.peak
        if config.seed == origin.config.seed:
            row.order.set_state(origin.order)
        return row
