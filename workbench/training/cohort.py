"""A cohort: K trials of one architecture and batch size, trained as one stacked model.

All trained parameters live in one buffer of shape (trials, parameters), all gradients in another. The model's weights are
views of the first, the optimizers work on rows of it. With one trial the module is called directly; with several its
forward pass is stacked: written out for the layers of `models.stacking`, by `torch.func.vmap` for any other module.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from workbench.core.config import Config
from workbench.metrics.evaluation import evaluate
from workbench.metrics.predictions import predictor
from workbench.models import (
    Pretrained,
    build_model,
    draws_random_numbers,
    is_builtin,
    is_penalised,
    stacked_forward,
)
from workbench.models.stacking import Forward
from workbench.tasks.rows import Batch as InputBatch
from workbench.tasks.rows import Inputs, call, select
from workbench.training.agreement import sample_rows
from workbench.training.batches import PIECE_BATCHES, in_pieces, shuffled_batches
from workbench.training.epoch import EpochRecord
from workbench.training.filling import check_fits, constants_of, moved, unfreezer
from workbench.training.losses import is_builtin_loss
from workbench.training.noises import Noises
from workbench.training.objective import Objective
from workbench.training.optimizer_step import RowState, copied, step_key
from workbench.training.optimizers import rule_of
from workbench.training.parameter_views import Bound, bind_module, views_of, vmapped
from workbench.training.preparation import OBSERVED
from workbench.training.rebuilt import Rebuilt
from workbench.training.row import Row, TaskData
from workbench.training.shard import Shard, shard_count, side_by_side
from workbench.training.stages import (
    inputs_of,
    learning_rate_depths,
    learning_rate_factor,
    normalises,
    rows_per_epoch,
    trained_part,
    unfreezes_at,
    unfreezing_epoch,
)
from workbench.training.state import NOISE_SEED, CohortState, Trained, Weights
from workbench.training.stopping import FixedLength

__all__ = ["Batch", "Cohort"]


class Batch(NamedTuple):
    """Inputs and targets of a step: (rows, ...) of one trial, (trials, rows, ...) of several. counts: of each trial, how many
    rows count, None for all."""

    x: InputBatch
    y: Tensor
    counts: list[int] | None = None


class Cohort:
    """The stacked state of the trials that are still training.

    trials: Config by trial key; all with the same model, batch size and loss (see `cohort_key`). cores: threads that its rows
    may be divided among (on the CPU, for built-in models and losses, which are thread-safe). origins: starting points of the
    trials that are branches. state: to continue from (see `restore`); the trials are then those of its rows. fixed: how long
    they train on a task without validation rows.

    series: the first of its trials, a number for the cohort. epoch: how many epochs it has trained.
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
        fixed: FixedLength | None = None,
    ) -> None:
        first = next(iter(trials.values()))
        self.series, self.epoch = next(iter(trials)), 0
        self.task, self.device, self.dtype, self._fixed = task, device, dtype, fixed
        self.batch_size = first.batch_size
        self._piece_rows = PIECE_BATCHES * self.batch_size
        self.objective = Objective(task, first, device, dtype)
        self.predict = predictor(task, first.loss)
        data = self._data
        self.y, self.y_val = self.objective.targets(data.train), self.objective.targets(data.validation)
        size = None if state is None else state.theta.shape[1]
        self._enter(first, size if not origins else next(iter(origins.values())).weights.vector.numel())
        seeded = not is_builtin(first.model) or draws_random_numbers(self.module)
        self._noises = Noises(sum(config.seed for config in trials.values()) + NOISE_SEED, seeded, device)
        self._cores = cores if device.type == "cpu" and is_builtin_loss(first) else 1
        self.rows, self.shards = list[Row](), list[Shard]()
        self._bound: Bound | None = None
        self._outputs: Tensor | None = None  # of the last validation, see `Weights.outputs`
        self.theta, self.buffers = self._no_rows()
        if state is None:
            self.add(trials, origins)
        else:
            self._restore(state)

    @classmethod
    def restore(
        cls,
        task: TaskData,
        state: CohortState,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        cores: int = 1,
    ) -> Cohort:
        """A cohort that continues from the state of another one, bit-identically."""
        configs = {row.trial: Config(**row.config) for row in state.rows}
        return cls(task, configs, device, dtype, cores, state=state)

    @property
    def _data(self) -> Any:
        """What has the rows that train and validate."""
        return self.task

    # --- building ---------------------------------------------------------------------------------------------------

    def _enter(self, config: Config, size: int | None) -> None:
        """Build the module that trains, and its inputs. size: its number of parameters, if a state is to be restored."""
        model = build_model(self.task, config).to(self.device, self.dtype)
        self._first = config
        self.module = trained_part(model, size)
        self.inputs = inputs_of(self._data, model, self.device, self.dtype)
        self.x, self.x_val = self.inputs.x, self.inputs.x_val
        self.rows_per_epoch, self._normalises = rows_per_epoch(len(self.x), model, config), normalises(model, config)
        self.steps_per_epoch = math.ceil(self.rows_per_epoch / self.batch_size)
        trained = [(name, p) for name, p in self.module.named_parameters() if p.requires_grad]
        self._shapes = {name: p.shape for name, p in trained}
        self._penalised = [name for name, p in trained if is_penalised(self.module, name, p)]
        self.rebuilt = Rebuilt(self.task, config, self.module, self.inputs, self.device, self.dtype)
        self._depths, self._unfreezing_epoch = learning_rate_depths(model), unfreezing_epoch(model, config)
        self._is_pretrained = isinstance(model, Pretrained)
        # layers of rows that join later would still be frozen when those of the others no longer are
        self.takes_more = not (self._is_pretrained and unfreezes_at(config))

    def _no_rows(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The weights and buffers of a cohort without rows."""
        size = sum(shape.numel() for shape in self._shapes.values())
        theta = torch.empty(0, size, device=self.device, dtype=self.dtype)
        return theta, {name: value.new_empty(0, *value.shape) for name, value in constants_of(self.module)}

    @property
    def unfreezes(self) -> bool:
        """Whether the frozen layers train from the next epoch on (see `unfreeze`)."""
        return self._unfreezing_epoch is not None and max(row.epoch for row in self.rows) >= self._unfreezing_epoch

    def unfreeze(self) -> None:
        """Let the frozen layers of a pretrained model train as well, starting from their pretrained weights.

        The rows keep their epochs; their weights, and the best ones so far, become those of the whole model. The optimizers
        begin with a new state, since the old one covers fewer parameters.
        """
        model = build_model(self.task, self._first).to(self.device, self.dtype)
        widened = unfreezer(model)
        whole = [widened(self.weights(index)) for index in range(len(self.rows))]
        for row in self.rows:
            row.best = row.best and widened(row.best)
        self._enter(self._first, whole[0].vector.numel())
        buffers = {name: torch.stack([one.buffers[name] for one in whole]) for name in whole[0].buffers}
        self._arrange(self.rows, torch.stack([one.vector for one in whole]), buffers, [None] * len(whole))

    def add(self, trials: Mapping[int, Config], origins: Mapping[int, Trained] | None = None) -> None:
        """Add trials between two epochs; they must have the cohort's key."""
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
                new.append(Row.begin(trial, config, self.steps_per_epoch, self.task.monitor, self._fixed))
                states.append(None)
            else:
                check_fits(self.module, origin.weights)
                theta[index].copy_(origin.weights.vector)
                constants = list(origin.weights.buffers.values())
                new.append(Row.branch(trial, config, self.steps_per_epoch, self.task.monitor, origin, self._fixed))
                states.append(origin.optimizer if config.optimizer == origin.config.optimizer else None)
            # by position: with another dropout rate the layers have other names
            for (name, values), value in zip(list(buffers.items()), constants, strict=True):
                if values.dtype != value.dtype:  # its forward pass has given the buffer another one
                    buffers[name] = values = values.to(value.dtype)
                values[index].copy_(value)
        if self.rows:
            theta = torch.cat([self.theta, theta])
            buffers = {name: torch.cat([values, buffers[name]]) for name, values in self.buffers.items()}
        self._arrange([*self.rows, *new], theta, buffers, states)
        alone = origins.get(new[0].trial) if len(self.rows) == 1 else None
        if alone is not None and alone.noise is not None and alone.config.seed == self.rows[0].config.seed:
            self._noises.restore([alone.noise])

    def _arrange(
        self, rows: list[Row], theta: Tensor, buffers: dict[str, Tensor], states: Sequence[RowState | None]
    ) -> None:
        """Replace the rows by these, sorted so that rows that can share an optimizer call are neighbours."""
        places: dict[Any, list[int]] = {}
        for index, row in enumerate(rows):
            key = (*step_key(row.rule, row.step), states[index] is None)
            places.setdefault((self._group_of(row), repr(key)), []).append(index)
        order = [index for key in sorted(places, key=lambda key: int(key[0])) for index in places[key]]
        if order != list(range(len(rows))):
            at = torch.tensor(order, device=self.device)
            theta, buffers = theta[at], {name: values[at] for name, values in buffers.items()}
        self.rows, self.theta, self.buffers = [rows[index] for index in order], theta, buffers
        self._bind([states[index] for index in order])

    def _restore(self, state: CohortState) -> None:
        """Restore a state, each row in its former position."""
        check_fits(self.module, state.row(state.trials[0]).weights)
        self.series, self.epoch, self._noises.seed = state.series, state.epoch, state.noise_seed
        self.rows = [
            Row.restore(progress, order, self.steps_per_epoch, moved(best, self.device))
            for progress, order, best in zip(state.rows, state.orders, state.best, strict=True)
        ]
        self.theta = state.theta.to(self.device, self.dtype, copy=True)
        self.buffers = {
            name: state.buffers[name].to(values if state.theta.dtype != self.dtype else self.device, copy=True)
            for name, values in self.buffers.items()
        }
        self._bind(state.optimizers)
        self._noises.restore(state.noises)

    def state(self) -> CohortState:
        """A copy of all that the next step depends on."""
        return CohortState(
            self.series, self.epoch, [row.progress() for row in self.rows], self.theta.clone(),
            {name: v.clone() for name, v in self.buffers.items()}, [row.best for row in self.rows],
            [copied(state) for state in self._states()], [row.order.get_state() for row in self.rows],
            self._noises.states(), self._noises.seed, None if self._outputs is None else self._outputs.clone(),
        )  # fmt: skip

    def _group_of(self, row: Row) -> int:
        """Rows of different groups are never in one shard."""
        return 0

    def trials(self) -> list[list[int]]:
        """The places of each trial's rows; the first of them numbers its steps."""
        return [[index] for index in range(len(self.rows))]

    def record(self) -> EpochRecord:
        """Takes what the steps of an epoch give."""
        return EpochRecord(self.direct, self.objective.weights)

    def _states(self) -> list[RowState | None]:
        return [state for shard in self.shards for state in shard.states()]

    def _bind(self, states: Sequence[RowState | None]) -> None:
        """Point weights, gradients and optimizers at the present buffers."""
        self.grad = torch.zeros_like(self.theta)
        self.direct = len(self.rows) == 1
        forward = self._bound = None
        if self.direct:
            weights = views_of(self.theta, self._shapes)
            bind_module(self.module, weights, views_of(self.grad, self._shapes), self.buffers)
            if not self.rebuilt.known:
                moves = bool(self.rebuilt.forward_state.parameters)
                self._bound = Bound(self.module, weights, self.buffers, parameters=moves)
        else:
            forward = stacked_forward(self.module) or vmapped(self.module, self.rebuilt.forward_state.assigned)
        row_bytes = self.theta.shape[1] * self.theta.element_size()
        ends = [0]
        for _, group in groupby(self.rows, self._group_of):
            rows = len(list(group))
            count = 1 if self.direct or not self.rebuilt.known else shard_count(rows, row_bytes, self._cores)
            start = ends[-1]
            ends += [start + round((i + 1) * rows / count) for i in range(count)]
        self.shards = [self._shard(first, last, index, forward) for index, (first, last) in enumerate(pairwise(ends))]
        self._bind_optimizers(states)
        self.refresh()

    def _shard(self, first: int, last: int, index: int, forward: Forward | None) -> Shard:
        # .data: a version count of its own, or autograd takes the steps of one shard for changes to the weights of another
        theta, grad = self.theta[first:last].data, self.grad[first:last].data
        buffers = {name: values[first:last].data for name, values in self.buffers.items()}
        return Shard(
            first, last, theta, grad, views_of(theta, self._shapes), views_of(grad, self._shapes), buffers,
            self._penalised, forward, self.objective.means, self._noises.of(index),
        )  # fmt: skip

    def _bind_optimizers(self, states: Sequence[RowState | None]) -> None:
        rules, steps = [row.rule for row in self.rows], [row.step for row in self.rows]
        scales = None
        if self._depths is not None:
            # shares (trials, parameters) of the learning rate
            factors = self._depths.new_tensor([learning_rate_factor(row.config) for row in self.rows])
            scales = (factors[:, None] ** self._depths).to(self.device, self.dtype)
        for shard in self.shards:
            own = slice(shard.first, shard.last)
            shard.bind(rules[own], steps[own], states[own], None if scales is None else scales[own])

    def refresh(self) -> None:
        """Read the hyperparameters that may change during a run again from the rows' configurations."""
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

    def batches(self) -> Iterator[Batch]:
        """One epoch of shuffled batches: x (rows, ...) for one trial, (trials, rows, ...) for several.

        Each trial has its own order, drawn in each epoch by `torch.randperm` from its own generator.
        """
        orders = [row.order for row in self.rows]
        for x, y in shuffled_batches(self.x, self.y, orders, self.batch_size, self.rows_per_epoch):
            yield Batch(self.inputs.through(x, stacked=not self.direct), y)

    def step(self, x: InputBatch, y: Tensor, counts: list[int] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """One optimizer step of every trial. The arguments are a `Batch`.

        Returns: mean data loss (trials,), gradient norm before clipping (trials,), outputs; all detached.
        """
        for row in self.rows:
            row.learning_rate = row.next_rate()
        rates = [row.learning_rate for row in self.rows]

        def work(shard: Shard) -> tuple[Tensor, Tensor, Tensor]:
            own = slice(shard.first, shard.last)
            losses, outputs = self._backward_direct(x, y) if self.direct else shard.backward(select(x, own), y[own])
            return losses, shard.descend(rates[own], lambda: self._backward_direct(x, y)[0]), outputs

        found = side_by_side(self.shards, work, self._cores)
        for row in self.rows:
            row.step += 1
        if len(found) == 1:
            return found[0]
        losses, norms, outputs = (torch.cat(parts) for parts in zip(*found, strict=True))
        return losses, norms, outputs

    def _backward_direct(self, x: InputBatch, y: Tensor) -> tuple[Tensor, Tensor]:
        """Forward and backward of the single trial: autograd adds into the gradient buffer's views."""
        self.grad.zero_()
        with self._noises.of(0):
            outputs = call(self.module, x)
        loss = self.objective.mean(outputs, y)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._bound is not None:
            self._bound.restore()
        return loss.detach().reshape(1), outputs.detach()

    @torch.no_grad()
    def evaluate(self) -> list[tuple[float, dict[str, float]]]:
        """Validation loss and metrics of every trial, in evaluation mode; NaN without validation rows."""
        if not len(self.x_val):
            return [(math.nan, dict.fromkeys(self.task.metrics, math.nan)) for _ in self.rows]
        self.module.eval()
        stacked, self._piece_rows = in_pieces(self.x_val, self._piece_rows, self._evaluated, 1)
        if self._bound is not None:
            self._bound.restore()
        self.module.train()
        self._outputs = stacked[:, sample_rows(stacked.shape[1], stacked[0, 0].numel()).to(self.device)]
        targets = self.y_val.expand(len(stacked), *self.y_val.shape)
        losses = self.objective.means(stacked, targets).tolist()
        validation = self.task.validation
        own = validation.target.expand(len(stacked), *validation.target.shape)
        weights = None if validation.weight is None else validation.weight.expand(len(stacked), -1)
        return list(zip(losses, evaluate(self.task.metrics, stacked, own, weights, predict=self.predict), strict=True))

    def _evaluated(self, x: Inputs) -> Tensor:
        """Outputs (trials, rows, outputs) for some stored rows, in the mode the module is in."""
        batch = self.inputs.through(x)
        if self.direct:
            return torch.stack([call(self.module, batch)])
        return torch.cat(side_by_side(self.shards, lambda shard: shard.evaluate(batch), self._cores))

    @torch.no_grad()
    def penalties(self) -> list[float]:
        """λ1 Σ|w| + λ2 Σw² of every trial, at the present weights."""
        return [float(value) for shard in self.shards for value in shard.penalties()]

    # --- weights ----------------------------------------------------------------------------------------------------

    def weights(self, index: int) -> Weights:
        """A copy of one row's present weights."""
        buffers = {name: values[index].clone() for name, values in self.buffers.items()}
        return Weights(self.theta[index].clone(), buffers)

    def measured_weights(self, index: int) -> Weights:
        """A copy of one row's weights after a validation, with the outputs that it gave; a refit has none."""
        if self._outputs is None:
            return self.weights(index)
        return replace(self.weights(index), outputs=self._outputs[index].clone())

    def keep(self, indices: Sequence[int]) -> None:
        """Remove all other rows and free their memory; the kept ones continue with their optimizer state."""
        states = self._states()
        if not indices:  # an ended cohort that is still referred to keeps no data
            self.rows, self.shards = [], []
            self.theta = self.grad = self.theta[:0].clone()
            if self.inputs.features is not None:
                self.inputs.features = None
                self.x = self.x_val = self.inputs.x = self.inputs.x_val = self.y.new_empty(0)
            return
        index = torch.tensor(indices, dtype=torch.long, device=self.device)
        buffers = {name: values[index] for name, values in self.buffers.items()}
        self._arrange([self.rows[i] for i in indices], self.theta[index], buffers, [states[i] for i in indices])

    def stacking_error(self) -> str:
        """Why the module cannot be vectorised over trials, "" when it can. Leaves the cohort as it was."""
        if self.rows[0].rule.closure:  # `cohort_key` keeps them apart
            return "the optimizer evaluates the loss by itself, of one trial at a time"
        if self.rebuilt.known:
            return ""
        shard = self.shards[0]
        few = torch.arange(min(OBSERVED, len(self.x)), device=self.device).expand(shard.last - shard.first, -1)

        def try_out(module: nn.Module) -> None:
            forward = vmapped(module, self.rebuilt.forward_state.assigned)
            shard.try_out(forward, self.inputs.through(self.x[few], stacked=True), self.y[few])

        return self.rebuilt.stacking_error(self.rows[0].config, self.rows[-1].config, try_out)

    def mismatch(self, row: Row) -> str:
        """How the model of a row's best weights differs from the measured one, "" if it does not."""
        return self.rebuilt.mismatch(row)
