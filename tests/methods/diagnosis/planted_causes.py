"""Trials whose poor result has a cause other than the learning rate: a clip, dropout, a penalty, the module, the targets, the
metric, or too few epochs. Two halves that share no task and no configuration.

CALIBRATION is the half that thresholds were set on. HELD_OUT was written before the rules were, and is only asked whether
they hold. Each case has a place (a task, its modules, and a configuration that says what can be reached there), a
configuration in the notation of `planted.config`, and the verdict.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import workbench as wb
from tests.methods.diagnosis.planted import config
from workbench.methods.diagnosis.case import HEALTHY, RuleFindings


class Through(nn.Module):
    """An MLP whose outputs go through a function; of a function, no layer is seen."""

    def __init__(self, task: Any, function: Callable[[Tensor], Tensor], width: int = 32) -> None:
        super().__init__()
        inputs = int(np.prod(task.input_shape))
        self.inner = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, task.output_size))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.inner(x.flatten(1)))


def through(function: Callable[[Tensor], Tensor]) -> Callable[..., nn.Module]:
    """The builder of an MLP whose outputs go through a function."""
    return lambda task: Through(task, function)


def softmax_layer(task: Any) -> nn.Module:
    """As in many tutorials: a network that ends in a softmax layer."""
    inputs = int(np.prod(task.input_shape))
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, task.output_size), nn.Softmax(-1))


class ZeroLinear(nn.Linear):
    """A linear layer whose outputs are multiplied by zero."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 0


def zero_linear(task: Any) -> nn.Module:
    return ZeroLinear(int(np.prod(task.input_shape)), task.output_size)


