"""The monitor of a trial: the best epoch, patience, and plateaus; and a length fixed beforehand."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from workbench.core.config import Config

__all__ = ["FixedLength", "Patience", "Watch", "plateau_drops"]


class FixedLength(NamedTuple):
    """When a trial without validation rows ends, and drops its rate.

    epochs: after which it ends; its schedule keeps the length that the configuration plans. drops: the epochs after which the
    plateau schedule drops.
    """

    epochs: int
    drops: Sequence[int] = ()


@dataclass
class Patience:
    """Counts epochs since a value last fell by more than `min_delta`."""

    min_delta: float = 0.0
    reference: float = math.inf
    waited: int = 0

    def update(self, value: float) -> int:
        """Add one epoch's value; returns the epochs since the last fall."""
        if value < self.reference - self.min_delta:
            self.reference, self.waited = value, 0
        else:
            self.waited += 1
        return self.waited


@dataclass
class Watch:
    """Monitors one trial's validation loss, or one of its metrics.

    patience: epochs to wait before stopping early, None for never. monitor: "loss" or the name of a metric. plateaus: drops the
    plateau schedule has made. best_value: the monitored value at the best epoch, turned so that lower is better. fixed_epochs,
    drops: of a trial without validation rows, see `FixedLength`; its last epoch counts as its best one.
    """

    patience: int | None
    min_delta: float
    plateau_patience: int
    monitor: str = "loss"
    best_value: float = math.inf
    best_epoch: int = 0
    best_loss: float = math.inf
    best_metric: float = math.nan
    plateaus: int = 0
    fixed_epochs: int | None = None
    drops: Sequence[int] = ()
    _stop: Patience = field(default_factory=Patience)
    _plateau: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        self._stop.min_delta = self.min_delta

    def update(self, epoch: int, loss: float, metric: float, monitored: float | None = None) -> bool:
        """Add one epoch; returns whether it is the best so far.

        monitored: what is compared, lower is better; by default the validation loss.
        """
        if self.fixed_epochs is not None:
            self.best_epoch = epoch
            self.plateaus += sum(drop == epoch for drop in self.drops)
            return True
        value = loss if monitored is None else monitored
        improved = value < self.best_value and math.isfinite(loss)  # without a finite loss, the trial has diverged
        if improved:
            self.best_epoch, self.best_value, self.best_loss, self.best_metric = epoch, value, loss, metric
        self._stop.update(value)
        if self._plateau.update(value) > self.plateau_patience:
            self.plateaus += 1
            self._plateau.waited = 0
        return improved

    def rate_was_set(self) -> None:
        """The learning rate was set live: the plateau schedule counts its drops from here."""
        self.plateaus = self._plateau.waited = 0

    def as_dict(self) -> dict[str, Any]:
        """Its state as plain values (`dataclasses.asdict`, ten times as fast)."""
        return {**vars(self), "_stop": dict(vars(self._stop)), "_plateau": dict(vars(self._plateau))}

    @property
    def ran_out(self) -> bool:
        """Whether patience is spent."""
        return self.patience is not None and self._stop.waited >= self.patience


def plateau_drops(path: Iterable[tuple[Config, str, Iterable[float], Collection[int]]]) -> list[int]:
    """The epochs, from 1, after which the plateau schedule of a trial dropped.

    path: the configuration, the monitor, its value by epoch (lower is better), and the epochs in which the learning rate was set
    live, from where the schedule counts again (see `Row.rate_was_set`); of a branch, those of the trials that it came from first,
    up to the epoch at which the next one began.
    """
    found: list[int] = []
    epoch, before = 0, None
    for config, monitor, values, set_in in path:
        watch = Watch(config.patience, config.min_delta, config.plateau_patience, monitor)
        if before is not None:
            watch.plateaus = before.plateaus
            watch._plateau = before._plateau if before.monitor == monitor else watch._plateau
        for value in values:
            epoch += 1
            if epoch in set_in:
                watch.rate_was_set()
            plateaus = watch.plateaus
            watch.update(epoch, value, math.nan)
            found += [epoch] * (watch.plateaus - plateaus)
        before = watch
    return found
