"""Ensembles out of a log: what they answer, what the log keeps, the file, and another kernel."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_diabetes, load_digits
from torch import nn

import workbench as wb
from workbench.core.registry import MODELS
from workbench.methods.comparison.reads import Reads
from workbench.methods.comparison.tab import _board
from workbench.methods.ensembles.build import IN_MEMORY
from workbench.methods.ensembles.selection import Scorer
from workbench.metrics.evaluation import evaluate_metric
from workbench.runs.session import Session

ROOT = Path(__file__).resolve().parents[3]
MLP = wb.Config(hidden_layers=1, hidden_units=8, epochs=3, learning_rate=0.01)
CNN = wb.Config(model="cnn", channels=4, blocks=1, epochs=2)


def own(task: Any, *, width: int = wb.IntRange(2, 64, default=6)) -> nn.Module:  # type: ignore[assignment]
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Tanh(), nn.Linear(width, task.output_size))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ensembles") / "log.db"


@pytest.fixture(scope="module")
def trained(place: Path) -> Iterator[wb.Workbench]:
    """Digits: trials 1 to 6 are MLPs, 7 and 8 further seeds of the best of them, 9 a CNN, 10 a model of the user's own, 11
    diverged, 12 was stopped."""
    bench = wb.Workbench(wb.Task.load("digits"), log=place, models={"plain": own})
    space = {"learning_rate": [0.002, 0.01, 0.05], "hidden_units": [8, 16]}
    bench.search("grid", space, MLP, blocking=True)
    bench.add_seeds(top=1, seeds=2).wait()
    bench.run(CNN)
    bench.run(wb.Config(model="plain", width=12, epochs=3, learning_rate=0.01))
    bench.run(MLP.replace(optimizer="sgd", learning_rate=10.0, l2=1.0))
    bench.run(MLP, stop_after=60)
    assert bench.trials["state"].tolist() == ["completed"] * 10 + ["diverged", "stopped"]
    yield bench
    MODELS.unregister("plain")


@pytest.fixture
def bench(trained: wb.Workbench) -> Iterator[wb.Workbench]:
    """For those who enter nothing, or must not."""
    before = trained.ensembles["ensemble"].tolist()
    yield trained
    assert trained.ensembles["ensemble"].tolist() == before


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    images: np.ndarray = load_digits().data.reshape(-1, 1, 8, 8)[::7]
    return images


@pytest.fixture(scope="module")
def mixed(trained: wb.Workbench) -> wb.Ensemble:
    """Three architectures, the second with two votes."""
    return trained.ensemble(trials=[3, 9, 10, np.int64(9)], name="mixed", note="by hand")


@pytest.fixture(scope="module")
def best(trained: wb.Workbench) -> wb.Ensemble:
    return trained.ensemble(top=3)


@pytest.fixture(scope="module")
def chosen(trained: wb.Workbench) -> wb.Ensemble:
    return trained.ensemble(select="greedy", size=8)


# --- answers ------------------------------------------------------------------------------------------------------------


def test_a_soft_vote_is_the_mean_of_the_members_probabilities(
    bench: wb.Workbench, mixed: wb.Ensemble, rows: np.ndarray
) -> None:
    assert [(m.trial, m.votes, m.model) for m in mixed.members] == [(9, 2, "cnn"), (3, 1, "mlp"), (10, 1, "plain")]
    assert [m.weight for m in mixed.members] == [0.5, 0.25, 0.25]
    wanted = np.average([bench.model(trial).predict_proba(rows) for trial in (9, 3, 10)], axis=0, weights=[2, 1, 1])
    found = mixed.predict_proba(rows)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert found.dtype == np.float64
    assert mixed.predict(rows).tolist() == np.array(mixed.schema.labels)[wanted.argmax(1)].tolist()
    assert len({tuple(bench.model(trial).predict(rows)) for trial in (9, 3, 10)}) == 3  # they do differ
    x = mixed.preprocess(rows)
    np.testing.assert_allclose(mixed.predictions(x).numpy(), wanted, rtol=1e-12)
    np.testing.assert_allclose(mixed(x).detach().numpy(), wanted, rtol=1e-5)


def test_scores_are_those_of_the_outputs_on_the_validation_rows(mixed: wb.Ensemble, bench: wb.Workbench) -> None:
    split = bench.task.validation
    outputs = mixed.predictions(split.x)
    assert mixed.val_metric == pytest.approx(float((outputs.argmax(1) == split.y).double().mean()))
    assert mixed.val_loss == pytest.approx(float(F.nll_loss(outputs.log(), split.y)))
    assert evaluate_metric("accuracy", outputs, split.y) == pytest.approx(mixed.val_metric)
    table = bench.trials.set_index("trial")
    for member in mixed.members:
        assert member.epoch == table.loc[member.trial, "best_epoch"]
        assert member.score == pytest.approx(table.loc[member.trial, "best_val_metric"], abs=1.5 / len(split))
        assert member.low is not None
        assert member.low < member.score < member.high


def test_a_probability_of_nothing_has_a_logarithm(best: wb.Ensemble, rows: np.ndarray) -> None:
    sure = copy.deepcopy(best)
    with torch.no_grad():
        for parameter in sure.parameters():
            parameter.mul_(1e4)
    shares = sure.predictions(sure.preprocess(rows))
    assert shares.min() == 0
    scorer = Scorer(shares.argmin(1).numpy(), "log_loss")
    scores, losses = scorer(shares.numpy()[None], np.ones((1, len(rows))))
    assert np.isfinite([scores, losses]).all()


def test_predicting_leaves_the_training_flags_alone(mixed: wb.Ensemble, rows: np.ndarray) -> None:
    wanted = mixed.predict_proba(rows)
    mixed.train()
    np.testing.assert_array_equal(mixed.predict_proba(rows), wanted)
    assert all(part.training for part in mixed.modules())
    mixed.eval()
    with pytest.raises(wb.TaskError, match=r"rows have the shape \(64,\)"):
        mixed.predict(rows.reshape(-1, 64))


def split_deviation(task: wb.Task) -> float:
    return float(task.train.target.std(correction=0))


def test_numbers_are_averaged_in_the_targets_units() -> None:
    X, y = load_diabetes(return_X_y=True)
    bench = wb.Workbench(wb.Task.load("diabetes", metrics="rmse"))
    bench.search("grid", {"learning_rate": [0.003, 0.01, 0.03]}, MLP.replace(epochs=5), blocking=True)
    ensemble = bench.ensemble(top=2)
    trials = [m.trial for m in ensemble.members]
    assert len(trials) == 2
    wanted = np.mean([bench.model(trial).predict(X) for trial in trials], axis=0)
    np.testing.assert_allclose(ensemble.predict(X), wanted, rtol=1e-6)
    assert 20 < wanted.std() < y.std()
    split = bench.task.validation
    outputs = ensemble.predictions(split.x)
    assert ensemble.val_metric == pytest.approx(float((outputs - split.target).square().mean().sqrt()))
    assert ensemble.val_loss == pytest.approx((ensemble.val_metric / split_deviation(bench.task)) ** 2)
    assert ensemble.optimism == pytest.approx(ensemble.corrected - ensemble.val_metric)  # lower is better
    board = bench.leaderboard()
    assert board["mean"].is_monotonic_increasing
    with pytest.raises(wb.TaskError, match="'diabetes' is a regression task"):
        ensemble.predict_proba(X)


# --- who votes ----------------------------------------------------------------------------------------------------------


def test_by_default_the_best_trial_of_each_of_the_best_settings_votes(bench: wb.Workbench, best: wb.Ensemble) -> None:
    frame = bench.trials[bench.trials["state"] == "completed"]
    fields = frame[["model", "learning_rate", "hidden_units"]].astype(object)
    configuration = fields.where(fields.notna(), "").astype(str).agg(" ".join, axis=1)  # blank where a model reads none
    means = frame.groupby(configuration)["best_val_metric"].mean().sort_values(ascending=False)
    assert len(means) == 8
    ranked = frame.sort_values(["best_val_metric", "best_val_loss"], ascending=[False, True])
    wanted = [ranked[configuration.loc[ranked.index] == name]["trial"].iloc[0] for name in means.index[:3]]
    assert {m.trial for m in best.members} == set(wanted)
    assert {m.votes for m in best.members} == {1}
    assert best.facts.how == "the best 3 of 8 configurations, chosen from 10 candidates"
    assert best.facts.single == frame.loc[frame["best_val_metric"].idxmax(), "trial"]


def test_what_greedy_does_not_read_is_refused(trained: wb.Workbench) -> None:
    with pytest.raises(wb.ConfigError, match="top=3: select='greedy' does not read it; size="):
        trained.ensemble(top=3, select="greedy")


def test_the_same_once_more_is_the_same_ensemble(tmp_path: Path) -> None:
    bench = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db")
    for rate in (0.01, 0.03):
        bench.run(wb.Config(epochs=5, learning_rate=rate), seeds=2)
    first, named = bench.ensemble(top=2), bench.ensemble(top=2, name="another")
    assert bench.ensemble(top=2).number == first.number
    assert named.number == first.number + 1
    assert len(bench.ensembles) == 2
    again = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db")  # from the checkpoints
    assert again.ensemble(top=2).number == first.number
    bench.run(wb.Config(epochs=5, learning_rate=0.02), seeds=2)  # another candidate: the choice was another one
    assert bench.ensemble(top=2).number == named.number + 1


def test_without_a_member_it_leaves_the_leaderboard_for_good(tmp_path: Path) -> None:
    bench = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db")
    for rate in (0.01, 0.03):
        bench.run(wb.Config(epochs=5, learning_rate=rate))
    made = bench.ensemble(trials=[1, 2])
    assert made.number in set(bench.leaderboard()["ensemble"])
    bench.delete(2)
    assert "ensemble" not in bench.leaderboard()
    with pytest.raises(wb.RunError, match="trial 2 is in the trash"):
        bench.load_ensemble(made.number)
    bench.empty_trash()
    assert "ensemble" not in bench.leaderboard()
    assert list(bench.ensembles["complete"]) == [False]
    with pytest.raises(wb.RunError, match=r"ensemble 1 cannot be rebuilt: .*trial 2 is not in the log"):
        bench.load_ensemble(made.number)


def test_one_that_votes_alone_is_said_to(tmp_path: Path) -> None:
    bench = wb.Workbench(wb.Task.load("iris"), log=None)
    bench.run(wb.Config(epochs=5), seeds=2)
    said = bench.ensemble(top=5).description
    assert any("votes: it predicts exactly like that trial" in line for line in said), said


def test_greedy_does_not_lose_to_the_best_single_trial_on_its_rows_and_states_its_optimism(chosen: wb.Ensemble) -> None:
    facts = chosen.facts
    assert facts.single_score is not None
    assert chosen.val_metric >= facts.single_score - 1e-9
    assert sum(m.votes for m in chosen.members) <= 8
    assert chosen.facts.candidates == 10
    assert chosen.optimism == pytest.approx(chosen.val_metric - chosen.corrected)
    assert chosen.optimism > 0
    low, high = chosen.interval
    assert low < chosen.corrected < high
    assert facts.gain_low < facts.gain < facts.gain_high  # type: ignore[operator]
    assert f"expect {chosen.corrected:.4g} on new rows" in " ".join(chosen.description)


def test_greedy_among_given_trials_and_few_candidates(trained: wb.Workbench) -> None:
    among = trained.ensemble(trials=[9, 10, 12], select="greedy", size=5)
    assert {m.trial for m in among.members} <= {9, 10, 12}
    assert np.isfinite(among.corrected)
    scores = trained.trials[trained.trials["state"] == "completed"].sort_values("best_val_metric", ascending=False)
    few = trained.ensemble(select="greedy", candidates=2, size=4)
    assert few.facts.candidates == 2
    assert {m.trial for m in few.members} <= set(scores["trial"].head(2))


def test_a_choice_by_hand_is_not_corrected(mixed: wb.Ensemble) -> None:
    assert np.isnan([mixed.optimism, mixed.corrected]).all()
    low, high = mixed.interval
    assert low < mixed.val_metric < high
    assert "what that choice owes to these rows is not known" in " ".join(mixed.description)


def test_models_too_large_to_be_all_at_hand_are_recalled(
    trained: wb.Workbench, best: wb.Ensemble, monkeypatch: pytest.MonkeyPatch, rows: np.ndarray
) -> None:
    assert IN_MEMORY > 1e9
    monkeypatch.setattr("workbench.methods.ensembles.build.IN_MEMORY", 0)
    again = trained.ensemble(top=3)
    np.testing.assert_array_equal(again.predict_proba(rows), best.predict_proba(rows))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"select": "greedi"}, wb.ConfigError, "select='greedi': unknown; did you mean 'greedy'"),
        ({"top": 0}, wb.ConfigError, "top=0: must be a whole number from 1"),
        ({"size": 2.5}, wb.ConfigError, "size=2.5: must be a whole number"),
        ({"candidates": 0}, wb.ConfigError, "candidates=0: must be"),
        ({"trials": []}, wb.ConfigError, r"trials=\[\]: must be the numbers of one trial or more"),
        ({"trials": 7}, wb.ConfigError, "trials=7: give a list of trial numbers"),
        ({"top": [1, 3]}, wb.ConfigError, r"name the trials that vote, ensemble\(trials=\[1, 3\]\)"),
        ({"trials": [1, 99]}, wb.LogError, "trial 99 is not in the log"),
        ({"trials": [1, "a"]}, wb.RunError, "trial='a': must be a whole number"),
        ({"trials": [1, 11]}, wb.RunError, "trial 11 diverged: it has no model to vote with"),
    ],
)
def test_what_cannot_be_is_told_and_not_logged(
    bench: wb.Workbench, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        bench.ensemble(**options)


@pytest.mark.parametrize("select", [None, "greedy"])
def test_a_metric_that_is_no_number_is_told_and_not_taken_for_want_of_trials(select: str | None) -> None:
    """R² of a single validation row: the trial ran to its end, and there is no score to choose by."""
    X = np.random.default_rng(0).normal(size=(40, 3))
    bench = wb.Workbench(wb.Task.from_arrays(X, X[:, :1], split=(0.95, 0.025, 0.025), name="few"))
    assert len(bench.task.validation) == 1
    bench.run(MLP.replace(batch_size=8), seeds=2)
    assert bench.trials["state"].tolist() == ["completed"] * 2
    assert np.isfinite(bench.trials["best_val_loss"]).all()
    says = r"2 trials on 'few' ran to the end, but R² is no finite number on the 1 validation row, .*\(split=\).*\(metrics=\)"
    with pytest.raises(wb.RunError, match=says):
        bench.ensemble(select=select)
    with pytest.raises(wb.RunError, match=says):
        bench.continue_on((np.concatenate([X, X + 1]), np.concatenate([X[:, :1], X[:, :1] + 1])))
    assert bench.log.findings() == []
    with pytest.raises(wb.RunError, match=says):
        bench.add_seeds()


def test_unfinished_trials_those_on_other_data_and_an_empty_log_are_told(bench: wb.Workbench, place: Path) -> None:
    with pytest.raises(wb.RunError, match="there is no trial that ran to its end"):
        wb.Workbench(wb.Task.load("iris")).ensemble()
    other = wb.Workbench(wb.Task.load("digits", seed=1), log=place)
    with pytest.raises(wb.RunError, match="trial 1 is of other data"):
        other.ensemble(trials=[1])
    with pytest.raises(wb.RunError, match="there is no trial that ran to its end"):
        other.ensemble()
    fresh = wb.Workbench(wb.Task.load("iris"))
    run = fresh.start(wb.Config(epochs=100_000))
    try:
        with pytest.raises(wb.RunError, match="trial 1 is (queued|running): a member has to be a finished trial"):
            fresh.ensemble(trials=[1])
    finally:
        run.stop()
        run.wait()
    fresh.run(wb.Config(epochs=3), stop_after=1)  # before its first epoch's end
    with pytest.raises(wb.RunError, match="trial 2 has no finished epoch"):
        fresh.ensemble(trials=[2])
    assert fresh.ensembles.empty


def test_trials_are_taken_out_of_any_iterable(trained: wb.Workbench) -> None:
    assert [member.trial for member in trained.ensemble(trials=(trial for trial in (2, 1))).members] == [2, 1]  # type: ignore[arg-type]
    with pytest.raises(wb.ConfigError, match="must be the numbers of one trial or more"):
        trained.ensemble(trials=iter(()))  # type: ignore[arg-type]


def test_a_trial_that_ends_meanwhile_is_no_candidate_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = wb.Workbench(wb.Task.load("iris"))
    bench.run(wb.Config(epochs=2))
    before = Reads.of(bench.presenter.session).leaderboard(None)
    bench.run(wb.Config(epochs=3))  # ends after the leaderboard was read
    monkeypatch.setattr(Reads, "leaderboard", lambda reads, top: before)
    assert [member.trial for member in bench.ensemble().members] == [1]


# --- the log ------------------------------------------------------------------------------------------------------------


def test_the_log_lists_ensembles_by_numbers_of_their_own(
    bench: wb.Workbench, mixed: wb.Ensemble, best: wb.Ensemble, chosen: wb.Ensemble
) -> None:
    table = bench.ensembles.set_index("ensemble")
    for ensemble in (mixed, best, chosen):
        row = table.loc[ensemble.number]
        assert row["trials"] == tuple(m.trial for m in ensemble.members)
        assert row["votes"] == tuple(m.votes for m in ensemble.members)
        np.testing.assert_array_equal(
            row[["score", "corrected", "optimism"]].to_numpy(float),
            [ensemble.val_metric, ensemble.corrected, ensemble.optimism],
        )
    assert table.index.tolist() == list(range(1, len(table) + 1))
    assert (table.loc[mixed.number, "name"], table.loc[mixed.number, "note"]) == ("mixed", "by hand")
    assert table["complete"].all()
    assert table["created"].dt.tz is not None


def test_the_leaderboard_ranks_ensembles_among_the_settings(
    bench: wb.Workbench, mixed: wb.Ensemble, best: wb.Ensemble, chosen: wb.Ensemble
) -> None:
    board = bench.leaderboard(top=None)
    assert board["rank"].tolist() == list(range(1, len(board) + 1))
    assert board["mean"].is_monotonic_decreasing
    ensembles = board[board["ensemble"].notna()].set_index("ensemble")
    for one in (mixed, best, chosen):
        row = ensembles.loc[one.number]
        assert row["mean"] == one.val_metric
        assert (row["low"], row["high"]) == one.interval
        assert pd.isna(row[["trial", "seeds", "p_value", "learning_rate"]]).all()
        np.testing.assert_equal(row["corrected"], one.corrected)
    settings = board[board["ensemble"].isna()]
    plain = Reads.of(bench.presenter.session).leaderboard(None)
    for name in ("trial", "seeds", "mean", "low", "high", "tied"):
        assert settings[name].tolist() == pytest.approx(plain[name].tolist(), nan_ok=True)
    assert settings["hidden_units"].dropna().isin([8, 16, 64]).all()
    assert str(board["hidden_units"].dtype) == "Int64"
    pd.testing.assert_frame_equal(
        bench.leaderboard(top=4)[["rank", "ensemble", "mean"]], board[["rank", "ensemble", "mean"]][:4]
    )
    shown = _board(board, "accuracy")
    assert f"ensemble {chosen.number}" in shown
    assert f"expect {chosen.corrected:.4f} on new rows" in shown
    assert "&lt;NA&gt;" not in shown
    assert ">nan<" not in shown
    assert shown.count(">best<") + shown.count(">best configuration<") == 1


def test_seeds_are_added_to_settings_only(tmp_path: Path) -> None:
    bench = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "log.db")
    bench.search("grid", {"learning_rate": [0.01, 0.03]}, MLP, blocking=True)
    bench.ensemble()
    run = bench.add_seeds(top=3, seeds=1).wait()
    assert len(run.trials) == 2
    bench.delete(1)
    assert bench.ensembles["complete"].tolist() == [False]
    assert "ensemble" not in bench.leaderboard()
    with pytest.raises(wb.RunError, match=r"trial 1 is in the trash; bring it back with bench.restore\(1\)"):
        bench.load_ensemble(1)
    with pytest.raises(wb.RunError, match="trial 1 is in the trash"):
        bench.ensemble(trials=[1])
    bench.restore()
    assert "ensemble" in bench.leaderboard()
    bench.delete(2, 3, 4)
    assert bench.ensemble().facts.how == "the best 1 of 1 configurations, chosen from 1 candidate"


def test_a_leaderboard_may_hold_nothing_but_ensembles() -> None:
    """A trial that was stopped may vote, and stands on no leaderboard by itself."""
    bench = wb.Workbench(wb.Task.load("iris"))
    bench.run(MLP, stop_after=8)
    assert bench.leaderboard().empty
    ensemble = bench.ensemble(trials=[1])
    board = bench.leaderboard()
    assert board[["rank", "ensemble", "mean", "tied"]].to_numpy().tolist() == [[1, 1, ensemble.val_metric, True]]
    assert "ensemble 1" in _board(board, "accuracy")


def test_what_members_vote_with_stays_among_the_checkpoints(bench: wb.Workbench, mixed: wb.Ensemble) -> None:
    stays, _ = bench.presenter.session.recall.needed()
    seats = bench.log.history.cohorts(*(m.trial for m in mixed.members))
    for member in mixed.members:
        series, after = seats[member.trial]
        assert after + member.epoch in stays[series]


CHILD = """
import sys
import numpy as np, torch
import workbench as wb
from torch import nn

