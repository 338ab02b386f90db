"""Shuffled batches of the training rows, of one trial or of several at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

__all__ = ["GATHER_BYTES", "shuffled_batches"]

GATHER_BYTES = 16 * 2**20
"""Shuffled training rows are gathered in pieces of at most this size, one piece for a small data set."""


def shuffled_batches(
    x: Tensor, y: Tensor, generators: Sequence[torch.Generator], batch_size: int, rows: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of batches: x (batch, ...) for one trial, (trials, batch, ...) for several.

    x, y: the training rows. generators: of each trial, from which `torch.randperm` draws its order. rows: rows in an epoch.
    """
    direct = len(generators) == 1
    orders = [torch.randperm(len(x), generator=generator)[:rows] for generator in generators]
    order = (orders[0] if direct else torch.stack(orders)).to(x.device)
    axis = 0 if direct else 1
    row_bytes = x[0].numel() * x.element_size() * len(generators)
    piece = max(1, GATHER_BYTES // max(1, row_bytes * batch_size)) * batch_size
    for indices in torch.split(order, piece, axis):
        if direct:
            yield from zip(torch.split(x[indices], batch_size), torch.split(y[indices], batch_size), strict=True)
            continue
        # step by step in memory, so that each batch is contiguous
        whole = indices.shape[1] // batch_size
        steps = indices[:, : whole * batch_size].reshape(-1, whole, batch_size).transpose(0, 1)
        yield from zip(x[steps], y[steps], strict=True)
        rest = indices[:, whole * batch_size :]
        if rest.shape[1]:
            yield x[rest], y[rest]
