"""Metrics over a whole split, beside the loss: what people compare trials by."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.core.errors import ModelError
from workbench.core.registration import Metric, register_metric
from workbench.core.registry import METRICS

__all__ = ["evaluate_metric", "evaluate_metrics"]


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of rows whose largest output is the target's class."""
    return (outputs.argmax(-1) == targets).sum() / len(targets)


def r2(outputs: Tensor, targets: Tensor) -> Tensor:
    """Coefficient of determination 1 - Σ(y - ŷ)² / Σ(y - ȳ)², averaged over the targets."""
    residual = (targets - outputs).double().square().sum(0)
    total = (targets - targets.mean(0)).double().square().sum(0)
    return (1 - residual / total).mean()


def rmse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Root of the mean squared error, in standardised target units."""
    return (targets - outputs).double().square().mean().sqrt()


register_metric("accuracy", accuracy, label="Accuracy", kinds=["classification"])
register_metric("r2", r2, label="R²", kinds=["regression"])
register_metric("rmse", rmse, better="lower", label="RMSE", kinds=["regression"])


def evaluate_metric(name: str, outputs: Tensor, targets: Tensor) -> float:
    """The metric of one trial's outputs. Raises: ModelError if a registered metric raises or returns no number."""
    metric: Metric = METRICS[name].value
    try:
        with torch.no_grad():
            return float(metric.function(outputs.cpu(), targets.cpu()))
    except Exception as error:
        raise ModelError(f"metric {name!r}: must return one number, raised {type(error).__name__}: {error}") from error


def evaluate_metrics(name: str, outputs: Tensor, targets: Tensor) -> list[float]:
    """The metric of several trials: outputs (trials, rows, outputs), targets of each trial (trials, rows, ...).

    Ours are computed for all trials at once; one of the user's may do what it likes and is called for each.
    """
    metric: Metric = METRICS[name].value
    if len(outputs) == 1 or metric.function.__module__ != __name__:
        return [evaluate_metric(name, own, target) for own, target in zip(outputs, targets, strict=True)]
    with torch.no_grad():
        values: list[float] = torch.vmap(metric.function)(outputs.cpu(), targets.cpu()).tolist()
    return values
