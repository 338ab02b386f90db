"""The diagnosis tab without a browser: what it says, what its buttons ask for, and what it escapes."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

import workbench as wb
from workbench.methods.diagnosis.case import Case, Finding, Prescription, RuleFindings
from workbench.methods.diagnosis.tab import HINT, DiagnosisPanel

CURVE = pd.DataFrame(
    {"trial": 7, "epoch": [1, 2], "train_loss": 1.0, "val_loss": 1.0, "train_metric": 0.5, "val_metric": 0.5}
)
CASE = Case(7, wb.Config(), "completed", "accuracy", "higher", CURVE, 1.0, 0.1, 0.9, 100)
HIGH = Finding(
    "rate_too_high", "learning rate too high since epoch 1", ("the loss was <thrown> up",),
    Prescription("lower it", "new", {"learning_rate": 0.01}), 0.8, 1, record="helped 3 of 4 times in this log",
)  # fmt: skip
FEW = Finding("noise", "too few seeds", ("it leads by 0.001",), Prescription("more", "seeds", seeds=4), 0.2)


@pytest.fixture
def asked() -> list[tuple[int, str]]:
    return []


@pytest.fixture
def panel(asked: list[tuple[int, str]]) -> DiagnosisPanel:
    return DiagnosisPanel(lambda trial, rule: asked.append((trial, rule)))


def shown(widget: object) -> bool:
    return bool(widget.layout.display != "none")  # type: ignore[attr-defined]


def test_before_anything_it_asks_for_a_trial(panel: DiagnosisPanel) -> None:
    assert HINT in panel.state.value
    assert not shown(panel.picture)
    assert panel.cards == []


def test_a_finding_comes_with_its_evidence_its_call_its_record_and_a_button(
    panel: DiagnosisPanel, asked: list[tuple[int, str]]
) -> None:
    panel.show(RuleFindings(CASE, [FEW, HIGH], ["no checkpoint & no layers"]), b"png")
    assert "Learning rate too high since epoch 1" in panel.verdict.value
    first, second = panel.cards
    assert "the loss was &lt;thrown&gt; up" in first.words.value
    assert "bench.start(bench.config(7).replace(learning_rate=0.01))" in first.words.value
    assert "helped 3 of 4 times" in first.record.value
    assert "Also: too few seeds" in second.words.value
    assert "bench.add_seeds(top=2, seeds=4)" in second.words.value
    assert "not tried in this log yet" in second.record.value
    assert "no checkpoint &amp; no layers" in panel.notes.value
    assert (panel.picture.value, shown(panel.picture)) == (b"png", True)
    second.button.click()
    first.button.click()
    assert asked == [(7, "noise"), (7, "rate_too_high")]


def test_a_refusal_stays_until_the_next_click_or_another_trial(panel: DiagnosisPanel) -> None:
    panel.show(RuleFindings(CASE, [HIGH]), b"png")
    panel.busy("Starting")
    panel.show_error(7, "no <room>")
    assert "no &lt;room&gt;" in panel.error.value
    assert not panel.cards[0].button.disabled
    assert "Diagnosis of trial 7" in panel.state.value
    panel.show(RuleFindings(CASE, [HIGH]), b"png")
    assert "no &lt;room&gt;" in panel.error.value
    panel.busy("Starting")
    assert panel.error.value == ""
    panel.show_error(7, "no room")
    panel.show(RuleFindings(dataclasses.replace(CASE, trial=9), [FEW]), b"png")
    assert panel.error.value == ""


def test_another_trial_replaces_the_first_and_a_healthy_one_has_no_button(
    panel: DiagnosisPanel, asked: list[tuple[int, str]]
) -> None:
    panel.show(RuleFindings(CASE, [HIGH, FEW]), b"png")
    cards = list(panel.cards)
    panel.show(RuleFindings(dataclasses.replace(CASE, trial=9), [FEW]), b"other")
    assert panel.cards == cards  # used again, not made anew
    assert [shown(card.widget) for card in cards] == [True, False]
    cards[0].button.click()
    assert asked == [(9, "noise")]
    panel.show(RuleFindings(CASE, []), b"third")
    assert "Healthy" in panel.verdict.value
    assert "wb-good" in panel.verdict.value
    assert not any(shown(card.widget) for card in cards)


def test_while_it_reads_the_old_one_stays_and_its_buttons_wait(panel: DiagnosisPanel) -> None:
    panel.show(RuleFindings(CASE, [HIGH]), b"png")
    panel.busy("reading trial 9…")
    assert "reading trial 9…" in panel.state.value
    assert shown(panel.cards[0].widget)
    assert panel.cards[0].button.disabled


def test_a_problem_takes_the_place_of_what_was_shown(panel: DiagnosisPanel, asked: list[tuple[int, str]]) -> None:
    panel.show(RuleFindings(CASE, [HIGH], ["a note"]), b"png")
    panel.show_problem("trial 9 has no <finished> epoch")
    assert "trial 9 has no &lt;finished&gt; epoch" in panel.state.value
    assert panel.verdict.value == panel.notes.value == ""
    assert not shown(panel.picture)
    assert not shown(panel.cards[0].widget)
    panel.cards[0].button.click()
    assert asked == []
