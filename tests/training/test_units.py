"""Every number that is logged of a trial is that of what its model predicts, in the target's own unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special
from sklearn import metrics

import workbench as wb
from workbench.core.errors import ConfigError, ModelError, TaskError
from workbench.core.registry import LOSSES, METRICS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 4))
MILLIONS = 1e6 + 1e5 * X[:, 0] + 2e4 * RNG.normal(size=240)
COUNTS = RNG.poisson(np.exp(0.5 * X[:, 0] + 1))
LABELS = (X[:, :3] + 0.5 * RNG.normal(size=(240, 3)) > 0).astype(int)
CLASSES = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)


def validation(task: wb.Task) -> tuple[Any, Any]:
    """Raw validation rows, found by the targets' rows, and their targets."""
    keep = [int(np.flatnonzero((task.preprocess(X) == row).all(1))[0]) for row in task.validation.x]
    return X[keep], np.array(keep)


REFERENCES = {
    "rmse": metrics.root_mean_squared_error, "mae": metrics.mean_absolute_error, "r2": metrics.r2_score,
    "mape": metrics.mean_absolute_percentage_error, "poisson_deviance": metrics.mean_poisson_deviance,
}  # fmt: skip


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "gaussian", "quantile", "poisson"])
@pytest.mark.parametrize("how", ["standardize", "log1p", None])
def test_the_metrics_of_a_regression_are_those_of_what_it_predicts(loss: str, how: str | None) -> None:
    y = MILLIONS if how else MILLIONS / 1e6
    task = wb.Task.from_arrays(X, y, metrics=("rmse", "mae", "r2", "mape"), target_transform=how)
    bench = wb.Workbench(task)
    (trial,) = bench.run(wb.Config(loss=loss, epochs=3, learning_rate=0.01)).trials
    rows, places = validation(task)
    answers, row = bench.predict(trial, rows), bench.trials.iloc[0]
    for name in task.metrics:
        assert row[f"val_{name}"] == pytest.approx(REFERENCES[name](y[places], answers), rel=1e-6), name
    assert row["best_val_metric"] == row["val_rmse"]


def test_counts_are_predicted_as_rates_and_their_loss_sees_the_counts() -> None:
    task = wb.Task.from_arrays(X, COUNTS, kind="count", metrics=("poisson_deviance", "mae"))
    assert set(np.unique(task.train.y)) <= set(COUNTS)
    bench = wb.Workbench(task)
    (trial,) = bench.run(wb.Config(epochs=3, learning_rate=0.01)).trials
    rows, places = validation(task)
    model = bench.model(trial)
    outputs = model.module(task.preprocess(rows)).detach()
    np.testing.assert_allclose(bench.predict(trial, rows), outputs.double().exp().numpy()[:, 0])
    row = bench.trials.iloc[0]
    loss = F.poisson_nll_loss(outputs[:, 0], torch.from_numpy(COUNTS[places]).float()).item()
    assert row["best_val_loss"] == pytest.approx(loss, rel=1e-5)
    assert row["val_mae"] == pytest.approx(metrics.mean_absolute_error(COUNTS[places], bench.predict(trial, rows)))


def test_a_poisson_loss_needs_targets_from_0_on() -> None:
    bench = wb.Workbench(wb.Task.from_arrays(X, X[:, 0]))
    with pytest.raises(ConfigError, match="loss='poisson': needs targets from 0 on, the smallest is -"):
        bench.run(wb.Config(loss="poisson", epochs=1))
    assert bench.trials.empty


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "focal"])
def test_labels_have_probabilities_by_the_sigmoid(loss: str) -> None:
    task = wb.Task.from_arrays(X, LABELS, metrics=("f1", "roc_auc", "average_precision", "exact_match"))
    bench = wb.Workbench(task)
    (trial,) = bench.run(wb.Config(loss=loss, epochs=3)).trials
    rows, places = validation(task)
    shares = bench.model(trial).predict_proba(rows)
    outputs = bench.model(trial).module(task.preprocess(rows)).detach().double()
    np.testing.assert_allclose(shares, special.expit(outputs.numpy()))
    row, y = bench.trials.iloc[0], LABELS[places]
    assert row["val_f1"] == pytest.approx(metrics.f1_score(y, shares > 0.5, average="macro", zero_division=np.nan))
    assert row["val_roc_auc"] == pytest.approx(metrics.roc_auc_score(y, shares))
    assert row["val_exact_match"] == pytest.approx(metrics.accuracy_score(y, shares > 0.5))


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "mse", "mae", "huber"])
def test_the_probabilities_of_every_loss_are_some(loss: str) -> None:
    task = wb.Task.from_arrays(X, CLASSES, metrics=("accuracy", "log_loss"))
    bench = wb.Workbench(task)
    (trial,) = bench.run(wb.Config(loss=loss, epochs=20, learning_rate=0.01)).trials
    rows, places = validation(task)
    shares = bench.model(trial).predict_proba(rows)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert (shares >= 0).all()
    np.testing.assert_array_equal(shares.argmax(1), bench.predict(trial, rows))
    right = bench.predict(trial, rows) == CLASSES[places]
    assert right.mean() > 0.8
    assert shares.max(1)[right].mean() > 0.7  # not the softmax of numbers between 0 and 1, which is at most 0.58
    assert bench.trials["val_log_loss"].iloc[0] == pytest.approx(metrics.log_loss(CLASSES[places], shares), rel=1e-6)


