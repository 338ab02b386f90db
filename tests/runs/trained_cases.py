"""Trained models of every kind, and beside each what a plain pipeline makes of the same raw rows."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

import workbench as wb
from workbench.core.registry import MODELS
from workbench.runs.trained_model import TrainedModel
from workbench.tasks import Task
from workbench.training import Training, prepare

MINE = """
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from torch import nn
import workbench as wb

class Gated(nn.Module):
    def __init__(self, inputs, width, outputs):
        super().__init__()
        self.first, self.last = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.register_buffer("shift", torch.full((width,), 0.1))
    def forward(self, x):
        return self.last(torch.sigmoid(self.first(x)) + self.shift)

def build(task, *, width=wb.IntRange(2, 64, default=8)):
    assert task.kind == "regression" and task.classes is None
    return Gated(task.input_shape[0], width, task.output_size)

class Halved(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.middle_ = X.mean(0)
        return self
    def transform(self, X):
        return (X - self.middle_) / 2
"""


@contextmanager
def own_code(folder: Path) -> Iterator[Path]:
    """A module of the user's own in a folder, where Python finds it."""
    (folder / "mine.py").write_text(MINE, encoding="utf-8")
    sys.path.insert(0, str(folder))
    try:
        yield folder
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("mine", None)
        MODELS.unregister("gated")


def trained(task: Task, config: wb.Config) -> TrainedModel:
    config = prepare(task, config)
    training = Training(task, {7: config})
    for _ in training.moments():
        pass
    return TrainedModel(training.module(7), config, task.schema, trial=7, epoch=config.epochs)


def scaled(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    return StandardScaler().fit(values[train]).transform(values)


def make_frame() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    rows = 160
    size, colour = rng.normal(50, 20, rows), rng.choice(["red", "green", "größe"], rows)
    frame = pd.DataFrame({"size": size, "colour": colour, "count": pd.array(rng.integers(0, 9, rows), dtype="Int64")})
    frame["bought"] = np.where(size + 20 * (colour == "red") > 55, "yes", "no")
    frame.loc[rng.choice(rows, 20), "size"] = np.nan
    frame.loc[rng.choice(rows, 20), "colour"] = None
    frame.loc[rng.choice(rows, 20), "count"] = pd.NA
    return frame


class Case(NamedTuple):
    """A trained model, raw rows for it, options to load it, and what a plain pipeline makes of the rows before the module."""

    model: TrainedModel
    rows: Any
    options: dict[str, Any]
    prepared: np.ndarray
    forward: Callable[[nn.Module, torch.Tensor], torch.Tensor]
    labels: Any


def digits() -> Case:
    images, _y = load_digits(return_X_y=True)
    images = images.reshape(-1, 1, 8, 8)
    task = Task.load("digits")
    model = trained(task, wb.Config(batch_norm=True, hidden_units=16, dropout=0.2, epochs=2))
    train = task.row_numbers["train"]

    def forward(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        w = module.state_dict()
        h = x.flatten(1)
        for place in (1, 5):
            h = h @ w[f"{place}.weight"].T
            norm = {key: w[f"{place + 1}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")}
            h = (h - norm["running_mean"]) / (norm["running_var"] + 1e-5).sqrt() * norm["weight"] + norm["bias"]
            h = h.relu()
        return h @ w["9.weight"].T + w["9.bias"]

    return Case(model, images, {}, (images - images[train].mean()) / images[train].std(), forward, np.arange(10))


def pictures() -> Case:
    images, _y = load_digits(return_X_y=True)
    images = images.reshape(-1, 1, 8, 8)
    config = wb.Config(model="cnn", batch_norm=True, channels=4, blocks=2, activation="tanh", epochs=2)
    task = Task.load("digits", seed=3)
    model = trained(task, config)
    train = task.row_numbers["train"]

    def forward(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        parts = [nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.Tanh(), nn.MaxPool2d(2)]
        parts += [nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Tanh(), nn.MaxPool2d(2)]
        plain = nn.Sequential(*parts, nn.Flatten(), nn.Linear(32, 10))
        plain.load_state_dict(module.state_dict())
        return plain.eval()(x)

    return Case(model, images, {}, (images - images[train].mean()) / images[train].std(), forward, np.arange(10))


def two_layers(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    w = module.state_dict()
    h = (x.flatten(1) @ w["1.weight"].T + w["1.bias"]).relu()
    return h @ w["3.weight"].T + w["3.bias"]


def table() -> Case:
    frame = make_frame()
    task = Task.from_frame(frame, "bought", name="shop")
    model = trained(task, wb.Config(hidden_layers=1, hidden_units=8, epochs=3))
    train = task.row_numbers["train"]
    numbers = frame[["size", "count"]].astype(float).to_numpy()
    text = frame["colour"].astype(object).to_numpy()[:, None]
    text = np.where(pd.isna(text), np.nan, text)
    numbers = SimpleImputer(strategy="median").fit(numbers[train]).transform(numbers)
    text = SimpleImputer(strategy="most_frequent").fit(text[train]).transform(text)
    encoded = OneHotEncoder(sparse_output=False).fit(text[train]).transform(text)
    prepared = scaled(np.column_stack([numbers, encoded]), train)
    return Case(model, frame.drop(columns="bought"), {}, prepared, two_layers, np.array(["no", "yes"]))


def progression() -> Case:
    """Two targets in units far apart."""
    X, y = load_diabetes(return_X_y=True)
    y = np.column_stack([1e4 + 1e3 * y, 1e-3 * y])
    task = Task.from_arrays(X, y)
    model = trained(task, wb.Config(hidden_layers=1, hidden_units=8, epochs=3))
    train = task.row_numbers["train"]
    return Case(model, X, {}, scaled(X, train), two_layers, (y[train].mean(0), y[train].std(0)))


def components() -> Case:
    X, _y = load_wine(return_X_y=True)
    transform = make_pipeline(StandardScaler(), PCA(4))
    task = Task.load("wine", transform=transform, clip=1.5)
    model = trained(task, wb.Config(hidden_layers=1, hidden_units=8, epochs=3))
    train = task.row_numbers["train"]
    mean, spread = X[train].mean(0), X[train].std(0)
    held = np.clip(X, mean - 1.5 * spread, mean + 1.5 * spread)
    plain = make_pipeline(StandardScaler(), PCA(4), StandardScaler()).fit(held[train])
    return Case(model, X, {}, plain.transform(held), two_layers, np.array(["class_0", "class_1", "class_2"]))


def own_model() -> Case:
    mine = importlib.import_module("mine")
    wb.register_model("gated", mine.build)
    X, y = load_diabetes(return_X_y=True)
    task = Task.load("diabetes")
    model = trained(task, wb.Config(model="gated", width=5, epochs=2))
    train = task.row_numbers["train"]

    def forward(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        w = module.state_dict()
        hidden = torch.sigmoid(x @ w["first.weight"].T + w["first.bias"]) + 0.1
        return hidden @ w["last.weight"].T + w["last.bias"]

    scale = y[train, None].mean(0), y[train, None].std(0)
    return Case(model, X, {"models": {"gated": mine.build}}, scaled(X, train), forward, scale)


def own_transformer() -> Case:
    mine = importlib.import_module("mine")
    X, _y = load_wine(return_X_y=True)
    task = Task.load("wine", transform=mine.Halved(), standardize=False)
    model = trained(task, wb.Config(hidden_layers=1, hidden_units=8, epochs=2))
    middle = X[task.row_numbers["train"]].mean(0)
    return Case(
        model, X, {"trusted": ["mine.Halved"]}, (X - middle) / 2, two_layers, np.array(["class_0", "class_1", "class_2"])
    )  # fmt: skip


MAKERS = [digits, pictures, table, progression, components, own_model, own_transformer]
NAMES = [make.__name__ for make in MAKERS]
