"""Choices and scores against loops written out, and the optimism of a choice against planted truths."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from workbench.core.registry import METRICS
from workbench.methods.ensembles.selection import Scorer, combined, estimate, greedy, interval, top_configurations
from workbench.metrics.evaluation import evaluate_metric


@pytest.fixture
def own_metric() -> Iterator[str]:
    """A metric of the user's: the mean probability of the right class."""

    def trust(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return outputs.gather(1, targets[:, None]).mean()

    wb.register_metric("trust", trust)
    yield "trust"
    METRICS.unregister("trust")


def classes(members: int, rows: int, kinds: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (members, rows, kinds) with some sense in them, and targets (rows,)."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, kinds, rows)
    logits = rng.normal(size=(members, rows, kinds)) + 0.7 * rng.normal(size=(rows, kinds))
    logits[:, np.arange(rows), targets] += rng.uniform(0, 1.5, members)[:, None]
    odds = np.exp(logits)
    return odds / odds.sum(2, keepdims=True), targets


def numbers(members: int, rows: int, outputs: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(rows, outputs))
    noise = rng.normal(size=(members, rows, outputs)) * rng.uniform(0.3, 1, members)[:, None, None]
    return targets + noise, targets


def case(metric: str, members: int, rows: int, seed: int = 0) -> tuple[np.ndarray, Scorer]:
    answers, targets = (numbers if metric in ("r2", "rmse") else classes)(members, rows, seed=seed)
    return answers, Scorer(targets, metric)


def sampled(rows: int, draws: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), size=draws).astype(float)


# --- scores -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["accuracy", "r2", "rmse", "trust"])
def test_scores_on_weighted_rows_are_the_engines_on_repeated_rows(metric: str, own_metric: str) -> None:
    answers, scorer = case(metric, 4, 30)
    counts = np.vstack([np.ones(30), sampled(30, 3)])
    scores, losses = scorer(answers, counts)
    for draw, member in itertools.product(range(4), range(4)):
        rows = np.repeat(np.arange(30), counts[draw].astype(int))
        targets = torch.from_numpy(scorer.targets[rows])
        outputs = torch.from_numpy(answers[member][rows])
        loss = F.nll_loss(outputs.log(), targets) if scorer.classes else F.mse_loss(outputs, targets)
        sign = -1 if metric == "rmse" else 1
        assert scores[draw, member] == pytest.approx(sign * evaluate_metric(metric, outputs, targets), abs=1e-6)
        assert losses[draw, member] == pytest.approx(float(loss), abs=1e-9)
    assert scorer.natural(scores)[0, 0] == pytest.approx(scores[0, 0] * (-1 if metric == "rmse" else 1))


def test_a_metric_of_the_users_may_raise_on_a_sample_but_not_on_all_rows() -> None:
    def picky(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        if len(targets.unique()) < 2:
            raise ValueError("one class")
        return float((outputs.argmax(-1) == targets).double().mean())

    wb.register_metric("picky_for_ensembles", picky, better="higher")
    answers, _ = classes(3, 12)
    rare = np.zeros(12, np.int64)
    rare[4] = 1
    scorer = Scorer(rare, "picky_for_ensembles")
    choose = WAYS["greedy"](answers, scorer)
    votes = choose(np.ones((1, 12)))[0]
    found = estimate(answers, scorer, votes, choose)
    assert found.score == pytest.approx(float((combined(answers, votes).argmax(1) == rare).mean()))
    assert 0 < found.draws < 200  # those that lack the row on either side say nothing
    with pytest.raises(wb.ModelError, match="one class"):
        Scorer(np.zeros(12, np.int64), "picky_for_ensembles")(answers, np.ones((1, 12)))


def test_what_is_no_number_is_never_chosen() -> None:
    """R² of equal targets, and a probability of nothing."""
    answers, targets = numbers(3, 6, 1)
    targets[:3] = 1.0
    scores, losses = Scorer(targets, "r2")(answers, np.array([[1.0, 1, 1, 0, 0, 0]]))
    assert np.isnan(scores).all()
    assert np.isfinite(losses).all()
    sure = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    scores, losses = Scorer(np.array([0]), "accuracy")(sure, np.ones((1, 1)))
    assert scores.tolist() == [[1.0, 0.0]]
    assert losses[0, 0] == 0
    assert 700 < losses[0, 1] < 710  # -log of the smallest number


# --- choices ------------------------------------------------------------------------------------------------------------


def plain_score(scorer: Scorer, chosen: list[int], answers: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """(score, loss) of the mean answer of some members, by the engine's metric; larger scores are better."""
    mean = np.mean([answers[member] for member in chosen], axis=0)[rows]
    targets = torch.from_numpy(scorer.targets[rows])
    outputs = torch.from_numpy(mean)
    if scorer.classes:
        loss = float(F.nll_loss(outputs.log(), targets))
        score = float((mean.argmax(1) == scorer.targets[rows]).mean())
    else:
        loss = float(F.mse_loss(outputs, targets))
        score = scorer.sign * evaluate_metric(scorer.metric, outputs, targets)
    return round(score, 12), round(loss, 12)


def plain_greedy(scorer: Scorer, answers: np.ndarray, rows: np.ndarray, size: int) -> list[int]:
    """Ensemble selection as Caruana et al. tell it, one ensemble at a time."""
    members = range(len(answers))

    def rank(chosen: list[int]) -> tuple[float, float]:
        score, loss = plain_score(scorer, chosen, answers, rows)
        return -score, loss

    order = sorted(members, key=lambda member: (*rank([member]), member))
    ensemble = min((order[:n] for n in range(1, min(size, len(answers)) + 1)), key=lambda one: (*rank(one), len(one)))
    passed = [list(ensemble)]
    while len(ensemble) < size:
        ensemble = [*ensemble, min(members, key=lambda member: (*rank([*ensemble, member]), member))]
        passed.append(ensemble)
    return min(passed, key=lambda one: (*rank(one), len(one)))


@pytest.mark.parametrize("metric", ["accuracy", "r2", "rmse"])
@pytest.mark.parametrize("seed", range(6))
def test_greedy_is_the_selection_written_out(metric: str, seed: int) -> None:
    answers, scorer = case(metric, 6, 25, seed)
    counts = np.vstack([np.ones(25), sampled(25, 5, seed)])
    for size in (1, 2, 7):
        votes = greedy(answers, scorer, counts, size=size)
        for draw, count in enumerate(counts):
            rows = np.repeat(np.arange(25), count.astype(int))
            wanted = np.bincount(plain_greedy(scorer, answers, rows, size), minlength=6)
            assert votes[draw].tolist() == (wanted // np.gcd.reduce(wanted)).tolist()


def test_greedy_of_one_vote_is_the_best_member_and_of_more_lies_between_it_and_the_best_of_all() -> None:
    larger = 0
    for seed in range(20):
        answers, scorer = case("accuracy", 5, 30, seed)
        rows = np.arange(30)
        alone = [plain_score(scorer, [member], answers, rows) for member in range(5)]
        best = max(range(5), key=lambda member: (alone[member][0], -alone[member][1], -member))
        assert greedy(answers, scorer, np.ones((1, 30)), size=1)[0].nonzero()[0].tolist() == [best]
        votes = greedy(answers, scorer, np.ones((1, 30)), size=3)[0]
        assert 1 <= votes.sum() <= 3
        found = plain_score(scorer, np.repeat(np.arange(5), votes).tolist(), answers, rows)[0]
        every = (c for size in (1, 2, 3) for c in itertools.combinations_with_replacement(range(5), size))
        assert alone[best][0] <= found <= max(plain_score(scorer, list(c), answers, rows)[0] for c in every)
        larger += found > alone[best][0]
    assert larger > 10


def test_the_same_member_again_and_again_is_one_vote() -> None:
    answers, targets = classes(3, 40)
    answers[0] = np.eye(3)[targets]  # always right
    answers[1:] = np.eye(3)[(targets + 1) % 3]
    assert greedy(answers, Scorer(targets, "accuracy"), np.ones((1, 40)), size=9).tolist() == [[1, 0, 0]]


@settings(max_examples=60)
@given(
    st.sampled_from(["accuracy", "r2", "rmse"]), st.integers(1, 6), st.integers(2, 15), st.integers(1, 8),
    st.integers(0, 10_000),
)  # fmt: skip
def test_greedy_never_scores_below_the_best_single_member(
    metric: str, members: int, rows: int, size: int, seed: int
) -> None:
    answers, scorer = case(metric, members, rows, seed)
    everyone = np.ones((1, rows))
    votes = greedy(answers, scorer, everyone, size=size)[0]
    assert votes.min() >= 0
    assert 1 <= votes.sum() <= size
    score = scorer(combined(answers, votes)[None], everyone)[0][0, 0]
    assert score >= scorer(answers, everyone)[0].max() - 1e-11


def test_the_top_configurations_are_pandas() -> None:
    answers, scorer = case("accuracy", 9, 40)
    numbers_of = [0, 0, 1, 1, 1, 2, 3, 4, 4]
    counts = np.vstack([np.ones(40), sampled(40, 20)])
    for top in (1, 3, 9):
        votes = top_configurations(answers, scorer, counts, configurations=numbers_of, top=top)
        for draw, count in enumerate(counts):
            rows = np.repeat(np.arange(40), count.astype(int))
            found = [plain_score(scorer, [member], answers, rows) for member in range(9)]
            frame = pd.DataFrame(found, columns=["score", "loss"]).assign(configuration=numbers_of, member=range(9))
            means = frame.groupby("configuration")["score"].mean().round(12).sort_values(ascending=False, kind="stable")
            best = (
                frame.sort_values(["score", "loss"], ascending=[False, True], kind="stable")
                .groupby("configuration")
                .head(1)
            )
            wanted = best[best["configuration"].isin(means.index[:top])]["member"]
            assert votes[draw].nonzero()[0].tolist() == sorted(wanted)
            assert set(votes[draw]) <= {0, 1}


# --- optimism -----------------------------------------------------------------------------------------------------------

WAYS: dict[str, Any] = {
    "one": lambda answers, scorer: lambda counts: greedy(answers, scorer, counts, size=1),
    "top": lambda answers, scorer: (
        lambda counts: top_configurations(answers, scorer, counts, configurations=range(len(answers)), top=5)
    ),
    "greedy": lambda answers, scorer: lambda counts: greedy(answers, scorer, counts, size=5),
}


@pytest.mark.parametrize(("way", "flattery"), [("one", 0.06), ("top", 0.06), ("greedy", 0.1)])
def test_among_coins_the_choice_looks_good_and_the_corrected_score_is_one_half(way: str, flattery: float) -> None:
    """30 members that guess: whatever is chosen is right half the time on new rows, and on the old ones looks better."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(25):
        targets = rng.integers(0, 2, 120)
        first = rng.uniform(size=(30, 120))
        answers, scorer = np.stack([first, 1 - first], axis=2), Scorer(targets, "accuracy")
        choose = WAYS[way](answers, scorer)
        votes = choose(np.ones((1, 120)))[0]
        found.append(estimate(answers, scorer, votes, choose, work=1e5))
    assert {one.draws for one in found} == {50}
    score, optimism, corrected = (
        np.array([getattr(one, n) for one in found]) for n in ("score", "optimism", "corrected")
    )
    assert score.mean() > 0.5 + flattery
    error = corrected.std(ddof=1) / 5
    assert abs(corrected.mean() - 0.5) < 3 * error + 0.005
    assert error < 0.01
    np.testing.assert_allclose(optimism, score - corrected)
    assert np.mean([one.low <= 0.5 <= one.high for one in found]) > 0.9


def test_where_members_differ_the_corrected_score_is_nearer_to_that_on_new_rows() -> None:
    apparent, corrected, gained, gain = [], [], [], []
    for seed in range(12):
        answers, targets = classes(25, 20_100, seed=seed)
        own, scorer = answers[:, :100], Scorer(targets[:100], "accuracy")
        new = Scorer(targets[100:], "accuracy")
        everyone, fresh = np.ones((1, 100)), np.ones((1, 20_000))
        choose = WAYS["greedy"](own, scorer)
        votes = choose(everyone)[0]
        found = estimate(own, scorer, votes, choose)
        truth = new(combined(answers[:, 100:], votes)[None], fresh)[0][0, 0]
        single = greedy(own, scorer, everyone, size=1)[0]
        apparent.append(found.score - truth)
        corrected.append(found.corrected - truth)
        gained.append(truth - new(combined(answers[:, 100:], single)[None], fresh)[0][0, 0])
        gain.append(found.gain)
    assert np.mean(apparent) > 0.03
    assert abs(np.mean(corrected)) < np.mean(apparent) / 2
    assert np.mean(gained) > 0.05  # the members err apart, so voting helps, and the estimate sees it
    assert np.mean(gain) == pytest.approx(np.mean(gained), abs=0.02)


def test_where_lower_is_better_optimism_and_gain_are_still_positive_for_the_flattered_and_the_better() -> None:
    answers, scorer = case("rmse", 12, 60)
    choose = WAYS["greedy"](answers, scorer)
    found = estimate(answers, scorer, choose(np.ones((1, 60)))[0], choose)
    assert found.score < found.corrected
    assert found.optimism == pytest.approx(found.corrected - found.score)
    assert found.low < found.corrected < found.high
    assert found.gain > 0  # independent errors average out


def test_a_choice_that_was_not_made_here_is_not_corrected() -> None:
    answers, scorer = case("accuracy", 3, 200)
    votes = np.array([2, 0, 1])
    found = estimate(answers, scorer, votes, None)
    mean = (2 * answers[0] + answers[2]) / 3
    correct = mean.argmax(1) == scorer.targets
    assert found.score == pytest.approx(correct.mean())
    assert np.isnan([found.corrected, found.optimism, found.gain]).all()
    half = 1.96 * np.sqrt(found.score * (1 - found.score) / 200)
    assert (found.low, found.high) == pytest.approx((found.score - half, found.score + half), abs=0.4 * half)


def test_each_members_interval_is_a_percentile_bootstrap() -> None:
    answers, scorer = case("r2", 3, 80)
    scores, low, high = interval(answers, scorer, draws=500)
    rng = np.random.default_rng(9)
    for member in range(3):
        values = []
        for _ in range(500):
            rows = rng.integers(0, 80, 80)
            values.append(plain_score(scorer, [member], answers, rows)[0])
        wanted = np.percentile(values, [2.5, 97.5])
        width = wanted[1] - wanted[0]
        np.testing.assert_allclose([low[member], high[member]], wanted, atol=0.2 * width)
        assert low[member] < scores[member] < high[member]


def test_a_single_row_says_nothing_of_new_ones() -> None:
    answers, targets = classes(3, 1)
    scorer = Scorer(targets, "accuracy")
    choose = WAYS["greedy"](answers, scorer)
    found = estimate(answers, scorer, choose(np.ones((1, 1)))[0], choose)
    assert np.isfinite(found.score)
    assert np.isnan(found.corrected)
    for metric in ("r2", "rmse"):  # one of them no number, the other the same in every sample
        answers, scorer = case(metric, 3, 1)
        _, low, high = interval(answers, scorer)
        by_hand = estimate(answers, scorer, np.array([1, 1, 0]), None)
        assert np.isnan([low, high]).all()
        assert np.isnan([by_hand.low, by_hand.high]).all()


@pytest.fixture
def weighted_metric() -> Iterator[str]:
    """Accuracy as a function of the user's own that weighs rows."""

    def weighed(outputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> float:
        hit = (outputs.argmax(-1) == targets).double().numpy()
        return float(np.average(hit, weights=None if weights is None else weights.numpy()))

    wb.register_metric("weighed", weighed)
    yield "weighed"
    METRICS.unregister("weighed")


@pytest.mark.parametrize("largest", [0.9, 1.0, 7.5])
def test_a_metric_of_the_users_weighs_rows_as_the_built_in_one(weighted_metric: str, largest: float) -> None:
    """Weights below 1, around it, and of a row that does not count."""
    answers, targets = classes(4, 60)
    weights = np.random.default_rng(1).uniform(0, largest, 60)
    weights[7] = 0.0
    scorers = [Scorer(targets, metric, weights=weights) for metric in ("accuracy", weighted_metric)]
    for counts in (np.ones((1, 60)), sampled(60, 5)):
        built_in, own = (scorer(answers, counts)[0] for scorer in scorers)
        np.testing.assert_allclose(own, built_in, atol=1e-9)
    votes = [WAYS["greedy"](answers, scorer)(np.ones((1, 60)))[0] for scorer in scorers]
    np.testing.assert_array_equal(*votes)


@pytest.mark.parametrize("metric", ["accuracy", "f1", "rmse"])
def test_rows_of_a_group_are_drawn_together(metric: str) -> None:
    """Ten copies of each row, as of ten visits of a patient that are all alike, are no more evidence than one."""
    answers, single = case(metric, 3, 40)
    copies = np.repeat(np.arange(40), 10)
    together = Scorer(single.targets[copies], metric, groups=np.array([f"patient {one:02}" for one in copies]))
    alone = Scorer(single.targets[copies], metric)
    ends = [interval(answers, single), interval(answers[:, copies], together), interval(answers[:, copies], alone)]
    np.testing.assert_allclose(ends[1], ends[0])
    assert (ends[2][2] - ends[2][1] < 0.6 * (ends[0][2] - ends[0][1])).all()
    choose = [WAYS["greedy"](one, scorer) for one, scorer in ((answers, single), (answers[:, copies], together))]
    votes = choose[0](np.ones((1, 40)))[0]
    first = estimate(answers, single, votes, choose[0])
    second = estimate(answers[:, copies], together, votes, choose[1])
    assert second[2:9] == pytest.approx(first[2:9])
