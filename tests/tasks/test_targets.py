"""What kind of task targets ask for, and what is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from workbench.core.errors import TaskError
from workbench.core.registry import METRICS
from workbench.training.objective import Objective

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4))
LABELS = (RNG.random((200, 3)) < 0.4).astype(int)
MASKS = RNG.integers(0, 3, (200, 4, 4))
PRICES = RNG.integers(50, 950, 20_000)
RINGS = np.r_[RNG.poisson(9, 4000) + 1, 29, 27, 26]


@pytest.mark.parametrize(
    ("X", "y", "kind", "says"),
    [
        (np.zeros((20_000, 1)), PRICES, "regression", "different whole numbers; for labels give kind='classification'"),
        (np.zeros((4003, 1)), RINGS, "regression", "for events 'count'"),
        (np.zeros((2000, 1)), RNG.integers(0, 100, 2000), "classification", "for amounts give kind='regression'"),
        (np.zeros((2000, 1)), RNG.permutation(2000) % 100 + 1, "classification", "y has 100 different labels"),
        (np.zeros((2000, 1)), RNG.permutation(2000) % 100 + 7, "regression", "100 different whole numbers"),
        (X, LABELS, "multilabel", "several columns of 0 and 1; for numbers give kind='regression'"),
        (X, LABELS.astype(bool), "multilabel", "several columns of 0 and 1"),
        (X, LABELS.astype(float), "multilabel", "several columns of 0 and 1"),
        (X, LABELS + 0.5, "regression", "several columns"),
        (X[:, None, None, :], RNG.integers(0, 3, (200, 2, 4)), "dense", "3 axes of whole numbers"),
    ],
)
def test_the_kind_is_inferred_and_says_why(X: Any, y: Any, kind: str, says: str) -> None:
    X = X + np.arange(len(X)).reshape(-1, *[1] * (X.ndim - 1))
    task = wb.Task.from_arrays(X, y)
    assert task.kind == kind
    assert says in task.kind_rule
    shown = " ".join(task.summary()["value"])
    assert kind in shown
    assert says in shown


def test_labels_are_kept_as_they_are_and_predicted_as_0_and_1() -> None:
    frame = pd.DataFrame(X, columns=list("abcd")).assign(red=LABELS[:, 0], green=LABELS[:, 1], blue=LABELS[:, 2])
    task = wb.Task.from_frame(frame, ["red", "green", "blue"])
    assert task.kind == "multilabel"
    assert task.output_size == 3
    assert set(np.unique(task.train.y)) == {0, 1}
    counts = task.train.y.sum(0).int().tolist()
    assert f"red ({counts[0]})" in " ".join(task.summary()["value"])
    bench = wb.Workbench(task)
    bench.run(wb.Config(epochs=2))
    answers = bench.predict(1, frame)
    assert answers.shape == (200, 3)
    assert answers.dtype == np.int64
    np.testing.assert_array_equal(answers, bench.model(1).predict_proba(frame) > 0.5)


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (LABELS * 2, {"kind": "multilabel"}, "y has the value 2: a multilabel task needs 0 or 1"),
        (
            np.array(["a", "b"] * 100),
            {"kind": "multilabel"},
            "the type <U1: several labels are columns of 0 and 1.*MultiLabelBinarizer.*kind='classification'",
        ),
        (np.array([["a", "b"]] * 100 + [["b", "c"]] * 100, object), {"kind": "multilabel"}, "MultiLabelBinarizer"),
        (np.array(["2", "3"] * 100), {"kind": "count"}, "counts are whole numbers"),
        (np.array(["2", "3"] * 100), {"kind": "regression"}, "a regression needs numbers"),
        (
            MASKS + 253 * (MASKS == 2),
            {},
            r"y has the value 255 at .* positions.*== 255, 2, y\), .*class_weight=.'2': 0",
        ),
        (MASKS - 102 * (MASKS == 2), {"kind": "dense"}, r"y has the value -100 at .* positions.*class_weight"),
        (MASKS - 3 * (MASKS == 2), {"kind": "dense"}, r"y has the value -1 at .* positions.*class_weight"),
        (np.ones((200, 2)), {"kind": "multilabel"}, "every label is the same in all rows"),
        (RNG.normal(size=200), {"kind": "count"}, "counts are whole numbers from 0 on; use kind='regression'"),
        (-np.arange(200), {"kind": "count"}, "counts are whole numbers from 0 on"),
        (np.arange(200) % 3, {"kind": "dense"}, r"y has the shape \(200,\).*kind='classification'"),
        (RNG.normal(size=(200, 2, 2)), {"kind": "dense"}, "needs a whole number for each position"),
        (RNG.normal(size=(200, 2, 2)), {}, r"kind='dense'"),
        (np.eye(3)[np.arange(200) % 3], {}, "looks one-hot: .*kind='multilabel' for labels"),
        (np.r_[np.arange(8).repeat(24), [8] * 7, 9], {}, "class '9' has 1 row: too few.*kind='regression'"),
        (
            np.arange(200) % 2,
            {"monitor": "f1"},
            "monitor='f1': must be 'loss' or one of the task's metrics, 'accuracy'",
        ),
        (np.arange(200) % 2, {"metrics": ()}, r"metrics=\(\): is empty"),
        (np.arange(200) % 2, {"metrics": ("f1", "f1")}, "names a metric twice"),
        (np.arange(200) % 2, {"metrics": 3}, "metrics=3: give names of metrics"),
    ],
)
def test_targets_that_cannot_be_used(y: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        wb.Task.from_arrays(X, y, **options)


@pytest.mark.parametrize("labels", [[0, 255], [1, 2, 3], [0, 1, 2, 254, 255], [-2, -1, 0], [7, 255]])
def test_whole_numbers_that_may_be_classes_are(labels: list[int]) -> None:
    task = wb.Task.from_arrays(X[:, None, None, :], np.array(labels)[RNG.integers(0, len(labels), (200, 2, 4))])
    assert task.classes == tuple(map(str, labels))


def test_a_class_without_weight_is_left_out_of_the_loss_as_by_ignore_index() -> None:
    task = wb.Task.from_arrays(X[:, None, None, :], MASKS)
    objective = Objective(
        task, wb.Config(loss="cross_entropy", class_weight={"2": 0}), torch.device("cpu"), torch.float32
    )
    outputs = torch.randn(len(task.train.y), 3, 4, 4, generator=torch.Generator().manual_seed(0))
    plain = torch.nn.CrossEntropyLoss(ignore_index=2)(outputs, task.train.y)
    torch.testing.assert_close(objective.mean(outputs, objective.targets(task.train)), plain)


def test_a_metric_that_does_not_fit_the_kind_names_those_that_do() -> None:
    with pytest.raises(TaskError, match=r"metric 'rmse' is for .*regression; for classification there are 'accuracy'"):
        wb.Task.from_arrays(X, np.arange(200) % 2, metrics=("accuracy", "rmse"))
    with pytest.raises(TaskError, match=r"metric 'accuracy' is for .*; for multilabel there are 'f1', 'roc_auc'"):
        wb.Task.from_arrays(X, LABELS, metrics="accuracy")


def test_a_registered_metric_of_another_kind_is_rejected_and_one_that_may_come_is_not() -> None:
    wb.register_metric("bias_v", lambda predictions, targets: 0.0, kinds=["regression"])
    try:
        with pytest.raises(TaskError, match=r"metric 'bias_v' is for regression; for classification there are"):
            wb.Task.from_arrays(X, np.arange(200) % 2, metrics="bias_v")
    finally:
        METRICS.unregister("bias_v")
    later = wb.Task.from_arrays(X, np.arange(200) % 2, metrics="roc_au")
    with pytest.raises(
        TaskError,
        match=r"'roc_au' of 'arrays' is unknown; for classification there are .*_metric; did you mean 'roc_auc'\?$",
    ):
        wb.Workbench(later)


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ("groups", r"wb\.Split\.grouped"),
        ("order", r"wb\.Split\.ordered"),
        ("cv", r"wb\.Split\.folds"),
        ("random_state", "seed="),
        ("class_weight", r"wb\.Config\(class_weight="),
        ("sample_weight", "weights="),
        ("metric", "did you mean 'metrics'"),
    ],
)
def test_options_of_other_libraries_name_what_they_are_called_here(option: str, remedy: str) -> None:
    with pytest.raises(TaskError, match=f"unknown option '{option}' of a task; .*{remedy}"):
        wb.Task.from_arrays(X, np.arange(200) % 2, **{option: 3})
