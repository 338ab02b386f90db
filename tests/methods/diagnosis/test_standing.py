"""No better than the baseline; and a patience from the log."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import workbench as wb
from tests.methods.diagnosis.test_rules import FALLING, case
from workbench.methods.diagnosis.case import HEALTHY, Rival
from workbench.methods.diagnosis.rules import apply_rules


def test_what_is_no_better_than_the_baseline_is_not_healthy_where_nothing_else_is_found() -> None:
    short = apply_rules(case([2.3], score=0.08, train_score=0.1, config=wb.Config(epochs=1, learning_rate=1e-6)))
    assert short.verdict == "at_baseline"
    assert short.title == "too short to diagnose: 1 epoch, and not yet better than the baseline (0.08 against 0.1)"
    assert short.findings[0].prescription.changes == {"epochs": 10, "learning_rate": 0.003}
    usual = apply_rules(case([2.3, 2.2], score=0.08, config=wb.Config(epochs=50, learning_rate=0.01)))
    assert usual.title.startswith("too short to diagnose: 2 epochs,")
    assert usual.findings[0].prescription.changes == {"epochs": 50}  # it was stopped, or is not through
    # learned by heart without a word from another rule: not too short, and no better all the same
    heart = apply_rules(case(FALLING, FALLING / 2, score=0.1, train_score=1.0))
    assert heart.title == "no better than the baseline (0.1 against 0.1) after 12 epochs"
    # a lead within the noise says nothing of a model that knows nothing
    leads = case([2.3], score=0.08, scores=(0.08,), rival=Rival(3, (0.07,)), leads=True)
    assert [one.rule for one in apply_rules(leads).findings] == ["at_baseline"]
    assert any("too few seeds" in note for note in apply_rules(leads).notes)
    lower: dict[str, Any] = {"metric": "rmse", "better": "lower", "baseline_score": 1.0, "best_score": 0.9}
    assert apply_rules(case([2.3], score=1.1, **lower)).verdict == "at_baseline"
    assert apply_rules(case([2.3], score=0.95, **lower)).verdict == HEALTHY
    assert apply_rules(case([2.3], score=0.08, baseline_score=math.nan)).verdict == HEALTHY  # nothing to go by


def test_a_patience_comes_from_the_log_where_it_can() -> None:
    train = 2 * np.exp(-np.arange(40) / 3)
    rising = np.concatenate([train[:7], 0.3 + 0.1 * np.arange(33)])
    for learned, patience, words in (
        ((3, 9), 3, "(bench.suggest_patience(), from 9 trials of this log)"),
        ((None, 9), 8, "(a fifth of its 40 epochs, from 5 to 20: none saves epochs in 9 trials of this log)"),
        (None, 8, "(a fifth of its 40 epochs, from 5 to 20: too few trials to learn it from)"),
    ):
        given = apply_rules(case(train, rising, learned_patience=lambda told=learned: told)).findings[0].prescription
        assert given.changes["patience"] == patience
        assert words in given.description
    # asked only where it is needed: it goes through all curves
    apply_rules(case(FALLING, learned_patience=lambda: pytest.fail("asked")))
