"""Higher or lower is better: each function against brute force over scores with NaN, None and infinities."""

from __future__ import annotations

import itertools
import math

import pandas as pd
import pytest

from workbench.core.direction import Better, best_first, best_score, better_of, is_better, objective, rank, sign

DIRECTIONS: tuple[Better, ...] = ("higher", "lower")
SCORES = (-1.0, 0.0, 0.25, 3.0, math.nan, None)


def beats(one: float | None, other: float | None, better: Better) -> bool:
    """The definition, case by case."""
    if one is None or math.isnan(one):
        return False
    if other is None or math.isnan(other):
        return True
    return one > other if better == "higher" else one < other


def same(one: float | None, other: float | None) -> bool:
    return not beats(one, other, "higher") and not beats(other, one, "higher")


@pytest.mark.parametrize("better", DIRECTIONS)
def test_a_score_is_better_by_its_definition(better):
    for one, other in itertools.product(SCORES, repeat=2):
        assert is_better(one, other, better) is beats(one, other, better), (one, other)
        assert (rank(one, better) > rank(other, better)) is beats(one, other, better)


@pytest.mark.parametrize("better", DIRECTIONS)
def test_the_best_is_beaten_by_none(better):
    for count in range(4):
        for scores in itertools.product(SCORES, repeat=count):
            best = best_score(scores, better)
            if all(score is None or math.isnan(score) for score in scores):
                assert math.isnan(best)
            else:
                assert best in scores
                assert not any(beats(score, best, better) for score in scores)


@pytest.mark.parametrize("better", DIRECTIONS)
def test_the_best_come_first_and_those_without_a_score_last(better):
    for scores in itertools.permutations((0.25, 0.25, -1.0, 3.0, math.nan, None)):
        frame = pd.DataFrame({"score": pd.Series(scores, dtype=float), "trial": [5, 4, 3, 2, 1, 0]})
        ordered = best_first(frame, "score", better)
        for before, after in itertools.pairwise(ordered.itertuples()):
            assert not beats(after.score, before.score, better)
            if same(after.score, before.score):
                assert before.Index < after.Index  # equal scores keep their order
        ordered = best_first(frame, "score", better, then="trial")
        for before, after in itertools.pairwise(ordered.itertuples()):
            assert not beats(after.score, before.score, better)
            if same(after.score, before.score):
                assert before.trial < after.trial


def test_an_infinite_score_is_last_but_for_those_without_one():
    frame = pd.DataFrame({"score": [math.nan, math.inf, 1.0]})
    assert list(best_first(frame, "score", "lower").index) == [2, 1, 0]


def test_directions_by_name():
    assert [sign(better) for better in DIRECTIONS] == [1.0, -1.0]
    assert [objective(better) for better in DIRECTIONS] == ["maximize", "minimize"]
    assert [better_of(metric) for metric in ("accuracy", "rmse", "a metric of another log")] == [
        "higher",
        "lower",
        "higher",
    ]
