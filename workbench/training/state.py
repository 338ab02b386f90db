"""The whole state of a cohort after an epoch, and of one of its rows: all that the next step depends on.

Weights, buffers, what the optimizers remember, early stopping and plateaus, the generators' states (which are the place in
the order of the data: an epoch draws its order when it begins), and the configs with their live changes. The learning-rate
schedule is a function of the step; only after a live change of the rate is there something to remember (see `Row.peak`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.core.config import Config
from workbench.training.encoding import decoded, encoded
from workbench.training.optimizer_step import RowState
from workbench.training.stopping import Patience, Watch

__all__ = ["NOISE_SEED", "ORDER_SEED", "CohortState", "RowProgress", "Trained", "Weights"]

ORDER_SEED, NOISE_SEED = 2**32, 2**33
"""Added to a trial's seed for the order of its data and for its dropout masks, so that no two streams are the same."""


@dataclass
class Weights:
    """One trial's parameters (a flat vector) and buffers.

    outputs: what was measured with them on a few validation rows (see `agreement.sample_rows`), None if nothing was.
    """

    vector: Tensor
    buffers: dict[str, Tensor]
    outputs: Tensor | None = None


@dataclass
class RowProgress:
    """How far a row has come, in plain values. config: as it is now, live changes included. peak: as in `Row`."""

    trial: int
    config: dict[str, Any]
    epoch: int
    step: int
    seconds: float
    learning_rate: float
    watch: dict[str, Any]
    peak: float | None = None
    fold: int = 0

    def restored_watch(self) -> Watch:
        """The row's monitor, restored."""
        plain = dict(self.watch)
        stop, plateau = Patience(**plain.pop("_stop")), Patience(**plain.pop("_plateau"))
        return Watch(**plain, _stop=stop, _plateau=plateau)


@dataclass
class Trained:
    """One row of a cohort's state: the start of a branch, or the source of a model.

    order: state of the generator of the data's order. noise: of the one for dropout, None in a cohort of several, whose rows
    draw together. optimizer: what the row's optimizer remembers, None for nothing.
    """

    progress: RowProgress
    weights: Weights
    best: Weights | None
    optimizer: RowState | None
    order: Tensor
    noise: Tensor | None

    @property
    def config(self) -> Config:
        return Config(**self.progress.config)


@dataclass
class CohortState:
    """A cohort after `epoch` of its epochs. series: the first trial it was formed of, which numbers its checkpoints.

    rows: in the order in which they lie in memory, on which the last bits of a result depend; those that ended in this epoch
    included. theta: (rows, parameters). orders, noises: states of the generators of each row, and of each shard. outputs: of
    each row as in `Weights`, (rows, sample, ...), None if nothing was measured with these weights.
    """

    series: int
    epoch: int
    rows: list[RowProgress]
    theta: Tensor
    buffers: dict[str, Tensor]
    best: list[Weights | None]
    optimizers: list[RowState | None]
    orders: list[Tensor]
    noises: list[Tensor]
    noise_seed: int
    outputs: Tensor | None = None

    @classmethod
    def alone(cls, row: Trained) -> CohortState:
        """A row as a cohort of one, to continue without the other rows."""
        trial, weights = row.progress.trial, row.weights
        return cls(
            trial, row.progress.epoch, [row.progress], weights.vector[None],
            {name: value[None] for name, value in weights.buffers.items()}, [row.best], [row.optimizer], [row.order],
            [] if row.noise is None else [row.noise], row.config.seed + NOISE_SEED,
            None if weights.outputs is None else weights.outputs[None],
        )  # fmt: skip

    @property
    def trials(self) -> list[int]:
        return list(dict.fromkeys(row.trial for row in self.rows))

    @property
    def nbytes(self) -> int:
        """About what it takes in memory: weights, the best ones, and what Adam remembers."""
        return 4 * self.theta.nbytes

    def row(self, trial: int, fold: int = 0) -> Trained:
        """One trial's part, of the fold with this index. Raises: KeyError if it has no row here."""
        places = [(row.trial, row.fold) for row in self.rows]
        if (trial, fold) not in places:
            raise KeyError(trial)
        index = places.index((trial, fold))
        weights = Weights(
            self.theta[index].clone(), {name: v[index].clone() for name, v in self.buffers.items()},
            None if self.outputs is None else self.outputs[index].clone(),
        )  # fmt: skip
        noise = self.noises[0] if len(self.rows) == 1 and self.noises else None
        return Trained(
            self.rows[index], weights, self.best[index], self.optimizers[index], self.orders[index], noise
        )  # fmt: skip

    # --- for a file ---------------------------------------------------------------------------------------------------

    def content(self) -> dict[str, Any]:
        """The state as `workbench.core.files.pack` takes it: one text, and all tensors end to end as bytes.

        One tensor, since writing costs by the tensor, and a checkpoint is written after each epoch, while training continues.
        """
        pieces: list[NDArray[np.uint8]] = []
        index: list[tuple[str, list[int]]] = []

        def put(tensor: Tensor) -> int:
            pieces.append(_bytes(tensor))
            index.append((str(tensor.dtype).removeprefix("torch."), list(tensor.shape)))
            return len(index) - 1

        def put_all(tensors: Mapping[str, Tensor]) -> dict[str, int]:
            return {name: put(tensor) for name, tensor in tensors.items()}

        state = {
            "series": self.series,
            "epoch": self.epoch,
            "rows": [vars(row) for row in self.rows],
            "theta": put(self.theta),
            "buffers": put_all(self.buffers),
            "best": [
                best and [put(best.vector), put_all(best.buffers), None if best.outputs is None else put(best.outputs)]
                for best in self.best
            ],
            "optimizers": [encoded(state, put) for state in self.optimizers],
            "orders": [put(order) for order in self.orders],
            "noises": [put(noise) for noise in self.noises],
            "noise_seed": self.noise_seed,
            "outputs": None if self.outputs is None else put(self.outputs),
        }
        data = np.concatenate(
            pieces
        )  # with numpy: in another thread, torch would start its own worker threads for this
        return {"state": json.dumps(state), "index": json.dumps(index), "data": torch.from_numpy(data)}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> CohortState:
        """The state from a file's content."""
        state, tensors = json.loads(content["state"]), []
        start = 0
        for name, shape in json.loads(content["index"]):
            dtype = getattr(torch, name)
            size = prod(shape) * dtype.itemsize
            # a copy each: a type's numbers, and a generator's state, must not lie unaligned
            tensors.append(content["data"][start : start + size].clone().view(dtype).view(shape))
            start += size

        def named(places: Mapping[str, int]) -> dict[str, Tensor]:
            return {name: tensors[place] for name, place in places.items()}

        def one(place: int | None) -> Tensor | None:
            return None if place is None else tensors[place]

        best = [best and Weights(tensors[best[0]], named(best[1]), one(best[2])) for best in state["best"]]
        optimizers = [decoded(row, tensors) for row in state["optimizers"]]
        return cls(
            state["series"], state["epoch"], [RowProgress(**row) for row in state["rows"]], tensors[state["theta"]],
            named(state["buffers"]), best, optimizers, [tensors[place] for place in state["orders"]],
            [tensors[place] for place in state["noises"]], state["noise_seed"], one(state["outputs"]),
        )  # fmt: skip


def _bytes(tensor: Tensor) -> NDArray[np.uint8]:
    """A tensor's memory. By numpy, whose small operations do not hand Python's lock to the other thread each time."""
    tensor = tensor.detach().cpu()
    if tensor.dtype in (torch.float32, torch.float64, torch.uint8, torch.int64):
        return np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8)
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
