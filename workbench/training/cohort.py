"""A cohort: K trials of one architecture and batch size, trained as one stacked model.

All trained parameters live in one buffer of shape (trials, parameters), all gradients in another. The model's weights are
views of the first, the optimizers work on rows of it. With one trial the module is called directly; with several its
forward pass is stacked: written out for the layers of `models.stacking`, by `torch.func.vmap` for any other module.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from workbench.core.config import Config
from workbench.metrics.table import evaluate_metrics
from workbench.models import (
    Pretrained,
    SeededRandomness,
    build_model,
    draws_random_numbers,
    is_builtin,
    is_penalised,
    stacked_forward,
)
from workbench.models.stacking import Forward
from workbench.training.filling import check_fits, constants_of, filled, moved, opener
from workbench.training.losses import is_builtin_loss, loss_of
from workbench.training.optimizer_step import RowState, step_key
from workbench.training.optimizers import rule_of
from workbench.training.row import Row, SplitData, TaskData
from workbench.training.shard import Shard, shard_count, side_by_side
from workbench.training.stages import (
    inputs_of,
    learning_rate_depths,
    learning_rate_factor,
    normalises,
    opens_at,
    trained_part,
    unfreezes_at,
)
from workbench.training.state import NOISE_SEED, CohortState, RowProgress, Trained, Weights

__all__ = ["Cohort"]

GATHER_BYTES = 16 * 2**20
"""Shuffled training rows are gathered in pieces of at most this size, one piece for a small data set."""


class Cohort:
    """The stacked state of the trials that are still training.

    trials: Config by trial key; all with the same model, batch size and loss (see `cohort_key`). cores: threads that its rows
    may be divided among (on the CPU, and for models and losses that are known to bear it). origins: where those of the
    trials begin that are branches. state: the state to go on from (see `again`); the trials are then those of its rows.

    series: the first trial it was formed of. epoch: how many epochs it has trained.
    """

    def __init__(
        self,
        task: TaskData,
        trials: Mapping[int, Config],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        cores: int = 1,
        *,
        origins: Mapping[int, Trained] | None = None,
        state: CohortState | None = None,
    ) -> None:
        first = next(iter(trials.values()))
        self.series, self.epoch = next(iter(trials)), 0
        self.task, self.device, self.dtype = task, device, dtype
        self.batch_size = first.batch_size
        self.loss, self.mean_loss = loss_of(first)
        self.y, self.y_val = _targets(task.train, device, dtype), _targets(task.validation, device, dtype)
        size = None if state is None else state.theta.shape[1]
        self._enter(first, size if not origins else next(iter(origins.values())).weights.vector.numel())
        self._seeded = not is_builtin(first.model) or draws_random_numbers(self.module)
        self._noise_seed = sum(config.seed for config in trials.values()) + NOISE_SEED
        self._noises: list[AbstractContextManager[object]] = []
        self._cores = cores if device.type == "cpu" and is_builtin_loss(first) else 1
        self.rows: list[Row] = []
        self.shards: list[Shard] = []
        self.theta, self.buffers = self._no_rows()
        if state is None:
            self.add(trials, origins)
        else:
            self._put(state)

    @classmethod
    def again(
        cls,
        task: TaskData,
        state: CohortState,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        cores: int = 1,
    ) -> Cohort:
        """A cohort that goes on where another one was, to the last bit."""
        configs = {row.trial: Config(**row.config) for row in state.rows}
        return cls(task, configs, device, dtype, cores, state=state)

    # --- building ---------------------------------------------------------------------------------------------------

    def _enter(self, config: Config, size: int | None) -> None:
        """Build what trains, and its inputs. size: its number of parameters, where a state at hand says so."""
        model = build_model(self.task, config).to(self.device, self.dtype)
        self._first = config
        self.module = trained_part(model, size)
        self.inputs = inputs_of(self.task, model, self.device, self.dtype)
        self.x, self.x_val = self.inputs.x, self.inputs.x_val
        # a lone last row is left out that batch normalisation could not take
        lone = len(self.x) % self.batch_size == 1 and len(self.x) > 1 and normalises(model, config)
        self.rows_per_epoch = len(self.x) - int(lone)
        self.steps_per_epoch = math.ceil(self.rows_per_epoch / self.batch_size)
        trained = [(name, p) for name, p in self.module.named_parameters() if p.requires_grad]
        self._shapes = {name: p.shape for name, p in trained}
        self._penalised = [name for name, p in trained if is_penalised(self.module, name, p)]
        self._depths, self._opens_at = learning_rate_depths(model), opens_at(model, config)
        self._is_pretrained = isinstance(model, Pretrained)
        # rows that came later would still be frozen when the others are not any more
        self.takes_more = not (self._is_pretrained and unfreezes_at(config))

    def _no_rows(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The weights and buffers of a cohort without rows."""
        size = sum(shape.numel() for shape in self._shapes.values())
        theta = torch.empty(0, size, device=self.device, dtype=self.dtype)
        return theta, {name: value.new_empty(0, *value.shape) for name, value in constants_of(self.module)}

    @property
    def opens(self) -> bool:
        """Whether frozen layers are to train from the coming epoch on (see `open`)."""
        return self._opens_at is not None and max(row.epoch for row in self.rows) >= self._opens_at

    def open(self) -> None:
        """Let the frozen layers of a pretrained model train as well, from their pretrained weights on.

        The rows stay, and their epochs; their weights, and the best ones so far, become those of the whole model. What the
        optimizers remember is of fewer parameters: their state starts anew.
        """
        model = build_model(self.task, self._first).to(self.device, self.dtype)
        opened = opener(model)
        whole = [opened(self.weights(index)) for index in range(len(self.rows))]
        for row in self.rows:
            row.best = row.best and opened(row.best)
        self._enter(self._first, whole[0].vector.numel())
        buffers = {name: torch.stack([one.buffers[name] for one in whole]) for name in whole[0].buffers}
        self._arrange(self.rows, torch.stack([one.vector for one in whole]), buffers, [None] * len(whole))

    def add(self, trials: Mapping[int, Config], origins: Mapping[int, Trained] | None = None) -> None:
        """Let further trials in, between two epochs. Trials with the cohort's key only."""
        origins = origins or {}
        theta = self.theta.new_empty(len(trials), self.theta.shape[1])
        buffers = {name: values.new_empty(len(trials), *values.shape[1:]) for name, values in self.buffers.items()}
        new, states = [], self._states()
        for index, (trial, config) in enumerate(trials.items()):
            origin = origins.get(trial)
            if origin is None:
                module = trained_part(build_model(self.task, config)).to(self.device, self.dtype)
                torch.cat([p.detach().reshape(-1) for p in module.parameters() if p.requires_grad], out=theta[index])
                constants = [value for _, value in constants_of(module)]
                new.append(Row.begin(trial, config, self.steps_per_epoch))
                states.append(None)
            else:
                check_fits(self.module, origin.weights)
                theta[index].copy_(origin.weights.vector)
                constants = list(origin.weights.buffers.values())
                new.append(Row.branch(trial, config, self.steps_per_epoch, origin))
                states.append(origin.optimizer if config.optimizer == origin.config.optimizer else None)
            # by their order: another share of dropout gives the layers other names
            for values, value in zip(buffers.values(), constants, strict=True):
                values[index].copy_(value)
        if self.rows:
            theta = torch.cat([self.theta, theta])
            buffers = {name: torch.cat([values, buffers[name]]) for name, values in self.buffers.items()}
        self._arrange([*self.rows, *new], theta, buffers, states)
        alone = origins.get(new[0].trial) if len(self.rows) == 1 else None
        if alone is not None and alone.noise is not None and alone.config.seed == self.rows[0].config.seed:
            self._set_noises([alone.noise])

    def _arrange(
        self, rows: list[Row], theta: Tensor, buffers: dict[str, Tensor], states: Sequence[RowState | None]
    ) -> None:
        """Take these rows, those that can share an optimizer's call beside each other."""
        places: dict[Any, list[int]] = {}
        for index, row in enumerate(rows):
            key = (*step_key(row.rule, row.step), states[index] is None)
            places.setdefault(repr(key), []).append(index)
        order = [index for group in places.values() for index in group]
        if order != list(range(len(rows))):
            at = torch.tensor(order, device=self.device)
            theta, buffers = theta[at], {name: values[at] for name, values in buffers.items()}
        self.rows, self.theta, self.buffers = [rows[index] for index in order], theta, buffers
        self._bind([states[index] for index in order])

    def _put(self, state: CohortState) -> None:
        """Take a state over, each row in the place it had."""
        check_fits(self.module, state.row(state.trials[0]).weights)
        self.series, self.epoch, self._noise_seed = state.series, state.epoch, state.noise_seed
        self.rows = [
            Row.again(progress, order, self.steps_per_epoch, moved(best, self.device))
            for progress, order, best in zip(state.rows, state.orders, state.best, strict=True)
        ]
        self.theta = state.theta.to(self.device, self.dtype, copy=True)
        self.buffers = {name: state.buffers[name].to(values, copy=True) for name, values in self.buffers.items()}
        self._bind(state.optimizers)
        self._set_noises(state.noises)

    def _set_noises(self, states: Sequence[Tensor]) -> None:
        for index, state in enumerate(states):
            noise = self._noise(index)
            if isinstance(noise, SeededRandomness):
                noise.generator.set_state(state)

    def state(self) -> CohortState:
        """A copy of all that the next step depends on."""
        rows = [
            RowProgress(
                row.trial, row.config.model_dump(), row.epoch, row.step, row.seconds, row.learning_rate, row.watch.as_dict()
            )
            for row in self.rows
        ]  # fmt: skip
        optimizers = [
            state and {name: v.clone() if isinstance(v, Tensor) else copy.deepcopy(v) for name, v in state.items()}
            for state in self._states()
        ]
        noises = [noise.generator.get_state() for noise in self._noises if isinstance(noise, SeededRandomness)]
        return CohortState(
            self.series, self.epoch, rows, self.theta.clone(), {name: v.clone() for name, v in self.buffers.items()},
            [row.best for row in self.rows], optimizers, [row.order.get_state() for row in self.rows], noises,
            self._noise_seed,
        )  # fmt: skip

    def _states(self) -> list[RowState | None]:
        return [state for shard in self.shards for state in shard.states()]

    def _bind(self, states: Sequence[RowState | None]) -> None:
        """Point weights, gradients and optimizers at the present buffers."""
        self.grad = torch.zeros_like(self.theta)
        self.direct = len(self.rows) == 1
        forward = None
        if self.direct:
            self._bind_module()
        else:
            forward = self._stacked_forward()
        row_bytes = self.theta.shape[1] * self.theta.element_size()
        count = 1 if self.direct or not self.known else shard_count(len(self.rows), row_bytes, self._cores)
        ends = [round(i * len(self.rows) / count) for i in range(count + 1)]
        self.shards = [self._shard(first, last, index, forward) for index, (first, last) in enumerate(pairwise(ends))]
        self._bind_optimizers(states)
        self.refresh()

    def _shard(self, first: int, last: int, index: int, forward: Forward | None) -> Shard:
        # .data: a version count of its own, or autograd takes the steps of one shard for changes to the weights of another
        theta, grad = self.theta[first:last].data, self.grad[first:last].data
        buffers = {name: values[first:last].data for name, values in self.buffers.items()}
        weights, gradients = self._pieces(theta), self._pieces(grad)
        return Shard(
            first, last, theta, grad, weights, gradients, buffers, self._penalised, forward, self.loss, self._noise(index)
        )  # fmt: skip

    def _noise(self, index: int) -> AbstractContextManager[object]:
        """Where a shard's dropout is drawn from: for all its trials at once, equal in distribution to each alone."""
        while len(self._noises) <= index:
            generator = torch.Generator(self.device).manual_seed(self._noise_seed + len(self._noises) * NOISE_SEED)
            self._noises.append(SeededRandomness(generator) if self._seeded else nullcontext())
        return self._noises[index]

    def _bind_optimizers(self, states: Sequence[RowState | None]) -> None:
        rules, steps = [row.rule for row in self.rows], [row.step for row in self.rows]
        scales = self._scales()
        for shard in self.shards:
            own = slice(shard.first, shard.last)
            shard.bind(rules[own], steps[own], states[own], None if scales is None else scales[own])

    def _scales(self) -> Tensor | None:
        """The share (trials, parameters) of the learning rate that each parameter trains at, None where all are 1."""
        if self._depths is None:
            return None
        factors = self._depths.new_tensor([learning_rate_factor(row.config) for row in self.rows])
        return (factors[:, None] ** self._depths).to(self.device, self.dtype)

    def _pieces(self, stacked: Tensor) -> dict[str, Tensor]:
        """The named views (trials, *shape) of a (trials, parameters) buffer."""
        views, start = {}, 0
        for name, shape in self._shapes.items():
            size = shape.numel()
            views[name] = stacked[:, start : start + size].view(len(stacked), *shape)
            start += size
        return views

    def _bind_module(self) -> None:
        weights, gradients = self._pieces(self.theta), self._pieces(self.grad)
        for name, parameter in self.module.named_parameters():
            if parameter.requires_grad:
                parameter.data = weights[name][0]
                parameter.grad = gradients[name][0]
        for name, values in self.buffers.items():
            owner, _, leaf = name.rpartition(".")
            table = self.module.get_submodule(owner)
            if leaf in table._buffers:
                table._buffers[leaf] = values[0]
            else:
                getattr(table, leaf).data = values[0]

    def _stacked_forward(self) -> Forward:
        forward = stacked_forward(self.module)
        self.known = forward is not None
        if forward is not None:
            return forward

        def one(parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
            outputs: Tensor = functional_call(self.module, (dict(parameters), dict(buffers)), (x,))
            return outputs

        stacked: Forward = vmap(one, in_dims=(0, 0, 0), randomness="different")
        return stacked

    def refresh(self) -> None:
        """Read what may change during a run anew from the rows' configs."""
        rules = [rule_of(row.config) for row in self.rows]
        if rules != [row.rule for row in self.rows]:
            states = self._states()
            for row, rule in zip(self.rows, rules, strict=True):
                row.rule = rule
            self._bind_optimizers(states)
        for shard in self.shards:
            configs = [row.config for row in self.rows[shard.first : shard.last]]
            shard.regularise(
                [float(config.l1) for config in configs],
                [float(config.l2) for config in configs],
                [math.inf if config.gradient_clip is None else config.gradient_clip for config in configs],
            )

    # --- training ---------------------------------------------------------------------------------------------------

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of shuffled batches: x (rows, ...) for one trial, (trials, rows, ...) for several.

        Each trial has its own order, drawn anew each epoch by `torch.randperm` from its own generator.
        """
        for x, y in self._shuffled():
            yield self._as_inputs(x), y

    def _as_inputs(self, x: Tensor) -> Tensor:
        """A batch as `module` takes it, through what is frozen before it."""
        if self.inputs.stem is None:
            return x
        if self.direct:
            return self.inputs.through(x)
        found = self.inputs.through(x.flatten(0, 1))
        return found.view(*x.shape[:2], *found.shape[1:])

    def _shuffled(self) -> Iterator[tuple[Tensor, Tensor]]:
        orders = [torch.randperm(len(self.x), generator=row.order)[: self.rows_per_epoch] for row in self.rows]
        order = (orders[0] if self.direct else torch.stack(orders)).to(self.device)
        axis = 0 if self.direct else 1
        row_bytes = self.x[0].numel() * self.x.element_size() * len(self.rows)
        piece = max(1, GATHER_BYTES // max(1, row_bytes * self.batch_size)) * self.batch_size
        for indices in torch.split(order, piece, axis):
            whole = indices.shape[axis] // self.batch_size
            if self.direct:
                x, y = self.x[indices], self.y[indices]
                yield from zip(torch.split(x, self.batch_size), torch.split(y, self.batch_size), strict=True)
                continue
            # step by step in memory, so that each batch is contiguous
            steps = indices[:, : whole * self.batch_size].reshape(-1, whole, self.batch_size).transpose(0, 1)
            yield from zip(self.x[steps], self.y[steps], strict=True)
            rest = indices[:, whole * self.batch_size :]
            if rest.shape[1]:
                yield self.x[rest], self.y[rest]

    def step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One optimizer step of every trial.

        Returns: mean data loss (trials,), gradient norm before clipping (trials,), outputs; all detached.
        """
        for row in self.rows:
            row.learning_rate = row.rate(row.config.learning_rate, row.step, row.watch.plateaus)
        rates = [row.learning_rate for row in self.rows]

        def work(shard: Shard) -> tuple[Tensor, Tensor, Tensor]:
            own = slice(shard.first, shard.last)
            losses, outputs = self._backward_direct(x, y) if self.direct else shard.backward(x[own], y[own])
            return losses, shard.descend(rates[own]), outputs

        found = side_by_side(self.shards, work, self._cores)
        for row in self.rows:
            row.step += 1
        if len(found) == 1:
            return found[0]
        losses, norms, outputs = (torch.cat(parts) for parts in zip(*found, strict=True))
        return losses, norms, outputs

    def _backward_direct(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Forward and backward of the single trial: autograd adds into the gradient buffer's views."""
        self.grad.zero_()
        with self._noise(0):
            outputs = self.module(x)
        loss = self.mean_loss(outputs, y)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach().reshape(1), outputs.detach()

    @torch.no_grad()
    def evaluate(self) -> list[tuple[float, float]]:
        """Validation loss and metric of every trial, in evaluation mode."""
        self.module.eval()
        row_bytes = self.x_val[0].numel() * self.x_val.element_size() * len(self.rows)
        piece = max(1, GATHER_BYTES // max(1, row_bytes))
        pieces: Sequence[Tensor] = torch.split(self.x_val, piece)
        if self.inputs.stem is not None:
            pieces = [self.inputs.through(x) for x in pieces]
        if self.direct:
            stacked = torch.cat([self.module(x)[None] for x in pieces], 1)
        else:
            stacked = torch.cat(side_by_side(self.shards, lambda shard: shard.evaluate(pieces), self._cores))
        self.module.train()
        targets = self.y_val.expand(len(stacked), *self.y_val.shape).flatten(0, 1)
        losses = self.loss(stacked.flatten(0, 1), targets).view(len(stacked), -1).mean(1).tolist()
        metrics = evaluate_metrics(self.task.metric, stacked, self.y_val.expand(len(stacked), *self.y_val.shape))
        return list(zip(losses, metrics, strict=True))

    @torch.no_grad()
    def penalties(self) -> list[float]:
        """λ1 Σ|w| + λ2 Σw² of every trial, at the present weights."""
        return [float(value) for shard in self.shards for value in shard.penalties()]

    # --- weights ----------------------------------------------------------------------------------------------------

    def weights(self, index: int) -> Weights:
        """A copy of one row's present weights."""
        return Weights(
            self.theta[index].clone(), {name: values[index].clone() for name, values in self.buffers.items()}
        )

    def keep(self, indices: Sequence[int]) -> None:
        """Drop all other rows: their place is freed, the kept ones go on with their optimizer state."""
        states = self._states()
        if not indices:  # whoever keeps the ended cohort for its module keeps nothing large
            self.rows, self.shards = [], []
            self.theta = self.grad = self.theta[:0].clone()
            if self.inputs.features is not None:
                self.inputs.features = None
                self.x = self.x_val = self.inputs.x = self.inputs.x_val = self.x[:0].clone()
            return
        index = torch.tensor(indices, dtype=torch.long, device=self.device)
        buffers = {name: values[index] for name, values in self.buffers.items()}
        self._arrange([self.rows[i] for i in indices], self.theta[index], buffers, [states[i] for i in indices])

    def module_of(self, weights: Weights) -> nn.Module:
        """A new module on the CPU, in evaluation mode, with these weights."""
        return self.blueprint().module_of(weights)

    def blueprint(self) -> Blueprint:
        """What builds this cohort's modules, without its data and rows."""
        return Blueprint(self.task, self._first, None if self._is_pretrained else self.module)

    def refuses_stacking(self) -> str:
        """Why the module cannot be vectorised over trials, "" when it can. Leaves weights, buffers and draws alone."""
        if self.known:
            return ""
        (shard,) = self.shards
        few = torch.arange(min(4, len(self.x)), device=self.device).expand(len(self.rows), -1)
        try:
            shard.try_out(self._as_inputs(self.x[few]), self.y[few])
        except Exception as error:  # whatever a user's module raises under vmap
            return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error) else 'no message'}"
        return ""


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


def _targets(split: SplitData, device: torch.device, dtype: torch.dtype) -> Tensor:
    targets = split.y.to(device)
    return targets.to(dtype) if targets.is_floating_point() else targets
