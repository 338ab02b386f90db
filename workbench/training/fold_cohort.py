"""A cohort whose trials train on all folds of a cross-validation at once: a row of it is one fold of one trial."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from workbench.core.config import Config
from workbench.core.errors import ModelError
from workbench.metrics.evaluation import evaluate
from workbench.metrics.predictions import predictor
from workbench.models import build_model
from workbench.tasks.rows import Batch as InputBatch
from workbench.tasks.rows import select
from workbench.training.agreement import sample_rows
from workbench.training.batches import in_pieces
from workbench.training.cohort import Batch, Cohort
from workbench.training.epoch import EpochRecord
from workbench.training.filling import constants_of
from workbench.training.fold_batches import FoldRecord, Span, fold_batches
from workbench.training.objective import Objective
from workbench.training.row import Row, SplitData, TaskData
from workbench.training.schedules import schedule_of
from workbench.training.shard import Shard, side_by_side
from workbench.training.stages import trained_part
from workbench.training.state import CohortState, Trained

__all__ = ["FoldCohort", "cohort_class"]


def cohort_class(task: TaskData) -> type[Cohort]:
    """The class of the cohorts of a task."""
    return Cohort if getattr(task, "folds", None) is None else FoldCohort


class FoldCohort(Cohort):
    """As `Cohort`, with as many rows for a trial as there are folds. The folds of a trial begin with the same weights.

    A row draws its batches from its fold, in the order in which a trial on this fold alone would. Rows whose folds take as many
    steps in an epoch are a shard; where the last batches of a shard differ in size, rows that do not count fill them up. Where
    the rows of a batch may depend on each other (batch normalization, modules of the user's own), a shard has folds of one size.
    """

    # --- building ---------------------------------------------------------------------------------------------------

    @property
    def _data(self) -> Any:
        return self.task.folds

    def _enter(self, config: Config, size: int | None) -> None:
        super()._enter(config, size)
        self.members = tuple(self.task.folds.members)  # type: ignore[union-attr]
        self._predictors = [predictor(member, config.loss) for member in self.members]
        self._objectives = [Objective(member, config, self.device, self.dtype) for member in self.members]
        self._train_spans, self._validation_spans = self._spans("train"), self._spans("validation")
        self._steps = [math.ceil(span.used / self.batch_size) for span in self._train_spans]
        self.steps_per_epoch, self.rows_per_epoch = max(self._steps), max(span.used for span in self._train_spans)
        filled_up = self.rebuilt.known and not self._normalises
        spans = zip(self._steps, self._train_spans, self._validation_spans, strict=True)
        kinds = [(-steps, *(() if filled_up else (train.used, own.rows))) for steps, train, own in spans]
        self._group = [sorted(set(kinds)).index(kind) for kind in kinds]

    def _spans(self, split: str) -> list[Span]:
        spans: list[Span] = []
        first = 0
        for member in self.members:
            rows: SplitData = getattr(member, split)
            count = len(rows.x)
            lone = split == "train" and self._normalises and count % self.batch_size == 1 and count > 1
            spans.append(Span(first, count, count - int(lone)))
            first += count
        return spans

    def add(self, trials: Mapping[int, Config], origins: Mapping[int, Trained] | None = None) -> None:
        if origins:
            raise ModelError(
                "a trial on folds cannot be branched: its folds would each continue from weights of their own"
            )
        count = len(trials) * len(self.members)
        theta = self.theta.new_empty(count, self.theta.shape[1])
        buffers = {name: values.new_empty(count, *values.shape[1:]) for name, values in self.buffers.items()}
        new: list[Row] = []
        for trial, config in trials.items():
            module = trained_part(build_model(self.task, config)).to(self.device, self.dtype)
            vector = torch.cat([p.detach().reshape(-1) for p in module.parameters() if p.requires_grad])
            constants = [value for _, value in constants_of(module)]
            own = [Row.begin(trial, config, steps, self.task.monitor, self._fixed) for steps in self._steps]
            places = slice(len(new), len(new) + len(own))
            for fold, row in enumerate(own):
                row.fold, row.watch = fold, own[0].watch
            theta[places] = vector
            for values, value in zip(buffers.values(), constants, strict=True):
                values[places] = value
            new += own
        states = [*self._states(), *[None] * count]
        if self.rows:
            theta = torch.cat([self.theta, theta])
            buffers = {name: torch.cat([values, buffers[name]]) for name, values in self.buffers.items()}
        self._arrange([*self.rows, *new], theta, buffers, states)

    def _restore(self, state: CohortState) -> None:
        super()._restore(state)
        watches: dict[int, Any] = {}
        for row in self.rows:
            row.watch = watches.setdefault(row.trial, row.watch)
            row.rate = schedule_of(row.config, self._steps[row.fold])

    def _group_of(self, row: Row) -> int:
        return self._group[row.fold]

    def trials(self) -> list[list[int]]:
        places: dict[int, list[int]] = {}
        for index, row in enumerate(self.rows):
            places.setdefault(row.trial, []).append(index)
        # the longest fold first: its steps number those of the trial
        return [
            sorted(own, key=lambda i: (-self._steps[self.rows[i].fold], self.rows[i].fold)) for own in places.values()
        ]

    # --- training ---------------------------------------------------------------------------------------------------

    def batches(self) -> Iterator[Batch]:
        spans = [self._train_spans[row.fold] for row in self.rows]
        orders = [row.order for row in self.rows]
        for x, y, counts in fold_batches(self.x, self.y, orders, spans, self.batch_size):
            yield Batch(self.inputs.through(x, stacked=True), y, counts)

    def step(self, x: InputBatch, y: Tensor, counts: list[int] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        assert counts is not None
        for row, count in zip(self.rows, counts, strict=True):
            if count:
                row.learning_rate = row.next_rate()
        rates = [row.learning_rate for row in self.rows]

        def work(shard: Shard) -> tuple[Tensor, Tensor, Tensor] | None:
            own = slice(shard.first, shard.last)
            most, least = max(counts[own]), min(counts[own])
            if not most:
                return None
            counted = None
            if least < most:
                held = torch.tensor(counts[own], device=y.device)[:, None]
                counted = (torch.arange(most, device=y.device) < held).to(self.dtype)
            means = None
            if counted is not None or self.objective.by_class:
                means = partial(self._means, [row.fold for row in self.rows[own]], counted)
            losses, outputs = shard.backward(select(x, (own, slice(most))), y[own, :most], means)
            if most < y.shape[1]:
                missing = outputs.new_zeros(len(outputs), y.shape[1] - most, *outputs.shape[2:])
                outputs = torch.cat([outputs, missing], 1)
            return losses, shard.descend(rates[own]), outputs

        found = side_by_side(self.shards, work, self._cores if self.rebuilt.known else 1)
        for row, count in zip(self.rows, counts, strict=True):
            row.step += int(count > 0)
        some = next(parts for parts in found if parts is not None)
        whole = []
        for shard, parts in zip(self.shards, found, strict=True):
            rows = shard.last - shard.first
            whole.append(parts or tuple(like.new_zeros(rows, *like.shape[1:]) for like in some))
        losses, norms, outputs = (torch.cat(parts) for parts in zip(*whole, strict=True))
        return losses, norms, outputs

    def _means(self, folds: list[int], counted: Tensor | None, outputs: Tensor, y: Tensor) -> Tensor:
        """The loss of each row. folds: theirs. counted: see `Objective.means`."""
        if not self.objective.by_class:
            return self.objective.means(outputs, y, counted)
        losses = [
            self._objectives[fold].means(
                outputs[i : i + 1], y[i : i + 1], None if counted is None else counted[i : i + 1]
            )
            for i, fold in enumerate(folds)
        ]
        return torch.cat(losses)

    def record(self) -> EpochRecord:
        used = [self._train_spans[row.fold].used for row in self.rows]
        own = [
            (rows, self._predictors[fold], self._objectives[fold].in_own_unit) for rows, fold in self._alike("train")
        ]
        return FoldRecord(used, self.batch_size, own, self._weights)

    def _weights(self, y: Tensor) -> Tensor | None:
        """What rows count in a mean, see `Objective.weights`."""
        if not self.objective.by_class:
            return self.objective.weights(y)
        found = [self._objectives[row.fold].weights(y[i : i + 1]) for i, row in enumerate(self.rows)]
        return None if found[0] is None else torch.cat([one for one in found if one is not None])

    def _alike(self, split: str) -> list[tuple[list[int], int]]:
        """Rows that can be measured together, with one of their folds: those of one fold; of classes, of folds of one size."""
        spans = self._train_spans if split == "train" else self._validation_spans
        numbers = self._data.train.y.is_floating_point() or self.objective.by_class
        found: dict[Any, list[int]] = {}
        for index, row in enumerate(self.rows):
            found.setdefault((spans[row.fold].used, row.fold if numbers else -1), []).append(index)
        return [(rows, self.rows[rows[0]].fold) for rows in found.values()]

    @torch.no_grad()
    def evaluate(self) -> list[tuple[float, dict[str, float]]]:
        """Validation loss and metrics of every row, on its own fold."""
        self.module.eval()
        spans, validation = self._validation_spans, self._data.validation
        most = max(span.rows for span in spans)
        # shorter folds of a shard are filled up with their first row
        places = torch.stack(
            [torch.arange(most).where(torch.arange(most) < span.rows, 0) + span.first for span in spans]
        )
        places = places[[row.fold for row in self.rows]].to(self.device)

        def work(shard: Shard) -> tuple[Tensor, int]:
            count = max(spans[row.fold].rows for row in self.rows[shard.first : shard.last])
            own = places[shard.first : shard.last]

            def outputs_of(at: Any) -> Tensor:
                return shard.evaluate_own(self.inputs.through(self.x_val[own[:, at]], stacked=True))

            found, fitted = in_pieces(torch.arange(count, device=self.device), self._piece_rows, outputs_of, 1)
            missing = found.new_zeros(len(found), most - count, *found.shape[2:])
            return torch.cat([found, missing], 1) if count < most else found, fitted

        parts, fitted = zip(*side_by_side(self.shards, work, self._cores if self.rebuilt.known else 1), strict=True)
        stacked, self._piece_rows = torch.cat(parts), min(fitted)
        self.module.train()
        self._outputs = stacked[:, self._sample(stacked[0, 0].numel()).to(self.device)]
        found: dict[int, tuple[float, dict[str, float]]] = {}
        for rows, fold in self._alike("validation"):
            count = spans[fold].rows
            outputs, at = stacked[rows][:, :count], places[rows][:, :count]
            losses = self._objectives[fold].means(outputs, self.y_val[at]).tolist()
            own = at.to(validation.target.device)
            weights = None if validation.weight is None else validation.weight[own]
            scores = evaluate(
                self.task.metrics, outputs, validation.target[own], weights, predict=self._predictors[fold]
            )
            found |= dict(zip(rows, zip(losses, scores, strict=True), strict=True))
        return [found[index] for index in range(len(self.rows))]

    def _sample(self, size: int) -> Tensor:
        """Places, in each fold's validation rows, of those whose outputs are kept (see `Weights.outputs`)."""
        return sample_rows(min(span.rows for span in self._validation_spans), size)

    def mismatch(self, row: Row) -> str:
        for own in self.rows:
            if own.trial == row.trial and own.best is not None and own.best.outputs is not None:
                places = self._sample(own.best.outputs[0].numel()) + self._validation_spans[own.fold].first
                if found := self.rebuilt.mismatch(own, places):
                    return f"fold {own.fold + 1}: {found}"
        return ""
