"""When a campaign starts trials, how many, and when it ends: against a recorder without a log, and without training."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

import pytest

import workbench as wb
from workbench.core.direction import Better
from workbench.core.events import TrialEnded, TrialState
from workbench.core.space import Space
from workbench.methods.search.arm import Arm
from workbench.methods.search.campaign import Campaign
from workbench.methods.search.protocol import Budget, Call, NewRow
from workbench.methods.search.strategies import strategy

BASE = wb.Config(hidden_units=4, epochs=1, loss="cross_entropy")


class Recorder:
    """Numbers trials from 1. size: trials that fit into a cohort."""

    def __init__(self, size: int) -> None:
        self.size, self.numbers, self.rows = size, itertools.count(1), list[NewRow]()

    def create(self, rows: Sequence[NewRow], call: Call) -> list[int]:
        self.rows += rows
        return [next(self.numbers) for _ in rows]

    def note(self, call: Call) -> None: ...
    def shrunk(self, size: int) -> None: ...
    def ended(self, reason: str) -> None: ...
    def fits(self, config: wb.Config, wanted: int) -> int:
        return min(self.size, wanted)

    def is_up(self, up: bool) -> bool:
        return up

    def stopped(self) -> bool:
        return False


def campaign(
    budget: Budget,
    size: int = 4,
    better: Better = "higher",
    seeds: int = 1,
    finals: int = 0,
    recorder: Recorder | None = None,
) -> Campaign:
    arm = Arm(Space({"learning_rate": wb.LogRange(1e-4, 1e-1)}, BASE), strategy("random"), better=better)
    recorder = recorder or Recorder(size)
    options = {"better": better, "seeds": seeds, "finals": finals}
    return Campaign([arm], budget, recorder=recorder, check=lambda config: config, **options)  # type: ignore[arg-type]


def end(made: Campaign, trial: int, score: float, state: TrialState = TrialState.COMPLETED) -> None:
    made.handle(TrialEnded(trial, state, 1, 0, 1, 0.0, score, 0.0, reason="planted"))


def test_the_budget_counts_configurations_whose_seeds_train_together() -> None:
    made = campaign(Budget(5), size=5, seeds=2)
    cohorts = []
    while trials := made.next():
        cohorts.append(len(trials))
        rates = [config.learning_rate for config in trials.values()]
        assert all(rates.count(rate) == 2 for rate in rates)
        for trial in trials:
            end(made, trial, 0.5)
    assert cohorts == [4, 4, 2]  # of five places one stays free: two seeds need two
    assert (made.progress.planned, made.progress.done, made.progress.running) == (5, 5, 0)


@pytest.mark.parametrize(("training", "started"), [(8, 0), (7, 0), (6, 2), (3, 5)])
def test_a_cohort_is_refilled_when_a_quarter_of_its_places_are_free(training: int, started: int) -> None:
    made = campaign(Budget(100), size=8)
    assert len(made.next()) == 8
    assert len(made.refill(training)) == started


@pytest.mark.parametrize(("better", "scores"), [("higher", [0.5, 0.7, 0.6, 0.7]), ("lower", [0.5, 0.3, 0.4, 0.3])])
def test_a_search_without_a_better_configuration_ends(better: Better, scores: list[float]) -> None:
    """Two in a row were no better than the second: equal is not better."""
    made = campaign(Budget(None, None, patience=2), size=1, better=better)
    for score in scores:
        (trial,) = made.next()
        end(made, trial, score)
    assert made.next() == {}
    assert (made.progress.best_trial, made.progress.best_value) == (2, scores[1])


def test_a_trial_without_a_score_is_never_the_best() -> None:
    made = campaign(Budget(3), size=3, better="lower")
    first, second, third = made.next()
    end(made, first, float("nan"))
    end(made, second, 0.1, TrialState.DIVERGED)
    end(made, third, 0.4)
    assert (made.progress.best_trial, made.progress.best_value) == (third, 0.4)


def test_eight_failures_and_nothing_else_end_a_search() -> None:
    made = campaign(Budget(100), size=1)
    for _ in range(8):
        (trial,) = made.next()
        end(made, trial, float("nan"), TrialState.FAILED)
    with pytest.raises(wb.RunError, match="the first 8 trials of the search all failed; the last: planted"):
        made.next()
    made = campaign(Budget(100), size=1)
    for state in [TrialState.COMPLETED] + [TrialState.FAILED] * 20:
        (trial,) = made.next()
        end(made, trial, 0.5, state)
    assert (made.progress.failed, made.progress.done) == (20, 21)


@pytest.mark.parametrize(
    ("reason", "most"),
    [
        ("ConfigError: heads=4 must divide width=2", 64),
        ("ModelError: model 'm': its builder raised AssertionError: embed_dim must be divisible by num_heads", 64),
        ("ModelError: model 'm': its builder raised OSError: no such file", 8),
        ("RuntimeError: planted", 8),
    ],
)
def test_configurations_that_are_rejected_end_a_search_later_than_other_failures(reason: str, most: int) -> None:
    made = campaign(Budget(100), size=1)
    for _ in range(most):
        (trial,) = made.next()
        made.handle(TrialEnded(trial, TrialState.FAILED, 0, 0, 0, math.inf, math.nan, 0.0, reason=reason))
    with pytest.raises(wb.RunError, match=f"the first {most} trials of the search all failed"):
        made.next()


def test_a_search_of_which_nothing_was_trained_ends_with_the_reason() -> None:
    made = campaign(Budget(3), size=3)
    for trial in made.next():
        end(made, trial, math.nan, TrialState.FAILED)
    with pytest.raises(
        wb.RunError, match="none of the 3 configurations of the search could be trained; the last: planted"
    ):
        made.next()


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (TrialState.COMPLETED, r"not defined \(NaN\)"),
        (TrialState.DIVERGED, "all diverged"),
        (TrialState.PRUNED, "all were pruned"),
    ],
)
def test_a_search_without_a_score_has_the_reason(state: TrialState, why: str) -> None:
    made = campaign(Budget(2), size=2)
    for trial in made.next():
        end(made, trial, math.nan, state)
    assert made.next() == {}
    assert made.scoreless
    assert re.search(f"no configuration has a score: of 2 trials, .*{why}", made.progress.ending)


def test_a_pruned_trial_counts_and_a_stopped_one_does_not() -> None:
    made = campaign(Budget(2), size=2)
    first, second = made.next()
    end(made, first, 0.9, TrialState.PRUNED)
    end(made, second, 0.5, TrialState.STOPPED)
    assert (made.progress.pruned, made.progress.done, made.progress.stopped) == (1, 1, 1)
    assert made.progress.best_trial is None


def test_a_shrunk_cohort_stays_that_small() -> None:
    made = campaign(Budget(20), size=8)
    made.next()
    made.shrink(3)
    assert len(made.next()) == 3


@pytest.mark.parametrize(("better", "best"), [("higher", 2), ("lower", 3)])
def test_the_best_configuration_is_replicated_with_new_seeds(better: Better, best: int) -> None:
    recorder = Recorder(4)
    made = campaign(Budget(4), better=better, finals=2, recorder=recorder)
    first = made.next()
    for trial, score in zip(first, [0.5, 0.9, 0.1, math.nan], strict=True):
        end(made, trial, score)
    finals = made.next()
    assert [config.seed for config in finals.values()] == [1, 2]
    assert all(config.replace(seed=0) == first[best] for config in finals.values())
    assert [row.parent for row in recorder.rows[4:]] == [best, best]
    for trial in finals:
        end(made, trial, 0.5)
    assert made.next() == {}
    assert (made.progress.planned, made.progress.done) == (6, 6)
