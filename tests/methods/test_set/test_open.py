"""The sealed test set: opened once, on record, with a true interval; a second look is told wherever its score is shown."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_iris

import workbench as wb
import workbench.methods.test_set.open
from workbench.log.openings import KIND, openings
from workbench.methods.comparison.tab import _board
from workbench.methods.test_set.figure import opened_scores
from workbench.metrics.evaluation import evaluate_metric
from workbench.metrics.intervals import score_interval
from workbench.tasks.test_split import open_seal

QUICK = wb.Config(hidden_layers=1, hidden_units=8, epochs=3, batch_size=16, learning_rate=0.01)


def make(log: Any = None, **options: Any) -> wb.Workbench:
    return wb.Workbench(wb.Task.load("iris", **options), log)


@pytest.fixture(scope="module")
def once() -> tuple[wb.Workbench, Any]:
    bench = make()
    bench.run(QUICK, seeds=2)
    return bench, bench.open_test_set(1)


def test_the_score_is_that_of_the_best_weights_on_the_test_rows(once: tuple[wb.Workbench, Any]) -> None:
    bench, result = once
    test = open_seal(bench.task)
    with torch.no_grad():
        right = int((bench.model(1).module(test.x).argmax(1) == test.y).sum())
    assert result.score == pytest.approx(right / len(test))
    exact = stats.binomtest(right, len(test)).proportion_ci(0.95, "exact")
    assert (result.low, result.high) == pytest.approx((exact.low, exact.high))
    assert result.rows == len(test) == 30
    assert result.method.startswith("exact")
    curve = bench.curves(1)
    best = curve.loc[curve["val_loss"].idxmin(), "val_metric"]
    assert (result.validation, result.optimism) == pytest.approx((best, best - result.score))
    assert (result.looked, result.number, result.stamp) == (2, 1, "opened once")
    assert "@" in result.who


def test_the_baseline_beside_the_score_is_by_the_same_metric() -> None:
    bench = wb.Workbench(wb.Task.load("diabetes", metrics="rmse"))
    bench.run(QUICK)
    result = bench.open_test_set(1)
    deviation = bench.task.train.target.std(correction=0).item()
    assert result.baseline == pytest.approx(
        bench.task.baseline.loss**0.5 * deviation, rel=1e-5
    )  # not an R², which is about 0
    assert bench.openings["baseline"].tolist() == [result.baseline]


@pytest.mark.parametrize(
    ("name", "then", "now"),
    [("iris", "accuracy", "log_loss"), ("iris", "log_loss", "f1"), ("diabetes", "r2", "mae")],
)
def test_under_another_headline_metric_both_scores_are_by_that_one(
    tmp_path: Path, name: str, then: str, now: str
) -> None:
    first = wb.Workbench(wb.Task.load(name, metrics=(then, now)), tmp_path / "t.db")
    first.run(QUICK, seeds=3)
    made = first.ensemble(trials=[2, 3])
    bench = wb.Workbench(wb.Task.load(name, metrics=now), tmp_path / "t.db")
    result = bench.open_test_set(1)
    wanted = first.trials[f"val_{now}"].iloc[0]
    worse = -1 if now == "f1" else 1
    assert (result.metric, result.validation) == (now, pytest.approx(wanted, rel=1e-5))
    assert result.optimism == pytest.approx(worse * (result.score - wanted), abs=1e-6)
    together = bench.open_test_set(made, again=True)
    rows = bench.task.validation
    assert together.validation == pytest.approx(evaluate_metric(now, made.predictions(rows.x), rows.target))


def test_it_is_told_in_every_table(once: tuple[wb.Workbench, Any]) -> None:
    bench, result = once
    frame = bench.trials.set_index("trial")
    assert frame.loc[1, "test_metric"] == result.score
    assert list(frame["test_set"]) == ["opened once", ""]
    assert np.isnan(frame.loc[2, "test_metric"])
    assert bench.openings[["trial", "score", "stamp"]].values.tolist() == [[1, result.score, "opened once"]]
    assert "opened once" in result._repr_html_()
    assert b"PNG" in result.figure()._repr_png_()[:8]


def test_a_second_opening_needs_again_and_is_stamped() -> None:
    bench = make()
    bench.run(QUICK, seeds=2)
    first = bench.open_test_set(1)
    with pytest.raises(wb.SealError, match=r"opened before: trial 1 on .* by .*@.*again=True.*reused \(2\)"):
        bench.open_test_set(2)
    assert len(bench.openings) == 1
    second, third = bench.open_test_set(2, again=True), bench.open_test_set(1, again=True)
    assert [second.stamp, third.stamp] == ["reused (2)", "reused (3)"]
    assert (third.score, third.seen) == (first.score, 30)
    assert "too good" in repr(third)
    assert list(bench.trials["test_set"]) == ["reused (3)", "reused (2)"]
    labels = [text.get_text() for text in third.figure().axes[0].get_yticklabels()]
    assert labels == ["trial 1\nreused (3)"]


def test_a_new_kernel_does_not_reset_it(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    bench = make(path)
    bench.run(QUICK)
    bench.open_test_set(1)
    again = make(path)
    assert again._session is not bench._session
    with pytest.raises(wb.SealError):
        again.open_test_set(1)
    other = make(tmp_path / "other.db")  # a log of its own, where nothing has been opened yet
    other.run(QUICK)
    assert other.open_test_set(1).number == 1
    with pytest.raises(wb.SealError):
        make(path).open_test_set(1)


@pytest.mark.parametrize("change", [{"standardize": False}, {"clip": 2.0}, {"metrics": "accuracy", "name": "mine"}])
def test_another_preprocessing_does_not_reset_it(tmp_path: Path, change: dict[str, Any]) -> None:
    bench = make(tmp_path / "trials.db")
    bench.run(QUICK)
    bench.open_test_set(1)
    other = make(tmp_path / "trials.db", **change)
    run = other.run(QUICK)
    with pytest.raises(wb.SealError, match="30 of these 30 rows were seen"):
        other.open_test_set(run.trials[0])
    assert other.openings["what"].tolist() == ["trial 1"]


def test_another_division_counts_the_rows_that_were_seen(tmp_path: Path) -> None:
    bench = make(tmp_path / "trials.db")
    bench.run(QUICK)
    bench.open_test_set(1)
    before = open_seal(wb.Task.load("iris", standardize=False))
    other = make(tmp_path / "trials.db", seed=1)
    after = open_seal(wb.Task.load("iris", standardize=False, seed=1))
    known = {(*x.tolist(), int(y)) for x, y in zip(before.x, before.y, strict=True)}
    seen = sum((*x.tolist(), int(y)) in known for x, y in zip(after.x, after.y, strict=True))
    run = other.run(QUICK)
    with pytest.raises(wb.SealError, match=f"{seen} of these 30 rows"):
        other.open_test_set(run.trials[0])
    assert 0 < seen < 30
    result = other.open_test_set(run.trials[0], again=True)
    assert (result.seen, result.number) == (seen, 2)


# --- rows that nobody has looked at -------------------------------------------------------------------------------------


def test_of_a_new_version_the_unseen_rows_can_be_opened(tmp_path: Path) -> None:
    data = load_iris(as_frame=True).frame.drop_duplicates().sample(frac=1, random_state=0)
    bench = wb.Workbench(wb.Task.from_frame(data[:90], "target"), tmp_path / "trials.db")
    bench.run(QUICK)
    before = bench.open_test_set(1)
    made = bench.continue_on(data, top=1, blocking=True)
    newer, trial = made.bench, made.table["reruns"][0][0]
    seen = np.isin(made.task.row_keys["test"], bench.task.row_keys["test"])
    assert (int(seen.sum()), before.rows) == (18, 18)
    fresh = int((~seen).sum())
    with pytest.raises(
        wb.SealError,
        match=f"18 of these {len(seen)} rows were seen.*only_unseen=True evaluates on the {fresh} unseen rows",
    ):
        newer.open_test_set(trial)
    result = newer.open_test_set(trial, only_unseen=True)
    test = open_seal(made.task)
    with torch.no_grad():
        right = newer.model(trial).module(test.x).argmax(1) == test.y
    assert result.score == pytest.approx(right.numpy()[~seen].mean())
    assert (result.rows, result.split_rows, result.seen, result.stamp) == (fresh, len(seen), 0, "opened once")
    assert f"{fresh} of the split's {len(seen)} rows, those that were never evaluated before" in repr(result)
    assert newer.openings[["rows", "split_rows", "stamp"]].values.tolist() == [
        [18, 18, "opened once"],
        [fresh, len(seen), "opened once"],
    ]
    kept = openings(newer.log.findings(KIND))[-1].keys
    assert sorted(kept) == sorted(made.task.row_keys["test"][~seen])
    # now all have been seen
    with pytest.raises(wb.SealError, match="none of them is unseen"):
        newer.open_test_set(trial, only_unseen=True)
    with pytest.raises(wb.SealError) as caught:
        newer.open_test_set(trial)
    assert "only_unseen" not in str(caught.value)
    assert len(newer.openings) == 2
    last = newer.open_test_set(trial, again=True)
    assert (last.rows, last.seen, last.stamp) == (len(seen), len(seen), "reused (3)")


def test_unseen_rows_of_a_test_set_that_is_sealed_are_all_of_them() -> None:
    bench = make()
    bench.run(QUICK)
    result = bench.open_test_set(1, only_unseen=True)
    assert (result.rows, result.split_rows) == (30, 30)
    assert "nobody" not in repr(result)


def test_of_two_who_take_the_unseen_rows_at_once_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = make()
    bench.run(QUICK)
    judge, others = workbench.methods.test_set.open.score_interval, []

    def meanwhile(*given: Any) -> Any:
        monkeypatch.setattr(workbench.methods.test_set.open, "score_interval", judge)
        others.append(bench.open_test_set(1))
        return judge(*given)

    monkeypatch.setattr(workbench.methods.test_set.open, "score_interval", meanwhile)
    with pytest.raises(wb.SealError, match="30 of these 30 rows were seen"):
        bench.open_test_set(1, only_unseen=True)
    assert bench.openings["stamp"].tolist() == ["opened once"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"again": "no"}, "again='no': must be True or False"),
        ({"again": 1}, "again=1: must be True or False"),
        ({"only_unseen": None}, "only_unseen=None: must be True or False"),
        ({"again": True, "only_unseen": True}, "exclude each other"),
    ],
)
def test_what_is_neither_yes_nor_no_opens_nothing(
    once: tuple[wb.Workbench, Any], options: dict[str, Any], message: str
) -> None:
    bench, _ = once
    before = len(bench.openings)
    with pytest.raises(wb.ConfigError, match=message):
        bench.open_test_set(2, **options)
    with pytest.raises(wb.ConfigError, match=message):
        bench.open_test_set("best", **options)  # type: ignore[arg-type]
    assert len(bench.openings) == before


def test_an_opening_from_before_rows_could_be_left_out_is_read(once: tuple[wb.Workbench, Any]) -> None:
    bench, result = once
    data = dict(bench.log.findings(KIND)[0].data)
    assert data.pop("split_rows") == 30
    other = make()
    other.log.add_finding(KIND, data, task_fingerprint=other.task.fingerprint)
    assert other.openings[["rows", "split_rows", "score"]].values.tolist() == [[30, 30, result.score]]


def test_other_data_have_a_seal_of_their_own(tmp_path: Path) -> None:
    for name, number in (("iris", 1), ("wine", 1)):
        bench = wb.Workbench(wb.Task.load(name), tmp_path / "trials.db")
        run = bench.run(QUICK)
        assert bench.open_test_set(run.trials[0]).number == number


def test_of_two_who_open_at_once_one_is_refused(tmp_path: Path) -> None:
    benches = [make(tmp_path / "trials.db")]
    benches[0].run(QUICK)
    benches.append(make(tmp_path / "trials.db"))
    start, told = threading.Barrier(2), []

    def race(bench: wb.Workbench) -> None:
        start.wait()
        try:
            told.append(bench.open_test_set(1).stamp)
        except wb.SealError:
            told.append("refused")

    threads = [threading.Thread(target=race, args=[bench]) for bench in benches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["opened once", "refused"]


def test_deleting_the_trial_does_not_reset_it() -> None:
    bench = make()
    bench.run(QUICK, seeds=2)
    bench.open_test_set(1)
    bench.delete(1)
    bench.empty_trash()
    with pytest.raises(wb.SealError):
        bench.open_test_set(2)


def test_what_cannot_be_opened_changes_nothing() -> None:
    bench = wb.Workbench(wb.Task.load("iris", split=(0.8, 0.2, 0)))
    bench.run(QUICK)
    with pytest.raises(wb.TaskError, match="no test split"):
        bench.open_test_set(1)
    sealed = make()
    run = sealed.start(QUICK.replace(epochs=10_000))
    try:
        with pytest.raises(wb.RunError, match=r"trial 1 is (queued|running); wait for its end"):
            sealed.open_test_set(1)
    finally:
        run.stop()
        run.wait()
    with pytest.raises(wb.LogError, match="trial 9 is not in the log"):
        sealed.open_test_set(9)
    with pytest.raises(wb.RunError, match="must be a whole number"):
        sealed.open_test_set("best")  # type: ignore[arg-type]
    lost = sealed.run(QUICK.replace(loss="mse", optimizer="sgd", momentum=0.0, learning_rate=10.0, l2=1.0))
    assert lost.states == {2: "diverged"}
    assert sealed.trials["epochs_run"].iloc[-1] == 0
    with pytest.raises(wb.RunError, match="trial 2"):
        sealed.open_test_set(2)
    assert bench.openings.empty
    assert sealed.openings.empty


# --- the interval -----------------------------------------------------------------------------------------------------


def test_the_bootstrap_is_scipys() -> None:
    generator = torch.Generator().manual_seed(3)
    targets = torch.randn(80, 1, generator=generator)
    outputs = targets + 0.5 * torch.randn(80, 1, generator=generator)
    found = score_interval("rmse", outputs, targets)

    def rmse(errors: Any, axis: int) -> Any:
        return np.sqrt(np.mean(errors**2, axis=axis))

    errors = (targets - outputs).double().numpy().ravel()
    theirs = stats.bootstrap((errors,), rmse, n_resamples=9999, method="percentile", random_state=0)
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)
    assert found == score_interval("rmse", outputs, targets)


@pytest.mark.parametrize("metric", ["accuracy", "r2"])
def test_the_interval_covers_the_truth_nineteen_times_in_twenty(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over 200 samples of 60 rows: a true interval misses in 10 of them; more than 22 would happen once in 2,500."""
    monkeypatch.setattr("workbench.metrics.intervals.RESAMPLES", 400)  # their number is not what is tested
    random = np.random.default_rng(1)
    missed = 0
    for _ in range(200):
        if metric == "accuracy":
            truth = 0.8
            targets = torch.zeros(60, dtype=torch.long)
            right = torch.from_numpy(random.random(60) < truth)
            outputs = torch.stack([right.float(), 1 - right.float()], 1)
        else:
            truth = 0.5
            signal = random.normal(size=(60, 1))
            outputs = torch.from_numpy(signal)
            targets = torch.from_numpy(signal + random.normal(size=(60, 1)))
        found = score_interval(metric, outputs, targets)
        missed += not found.low <= truth <= found.high
    assert missed <= 22


