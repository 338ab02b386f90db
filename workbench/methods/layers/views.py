"""What is drawn of a network's inside: how its weights and outputs are distributed, and what it answers over a plane."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from workbench.models.layers import LayerFacts
from workbench.tasks import TaskSchema
from workbench.tasks.rows import Batch

__all__ = [
    "BINS",
    "SIDE",
    "Block",
    "Boundary",
    "Distribution",
    "LayerView",
    "Plane",
    "blocks",
    "layer_frame",
    "layer_views",
]

L = TypeVar("L", LayerFacts, "LayerView")

BINS = 41
"""An odd number: zero lies in the middle of a trash of the weights, whose range is symmetric."""
MOST_VALUES = 2**17
"""A histogram counts at most so many values, drawn at random by a fixed seed; mean and deviation are of all."""
SMALLEST = 1e-30
"""What is smaller is drawn as zero."""
SIDE = 64
"""Points along each side of a decision boundary's picture."""
MARGIN = 0.06
"""Of the data's range, around it."""


@dataclass(frozen=True, eq=False)
class Distribution:
    """Some numbers by their histogram. counts: (BINS,) from `low` to `high`, of finite values, or of some of them.

    mean, std: of all values, not finite if one of them is not. shown, size: how many values were counted, and how many there are.
    """

    counts: NDArray[np.int64]
    low: float
    high: float
    mean: float
    std: float
    shown: int
    size: int


@dataclass(frozen=True, eq=False)
class LayerView:
    """One layer as it is drawn; see `LayerFacts` for what the numbers mean. given: the outputs of the layer before."""

    name: str
    kind: str
    role: str
    parameters: int
    weights: Distribution | None
    norm: float
    zeros: float
    dead: float
    given_mean: float
    given_std: float
    outputs: Distribution


@dataclass(frozen=True, eq=False)
class Block:
    """A layer with weights and what follows it: its normalisation and its activation, None where there is none."""

    layer: LayerView
    norm: LayerView | None
    activation: LayerView | None


def layer_views(layers: Sequence[LayerFacts], inputs: Batch, most: int = MOST_VALUES) -> list[LayerView]:
    """What is drawn of each layer. inputs: (rows, ...), what the first layer was given. most: values that a histogram counts.

    Weights have a range symmetric about zero. The outputs of a layer with weights and of those that follow it, up to the
    next one, share a range, so that what normalisation and activation do is seen. Ranges end at 1, 2 or 5 times a power of ten.
    """
    views: list[LayerView] = []
    given = _moments(inputs) if isinstance(inputs, Tensor) else (math.nan, math.nan)  # several inputs have no one mean
    for together in _runs(layers):
        low, high = _range([layer.outputs for layer in together])
        for layer in together:
            weights = None
            if layer.weight is not None:
                size = max(map(abs, _range([layer.weight])))
                weights = _distribution(layer.weight, -size, size, most)
            outputs = _distribution(layer.outputs, low, high, most)
            views.append(
                LayerView(
                    layer.name, layer.kind, layer.role, layer.parameters, weights, layer.weight_norm, layer.zeros, layer.dead,
                    *given, outputs,
                )
            )  # fmt: skip
            given = outputs.mean, outputs.std
    return views


def blocks(views: Sequence[LayerView]) -> list[Block]:
    """The layers with weights, each with the first normalisation and activation after it."""
    found: list[Block] = []
    for together in _runs(views):
        if _has_weights(together[0]):
            first: dict[str, LayerView] = {}
            for view in together[1:]:
                first.setdefault(view.role, view)
            found.append(Block(together[0], first.get("norm"), first.get("activation")))
    return found


def layer_frame(views: Sequence[LayerView]) -> pd.DataFrame:
    """One row a layer, in the order of the forward pass.

    layer, kind; parameters: how many numbers it learns; mean, std, norm and zeros of its weights (biases apart; zeros: share
    that is nearly zero); dead: share of an activation's units that learn nothing; input_mean, input_std: of what it is given,
    output_mean, output_std: of what it makes of it. NaN for what a layer does not have.
    """
    nothing = (math.nan, math.nan)
    rows = [
        (
            view.name, view.kind, view.parameters, *((view.weights.mean, view.weights.std) if view.weights else nothing),
            view.norm, view.zeros, view.dead, view.given_mean, view.given_std, view.outputs.mean, view.outputs.std,
        )
        for view in views
    ]  # fmt: skip
    columns = ["layer", "kind", "parameters", "mean", "std", "norm", "zeros", "dead"]
    return pd.DataFrame(rows, columns=[*columns, "input_mean", "input_std", "output_mean", "output_std"])


# --- over a plane -------------------------------------------------------------------------------------------------------


class PlaneTask(Protocol):
    """What a plane asks of a task."""

    @property
    def input_shape(self) -> Any: ...
    @property
    def classes(self) -> tuple[str, ...] | None: ...
    @property
    def feature_names(self) -> tuple[str, ...] | None: ...
    @property
    def train(self) -> Any: ...
    @property
    def validation(self) -> Any: ...
    @property
    def schema(self) -> TaskSchema: ...


