"""Whether a model that is built from a trial's weights gives the outputs that were measured with them.

Each validation keeps the outputs of a few rows next to the weights. A model that is handed out is built again from its builder
and the weights, so it agrees unless the measured one depended on something else: state in Python, a buffer that no checkpoint
holds, random numbers, the other rows of its batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from workbench.tasks.rows import Inputs, pieces

__all__ = ["MISMATCH", "disagreement", "sample_rows"]

ROWS, NUMBERS = 64, 2**16
"""The outputs of so many validation rows are kept at most, and so many numbers."""
MISMATCH = "the model built from its weights is not the one that was measured, so the test set stays closed to it"
OTHER_KERNELS = 5e-3
"""What a GPU's outputs may differ by, relative to the largest: its convolutions round to 10 bits by default."""


@lru_cache(8)
def sample_rows(rows: int, numbers: int) -> Tensor:
    """The indices of the validation rows whose outputs are kept, ascending: a function of their number alone.

    numbers: outputs of a row.
    """
    count = max(1, min(rows, ROWS, NUMBERS // max(1, numbers)))
    return torch.randperm(rows, generator=torch.Generator().manual_seed(0))[:count].sort().values


def disagreement(
    answer: Callable[[Any], Tensor], x: Inputs, measured: Tensor, device: str = "cpu", parts: int = 2
) -> str:
    """How a model's outputs differ from those that were measured, in words; "" if by rounding only.

    answer: rows as they are stored to outputs, in evaluation mode. x: the rows of `measured`, (rows, outputs). device: where
    these were measured. parts: how many the rows are given in, so that a model that looks at its whole batch gives itself away.
    Rounding: √ε of the dtype, relative to the largest output or to 1.
    """
    given = list(pieces(x, -(-len(x) // parts)))
    found = torch.cat([answer(piece) for piece in given]).to("cpu", measured.dtype)
    measured = measured.cpu()
    if found.shape != measured.shape:
        return f"{MISMATCH}: its outputs have the shape {tuple(found.shape)}, measured were {tuple(measured.shape)}"
    finite = measured[measured.isfinite()]
    size = max(1.0, float(finite.abs().max()) if len(finite) else 1.0)
    share = math.sqrt(torch.finfo(measured.dtype).eps)
    allowed = size * (share if device.startswith("cpu") else max(share, OTHER_KERNELS))
    if (distance := _distance(found, measured)) <= allowed:
        return ""
    text = f"{MISMATCH}: on {len(x)} validation rows its outputs differ by up to {distance:.3g} (rounding explains {allowed:.1g})"
    if _distance(torch.cat([answer(piece) for piece in given]).to(found), found) > allowed:
        return f"{text}: it gives other outputs each time it is called"
    halves = torch.cat([answer(half) for half in pieces(x, -(-len(x) // 2))])
    if _distance(halves, answer(x)) > allowed:
        return f"{text}: its output for a row depends on the other rows of the batch"
    return f"{text}: the measured one depended on something that is in neither its parameters nor its buffers"


def _distance(one: Tensor, other: Tensor) -> float:
    """The largest difference; values that are equal, or both NaN, differ by nothing."""
    same = (one == other) | (one.isnan() & other.isnan())
    return float((one - other).abs().nan_to_num(math.inf, math.inf).masked_fill(same, 0.0).max())
