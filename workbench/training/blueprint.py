"""What builds the modules of a cohort again, without its data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from torch import nn

from workbench.core.config import Config
from workbench.core.registry import MODELS
from workbench.models import build_model
from workbench.training.filling import filled
from workbench.training.row import TaskData
from workbench.training.state import Weights

__all__ = ["Blueprint"]


@dataclass(frozen=True)
class Blueprint:
    """Builds the module of a trial, and holds nothing of a cohort's copy of the data.

    builder: that of the model when the trial trained. The module is built, not copied from the one that trained, whose state
    in Python is that of its last step.
    """

    task: TaskData
    config: Config
    builder: Callable[..., Any]

    @classmethod
    def of(cls, task: TaskData, config: Config) -> Self:
        """What builds the module of a configuration by the builder that is registered now."""
        return cls(task, config, MODELS[config.model].value)

    def module_of(self, weights: Weights) -> nn.Module:
        """A new module on the CPU, in evaluation mode, with these weights."""
        return filled(build_model(self.task, self.config, self.builder), weights)
