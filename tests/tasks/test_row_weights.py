"""Weights of rows in what a task is: its splits and folds, its identity, its recipe and its baseline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import f1_score, log_loss, mean_squared_error, root_mean_squared_error

import workbench as wb
from workbench.core.errors import TaskError
from workbench.tasks import Split, Task

RNG = np.random.default_rng(0)
X, Y, W = RNG.normal(size=(60, 3)), RNG.normal(size=60), RNG.random(60)
GROUPS = np.repeat(np.arange(6), 10)


@pytest.mark.parametrize("at", [0, 1, 4])
@pytest.mark.parametrize(
    "split",
    [Split.folds(6, test=0, groups=GROUPS), Split.folds(5, test=0, order=np.arange(60)), Split.folds(4, test=0)],
)
def test_a_fold_of_rows_without_weight_is_rejected(split: Split, at: int) -> None:
    folds = Task.from_arrays(X, Y, split=split, weights=np.ones(60)).folds
    assert folds is not None
    chosen = min(at, len(folds) - 1)
    rows = folds.members[chosen].validation.target[:, 0].numpy()
    with pytest.raises(TaskError, match=f"weights is 0 in every validation row of fold {chosen + 1}"):
        Task.from_arrays(X, Y, split=split, weights=np.where(np.isin(Y, rows), 0.0, W))


def test_a_task_is_another_one_when_its_weights_belong_to_other_rows() -> None:
    task = Task.from_arrays(X, Y, weights=W)
    assert Task.from_arrays(X, Y, weights=W[::-1]).fingerprint != task.fingerprint
    assert Task.from_arrays(X, Y, weights=np.roll(W, 1)).fingerprint != task.fingerprint
    assert Task.from_arrays(X, Y).fingerprint != task.fingerprint
    order = np.random.default_rng(1).permutation(60)
    assert Task.from_arrays(X[order], Y[order], weights=W[order]).fingerprint == task.fingerprint


@pytest.mark.parametrize("weights", [W, W.tolist(), pd.Series(W), torch.tensor(W)])
def test_the_recipe_takes_weights_in_memory_from_a_variable(weights: Any) -> None:
    task = Task.from_arrays(X, Y, weights=weights, seed=2)
    assert (task.recipe, task.recipe_needs) == (
        "wb.Task.from_arrays(X, y, weights=weights, seed=2)",
        ("X", "y", "weights"),
    )
    again = eval(task.recipe, {"wb": wb, "X": X, "y": Y, "weights": weights})
    assert again.fingerprint == task.fingerprint
    frame = pd.DataFrame(X, columns=list("abc")).assign(y=Y, w=W)
    assert Task.from_frame(frame, "y", weights="w").recipe == "wb.Task.from_frame(frame, 'y', weights='w')"


def test_the_baseline_of_a_regression_is_the_weighted_mean() -> None:
    skewed = np.where(np.arange(60) < 50, Y, 10 + Y)
    weights = np.where(np.arange(60) < 50, 0.01, 5.0)
    task = Task.from_arrays(X, skewed, weights=weights, metrics="rmse", target_transform=None)
    train, validation = task.train, task.validation
    assert train.weight is not None
    assert validation.weight is not None
    dummy = DummyRegressor().fit(train.x, train.target[:, 0], train.weight)
    answers, truth = dummy.predict(validation.x), validation.target[:, 0]
    assert task.baseline.metric == pytest.approx(
        root_mean_squared_error(truth, answers, sample_weight=validation.weight)
    )
    loss = mean_squared_error(truth, answers, sample_weight=validation.weight)
    assert task.baseline.loss == pytest.approx(loss, rel=1e-6)


def test_the_baseline_of_classes_has_their_weighted_shares() -> None:
    labels = np.arange(60) % 3
    weights = np.where(labels == 2, 20.0, W)
    task = Task.from_arrays(X, labels, weights=weights, metrics="f1")
    train, validation = task.train, task.validation
    assert train.weight is not None
    assert validation.weight is not None
    dummy = DummyClassifier(strategy="prior").fit(train.x, train.y, train.weight)
    answers = dummy.predict_proba(validation.x)
    loss = log_loss(validation.y, answers, sample_weight=validation.weight)
    assert task.baseline.loss == pytest.approx(loss, rel=1e-6)
    assert task.baseline.description == "always answers '2'"
    score = f1_score(validation.y, answers.argmax(1), average="macro", sample_weight=validation.weight, zero_division=0)
    assert task.baseline.metric == pytest.approx(score)


@pytest.mark.parametrize("target", [3, "3", [3], ["3", 2], pd.Index([3])])
@pytest.mark.parametrize("weights", [4, "4"])
def test_columns_without_names_are_given_by_their_numbers(target: Any, weights: Any) -> None:
    frame = pd.DataFrame(np.column_stack([X, Y, W]))
    task = Task.from_frame(frame, target, weights=weights)
    assert task.feature_names == ("0", "1") + (("2",) if "2" not in map(str, np.atleast_1d(target)) else ())
    assert task.train.weight is not None
    assert task.train.weight.tolist() == W[task.row_numbers["train"]].tolist()
    assert eval(task.recipe, {"wb": wb, "frame": frame}).fingerprint == task.fingerprint
    with pytest.raises(TaskError, match="is the target; name a column of its own"):
        Task.from_frame(frame, target, weights=3)
    with pytest.raises(TaskError, match="weights=7: there is no such column"):
        Task.from_frame(frame, target, weights=7)
