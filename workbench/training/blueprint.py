"""What builds the modules of a cohort again, without its data."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import nn

from workbench.core.config import Config
from workbench.models import build_model
from workbench.training.filling import filled
from workbench.training.row import TaskData
from workbench.training.state import Weights

__all__ = ["Blueprint"]


@dataclass(frozen=True)
class Blueprint:
    """Builds the modules of a cohort, and holds nothing of its copy of the data.

    module: copied for each; None for a pretrained model, which is built again.
    """

    task: TaskData
    config: Config
    module: nn.Module | None

    def module_of(self, weights: Weights) -> nn.Module:
        """A new module on the CPU, in evaluation mode, with these weights."""
        module = build_model(self.task, self.config) if self.module is None else copy.deepcopy(self.module).cpu()
        return filled(module, weights)
