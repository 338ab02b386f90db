"""Leaderboard against scipy and planted ties, importance and border on planted truths."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import workbench as wb
from workbench.methods.comparison.importance import importance
from workbench.methods.comparison.leaderboard import leaderboard
from workbench.methods.comparison.range_edges import range_edges


def scores(groups: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        (configuration, seed, value) for configuration, values in groups.items() for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["configuration", "seed", "score"]).assign(trial=range(1, len(rows) + 1))


def test_means_intervals_and_p_values_are_scipys() -> None:
    rng = np.random.default_rng(0)
    groups = {name: list(rng.normal(mean, 0.02, n)) for name, mean, n in [("a", 0.9, 5), ("b", 0.88, 4), ("c", 0.7, 7)]}
    board = leaderboard(scores(groups)).set_index("configuration")
    best = groups[board.index[0]]
    for name, values in groups.items():
        row = board.loc[name]
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert (row["mean"], row["low"], row["high"]) == pytest.approx((np.mean(values), low, high))
        if values is not best:
            assert row["p_value"] == pytest.approx(stats.ttest_ind(values, best, equal_var=False).pvalue)
    assert list(board["tied"]) == [True, bool(board.loc[board.index[1], "p_value"] >= 0.05), False]


def test_a_single_seed_is_judged_by_the_pooled_variance() -> None:
    groups = {"a": [0.9, 0.92, 0.91], "b": [0.8, 0.81, 0.83, 0.79], "c": [0.85], "d": [0.905]}
    board = leaderboard(scores(groups)).set_index("configuration")
    pooled = (2 * np.var(groups["a"], ddof=1) + 3 * np.var(groups["b"], ddof=1)) / 5
    t = (np.mean(groups["a"]) - 0.85) / np.sqrt(pooled * (1 / 3 + 1))
    assert board.loc["c", "p_value"] == pytest.approx(2 * stats.t.sf(t, 5))
    assert not board.loc["c", "tied"]
    assert board.loc["d", "tied"]


def test_without_replicates_nothing_is_told_apart() -> None:
    board = leaderboard(scores({"a": [0.9], "b": [0.1]}))
    assert list(board["tied"]) == [True, True]
    assert board["p_value"].iloc[1:].isna().all()
    assert board["low"].isna().all()


def test_planted_ties_are_seldom_told_apart_and_planted_differences_always() -> None:
    rng = np.random.default_rng(1)
    told = {"tie": 0, "difference": 0}
    for _ in range(300):
        groups = {
            "x": rng.normal(0.9, 0.01, 6),
            "tie": rng.normal(0.9, 0.01, 6),
            "difference": rng.normal(0.8, 0.01, 6),
        }
        board = leaderboard(scores({name: list(values) for name, values in groups.items()})).set_index("configuration")
        if board.index[0] == "x":
            for name in told:
                told[name] += not board.loc[name, "tied"]
    assert told["difference"] > 100
    assert told["tie"] / told["difference"] < 0.1


def test_lower_may_be_better_and_lost_trials_do_not_count() -> None:
    board = leaderboard(scores({"a": [2.0, 2.2], "b": [1.0, 1.1], "c": [np.nan], "d": [np.inf]}), better="lower")
    assert list(board["configuration"]) == ["b", "a"]
    assert leaderboard(scores({})).empty


def test_the_same_seed_again_is_no_further_evidence() -> None:
    groups = {"a": [0.9, 0.92, 0.91], "b": [0.8, 0.81, 0.83, 0.79], "c": [0.85]}
    once = scores(groups)
    again = pd.concat([once, once.assign(trial=once["trial"] + 100), once.assign(trial=once["trial"] + 200)])
    pd.testing.assert_frame_equal(leaderboard(again), leaderboard(once))


def test_a_seed_with_two_outcomes_is_their_mean() -> None:
    """A live change, for one, makes another trial of the same configuration and seed."""
    frame = scores({"a": [0.9, 0.92], "b": [0.8, 0.82]})
    changed = pd.DataFrame({"configuration": ["a"], "seed": [1], "score": [0.96], "trial": [9]})
    board = leaderboard(pd.concat([frame, changed])).set_index("configuration")
    assert (board.loc["a", "seeds"], board.loc["a", "mean"]) == (2, pytest.approx(0.92))
    assert board.loc["a", "trial"] == 1


def test_trials_without_a_seed_stay_apart() -> None:
    frame = scores({"a": [0.9, 0.92], "b": [0.8]}).assign(seed=np.nan)
    assert dict(leaderboard(frame).set_index("configuration")["seeds"]) == {"a": 2, "b": 1}


def test_equal_scores_without_any_spread_tell_nothing_of_others() -> None:
    board = leaderboard(scores({"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [0.5, 0.5], "d": [0.4]})).set_index(
        "configuration"
    )
    assert list(board["p_value"].fillna(-1)) == [1.0, 1.0, -1.0, -1.0]
    assert board["tied"].all()
    assert board[["low", "high"]].isna().all(axis=None)


def test_where_a_settings_seeds_agree_the_spread_of_the_others_stands_in() -> None:
    groups = {"a": [0.9, 0.9], "b": [0.8, 0.84, 0.82], "c": [0.89]}
    board = leaderboard(scores(groups)).set_index("configuration")
    pooled = 2 * np.var(groups["b"], ddof=1) / 3  # three degrees of freedom, one of them with a variance of 0
    half = stats.t.ppf(0.975, 3) * np.sqrt(pooled / 2)
    assert (board.loc["a", "low"], board.loc["a", "high"]) == pytest.approx((0.9 - half, 0.9 + half))
    t = (0.9 - np.mean(groups["b"])) / np.sqrt(pooled * (1 / 2 + 1 / 3))
    assert board.loc["b", "p_value"] == pytest.approx(2 * stats.t.sf(t, 3))
    assert board.loc["c", "tied"]


def trials(n: int, score) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(2)
    bench = wb.Workbench(wb.Task.load("iris"))
    frame = pd.DataFrame(
        {
            "learning_rate": 10 ** rng.uniform(-4, -1, n),
            "dropout": rng.uniform(0, 0.5, n),
            "optimizer": rng.choice(["sgd", "adam"], n),
        }
    )
    frame = frame.reindex(columns=bench.trials.columns)
    frame["seed"] = 0
    frame["best_val_metric"] = [score(row) for row in frame.itertuples()]
    return frame


@pytest.mark.parametrize("evaluator", ["fanova", "ped_anova"])
def test_the_hyperparameter_that_matters_is_found(evaluator: str) -> None:
    frame = trials(80, lambda row: -((np.log10(row.learning_rate) + 2.5) ** 2) + 0.01 * row.dropout)
    table = importance(frame, evaluator=evaluator)
    assert table["hyperparameter"].iloc[0] == "learning_rate"
    assert table["importance"].iloc[0] > 0.6
    assert set(table["hyperparameter"]) == {"learning_rate", "dropout", "optimizer"}
    assert table["importance"].sum() == pytest.approx(1)
    assert table["enough"].all()


def test_few_trials_are_warned_of_and_none_is_refused() -> None:
    frame = trials(12, lambda row: row.dropout)
    with pytest.warns(UserWarning, match="3 hyperparameters rests on 12 trials"):
        assert not importance(frame)["enough"].any()
    with pytest.raises(wb.RunError, match="at least 4 ended trials"):
        importance(frame.head(3))
    with pytest.raises(wb.ConfigError, match="did you mean 'fanova'"):
        importance(frame, evaluator="fanov")


def test_a_planted_optimum_beyond_the_range_is_seen_at_the_border() -> None:
    space = {
        "learning_rate": wb.LogRange(1e-4, 1e-1),
        "dropout": wb.Range(0, 0.5),
        "optimizer": wb.Choice("sgd", "adam"),
    }
    beyond = range_edges(trials(200, lambda row: np.log10(row.learning_rate)), space)
    assert [(b.name, b.side) for b in beyond] == [("learning_rate", "high")]
    assert beyond[0].wider == wb.LogRange(1e-4, 1.0)
    assert "Widen it to 0.0001 to 1" in str(beyond[0])
    inside = trials(200, lambda row: -((np.log10(row.learning_rate) + 2.5) ** 2))
    assert range_edges(inside, space) == []
    # where the hyperparameter itself ends there is nothing to widen
    assert range_edges(trials(200, lambda row: -row.dropout), {"dropout": space["dropout"]}) == []
