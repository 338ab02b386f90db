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

if TYPE_CHECKING:  # what `_HOMES` loads lazily, for type checkers
    from workbench.domains import Choice as Choice
    from workbench.domains import IntRange as IntRange
    from workbench.domains import LogRange as LogRange
    from workbench.domains import Range as Range
    from workbench.ensembles import Ensemble as Ensemble
    from workbench.ensembles import load_model as load_model
    from workbench.errors import CheckpointError as CheckpointError
    from workbench.errors import ConfigError as ConfigError
    from workbench.errors import LogError as LogError
    from workbench.errors import ModelError as ModelError
    from workbench.errors import RunError as RunError
    from workbench.errors import SealError as SealError
    from workbench.errors import TaskError as TaskError
    from workbench.errors import WorkbenchError as WorkbenchError
    from workbench.hyperparameters import Config as Config
    from workbench.log import TrialLog as TrialLog
    from workbench.models import load_weights as load_weights
    from workbench.models import register_backbone as register_backbone
    from workbench.registration import register_loss as register_loss
    from workbench.registration import register_metric as register_metric
    from workbench.registration import register_model as register_model
    from workbench.registration import register_optimizer as register_optimizer
    from workbench.registration import register_schedule as register_schedule
    from workbench.tasks import Task as Task
    from workbench.trained import TrainedModel as TrainedModel
    from workbench.training import train as train
    from workbench.workbench import Workbench as Workbench

__version__ = "0.1.0"

_HOMES = {
    "CheckpointError": "workbench.errors",
    "Choice": "workbench.domains",
    "Config": "workbench.hyperparameters",
    "ConfigError": "workbench.errors",
    "Ensemble": "workbench.ensembles",
    "IntRange": "workbench.domains",
    "LogError": "workbench.errors",
    "LogRange": "workbench.domains",
    "ModelError": "workbench.errors",
    "Range": "workbench.domains",
    "RunError": "workbench.errors",
    "SealError": "workbench.errors",
    "Task": "workbench.tasks",
    "TaskError": "workbench.errors",
    "TrainedModel": "workbench.trained",
    "TrialLog": "workbench.log",
    "Workbench": "workbench.workbench",
    "WorkbenchError": "workbench.errors",
    "load_model": "workbench.ensembles",
    "load_weights": "workbench.models",
    "register_backbone": "workbench.models",
    "register_loss": "workbench.registration",
    "register_metric": "workbench.registration",
    "register_model": "workbench.registration",
    "register_optimizer": "workbench.registration",
    "register_schedule": "workbench.registration",
    "train": "workbench.training",
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'workbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
