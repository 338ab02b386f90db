"""The test-set tab, without a browser: it asks twice, and says what was looked at."""

from __future__ import annotations

import pandas as pd
import pytest

from workbench.methods.test_set.tab import SealTab

CHOICES = [("trial 7, the best", ("trial", 7)), ("ensemble 1", ("ensemble", 1))]
ONCE = {
    "when": "2026-01-02T03:04:05.678+00:00", "what": "trial 7", "score": 0.9, "low": 0.85, "high": 0.94, "validation": 0.93,
    "optimism": 0.03, "looked": 12, "who": "<b>me</b>@here", "stamp": "opened once", "baseline": 0.3, "rows": 360,
    "metric": "accuracy",
}  # fmt: skip


@pytest.fixture
def asked() -> list[tuple[object, bool, bool]]:
    return []


@pytest.fixture
def tab(asked: list[tuple[object, bool, bool]]) -> SealTab:
    return SealTab(lambda key, again, only_unseen: asked.append((key, again, only_unseen)))


def refresh(tab: SealTab, *openings: dict[str, object], rows: int = 360, unseen: int = 0, **options: object) -> None:
    frame = pd.DataFrame(list(openings), columns=list(ONCE))
    options = {"metric_label": "accuracy", "draw": lambda frame: b"png", **options}
    tab.refresh(frame, CHOICES, rows=rows, unseen=unseen, looked=12, **options)  # type: ignore[arg-type]


def visible(widget: object) -> bool:
    return bool(widget.layout.display != "none")  # type: ignore[attr-defined]


def test_it_asks_before_it_opens(tab: SealTab, asked: list[tuple[object, bool, bool]]) -> None:
    refresh(tab)
    assert "Sealed" in tab.state.value
    assert not visible(tab.question)
    tab.start.click()
    assert visible(tab.question)
    assert asked == []
    assert "12 trials have been evaluated on the validation set" in tab.sure.value
    tab.no.click()
    assert not visible(tab.question)
    tab.start.click()
    tab.yes.click()
    assert asked == [(("trial", 7), False, False)]
    assert not visible(tab.question)


def test_another_model_is_asked_for_anew(tab: SealTab, asked: list[tuple[object, bool, bool]]) -> None:
    refresh(tab)
    tab.start.click()
    tab.choice.value = ("ensemble", 1)
    assert not visible(tab.question)
    tab.start.click()
    assert "ensemble 1" in tab.sure.value
    tab.yes.click()
    assert asked == [(("ensemble", 1), False, False)]


def test_a_further_look_is_told_before_and_after(tab: SealTab, asked: list[tuple[object, bool, bool]]) -> None:
    refresh(tab, ONCE)
    assert "Opened once" in tab.state.value
    assert "2026-01-02 03:04 UTC" in tab.state.value
    assert "<b>me</b>" not in tab.state.value + tab.history.value
    assert tab.start.description == "Open again…"
    tab.start.click()
    assert "reused (2)" in tab.sure.value
    tab.yes.click()
    assert asked == [(("trial", 7), True, False)]
    refresh(tab, ONCE, {**ONCE, "stamp": "reused (2)"})
    assert "Reused (2)" in tab.state.value
    assert tab.history.value.index("reused (2)") < tab.history.value.index("opened once")
    assert visible(tab.picture)


def test_without_a_test_split_there_is_nothing_to_open(tab: SealTab) -> None:
    refresh(tab, rows=0)
    assert "No test set" in tab.state.value
    assert tab.start.disabled


def test_a_problem_is_shown_and_the_choice_is_kept(tab: SealTab) -> None:
    refresh(tab)
    tab.choice.value = ("ensemble", 1)
    tab.show_problem("<oh> no")
    refresh(tab)
    assert "&lt;oh&gt; no" in tab.result.value
    assert tab.choice.value == ("ensemble", 1)


def test_a_score_by_another_metric_is_named_and_not_drawn(tab: SealTab) -> None:
    drawn: list[list[str]] = []
    frame = pd.DataFrame([ONCE, {**ONCE, "what": "trial 8", "metric": "f1", "score": 0.5}])
    tab.refresh(
        frame, CHOICES, rows=360, unseen=0, looked=12, metric_label="accuracy", metric="accuracy",
        draw=lambda frame: drawn.append(frame["what"].tolist()) or b"png",
    )  # fmt: skip
    assert drawn == [["trial 7"]]
    assert "0.5000 (f1)" in tab.history.value
    assert "0.9000<" in tab.history.value


def test_rows_that_nobody_has_seen_can_be_measured_alone(tab: SealTab, asked: list[tuple[object, bool, bool]]) -> None:
    """As of a newer version of the data."""
    refresh(tab, unseen=360)
    tab.start.click()
    assert not visible(tab.fresh)  # all of them
    tab.no.click()
    refresh(tab, ONCE, unseen=40)
    tab.start.click()
    assert visible(tab.fresh)
    assert "40 rows" in tab.sure.value
    assert tab.fresh.description == "Only the 40 unseen rows"
    tab.fresh.click()
    assert asked == [(("trial", 7), False, True)]
    refresh(tab, ONCE, ONCE, unseen=0)
    tab.start.click()
    assert not visible(tab.fresh)
