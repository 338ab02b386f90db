"""Decisions of cross-validated trials and of refits: chosen on out-of-fold rows, against scikit-learn and brute force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import PredefinedSplit

import workbench as wb
from workbench.methods.decisions.calibrate import METHODS
from workbench.runs.decision import class_scores
from workbench.tasks.test_split import open_seal

RNG = np.random.default_rng(0)
ROWS = 240
LABELS = np.where(RNG.random(ROWS) < 0.25, "yes", "no")
X = RNG.normal(0, 1, (ROWS, 4)) + 0.8 * (LABELS == "yes")[:, None]
THREE = RNG.integers(0, 3, ROWS)
QUICK = wb.Config(hidden_layers=1, hidden_units=8, epochs=2, batch_size=32, learning_rate=0.02)
COSTS = {"false_positive": 1, "false_negative": 8}


def trained(labels: Any = LABELS, split: Any = None, log: Any = None) -> wb.Workbench:
    task = wb.Task.from_arrays(X, labels, name="rare", split=split or wb.Split.folds(3))
    bench = wb.Workbench(task, log)
    bench.run(QUICK)
    return bench


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> wb.Workbench:
    """The tests leave other decisions behind, each begins with its own."""
    return trained(log=tmp_path_factory.mktemp("rare") / "trials.db")


@pytest.fixture(scope="module")
def three() -> wb.Workbench:
    return trained(THREE)


def out_of_fold(bench: wb.Workbench) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Plain probabilities of each row by the model that left it out, class indices, and the fold of each row."""
    p, y, of = [], [], []
    assert bench.task.folds is not None
    for number, member in enumerate(bench.task.folds.members, 1):
        module = bench.model(1, fold=number).module
        p.append(module(member.validation.x).detach().double().softmax(1).numpy())
        y.append(member.validation.y.numpy())
        of.append(np.full(len(y[-1]), number - 1))
    return np.concatenate(p), np.concatenate(y), np.concatenate(of)


@pytest.mark.parametrize(
    ("options", "score"),
    [
        ({"by": "f1"}, lambda y, p: f1_score(y, p, zero_division=0)),
        ({"by": "balanced_accuracy"}, balanced_accuracy_score),
        ({"costs": COSTS}, lambda y, p: -((p > y).sum() + 8 * (p < y).sum()) / len(y)),
    ],
)
def test_no_other_threshold_is_better_on_the_out_of_fold_rows(rare: wb.Workbench, options: Any, score: Any) -> None:
    rare.calibrate(1, None)
    p, y, _ = out_of_fold(rare)
    chosen = rare.threshold(1, **options)
    assert chosen is not None
    assert chosen.rows == len(y) == ROWS - rare.task.sizes["test"]
    best = max(score(y, (p[:, 1] >= t).astype(int)) for t in [*p[:, 1], 1.1])
    assert abs(chosen.after) == pytest.approx(abs(best))
    assert score(y, (p[:, 1] >= chosen.threshold).astype(int)) == pytest.approx(best)
    assert f"On the {len(y)} out-of-fold rows that it was chosen on" in repr(chosen)


class Known(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose scores are known for each row, by the row's number, so that scikit-learn fits the calibration only."""

    def __init__(self, scores: Any) -> None:
        self.scores = scores

    def fit(self, rows: Any, y: Any) -> Known:
        self.classes_ = np.unique(y)
        return self

    def predict(self, rows: Any) -> Any:
        return self.classes_[np.zeros(len(rows), int)]

    def decision_function(self, rows: Any) -> Any:
        return self.scores[rows[:, 0].astype(int)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["rare", "three"])
def test_a_calibration_is_that_of_scikit_learn_with_one_model(
    name: str, method: str, request: pytest.FixtureRequest
) -> None:
    bench = request.getfixturevalue(name)
    bench.calibrate(1, None)
    p, y, of = out_of_fold(bench)
    result = bench.calibrate(1, method)
    numbers = np.arange(len(y))[:, None]
    known = Known(class_scores(p, method))
    theirs = CalibratedClassifierCV(known, method=method, cv=PredefinedSplit(of), ensemble=False).fit(numbers, y)
    wanted = theirs.predict_proba(numbers)
    assert result.calibration.probabilities(p) == pytest.approx(wanted, abs=1e-6)
    assert f"calibrated on {len(y)} out-of-fold rows ({method})" in repr(result)
    model = bench.model(1, fold=2)
    assert "out-of-fold rows" in repr(model)
    bench.calibrate(1, None)
    plain = bench.model(1, fold=2).predict_proba(X)
    assert model.predict_proba(X) == pytest.approx(result.calibration.probabilities(plain))


@pytest.mark.parametrize("split", [(0.6, 0.2, 0.2), wb.Split.folds(3)], ids=["plain", "folds"])
def test_a_refit_decides_as_its_trial(split: Any, tmp_path: Path) -> None:
    bench = trained(split=split, log=tmp_path / "trials.db")
    bench.calibrate(1, "sigmoid")
    chosen = bench.threshold(1, costs=COSTS)
    assert chosen is not None
    rows = "out-of-fold rows" if bench.task.folds else "validation rows"
    words = f"'yes' from a probability of {chosen.threshold:.4g} on, chosen on {chosen.rows} {rows} of trial 1 (by cost"
    run = bench.refit(1).wait()
    refit = run.trials[0]
    said = bench.events(refit)
    assert said["message"].str.contains("it decides as trial 1 does", regex=False).any()
    model = bench.model(refit)
    assert words in repr(model)
    assert f"calibrated on {chosen.rows} {rows} of trial 1 (sigmoid)" in repr(model)
    module = model.module
    calibration = bench.calibrate(1, "sigmoid").calibration  # type: ignore[union-attr]  # the same again
    bench.threshold(1, costs=COSTS)

    def chances(x: Any) -> np.ndarray:
        found: np.ndarray = calibration.probabilities(module(x).detach().double().softmax(1).numpy())
        return found

    p = chances(model.preprocess(X))
    assert model.predict_proba(X) == pytest.approx(p)
    wanted = np.where(p[:, 1] >= chosen.threshold, "yes", "no")
    assert (model.predict(X) == wanted).all()
    assert (wanted != np.where(p[:, 1] >= 0.5, "yes", "no")).any()
    assert (bench.predict(refit, X) == wanted).all()
    loaded = wb.load_model(bench.save(refit, tmp_path / "model.pt"))
    assert (loaded.predict(X) == wanted).all()
    assert words in repr(loaded)
    result = bench.open_test_set(refit)
    test = open_seal(bench._session.recall.refits.merged)
    right = (chances(test.x)[:, 1] >= chosen.threshold) == test.y.numpy()
    assert result.score == pytest.approx(right.mean())
    assert words in repr(result)
    assert np.isnan(result.validation)
    # what is changed or removed for the trial is so for its refit
    bench.calibrate(1, None)
    assert not bench.model(refit).decision


def test_a_refit_of_a_trial_without_a_decision_has_none() -> None:
    bench = trained()
    refit = bench.refit(1).wait().trials[0]
    assert not bench.model(refit).decision
    assert not bench.events(refit)["message"].str.contains("decides").any()


def test_a_class_that_no_fold_leaves_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = trained()
    for member in bench.task.folds.members:  # type: ignore[union-attr]
        rows = member.validation
        monkeypatch.setitem(member.__dict__, "validation", rows.part(rows.y == 0))
    with pytest.raises(wb.TaskError, match="have no row of class 'yes'"):
        bench.threshold(1)
    assert not bench.log.findings("decision")
