"""Losses, one value a row, so that rows can be weighted and trials stacked; each entry states its link.

Cross-entropy and focal loss take logits. The numeric losses (squared, absolute, Huber) applied to classes compare the raw
outputs with one-hot targets, averaged over the classes.
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
from workbench.core.kinds import KINDS
from workbench.core.registration import Loss, read_arguments, register_loss
from workbench.core.registry import LOSSES

__all__ = ["LossFunction", "is_builtin_loss", "loss_of", "resolve_loss"]

MANY_ROWS, VECTOR = 256, 16
"""From so many rows on, and below so many classes, softmax pays on the transposed outputs (float32, AVX)."""

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""(outputs (rows, ...), targets (rows, ...)) -> (rows,)"""


def _numbers(outputs: Tensor, targets: Tensor) -> Tensor:
    """Targets in the shape of the outputs: class indices become one-hot rows."""
    if targets.is_floating_point():
        return targets
    return F.one_hot(targets, outputs.shape[-1]).to(outputs.dtype)


def cross_entropy(
    outputs: Tensor,
    targets: Tensor,
    reduction: str = "none",
    *,
    label_smoothing: float,
    class_weight: Tensor | None = None,
) -> Tensor:
    """-log softmax(outputs)[target], times the class's weight; with smoothing ε the target is (1 - ε) one-hot + ε / classes."""
    if outputs.dim() > 2 or class_weight is not None:  # (rows, classes, *positions)
        return _by_row(
            F.cross_entropy(outputs, targets, class_weight, reduction=reduction, label_smoothing=label_smoothing)
        )
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


def binary_cross_entropy(
    outputs: Tensor, targets: Tensor, reduction: str = "none", *, class_weight: Tensor | None = None
) -> Tensor:
    """-w y log σ(o) - (1 - y) log(1 - σ(o)) of each label, averaged over the labels; w: the weight of its positive rows."""
    return _by_row(F.binary_cross_entropy_with_logits(outputs, targets, pos_weight=class_weight, reduction=reduction))


def focal(
    outputs: Tensor, targets: Tensor, reduction: str = "none", *, focal_gamma: float, class_weight: Tensor | None = None
) -> Tensor:
    """(1 - p)^γ times the cross-entropy -log p of the actual class, or of each label (Lin et al. 2017); α: the class weights."""
    weight: Tensor | float = 1.0
    if targets.is_floating_point():
        plain = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        if class_weight is not None:
            weight = torch.where(targets > 0, class_weight, 1.0)
    else:
        plain = F.cross_entropy(outputs, targets, reduction="none")
        if class_weight is not None:
            weight = class_weight[targets]
    values = weight * (1 - torch.exp(-plain)) ** focal_gamma * plain
    return values.mean() if reduction == "mean" else _by_row(values)


def poisson(outputs: Tensor, targets: Tensor, reduction: str = "none") -> Tensor:
    """exp(o) - y·o: the negative log-likelihood of counts of rate exp(o), without its constant."""
    return _by_row(F.poisson_nll_loss(outputs, targets, reduction=reduction))


def gaussian(outputs: Tensor, targets: Tensor, reduction: str = "none") -> Tensor:
    """½(log s² + (y - m)² / s²): outputs are the means m, and then as many logarithms of variances log s²."""
    mean, log_variance = outputs.chunk(2, -1)
    variance = log_variance.exp()
    return _by_row(F.gaussian_nll_loss(mean, targets, variance, reduction=reduction))


def quantile(outputs: Tensor, targets: Tensor, reduction: str = "none", *, quantile: float) -> Tensor:
    """max(q·e, (q - 1)·e) of the error e = y - ŷ, whose minimum is the q-quantile (Koenker and Bassett 1978)."""
    error = targets - outputs
    values = torch.maximum(quantile * error, (quantile - 1) * error)
    return values.mean() if reduction == "mean" else _by_row(values)


def _by_row(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1) if values.dim() > 1 else values


NUMBERS = ["regression", "count"]
NUMERIC_LINK = {"regression": "identity", "count": "identity", "classification": "shares", "multilabel": "clipped"}
NUMERIC = [*NUMBERS, "classification", "multilabel"]
register_loss("cross_entropy", cross_entropy, label="Cross-entropy", kinds=["classification", "dense"], link="softmax")
register_loss(
    "binary_cross_entropy", binary_cross_entropy, label="Binary cross-entropy", kinds=["multilabel"], link="sigmoid"
)
register_loss(
    "focal", focal, label="Focal", kinds=["classification", "dense", "multilabel"],
    link={"classification": "softmax", "dense": "softmax", "multilabel": "sigmoid"},
)  # fmt: skip
register_loss("mse", mse, label="Mean squared error", kinds=NUMERIC, link=NUMERIC_LINK)
register_loss("mae", mae, label="Mean absolute error", kinds=NUMERIC, link=NUMERIC_LINK)
register_loss("huber", huber, label="Huber", kinds=NUMERIC, link=NUMERIC_LINK)
register_loss("poisson", poisson, label="Poisson NLL", kinds=NUMBERS, link="exp", transformed=False)
register_loss("gaussian", gaussian, label="Gaussian NLL", kinds=["regression"], link="mean", width=2)
register_loss("quantile", quantile, label="Quantile", kinds=NUMBERS, link="identity")


def resolve_loss(config: Config, kind: str) -> Config:
    """`config` with loss "auto" made concrete for the kind of task. Raises: ConfigError if the loss does not suit it."""
    if config.loss == "auto":
        return config.replace(loss=KINDS[kind].loss)
    if kind not in LOSSES[config.loss].kinds:
        suited = ", ".join(map(repr, LOSSES.suited_to(kind)))
        message = f"loss={config.loss!r}: does not suit a {kind} task; choose one of 'auto', {suited}"
        raise ConfigError([Problem("loss", config.loss, message)])
    return config


def loss_of(config: Config, class_weight: Tensor | None = None) -> tuple[LossFunction, LossFunction]:
    """The loss a Config asks for, its hyperparameters bound: by row (rows,), and its mean over the rows ().

    The built-in losses have a mean of their own, one kernel instead of two in each direction. class_weight: (classes,) in place
    of what the Config says of it.
    """
    entry: Loss = LOSSES[config.loss].value
    function = entry.function
    arguments = read_arguments(function, config)
    if "class_weight" in arguments:
        arguments["class_weight"] = class_weight
    by_row = cast(LossFunction, partial(function, **arguments))
    if function.__module__ == __name__:
        return by_row, cast(LossFunction, partial(function, reduction="mean", **arguments))

    def checked(outputs: Tensor, targets: Tensor) -> Tensor:
        return _check_rows(by_row(outputs, targets), len(targets), config.loss)

    return checked, lambda outputs, targets: checked(outputs, targets).mean()


def is_builtin_loss(config: Config) -> bool:
    """Whether the loss is one of this package, which any thread may call."""
    return bool(LOSSES[config.loss].value.function.__module__ == __name__)


def _check_rows(values: object, rows: int, name: str) -> Tensor:
    """A registered loss's answer. Raises: ModelError when it is not one value a row."""
    if isinstance(values, Tensor) and values.shape == torch.Size([rows]):
        return values
    got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
    raise ModelError(f"loss {name!r}: must return one value a row, shape ({rows},), got {got}; leave out the mean")
