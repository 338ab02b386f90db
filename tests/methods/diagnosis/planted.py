"""Trials with a planted pathology, built from configs, in two halves that share no configuration, no seed and no
division of the data.

CALIBRATION is the half that the thresholds of the rules were set on; HELD_OUT is only ever asked whether they hold. The same goes
for the healthy settings of both. Each case is a task and a configuration ("optimizer rate epochs field=value...";
for `noise` two of
them, which cannot be told apart). A reference configuration on each task says in the log how well one can do.
"""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn import datasets
from torch import nn

import workbench as wb
from workbench.methods.diagnosis.case import RuleFindings

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def scaled_mlp(
    task: Any,
    *,
    hidden_layers: int,
    hidden_units: int,
    activation: str,
    gain: float = wb.LogRange(0.01, 100.0, default=1.0),  # type: ignore[assignment]
    shift: float = wb.Range(-50.0, 50.0, default=0.0),  # type: ignore[assignment]
) -> nn.Module:
    """An MLP whose initial weights are `gain` times PyTorch's, and whose hidden biases begin at `shift`."""
    width = 1
    for size in task.input_shape:
        width *= size
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(hidden_layers):
        layers += [nn.Linear(width, hidden_units), ACTIVATIONS[activation]()]
        width = hidden_units
    layers.append(nn.Linear(width, task.output_size))
    with torch.no_grad():
        for layer in layers:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(gain)
        for layer in layers[:-1]:
            if isinstance(layer, nn.Linear):
                layer.bias.add_(shift)
    return nn.Sequential(*layers)


def mislabelled_digits(share: float, seed: int) -> wb.Task:
    """Digits of which a share of the labels is drawn at random, so that learning them all by heart is a loss."""
    X, y = datasets.load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(len(y)) < share, rng.integers(0, 10, len(y)), y)
    return wb.Task.from_arrays(X, y, seed=seed, name=f"digits, {share:.0%} of the labels at random")


class Place(NamedTuple):
    """A task and the configuration that says what can be reached on it."""

    make: Callable[[], wb.Task]
    reference: str


PLACES = {
    "digits": Place(lambda: wb.Task.load("digits"), "adam 0.003 12"),
    "wrong digits": Place(lambda: mislabelled_digits(0.2, 0), "adam 0.001 8"),
    "spirals": Place(lambda: wb.Task.load("spirals", n=600, noise=0.03), "adam 0.02 40 batch=64"),
    "noisy moons": Place(lambda: wb.Task.load("moons", n=200, noise=0.4), "adam 0.01 15 batch=32"),
    "diabetes": Place(lambda: wb.Task.load("diabetes"), "adam 0.001 10"),
    # the held-out half: other divisions, other data
    "other digits": Place(lambda: wb.Task.load("digits", seed=61, split=(0.55, 0.25, 0.2)), "adam 0.003 12"),
    "other wrong digits": Place(lambda: mislabelled_digits(0.22, 62), "adam 0.001 8"),
    "clean moons": Place(lambda: wb.Task.load("moons", n=560, noise=0.1, seed=63), "adam 0.02 40 batch=64"),
    "noisy circles": Place(lambda: wb.Task.load("circles", n=260, noise=0.22, seed=64), "adam 0.01 20 batch=32"),
    "other diabetes": Place(lambda: wb.Task.load("diabetes", seed=65), "adam 0.001 10"),
}

Cases = dict[str, list[tuple[str, str]]]

CALIBRATION: Cases = {
    "rate_too_high": [
        ("digits", "adam 1 12"),
        ("digits", "adam 0.1 15"),
        ("spirals", "sgd 10 30 batch=64"),
        ("diabetes", "sgd 5 20"),
        ("diabetes", "adam 0.3 20"),
    ],
    "rate_too_low": [
        ("digits", "adam 1e-5 12"),
        ("spirals", "sgd 1e-3 30 batch=64"),
        ("diabetes", "adam 1e-5 20"),
    ],
    "underfitting": [
        ("digits", "adam 0.003 15 units=1"),
        ("spirals", "adam 0.01 30 batch=64 layers=0"),
        ("diabetes", "adam 0.003 20 l2=1.0"),
        ("diabetes", "adam 0.003 15 l1=0.2"),
    ],
    "overfitting": [
        ("wrong digits", "adam 0.003 20 units=128"),
        ("noisy moons", "adam 0.01 80 units=256 batch=32"),
        ("diabetes", "adam 0.003 40 units=256"),
    ],
    "plateau": [
        ("digits", "adam 0.001 15 schedule=exponential decay=0.5"),
        ("digits", "adam 0.06 12"),
        ("spirals", "adam 0.01 40 batch=64 schedule=exponential decay=0.7"),
        ("diabetes", "adam 0.001 20 schedule=exponential decay=0.5"),
    ],
    "dead_activations": [
        ("digits", "adam 0.001 10 layers=12 units=3"),
        ("spirals", "adam 0.01 20 batch=64 model=scaled shift=-3"),
        ("diabetes", "adam 0.001 15 model=scaled shift=9 activation=sigmoid"),
    ],
    "gradients": [
        ("digits", "sgd 0.01 10 layers=8 activation=sigmoid"),
        ("spirals", "sgd 0.001 30 batch=64 model=scaled gain=6 layers=6"),
        ("diabetes", "momentum 0.01 15 model=scaled gain=0.2 layers=6"),
    ],
    "noise": [
        ("digits", "adam 0.002 10 vs adam 0.0021 10"),
        ("spirals", "adam 0.02 40 batch=64 vs adam 0.019 40 batch=64"),
        ("diabetes", "adam 0.001 10 vs adam 0.0009 10"),
    ],
}

