"""The monitor selects the epoch within a trial; the headline metric ranks trials."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from workbench.core.registry import METRICS
from workbench.runs.runner import stopped_now

RNG = np.random.default_rng(3)
X = RNG.normal(size=(300, 10))
Y = ((X[:, 0] + 0.8 * RNG.normal(size=300)) > 0).astype(int)
OVERFITTING = wb.Config(epochs=40, learning_rate=3e-3, hidden_units=64)


def trained(
    monitor: str, config: wb.Config = OVERFITTING, **options: object
) -> tuple[wb.Workbench, pd.Series, pd.DataFrame]:
    bench = wb.Workbench(wb.Task.from_arrays(X, Y, metrics=("accuracy", "log_loss"), monitor=monitor, **options))
    bench.run(config)
    return bench, bench.trials.iloc[0], bench.curves(1)


@pytest.mark.parametrize(("monitor", "best"), [("loss", "idxmin"), ("accuracy", "idxmax"), ("log_loss", "idxmin")])
def test_the_best_epoch_is_that_of_the_monitor(monitor: str, best: str) -> None:
    bench, row, curve = trained(monitor)
    at = curve.loc[getattr(curve[f"val_{monitor}"], best)()]
    assert row["best_epoch"] == at["epoch"]
    assert row["best_val_metric"] == at["val_accuracy"] == row["val_accuracy"]
    assert row["best_val_loss"] == at["val_loss"]
    assert row["monitor"] == monitor
    assert bench.model(1).epoch == row["best_epoch"]
    outputs = bench.model(1).module(bench.task.validation.x)
    assert row["val_accuracy"] == pytest.approx((outputs.argmax(1) == bench.task.validation.y).double().mean().item())


def test_the_monitors_differ_here() -> None:
    assert trained("loss")[1]["best_epoch"] != trained("accuracy")[1]["best_epoch"]


def test_early_stopping_and_plateaus_follow_the_monitor() -> None:
    config = OVERFITTING.replace(patience=4, schedule="plateau", plateau_patience=1)
    _, row, curve = trained("accuracy", config)
    accuracy, waited, best, rates, drops, plateau = curve["val_accuracy"], 0, -1.0, [], 0, 0
    for value in accuracy:
        rates.append(config.learning_rate * config.gamma**drops)
        waited, plateau, best = (0, 0, value) if value > best else (waited + 1, plateau + 1, best)
        if plateau > config.plateau_patience:
            drops, plateau = drops + 1, 0
        if waited >= config.patience:
            break
    assert row["epochs_run"] == len(rates) < config.epochs
    np.testing.assert_allclose(curve["learning_rate"], rates)
    assert row["reason"] == "validation accuracy has not improved for 4 epochs"


def test_an_interrupted_trial_and_one_that_is_stopped_have_the_same_best_epoch() -> None:
    bench = wb.Workbench(wb.Task.from_arrays(X, Y, monitor="accuracy"))
    bench.run(OVERFITTING.replace(epochs=6))
    curve = bench.curves(1)
    end = stopped_now(1, curve)
    assert end.best_epoch == bench.trials["best_epoch"].iloc[0] == curve.loc[curve["val_accuracy"].idxmax(), "epoch"]
    assert end.best_val_metric == bench.trials["best_val_metric"].iloc[0]


def test_a_metric_without_a_value_is_reported_once_and_the_trial_is_not_ranked() -> None:
    try:
        wb.register_metric("broken", lambda predictions, targets: float("nan"))
        bench = wb.Workbench(wb.Task.from_arrays(X, Y, metrics="broken"))
        bench.run(wb.Config(epochs=3))
        (message,) = bench.events(1).query("kind == 'message'")["message"]
        assert message == (
            "broken has no value on the 60 validation rows, its function returned NaN; this trial is not ranked"
        )
    finally:
        METRICS.unregister("broken")


def test_one_class_in_validation_is_named() -> None:
    task = wb.Task.from_arrays(
        X, np.where(np.arange(300) < 4, 1, 0), kind="classification", metrics=("accuracy", "roc_auc")
    )
    object.__setattr__(task.validation, "y", torch.zeros(60, dtype=torch.long))
    object.__setattr__(task.validation, "target", task.validation.y)
    bench = wb.Workbench(task)
    bench.run(wb.Config(epochs=2))
    (message,) = bench.events(1).query("kind == 'message'")["message"]
    assert message == "ROC AUC has no value on the 60 validation rows: all rows are of one class"
    assert np.isnan(bench.trials["val_roc_auc"].iloc[0])
    assert bench.trials["best_val_metric"].iloc[0] > 0.9


def test_views_name_both() -> None:
    bench, row, _ = trained("log_loss")
    summary = repr(bench)
    assert f"at epoch {row['best_epoch']} (lowest validation log loss)" in summary
