"""What remains of a training that has ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from workbench.training.blueprint import Blueprint
from workbench.training.state import Weights

__all__ = ["Results"]


@dataclass(frozen=True)
class Results:
    """What is left of a training that has ended: each trial's best weights (of its first fold), and what builds its module.

    fold_weights: the best weights of each fold.
    """

    weights: dict[int, Weights]
    blueprints: dict[int, Blueprint]
    fold_weights: dict[int, tuple[Weights, ...]] = field(default_factory=dict)

    def module(self, trial: int) -> nn.Module:
        """A trial's module with its best weights, on the CPU, in evaluation mode. Raises: KeyError if it has none."""
        return self.blueprints[trial].module_of(self.weights[trial])
