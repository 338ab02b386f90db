"""Tune deep-learning models by hand and by search, live in a notebook.

import workbench as wb
bench = wb.Workbench(wb.Task.load("digits"), log="trials.db")
bench
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# filling the tables of choices is what these imports are for: a Config is checked against them
from workbench import models as models
from workbench import training as training
from workbench.core.version import __version__

if TYPE_CHECKING:  # what `_HOMES` loads lazily, for type checkers
    from workbench.core.config import Config as Config
    from workbench.core.domains import Choice as Choice
    from workbench.core.domains import IntRange as IntRange
    from workbench.core.domains import LogRange as LogRange
    from workbench.core.domains import Range as Range
    from workbench.core.errors import CheckpointError as CheckpointError
    from workbench.core.errors import ConfigError as ConfigError
    from workbench.core.errors import LogError as LogError
    from workbench.core.errors import ModelError as ModelError
    from workbench.core.errors import RunError as RunError
    from workbench.core.errors import SealError as SealError
    from workbench.core.errors import TaskError as TaskError
    from workbench.core.errors import WorkbenchError as WorkbenchError
    from workbench.core.registration import register_loss as register_loss
    from workbench.core.registration import register_metric as register_metric
    from workbench.core.registration import register_model as register_model
    from workbench.core.registration import register_optimizer as register_optimizer
    from workbench.core.registration import register_schedule as register_schedule
    from workbench.log import TrialLog as TrialLog
    from workbench.methods.ensembles.ensemble import Ensemble as Ensemble
    from workbench.methods.ensembles.ensemble import load_model as load_model
    from workbench.models import load_weights as load_weights
    from workbench.models import register_backbone as register_backbone
    from workbench.runs.trained_model import TrainedModel as TrainedModel
    from workbench.tasks import Task as Task
    from workbench.training import train as train
    from workbench.workbench import Workbench as Workbench


_HOMES = {
    "CheckpointError": "workbench.core.errors",
    "Choice": "workbench.core.domains",
    "Config": "workbench.core.config",
    "ConfigError": "workbench.core.errors",
    "Ensemble": "workbench.methods.ensembles.ensemble",
    "IntRange": "workbench.core.domains",
    "LogError": "workbench.core.errors",
    "LogRange": "workbench.core.domains",
    "ModelError": "workbench.core.errors",
    "Range": "workbench.core.domains",
    "RunError": "workbench.core.errors",
    "SealError": "workbench.core.errors",
    "Task": "workbench.tasks",
    "TaskError": "workbench.core.errors",
    "TrainedModel": "workbench.runs.trained_model",
    "TrialLog": "workbench.log",
    "Workbench": "workbench.workbench",
    "WorkbenchError": "workbench.core.errors",
    "load_model": "workbench.methods.ensembles.ensemble",
    "load_weights": "workbench.models",
    "register_backbone": "workbench.models",
    "register_loss": "workbench.core.registration",
    "register_metric": "workbench.core.registration",
    "register_model": "workbench.core.registration",
    "register_optimizer": "workbench.core.registration",
    "register_schedule": "workbench.core.registration",
    "train": "workbench.training",
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'workbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