CALIBRATION_HEALTHY = [
    ("digits", "adam 0.001 15"),
    ("digits", "momentum 0.03 15 schedule=cosine"),
    ("digits", "adam 0.003 12 dropout=0.2"),
    ("spirals", "adam 0.01 40 batch=64"),
    ("diabetes", "adam 0.001 10"),
    ("diabetes", "adam 0.003 40 patience=5"),
    ("diabetes", "sgd 0.01 15 layers=0"),
]

HELD_OUT: Cases = {
    "rate_too_high": [
        ("other digits", "adagrad 3 10"),
        ("clean moons", "rmsprop 1 25 batch=64"),
        ("other diabetes", "adamw 0.7 20"),
    ],
    "rate_too_low": [
        ("other digits", "rmsprop 4e-6 12"),
        ("clean moons", "sgd 5e-4 25 batch=64"),
        ("other diabetes", "nesterov 3e-5 20"),
    ],
    "underfitting": [
        ("other digits", "rmsprop 0.003 12 l2=0.2"),
        ("clean moons", "momentum 0.05 25 batch=64 l2=0.3"),
        ("other diabetes", "rmsprop 0.002 20 l1=0.15"),
    ],
    "overfitting": [
        ("other wrong digits", "rmsprop 0.002 20 units=128"),
        ("noisy circles", "adamw 0.015 90 units=128 batch=32"),
        ("other diabetes", "adam 0.005 30 units=64 layers=3"),
    ],
    "plateau": [
        ("other digits", "rmsprop 0.0005 12 schedule=exponential decay=0.5"),
        ("clean moons", "momentum 0.01 30 batch=64 schedule=step step_size=3 gamma=0.05"),
        ("other diabetes", "adamw 0.0007 20 schedule=step step_size=2 gamma=0.1"),
    ],
    "dead_activations": [
        ("other digits", "adamw 0.001 10 layers=11 units=2"),
        ("clean moons", "momentum 0.01 20 batch=64 model=scaled shift=12 activation=sigmoid"),
        ("other diabetes", "rmsprop 0.001 15 model=scaled shift=-6 layers=3"),
    ],
    "gradients": [
        ("other digits", "sgd 0.002 10 model=scaled gain=7 layers=5"),
        ("clean moons", "adamw 0.002 20 batch=64 layers=9 activation=sigmoid"),
        ("other diabetes", "adam 0.001 15 model=scaled gain=0.18 layers=7"),
    ],
    "noise": [
        ("other digits", "rmsprop 0.001 10 vs rmsprop 0.00102 10"),
        ("noisy circles", "momentum 0.03 20 batch=32 vs momentum 0.031 20 batch=32"),
        ("other diabetes", "adam 0.0015 7 vs adam 0.0016 7"),
    ],
}

HELD_OUT_HEALTHY = [
    ("other digits", "rmsprop 0.0007 15"),
    ("other digits", "adam 0.002 12 batch_norm=True dropout=0.1"),
    ("other digits", "sgd 0.08 20 activation=tanh"),
    ("other wrong digits", "adamw 0.0008 8 units=32"),
    ("clean moons", "adamw 0.01 40 batch=64 schedule=cosine"),
    ("clean moons", "momentum 0.05 40 batch=64"),
    ("other diabetes", "adam 0.0007 12"),
    ("other diabetes", "adagrad 0.01 40 patience=5 layers=1"),
]


def planted(cases: Cases) -> Iterator[tuple[str, str, RuleFindings]]:
    """Train the cases of one half and diagnose each: pathology, what was trained, found."""
    for name in dict.fromkeys(place for group in cases.values() for place, _ in group):
        task = PLACES[name].make()
        bench = wb.Workbench(task, models={"scaled": scaled_mlp})
        bench.run(config(PLACES[name].reference), seeds=2)
        for pathology, group in cases.items():
            for place, text in group:
                if place != name:
                    continue
                first, _, second = text.partition(" vs ")
                own = wb.Workbench(task) if second else bench
                trial = own.run(config(first)).trials[0]
                if second:
                    own.run(config(second))
                    trial = int(own.leaderboard()["trial"].iloc[0])
                yield pathology, f"{name}: {text}", own.diagnose(trial)


def healthy(settings: list[tuple[str, str]], seeds: int) -> Iterator[tuple[str, RuleFindings]]:
    """Train each healthy configuration with some seeds, in a log of its own, and diagnose every trial."""
    tasks = {name: PLACES[name].make() for name, _ in settings}
    for name, text in settings:
        bench = wb.Workbench(tasks[name])
        for trial in bench.run(config(text), seeds=seeds).trials:
            yield f"{name}: {text}, trial {trial}", bench.diagnose(trial)


SHORT = {"units": "hidden_units", "layers": "hidden_layers", "batch": "batch_size"}


def config(text: str) -> wb.Config:
    """ "adam 0.01 30 units=64": optimizer, rate, epochs and what else differs from the default."""
    optimizer, rate, epochs, *rest = text.split()
    values: dict[str, Any] = {"optimizer": optimizer, "learning_rate": float(rate), "epochs": int(epochs)}
    for pair in rest:
        name, _, value = pair.partition("=")
        try:
            values[SHORT.get(name, name)] = literal_eval(value)
        except ValueError:
            values[SHORT.get(name, name)] = value
    return wb.Config(**values)
