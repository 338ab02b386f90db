"""What the steps of one epoch of a cohort gave, and its summary by trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from workbench.metrics.evaluation import evaluate

__all__ = ["EpochRecord"]


class EpochRecord:
    """The steps of one epoch. direct: whether the cohort has one trial, whose batches have no axis of trials.

    Of each step: losses, norms (trials,): mean loss, and gradient norm before clipping; outputs, targets: of its batch.
    """

    def __init__(self, direct: bool) -> None:
        self.direct = direct
        self.losses: list[Tensor] = []
        self.norms: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.targets: list[Tensor] = []

    def loss_by_step(self) -> Tensor:
        """The losses (steps, trials) on the CPU, float64."""
        losses = torch.stack(self.losses)
        return losses.double().cpu() if losses.device.type == "cpu" else losses.cpu().double()

    def mean_losses(self, by_step: Tensor) -> Tensor:
        """The training loss (trials,) over the epoch's rows. by_step: as `loss_by_step` returns it."""
        rows = torch.tensor([y.shape[0 if self.direct else 1] for y in self.targets], dtype=torch.float64)[:, None]
        return (by_step * rows).sum(0) / rows.sum()

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
