"""The errors of a trial: against scikit-learn, planted worst rows, and the sealed test split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as sk

import workbench as wb
from workbench.core.errors import ConfigError, LogError, RunError, SealError, TaskError
from workbench.core.registry import LOSSES
from workbench.methods.data.tab import data_html
from workbench.methods.errors.answers import Answers, answers_of
from workbench.methods.errors.errors import kept_epochs
from workbench.methods.errors.report import report
from workbench.methods.errors.tab import errors_html
from workbench.methods.errors.tables import by_class, by_label, confusion_matrix, label_counts, residual_summary
from workbench.tasks.inverse import original_inputs

QUICK = wb.Config(hidden_layers=1, hidden_units=8, epochs=3, batch_size=16, learning_rate=0.01)
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def wine() -> wb.Workbench:
    bench = wb.Workbench(wb.Task.load("wine"))
    bench.run(QUICK)
    return bench


@pytest.fixture(scope="module")
def diabetes() -> wb.Workbench:
    bench = wb.Workbench(wb.Task.load("diabetes"))
    bench.run(QUICK)
    return bench


def outputs_by_hand(bench: wb.Workbench, split: str, epoch: int | None = None) -> torch.Tensor:
    model = bench.model(1, epoch)
    with torch.no_grad():
        outputs: torch.Tensor = model.module.eval()(getattr(bench.task, split).x)
    return outputs


# --- tables -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_tables_of_classes_agree_with_scikit_learn(classes: int) -> None:
    truth, predicted = RNG.integers(0, classes, (2, 200))
    labels = [f"class {index}" for index in range(classes)]
    confusion = confusion_matrix(truth, predicted, labels)
    np.testing.assert_array_equal(confusion, sk.confusion_matrix(truth, predicted))
    assert confusion.loc["class 1", "class 0"] == ((truth == 1) & (predicted == 0)).sum()
    known = sk.classification_report(truth, predicted, target_names=labels, output_dict=True)
    found = by_class(confusion)
    for label in labels:
        for ours, theirs in (
            ("precision", "precision"),
            ("recall", "recall"),
            ("f1", "f1-score"),
            ("support", "support"),
        ):
            assert found.loc[label, ours] == pytest.approx(known[label][theirs])


def test_what_is_not_defined_for_a_class_is_missing_and_not_zero() -> None:
    found = by_class(confusion_matrix(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 3]), ["a", "b", "c", "d"]))
    assert np.isnan(found.loc["b", "precision"])  # never predicted
    assert (found.loc["b", "recall"], found.loc["b", "f1"]) == (0, 0)
    assert np.isnan(found.loc["d", "recall"])  # without rows
    assert np.isnan(found.loc["c", ["precision", "recall", "f1"]].astype(float)).all()  # neither


def test_counts_and_scores_of_labels_agree_with_scikit_learn() -> None:
    truth, predicted = RNG.random((2, 150, 4)) < 0.3
    counts = label_counts(truth, predicted, list("abcd"))
    np.testing.assert_array_equal(counts.to_numpy().reshape(4, 2, 2), sk.multilabel_confusion_matrix(truth, predicted))
    precision, recall, f1, support = sk.precision_recall_fscore_support(truth, predicted)
    for name, theirs in (("precision", precision), ("recall", recall), ("f1", f1), ("support", support)):
        np.testing.assert_allclose(by_label(counts)[name], theirs)


def test_the_summary_of_residuals_agrees_with_scikit_learn() -> None:
    truth, predicted = RNG.normal(5e6, 1e6, (2, 100, 3))
    found = residual_summary(truth, predicted, ["a", "b", "c"])
    np.testing.assert_allclose(found["rmse"], sk.root_mean_squared_error(truth, predicted, multioutput="raw_values"))
    np.testing.assert_allclose(found["mae"], sk.mean_absolute_error(truth, predicted, multioutput="raw_values"))
    np.testing.assert_allclose(found["worst"], [sk.max_error(truth[:, n], predicted[:, n]) for n in range(3)])
    np.testing.assert_allclose(residual_summary(truth, truth + 7, ["a", "b", "c"])["bias"], 7)


# --- a trial ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["validation", "train"])
def test_a_classification_agrees_with_a_plain_evaluation(wine: wb.Workbench, split: str) -> None:
    found, rows = wine.errors(1, split=split), getattr(wine.task, split)
    outputs = outputs_by_hand(wine, split)
    predicted, truth = outputs.argmax(1), rows.y
    np.testing.assert_array_equal(found.confusion, sk.confusion_matrix(truth, predicted))
    scores = found.summary.iloc[0]
    assert scores["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted))
    assert scores["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, predicted))
    assert scores["f1_macro"] == pytest.approx(sk.f1_score(truth, predicted, average="macro"))
    assert scores["brier"] == pytest.approx(sk.brier_score_loss(truth, outputs.double().softmax(1)))
    losses = torch.nn.functional.cross_entropy(outputs, truth, reduction="none")
    np.testing.assert_allclose(found.rows["loss"], losses, rtol=1e-5)
    assert list(found.worst["row"][:3]) == list(wine.task.row_numbers[split][losses.argsort(descending=True)[:3]])
    assert (len(found.rows), len(found.worst)) == (len(rows), 20)


def test_the_mean_loss_is_the_one_in_the_curves_at_each_epoch(wine: wb.Workbench) -> None:
    curve = wine.curves(1).set_index("epoch")
    assert kept_epochs(wine.presenter.session, 1) == [1, 2, 3]
    for epoch in (1, 2, 3):
        found = wine.errors(1, epoch)
        assert found.rows["loss"].mean() == pytest.approx(curve.loc[epoch, "val_loss"], rel=1e-5)
        assert (found.epoch, found.best) == (epoch, epoch == curve["val_loss"].idxmin())


def test_row_numbers_lead_to_the_rows_of_the_users_data() -> None:
    frame = pd.DataFrame({
        "age": RNG.normal(40, 10, 200).round(1), "city": RNG.choice(["north", "south", "east_side"], 200),
        "loss": RNG.integers(0, 1000, 200), "city_b": RNG.choice(["x_1", "y"], 200),
    })  # fmt: skip
    frame["buys"] = np.where(frame["age"] + RNG.normal(0, 3, 200) > 40, "yes", "no")
    bench = wb.Workbench(wb.Task.from_frame(frame, "buys"))
    bench.run(QUICK)
    for split in ("validation", "train"):
        worst = bench.errors(1, split=split, top=40).worst
        given = frame.iloc[worst["row"]].reset_index(drop=True)
        assert worst["true"].tolist() == given["buys"].tolist()
        assert worst["city"].tolist() == given["city"].tolist()
        assert worst["city_b"].tolist() == given["city_b"].tolist()
        np.testing.assert_array_equal(worst["age"], given["age"])
        np.testing.assert_array_equal(
            worst["input loss"], given["loss"]
        )  # its own column of that name is the trial's loss


def test_planted_wrong_labels_are_the_worst_rows() -> None:
    X = np.concatenate([RNG.normal(-3, 0.5, (100, 2)), RNG.normal(3, 0.5, (100, 2))])
    y = np.repeat(["left", "right"], 100)
    planted = [5, 60, 140]
    y[planted] = np.where(y[planted] == "left", "right", "left")
    bench = wb.Workbench(wb.Task.from_arrays(X, y, split=(0.5, 0.5, 0)))
    bench.run(QUICK.replace(epochs=10))
    found = [bench.errors(1, split=split) for split in ("train", "validation")]
    assert {int(row) for one in found for row in one.rows.loc[one.rows["true"] != one.rows["predicted"], "row"]} == set(
        planted
    )
    for one in found:
        own = set(planted) & set(one.rows["row"])
        assert set(one.worst["row"].head(len(own))) == own


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_residuals_are_in_the_unit_of_the_target(scale: float) -> None:
    X = RNG.normal(size=(200, 3))
    y = scale * (100 + X @ [3.0, -2.0, 1.0])
    y[[7, 120]] += 100 * scale  # of which a model knows nothing
    bench = wb.Workbench(wb.Task.from_arrays(X, y, split=(0.5, 0.5, 0)))
    bench.run(QUICK)
    for split in ("train", "validation"):
        found = bench.errors(1, split=split)
        rows = bench.task.row_numbers[split]
        np.testing.assert_allclose(found.rows["true"], y[rows], rtol=1e-5)
        predicted = bench.predict(1, X[rows])
        np.testing.assert_allclose(found.rows["residual"], y[rows] - predicted, atol=1e-4 * scale)
        summary = found.summary.loc["y"]
        assert summary["rmse"] == pytest.approx(sk.root_mean_squared_error(y[rows], predicted), rel=1e-4)
        assert summary["bias"] == pytest.approx(predicted.mean() - y[rows].mean(), rel=1e-3, abs=1e-5 * scale)
        own = {7, 120} & set(rows.tolist())
        assert set(found.worst["row"].head(len(own))) == own
        assert (found.confusion, found.per_class, found.calibration) == (None, None, None)


def test_of_several_targets_the_large_one_does_not_hide_the_others() -> None:
    X = RNG.normal(size=(200, 3))
    y = np.stack([1e6 * X[:, 0], X[:, 1]], axis=1)
    y[10, 1] += 1000
    frame = pd.DataFrame(X, columns=list("abc")).assign(price=y[:, 0], weight=y[:, 1])
    bench = wb.Workbench(wb.Task.from_frame(frame, ["price", "weight"], split=(0.5, 0.5, 0)))
    bench.run(QUICK)
    split = "train" if 10 in bench.task.row_numbers["train"] else "validation"
    found = bench.errors(1, split=split)
    assert found.worst.loc[0, ["row", "output"]].tolist() == [10, "weight"]
    assert list(found.summary.index) == ["price", "weight"]
    assert len(found.rows) == 200
    assert len(found.figure().axes) == 4


@pytest.mark.parametrize("dtype", [float, np.uint8, np.int16])
@pytest.mark.parametrize("standardize", [True, False])
def test_inputs_of_pictures_are_those_of_the_data(dtype: Any, standardize: bool) -> None:
    X = RNG.integers(0, 256, (120, 3, 6, 5)).astype(dtype)
    y = np.where(X[:, 0].mean((1, 2)) > 127, "red", "green")
    bench = wb.Workbench(wb.Task.from_arrays(X, y, standardize=standardize))
    bench.run(QUICK.replace(epochs=1))
    found = bench.errors(1, top=7)
    assert found.image
    assert found.inputs is not None
    np.testing.assert_allclose(found.inputs, X[found.worst["row"]], atol=1e-3)
    drawn = [axes for axes in found.pictures().axes if axes.images]
    assert len(drawn) == 7
    row = found.worst.iloc[0]
    assert drawn[0].get_title().splitlines()[:2] == [f"row {row['row']}", f"true {row['true']}"]


@pytest.mark.parametrize("size", [50.0, 1e6])
def test_codes_of_a_table_are_shown_as_its_texts(size: float) -> None:
    frame = pd.DataFrame(
        {
            "city": RNG.choice(["Rome", "Oslo"], 120),
            "size": RNG.normal(size, size / 5, 120),
            "flag": RNG.random(120) > 0.5,
        }
    )
    task = wb.Task.from_frame(frame.assign(y=np.arange(120) % 2), "y", categories="codes")
    found = original_inputs(task.schema, task.train.x)
    assert found is not None
    assert found.table is not None
    assert found.exact
    raw = frame.iloc[task.row_numbers["train"]].reset_index(drop=True)
    assert found.table["city"].tolist() == raw["city"].tolist()
    assert found.table["flag"].tolist() == raw["flag"].astype(str).tolist()
    np.testing.assert_allclose(found.table["size"], raw["size"], atol=size * 1e-5)
    unknown = task.schema.store(pd.DataFrame({"city": ["Bonn", "Oslo"], "size": size, "flag": True}))
    again = original_inputs(task.schema, unknown)
    assert again is not None
    assert again.table is not None
    assert again.table["city"].isna().tolist() == [True, False]


def test_inputs_that_cannot_be_undone_are_marked_as_the_model_takes_them() -> None:
    bench = wb.Workbench(wb.Task.load("wine", clip=2.0))
    bench.run(QUICK)
    found = bench.errors(1)
    assert not found.inputs_exact
    np.testing.assert_allclose(found.worst["alcohol"].max(), found.inputs[:, 0].max())


def test_a_loss_without_probabilities_has_no_calibration() -> None:
    def hinge(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.multi_margin_loss(outputs, targets, reduction="none")

    wb.register_loss("hinge_of_a_test", hinge, kinds=["classification"])
    try:
        bench = wb.Workbench(wb.Task.load("wine"))
        bench.run(QUICK.replace(loss="hinge_of_a_test"))
        found = bench.errors(1)
    finally:
        LOSSES.unregister("hinge_of_a_test")
    assert found.calibration is None
    assert not {"probability", "calibration_error"} & {*found.rows, *found.summary}
    assert "No calibration" in repr(found)
    assert len(found.figure().axes) == 2
    np.testing.assert_allclose(
        found.rows["loss"], hinge(outputs_by_hand(bench, "validation"), bench.task.validation.y), rtol=1e-5
    )


def test_live_changes_and_labels_of_a_users_own_kind_count() -> None:
    X = RNG.normal(size=(200, 2))
    bench = wb.Workbench(wb.Task.from_arrays(X, X[:, 0] > 0))
    bench.run(QUICK, changes=[(3, "learning_rate", 0.05)])
    found = bench.errors(1)
    assert found.rows["true"].dtype == bool
    np.testing.assert_array_equal(found.rows["true"], X[found.rows["row"], 0] > 0)


# --- what is rejected ---------------------------------------------------------------------------------------------------


def test_the_test_split_stays_sealed(wine: wb.Workbench) -> None:
    with pytest.raises(SealError, match=r"sealed.*split='validation' or 'train'.*bench.open_test_set\(1\)"):
        wine.errors(1, split="test")
    assert len(wine.openings) == 0


@pytest.mark.parametrize("split", ["valid", "Train", "", None, 3, ["train"], ("train",), pd.NA, np.nan, b"train"])
def test_another_split_is_a_clear_error(wine: wb.Workbench, split: Any) -> None:
    with pytest.raises(ConfigError, match="split=.*must be 'validation' or 'train'"):
        wine.errors(1, split=split)


def test_unknown_trials_and_epochs_are_clear_errors(wine: wb.Workbench, diabetes: wb.Workbench) -> None:
    with pytest.raises(LogError, match="99"):
        wine.errors(99)
    for value in (4, 0, -1):
        with pytest.raises(RunError, match=f"epoch={value}.*epochs 1 to 3"):
            wine.errors(1, value)
    for value in ("1", 1.5, True, None):
        with pytest.raises(RunError, match="trial"):
            wine.errors(value)  # type: ignore[arg-type]
    for value in (0, -1, 1.5, "3"):
        with pytest.raises(ConfigError, match="top"):
            wine.errors(1, top=value)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="no pictures"):
        diabetes.errors(1).pictures()


def test_an_epoch_without_a_checkpoint_is_trained_again_to_the_same_numbers() -> None:
    bench = wb.Workbench(wb.Task.load("wine"))
    bench.checkpoints.budget = 0
    bench.run(QUICK)
    assert kept_epochs(bench.presenter.session, 1) == []
    found = bench.errors(1, 2)
    assert found.rows["loss"].mean() == pytest.approx(bench.curves(1).set_index("epoch").loc[2, "val_loss"], rel=1e-6)
    assert len(bench.trials) == 1


def test_weights_of_classes_and_rows_do_not_change_which_rows_count() -> None:
    frame = pd.DataFrame(RNG.normal(size=(200, 2)), columns=["a", "b"]).assign(w=RNG.uniform(0.1, 9, 200))
    frame["y"] = np.where(frame["a"] + RNG.normal(0, 0.5, 200) > 0.8, "rare", "common")
    bench = wb.Workbench(wb.Task.from_frame(frame, "y", weights="w"))
    bench.run(QUICK.replace(class_weight="balanced"))
    found, rows = bench.errors(1), bench.task.row_numbers["validation"]
    truth, outputs = bench.task.validation.y, outputs_by_hand(bench, "validation")
    by_hand = torch.nn.functional.cross_entropy(outputs, truth, reduction="none")
    np.testing.assert_allclose(found.rows["loss"], by_hand, rtol=1e-5)
    np.testing.assert_array_equal(found.confusion, sk.confusion_matrix(truth, outputs.argmax(1)))
    np.testing.assert_allclose(found.rows["weight"], frame["w"].iloc[rows])
    # together they give the loss in the curves
    balanced = len(bench.task.train) / (2 * torch.bincount(bench.task.train.y))
    weights = frame["w"].to_numpy()[rows] * balanced[truth].numpy()
    mean = np.average(found.rows["loss"], weights=weights)
    assert mean == pytest.approx(bench.curves(1)["val_loss"].min(), rel=1e-4)


# --- other kinds of task --------------------------------------------------------------------------------------------------


def test_several_labels_agree_with_scikit_learn() -> None:
    X = RNG.normal(size=(300, 4))
    y = (X[:, :3] + RNG.normal(0, 0.5, (300, 3)) > 0.3).astype(int)
    frame = pd.DataFrame(X, columns=list("abcd")).assign(fast=y[:, 0], red=y[:, 1], big=y[:, 2])
    bench = wb.Workbench(wb.Task.from_frame(frame, ["fast", "red", "big"], kind="multilabel"))
    bench.run(QUICK)
    found = bench.errors(1)
    rows = bench.task.row_numbers["validation"]
    truth, outputs = y[rows], outputs_by_hand(bench, "validation")
    predicted, chances = (outputs > 0).numpy().astype(int), outputs.double().sigmoid().numpy()
    np.testing.assert_array_equal(
        found.confusion.to_numpy().reshape(3, 2, 2), sk.multilabel_confusion_matrix(truth, predicted)
    )
    scores = found.summary.iloc[0]
    assert scores["exact_match"] == pytest.approx(sk.accuracy_score(truth, predicted))
    assert scores["f1_macro"] == pytest.approx(sk.f1_score(truth, predicted, average="macro"))
    assert scores["brier"] == pytest.approx(
        np.mean([sk.brier_score_loss(truth[:, n], chances[:, n]) for n in range(3)])
    )
    assert scores["loss"] == pytest.approx(bench.curves(1)["val_loss"].min(), rel=1e-5)
    assert found.calibration["rows"].sum() == 3 * len(rows)
    assert list(found.per_class.index) == ["fast", "red", "big"]
    names = np.array(["fast", "red", "big"])
    said = [", ".join(names[row > 0]) or "none" for row in truth]
    assert found.rows["true"].tolist() == said


@pytest.mark.parametrize("loss", ["poisson", "auto"])
def test_counts_are_in_their_own_unit(loss: str) -> None:
    X = RNG.normal(size=(300, 3))
    y = RNG.poisson(np.exp(1 + 0.5 * X[:, 0]))
    bench = wb.Workbench(wb.Task.from_arrays(X, y, kind="count"))
    bench.run(QUICK.replace(loss=loss))
    found = bench.errors(1)
    rows = bench.task.row_numbers["validation"]
    predicted = outputs_by_hand(bench, "validation").double().exp().numpy()[:, 0]
    np.testing.assert_allclose(found.rows["predicted"], predicted)
    np.testing.assert_allclose(found.rows["residual"], y[rows] - predicted)
    assert found.summary.loc["y", "rmse"] == pytest.approx(sk.root_mean_squared_error(y[rows], predicted))


@pytest.mark.parametrize(("loss", "transform"), [("gaussian", "standardize"), ("quantile", None), ("huber", "log1p")])
def test_other_losses_and_transforms_are_undone(loss: str, transform: str | None) -> None:
    X = RNG.normal(size=(200, 3))
    y = np.exp(3 + X[:, 0])
    bench = wb.Workbench(wb.Task.from_arrays(X, y, target_transform=transform))
    bench.run(QUICK.replace(loss=loss))
    found = bench.errors(1, split="train")
    rows = bench.task.row_numbers["train"]
    np.testing.assert_array_equal(found.rows["true"], y[rows])
    np.testing.assert_allclose(found.rows["predicted"], bench.predict(1, X[rows]), rtol=1e-6)


def test_positions_of_a_dense_task_are_counted() -> None:
    X = RNG.normal(size=(90, 1, 4, 4))
    y = (X[:, 0] > 0.4).astype(int)
    y[7] = 1 - y[7]
    task = wb.Task.from_arrays(X, y, kind="dense", split=(0.5, 0.5, 0))

    def pixel(task: wb.Task) -> torch.nn.Module:
        return torch.nn.Conv2d(1, 2, 1)

    bench = wb.Workbench(task, models={"pixel": pixel})
    bench.run(wb.Config(model="pixel", epochs=30, learning_rate=0.1, batch_size=16))
    split = "train" if 7 in task.row_numbers["train"] else "validation"
    found = bench.errors(1, split=split)
    rows = task.row_numbers[split]
    predicted = outputs_by_hand(bench, split).argmax(1).numpy()
    np.testing.assert_array_equal(found.confusion, sk.confusion_matrix(y[rows].ravel(), predicted.ravel()))
    iou = sk.jaccard_score(y[rows].ravel(), predicted.ravel(), average=None)
    np.testing.assert_allclose(found.per_class["iou"], iou)
    assert found.summary["mean_iou"].item() == pytest.approx(iou.mean())
    np.testing.assert_array_equal(found.rows["wrong"], (y[rows] != predicted).sum((1, 2)))
    assert found.worst["row"][0] == 7
    assert "positions wrong" in found.pictures().axes[0].get_title()
    assert "positions" in errors_html(found, b"png")


def test_a_kind_of_task_without_an_entry_is_named() -> None:
    task = wb.Task.load("wine")
    object.__setattr__(task.schema, "kind", "ranking")
    with pytest.raises(TaskError, match="is a ranking task.*classification, multilabel, dense, regression"):
        report(task, np.arange(3), np.arange(3), Answers(np.arange(3)), np.zeros(3))


def test_a_model_of_nan_is_shown_and_its_rows_are_the_worst() -> None:
    task = wb.Task.load("wine")
    outputs = torch.zeros(4, 3)
    outputs[2] = torch.nan
    config = wb.Config(loss="cross_entropy")
    losses = np.array([1.0, 5.0, np.nan, 2.0])
    found = report(task, np.arange(4), np.zeros(4, int), answers_of(task.schema, config, outputs), losses)
    assert np.isnan(found.summary[["loss", "calibration_error", "brier"]].to_numpy()).all()
    assert found.calibration is not None
    assert found.calibration["rows"].sum() == 3


def test_repr_and_html_say_what_was_measured_and_escape(wine: wb.Workbench) -> None:
    text = repr(wine.errors(1, 2, split="train"))
    assert text.startswith("Trial 1 after its epoch 2 on training rows of 'wine'") or "best epoch (2)" in text
    assert "Confusion matrix" in text
    X = RNG.normal(size=(200, 2))
    bench = wb.Workbench(wb.Task.from_arrays(X, np.where(X[:, 0] > 0, "<i>up", "down"), name="<b>"))
    bench.run(QUICK)
    shown = bench.errors(1)._repr_html_()
    assert "<b>" not in shown
    assert "<i>" not in shown
    assert "&lt;i&gt;up" in shown


@pytest.mark.parametrize("label", ["$\\bad$", "a$b$c", "$", "100% <b>", "a\nb", ""])
def test_labels_are_drawn_as_they_are_and_not_as_formulas(label: str) -> None:
    X = RNG.normal(size=(120, 2))
    y = np.array(["other", label], dtype=object)[(X[:, 0] > 0).astype(int)]
    bench = wb.Workbench(wb.Task.from_arrays(X, y, name="$\\bad$"))
    bench.run(QUICK)
    assert bench.errors(1).figure()._repr_png_()
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(**{f"y {label}": X[:, 0] * 2})
    bench = wb.Workbench(wb.Task.from_frame(frame, f"y {label}"))
    bench.run(QUICK)
    assert bench.errors(1).figure()._repr_png_()
    assert data_html(bench.task)


def test_a_matrix_of_many_classes_names_only_some() -> None:
    size = 70
    X = RNG.normal(size=(size * 6, 4))
    y = np.repeat([f"a long name of class {index}" for index in range(size)], 6)
    bench = wb.Workbench(wb.Task.from_arrays(X, y))
    bench.run(QUICK.replace(epochs=1))
    found = bench.errors(1)
    axes = found.figure().axes[0]
    assert len(axes.get_xticklabels()) <= 30
    assert len(axes.texts) == 0
    assert "Confusion matrix" not in repr(found)
