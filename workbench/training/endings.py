"""The last words on a trial, and what an error says of its cause."""

from __future__ import annotations

import torch

from workbench.core.events import TrialEnded, TrialState
from workbench.training.row import Row
from workbench.training.stopping import Watch

__all__ = ["Unstarted", "ended", "out_of_memory"]


class Unstarted:
    """What there is to say of a trial that never came to its first step."""

    def __init__(self, trial: int) -> None:
        self.trial, self.watch = trial, Watch(None, 0.0, 0)
        self.epoch = self.step = 0
        self.seconds = 0.0


def ended(row: Row | Unstarted, state: TrialState, reason: str, trace: str = "") -> TrialEnded:
    """The end of a trial, from where its row stands."""
    watch = row.watch
    best = (watch.best_epoch, watch.best_loss, watch.best_metric)
    return TrialEnded(row.trial, state, row.epoch, row.step, *best, row.seconds, reason, trace)


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, in the words of Python, torch's CPU allocator or CUDA."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
