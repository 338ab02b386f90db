"""`Workbench(controls=..., ranges=...)`: what is shown, what the controls and searches allow, and what is rejected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import workbench as wb
from tests.ui.canned import record
from workbench.core.config import HYPERPARAMETERS
from workbench.core.domains import IntRange, LogRange
from workbench.methods.tabs import TABS
from workbench.ui.control_limits import ControlLimits, control_limits
from workbench.ui.controls import Controls
from workbench.ui.view import WorkbenchView

LESSON: dict[str, Any] = {
    "controls": ["learning_rate", "l2", "batch_size", "optimizer"],
    "ranges": {"learning_rate": (1e-4, 1), "batch_size": (8, 64), "l2": (1e-4, 0.1)},
}


def controls(names: Any = None, ranges: Any = None, changed: Callable[[], None] = lambda: None) -> Controls:
    limits = control_limits(names, ranges, wb.Config(), "classification")
    return Controls("classification", changed=changed, live=lambda name, value: None, limits=limits)


def visible(shown: Controls) -> set[str]:
    return {name for name, field in shown._fields.items() if field.widget.layout.display != "none"}


@pytest.fixture
def lesson() -> Controls:
    return controls(names=LESSON["controls"], ranges=LESSON["ranges"])


@pytest.fixture
def lesson_view() -> WorkbenchView:
    bench = wb.Workbench(wb.Task.load("iris"), **LESSON)
    return bench.presenter.build(bench, TABS)


# --- what is shown ------------------------------------------------------------------------------------------------------


def test_only_the_controls_that_were_asked_for_are_shown(lesson: Controls) -> None:
    assert visible(lesson) == set(LESSON["controls"])
    headings = {group for group, section in lesson.sections.items() if section.widget.layout.display != "none"}
    places = [HYPERPARAMETERS[name] for name in LESSON["controls"]]
    assert headings == {"essentials" if one.essential else one.group for one in places}
    everything = controls()
    for section in everything.sections.values():
        section.open()
    assert visible(everything) > visible(lesson)


def test_without_limits_everything_is_as_it_was() -> None:
    plain = Controls("classification", changed=lambda: None, live=lambda name, value: None)
    assert visible(controls()) == visible(plain)
    assert plain.limits == ControlLimits()


def test_a_control_that_the_chosen_option_reads_appears_only_if_it_was_asked_for() -> None:
    shown = controls(["optimizer", "momentum"])
    assert visible(shown) == {"optimizer"}
    shown.field("optimizer").control.value = "momentum"  # type: ignore[attr-defined]
    assert visible(shown) == {"optimizer", "momentum"}
    other = controls(["optimizer"])
    other.field("optimizer").control.value = "momentum"  # type: ignore[attr-defined]
    assert visible(other) == {"optimizer"}


def test_the_parameter_of_a_builder_of_ones_own_can_be_shown_and_narrowed() -> None:
    def build(task: wb.Task, *, width: Any = wb.IntRange(2, 256, default=8)) -> nn.Module:
        return nn.Linear(task.input_shape[0], task.output_size)

    bench = wb.Workbench(
        wb.Task.load("iris"), models={"mine": build}, controls=["model", "width"], ranges={"width": (4, 32)}
    )
    shown = bench.presenter.build(bench, TABS).controls
    assert visible(shown) == {"model"}
    shown.load(wb.Config())
    shown.field("model").control.value = "mine"  # type: ignore[attr-defined]
    assert visible(shown) == {"model", "width"}
    assert (shown.field("width").slider.min, shown.field("width").slider.max) == (4, 32)  # type: ignore[attr-defined]


def test_hidden_hyperparameters_keep_what_is_loaded(lesson: Controls) -> None:
    config = wb.Config(hidden_units=16, epochs=7, dropout=0.2, learning_rate=0.01)
    lesson.load(config)
    assert lesson.read() == config
    assert visible(lesson) == set(LESSON["controls"])


# --- ranges -------------------------------------------------------------------------------------------------------------


def test_sliders_end_where_the_range_does(lesson: Controls) -> None:
    slider = lesson.field("learning_rate").slider  # type: ignore[attr-defined]
    assert (slider.base**slider.min, slider.base**slider.max) == pytest.approx((1e-4, 1))
    slider = lesson.field("batch_size").slider  # type: ignore[attr-defined]
    assert (slider.base**slider.min, slider.base**slider.max) == pytest.approx((8, 64))


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("learning_rate", "1", "1.5"),
        ("learning_rate", "0.0001", "9e-05"),
        ("batch_size", "64", "65"),
        ("l2", "0.1", "1"),
    ],
)
def test_what_is_typed_beyond_the_range_is_rejected(lesson: Controls, name: str, inside: str, outside: str) -> None:
    field = lesson.field(name)
    field.text.value = inside  # type: ignore[attr-defined]
    assert getattr(lesson.read(), name) == float(inside)
    field.text.value = outside  # type: ignore[attr-defined]
    with pytest.raises(wb.ConfigError, match=f"{name}={outside}.*must be a"):
        lesson.read()
    assert outside in field.message.value


def test_off_stays_possible(lesson: Controls) -> None:
    assert lesson.read().l2 == 0
    field = lesson.field("l2")
    field.text.value = "0.01"  # type: ignore[attr-defined]
    field.slider.value = field.slider.base**field.slider.min  # type: ignore[attr-defined]
    assert lesson.read().l2 == 0


def test_a_search_keeps_to_the_range(lesson: Controls) -> None:
    for name in ("learning_rate", "batch_size", "l2"):
        lesson.field(name).toggle.value = True
    space = lesson.space()
    for name, (low, high) in LESSON["ranges"].items():
        domain: Any = space[name]
        assert low <= domain.low < domain.high <= high
    lesson.field("learning_rate").editor.high.value = "5"  # type: ignore[union-attr]
    with pytest.raises(wb.ConfigError, match="learning_rate=5"):
        lesson.space()


def test_a_wider_search_is_marked_and_one_without_a_control_rejected(lesson_view: WorkbenchView) -> None:
    lesson_view.search_in("learning_rate", LogRange(1e-3, 10.0))
    with pytest.raises(wb.ConfigError, match="learning_rate=10"):
        lesson_view.controls.space()
    with pytest.raises(wb.ConfigError, match="hidden_units has no control here"):
        lesson_view.search_in("hidden_units", IntRange(8, 64))
    assert "hidden_units" not in visible(lesson_view.controls)


def test_a_suggestion_outside_is_rejected_or_marked(lesson_view: WorkbenchView) -> None:
    with pytest.raises(wb.ConfigError, match="patience has no control here"):
        lesson_view.put(patience=5)
    lesson_view.put(learning_rate=0.5)
    assert lesson_view.controls.read().learning_rate == 0.5
    lesson_view.put(learning_rate=3.0)
    assert "must be a number from 0.0001 to 1" in lesson_view.controls.field("learning_rate").message.value


def test_calls_are_not_limited() -> None:
    bench = wb.Workbench(wb.Task.load("iris"), **LESSON)
    trial = bench.run(wb.Config(learning_rate=5.0, epochs=1, hidden_units=8)).trials[0]
    assert bench.config(trial).learning_rate == 5.0


def test_another_lesson_on_the_same_session_gets_a_view_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("IPython.display.display", lambda *arguments, **options: None)
    bench = wb.Workbench(wb.Task.load("iris"))
    bench._ipython_display_()
    first = bench.presenter.view
    bench._ipython_display_()
    assert bench.presenter.view is first
    bench.control_limits = control_limits(["epochs"], None, wb.Config(), "classification")
    bench._ipython_display_()
    assert bench.presenter.view is not first
    assert visible(bench.presenter.shown.controls) == {"epochs"}


def test_a_trial_beyond_the_range_can_be_loaded_and_is_marked(lesson_view: WorkbenchView) -> None:
    bench: Any = lesson_view._bench
    trial = record(bench, wb.Config(learning_rate=5.0, hidden_units=8))
    lesson_view.load(bench.config(trial))
    assert "learning_rate=5" in lesson_view.controls.field("learning_rate").message.value
    lesson_view.controls.field("learning_rate").text.value = "0.5"  # type: ignore[attr-defined]
    assert lesson_view.controls.read() == bench.config(trial).replace(learning_rate=0.5)


# --- what is rejected, before anything is made --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"controls": ["learning_rat"]}, "controls", "did you mean 'learning_rate'"),
        ({"controls": "learning_rate"}, "controls", "give a list"),
        ({"controls": []}, "controls", "name at least one"),
        ({"controls": ["l2", 3]}, "controls", "give a list"),
        ({"controls": {"l2": 1}}, "controls", "give a list"),
        ({"controls": ["momentum"]}, "controls", "is read by optimizer='momentum'.*add 'optimizer' to controls"),
        ({"controls": ["gamma", "l2"]}, "controls", "is read by schedule=.*add 'schedule' to controls"),
        ({"ranges": {"learning_rat": (0.1, 1)}}, "ranges", "did you mean 'learning_rate'"),
        ({"ranges": {3: (0.1, 1)}}, "ranges", "unknown hyperparameter 3"),
        ({"ranges": [("l2", 0.1, 1)]}, "ranges", "give \\(low, high\\) for each"),
        ({"ranges": {"learning_rate": (1, 1e-4)}}, "ranges", "must be below the upper"),
        ({"ranges": {"learning_rate": (0.001, 0.001)}}, "ranges", "must be below the upper"),
        ({"ranges": {"learning_rate": 0.1}}, "ranges", "give two numbers"),
        ({"ranges": {"learning_rate": (1e-4, 1e-3, 1)}}, "ranges", "give two numbers"),
        ({"ranges": {"learning_rate": ("1e-4", "1")}}, "ranges", "give two numbers"),
        ({"ranges": {"learning_rate": (float("nan"), 1)}}, "ranges", "give two numbers"),
        ({"ranges": {"learning_rate": (True, 2)}}, "ranges", "give two numbers"),
        ({"ranges": {"learning_rate": "ab"}}, "ranges", "give two numbers"),
        ({"ranges": {"batch_size": (8.5, 64)}}, "ranges", "give two whole numbers"),
        ({"ranges": {"learning_rate": (0, 1)}}, "ranges", "logarithmic scale, which begins above 0: try 1e-06$"),
        ({"ranges": {"learning_rate": (-1, 1)}}, "ranges", "logarithmic scale"),
        ({"ranges": {"l2": (0, 1)}}, "ranges", "logarithmic scale.*off stays possible"),
        ({"ranges": {"learning_rate": (1e-9, 1)}}, "ranges", "stay within 1e-06 to 10"),
        ({"ranges": {"dropout": (0, 1)}}, "ranges", "stay within 0 to 0.95"),
        ({"ranges": {"learning_rate": (0.01, 1)}}, "ranges", r"does not contain 0.001.*widen it to \(0.001, 1\)"),
        ({"ranges": {"batch_size": (64, 128)}}, "ranges", r"does not contain 32.*widen it to \(32, 128\)"),
        ({"ranges": {"optimizer": ("sgd", "adam")}}, "ranges", "has no range"),
        ({"ranges": {"batch_norm": (0, 1)}}, "ranges", "has no range"),
        ({"controls": ["l2"], "ranges": {"epochs": (5, 50)}}, "ranges", "not among the controls"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_rejected_with_a_remedy(
    given: dict[str, Any], field: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(wb.ConfigError, match=words) as caught:
        wb.Workbench(wb.Task.load("iris"), tmp_path / "log.db", **given)
    assert [problem.field for problem in caught.value.problems] == [field]
    assert list(tmp_path.iterdir()) == []


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(wb.ConfigError) as caught:
        wb.Workbench(
            wb.Task.load("iris"), controls=["nothing", "l2"], ranges={"learning_rate": (0.1, 1), "l2": (1, 0.1)}
        )
    assert len(caught.value.problems) == 3


def test_arrays_of_numpy_are_lists_too() -> None:
    limits = control_limits(np.array(["l2", "epochs"]), {"epochs": np.array([5, 50])}, wb.Config(), "classification")
    assert limits == ControlLimits(frozenset({"l2", "epochs"}), {"epochs": IntRange(5, 50, scale="log")})