def unrelated(rows: int, columns: int, classes: int | None, seed: int) -> wb.Task:
    """Targets that have nothing to do with the inputs: classes, or numbers for None."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, columns))
    y = rng.normal(size=rows) if classes is None else rng.integers(0, classes, rows)
    return wb.Task.from_arrays(X, y, seed=seed)


def broken(outputs: Tensor, targets: Tensor) -> float:
    return float("nan")


def broken_for_good_models(outputs: Tensor, targets: Tensor) -> float:
    """NaN as soon as the outputs are not all nearly equal."""
    return float("nan") if float(outputs.double().std()) > 0.05 else 1.0


@dataclass(frozen=True)
class Place:
    """make: the task. reference: trained first, with a built-in model. metric: one to register under "planted"."""

    make: Callable[[], wb.Task]
    reference: str
    models: Mapping[str, Callable[..., nn.Module]] = field(default_factory=dict)
    metric: Callable[..., float] | None = None


PLACES = {
    "wine": Place(lambda: wb.Task.load("wine"), "adam 0.003 30", {"zero": zero_linear}),
    "iris": Place(lambda: wb.Task.load("iris"), "adam 0.01 30", {"soft": softmax_layer, "tanh": through(torch.tanh)}),
    "digits": Place(
        lambda: wb.Task.load("digits"), "adam 0.003 12", {"log_soft": through(lambda x: x.log_softmax(-1))}
    ),
    "moons": Place(lambda: wb.Task.load("moons", n=240, noise=0.15), "adam 0.02 30 batch=16"),
    "diabetes": Place(lambda: wb.Task.load("diabetes"), "adam 0.002 12", {"sigmoid": through(torch.sigmoid)}),
    "labels at random": Place(lambda: unrelated(240, 8, 2, 1), "adam 0.001 8"),
    "metric without a value": Place(lambda: wb.Task.load("iris", metrics="planted"), "adam 0.01 8", metric=broken),
    # the held-out half: other data, or other divisions of it
    "cancer": Place(
        lambda: wb.Task.load("breast_cancer", seed=71),
        "adam 0.003 12",
        {"function": through(lambda x: x.softmax(-1)), "normal": through(lambda x: nn.functional.normalize(x, dim=-1))},
    ),
    "other wine": Place(
        lambda: wb.Task.load("wine", seed=72, split=(0.55, 0.25, 0.2)), "momentum 0.02 20", {"soft": softmax_layer}
    ),
    "blobs": Place(
        lambda: wb.Task.load("blobs", n=330, noise=2.0, centers=5, seed=73),
        "adam 0.01 20",
        {"rounded": through(torch.round), "log_soft": through(lambda x: x.log_softmax(-1))},
    ),
    "signals": Place(lambda: wb.Task.load("mnist1d", n=900, seed=74), "adam 0.005 25 units=128"),
    "other diabetes": Place(
        lambda: wb.Task.load("diabetes", seed=75),
        "adam 0.001 12",
        {"unit": through(torch.sigmoid)},
    ),
    "classes at random": Place(lambda: unrelated(300, 12, 4, 76), "adam 0.0005 6"),
    "numbers at random": Place(lambda: unrelated(260, 6, None, 77), "adam 0.0005 6"),
    "metric that breaks": Place(
        lambda: wb.Task.load("moons", n=200, seed=78, metrics="planted"), "adam 0.01 8", metric=broken_for_good_models
    ),
}

Cases = dict[str, list[tuple[str, str]]]

CALIBRATION: Cases = {
    "clipped": [
        ("wine", "sgd 0.1 30 gradient_clip=1e-4"),
        ("moons", "momentum 0.02 30 batch=16 gradient_clip=1e-3"),
        ("diabetes", "sgd 0.02 20 gradient_clip=1e-3"),
    ],
    "underfitting": [
        ("wine", "adam 0.001 30 dropout=0.95"),
        ("moons", "adam 0.02 30 batch=16 dropout=0.9"),
        ("wine", "sgd 0.05 25 l2=0.3"),
        ("diabetes", "adam 0.003 15 l1=0.1"),
    ],
    "zero_gradients": [("wine", "adam 0.001 5 model=zero")],
    "bounded_outputs": [
        ("iris", "adam 0.01 40 model=soft"),
        ("iris", "adam 0.01 40 model=tanh"),
        ("diabetes", "adam 0.003 15 model=sigmoid"),
    ],
    "too_few_epochs": [("digits", "sgd 0.02 3"), ("wine", "adam 0.001 2"), ("digits", "sgd 0.01 1")],
    "unpredictable": [("labels at random", "adam 0.01 40")],
    "undefined_metric": [("metric without a value", "adam 0.01 5")],
    "rate_too_high": [("wine", "sgd 10 20 dropout=0.5"), ("digits", "adam 1 10 l2=1e-6")],
    HEALTHY: [("wine", "adam 0.003 30 gradient_clip=0.01"), ("digits", "adam 0.003 12 model=log_soft")],
}

HELD_OUT: Cases = {
    "clipped": [
        ("other wine", "nesterov 0.02 25 gradient_clip=5e-4"),
        ("blobs", "sgd 0.05 20 gradient_clip=0.002"),
        ("other diabetes", "momentum 0.01 15 gradient_clip=2e-4"),
    ],
    "underfitting": [
        ("other wine", "rmsprop 0.001 20 dropout=0.94"),
        ("signals", "adamw 0.005 20 dropout=0.9 layers=3"),
        ("blobs", "adam 0.01 20 l1=0.3"),
        ("cancer", "nesterov 0.02 12 l2=0.6"),
    ],
    "zero_gradients": [("blobs", "adam 0.01 6 model=rounded")],
    "bounded_outputs": [
        ("cancer", "adamw 0.003 15 model=function"),
        ("other wine", "adam 0.005 25 model=soft"),
        ("cancer", "rmsprop 0.002 15 model=normal"),
        ("other diabetes", "adam 0.005 15 model=unit"),
    ],
    "too_few_epochs": [("signals", "sgd 0.05 4"), ("cancer", "adagrad 0.005 1"), ("signals", "momentum 0.01 12")],
    "unpredictable": [("classes at random", "adam 0.005 30 units=128"), ("numbers at random", "adam 0.005 40")],
    "undefined_metric": [("metric that breaks", "adam 0.02 10")],
    "rate_too_high": [("signals", "sgd 8 15 dropout=0.3"), ("blobs", "sgd 10 15 gradient_clip=1000.0")],
    HEALTHY: [
        ("blobs", "adam 0.01 20 model=log_soft"),
        ("cancer", "adam 0.003 4 gradient_clip=0.02"),  # in 12 epochs it would overfit
        ("other wine", "momentum 0.02 20 l2=1e-4 dropout=0.1"),
    ],
}


def planted_causes(cases: Cases) -> Iterator[tuple[str, str, wb.Workbench, RuleFindings]]:
    """Train the cases of one half and diagnose each: verdict, what was trained, its workbench, found."""
    for name in dict.fromkeys(place for group in cases.values() for place, _ in group):
        place = PLACES[name]
        if place.metric is not None:
            wb.register_metric("planted", place.metric)
        bench = wb.Workbench(place.make(), models=place.models)
        bench.run(config(place.reference), seeds=2)
        for verdict, group in cases.items():
            for where, text in group:
                if where == name:
                    with warnings.catch_warnings():
                        warnings.filterwarnings("ignore", "gradient_clip=")  # that it is tiny is said at the call, too
                        # a healthy one in a log of its own: a lead within the noise would be a finding
                        own = wb.Workbench(bench.task, models=place.models) if verdict == HEALTHY else bench
                        trial = own.run(config(text)).trials[0]
                    yield verdict, f"{name}: {text}", own, own.diagnose(trial)
