"""The training engine: losses, optimizers, schedules and the cohort of stacked trials."""

from workbench.training.capacity import capacity
from workbench.training.commands import Commands, live_value
from workbench.training.filling import check_fits, filled
from workbench.training.losses import resolve_loss
from workbench.training.preparation import check, cohort_key, kept_apart, prepare
from workbench.training.resumption import Change, Keeper, Origin, TakeUp, Told
from workbench.training.schedules import Progress, learning_rate_at, preview
from workbench.training.state import CohortState, Trained, Weights
from workbench.training.trainer import Supply, Training, train

__all__ = [
    "Change",
    "CohortState",
    "Commands",
    "Keeper",
    "Origin",
    "Progress",
    "Supply",
    "TakeUp",
    "Told",
    "Trained",
    "Training",
    "Weights",
    "capacity",
    "check",
    "check_fits",
    "cohort_key",
    "filled",
    "kept_apart",
    "learning_rate_at",
    "live_value",
    "prepare",
    "preview",
    "resolve_loss",
    "train",
]
