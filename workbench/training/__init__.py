"""The training engine: losses, optimizers, schedules and the cohort of stacked trials."""

from workbench.training.capacity import capacity
from workbench.training.commands import Commands
from workbench.training.losses import resolve_loss
from workbench.training.preparation import check, cohort_key, prepare
from workbench.training.schedules import Progress, learning_rate_at, preview
from workbench.training.trainer import Supply, Training, train

__all__ = [
    "Commands",
    "Progress",
    "Supply",
    "Training",
    "capacity",
    "check",
    "cohort_key",
    "learning_rate_at",
    "prepare",
    "preview",
    "resolve_loss",
    "train",
]
