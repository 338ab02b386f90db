"""What the rules compare a trial's losses and predictions with: baselines under class weights, and rows ranked at random."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import stats

from workbench.metrics.predictions import predictions_of
from workbench.models import build_model
from workbench.tasks.rows import call, ready
from workbench.training import filled
from workbench.training.objective import class_weights

if TYPE_CHECKING:
    from workbench.core.config import Config
    from workbench.tasks.fold_data import Fold
    from workbench.tasks.task import Task
    from workbench.training import Weights

__all__ = ["chance_of_ranking", "class_weighted_losses"]

ROWS = 5000
"""Validation rows that are ranked."""


def class_weighted_losses(task: Task | Fold, config: Config) -> tuple[float, float] | None:
    """The losses of the task's baseline on the validation split, and of outputs of zero on the training split, both with the
    weights that a configuration gives classes or labels; None where these have none."""
    if class_weights(task, config) is None:
        return None
    if task.folds is not None:
        found = [_of_split(fold, config) for fold in task.folds.members]
        return fmean(loss for loss, _ in found), fmean(untrained for _, untrained in found)
    return _of_split(task, config)


def _of_split(task: Task | Fold, config: Config) -> tuple[float, float]:
    weights = class_weights(task, config)
    assert weights is not None
    y, seen = task.train.y, task.validation.y
    rows = task.validation.weight
    if task.kind == "multilabel":
        y, seen = y.double(), seen.double()
        outputs = (weights * y.sum(0).clamp_min(1e-12)).log() - (1 - y).sum(0).clamp_min(1e-12).log()
        by_row = F.binary_cross_entropy_with_logits(
            outputs.expand(seen.shape), seen, pos_weight=weights, reduction="none"
        ).mean(1)
        loss = by_row.mean() if rows is None else (by_row * rows).sum() / rows.sum()
        return float(loss), math.log(2) * float((weights * y + 1 - y).mean())
    counts = torch.bincount(y.flatten(), minlength=task.output_size) * weights
    surprise = -(counts / counts.sum()).clamp_min(1e-12).log()
    own = weights[seen]
    if rows is not None:
        own = own * rows.view(-1, *[1] * (own.dim() - 1))
    return float((own * surprise[seen]).sum() / own.sum()), math.log(task.output_size)


@torch.no_grad()
def chance_of_ranking(task: Task, config: Config, weights: Weights) -> float | None:
    """The probability that predictions which know nothing rank the validation rows by their targets as well as a model's do.

    One-sided Mann-Whitney test of each class or label against the rest, of numbers Spearman's test of each target; the smallest
    p-value times their number (Bonferroni). It sees what a metric of the most probable class does not, where one class is rare.
    None for dense tasks and under folds, and where it is not defined.
    """
    if task.kind == "dense" or task.folds is not None:
        return None
    split = task.validation
    outputs = call(filled(build_model(task, config), weights).eval(), ready(split.x[:ROWS]))
    predictions = predictions_of(task, config.loss, outputs.cpu()).numpy()
    targets = split.y[:ROWS].numpy()
    if task.classes is not None:
        targets = targets[:, None] == np.arange(task.output_size)
        if task.output_size == 2:
            predictions, targets = predictions[:, 1:], targets[:, 1:]
    numbers = task.kind not in ("classification", "multilabel")
    values = [
        _spearman(own, y) if numbers else _mann_whitney(own, y > 0.5)
        for own, y in zip(predictions.T, targets.astype(float).T, strict=True)
    ]
    known = [value for value in values if math.isfinite(value)]
    return min(1.0, min(known) * len(known)) if known else None


def _mann_whitney(scores: NDArray[Any], positive: NDArray[Any]) -> float:
    if not np.isfinite(scores).all() or positive.all() or not positive.any():
        return math.nan
    return float(stats.mannwhitneyu(scores[positive], scores[~positive], alternative="greater").pvalue)


def _spearman(predictions: NDArray[Any], targets: NDArray[Any]) -> float:
    if not np.isfinite(predictions).all() or np.ptp(predictions) == 0 or np.ptp(targets) == 0:
        return math.nan
    return float(stats.spearmanr(predictions, targets, alternative="greater").pvalue)
