"""Metrics over a whole split, beside the loss: what people compare trials by."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.errors import ModelError
from workbench.registration import Metric, register_metric
from workbench.registry import METRICS

__all__ = ["evaluate_metric"]


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of rows whose largest output is the target's class."""
    return (outputs.argmax(-1) == targets).count_nonzero() / len(targets)


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
