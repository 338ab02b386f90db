"""A cross-validated trial in a log: its row, curves, models of single folds, resuming, and what needs one model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import workbench as wb
from workbench.checkpoints import CheckpointStore
from workbench.core.events import EpochEnd
from workbench.log import NewTrial, TrialLog
from workbench.methods.comparison.fold_test import corrected_error, corrected_p_value
from workbench.methods.layers.watch import _Eye
from workbench.methods.tabs import TABS
from workbench.runs import restore
from workbench.runs.measured import measured
from workbench.training import Training
from workbench.ui.figures import learning_curves

RNG = np.random.default_rng(9)
X = RNG.normal(size=(150, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
CONFIG = wb.Config(epochs=3, hidden_units=8, learning_rate=0.01, batch_size=16)


@pytest.fixture
def bench(tmp_path: Path) -> wb.Workbench:
    task = wb.Task.from_arrays(X, Y, split=wb.Split.folds(4), metrics=("accuracy", "log_loss"))
    made = wb.Workbench(task, log=tmp_path / "trials.db")
    made.run(CONFIG)
    return made


def test_a_trial_is_one_row_and_its_curves_are_means_with_their_spread(bench: wb.Workbench) -> None:
    assert len(bench.trials) == 1
    curves, folds = bench.curves(1), bench.log.history.folds(1)
    assert list(folds["fold"]) == [1, 2, 3, 4] * 3
    for name in ("loss", "accuracy", "log_loss"):
        by_epoch = folds.groupby("epoch")[f"val_{name}"]
        assert curves[f"val_{name}"].to_numpy() == pytest.approx(by_epoch.mean().to_numpy(), rel=1e-12)
        assert curves[f"val_{name}_std"].to_numpy() == pytest.approx(by_epoch.std().to_numpy(), rel=1e-12)
    assert curves["val_metric_std"].equals(curves["val_accuracy_std"].rename("val_metric_std"))
    row = bench.trials.iloc[0]
    best = curves["val_loss"].idxmin()
    assert row["best_val_metric"] == curves["val_metric"][best]
    assert row["best_epoch"] == curves["epoch"][best]


@pytest.mark.parametrize("again", [False, True])
def test_the_model_of_a_fold_scores_on_its_fold_what_the_log_says(
    bench: wb.Workbench, again: bool, tmp_path: Path
) -> None:
    if again:  # from the checkpoints of another session
        bench = wb.Workbench(bench.task, log=tmp_path / "trials.db")
    folds = bench.log.history.folds(1)
    best = folds[folds["epoch"] == bench.trials["best_epoch"][0]]
    assert bench.task.folds is not None
    for number, member in enumerate(bench.task.folds.members, 1):
        model = bench.model(1, fold=number)
        right = (model.outputs(member.validation.x).argmax(1) == member.validation.y).double().mean().item()
        assert right == pytest.approx(best["val_accuracy"].iloc[number - 1])
        path = bench.save(1, tmp_path / f"fold {number}.pt", fold=number)
        answers = bench.predict(1, X, fold=number)
        assert (wb.load_model(path).predict(X) == answers).all()
        assert torch.allclose(model.preprocess(X), member.schema.preprocess(X))
        first = bench.model(1, epoch=1, fold=number)
        right = (first.outputs(member.validation.x).argmax(1) == member.validation.y).double().mean().item()
        assert right == pytest.approx(folds[(folds["epoch"] == 1) & (folds["fold"] == number)]["val_accuracy"].item())


def test_what_needs_one_model_says_which_there_are(bench: wb.Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    message = (
        r"trial 1 was cross-validated and has 4 models: give fold=1 to 4 .*bench.refit\(1\).*"
        r"bench.ensemble\(trials=\[1\]\) is an ensemble of the folds"
    )
    for call in (
        lambda: bench.model(1),
        lambda: bench.predict(1, X),
        lambda: bench.save(1, "nowhere.pt"),
        lambda: bench.layers(1),
    ):
        with pytest.raises(wb.RunError, match=message):
            call()
    with pytest.raises(wb.RunError, match="fold=5: trial 1 has the folds 1 to 4"):
        bench.model(1, fold=5)
    with pytest.raises(wb.RunError, match=r"a branch needs one; train .* from its start, bench.run\(bench.config\(1\)"):
        bench.branch(1, epoch=1)
    with pytest.raises(
        wb.RunError, match=r"fine-tuning from a trial needs one; train bench.config\(1\) on a task without"
    ):
        bench.finetune(1)
    other = wb.Workbench(wb.Task.from_arrays(X + 1, Y), log=str(bench.log.url).removeprefix("sqlite:///"))
    monkeypatch.setattr(
        other._session, "known", lambda fingerprint: None
    )  # as in a kernel without the data of the trial
    with pytest.raises(wb.RunError, match="trial 1 was cross-validated and has a model for each fold"):
        other.finetune(1)
    with pytest.raises(wb.RunError, match="a comparison of versions needs one; make a task without folds"):
        bench.continue_on((X, Y))
    plain = wb.Workbench(wb.Task.from_arrays(X, Y))
    plain.run(CONFIG)
    with pytest.raises(wb.RunError, match="fold=1: trial 1 has no folds; leave fold= out"):
        plain.model(1, fold=1)
    assert plain.log.history.folds(1).empty
    assert "val_loss_std" not in plain.curves(1)


def test_scores_are_said_to_be_means_of_the_folds(bench: wb.Workbench) -> None:
    best = bench.trials.iloc[0]
    words = f"validation accuracy (mean of 4 folds) {best['best_val_metric']:.4f} at epoch {best['best_epoch']}"
    assert words in repr(bench)
    view = bench.presenter.build(bench, TABS)
    charts = view.curves.charts
    assert [chart.title for chart in charts] == ["Loss, mean of 4 folds", "Accuracy, mean of 4 folds"]
    assert bench.presenter.headline_label == "Accuracy (mean of 4 folds)"
    assert bench.presenter.task_log.metric_label == "validation accuracy (mean of 4 folds)"
    plain = wb.Workbench(wb.Task.from_arrays(X, Y))
    plain.run(CONFIG)
    assert "folds" not in repr(plain)
    assert [chart.title for chart in plain.presenter.build(plain, TABS).curves.charts] == ["Loss", "Accuracy"]


def test_the_layers_of_a_fold_are_measured_on_its_own_rows() -> None:
    task = wb.Task.from_arrays(X[:, :2] * [1, 9], Y, split=wb.Split.folds(3))
    bench = wb.Workbench(task)
    bench.run(CONFIG)
    assert task.folds is not None
    for fold in (1, 3):
        layers, rows = bench.layers(1, fold=fold), task.folds.members[fold - 1].train.x
        assert layers.frame["input_mean"].iloc[0] == pytest.approx(rows.mean().item(), abs=1e-6)
        assert layers.plane is not None
        assert np.array_equal(layers.plane.points["train"], rows.numpy())
        answer = bench.model(1, fold=fold)(layers.plane.grid()).softmax(1).max(1).values.detach()
        assert layers.answers is not None
        assert torch.allclose(torch.from_numpy(layers.answers.strength).ravel(), answer, atol=1e-6)
        assert f"fold {fold} of trial 1 after epoch" in repr(layers)
        assert bench.decision_boundary(1, fold=fold).axes
    with pytest.raises(wb.RunError, match="fold=4: trial 1 has the folds 1 to 3"):
        bench.layers(1, fold=4)
    tab = bench.presenter.build(bench, TABS).body("Layers")
    model = tab._model_of(1, None)
    assert torch.equal(model.module(task.train.x), bench.model(1, fold=1).module(task.train.x))
    assert not bench.model(bench.refit(1).wait().trials[0]).mismatch
    assert tab._model_of(2, None).trial == 2  # a refit has no folds
    assert "training rows of fold 1" in _Eye(task).picture(model.module, "caption").caption
    assert "fold" not in _Eye(bench._session.recall.refits.merged).picture(model.module, "caption").caption


def test_without_checkpoints_all_folds_are_trained_again_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = wb.Task.from_arrays(X, Y, split=wb.Split.folds(3))
    first = wb.Workbench(task, log=tmp_path / "trials.db")
    first.run(CONFIG)
    wanted = first.errors(1, 2).rows
    shutil.rmtree(first.checkpoints.folder)
    log = TrialLog(f"sqlite:///{tmp_path / 'trials.db'}")
    trained = []

    def training(*arguments: Any, **options: Any) -> Training:
        trained.append(arguments)
        return Training(*arguments, **options)

    monkeypatch.setattr(restore, "Training", training)
    recall = restore.Recall(task, log, CheckpointStore(tmp_path / "none"))
    for epoch in (2, 1, 2):
        parts = list(measured(recall, 1, epoch))
        assert [part.model.epoch for part in parts] == [epoch] * 3
    assert len(trained) == 3
    said = np.concatenate([part.model.predict(X[part.numbers]) for part in parts])
    assert (said == wanted["predicted"]).all()


@pytest.mark.parametrize("order", [None, np.arange(150)])
def test_a_refit_is_one_model_of_all_rows_outside_the_test_set(order: np.ndarray | None) -> None:
    task = wb.Task.from_arrays(X, Y, split=wb.Split.folds(4, order=order))
    bench = wb.Workbench(task)
    bench.run(CONFIG)
    run = bench.refit(1).wait()
    model = bench.model(run.trials[0])
    assert bench.open_test_set(run.trials[0]).rows == task.sizes["test"]
    test = np.arange(120, 150) if order is not None else None
    if test is not None:
        mean = X[:120].mean(0)
        assert torch.allclose(model.preprocess(mean[None]), torch.zeros(1, 4), atol=1e-6)
    with pytest.raises(wb.RunError, match="has no folds"):
        bench.model(run.trials[0], fold=1)


def test_a_search_and_its_pruner_work_on_the_mean(bench: wb.Workbench) -> None:
    space = {"learning_rate": wb.LogRange(1e-5, 1e-1)}
    bench.search("random", space, trials=16, base=CONFIG.replace(epochs=6), pruner="median").wait()
    frame = bench.trials.set_index("trial")
    assert frame["state"].isin(["completed", "pruned"]).all()
    assert (frame["state"] == "pruned").any()
    curves = bench.curves()
    assert (curves.groupby("trial")["epoch"].max() == frame["epochs_run"]).all()
    assert frame["best_val_metric"].max() > 0.8


def test_the_handle_of_a_run_gives_no_model_of_a_single_fold(bench: wb.Workbench) -> None:
    run = bench.run(CONFIG.replace(seed=1))
    with pytest.raises(wb.RunError, match=r"trial 2 was cross-validated and has 4 models: bench.model\(2, fold=1\)"):
        run.model()
    again = bench.refit(2).wait()
    assert torch.equal(again.model()(torch.ones(1, 4)), bench.model(3).module(torch.ones(1, 4)))


def test_a_replay_is_identical(bench: wb.Workbench) -> None:
    replay = bench.replay(1).wait()
    assert replay.identical
    last = replay.weights_of(2, fold=3)
    assert last is not None
    last.vector[0] += 1e-6
    assert not replay.same_weights


def test_the_spread_of_folds_of_which_one_diverged_has_no_value(bench: wb.Workbench) -> None:
    folds = {"loss": (np.inf, 0.5, 0.4, 0.3), "accuracy": (0.5, 0.75, 0.5, 0.25)}
    (trial,) = bench.log.create([NewTrial({}, "t", "f", "accuracy")])
    bench.log.append([EpochEnd(trial, 1, 9, 0.1, 0, 0.5, np.inf, 0.5, 0.1, 0.1, 0.1, folds=folds)])
    (row,) = bench.curves(trial).to_dict("records")
    assert np.isnan(row["val_loss_std"])
    assert row["val_metric_std"] == row["val_accuracy_std"] == pytest.approx(np.std(folds["accuracy"], ddof=1))


def test_the_leaderboard_compares_by_folds(bench: wb.Workbench) -> None:
    bench.run(CONFIG.replace(learning_rate=1e-4))
    board = bench.leaderboard()
    folds = bench.log.history.folds(1, 2)
    last = folds[folds["epoch"] == 3].pivot_table(index="fold", columns="trial", values="val_accuracy")
    order = list(board["trial"])
    first, second = (last[trial].to_numpy() for trial in order)
    members = bench.task.folds.members  # type: ignore[union-attr]
    ratio = np.mean([len(member.validation) / len(member.train) for member in members])
    difference = second - first
    t = difference.mean() / np.sqrt((1 / 4 + ratio) * difference.var(ddof=1))
    assert board["p_value"].iloc[1] == pytest.approx(2 * stats.t.sf(abs(t), 3))
    half = stats.t.ppf(0.975, 3) * np.sqrt((1 / 4 + ratio) * first.var(ddof=1))
    assert board["high"].iloc[0] - board["mean"].iloc[0] == pytest.approx(half)


def test_the_corrected_test_keeps_its_level_where_the_plain_one_does_not() -> None:
    """Two equal classifiers of ten folds whose scores share the noise of the rows that all folds train on."""
    rng = np.random.default_rng(0)
    plain = corrected = 0
    for _ in range(2000):
        difference = rng.normal(0, 1 / 3) + rng.normal(size=10) * np.sqrt(1 - 1 / 9)
        plain += stats.ttest_1samp(difference, 0).pvalue < 0.05
        corrected += corrected_p_value(difference, np.zeros(10), 1 / 9) < 0.05
    assert plain / 2000 > 0.1
    assert corrected / 2000 < 0.08
    assert corrected_error(np.array([1.0, 3.0]), 0.5) == pytest.approx(np.sqrt((0.5 + 0.5) * 2))
    assert corrected_p_value(np.ones(3), np.ones(3), 0.5) == 1.0
    assert np.isnan(corrected_p_value(np.ones(1), np.zeros(1), 0.5))


def test_the_figure_has_a_band_of_the_folds(bench: wb.Workbench) -> None:
    figure = learning_curves(bench.curves(1), metric_label="Accuracy", loss_label="Loss")
    bands = [axes.collections for axes in figure.axes]
    assert [len(found) for found in bands] == [1, 1]
    curves = bench.curves(1)
    heights = bands[0][0].get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx((curves["val_loss"] + curves["val_loss_std"]).max())
