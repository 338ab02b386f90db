"""The recipe of a task: Python source that makes the same task again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch.utils.data import TensorDataset

import workbench as wb
from workbench.tasks import Task

RNG = np.random.default_rng(2)
X, Y = RNG.normal(size=(60, 3)), np.arange(60) % 3
FRAME = pd.DataFrame({"a": X[:, 0], "it's": X[:, 1], "text": ["u", None] * 30, "price": X[:, 2]})
DATA = TensorDataset(torch.tensor(X), torch.tensor(Y))
GIVEN = {"X": X, "y": Y, "frame": FRAME, "dataset": DATA}
NAMES = {"wb": wb, "PCA": PCA, "Pipeline": type(make_pipeline(PCA())), "StandardScaler": StandardScaler}


@pytest.mark.parametrize(
    ("make", "text", "needs"),
    [
        (lambda: Task.load("digits"), "wb.Task.load('digits')", ()),
        (lambda: Task.load("digits", seed=3), "wb.Task.load('digits', seed=3)", ()),
        (
            lambda: Task.load("moons", noise=np.float64(0.1), seed=np.int64(3), n=200, name="m"),
            "wb.Task.load('moons', noise=0.1, seed=3, n=200, name='m')",
            (),
        ),
        (lambda: Task.from_arrays(X, Y), "wb.Task.from_arrays(X, y)", ("X", "y")),
        (
            lambda: Task.from_arrays(X, Y, split=(0.8, 0.2, 0), name="mine"),
            "wb.Task.from_arrays(X, y, split=(0.8, 0.2, 0), name='mine')",
            ("X", "y"),
        ),
        (
            lambda: Task.from_arrays(X.tolist(), Y, split=np.array([0.5, 0.25, 0.25]), standardize=np.bool_(False)),
            "wb.Task.from_arrays(X, y, split=[0.5, 0.25, 0.25], standardize=False)",
            ("X", "y"),
        ),
        (lambda: Task.from_frame(FRAME, "price"), "wb.Task.from_frame(frame, 'price')", ("frame",)),
        (
            lambda: Task.from_frame(FRAME, ["price", "it's"], clip=2, metrics="mae"),
            "wb.Task.from_frame(frame, ['price', \"it's\"], clip=2, metrics='mae')",
            ("frame",),
        ),
        (
            lambda: Task.from_frame(FRAME, pd.Index(["price"]), kind="regression"),  # type: ignore[arg-type]
            "wb.Task.from_frame(frame, ['price'], kind='regression')",
            ("frame",),
        ),
        (lambda: Task.from_dataset(DATA, seed=1), "wb.Task.from_dataset(dataset, seed=1)", ("dataset",)),
        (
            lambda: Task.from_arrays(X, Y, transform=PCA(2), seed=4),
            "wb.Task.from_arrays(X, y, transform=PCA(n_components=2), seed=4)",
            ("X", "y"),
        ),
    ],
)
def test_the_recipe_makes_the_task_again(make: Callable[[], Task], text: str, needs: tuple[str, ...]) -> None:
    task = make()
    assert (task.recipe, task.recipe_needs) == (text, needs)
    again = eval(task.recipe, NAMES | {name: GIVEN[name] for name in needs})
    assert (again.fingerprint, again.name, again.metric) == (task.fingerprint, task.name, task.metric)
    assert torch.equal(again.train.x, task.train.x)
    assert again.recipe == task.recipe


def test_the_recipe_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    FRAME.to_csv("rents.csv", index=False)
    task = Task.from_csv("rents.csv", "price", clip=3.0)
    assert (task.recipe, task.recipe_needs) == ("wb.Task.from_csv('rents.csv', 'price', clip=3.0)", ())
    assert Task.from_csv(Path("rents.csv"), "price", clip=3.0).recipe == task.recipe
    assert eval(task.recipe, NAMES).fingerprint == task.fingerprint
    assert Task.from_csv("rents.csv", "price", name=None).name == "rents"


def test_a_long_transform_is_not_cut_off() -> None:
    transform = make_pipeline(*[StandardScaler(with_mean=False, copy=False) for _ in range(20)], PCA(n_components=2))
    assert "..." in repr(transform)
    task = Task.from_arrays(X, Y, transform=transform)
    assert "..." not in task.recipe
    assert torch.equal(eval(task.recipe, NAMES | GIVEN).train.x, task.train.x)


def test_a_transform_with_a_representation_of_its_own() -> None:
    class Mine(FunctionTransformer):
        def __repr__(self) -> str:
            return "Mine()"

    assert Task.from_arrays(X, Y, transform=Mine()).recipe == "wb.Task.from_arrays(X, y, transform=Mine())"


def test_a_task_made_by_hand_has_none() -> None:
    task: Any = Task(X, Y, name="bare")
    assert (task.recipe, task.recipe_needs) == ("", ())
