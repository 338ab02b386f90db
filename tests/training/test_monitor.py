"""The monitor selects the epoch within a trial; the headline metric ranks trials."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from workbench.core.registry import METRICS
from workbench.runs.runner import stopped_now
from workbench.training import plateau_drops

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


# --- a log whose trials had another monitor or headline metric than the task has now ---------------------------------

PLATEAU = wb.Config(epochs=10, learning_rate=0.3, schedule="plateau", plateau_patience=0, hidden_units=8)


def on(log: Path | None, monitor: str, *metrics: str) -> wb.Workbench:
    return wb.Workbench(
        wb.Task.from_arrays(X, Y, metrics=metrics or ("accuracy", "log_loss"), monitor=monitor), log=log
    )


@pytest.mark.parametrize(
    ("config", "then", "now"),
    [
        (PLATEAU, "loss", "accuracy"),
        (PLATEAU, "accuracy", "loss"),
        (PLATEAU.replace(gamma=0.1), "log_loss", "accuracy"),
        (PLATEAU.replace(schedule="constant", patience=3, min_delta=0.05), "accuracy", "loss"),
    ],
)
def test_an_epoch_that_is_trained_again_follows_the_monitor_of_its_trial(
    tmp_path: Path, config: wb.Config, then: str, now: str
) -> None:
    first = on(tmp_path / "t.db", then)
    first.run(config)
    last = int(first.trials["epochs_run"].iloc[0])
    wanted = first.model(1, epoch=last).outputs(first.task.validation.x)
    first.checkpoints.forget(1)
    other = on(tmp_path / "t.db", now, "accuracy")  # the trial's monitor need not be among its metrics
    assert other.task.fingerprint == first.task.fingerprint
    assert torch.equal(other.model(1, epoch=last).outputs(other.task.validation.x), wanted)
    assert other.task.monitor == now
    assert other.task.metrics == ("accuracy",)


@pytest.mark.parametrize(
    ("monitor", "metrics", "message"),
    [
        (
            "accuracy",
            (),
            "monitor='loss', and the task has 'accuracy' and monitor='accuracy'; to {} it, make the task with",
        ),
        ("loss", ("log_loss", "accuracy"), "headline metric 'accuracy' .* the task has 'log_loss' and monitor='loss'"),
        ("f1", ("f1",), r"make the task with metrics=\('accuracy', ...\), monitor='loss'"),
    ],
)
def test_a_trial_is_not_continued_by_another_score(
    tmp_path: Path, monitor: str, metrics: tuple[str, ...], message: str
) -> None:
    first = on(tmp_path / "t.db", "loss")
    first.run(PLATEAU)
    other = on(tmp_path / "t.db", monitor, *metrics)
    with pytest.raises(wb.RunError, match=message.format("replay")):
        other.replay(1)
    begun = replace(other._session.new_trial(other.config(1)), metric="accuracy", monitor="loss")
    other._session.log.create([begun])
    with pytest.raises(wb.RunError, match=message.format("resume")):
        other.resume()
    assert other.trials["state"].tolist() == ["completed", "interrupted"]


def test_a_branch_under_another_monitor_counts_its_plateau_from_its_first_epoch(tmp_path: Path) -> None:
    on(tmp_path / "t.db", "accuracy").run(PLATEAU)
    other = on(tmp_path / "t.db", "loss")
    other.branch(1, epoch=5, learning_rate=0.01, l2=0.01, epochs=14).wait()
    before, curve = other.curves(1), other.curves(2)
    path = [(PLATEAU, "accuracy", before["monitored"][:5], ()), (PLATEAU, "loss", curve["monitored"], ())]
    drops = plateau_drops(path)
    rates = [0.01 * 0.5 ** sum(drop < epoch for drop in drops) for epoch in curve["epoch"]]
    np.testing.assert_allclose(curve["learning_rate"], rates)
    loss = list(curve["val_loss"])
    later = [6 + at for at, value in enumerate(loss) if at and value >= min(loss[:at])]  # of each epoch without a fall
    assert [drop for drop in drops if drop > 5] == later


@pytest.mark.parametrize(
    ("monitor", "metrics"),
    [("accuracy", ("accuracy", "log_loss")), ("loss", ("log_loss",)), ("log_loss", ("log_loss",))],
)
@pytest.mark.parametrize("place", ["file", "memory"])
def test_a_workbench_made_while_another_one_trains_has_the_metrics_and_the_monitor_of_its_own_task(
    tmp_path: Path, monitor: str, metrics: tuple[str, ...], place: str
) -> None:
    log: Any = tmp_path / "t.db" if place == "file" else None
    first = on(log, "loss")
    run = first.start(wb.Config(epochs=100_000))
    same, other = on(log, "loss"), on(log, monitor, *metrics)
    assert same._session is first._session
    other.run(wb.Config(epochs=1))
    run.stop()
    run.wait()
    row = other.trials.iloc[-1]
    assert (row["metric"], row["monitor"]) == (metrics[0], monitor)
    assert row["best_val_metric"] == other.curves(int(row["trial"]))[f"val_{metrics[0]}"].iloc[0]
