"""The errors of a cross-validated trial: each row by the model of the fold that left it out, against predictions row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk
from sklearn.model_selection import RepeatedKFold

import workbench as wb
from workbench.core.errors import ConfigError, RunError
from workbench.methods.errors.errors import TrialErrors

RNG = np.random.default_rng(3)
ROWS = 120
X = RNG.normal(5, 3, (ROWS, 4))
CLASSES = np.where(X[:, 0] + RNG.normal(0, 2, ROWS) > 5, "yes", "no")
LABELS = (X[:, :3] + RNG.normal(0, 2, (ROWS, 3)) > 5).astype(int)
MILLIONS = 1e6 * (X[:, 1] + X[:, 2]) + RNG.normal(0, 1e5, ROWS)
FRAME = pd.DataFrame(X, columns=list("abcd")).assign(city=RNG.choice(["north", "south"], ROWS), goal=MILLIONS)
PICTURES = RNG.integers(0, 256, (ROWS, 1, 4, 4), dtype=np.uint8)
CONFIG = wb.Config(epochs=2, hidden_layers=1, hidden_units=8, learning_rate=0.02, batch_size=16)
FOLDS = wb.Split.folds(3)


def trained(task: wb.Task) -> wb.Workbench:
    bench = wb.Workbench(task)
    bench.run(CONFIG)
    return bench


@pytest.fixture(scope="module")
def classes() -> wb.Workbench:
    return trained(wb.Task.from_arrays(X, CLASSES, split=FOLDS))


def by_hand(bench: wb.Workbench, data: Any, found: TrialErrors, answer: str) -> np.ndarray:
    """What the model of each row's fold answers to the raw row, one row after the other."""
    models = {fold: bench.model(1, fold=fold) for fold in set(found.rows["fold"])}
    rows = found.rows.drop_duplicates(["row", "fold"])
    said = [
        getattr(models[fold], answer)(data.iloc[[row]] if isinstance(data, pd.DataFrame) else data[[row]])[0]
        for row, fold in zip(rows["row"], rows["fold"], strict=True)
    ]
    return np.array(said)


def test_classes_are_out_of_fold(classes: wb.Workbench) -> None:
    bench = classes
    found = bench.errors(1)
    assert found.rows["row"].is_unique
    assert len(found.rows) == ROWS - bench.task.sizes["test"]
    assert bench.task.folds is not None
    for number, member in enumerate(bench.task.folds.members, 1):
        own = found.rows.loc[found.rows["fold"] == number, "row"]
        assert (X[own] == pytest.approx(member.validation.x.numpy() * X[member.row_numbers["train"]].std(0)
                + X[member.row_numbers["train"]].mean(0), abs=1e-4))  # fmt: skip
        assert not set(own) & set(member.row_numbers["train"])
    assert (found.rows["true"] == CLASSES[found.rows["row"]]).all()
    assert (found.rows["predicted"] == by_hand(bench, X, found, "predict")).all()
    chances = by_hand(bench, X, found, "predict_proba")
    assert found.rows["probability"].to_numpy() == pytest.approx(chances.max(1), abs=1e-6)
    assert found.confusion is not None
    assert (found.confusion.to_numpy() == sk.confusion_matrix(found.rows["true"], found.rows["predicted"])).all()
    loss = sk.log_loss(found.rows["true"], chances, labels=["no", "yes"])
    assert found.summary["loss"].item() == pytest.approx(loss, rel=1e-5)
    assert "out-of-fold rows" in repr(found)
    assert "3 folds" in found.title
    assert np.allclose(found.inputs, X[found.worst["row"]], atol=1e-3)  # of several folds, in their own units
    assert found.worst["loss"].is_monotonic_decreasing


