"""The panel of the range test in plain Python: what it asks for, and what it shows in each of its states."""

from __future__ import annotations

import pytest

import workbench as wb
from workbench.methods.range_test.panel import RangePanel


class Asked:
    """A panel, and what its buttons asked for."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.panel = RangePanel(
            lambda: self.calls.append("start"), lambda rate: self.calls.append(rate), lambda: self.calls.append("stop")
        )


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_before_a_test_only_starting_is_offered(asked: Asked) -> None:
    panel = asked.panel
    assert panel.button.description == "Range test"
    assert panel.take.disabled
    assert panel.picture.layout.display == "none"
    panel.button.click()
    panel.take.click()
    assert asked.calls == ["start"]


def test_while_it_goes_on_the_button_stops_it(asked: Asked) -> None:
    panel = asked.panel
    panel.show_running(0.25)
    assert panel.progress.value == 0.25
    assert "25% done" in panel.words.value
    assert panel.button.description == "Stop"
    panel.button.click()
    assert asked.calls == ["stop"]


def test_a_result_is_shown_and_can_be_used(asked: Asked) -> None:
    """With a real test: the very number of the handle goes into the controls."""
    test = (
        wb.Workbench(wb.Task.load("iris")).lr_range_test(wb.Config(hidden_units=8), points=8, seeds=1, steps=15).wait()
    )
    panel = asked.panel
    panel.show_running(0.9)
    panel.show(test.suggestion, test.reason, test.figure()._repr_png_())
    assert test.reason in panel.words.value
    assert panel.picture.layout.display != "none"
    assert bytes(panel.picture.value).startswith(b"\x89PNG")
    assert panel.button.description == "Range test"
    panel.take.click()
    assert asked.calls == [test.suggestion]


def test_without_a_suggestion_there_is_nothing_to_use(asked: Asked) -> None:
    panel = asked.panel
    panel.show(0.01, "fine", b"png")
    panel.show(None, "every rate < 1 & more diverges", b"png")
    assert "every rate &lt; 1 &amp; more diverges" in panel.words.value
    assert panel.take.disabled
    panel.take.click()
    assert asked.calls == []


def test_a_problem_takes_the_suggestion_away_and_leaves_the_picture(asked: Asked) -> None:
    panel = asked.panel
    panel.show(0.01, "fine", b"png")
    parts = panel.widget.children
    panel.show_problem("batch_size=1000: larger than <the> training split")
    assert 'role="alert"' in panel.words.value
    assert "&lt;the&gt;" in panel.words.value
    assert panel.rate is None
    assert panel.take.disabled
    assert panel.button.description == "Range test"
    assert panel.widget.children == parts
    assert panel.picture.value == b"png"
