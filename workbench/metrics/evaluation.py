"""Predictions and targets of several trials, with what the metrics compute of them once; and the metrics of these."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.core.errors import ModelError
from workbench.core.registration import Metric
from workbench.core.registry import METRICS

__all__ = ["Evaluation", "Tallies", "evaluate", "evaluate_metric", "takes_weights"]


class Tallies(NamedTuple):
    """Weights of rows by class, each (trials, classes) float64: right ones, predicted ones, and those that are of the class."""

    right: Tensor
    predicted: Tensor
    actual: Tensor


class Evaluation:
    """Predictions and targets of several trials on as many rows each.

    outputs: (trials, rows, outputs); of a dense task (trials, rows, classes, *positions), whose positions become rows of their
    own. targets: (trials, rows) int64 classes, or (trials, rows, outputs) float64 in their own unit. weights: (trials, rows),
    None for equal ones. predict: makes predictions of the outputs (the last axis is that of the outputs); None where they are
    predictions already. It must not change which class is the largest.
    """

    def __init__(
        self,
        outputs: Tensor,
        targets: Tensor,
        weights: Tensor | None = None,
        predict: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        outputs, targets = outputs.detach().cpu(), targets.detach().cpu()
        self.classes = not targets.is_floating_point()
        if self.classes and targets.dim() > 2:
            outputs, targets = outputs.movedim(2, -1).flatten(1, -2), targets.flatten(1)
        if weights is not None:
            weights = weights.detach().cpu().double()
            if weights.shape[1] != targets.shape[1]:  # each position counts as much as its row
                weights = weights.repeat_interleave(targets.shape[1] // weights.shape[1], 1)
        self.outputs, self.targets, self._predict = outputs, targets, predict
        self.weighted, self._weights = weights is not None, weights

    @cached_property
    def predictions(self) -> Tensor:
        """(trials, rows, outputs) float64: probabilities, or numbers in the target's own unit."""
        found = self.outputs if self._predict is None else self._predict(self.outputs)
        return found.double()

    def is_lacking(self, probabilities: bool) -> Tensor:
        """Of each trial, whether outputs are NaN, or probabilities if these matter: it has no metrics (trials,)."""
        lacking = self.outputs.isnan().flatten(1).any(1)
        return lacking | self.predictions.isnan().flatten(1).any(1) if probabilities else lacking

    @cached_property
    def weights(self) -> Tensor:
        """(trials, rows) float64, ones by default."""
        return torch.ones(self.targets.shape[:2], dtype=torch.float64) if self._weights is None else self._weights

    @cached_property
    def labels(self) -> Tensor:
        """The predicted class (trials, rows), or 0 and 1 for each label (trials, rows, labels): whether it is above 0.5."""
        return self.outputs.argmax(-1) if self.classes else (self.predictions > 0.5).double()

    def mean(self, by_row: Tensor) -> Tensor:
        """Means over the rows of values (trials, rows, ...): (trials, ...) float64. A row of weight 0 may have any value."""
        if not self.weighted:
            return by_row.double().mean(1)
        weights = self.weights.view(*self.weights.shape, *[1] * (by_row.dim() - 2))
        return torch.where(weights > 0, by_row.double() * weights, 0.0).sum(1) / weights.sum(1)

    @cached_property
    def tallies(self) -> Tallies:
        """Rows by class, or by label."""
        if not self.classes:
            labels, targets = self.labels, self.targets.double()
            weights = self.weights[..., None]
            parts = ((labels * targets * weights), (labels * weights), (targets * weights))
            return Tallies(*(part.sum(1) for part in parts))
        trials, classes = len(self.targets), self.outputs.shape[-1]
        offsets = torch.arange(trials)[:, None] * classes
        hit = self.labels == self.targets
        weights = self.weights

        def counted(labels: Tensor, weights: Tensor) -> Tensor:
            found = torch.bincount((labels + offsets).flatten(), weights.flatten(), minlength=trials * classes)
            return found.view(trials, classes)

        return Tallies(
            counted(self.targets, weights * hit), counted(self.labels, weights), counted(self.targets, weights)
        )

    @cached_property
    def one_against_rest(self) -> tuple[Tensor, Tensor]:
        """Scores and whether they belong, each (trials, columns, rows): for two classes, of the second one; else by class or
        label."""
        scores = self.predictions.transpose(1, 2)
        if not self.classes:
            return scores, self.targets.transpose(1, 2) > 0.5
        if scores.shape[1] == 2:
            return scores[:, 1:], (self.targets == 1)[:, None]
        return scores, self.targets[:, None] == torch.arange(scores.shape[1])[:, None]


def evaluate(
    names: Sequence[str],
    outputs: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    *,
    predict: Callable[[Tensor], Tensor] | None = None,
) -> list[dict[str, float]]:
    """Some metrics of several trials, one mapping a trial. Arguments: as of `Evaluation`. NaN where a metric has no value.

    Raises: ModelError if a registered metric raises or returns no number.
    """
    of = Evaluation(outputs, targets, weights, predict)
    found: list[dict[str, float]] = [{} for _ in range(len(targets))]
    with torch.no_grad():
        for name in names:
            metric: Metric = METRICS[name].value
            if metric.batched:
                values = torch.where(of.is_lacking(metric.probabilities), math.nan, metric.function(of)).tolist()
            else:
                values = _one_by_one(name, metric, of, targets)
            for own, value in zip(found, values, strict=True):
                own[name] = value
    return found


def evaluate_metric(name: str, predictions: Tensor, targets: Tensor, weights: Tensor | None = None) -> float:
    """The metric of one trial's predictions (rows, ...). Raises: ModelError as `evaluate`."""
    own = None if weights is None else weights[None]
    return evaluate([name], predictions[None], targets[None], own)[0][name]


def takes_weights(metric: Metric) -> bool:
    """Whether a metric can weigh rows: all built-in ones, and a function with a parameter `weights`."""
    return metric.batched or "weights" in inspect.signature(metric.function).parameters


def _one_by_one(name: str, metric: Metric, of: Evaluation, targets: Tensor) -> list[float]:
    """A registered metric, called for each trial with predictions as it was promised."""
    found = []
    predictions, weights = of.predictions, of.weights
    if of.classes and targets.dim() > 2:  # back to (trials, rows, classes, *positions), and to one weight a row
        predictions = predictions.view(*targets.shape, -1).movedim(-1, 2)
        weights = weights.view(*targets.shape[:2], -1)[..., 0]
    for at, (own, target) in enumerate(zip(predictions, targets.cpu(), strict=True)):
        more = {"weights": weights[at]} if of.weighted and takes_weights(metric) else {}
        try:
            found.append(float(metric.function(own, target, **more)))
        except Exception as error:
            message = f"metric {name!r}: must return one number, raised {type(error).__name__}: {error}"
            raise ModelError(message) from error
    return found
