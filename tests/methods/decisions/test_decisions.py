"""Thresholds against brute force, calibrations against scikit-learn, and both wherever the model answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
)

import workbench as wb
from workbench.methods.decisions.calibrate import METHODS, fitted
from workbench.methods.decisions.threshold import SCORES, _candidates, _measure
from workbench.runs.decision import Calibration, Decision, Threshold, class_scores
from workbench.tasks.test_split import open_seal

RNG = np.random.default_rng(0)
ROWS = 400
LABELS = np.where(RNG.random(ROWS) < 0.2, "yes", "no")
X = RNG.normal(0, 1, (ROWS, 4)) + 0.8 * (LABELS == "yes")[:, None]
QUICK = wb.Config(hidden_layers=1, hidden_units=8, epochs=3, batch_size=32, learning_rate=0.01)


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> wb.Workbench:
    """Two classes, one of them rare; the tests leave other decisions behind, each begins with its own."""
    bench = wb.Workbench(wb.Task.from_arrays(X, LABELS, name="rare"), tmp_path_factory.mktemp("rare") / "trials.db")
    bench.run(QUICK)
    return bench


@pytest.fixture(scope="module")
def three() -> wb.Workbench:
    bench = wb.Workbench(wb.Task.load("iris"))
    bench.run(QUICK)
    return bench


def validation(bench: wb.Workbench) -> tuple[Any, Any]:
    """Probabilities of the plain model and class indices, on the validation rows."""
    model = bench.model(1)
    return model.module(bench.task.validation.x).detach().double().softmax(1).numpy(), bench.task.validation.y.numpy()


# --- thresholds -----------------------------------------------------------------------------------------------------


def cost(targets: Any, predicted: Any) -> float:
    (_, fp), (fn, _) = confusion_matrix(targets, predicted, labels=[0, 1])
    return float(-(fp + 5 * fn) / len(targets))


BY: list[tuple[dict[str, Any], Any]] = [
    ({"by": "f1"}, lambda y, p: f1_score(y, p, zero_division=0)),
    ({"by": "balanced_accuracy"}, balanced_accuracy_score),
    ({"by": "youden"}, lambda y, p: 2 * balanced_accuracy_score(y, p) - 1),
    ({"costs": {"false_positive": 1, "false_negative": 5}}, cost),
]


@pytest.mark.parametrize("positive", ["no", "yes"])
@pytest.mark.parametrize(("options", "score"), BY)
def test_no_other_threshold_is_better(rare: wb.Workbench, options: Any, score: Any, positive: str) -> None:
    rare.calibrate(1, None)
    p, y = validation(rare)
    index = ["no", "yes"].index(positive)
    chosen = rare.threshold(1, positive=positive, **options)
    assert chosen is not None
    y, p = (y == index).astype(int), p[:, index]
    every = [score(y, (p >= t).astype(int)) for t in [0.0, *np.nextafter(np.unique(p), 1), 1.1, *np.unique(p)]]
    ours = score(y, (p >= chosen.threshold).astype(int))
    assert ours == pytest.approx(max(every))
    way = -1 if "costs" in options else 1
    assert chosen.after == pytest.approx(way * ours)
    assert chosen.before == pytest.approx(way * score(y, (p > 0.5).astype(int)))
    assert (chosen.rows, chosen.positive) == (80, positive)
    assert "optimistic" in repr(chosen)
    assert not np.isin(chosen.threshold, p)  # between two rows
    best = chosen.table["score"].min() if "costs" in options else chosen.table["score"].max()
    assert best == pytest.approx(chosen.after)


@pytest.mark.parametrize("seed", range(5))
def test_the_table_agrees_with_counting_on_random_scores_with_ties(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = np.round(random.random(60), 1) if seed else np.repeat([0.0, 0.5, 1.0], 20)
    yes = random.random(60) < 0.4
    for name, score in [(name, SCORES[name]) for name in SCORES] + [("costs", _measure(None, (2.0, 3.0))[2])]:
        table = _candidates(yes, scores, np.ones(len(yes)), score)
        assert len(table) == len(np.unique(scores)) + 1
        assert table["threshold"].is_monotonic_increasing
        for row in table.to_dict("records"):
            predicted = scores >= row["threshold"]
            tp, fp = int((predicted & yes).sum()), int((predicted & ~yes).sum())
            assert row["true_positive_rate"] == pytest.approx(tp / yes.sum())
            assert row["false_positive_rate"] == pytest.approx(fp / (~yes).sum())
            wanted = {
                "f1": f1_score(yes, predicted, zero_division=0),
                "balanced_accuracy": balanced_accuracy_score(yes, predicted),
                "youden": tp / yes.sum() - fp / (~yes).sum(),
                "costs": (2 * fp + 3 * (yes.sum() - tp)) / 60,
            }[name]
            assert row["score"] == pytest.approx(wanted)


def test_the_model_decides_by_it_everywhere(rare: wb.Workbench, tmp_path: Path) -> None:
    rare.calibrate(1, None)
    plain = rare.predict(1, X)
    p = rare.model(1).predict_proba(X)
    chosen = rare.threshold(1, costs={"false_positive": 1, "false_negative": 8})
    assert chosen is not None
    wanted = np.where(p[:, 1] >= chosen.threshold, "yes", "no")
    assert (wanted != plain).any()
    model = rare.model(1)
    assert rare.predict(1, X).tolist() == model.predict(X).tolist() == wanted.tolist()
    assert np.array_equal(model.predict_proba(X), p)
    says = f"'yes' from a probability of {chosen.threshold:.4g} on, chosen on 80 validation rows (by cost"
    assert says in repr(model)
    loaded = wb.load_model(rare.save(1, tmp_path / "model.pt"))
    assert loaded.predict(X).tolist() == wanted.tolist()
    assert says in repr(loaded)
    kernel = wb.Workbench(wb.Task.from_arrays(X, LABELS, name="rare"), str(rare.log.url).removeprefix("sqlite:///"))
    assert kernel.predict(1, X).tolist() == wanted.tolist()
    # other weights of the trial have none, and neither has the model once it is removed
    assert not rare.model(1, 1).decision or rare.model(1).epoch == 1
    assert rare.threshold(1, None) is None
    assert rare.predict(1, X).tolist() == plain.tolist()
    assert not rare.model(1).decision


def test_the_test_score_rests_on_it_and_says_so() -> None:
    bench = wb.Workbench(wb.Task.from_arrays(X, LABELS))
    bench.run(QUICK)
    measured = bench.trials["best_val_metric"].iloc[0]
    chosen = bench.threshold(1, costs={"false_positive": 1, "false_negative": 8})
    assert chosen is not None
    test, held = open_seal(bench.task), bench.task.validation
    module = bench.model(1).module

    def predicted(x: Any) -> Any:
        return (module(x).detach().double().softmax(1).numpy()[:, 1] >= chosen.threshold).astype(int)

    result = bench.open_test_set(1)
    assert result.score == pytest.approx(accuracy_score(test.y, predicted(test.x)))
    assert result.validation == pytest.approx(accuracy_score(held.y, predicted(held.x)))
    assert result.validation != pytest.approx(measured)
    assert bench.trials["best_val_metric"].iloc[0] == measured  # tables compare trials by their most probable class
    assert "chosen on 80 validation rows (by cost" in repr(result)
    assert "optimistic" in repr(result)
    assert "chosen on 80" in bench.openings["decision"].iloc[0]


@pytest.mark.parametrize("value", [0.0, 0.3, 0.5, 1.0, np.nextafter(1.0, 2.0)])
@pytest.mark.parametrize("positive", [0, 1])
def test_outputs_order_the_rows_as_before_and_decide_on_the_threshold_itself(value: float, positive: int) -> None:
    column = np.array([0.0, 1e-14, 0.3, np.nextafter(0.3, 1), np.nextafter(0.3, 0), 0.5, 0.7, 1 - 1e-13, 1.0])
    p = np.stack([1 - column, column], 1) if positive else np.stack([column, 1 - column], 1)
    outputs = Decision(None, Threshold(value, positive, "a", "by f1", 9)).decided(p)
    assert ((outputs.argmax(1) == positive) == (p[:, positive] >= value)).all()
    gaps = outputs[:, positive] - outputs[:, 1 - positive]
    order = np.argsort(p[:, positive], kind="stable")
    assert (np.diff(gaps[order]) >= -1e-9).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "f2"}, "by='f2': unknown.*known: balanced_accuracy, f1, youden"),
        ({"by": 3}, "by=3: unknown"),
        ({"costs": {"false_positive": -1, "false_negative": 5}}, "two numbers from 0"),
        ({"costs": {"false_positive": 1}}, "two numbers from 0"),
        ({"costs": {"false_positive": 0, "false_negative": 0}}, "not both 0"),
        ({"costs": {"false_positive": float("nan"), "false_negative": 1}}, "two numbers from 0"),
        ({"costs": {"false_positive": True, "false_negative": 1}}, "two numbers from 0"),
        ({"costs": {"false_positiv": 1, "false_negative": 1}}, "did you mean 'false_positive'"),
        ({"costs": 3}, "two numbers from 0"),
        ({"by": "youden", "costs": {"false_positive": 1, "false_negative": 5}}, "exclude each other"),
        ({"positive": "maybe"}, "positive='maybe': no class"),
        ({"positive": np.array(["yes", "no"])}, "no class"),
        ({"positive": ["yes"]}, "no class"),
        ({"positive": 1}, "no class"),
        ({"by": np.array(["f1"]), "costs": {"false_positive": 1, "false_negative": 5}}, "exclude each other"),
    ],
)
def test_wrong_arguments_are_named_and_change_nothing(rare: wb.Workbench, options: Any, message: str) -> None:
    before = len(rare.log.findings("decision"))
    with pytest.raises(wb.ConfigError, match=message):
        rare.threshold(1, **options)
    assert len(rare.log.findings("decision")) == before


def test_the_positive_class_is_named_as_the_target_has_it() -> None:
    bench = wb.Workbench(wb.Task.from_arrays(X, (LABELS == "yes").astype(int)))
    bench.run(QUICK)
    assert bench.threshold(1, positive=0).positive == "0"  # type: ignore[union-attr]
    assert bench.threshold(1).positive == "1"  # type: ignore[union-attr]
    assert bench.threshold(1, positive=np.int64(0)).positive == "0"  # type: ignore[union-attr]
    flags = wb.Workbench(wb.Task.from_arrays(X, LABELS == "yes"))
    flags.run(QUICK)
    assert flags.threshold(1, positive=False).positive == "False"  # type: ignore[union-attr]
    assert set(np.unique(flags.predict(1, X)).tolist()) <= {False, True}
    with pytest.raises(wb.ConfigError, match="positive=0"):
        flags.threshold(1, positive=0)


def test_tasks_and_trials_without_two_classes_to_decide_between(three: wb.Workbench, rare: wb.Workbench) -> None:
    with pytest.raises(wb.TaskError, match="has 3 classes, and a threshold decides between two"):
        three.threshold(1)
    numbers = wb.Workbench(wb.Task.load("diabetes"))
    numbers.run(QUICK)
    for call in (numbers.threshold, numbers.calibrate):
        with pytest.raises(wb.TaskError, match="'diabetes' is a regression"):
            call(1)
    for call in (rare.threshold, rare.calibrate):
        with pytest.raises(wb.LogError, match="trial 99"):
            call(99)
    refit = rare.refit(1).wait().trials[0]
    with pytest.raises(wb.RunError, match=f"trial {refit} is a refit of trial 1.*a threshold needs.*use trial 1"):
        rare.threshold(refit)
    with pytest.raises(wb.RunError, match="a calibration needs"):
        rare.calibrate(refit)
    with pytest.raises(wb.ConfigError, match="method='isotonc': unknown.*did you mean 'isotonic'"):
        rare.calibrate(1, "isotonc")


# --- calibration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("method", METHODS)
def test_a_calibration_is_scikit_learns(method: str, classes: int) -> None:
    random = np.random.default_rng(classes)
    features = random.normal(0, 1, (300, 4))
    y = (features @ random.normal(0, 1, (4, classes)) + random.gumbel(size=(300, classes))).argmax(1)
    model = LogisticRegression(C=1000).fit(features[:100], y[:100])
    p = model.predict_proba(features)
    if method != "temperature" and classes > 2:

        class LogOdds(LogisticRegression):  # type: ignore[misc]
            def decision_function(self, X: Any) -> Any:
                each = softmax(super().decision_function(X), axis=1)
                return np.log(each) - np.log(1 - each)

        model.__class__ = LogOdds
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method=method).fit(features[100:200], y[100:200])
    ours = fitted(p[100:200], y[100:200], method)
    wanted = theirs.predict_proba(features[200:])
    found = ours.probabilities(p[200:])
    assert found == pytest.approx(wanted, abs=1e-6)
    assert found.sum(1) == pytest.approx(np.ones(100))
    again = Decision.of_json(Decision(ours).to_json())
    assert np.array_equal(again.probabilities(p[200:]), found)


def test_extreme_probabilities_stay_probabilities() -> None:
    p = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [1e-300, 1.0]] * 5)
    for method in METHODS:
        found = fitted(p, np.array([1, 0, 1, 0] * 5), method).probabilities(p)
        assert np.isfinite(found).all()
        assert ((found >= 0) & (found <= 1)).all()
    three = np.array([[0.0, 0.0, 1.0]])
    nothing = Calibration("isotonic", 3, {"x": [[0.0]] * 3, "y": [[0.0]] * 3})
    assert nothing.probabilities(three) == pytest.approx(np.full((1, 3), 1 / 3))
    assert np.isfinite(class_scores(three, "sigmoid")).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["rare", "three"])
def test_the_model_states_calibrated_probabilities(
    name: str, method: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    bench = request.getfixturevalue(name)
    bench.calibrate(1, None)
    p, y = validation(bench)
    raw = X if name == "rare" else np.random.default_rng(1).normal(4, 2, (30, 4))
    before = bench.model(1).predict_proba(raw)
    result = bench.calibrate(1, method)
    after = result.calibration.probabilities(p)
    labels = range(p.shape[1])
    for row, values in (("before", p), ("after", after)):
        assert result.table.loc[row, "log_loss"] == pytest.approx(log_loss(y, values, labels=labels))
        brier = ((values - np.eye(len(labels))[y]) ** 2).sum(1).mean() / (2 if len(labels) == 2 else 1)
        assert result.table.loc[row, "brier"] == pytest.approx(brier)
        assert result.table.loc[row, "ece"] == pytest.approx(by_bins(values, y))
    if method != "sigmoid":  # Platt's targets are not 0 and 1
        assert result.table.loc["after", "log_loss"] <= result.table.loc["before", "log_loss"] + 1e-9
    assert f"calibrated on {len(y)} validation rows ({method})" in repr(result)
    assert "optimistic" in repr(result)
    assert ("overfit" in repr(result)) == (method == "isotonic")
    model = bench.model(1)
    assert np.array_equal(model.predict_proba(raw), result.calibration.probabilities(before))
    assert f"probabilities calibrated on {len(y)} validation rows ({method})" in repr(model)
    loaded = wb.load_model(bench.save(1, tmp_path / "model.pt"))
    assert np.array_equal(loaded.predict_proba(raw), model.predict_proba(raw))
    assert loaded.predict(raw).tolist() == model.predict(raw).tolist()
    assert bench.calibrate(1, None) is None
    assert np.array_equal(bench.model(1).predict_proba(raw), before)


def by_bins(p: Any, y: Any) -> float:
    """Bin by bin, as the definition reads."""
    total, sure = 0.0, p.max(1)
    for index in range(10):  # each with its upper edge
        rows = ((sure > index / 10) | (index == 0)) & (sure <= (index + 1) / 10)
        if rows.any():
            total += rows.sum() * abs((p.argmax(1) == y)[rows].mean() - sure[rows].mean())
    return total / len(y)


def test_a_threshold_is_on_calibrated_probabilities_and_goes_with_a_new_calibration(rare: wb.Workbench) -> None:
    rare.calibrate(1, "sigmoid")
    chosen = rare.threshold(1, "balanced_accuracy")
    assert chosen is not None
    model = rare.model(1)
    assert model.decision.calibration is not None
    wanted = model.predict_proba(X)[:, 1] >= chosen.threshold
    assert ((model.predict(X) == "yes") == wanted).all()
    assert "sigmoid" in repr(model)
    assert "by balanced accuracy" in repr(model)
    result = rare.calibrate(1, "temperature")
    assert result is not None
    assert result.removed_threshold
    assert "bench.threshold(1)" in repr(result)
    assert rare.model(1).decision.threshold is None


def test_brier_scores_are_scikit_learns(rare: wb.Workbench) -> None:
    rare.calibrate(1, None)
    p, y = validation(rare)
    result = rare.calibrate(1, "sigmoid")
    assert result is not None
    assert result.table.loc["before", "brier"] == pytest.approx(brier_score_loss(y, p[:, 1]))


def test_an_ensemble_averages_uncalibrated_probabilities() -> None:
    bench = wb.Workbench(wb.Task.from_arrays(X, LABELS))
    bench.run(QUICK, seeds=2)
    before = bench.ensemble(trials=[1, 2])
    wanted = before.predict_proba(X)
    bench.calibrate(1, "isotonic")
    bench.threshold(2, "f1")
    assert np.array_equal(bench.ensemble(trials=[1, 2]).predict_proba(X), wanted)
    assert np.array_equal(bench.load_ensemble(1).predict(X), before.predict(X))


def test_the_module_itself_is_left_alone(rare: wb.Workbench) -> None:
    rare.calibrate(1, None)
    x = rare.task.validation.x
    before = rare.model(1)(x)
    rare.calibrate(1, "isotonic")
    rare.threshold(1)
    model = rare.model(1)
    assert torch.equal(model(x), before)
    assert torch.equal(model.outputs(x), before.detach())
    assert json.loads(model.decision.to_json())["threshold"]["label"] == "yes"


def test_a_class_without_a_validation_row_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = wb.Workbench(wb.Task.from_arrays(X, LABELS))
    bench.run(QUICK)
    rows = bench.task.validation
    left = rows.y == 0
    monkeypatch.setattr(bench.task, "validation", rows.part(left))
    for call in (bench.threshold, bench.calibrate):
        with pytest.raises(wb.TaskError, match="have no row of class 'yes'"):
            call(1)
    assert not bench.log.findings("decision")


# --- weights of rows ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weighted() -> wb.Workbench:
    weights = np.random.default_rng(1).integers(0, 4, ROWS).astype(float)
    bench = wb.Workbench(wb.Task.from_arrays(X, LABELS, weights=weights))
    bench.run(QUICK)
    return bench


@pytest.mark.parametrize("by", list(SCORES))
def test_of_weighted_rows_no_other_threshold_is_better(weighted: wb.Workbench, by: str) -> None:
    weighted.calibrate(1, None)
    p, y = validation(weighted)
    rows = weighted.task.validation.weight.numpy().astype(int)  # type: ignore[union-attr]
    score = {options.get("by"): score for options, score in BY}[by]

    def at(threshold: float) -> float:
        """The score of rows that stand there as often as they weigh."""
        return float(score(y.repeat(rows), (p[:, 1] >= threshold).astype(int).repeat(rows)))

    found = weighted.threshold(1, by=by)
    assert found is not None
    assert found.after == pytest.approx(at(found.threshold), abs=1e-12)
    assert found.before == pytest.approx(at(0.5), abs=1e-12)
    assert found.after == pytest.approx(max(at(threshold) for threshold in [*np.unique(p[:, 1]), 1.1]), abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_calibration_takes_a_row_of_weight_two_for_two_rows(weighted: wb.Workbench, method: str) -> None:
    weighted.threshold(1, by=None)
    p, y = validation(weighted)
    rows = weighted.task.validation.weight.numpy().astype(int)  # type: ignore[union-attr]
    found = weighted.calibrate(1, method)
    assert found is not None
    repeated = fitted(p.repeat(rows, 0), y.repeat(rows), method).probabilities(p)
    kept = rows > 0
    assert found.calibration.probabilities(p)[kept] == pytest.approx(repeated[kept], abs=1e-5)
    after = found.calibration.probabilities(p)
    expected = log_loss(y.repeat(rows), after.repeat(rows, 0), labels=[0, 1])
    assert found.table.loc["after", "log_loss"] == pytest.approx(expected, rel=1e-9)
    right = (after.argmax(1) == y).astype(float)
    sure = after.max(1)
    places = np.minimum(np.ceil(sure * 10).astype(int) - 1, 9)
    gaps = [abs(np.sum((right - sure)[places == place] * rows[places == place])) for place in range(10)]
    assert found.table.loc["after", "ece"] == pytest.approx(sum(gaps) / rows.sum(), abs=1e-9)
