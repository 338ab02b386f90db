"""A configuration to begin with on a task: its run lasts long enough to change the learning rate by hand while it trains."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workbench.core.config import HYPERPARAMETERS, Config

if TYPE_CHECKING:
    from workbench.tasks.task import Task

__all__ = ["SECONDS", "suggested_config"]

SECONDS = 10.0
"""How long the run should last, about, with the default model."""
EPOCH_SECONDS, STEP_SECONDS = 0.0039, 0.00086
"""What an epoch costs besides its steps (validation, log), and an optimizer step: measured with the default model and batch size
on two shared cores, on seven built-in data sets of 90 to 2,400 training rows."""
FOLDS_FACTOR = 2.0
"""What training all folds of a cross-validation costs in runs."""
LEAST = 10
"""Epochs on large data, where the run lasts longer."""


def suggested_config(task: Task) -> Config:
    """`Config()` with so many epochs that its run lasts some 10 seconds on two cores; see `Task.suggested_config`."""
    batch = int(HYPERPARAMETERS["batch_size"].default)
    cost = EPOCH_SECONDS + STEP_SECONDS * math.ceil(task.sizes["train"] / batch)
    epochs = SECONDS / cost / (FOLDS_FACTOR if task.folds is not None else 1.0)
    return Config(epochs=max(LEAST, int(float(f"{epochs:.2g}"))))
