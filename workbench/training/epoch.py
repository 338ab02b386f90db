"""What the steps of one epoch of a cohort gave, and its summary by trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

import torch
from torch import Tensor

from workbench.metrics.evaluation import evaluate
from workbench.training.row import Row

__all__ = ["EpochRecord", "by_fold", "mean_of"]

Scores = tuple[float, dict[str, float]]


def mean_of(scores: Sequence[Scores]) -> Scores:
    """The mean over the folds of a trial of their validation loss and metrics."""
    if len(scores) == 1:
        return scores[0]
    names = scores[0][1]
    return fmean(loss for loss, _ in scores), {name: fmean(own[name] for _, own in scores) for name in names}


def by_fold(rows: Sequence[Row], own: Sequence[int], scores: Sequence[Scores]) -> dict[str, tuple[float, ...]]:
    """Validation loss ("loss") and metrics of a trial by fold, nothing for a trial without folds. own: places of its rows."""
    if len(own) == 1:
        return {}
    found = [scores[place] for place in sorted(own, key=lambda place: rows[place].fold)]
    metrics = {name: tuple(one[name] for _, one in found) for name in found[0][1]}
    return {"loss": tuple(loss for loss, _ in found), **metrics}


class EpochRecord:
    """The steps of one epoch. direct: whether the cohort has one trial, whose batches have no axis of trials.

    weights: gives what the rows of packed targets count in a mean, see `Objective.weights`.
    Of each step: losses, norms (trials,): mean loss, and gradient norm before clipping; outputs, targets: of its batch.
    """

    def __init__(self, direct: bool, weights: Callable[[Tensor], Tensor | None]) -> None:
        self.direct, self._weights = direct, weights
        self._totals: list[Tensor] = []  # of the steps so far, when they were last asked for
        self.losses: list[Tensor] = []
        self.norms: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.targets: list[Tensor] = []

    def loss_by_step(self) -> Tensor:
        """The losses (steps, trials) on the CPU, float64."""
        losses = torch.stack(self.losses)
        return losses.double().cpu() if losses.device.type == "cpu" else losses.cpu().double()

    def mean_losses(self, by_step: Tensor) -> Tensor:
        """The training loss (trials,), the weighted mean over the epoch's rows. by_step: as `loss_by_step` returns it."""
        for y in self.targets[len(self._totals) :]:
            self._totals.append(self._total(y[None] if self.direct else y))
        totals = torch.stack(self._totals)
        return (by_step * totals).sum(0) / totals.sum(0).clamp_min(torch.finfo(totals.dtype).tiny)

    def _total(self, y: Tensor) -> Tensor:
        """What the rows of the next step's batch (trials, rows, ...) count together, (trials,) or (1,) float64."""
        weights = self._weights(y)
        return torch.tensor([y.shape[1]]).double() if weights is None else weights.cpu().double().sum(1)

    def mean_norms(self) -> list[float]:
        """The gradient norm of each trial, averaged over the steps."""
        norms: list[float] = torch.stack(self.norms).mean(0).tolist()
        return norms

    def metrics(
        self,
        names: Sequence[str],
        predict: Callable[[Tensor], Tensor],
        own: Callable[[Tensor], tuple[Tensor, Tensor | None]],
    ) -> list[dict[str, float]]:
        """The metrics of each trial over the outputs of the epoch's steps, each with the weights before it.

        predict: makes predictions of outputs. own: gives the targets that a loss saw in their own unit, and their weights.
        """
        if self.direct:
            outputs, targets = torch.cat(self.outputs)[None], torch.cat(self.targets)[None]
        else:
            outputs, targets = torch.cat(self.outputs, 1), torch.cat(self.targets, 1)
        return evaluate(names, outputs, *own(targets), predict=predict)
