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

if TYPE_CHECKING:
    from workbench.domains import Choice, IntRange, LogRange, Range
    from workbench.errors import ConfigError, LogError, ModelError, RunError, TaskError, WorkbenchError
    from workbench.hyperparameters import Config
    from workbench.log import TrialLog
    from workbench.registration import (
        register_loss,
        register_metric,
        register_model,
        register_optimizer,
        register_schedule,
    )
    from workbench.tasks import Task
    from workbench.training import train
    from workbench.workbench import Workbench

__version__ = "0.1.0"

_HOMES = {
    "Choice": "workbench.domains",
    "Config": "workbench.hyperparameters",
    "ConfigError": "workbench.errors",
    "IntRange": "workbench.domains",
    "LogError": "workbench.errors",
    "LogRange": "workbench.domains",
    "ModelError": "workbench.errors",
    "Range": "workbench.domains",
    "RunError": "workbench.errors",
    "Task": "workbench.tasks",
    "TaskError": "workbench.errors",
    "TrialLog": "workbench.log",
    "Workbench": "workbench.workbench",
    "WorkbenchError": "workbench.errors",
    "register_loss": "workbench.registration",
    "register_metric": "workbench.registration",
    "register_model": "workbench.registration",
    "register_optimizer": "workbench.registration",
    "register_schedule": "workbench.registration",
    "train": "workbench.training",
}

__all__ = [*sorted(_HOMES), "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'workbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
