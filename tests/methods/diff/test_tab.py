"""The diff tab without a browser: what it offers, what its pickers ask for, and what it shows."""

from __future__ import annotations

import pytest

import workbench as wb
from tests.ui.canned import SHORT, record
from workbench.methods.diff.tab import DiffPanel, DiffTab
from workbench.methods.tabs import TABS


@pytest.fixture
def asked() -> list[tuple[int, int]]:
    return []


@pytest.fixture
def panel(asked: list[tuple[int, int]]) -> DiffPanel:
    return DiffPanel(lambda *pair: asked.append(pair))


def test_the_pickers_ask_for_two_different_trials_only(panel: DiffPanel, asked: list[tuple[int, int]]) -> None:
    assert "Train two" in panel.shown.value
    panel.offer([("7 (best)", 7), ("9", 9), ("8", 8)], (7, 9))
    assert asked == []  # what the panel chooses itself is no request
    panel.second.value = 8
    panel.second.value = 7
    assert "two different trials" in panel.shown.value
    panel.first.value = 9
    assert asked == [(7, 8), (9, 7)]


def test_a_choice_stays_when_others_are_offered(panel: DiffPanel) -> None:
    panel.offer([("7", 7), ("9", 9)], (7, 9))
    panel.offer([("10", 10), ("7", 7), ("9", 9)], None)
    assert panel.pair == (7, 9)


def test_a_problem_is_escaped(panel: DiffPanel) -> None:
    panel.show_problem("no <trial>")
    assert "no &lt;trial&gt;" in panel.shown.value


# --- in a view ----------------------------------------------------------------------------------------------------------


def opened(bench: wb.Workbench) -> DiffTab:
    view = bench.presenter.build(bench, TABS)
    view.tabs.selected_index = view.tabs.titles.index("Diff")
    bench.presenter.tick()
    body: DiffTab = view.body("Diff")
    return body


def test_it_shows_what_the_call_returns(bench: wb.Workbench) -> None:
    body = opened(bench)
    assert "Train two" in body.panel.shown.value
    first, second = record(bench), record(bench, SHORT.replace(learning_rate=0.25))
    bench.presenter.tick()
    pair = body.panel.pair
    assert pair is not None
    assert set(pair) == {first, second}
    assert bench.diff(*pair)._repr_html_() in body.panel.shown.value
    assert f"bench.diff({pair[0]}, {pair[1]})" in body.panel.shown.value
    assert "0.25" in body.panel.shown.value


def test_a_choice_is_shown_at_the_next_tick(bench: wb.Workbench) -> None:
    first, second, third = (record(bench, SHORT.replace(learning_rate=rate)) for rate in (0.1, 0.2, 0.3))
    body = opened(bench)
    body.panel.first.value, body.panel.second.value = third, second
    before = body.panel.shown.value
    bench.presenter.tick()
    bench.presenter.dispatch._requests and bench.presenter.tick()
    assert body.panel.shown.value != before
    assert bench.diff(third, second)._repr_html_() in body.panel.shown.value
    assert first not in body.panel.pair


def test_two_selected_trials_are_compared_and_a_deleted_one_is_not_offered(bench: wb.Workbench) -> None:
    trials = [record(bench, SHORT.replace(learning_rate=rate)) for rate in (0.1, 0.2, 0.3)]
    body = opened(bench)
    bench.presenter.shown.select_trials(trials[:2])
    bench.presenter.tick()
    bench.presenter.tick()
    assert body.panel.pair == (trials[0], trials[1])
    bench.delete(trials[1])
    bench.presenter.tick()
    assert trials[1] not in [number for _, number in body.panel.second.options]
    assert body.panel.pair is not None
    assert "wb-error" not in body.panel.shown.value