def test_a_loss_without_a_link_has_no_probabilities_and_says_so() -> None:
    def own(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs, targets, reduction="none")

    try:
        wb.register_loss("unlinked", own, kinds=["classification"])
        wb.register_loss("linked", own, kinds=["classification"], link="softmax")
        bench = wb.Workbench(wb.Task.from_arrays(X, CLASSES))
        bench.run(wb.Config(loss="unlinked", epochs=2))
        bench.run(wb.Config(loss="linked", epochs=2))
        bench.run(wb.Config(epochs=2))
        assert bench.trials["best_val_metric"].nunique() == 1
        with pytest.raises(TaskError, match=r"loss='unlinked' does not say .* link='softmax'"):
            bench.model(1).predict_proba(X)
        np.testing.assert_array_equal(bench.model(2).predict_proba(X), bench.model(3).predict_proba(X))
        needs = wb.Workbench(wb.Task.from_arrays(X, CLASSES, metrics=("accuracy", "roc_auc")))
        with pytest.raises(
            ConfigError, match=r"loss='unlinked': the metric 'roc_auc' needs probabilities.*link='softmax'"
        ):
            needs.run(wb.Config(loss="unlinked", epochs=1))
    finally:
        for name in ("unlinked", "linked"):
            LOSSES.unregister(name)


@pytest.mark.parametrize("transformed", [True, False])
def test_a_registered_loss_says_which_targets_it_sees(transformed: bool) -> None:
    seen = []

    def own(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(float(targets.mean()))
        return F.mse_loss(outputs, targets, reduction="none").mean(-1)

    try:
        wb.register_loss("own_unit", own, kinds=["regression"], link="identity", transformed=transformed)
        task = wb.Task.from_arrays(X, MILLIONS / 1e4)
        bench = wb.Workbench(task)
        bench.run(wb.Config(loss="own_unit", epochs=1))
        assert (np.mean(seen) > 50) != transformed
        rows, _places = validation(task)
        outputs = bench.model(1).module(task.preprocess(rows)).detach().double().numpy()[:, 0]
        expected = outputs * task.target_std.item() + task.target_mean.item() if transformed else outputs
        np.testing.assert_allclose(bench.predict(1, rows), expected)
    finally:
        LOSSES.unregister("own_unit")


def test_a_registered_metric_gets_the_targets_own_unit() -> None:
    def relative(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return ((predictions - targets) / targets).abs().mean()

    try:
        wb.register_metric("relative", relative, better="lower", kinds=["regression"])
        task = wb.Task.from_arrays(X, MILLIONS, metrics=("relative", "mape"))
        bench = wb.Workbench(task)
        bench.run(wb.Config(epochs=2))
        rows, places = validation(task)
        true = np.abs(bench.predict(1, rows) / MILLIONS[places] - 1).mean()
        assert bench.trials["best_val_metric"].iloc[0] == pytest.approx(true, rel=1e-6)
        assert bench.trials["val_mape"].iloc[0] == pytest.approx(true, rel=1e-6)
        opened = bench.open_test_set(1)
        assert opened.score < 0.5
    finally:
        METRICS.unregister("relative")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"link": "soft"}, "link='soft': must be one of 'identity', 'softmax'.*did you mean 'softmax'"),
        ({"link": {"classification": 3}}, "link=3: must be one of"),
        ({"transformed": "no"}, "transformed='no': must be True or False"),
        ({"width": 0}, "width=0: must be a whole number"),
        ({"kinds": ["counts"]}, "there is no kind of task 'counts'; did you mean 'count'"),
    ],
)
def test_what_a_loss_cannot_be_registered_with(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wb.register_loss("bad", F.mse_loss, **options)
    assert "bad" not in LOSSES


def test_a_gaussian_model_has_two_outputs_for_each_target_and_its_builder_is_told() -> None:
    sizes = []

    def build(task: Any) -> torch.nn.Module:
        sizes.append(task.output_size)
        return torch.nn.Linear(4, task.output_size)

    y = np.column_stack([MILLIONS, X[:, 1]])
    bench = wb.Workbench(wb.Task.from_arrays(X, y), models={"line": build})
    bench.run(wb.Config(model="line", loss="gaussian", epochs=2), seeds=2)
    assert set(sizes) == {4}
    assert bench.predict(1, X).shape == (240, 2)
    with pytest.raises(ModelError, match=r"must return a tensor of shape \(2, 4\)"):
        bad = wb.Workbench(bench.task, models={"line": lambda task: torch.nn.Linear(4, 2)})
        bad.run(wb.Config(model="line", loss="gaussian", epochs=1))