def test_one_fold_by_itself(classes: wb.Workbench) -> None:
    bench = classes
    whole, one = bench.errors(1), bench.errors(1, fold=2)
    assert one.title.startswith("Fold 2 of trial 1 after its best epoch")
    of_two = whole.rows[whole.rows["fold"] == 2].drop(columns="fold").reset_index(drop=True)
    pd.testing.assert_frame_equal(one.rows, of_two)
    accuracies = [bench.errors(1, fold=fold).summary["accuracy"].item() for fold in (1, 2, 3)]
    assert np.mean(accuracies) == pytest.approx(bench.trials["best_val_metric"][0])
    train = bench.errors(1, 1, split="train", fold=3)
    assert "epoch 1" in train.title
    assert set(train.rows["row"]) == set(bench.task.folds.members[2].row_numbers["train"])  # type: ignore[union-attr]
    assert (train.rows["true"] == CLASSES[train.rows["row"]]).all()


def test_numbers_are_in_their_own_unit_whatever_a_fold_is_scaled_by() -> None:
    bench = trained(wb.Task.from_frame(FRAME, "goal", split=FOLDS))
    found = bench.errors(1)
    assert (found.rows["true"] == MILLIONS[found.rows["row"]]).all()
    said = by_hand(bench, FRAME.drop(columns="goal"), found, "predict")
    assert found.rows["predicted"].to_numpy() == pytest.approx(said, rel=1e-5)
    assert found.summary["rmse"].item() == pytest.approx(sk.root_mean_squared_error(found.rows["true"], said), rel=1e-5)
    assert len(set(found.worst["fold"])) > 1
    for _, row in found.worst.iterrows():
        assert row[list("abcd")].to_numpy(float) == pytest.approx(X[row["row"]], abs=1e-3)
        assert row["city"] == FRAME["city"][row["row"]]


def test_labels() -> None:
    bench = trained(wb.Task.from_arrays(X, LABELS, kind="multilabel", split=FOLDS))
    found = bench.errors(1)
    said = by_hand(bench, X, found, "predict")
    truth = LABELS[found.rows["row"]]
    assert found.summary["exact_match"].item() == pytest.approx((said == truth).all(1).mean())


def test_pictures_are_shown_as_they_are() -> None:
    found = trained(wb.Task.from_arrays(PICTURES, CLASSES, split=FOLDS)).errors(1, top=9)
    assert found.inputs is not None
    assert found.inputs_exact
    assert np.allclose(found.inputs, PICTURES[found.worst["row"]], atol=0.02)
    assert len(found.pictures().axes) >= 9


def test_rows_that_several_folds_leave_out_are_listed_for_each() -> None:
    split = wb.Split.folds(splitter=RepeatedKFold(n_splits=2, n_repeats=3, random_state=0), test=0.2)
    bench = trained(wb.Task.from_arrays(X, CLASSES, split=split))
    found = bench.errors(1)
    assert (found.rows["row"].value_counts() == 3).all()
    assert (found.rows["predicted"] == by_hand(bench, X, found, "predict")).all()


def test_ordered_folds_judge_later_rows_only() -> None:
    bench = trained(wb.Task.from_arrays(X, MILLIONS, split=wb.Split.folds(3, order=np.arange(ROWS))))
    found = bench.errors(1)
    assert found.rows["row"].is_unique
    assert 0 not in set(found.rows["row"])  # the first rows are only trained on
    assert found.rows["predicted"].to_numpy() == pytest.approx(by_hand(bench, X, found, "predict"), rel=1e-5)


def test_what_cannot_be_looked_at_says_why(classes: wb.Workbench) -> None:
    bench = classes
    with pytest.raises(ConfigError, match="fold=None: the folds share their training rows; give fold=1 to 3"):
        bench.errors(1, split="train")
    with pytest.raises(RunError, match="fold=4: trial 1 has the folds 1 to 3"):
        bench.errors(1, fold=4)
    with pytest.raises(RunError, match="fold='a': must be a whole number"):
        bench.errors(1, fold="a")  # type: ignore[arg-type]
    plain = trained(wb.Task.from_arrays(X, CLASSES))
    with pytest.raises(RunError, match="trial 1 has no folds; leave fold= out"):
        plain.errors(1, fold=1)
