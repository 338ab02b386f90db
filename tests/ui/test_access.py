"""Keyboard and names, the kernel's side: what Enter in a field does, and how the page reads a slider out."""

from __future__ import annotations

import html
import math
import re
from typing import Any

import ipywidgets as widgets
import numpy as np
import pytest

import workbench as wb
from tests.ui.canned import record
from workbench.core.config import HYPERPARAMETERS
from workbench.ui.controls import Controls
from workbench.ui.fields import NumberField
from workbench.ui.view import WorkbenchView


@pytest.fixture
def calls(bench: wb.Workbench, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the view would train."""
    found: list[Any] = []
    monkeypatch.setattr(bench, "start", lambda config, **about: found.append((config, about)))
    monkeypatch.setattr(bench, "branch", lambda trial, epoch, **changes: found.append((trial, epoch, changes)))
    return found


def enter(view: WorkbenchView, field: str, text: str) -> None:
    view.access._receive(view.access, {"kind": "enter", "field": field, "text": text}, [])
    view._presenter.tick()


def test_enter_trains_with_what_is_typed(view: WorkbenchView, calls: list[Any]) -> None:
    enter(view, "learning_rate", "0.02")  # the change of the field itself may arrive later
    enter(view, "epochs", "7")
    enter(view, "name", "by hand")
    enter(view, "seeds", "3")
    config, about = calls[-1]
    assert len(calls) == 4
    assert (config.learning_rate, config.epochs, about["name"], about["seeds"]) == (0.02, 7, "by hand", 3)
    assert [call[0].epochs for call in calls][1:] == [7, 7, 7]


def test_enter_trains_nothing_with_a_value_that_cannot_be(view: WorkbenchView, calls: list[Any]) -> None:
    for field, text, good in [("learning_rate", "fast", "0.1"), ("batch_size", "", "8"), ("epochs", "0.5", "3")]:
        enter(view, field, text)
        assert calls == []
        assert 'role="alert"' in view.controls.field(field).message.value
        view.controls.field(field).write(good)
    for text in ("", "-2", "1e3", "x"):
        enter(view, "seeds", text)
    assert [about["seeds"] for _, about in calls] == [1] * 4


def test_enter_branches_while_the_branch_bar_is_open(
    view: WorkbenchView, calls: list[Any], bench: wb.Workbench
) -> None:
    trial = record(bench)
    bench.presenter.tick()
    bench.presenter.pick(trial, 2)
    enter(view, "learning_rate", "0.05")
    assert [(call[0], call[1], call[2]["learning_rate"]) for call in calls] == [(trial, 2, 0.05)]
    assert view.bar.pick is None


def test_enter_only_applies_the_value_while_a_run_is_active(view: WorkbenchView, calls: list[Any]) -> None:
    view.active = True
    enter(view, "learning_rate", "0.02")
    assert calls == []
    assert view.controls.field("learning_rate").raw == 0.02


def read_out(data: dict[str, str], position: float) -> float:
    """As in frontend/src/keys.ts."""
    if position < float(data.get("zero", -math.inf)):
        return 0.0
    value = float(data["base"]) ** position if "base" in data else position
    return round(value) if "whole" in data else float(f"{value:.3g}")


SLIDERS = [name for name, one in HYPERPARAMETERS.items() if one.options is None and name != "seed"]


@pytest.fixture(scope="module")
def controls() -> Controls:
    return Controls("classification", changed=lambda: None, live=lambda name, value: None)


@pytest.mark.parametrize("name", SLIDERS)
def test_the_page_reads_out_the_value_that_a_slider_sets(controls: Controls, name: str) -> None:
    field = controls.field(name)
    assert isinstance(field, NumberField)
    data = {key: html.unescape(text) for key, text in re.findall(r'data-(\w+)="([^"]*)"', field.label.value)}
    field.load(field.declaration.domain.start)  # type: ignore[union-attr]
    slider, logarithmic = field.slider, isinstance(field.slider, widgets.FloatLogSlider)
    low, high = float(data["low"]), float(data["high"])
    for position in np.linspace(slider.min, slider.max, 9):
        slider.value = slider.base**position if logarithmic else int(position) if "whole" in data else position
        there = math.log(slider.value, slider.base) if logarithmic else slider.value
        assert min(max(read_out(data, there), low), high) == pytest.approx(field._slider_value(), rel=1e-9)
    assert data["unit"] == field.declaration.unit