def test_rows_of_a_frame_are_known_again_in_another_order_of_columns(tmp_path: Path) -> None:
    data = load_iris(as_frame=True).frame
    bench = wb.Workbench(wb.Task.from_frame(data, "target"), tmp_path / "trials.db")
    bench.run(QUICK)
    bench.open_test_set(1)
    turned = wb.Workbench(wb.Task.from_frame(data[data.columns[::-1]], "target"), tmp_path / "trials.db")
    assert isinstance(turned.openings, pd.DataFrame)
    run = turned.run(QUICK)
    with pytest.raises(wb.SealError):
        turned.open_test_set(run.trials[0])


# --- told rightly ------------------------------------------------------------------------------------------------------


def test_the_opening_that_is_named_is_one_of_these_rows(tmp_path: Path) -> None:
    bench = make(tmp_path / "trials.db")
    bench.run(QUICK)
    bench.open_test_set(1)
    other = wb.Workbench(wb.Task.load("wine"), tmp_path / "trials.db")
    run = other.run(QUICK)
    other.open_test_set(run.trials[0])
    with pytest.raises(wb.SealError, match="'iris' was opened before: trial 1 on"):
        bench.open_test_set(1)


def test_trials_removed_for_good_have_looked_all_the_same() -> None:
    bench = make()
    bench.run(QUICK, seeds=3)
    bench.delete(1, 2)
    bench.empty_trash()
    assert bench.open_test_set(3).looked == 3


