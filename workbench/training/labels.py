"""Targets and the weights of their rows in one tensor, so that both are shuffled and gathered together."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

__all__ = ["Labels"]


@dataclass(frozen=True)
class Labels:
    """How the targets of a task lie in a tensor. weighted: whether rows have weights; else the tensor is that of the targets.

    shape: of the targets of a row. classes: whether they are class indices.
    """

    weighted: bool
    shape: tuple[int, ...]
    classes: bool

    def pack(self, targets: Tensor, weights: Tensor | None, dtype: torch.dtype) -> Tensor:
        """Targets (rows, *shape) with weights (rows,): as they are, or (rows, values + 1) with the weight in the last place.

        Class indices are whole numbers below 2**24, which a float32 holds exactly.
        """
        targets = targets.to(dtype) if targets.is_floating_point() else targets
        if not self.weighted or weights is None:
            return targets
        flat = targets.reshape(len(targets), -1).to(dtype)
        return torch.cat([flat, weights.to(flat.device, dtype)[:, None]], 1)

    def unpack(self, packed: Tensor) -> tuple[Tensor, Tensor | None]:
        """Targets (..., rows, *shape) and weights (..., rows), None for equal ones."""
        if not self.weighted:
            return packed, None
        targets = packed[..., : prod(self.shape)].reshape(*packed.shape[:-1], *self.shape)
        return targets.long() if self.classes else targets, packed[..., -1]
