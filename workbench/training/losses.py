"""Losses, one value a row, so that rows can be weighted and trials stacked.

Classification outputs are logits. The numeric losses (squared, absolute, Huber) applied to classes compare the raw outputs
with one-hot targets, averaged over the classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.core.config import Config
from workbench.core.errors import ConfigError, ModelError, Problem
from workbench.core.registration import read_arguments, register_loss
from workbench.core.registry import LOSSES

__all__ = ["LossFunction", "is_builtin_loss", "loss_of", "resolve_loss"]

MANY_ROWS, VECTOR = 256, 16
"""From so many rows on, and below so many classes, softmax pays on the transposed outputs (float32, AVX)."""

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""(outputs (rows, outputs), targets (rows,) or (rows, outputs)) -> (rows,)"""


def _numbers(outputs: Tensor, targets: Tensor) -> Tensor:
    """Targets in the shape of the outputs: class indices become one-hot rows."""
    if targets.is_floating_point():
        return targets
    return F.one_hot(targets, outputs.shape[-1]).to(outputs.dtype)


def cross_entropy(outputs: Tensor, targets: Tensor, reduction: str = "none", *, label_smoothing: float) -> Tensor:
    """-log softmax(outputs)[target]; with smoothing ε the target is (1 - ε) one-hot + ε / classes."""
    if len(outputs) >= MANY_ROWS and 2 < outputs.shape[-1] < VECTOR:
        # torch's softmax over few neighbouring numbers does not use vector instructions; over far ones it does, 3 x as fast
        outputs, targets = outputs.t().unsqueeze(0), targets.unsqueeze(0)
        values = F.cross_entropy(outputs, targets, reduction="none", label_smoothing=label_smoothing)[0]
        return values.mean() if reduction == "mean" else values
    return F.cross_entropy(outputs, targets, reduction=reduction, label_smoothing=label_smoothing)


def mse(outputs: Tensor, targets: Tensor, reduction: str = "none") -> Tensor:
    """Mean squared error (y - ŷ)²."""
    return _by_row(F.mse_loss(outputs, _numbers(outputs, targets), reduction=reduction))


def mae(outputs: Tensor, targets: Tensor, reduction: str = "none") -> Tensor:
    """Mean absolute error |y - ŷ|."""
    return _by_row(F.l1_loss(outputs, _numbers(outputs, targets), reduction=reduction))


def huber(outputs: Tensor, targets: Tensor, reduction: str = "none", *, huber_delta: float) -> Tensor:
    """Squared (half) up to an error of δ, absolute beyond: ½e² or δ(|e| - ½δ) (Huber 1964)."""
    return _by_row(F.huber_loss(outputs, _numbers(outputs, targets), reduction=reduction, delta=huber_delta))


def _by_row(values: Tensor) -> Tensor:
    return values.mean(-1) if values.dim() == 2 else values


register_loss("cross_entropy", cross_entropy, label="Cross-entropy", kinds=["classification"])
register_loss("mse", mse, label="Mean squared error")
register_loss("mae", mae, label="Mean absolute error")
register_loss("huber", huber, label="Huber")


def resolve_loss(config: Config, kind: str) -> Config:
    """`config` with loss "auto" made concrete for the kind of task. Raises: ConfigError if the loss does not suit it."""
    if config.loss == "auto":
        return config.replace(loss="cross_entropy" if kind == "classification" else "mse")
    if kind not in LOSSES[config.loss].kinds:
        suited = ", ".join(map(repr, LOSSES.suited_to(kind)))
        message = f"loss={config.loss!r}: does not suit a {kind} task; choose one of 'auto', {suited}"
        raise ConfigError([Problem("loss", config.loss, message)])
    return config


def loss_of(config: Config) -> tuple[LossFunction, LossFunction]:
    """The loss a Config asks for, its hyperparameters bound: by row (rows,), and its mean over the rows ().

    The built-in losses have a mean of their own, one kernel instead of two in each direction.
    """
    function = LOSSES[config.loss].value
    arguments = read_arguments(function, config)
    by_row = cast(LossFunction, partial(function, **arguments))
    if function.__module__ == __name__:
        return by_row, cast(LossFunction, partial(function, reduction="mean", **arguments))

    def checked(outputs: Tensor, targets: Tensor) -> Tensor:
        return _check_rows(by_row(outputs, targets), len(targets), config.loss)

    return checked, lambda outputs, targets: checked(outputs, targets).mean()


def is_builtin_loss(config: Config) -> bool:
    """Whether the loss is one of this package, which any thread may call."""
    return bool(LOSSES[config.loss].value.__module__ == __name__)


def _check_rows(values: object, rows: int, name: str) -> Tensor:
    """A registered loss's answer. Raises: ModelError when it is not one value a row."""
    if isinstance(values, Tensor) and values.shape == torch.Size([rows]):
        return values
    got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
    raise ModelError(f"loss {name!r}: must return one value a row, shape ({rows},), got {got}; leave out the mean")
