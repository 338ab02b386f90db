"""Learning-rate schedules: pure functions of the base rate and of how far training is.

Time runs in optimizer steps. Where PyTorch's scheduler of the same name is stepped once an epoch (step, exponential), ours
agrees with it at the epochs' ends; exponential decays smoothly in between. `warmup` epochs rise linearly from 0 before any
schedule, which then sees the remaining steps. A learning rate that is set live is the rate of the next step, whatever the
schedule had made of it (see `after_live_change`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from workbench.core.config import Config
from workbench.core.registration import read_arguments, register_schedule
from workbench.core.registry import SCHEDULES

__all__ = ["Progress", "learning_rate_at", "preview"]


class Progress(NamedTuple):
    """Where the coming step stands.

    step: index from 0, after warm-up. total: number of steps after warm-up. steps_per_epoch: steps in an epoch.
    plateaus: how many times the monitored value has stalled for more than `plateau_patience` epochs.
    """

    step: int
    total: int
    steps_per_epoch: int
    plateaus: int = 0

    @property
    def epoch(self) -> float:
        """Epochs since the end of warm-up, with fractions."""
        return self.step / self.steps_per_epoch


Schedule = Callable[..., float]
SMALLEST_DROP = 1e-8
"""A drop of the plateau schedule that is no larger is not made: `eps` of PyTorch's ReduceLROnPlateau."""


def constant(rate: float, progress: Progress) -> float:
    """The base rate throughout."""
    return rate


def step(rate: float, progress: Progress, *, step_size: int, gamma: float) -> float:
    """Drops by γ every step_size epochs: η γ^⌊epoch / s⌋."""
    return float(rate * gamma ** (progress.step // (progress.steps_per_epoch * step_size)))


def exponential(rate: float, progress: Progress, *, decay: float) -> float:
    """Falls by the factor k each epoch: η k^epoch."""
    return float(rate * decay**progress.epoch)


def _half_cosine(top: float, bottom: float, share: float) -> float:
    return bottom + (top - bottom) * (1 + math.cos(math.pi * share)) / 2


def cosine(rate: float, progress: Progress, *, min_learning_rate: float) -> float:
    """Half a cosine from η down to η₋ over all steps (Loshchilov & Hutter 2017)."""
    return _half_cosine(rate, min_learning_rate, progress.step / progress.total)


def cosine_restarts(
    rate: float, progress: Progress, *, min_learning_rate: float, restart_epochs: int, restart_factor: int
) -> float:
    """Half cosines that start again at η, each cycle T× times as long as the one before (SGDR, 2017)."""
    epoch, length = progress.epoch, restart_epochs
    if restart_factor > 1:
        cycle = int(math.log(epoch / length * (restart_factor - 1) + 1, restart_factor) + 1e-12)
        epoch -= length * (restart_factor**cycle - 1) / (restart_factor - 1)
        length *= restart_factor**cycle
    return _half_cosine(rate, min_learning_rate, (epoch % length) / length)


def one_cycle(rate: float, progress: Progress) -> float:
    """Rises from η/25 to η over 30 % of the steps, falls to η/250,000 by cosines (Smith & Topin 2018)."""
    # PyTorch's defaults: pct_start 0.3, div_factor 25, final_div_factor 1e4, both phases by cosine
    peak = max(0.3 * progress.total - 1, 1e-9)
    if progress.step <= peak:
        return _half_cosine(rate / 25, rate, progress.step / peak)
    return _half_cosine(rate, rate / 25e4, (progress.step - peak) / max(progress.total - 1 - peak, 1e-9))


def plateau(rate: float, progress: Progress, *, gamma: float, plateau_patience: int, min_learning_rate: float) -> float:
    """Drops by γ each time the monitor (the validation loss by default) has not improved for over plateau_patience epochs."""
    for _ in range(progress.plateaus):
        lower = max(rate * gamma, min_learning_rate)
        if rate - lower <= SMALLEST_DROP:
            break
        rate = lower
    return rate


register_schedule("constant", constant, label="Constant")
register_schedule("step", step, label="Step")
register_schedule("exponential", exponential, label="Exponential")
register_schedule("cosine", cosine, label="Cosine")
register_schedule("cosine_restarts", cosine_restarts, label="Cosine with restarts")
register_schedule("one_cycle", one_cycle, label="One-cycle")
register_schedule("plateau", plateau, label="Reduce on plateau")


def learning_rate_at(config: Config, step: int, steps_per_epoch: int, plateaus: int = 0) -> float:
    """The learning rate of optimizer step `step` (from 0) of a trial."""
    return schedule_of(config, steps_per_epoch)(config.learning_rate, step, plateaus)


def schedule_of(config: Config, steps_per_epoch: int) -> Callable[[float, int, int], float]:
    """A function (base rate, step, plateaus) -> rate for one trial, its hyperparameters bound."""
    function = SCHEDULES[config.schedule].value
    arguments = read_arguments(function, config)
    warmup = config.warmup * steps_per_epoch
    total = config.epochs * steps_per_epoch - warmup

    if function is constant and not warmup:
        return lambda base, step, plateaus: base  # asked for at every step of every trial

    def rate(base: float, step: int, plateaus: int) -> float:
        if step < warmup:
            return base * (step + 1) / warmup
        return float(function(base, Progress(step - warmup, total, steps_per_epoch, plateaus), **arguments))

    return rate


def after_live_change(base: float, rate: float, peak: float, config: Config) -> float:
    """The rate of a step after a live change of the learning rate: the new value, lowered as the schedule falls from here.

    base: the new value. rate: of the schedule with that base. peak: the highest such rate since the change. While the schedule
    rises (warm-up, a restart), the rate stays at the new value; the schedule's lowest rate stays what it is.
    """
    if rate >= peak:
        return base
    lowest = min(config.min_learning_rate, base) if config.uses("min_learning_rate") else 0.0
    if peak <= lowest:
        return base
    return lowest + (base - lowest) * max(rate - lowest, 0.0) / (peak - lowest)


def preview(config: Config, points: int = 200) -> tuple[list[float], list[float]]:
    """The schedule as a curve for a figure: epochs and learning rates. The plateau schedule shows no drop beforehand."""
    steps_per_epoch = max(1, math.ceil(points / config.epochs))
    rate = schedule_of(config, steps_per_epoch)
    total = config.epochs * steps_per_epoch
    stride = max(1, total // points)
    steps = [*range(0, total, stride)]
    return [step / steps_per_epoch for step in steps], [rate(config.learning_rate, step, 0) for step in steps]
