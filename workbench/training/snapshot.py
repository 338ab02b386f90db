"""The whole state of a cohort after an epoch, and of one of its rows: all that the next step depends on.

Weights, buffers, what the optimizers remember, early stopping and plateaus, the generators' states (which are the place in
the order of the data: an epoch draws its order when it begins), and the configs with their live changes. The learning-rate
schedule has no state of its own: it is a function of the step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from workbench.hyperparameters import Config
from workbench.training.stepping import RowState
from workbench.training.stopping import Patience, Watch

__all__ = ["NOISE_SEED", "ORDER_SEED", "CohortState", "RowProgress", "Trained", "Weights"]

ORDER_SEED, NOISE_SEED = 2**32, 2**33
"""Added to a trial's seed for the order of its data and for its dropout masks, so that no two streams are the same."""


@dataclass
class Weights:
    """One trial's parameters (a flat vector) and buffers, apart from the cohort."""

    vector: Tensor
    buffers: dict[str, Tensor]


@dataclass
class RowProgress:
    """How far a row has come, in plain values. config: as it is now, live changes included."""

    trial: int
    config: dict[str, Any]
    epoch: int
    step: int
    seconds: float
    learning_rate: float
    watch: dict[str, Any]

    def watch_again(self) -> Watch:
        """The row's view of its validation loss, as it was."""
        plain = dict(self.watch)
        stop, plateau = Patience(**plain.pop("_stop")), Patience(**plain.pop("_plateau"))
        return Watch(**plain, _stop=stop, _plateau=plateau)


@dataclass
class Trained:
    """One row taken out of a cohort's state: where a branch begins, or what a model is made from.

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
    """A cohort after `epoch` of its epochs. series: the first trial it was formed of, which numbers its snapshots.

    rows: in the order in which they lie in memory, on which the last bits of a result depend; those that ended in this epoch
    included. theta: (rows, parameters). orders, noises: states of the generators of each row, and of each shard.
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

    @classmethod
    def alone(cls, row: Trained) -> CohortState:
        """A row as a cohort of one, to go on without those it trained with."""
        trial, weights = row.progress.trial, row.weights
        return cls(
            trial, row.progress.epoch, [row.progress], weights.vector[None],
            {name: value[None] for name, value in weights.buffers.items()}, [row.best], [row.optimizer], [row.order],
            [] if row.noise is None else [row.noise], row.config.seed + NOISE_SEED,
        )  # fmt: skip

    @property
    def trials(self) -> list[int]:
        return [row.trial for row in self.rows]

    @property
    def nbytes(self) -> int:
        """About what it takes in memory: weights, the best ones, and what Adam remembers."""
        return 4 * self.theta.nbytes

    def row(self, trial: int) -> Trained:
        """One trial's part. Raises: KeyError if it has no row here."""
        if trial not in self.trials:
            raise KeyError(trial)
        index = self.trials.index(trial)
        weights = Weights(self.theta[index].clone(), {name: v[index].clone() for name, v in self.buffers.items()})
        noise = self.noises[0] if len(self.rows) == 1 and self.noises else None
        return Trained(
            self.rows[index], weights, self.best[index], self.optimizers[index], self.orders[index], noise
        )  # fmt: skip

    # --- as plain values and few tensors, for a file ------------------------------------------------------------------

    def content(self) -> dict[str, Any]:
        """The state as `workbench.files.pack` takes it: equal tensors of the rows stacked, so that there are few."""
        best = [index for index, weights in enumerate(self.best) if weights is not None]
        kept = [weights for weights in self.best if weights is not None]
        return {
            "series": self.series,
            "epoch": self.epoch,
            "rows": json.dumps([asdict(row) for row in self.rows]),
            "theta": self.theta.cpu(),
            "buffers": {name: values.cpu() for name, values in self.buffers.items()},
            "best_rows": best,
            "best": _stacked([weights.vector for weights in kept]),
            "best_buffers": {name: _stacked([weights.buffers[name] for weights in kept]) for name in self.buffers},
            "optimizers": _grouped(self.optimizers),
            "generators": _stacked([*self.orders, *self.noises]),
            "noise_seed": self.noise_seed,
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> CohortState:
        """The state out of a file's content."""
        rows = [RowProgress(**row) for row in json.loads(content["rows"])]
        best: list[Weights | None] = [None] * len(rows)
        for place, index in enumerate(content["best_rows"]):
            buffers = {name: values[place] for name, values in content["best_buffers"].items()}
            best[index] = Weights(content["best"][place], buffers)
        # each in memory of its own: torch reads a generator's state as a struct, and crashes where it lies unaligned
        generators = [state.clone() for state in content["generators"]]
        return cls(
            content["series"], content["epoch"], rows, content["theta"], dict(content["buffers"]), best,
            _ungrouped(content["optimizers"], len(rows)), generators[: len(rows)], generators[len(rows) :],
            content["noise_seed"],
        )  # fmt: skip


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([tensor.cpu() for tensor in tensors]) if tensors else torch.empty(0)


def _grouped(states: Sequence[RowState | None]) -> list[dict[str, Any]]:
    """Rows whose optimizers remember things of the same names and shapes, stacked."""
    groups: dict[str, list[int]] = {}
    for index, state in enumerate(states):
        if state is not None:
            shapes = {name: (v.dtype, v.shape) if isinstance(v, Tensor) else type(v) for name, v in state.items()}
            groups.setdefault(repr(shapes), []).append(index)
    found = []
    for rows in groups.values():
        group = [state for index in rows if (state := states[index]) is not None]
        tensors = {
            name: _stacked([state[name] for state in group]) for name, v in group[0].items() if isinstance(v, Tensor)
        }
        values = {name: [state[name] for state in group] for name in group[0] if name not in tensors}
        found.append({"rows": rows, "tensors": tensors, "values": values})
    return found


def _ungrouped(groups: Sequence[Mapping[str, Any]], count: int) -> list[RowState | None]:
    states: list[RowState | None] = [None] * count
    for group in groups:
        for place, index in enumerate(group["rows"]):
            tensors = {name: values[place] for name, values in group["tensors"].items()}
            states[index] = {**tensors, **{name: values[place] for name, values in group["values"].items()}}
    return states
