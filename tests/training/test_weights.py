"""Weights of classes and rows, against a plain PyTorch loop and scikit-learn."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics
from sklearn.utils.class_weight import compute_class_weight

import workbench as wb
from workbench.core.errors import ConfigError, TaskError
from workbench.core.events import EpochEnd
from workbench.core.registry import METRICS
from workbench.training import Training
from workbench.training.cohort import Cohort

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 4))
Y = np.where(X[:, 0] > 1, 2, np.where(X[:, 1] > 0.3, 1, 0))
W = RNG.random(150) + 0.05
LABELS = (X[:, :2] > 0.8).astype(int)
DOUBLE = torch.float64


def rowwise(task: wb.Task, config: wb.Config, step: Any, epochs: int = 2) -> torch.nn.Module:
    """A plain loop: SGD on the cohort's own batches, with the loss that `step` computes of outputs, targets and weights."""
    from workbench.models import build_model

    module = build_model(task, config).double()
    optimizer = torch.optim.SGD(module.parameters(), config.learning_rate)
    generator = torch.Generator().manual_seed(config.seed + 2**32)
    x, y, w = task.train.x.double(), task.train.y, task.train.weight
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(config.batch_size):
            optimizer.zero_grad()
            step(module(x[rows]), y[rows], None if w is None else w[rows]).backward()
            optimizer.step()
    return module


def trained(task: wb.Task, config: wb.Config, trials: int = 1, epochs: int = 2) -> tuple[Cohort, list[Any]]:
    cohort = Cohort(task, dict.fromkeys(range(1, trials + 1), config), torch.device("cpu"), DOUBLE)
    for _ in range(epochs):
        for batch in cohort.batches():
            cohort.step(*batch)
    return cohort, cohort.evaluate()


CONFIG = wb.Config(optimizer="sgd", learning_rate=0.1, batch_size=16, loss="cross_entropy")