def test_the_leaderboard_and_the_ensembles_tell_it_too() -> None:
    bench = make()
    bench.run(QUICK, seeds=2)
    bench.run(QUICK.replace(hidden_units=4))
    assert "test_set" not in bench.leaderboard()
    second = bench.open_test_set(2)
    board = bench.leaderboard().set_index("trial")
    assert board["test_set"].to_dict() == {1: "opened once", 3: ""}
    assert board.loc[1, "test_metric"] == second.score
    together = bench.ensemble(trials=[1, 3])
    assert bench.ensembles["test_set"].tolist() == [""]
    score = bench.open_test_set(together, again=True).score
    board = bench.leaderboard()
    row = board[board["ensemble"] == together.number].iloc[0]
    assert (row["test_metric"], row["test_set"]) == (score, "reused (2)")
    assert bench.ensembles[["test_metric", "test_set"]].values.tolist() == [[score, "reused (2)"]]
    assert f"<td>{score:.4f}, reused (2)</td>" in _board(board, "accuracy")


def test_a_score_that_is_no_number_can_be_drawn() -> None:
    row = {
        "what": "trial 1",
        "stamp": "opened once",
        "score": np.nan,
        "low": np.nan,
        "high": np.nan,
        "validation": -np.inf,
    }
    figure = opened_scores(pd.DataFrame([{**row, "baseline": 0.0, "looked": 1, "rows": 1}]))
    assert figure._repr_png_().startswith(b"\x89PNG")
