"""Inputs as they are stored, and the batches that a model takes of them.

Most inputs are stored as the float32 tensor that a model takes. Images of uint8 stay uint8, a fourth of the size, and are
scaled a batch at a time; several inputs are stored side by side, and a model takes them by keyword.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

__all__ = [
    "Batch",
    "InputRows",
    "InputScale",
    "Inputs",
    "batch_device",
    "batch_shape",
    "call",
    "copied_batch",
    "expanded",
    "moved",
    "pieces",
    "ready",
    "row_bytes",
    "select",
    "shape_of",
]

ONLY = ""
"""The name of an input that is the only one, which a model takes by position."""


class InputScale(NamedTuple):
    """(x - mean) / deviation; both float64, broadcast over a row."""

    mean: Tensor
    deviation: Tensor

    def apply(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Computed in float64 where the device has it, so that the numbers are those of preprocessing on the CPU."""
        wide = dtype if x.device.type == "mps" else torch.float64
        mean, deviation = (part.to(x.device, wide) for part in self)
        return x.to(wide).sub_(mean).div_(deviation).to(dtype)


class InputRows:
    """Inputs of some rows that are no plain float32 tensor.

    parts: by name, each (rows, ...); the only one has the name "". scales: of the parts that are scaled when a batch is made.
    Indexing takes rows, as indexing a tensor does; `ready` makes what a model takes.
    """

    def __init__(self, parts: Mapping[str, Tensor], scales: Mapping[str, InputScale]) -> None:
        self.parts, self.scales = dict(parts), dict(scales)

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def __getitem__(self, rows: Any) -> InputRows:
        return InputRows({name: part[rows] for name, part in self.parts.items()}, self.scales)

    def __iter__(self) -> Iterator[InputRows]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        parts = (f"{name or 'x'}: {tuple(part.shape)} {part.dtype}" for name, part in self.parts.items())
        return f"InputRows({', '.join(parts)})"

    @property
    def shape(self) -> torch.Size | dict[str, torch.Size]:
        """As stored: with the axis of the rows; by name where there are several inputs."""
        shapes = {name: part.shape for name, part in self.parts.items()}
        return shapes.get(ONLY, shapes)

    @property
    def dtype(self) -> torch.dtype | dict[str, torch.dtype]:
        """As stored; by name where there are several inputs."""
        dtypes = {name: part.dtype for name, part in self.parts.items()}
        return dtypes.get(ONLY, dtypes)

    @property
    def device(self) -> torch.device:
        return next(iter(self.parts.values())).device

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> InputRows:
        """On a device; parts that are stored as floating-point numbers in this dtype, all others in their own."""
        moved = {
            name: part.to(device, dtype if dtype is not None and part.is_floating_point() else part.dtype)
            for name, part in self.parts.items()
        }
        return InputRows(moved, self.scales)

    def ready(self, dtype: torch.dtype = torch.float32) -> Tensor | dict[str, Tensor]:
        """What a model takes: a tensor, or a dictionary of its keyword arguments."""
        made = {}
        for name, part in self.parts.items():
            if name in self.scales:
                made[name] = self.scales[name].apply(part, dtype)
            else:
                made[name] = part.to(dtype) if part.is_floating_point() else part
        return made.get(ONLY, made)


Batch = Tensor | dict[str, Tensor]
"""What a model takes: a tensor (rows, ...) by position, or several by keyword."""

Inputs = Tensor | InputRows
"""The inputs of a split."""


def ready(x: Inputs | Batch, dtype: torch.dtype = torch.float32) -> Batch:
    """Stored inputs as a model takes them, floating-point numbers in this dtype; what is ready already is only converted."""
    if isinstance(x, InputRows):
        return x.ready(dtype)
    if isinstance(x, dict):
        return {name: part.to(dtype) if part.is_floating_point() else part for name, part in x.items()}
    return x.to(dtype) if x.is_floating_point() else x


def call(module: nn.Module, x: Batch) -> Any:
    """A module's outputs for a batch."""
    return module(**x) if isinstance(x, dict) else module(x)


def copied_batch(x: Batch) -> Batch:
    """A copy of a batch."""
    return {name: part.clone() for name, part in x.items()} if isinstance(x, dict) else x.clone()


def moved(x: Batch, device: torch.device) -> Batch:
    """A batch on a device."""
    return {name: part.to(device) for name, part in x.items()} if isinstance(x, dict) else x.to(device)


def select(x: Batch, rows: Any) -> Batch:
    """Some rows of a batch; of a stacked one (trials, rows, ...) some trials."""
    return {name: part[rows] for name, part in x.items()} if isinstance(x, dict) else x[rows]


def expanded(x: Batch, trials: int) -> Batch:
    """A batch (rows, ...) for so many trials, (trials, rows, ...), without a copy."""
    if isinstance(x, dict):
        return {name: part.expand(trials, *part.shape) for name, part in x.items()}
    return x.expand(trials, *x.shape)


def pieces(x: Any, rows: int) -> Iterator[Any]:
    """Stored inputs, or a batch, in pieces of at most so many rows."""
    total = batch_shape(x)[0] if isinstance(x, dict) else len(x)
    for start in range(0, total, rows):
        piece = slice(start, start + rows)
        yield x[piece] if isinstance(x, InputRows) else select(x, piece)


def batch_shape(x: Batch) -> tuple[int, ...]:
    """The shape of a batch, of several inputs that of the first."""
    return tuple(next(iter(x.values())).shape if isinstance(x, dict) else x.shape)


def batch_device(x: Inputs | Batch) -> torch.device:
    """Where stored inputs or a batch are."""
    return next(iter(x.values())).device if isinstance(x, dict) else x.device


def row_bytes(x: Inputs) -> int:
    """The stored size of a row."""
    parts = x.parts.values() if isinstance(x, InputRows) else (x,)
    return sum(part[0].numel() * part.element_size() for part in parts)


def shape_of(x: Inputs) -> Any:
    """The shape of a row that a model takes, by name where it takes several inputs."""
    if not isinstance(x, InputRows):
        return tuple(x.shape[1:])
    shapes = {name: tuple(part.shape[1:]) for name, part in x.parts.items()}
    return shapes.get(ONLY, shapes)