@pytest.mark.parametrize("trials", [1, 3])
@pytest.mark.parametrize("given", ["balanced", {"0": 1.0, "1": 3.0, "2": 0.5}, {"2": 7}])
@pytest.mark.parametrize("weighted", [False, True])
def test_training_with_weights_is_that_of_a_plain_loop(trials: int, given: Any, weighted: bool) -> None:
    task = wb.Task.from_arrays(X, Y, weights=W if weighted else None)
    y = task.train.y
    if given == "balanced":
        weight = torch.from_numpy(compute_class_weight("balanced", classes=np.arange(3), y=y.numpy()))
    else:
        weight = torch.tensor([float(given.get(name, 1)) for name in "012"], dtype=DOUBLE)
    config = CONFIG.replace(class_weight=given)

    def step(outputs: Any, targets: Any, rows: Any) -> Any:
        if rows is None:
            return F.cross_entropy(outputs, targets, weight)
        values = F.cross_entropy(outputs, targets, weight, reduction="none")
        return (values * rows).sum() / (weight[targets] * rows).sum()

    module = rowwise(task, config, step)
    cohort, results = trained(task, config, trials)
    expected = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
    for row in cohort.theta:
        torch.testing.assert_close(row, expected, rtol=1e-10, atol=1e-10)
    validation = task.validation
    outputs = module(validation.x.double()).detach()
    loss = step(outputs, validation.y, validation.weight)
    own = None if validation.weight is None else validation.weight.numpy()
    accuracy = metrics.accuracy_score(validation.y, outputs.argmax(1), sample_weight=own)
    for found, scores in results:
        assert found == pytest.approx(loss.item(), rel=1e-10)
        assert scores["accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize("trials", [1, 2])
@pytest.mark.parametrize("given", [None, "balanced", {"2": 40.0}])
@pytest.mark.parametrize("rows", [None, W, np.where(np.arange(150) % 9 < 2, W, 0.0)], ids=["equal", "drawn", "few"])
def test_the_training_loss_is_the_mean_over_the_weighted_rows_of_an_epoch(trials: int, given: Any, rows: Any) -> None:
    task = wb.Task.from_arrays(X, Y, weights=rows)
    config = CONFIG.replace(class_weight=given, batch_size=4, epochs=1)
    weight = torch.tensor([1.0, 1.0, 40.0 if given else 1.0], dtype=DOUBLE)
    if given == "balanced":
        weight = len(task.train.y) / (3 * task.train.y.bincount().double())
    sums = torch.zeros(2, dtype=DOUBLE)

    def step(outputs: Any, targets: Any, own: Any) -> Any:
        counts = weight[targets] if own is None else weight[targets] * own
        values = F.cross_entropy(outputs, targets, reduction="none") * counts
        sums.add_(torch.stack([values.sum(), counts.sum()]).detach())
        return values.sum() / counts.sum().clamp_min(1e-300)

    rowwise(task, config, step, epochs=1)
    training = Training(task, dict.fromkeys(range(1, trials + 1), config), dtype=DOUBLE)
    found = [event.train_loss for moment in training.moments() for event in moment if isinstance(event, EpochEnd)]
    assert found == pytest.approx([float(sums[0] / sums[1])] * trials, rel=1e-10)


@pytest.mark.parametrize("trials", [1, 2])
def test_row_weights_of_a_regression_are_those_of_a_plain_loop(trials: int) -> None:
    task = wb.Task.from_arrays(X, X @ [1.0, 2, 3, 4] * 100, weights=W, metrics=("rmse", "mae", "r2"))
    config = CONFIG.replace(loss="mse", learning_rate=0.01)
    module = rowwise(task, config, lambda o, y, w: ((o - y.double()).square().mean(1) * w).sum() / w.sum())
    cohort, results = trained(task, config, trials)
    torch.testing.assert_close(
        cohort.theta[0], torch.cat([p.detach().reshape(-1) for p in module.parameters()]), rtol=1e-9, atol=1e-9
    )
    answers = task.decode(module(task.validation.x.double()).detach())
    y, w = task.validation.target.numpy()[:, 0], task.validation.weight.numpy()
    for _, scores in results:
        assert scores["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, answers, sample_weight=w))
        assert scores["r2"] == pytest.approx(metrics.r2_score(y, answers, sample_weight=w))


@pytest.mark.parametrize("given", ["balanced", {"0": 3, "1": 2}])
def test_the_positive_rows_of_labels_are_weighted(given: Any) -> None:
    task = wb.Task.from_arrays(X, LABELS)
    positive = task.train.y.double().sum(0)
    weight = (len(task.train) - positive) / positive if given == "balanced" else torch.tensor([3.0, 2.0], dtype=DOUBLE)
    config = CONFIG.replace(loss="binary_cross_entropy", class_weight=given)
    module = rowwise(task, config, lambda o, y, w: F.binary_cross_entropy_with_logits(o, y.double(), pos_weight=weight))
    cohort, _ = trained(task, config, 2)
    torch.testing.assert_close(
        cohort.theta[1], torch.cat([p.detach().reshape(-1) for p in module.parameters()]), rtol=1e-9, atol=1e-9
    )


def test_a_weight_is_as_good_as_copies_of_the_row() -> None:
    counts = RNG.integers(1, 4, 150)
    task = wb.Task.from_arrays(X, Y, weights=counts, metrics=("accuracy", "f1", "log_loss"))
    bench = wb.Workbench(task)
    bench.run(wb.Config(epochs=2))
    model, validation = bench.model(1), task.validation
    copies = validation.weight.long()
    x, y = validation.x.repeat_interleave(copies, 0), validation.y.repeat_interleave(copies)
    shares = model.predictions(x).numpy()
    row = bench.trials.iloc[0]
    assert row["val_accuracy"] == pytest.approx(metrics.accuracy_score(y, shares.argmax(1)))
    assert row["val_log_loss"] == pytest.approx(metrics.log_loss(y, shares), rel=1e-6)
    assert row["best_val_loss"] == pytest.approx(row["val_log_loss"], rel=1e-5)
    opened = bench.open_test_set(1)
    assert "bootstrap" in opened.method
    assert task.baseline.loss == pytest.approx(bench.task.baseline.loss)


def test_a_column_of_weights_is_no_input_and_weights_are_part_of_the_identity() -> None:
    frame = pd.DataFrame(X, columns=list("abcd")).assign(y=Y, w=W)
    task = wb.Task.from_frame(frame, "y", weights="w")
    assert task.feature_names == ("a", "b", "c", "d")
    assert set(task.train.weight.tolist()) <= set(W)
    other = wb.Task.from_frame(frame.drop(columns="w"), "y")
    assert other.fingerprint != task.fingerprint
    assert (other.train.x == task.train.x).all()
    with pytest.raises(TaskError, match="has weights of rows, which new data cannot continue"):
        task.version(frame)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (W[:-1], r"weights has the shape \(149,\), and there are 150 rows"),
        (np.where(np.arange(150) == 7, -1.0, W), r"weights is -1.0 in row 7; give one number from 0 on"),
        (np.where(np.arange(150) == 7, np.nan, W), "weights is nan in row 7"),
        (np.where(np.arange(150) == 3, np.inf, W), "weights is inf in row 3"),
        (np.zeros(150), "weights is 0 in every row"),
        (["a"] * 150, "weights has the type"),
        ("w", "weights='w': names a column, and arrays have none"),
        (3, "weights has the shape"),
    ],
)
def test_weights_that_cannot_be_used(weights: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        wb.Task.from_arrays(X, Y, weights=weights)


def test_a_split_of_rows_without_weight_is_rejected() -> None:
    task = wb.Task.from_arrays(X, Y)
    weights = np.ones(150)
    weights[task.row_numbers["validation"]] = 0
    with pytest.raises(TaskError, match="weights is 0 in every validation row"):
        wb.Task.from_arrays(X, Y, weights=weights)
    frame = pd.DataFrame(X, columns=list("abcd")).assign(y=Y)
    for name, message in (("e", "there is no such column"), ("y", "is the target")):
        with pytest.raises(TaskError, match=message):
            wb.Task.from_frame(frame, "y", weights=name)


@pytest.mark.parametrize("value", [{"0": -1}, {}, {"0": "x"}, {"0": float("nan")}, {"0": True}, '{"0": ', "equal", 3])
def test_class_weights_that_cannot_be_used(value: Any) -> None:
    with pytest.raises(ConfigError, match="class_weight="):
        wb.Config(class_weight=value)


def test_a_class_that_there_is_not_is_named_and_the_mapping_survives_the_log() -> None:
    bench = wb.Workbench(wb.Task.from_arrays(X, Y))
    with pytest.raises(ConfigError, match=r"class_weight: there is no class '3'.*the classes are 0, 1, 2"):
        bench.run(wb.Config(class_weight={3: 2.0}, epochs=1))
    assert bench.trials.empty
    config = wb.Config(class_weight={1: 2, "0": 1}, epochs=1)
    assert json.loads(config.class_weight) == {"0": 1.0, "1": 2.0}
    bench.run(config)
    assert bench.config(1) == config.replace(loss="cross_entropy")
    search = bench.search("grid", {"class_weight": [None, "balanced"]}, wb.Config(epochs=1), blocking=True)
    assert search.progress.done == 2
    assert bench.trials["class_weight"][1:].isna().tolist() == [True, False]


def test_a_metric_of_ones_own_takes_weights_or_is_rejected() -> None:
    try:
        wb.register_metric("plain", lambda predictions, targets: 0.5)
        wb.register_metric("weighing", lambda predictions, targets, weights: float(weights.sum()))
        with pytest.raises(ConfigError, match="metric 'plain' cannot weigh rows"):
            wb.Workbench(wb.Task.from_arrays(X, Y, weights=W, metrics="plain")).run(wb.Config(epochs=1))
        bench = wb.Workbench(wb.Task.from_arrays(X, Y, weights=W, metrics="weighing"))
        bench.run(wb.Config(epochs=1))
        assert bench.trials["best_val_metric"].iloc[0] == pytest.approx(bench.task.validation.weight.sum().item())
    finally:
        METRICS.unregister("plain")
        METRICS.unregister("weighing")