def own(task, *, width=wb.IntRange(2, 64, default=6)):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Tanh(), nn.Linear(width, task.output_size))

rows = np.load("rows.npy")
if sys.argv[1] == "log":
    bench = wb.Workbench(wb.Task.load("digits"), log=sys.argv[2], models={"plain": own})
    found = bench.load_ensemble(int(sys.argv[3]))
else:
    found = wb.load_model(sys.argv[2], models={"plain": own})
    assert "workbench.log" not in sys.modules and "sqlalchemy" not in sys.modules
    assert "matplotlib" not in sys.modules
np.save("answers.npy", np.column_stack([found.predict_proba(rows), found.predictions(found.preprocess(rows)).numpy()]))
print(repr(found))
"""


@pytest.mark.parametrize("way", ["log", "file"])
def test_another_kernel_gives_the_same_answers_to_the_last_bit(
    way: str, bench: wb.Workbench, mixed: wb.Ensemble, place: Path, rows: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "rows.npy", rows)
    bench.checkpoints.flush()
    target = str(place) if way == "log" else str(bench.save(mixed, tmp_path / "mixed.pt"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    (tmp_path / "child.py").write_text(CHILD)  # the same builder has the same identity only where its source is at hand
    script = [sys.executable, "-W", "error", "child.py", way, target, str(mixed.number)]
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == repr(mixed)
    wanted = np.column_stack([mixed.predict_proba(rows), mixed.predictions(mixed.preprocess(rows)).numpy()])
    np.testing.assert_array_equal(np.load(tmp_path / "answers.npy"), wanted)


def test_numbers_that_the_log_does_not_have(bench: wb.Workbench, mixed: wb.Ensemble, place: Path) -> None:
    for number in (0, 99):
        with pytest.raises(wb.RunError, match=f"ensemble {number} is not in the log, it has .; see bench.ensembles"):
            bench.load_ensemble(number)
    with pytest.raises(wb.RunError, match="ensemble='x': must be a whole number"):
        bench.load_ensemble("x")  # type: ignore[arg-type]
    other = wb.Workbench(wb.Task.load("digits", seed=1), log=place)
    with pytest.raises(wb.RunError, match="ensemble 1 is of other data than 'digits'"):
        other.load_ensemble(1)
    assert other.ensembles.empty
    with pytest.raises(wb.RunError, match="it has none; make one with"):
        wb.Workbench(wb.Task.load("iris")).load_ensemble(1)


# --- the file -----------------------------------------------------------------------------------------------------------


def test_one_file_keeps_all_of_it(bench: wb.Workbench, mixed: wb.Ensemble, chosen: wb.Ensemble, tmp_path: Path) -> None:
    for ensemble in (mixed, chosen):
        place = bench.save(ensemble, tmp_path / "voters.pt")
        assert [path.name for path in tmp_path.iterdir()] == ["voters.pt"]
        assert torch.load(place, weights_only=True)["kind"] == "ensemble"
        again = wb.load_model(place)
        assert isinstance(again, wb.Ensemble)
        assert (again.members, again.facts, again.number) == (ensemble.members, ensemble.facts, ensemble.number)
        assert again._repr_html_() == ensemble._repr_html_()
    single = wb.load_model(bench.save(3, tmp_path / "one.pt"))
    assert isinstance(single, wb.TrainedModel)


def test_what_a_file_lacks_here_is_reported_as_for_models(
    bench: wb.Workbench, mixed: wb.Ensemble, tmp_path: Path, new_kernel: Callable[[], None]
) -> None:
    place = bench.save(mixed, tmp_path / "mixed.pt")
    entry = MODELS["plain"]

    def wider(task: Any, *, width: int = wb.IntRange(2, 64)) -> nn.Module:  # type: ignore[assignment]
        return own(task, width=width + 1)

    MODELS.unregister("plain")
    new_kernel()
    try:
        with pytest.raises(wb.CheckpointError, match="trained with a model of your own, 'plain'; give its builder"):
            wb.load_model(place)
        with pytest.raises(wb.CheckpointError, match="mixed.pt: model 'plain' builds a parameter '1.weight' of shape"):
            wb.load_model(place, models={"plain": wider})
    finally:
        wb.register_model("plain", entry.value)
    with pytest.raises(wb.CheckpointError, match="there is no folder"):
        bench.save(mixed, tmp_path / "nowhere" / "mixed.pt")
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    place.write_bytes(data)
    with pytest.raises(wb.CheckpointError, match="is damaged"):
        wb.load_model(place)


# --- how it looks -------------------------------------------------------------------------------------------------------


def test_it_tells_what_it_is(bench: wb.Workbench, mixed: wb.Ensemble, best: wb.Ensemble) -> None:
    assert repr(mixed).startswith(f"<Ensemble {mixed.number} of 3 trials (9 x2, 3, 10) on 'digits': Accuracy 0.")
    assert best.table["who"].tolist() == [f"trial {m.trial}" for m in best.members] + [
        f"ensemble {best.number}",
        f"ensemble {best.number}, corrected",
    ]
    assert mixed.table["who"].tolist()[-1] == f"ensemble {mixed.number}"
    assert mixed.table["low"].notna().all()
    shown = best._repr_html_()
    assert f"{best.corrected:.4f}" in shown
    named = wb.Ensemble(list(best._models), best.members, best.facts.__class__(**{**vars(best.facts), "name": "<b>"}))
    assert "&lt;b&gt;" in named._repr_html_()
    assert named.number is None
    assert repr(named).startswith("<Ensemble of 3 trials")


def test_the_figure_shows_each_score_with_its_interval(best: wb.Ensemble, mixed: wb.Ensemble) -> None:
    for ensemble in (best, mixed):
        (axes,) = ensemble.figure().axes
        table = ensemble.table[::-1]
        points = [container.lines[0].get_xydata()[0] for container in axes.containers]
        np.testing.assert_allclose([point[0] for point in points], table["score"])
        bars = [container.lines[2][0].get_segments()[0][:, 0] for container in axes.containers if container.lines[2]]
        known = table[table["low"].notna()]
        np.testing.assert_allclose(np.array(bars), known[["low", "high"]], atol=1e-12)
        assert ensemble.figure()._repr_png_()[:4] == b"\x89PNG"


def test_members_are_found_where_no_run_is_at_hand(trained: wb.Workbench, best: wb.Ensemble, rows: np.ndarray) -> None:
    """As in a new kernel: a session that has trained nothing reads them out of the checkpoints."""
    trained.checkpoints.flush()
    session = Session(trained.task, trained.log, trained.checkpoints.folder.parent)
    fresh = wb.Workbench._of(session, "cpu")
    again = fresh.load_ensemble(best.number or 0)
    np.testing.assert_array_equal(again.predict_proba(rows), best.predict_proba(rows))
