"""The built-in architectures and activations, registered like a user's own."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, Protocol

from torch import nn

from workbench.core.domains import Choice, IntRange
from workbench.core.errors import ConfigError, ModelError, Problem
from workbench.core.registration import register_model
from workbench.core.registry import ACTIVATIONS

__all__ = ["DataShape", "check_numbers", "cnn", "mlp"]


class DataShape(Protocol):
    """What a builder may ask of a task."""

    @property
    def input_shape(self) -> Any: ...
    @property
    def output_size(self) -> int: ...
    @property
    def positions(self) -> tuple[int, ...]: ...


ACTIVATIONS.register("relu", nn.ReLU, label="ReLU", meaning="max(0, x)", built_in=True)
ACTIVATIONS.register("leaky_relu", nn.LeakyReLU, label="Leaky ReLU", meaning="x above 0, 0.01 x below", built_in=True)
ACTIVATIONS.register("elu", nn.ELU, label="ELU", meaning="x above 0, exp(x) - 1 below", built_in=True)
ACTIVATIONS.register("gelu", nn.GELU, label="GELU", meaning="x Φ(x)", built_in=True)
ACTIVATIONS.register("silu", nn.SiLU, label="SiLU", meaning="x sigmoid(x), also called swish", built_in=True)
ACTIVATIONS.register("tanh", nn.Tanh, label="tanh", meaning="hyperbolic tangent", built_in=True)
ACTIVATIONS.register("sigmoid", nn.Sigmoid, label="Sigmoid", meaning="1 / (1 + exp(-x))", built_in=True)


def check_numbers(task: DataShape, model: str) -> None:
    """Raises: ModelError if a task has other inputs than one of numbers, which is all that this model takes."""
    kinds: Any = getattr(task, "inputs", "numbers")
    if kinds == "numbers":
        return
    if kinds == "tokens":
        given, size = "tokens", "task.categories['tokens']"
        remedy = f"give a model of your own, models={{name: build}}, that begins with nn.Embedding({size}, width)"
    else:
        given = "several inputs (" + ", ".join(f"{name}: {kind}" for name, kind in kinds.items()) + ")"
        remedy = f"give a model of your own, models={{name: build}}, with forward(self, {', '.join(kinds)})"
        if set(kinds) <= {"numbers", "codes"}:
            remedy += ", or make the task with categories='one_hot'"
    raise ModelError(f"model={model!r}: takes one input of numbers, and this task has {given}; {remedy}")


def mlp(
    task: DataShape, *, hidden_layers: int, hidden_units: int, activation: str, batch_norm: bool, dropout: float
) -> nn.Module:
    """Fully connected layers; with no hidden layer a linear model."""
    check_numbers(task, "mlp")
    make_activation: Callable[[], nn.Module] = ACTIVATIONS[activation].value
    layers: list[nn.Module] = [nn.Flatten()]
    width = prod(task.input_shape)
    for _ in range(hidden_layers):
        # the bias before a batch normalisation is cancelled by it
        layers.append(nn.Linear(width, hidden_units, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm1d(hidden_units))
        layers.append(make_activation())
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        width = hidden_units
    layers += _head(width, task)
    return nn.Sequential(*layers)


def _head(width: int, task: DataShape) -> list[nn.Module]:
    """The last layer: (rows, width) to (rows, output_size), or (rows, output_size, *positions) of a dense task."""
    if not task.positions:
        return [nn.Linear(width, task.output_size)]
    shape = (task.output_size, *task.positions)
    return [nn.Linear(width, prod(shape)), nn.Unflatten(1, shape)]


def cnn(
    task: DataShape,
    *,
    activation: str,
    batch_norm: bool,
    dropout: float,
    channels: int = IntRange(2, 256, default=16, scale="power2"),  # type: ignore[assignment]
    blocks: int = IntRange(1, 5, default=2),  # type: ignore[assignment]
    kernel_size: int = Choice(3, 5),  # type: ignore[assignment]
) -> nn.Module:
    """Blocks of convolution, activation and 2x2 max-pooling, each with twice the channels; then one linear layer."""
    check_numbers(task, "cnn")
    if len(task.input_shape) != 3:
        remedy = "make it from X[:, None], of one channel, or " * (len(task.input_shape) == 2) + "use 'mlp'"
        message = (
            f"model='cnn': needs images of shape (channels, height, width), this task has {task.input_shape}; {remedy}"
        )
        raise ConfigError([Problem("model", "cnn", message)])
    make_activation: Callable[[], nn.Module] = ACTIVATIONS[activation].value
    previous, height, width = task.input_shape
    layers: list[nn.Module] = []
    for block in range(blocks):
        if min(height, width) < 2:
            message = f"blocks={blocks}: {task.input_shape[1:]} images are down to 1 pixel after {block}; lower blocks"
            if min(task.input_shape[:2]) > 4 and task.input_shape[2] in (1, 3, 4):
                message += ", or, if the channels come last, make the task from X.transpose(0, 3, 1, 2)"
            raise ConfigError([Problem("blocks", blocks, message)])
        current = channels * 2**block
        layers.append(nn.Conv2d(previous, current, kernel_size, padding=kernel_size // 2, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(current))
        layers += [make_activation(), nn.MaxPool2d(2)]
        previous, height, width = current, height // 2, width // 2
    layers.append(nn.Flatten())
    if dropout > 0:
        layers.append(nn.Dropout(dropout))
    layers += _head(previous * height * width, task)
    return nn.Sequential(*layers)


register_model("mlp", mlp, label="MLP")
register_model("cnn", cnn, label="CNN")
