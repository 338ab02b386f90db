"""Whether a prescription helped, on planted runs: what is compared, how surely, and in which words."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from workbench.methods.diagnosis.effect import MEASURE_WORDS, Reached, difference, helped, measure_of
from workbench.methods.diagnosis.rules import all_rules

ABOUT: dict[str, Any] = {"metric": "accuracy", "better": "higher", "noise": 0.02}


def run(best: float = 0.8, end: float = 1.0, swing: float = 0.0, epochs: int = 50) -> Reached:
    return Reached(best, end, swing, epochs)


def test_every_rule_has_a_measure_with_words() -> None:
    assert {rule.measure for rule in all_rules().values()} == set(MEASURE_WORDS)
    assert {name for name, rule in all_rules().items() if rule.measure == "end"} == {
        "rate_too_high", "plateau", "overfitting",
    }  # fmt: skip


def test_a_measure_of_the_loss_gives_way_where_the_loss_itself_is_changed() -> None:
    assert measure_of("end", {"dropout": 0.3}) == "end"
    assert measure_of("end", {"label_smoothing": 0.1}) == "best"
    assert measure_of("apart", {}) == "apart"
    assert measure_of("best", {"label_smoothing": 0.1}) == "best"


def test_a_run_is_read_from_the_end_of_its_curve() -> None:
    losses = 1 + 0.1 * (-1.0) ** np.arange(12)
    found = Reached.of(pd.DataFrame({"val_loss": losses}), 0.7)
    assert (found.best, found.end, found.epochs) == (0.7, pytest.approx(losses[-3:].mean()), 12)
    # ups and downs of ±a have second differences of ±4a
    assert found.swing == pytest.approx(np.std(np.diff(losses[-4:], 2)) / math.sqrt(6))
    assert found.swing > 0.1
    burst = Reached.of(pd.DataFrame({"val_loss": [1.0, 2.0, math.inf]}), math.nan)
    assert math.isnan(burst.end)
    assert math.isnan(Reached.of(pd.DataFrame({"val_loss": []}), math.nan).end)


def test_after_the_best_epoch_only_the_end_can_tell() -> None:
    """The same best score, and a validation loss that no longer rises."""
    before, after = run(end=4.0), run(end=0.7)
    assert not helped("best", before, after, **ABOUT).helped
    found = helped("end", before, after, **ABOUT)
    assert found.helped
    assert (
        "validation loss at the end (mean of the last 3 epochs): 0.7 against 4 before (-3.3; one seed" in found.compared
    )
    assert "noise unknown" in found.compared
    assert "best validation accuracy 0.8 against 0.8, kept within one standard error (0.02)" in found.compared
    # a better end that costs the best score is no help, and neither is one within the ups and downs
    assert not helped("end", before, run(best=0.77, end=0.7), **ABOUT).helped
    assert helped("end", before, run(best=0.785, end=0.7), **ABOUT).helped
    assert not helped("end", run(end=1.0, swing=0.3), run(end=0.9, swing=0.4), **ABOUT).helped
    assert helped("end", run(end=1.5, swing=0.3), run(end=0.9, swing=0.4), **ABOUT).helped


def test_stopping_early_has_helped_where_the_same_best_took_fewer_epochs() -> None:
    before, after = run(epochs=50), run(epochs=20)
    found = helped("end", before, after, stops=True, **ABOUT)
    assert found.helped
    assert found.compared.endswith("20 epochs instead of 50")
    assert not helped("end", before, after, **ABOUT).helped
    assert not helped("end", before, run(epochs=50), stops=True, **ABOUT).helped
    assert not helped("end", before, run(best=0.7, epochs=20), stops=True, **ABOUT).helped


def test_a_metric_must_beat_the_noise_of_the_rows() -> None:
    assert helped("best", run(0.80), run(0.83), **ABOUT).helped
    assert not helped("best", run(0.80), run(0.81), **ABOUT).helped
    lower = ABOUT | {"better": "lower"}
    assert helped("best", run(0.80), run(0.77), **lower).helped
    assert not helped("best", run(0.80), run(0.83), **lower).helped
    told = helped("best", run(0.80), run(0.83), ({0.0: run(0.80)}, {0.0: run(0.83)}), **ABOUT).compared
    assert told == (
        "best validation accuracy: 0.83 against 0.8 before (+0.03; one seed, its noise unknown; of the validation rows 0.02)"
    )


def test_further_seeds_give_an_interval_and_leave_the_count_to_the_run_that_was_tried() -> None:
    before = {0.0: run(0.80), 1.0: run(0.70), 2.0: run(0.75)}
    after = {seed: run(one.best + 0.01 + 0.001 * seed) for seed, one in before.items()}
    found = helped("best", before[0], after[0], (before, after), **ABOUT)
    assert not found.helped
    assert "(95% interval of the difference +0.0085 to +0.013, paired t over 3 seeds)" in found.compared
    ends = {0.0: run(end=4.0), 1.0: run(end=math.nan)}, {0.0: run(end=1.0), 1.0: run(end=1.0)}
    assert "one seed" in helped("end", ends[0][0], ends[1][0], ends, **ABOUT).compared  # the other is no number


def test_the_interval_is_students_or_welchs() -> None:
    rng = np.random.default_rng(0)
    first, second = dict(enumerate(rng.normal(size=5))), dict(enumerate(rng.normal(1, 2, size=5)))
    low, high, name = difference(first, second)  # type: ignore[arg-type, misc]
    wanted = stats.ttest_rel(list(second.values()), list(first.values())).confidence_interval(0.95)
    assert (low, high) == pytest.approx((wanted.low, wanted.high))
    assert name == "paired t over 5 seeds"
    others = {seed + 100: value for seed, value in second.items()}
    low, high, name = difference(first, others)  # type: ignore[arg-type, misc]
    wanted = stats.ttest_ind(list(others.values()), list(first.values()), equal_var=False).confidence_interval(0.95)
    assert (low, high) == pytest.approx((wanted.low, wanted.high))
    assert name == "Welch's t over 5 and 5 seeds"
    assert difference({0: 1.0, 1: 2.0}, {0: 3.0}) is None
    assert difference({0: 1.0, 1: 1.0}, {2: 3.0, 3: 3.0})[:2] == (2.0, 2.0)  # type: ignore[index]


def test_a_run_without_a_number_is_helped_by_any_and_none_helps() -> None:
    lost = run(math.nan, math.nan)
    for measure in ("best", "end"):
        assert helped(measure, lost, run(), **ABOUT).helped  # type: ignore[arg-type]
        assert not helped(measure, run(), lost, **ABOUT).helped  # type: ignore[arg-type]
        assert not helped(measure, lost, lost, **ABOUT).helped  # type: ignore[arg-type]
