"""The training engine: losses, optimizers, schedules and the cohort of stacked trials."""

from workbench.training.capacity import capacity
from workbench.training.combinations import without_effect
from workbench.training.commands import Commands, live_value
from workbench.training.filling import check_fits, filled
from workbench.training.losses import resolve_loss
from workbench.training.optimizer_registration import register_optimizer
from workbench.training.preparation import check, cohort_key, draws, prepare, unstackable_fields
from workbench.training.resumption import Change, Keeper, LoggedTrial, Origin, ResumedCohort
from workbench.training.schedules import Progress, learning_rate_at, preview
from workbench.training.state import CohortState, Trained, Weights
from workbench.training.stopping import FixedLength, plateau_drops
from workbench.training.supply import Supply
from workbench.training.trainer import Training, train

__all__ = [
    "Change",
    "CohortState",
    "Commands",
    "FixedLength",
    "Keeper",
    "LoggedTrial",
    "Origin",
    "Progress",
    "ResumedCohort",
    "Supply",
    "Trained",
    "Training",
    "Weights",
    "capacity",
    "check",
    "check_fits",
    "cohort_key",
    "draws",
    "filled",
    "learning_rate_at",
    "live_value",
    "plateau_drops",
    "prepare",
    "preview",
    "register_optimizer",
    "resolve_loss",
    "train",
    "unstackable_fields",
    "without_effect",
]
