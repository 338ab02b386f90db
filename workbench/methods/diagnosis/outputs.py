"""Whether a module bounds its outputs: found by trying, since a function such as `F.softmax` is no layer that could be seen."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from workbench.methods.diagnosis.case import OutputBounds
from workbench.models import SeededRandomness

__all__ = ["output_bounds"]

SCALES = (-1e3, 1e3, 1e6)
"""Factors of all weights: outputs that stay where they are do not follow the weights."""
LARGEST, STAYS = 20.0, 1.01
"""Bounds beyond the first matter to no loss; outputs that grow by less than the second from 10^3 to 10^6 stay where they are."""


@torch.no_grad()
def output_bounds(module: nn.Module, x: Tensor) -> OutputBounds | None:
    """The smallest and the largest output of a module on some rows, with its weights scaled up; None if they have no bounds.

    x: (rows, *input_shape). On a copy in evaluation mode; torch's random numbers stay as they are.
    """
    found, sums = [], []
    with SeededRandomness(torch.Generator(x.device).manual_seed(0)):
        for scale in (1.0, *SCALES):
            twin = copy.deepcopy(module).eval()
            for weights in twin.parameters():
                weights.mul_(scale)
            try:
                outputs = twin(x)
            except Exception:  # a module of the user's own may check its values; then nothing is known of it
                return None
            if not isinstance(outputs, Tensor) or not outputs.is_floating_point() or not torch.isfinite(outputs).all():
                return None
            found.append(outputs)
            sums.append(outputs.dim() == 2 and bool(((outputs.sum(1) - 1).abs() < 1e-3).all()))
    stacked = torch.stack(found)
    low, high = float(stacked.min()), float(stacked.max())
    larger, largest = (float(one.abs().max()) for one in found[-2:])
    if largest > LARGEST or largest > STAYS * larger or low == high:
        return None
    return OutputBounds(low, high, all(sums) and low > -1e-6)
