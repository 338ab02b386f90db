"""When and how a trial ends, and whether an error means that memory ran out."""

from __future__ import annotations

import math

import torch

from workbench.core.events import TrialEnded, TrialState
from workbench.core.text import counted
from workbench.training.row import Row
from workbench.training.stopping import Watch

__all__ = ["Unstarted", "ended", "ending_of", "out_of_memory"]


class Unstarted:
    """In place of a row, for a trial that ended before its first step."""

    def __init__(self, trial: int) -> None:
        self.trial, self.watch = trial, Watch(None, 0.0, 0)
        self.epoch = self.step = 0
        self.seconds = 0.0


def ended(row: Row | Unstarted, state: TrialState, reason: str, trace: str = "") -> TrialEnded:
    """The end of a trial, from where its row stands."""
    watch = row.watch
    best = (watch.best_epoch, watch.best_loss, watch.best_metric)
    return TrialEnded(row.trial, state, row.epoch, row.step, *best, row.seconds, reason, trace)


def ending_of(row: Row, loss: float) -> tuple[TrialState, str] | None:
    """Whether a trial's own epochs end it: its final state, and the reason. loss: the validation loss of its last epoch."""
    if row.watch.fixed_epochs is not None:
        return (TrialState.COMPLETED, "") if row.epoch >= row.watch.fixed_epochs else None
    if not math.isfinite(loss):
        return TrialState.DIVERGED, f"validation loss is {loss} after epoch {row.epoch}"
    if row.watch.ran_out:
        waited = counted(row.watch.patience or 0, "epoch")
        monitor = row.watch.monitor
        changed = "loss has not fallen" if monitor == "loss" else f"{monitor} has not improved"
        return TrialState.EARLY_STOPPED, f"validation {changed} for {waited}"
    if row.epoch >= row.config.epochs:
        return TrialState.COMPLETED, ""
    return None


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, in the words of Python, torch's CPU allocator or CUDA."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