@dataclass(frozen=True, eq=False)
class Boundary:
    """What a model answers over a plane, (SIDE, SIDE), the first row at the largest second input.

    label: the likeliest class, None for a regression. strength: its probability; of a regression the first output, in
    standard deviations of the training targets from their mean.
    """

    label: NDArray[np.int64] | None
    strength: NDArray[np.float32]

    def shades(self, classes: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """How to colour it: the class (of a regression, 0 below and 1 above the mean), and how deep, from 0 to 1.

        A class is deeper the further its probability is above that of guessing; a number up to two standard deviations from
        the mean. 0 for what is not finite. classes: how many there are.
        """
        strength = self.strength.astype(np.float64)
        if self.label is None:
            hue, depth = (strength > 0).astype(np.int64), np.abs(strength) / 2
        else:
            chance = 1 / max(2, classes)
            hue, depth = self.label, (strength - chance) / (1 - chance)
        return hue, np.nan_to_num(np.clip(depth, 0.0, 1.0), nan=0.0)


@dataclass(frozen=True, eq=False)
class Plane:
    """The inputs of a task with two of them. low, high: its corners, in the units in which the model is given them.

    points, targets: rows by split, "train" and "validation", as (rows, 2) and (rows,): class numbers, or standardised numbers.
    names: of the two inputs, with their unit. classes: their labels, None for a regression.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    points: dict[str, NDArray[np.float32]]
    targets: dict[str, NDArray[Any]]
    names: tuple[str, str]
    classes: tuple[str, ...] | None

    @classmethod
    def of(cls, task: PlaneTask) -> Plane | None:
        """The plane of a task, None for one that has not two inputs."""
        if tuple(task.input_shape) != (2,) or task.schema.inputs != "numbers":
            return None
        splits = {"train": task.train, "validation": task.validation}
        points = {name: split.x.numpy() for name, split in splits.items() if len(split.x)}
        targets = {
            name: split.y.numpy().reshape(len(split.y), -1)[:, 0] for name, split in splits.items() if len(split.x)
        }
        everything = np.concatenate(list(points.values())).astype(float)
        low, high = everything.min(0), everything.max(0)
        # an input that never varies has a range all the same
        margin = np.where(high > low, MARGIN * (high - low), 0.5)
        unit = " (standardised)" if task.schema.preprocessing.standardize else ""
        first, second = (f"{name}{unit}" for name in task.feature_names or ("first input", "second input"))
        return cls(low - margin, high + margin, points, targets, (first, second), task.classes)

    def grid(self) -> Tensor:
        """(SIDE x SIDE, 2) float32: the middles of the picture's pixels, row by row from the top."""
        along = (np.arange(SIDE) + 0.5) / SIDE
        x = self.low[0] + along * (self.high[0] - self.low[0])
        y = self.high[1] - along * (self.high[1] - self.low[1])
        across, down = np.meshgrid(x, y)
        return torch.from_numpy(np.stack([across.ravel(), down.ravel()], 1).astype(np.float32))

    @torch.no_grad()
    def boundary(self, module: nn.Module, grid: Tensor | None = None) -> Boundary:
        """What a module in evaluation mode answers over the plane. grid: `grid()`, if it was computed before."""
        outputs = module(self.grid() if grid is None else grid).float()
        if self.classes is None:
            return Boundary(None, outputs.reshape(SIDE, SIDE, -1)[..., 0].numpy())
        strength, label = outputs.softmax(1).max(1)
        return Boundary(label.reshape(SIDE, SIDE).numpy(), strength.reshape(SIDE, SIDE).numpy())


# --------------------------------------------------------------------------------------------------------------------


def _has_weights(layer: LayerFacts | LayerView) -> bool:
    return (layer.weight if isinstance(layer, LayerFacts) else layer.weights) is not None


def _runs(layers: Sequence[L]) -> Iterator[list[L]]:
    """The layers cut before each one with weights."""
    run: list[L] = []
    for layer in layers:
        if run and _has_weights(layer):
            yield run
            run = []
        run.append(layer)
    if run:
        yield run


def _range(values: Sequence[Tensor]) -> tuple[float, float]:
    """From where to where to draw: the extremes, away from zero to 1, 2 or 5 times a power of ten; never empty."""
    low, high = 0.0, 0.0
    for one in values:
        least, most = (float(extreme) for extreme in one.aminmax()) if one.numel() else (0.0, 0.0)
        if not (math.isfinite(least) and math.isfinite(most)):
            finite = one[one.isfinite()]
            least, most = (float(extreme) for extreme in finite.aminmax()) if finite.numel() else (0.0, 0.0)
        low, high = min(low, least), max(high, most)
    low, high = -_round(-low), _round(high)
    return (low, high) if high > low else (-1.0, 1.0)


def _round(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    if value < SMALLEST:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in (1, 2, 5) if value <= step * power * (1 + 1e-12)), 10 * power)


def _moments(values: Tensor) -> tuple[float, float]:
    """Mean and deviation (of all values, not of a sample), NaN for none."""
    if not values.numel():
        return math.nan, math.nan
    values = values.float()
    mean = values.mean()
    # a tenth of what torch.std_mean takes
    return float(mean), float(torch.linalg.vector_norm(values - mean)) / math.sqrt(values.numel())


def _distribution(values: Tensor, low: float, high: float, most: int) -> Distribution:
    mean, std = _moments(values)
    flat = values.reshape(-1)
    if len(flat) > most:
        flat = flat[_sample(len(flat), most)]
    numbers = flat.numpy().astype(np.float64)
    if not math.isfinite(mean):
        numbers = numbers[np.isfinite(numbers)]
    # a fifth of what np.histogram takes; the last bin has both its ends
    bins = np.minimum(((numbers - low) * (BINS / (high - low))).astype(np.int64), BINS - 1)
    return Distribution(np.bincount(bins, minlength=BINS), low, high, mean, std, len(numbers), values.numel())


@lru_cache(maxsize=64)
def _sample(size: int, most: int) -> Tensor:
    """So many places out of `size`. At random: with a stride, a layer's weights could all be those of one input."""
    return torch.from_numpy(np.random.default_rng(0).integers(0, size, most))
