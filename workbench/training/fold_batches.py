"""Batches and records of a cohort whose rows train on different folds of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.metrics.evaluation import evaluate
from workbench.tasks.rows import Inputs, row_bytes
from workbench.training.batches import GATHER_BYTES
from workbench.training.epoch import EpochRecord

__all__ = ["FoldRecord", "Span", "fold_batches"]

Predict = Callable[[Tensor], Tensor]
Own = Callable[[Tensor], tuple[Tensor, Tensor | None]]


class Span(NamedTuple):
    """Where a fold's rows are among those of all folds. used: how many of them train in an epoch."""

    first: int
    rows: int
    used: int


def fold_batches(
    x: Inputs, y: Tensor, generators: Sequence[torch.Generator], spans: Sequence[Span], batch_size: int
) -> Iterator[tuple[Inputs, Tensor, list[int]]]:
    """One epoch of batches x, y (rows of the cohort, batch, ...), with the number of data rows that count in each.

    Each row of the cohort draws its order from its generator as it would alone; its last batch is filled up with rows that do not
    count, and so are those after it, until the longest fold is through.
    """
    steps = max(-(-span.used // batch_size) for span in spans)
    order = torch.empty(len(spans), steps * batch_size, dtype=torch.int64)
    for own, generator, span in zip(order, generators, spans, strict=True):
        own[: span.used] = torch.randperm(span.rows, generator=generator)[: span.used] + span.first
        own[span.used :] = span.first
    by_step = order.view(len(spans), steps, batch_size).transpose(0, 1).to(x.device)
    piece = max(1, GATHER_BYTES // max(1, row_bytes(x) * len(spans) * batch_size))
    for start in range(0, steps, piece):
        indices = by_step[start : start + piece]
        for step, (own_x, own_y) in enumerate(zip(x[indices], y[indices], strict=True), start):
            yield own_x, own_y, [min(max(span.used - step * batch_size, 0), batch_size) for span in spans]


class FoldRecord(EpochRecord):
    """The steps of one epoch of rows on different folds. used: data rows of each row's epoch. same: rows of the cohort whose
    folds share their size and the unit of their targets, with functions as those of `EpochRecord.metrics`."""

    def __init__(
        self,
        used: Sequence[int],
        batch_size: int,
        same: Sequence[tuple[list[int], Predict, Own]],
        weights: Callable[[Tensor], Tensor | None],
    ) -> None:
        super().__init__(False, weights)
        self._used, self._batch, self._same = torch.tensor(used), batch_size, same

    def _counts(self) -> Tensor:
        """Data rows that counted, (steps, rows) float64."""
        before = torch.arange(len(self.losses))[:, None] * self._batch
        return (self._used - before).clamp(0, self._batch).double()

    def loss_by_step(self) -> Tensor:
        """As `EpochRecord.loss_by_step`; 0 where a row took no step."""
        return torch.where(self._counts() > 0, super().loss_by_step(), 0.0)

    def _total(self, y: Tensor) -> Tensor:
        counts = (self._used - len(self._totals) * self._batch).clamp(0, self._batch)
        weights = self._weights(y)
        if weights is None:
            return counts.double()
        return (weights.cpu().double() * (torch.arange(y.shape[1]) < counts[:, None])).sum(1)

    def mean_norms(self) -> list[float]:
        stepped = (self._counts() > 0).double()
        norms = torch.stack(self.norms).cpu().double()
        found: list[float] = (torch.where(stepped > 0, norms, 0.0).sum(0) / stepped.sum(0)).tolist()
        return found

    def metrics(self, names: Sequence[str], predict: Predict, own: Own) -> list[dict[str, float]]:
        outputs, targets = torch.cat(self.outputs, 1), torch.cat(self.targets, 1)
        found: dict[int, dict[str, float]] = {}
        for rows, predict_own, own_unit in self._same:
            # rows that do not count stand at the end of each row's epoch
            used = min(int(self._used[rows[0]]), outputs.shape[1])
            at = torch.tensor(rows, device=outputs.device)
            scores = evaluate(names, outputs[at, :used], *own_unit(targets[at, :used]), predict=predict_own)
            found |= dict(zip(rows, scores, strict=True))
        return [found[index] for index in range(len(found))]
