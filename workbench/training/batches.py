"""Batches of rows: shuffled ones of the training rows, of one trial or of several at once, and pieces for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from workbench.core.memory import out_of_memory
from workbench.tasks.rows import InputRows, Inputs, pieces, row_bytes

__all__ = ["PIECE_BATCHES", "in_pieces", "shuffled_batches"]

GATHER_BYTES = 16 * 2**20
"""Shuffled training rows are gathered in pieces of at most this size, one piece for a small data set."""
PIECE_BATCHES = 4
"""Rows are evaluated in pieces of so many batches. Without gradients these take about the memory of a training step, or less."""


def shuffled_batches(
    x: Inputs, y: Tensor, generators: Sequence[torch.Generator], batch_size: int, rows: int
) -> Iterator[tuple[Inputs, Tensor]]:
    """One epoch of batches, as the rows are stored: x (batch, ...) for one trial, (trials, batch, ...) for several.

    x, y: the training rows. generators: of each trial, from which `torch.randperm` draws its order. rows: rows in an epoch.
    """
    direct = len(generators) == 1
    orders = [torch.randperm(len(x), generator=generator)[:rows] for generator in generators]
    order = (orders[0] if direct else torch.stack(orders)).to(x.device)
    axis = 0 if direct else 1
    piece = max(1, GATHER_BYTES // max(1, row_bytes(x) * len(generators) * batch_size)) * batch_size
    for indices in torch.split(order, piece, axis):
        if direct:
            yield from zip(_batches(x[indices], batch_size), torch.split(y[indices], batch_size), strict=True)
            continue
        # step by step in memory, so that each batch is contiguous
        whole = indices.shape[1] // batch_size
        steps = indices[:, : whole * batch_size].reshape(-1, whole, batch_size).transpose(0, 1)
        yield from zip(x[steps], y[steps], strict=True)
        rest = indices[:, whole * batch_size :]
        if rest.shape[1]:
            yield x[rest], y[rest]


def _batches(x: Inputs, size: int) -> Iterator[Inputs] | Sequence[Tensor]:
    return pieces(x, size) if isinstance(x, InputRows) else torch.split(x, size)


def in_pieces(x: Inputs, rows: int, work: Callable[[Inputs], Tensor], axis: int = 0) -> tuple[Tensor, int]:
    """`work` on the rows in pieces of at most so many, put together along an axis, and the size of piece that fitted.

    A piece for which memory runs out is halved, and so are those after it. Raises: whatever `work` raises on a single row, or
    for another reason.
    """
    found: list[Tensor] = []
    start = 0
    while start < len(x):
        piece = x[start : start + rows]
        try:
            found.append(work(piece))
        except Exception as error:
            if rows == 1 or not out_of_memory(error):
                raise
        else:
            start += len(piece)
            continue
        # outside of the handler, where the error no longer keeps what the pass had allocated
        rows = -(-min(rows, len(piece)) // 2)
        if x.device.type == "cuda":
            torch.cuda.empty_cache()
    return torch.cat(found, axis), rows
