"""A metric and a diagnosis rule that are added as one table entry each work in every method that reads the tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.core.registry import METRICS
from workbench.methods.diagnosis.case import Case, Finding, Prescription
from workbench.methods.diagnosis.effect import MEASURE_WORDS
from workbench.methods.diagnosis.rules import RULES, Rule
from workbench.methods.diagnosis.track_record import _Reader
from workbench.metrics import table
from workbench.metrics.intervals import standard_error

CONFIG = wb.Config(learning_rate=0.01, epochs=4, hidden_units=8)
SEEDS = range(3)


def error_rate(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of rows that are classified wrongly."""
    return (outputs.argmax(-1) != targets).double().mean()


def error_rate_interval(score: float, rows: int) -> tuple[float, float, str]:
    low, high, method = table.accuracy_interval(1 - score, rows)
    return 1 - high, 1 - low, method


def weighted_error_rate(answers: Any, targets: Any, counts: Any) -> Any:
    return 1 - table.weighted_accuracy(answers, targets, counts)


@pytest.fixture(params=["whole entry", "function only"])
def entry(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A metric whose every answer follows from that of accuracy. It counts as built in: its module is that of the table."""
    monkeypatch.setattr(error_rate, "__module__", table.__name__)
    more: dict[str, Any] = {}
    if request.param == "whole entry":
        more = {"standard_error": table.share_error, "interval": error_rate_interval}
        more |= {"weighted": weighted_error_rate}
    wb.register_metric("error_rate", error_rate, better="lower", kinds=["classification"], **more)
    yield request.param
    METRICS.unregister("error_rate")


@pytest.fixture
def rule() -> Iterator[str]:
    """A rule that finds something in every trial, and whose prescription is another seed."""

    def look(case: Case) -> Finding | None:
        again = Prescription("train with another seed", "new", {"seed": case.config.seed + 100})
        return Finding("always", "always found", ("it has a curve",), again, 2.0)

    RULES["always"] = Rule("always found", "any trial", look, "end")
    yield "always"
    del RULES["always"]


def workbench(metric: str) -> wb.Workbench:
    bench = wb.Workbench(wb.Task.load("wine", metrics=metric))
    for seed in SEEDS:
        bench.run(CONFIG.replace(seed=seed))
    return bench


def test_a_fourth_metric_works_in_ensembles_test_set_and_diagnosis(entry: str) -> None:
    bench, reference = workbench("error_rate"), workbench("accuracy")
    own, other = (one.ensemble(select="greedy", size=3) for one in (bench, reference))
    assert own.val_metric == pytest.approx(1 - other.val_metric, abs=1e-6)
    assert own.corrected == pytest.approx(1 - other.corrected, abs=1e-6)
    assert own.optimism == pytest.approx(other.optimism, abs=1e-6)
    opened, truth = bench.open_test_set(2), reference.open_test_set(2)
    assert opened.score == pytest.approx(1 - truth.score, abs=1e-6)
    assert opened.low <= opened.score <= opened.high
    if entry == "whole entry":
        assert (opened.low, opened.high) == pytest.approx((1 - truth.high, 1 - truth.low), abs=1e-6)
        assert standard_error("error_rate", 0.2, 50) == pytest.approx(np.sqrt(0.2 * 0.8 / 50))
    else:
        assert np.isnan(standard_error("error_rate", 0.2, 50))
    assert bench.diagnose(1).verdict == reference.diagnose(1).verdict


def test_a_new_rule_is_found_tried_and_has_a_record(rule: str) -> None:
    bench = workbench("accuracy")
    found = bench.diagnose(1)
    assert found.verdict == rule
    bench.try_it(1).wait()
    row = bench.rules().set_index("rule").loc[rule]
    assert (row["tried"], row["measure"]) == (1, MEASURE_WORDS["end"])
    assert bench.trials.set_index("trial").loc[4, "seed"] == 100


def test_a_diagnosis_evaluates_only_the_prescriptions_of_its_own_rules(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = workbench("accuracy")
    bench.try_it(1).wait()
    evaluated: list[str] = []
    outcome = _Reader.outcome

    def counted(self: _Reader, data: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
        evaluated.append(data["rule"])
        return outcome(self, data, fingerprint)

    monkeypatch.setattr(_Reader, "outcome", counted)
    found = bench.diagnose(2)
    assert evaluated == [rule]
    helped = int(bench.rules().set_index("rule").loc[rule, "helped"])
    assert found.findings[0].record == f"helped {helped} of 1 time in this log, by {MEASURE_WORDS['end']}"
    evaluated.clear()
    bench.try_it(3).wait()
    assert evaluated == []
    del RULES[rule]
    try:
        bench.diagnose(2)
    finally:
        RULES[rule] = Rule("always found", "any trial", lambda case: None, "end")
    assert rule not in evaluated
