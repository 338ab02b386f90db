"""The errors tab without a browser: what its buttons ask for, what it shows, and what it escapes."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from tests.ui.canned import record
from workbench.core.errors import RunError
from workbench.methods.errors.errors import TrialErrors
from workbench.methods.errors.tab import ErrorsPanel, ErrorsTab, errors_call, errors_html
from workbench.methods.tabs import TABS

ROWS = pd.DataFrame(
    {
        "row": [3, 8, 1], "true": ["<b>cat", "dog", "dog"], "predicted": ["dog", "<b>cat", "dog"],
        "probability": [0.9, 0.8, 0.51], "loss": [2.3, 1.6, 0.67],
    }
)  # fmt: skip
FOUND = TrialErrors(
    task="pets", trial=7, epoch=4, best=True, split="validation", kind="classification", rows=ROWS,
    worst=ROWS.assign(weight=[1.0, np.nan, 3.25]),
    summary=pd.DataFrame([{
        "rows": 3, "wrong": 2, "accuracy": 1 / 3, "balanced_accuracy": 0.25, "f1_macro": 0.25, "loss": 1.5,
        "calibration_error": 0.4, "brier": 0.6,
    }]),
    sentences=("2 of 3 rows wrong: accuracy 0.3333.", "Brier score 0.6."),
    confusion=pd.DataFrame([[0, 1], [1, 1]], ["<b>cat", "dog"], ["<b>cat", "dog"]),
    per_class=pd.DataFrame(
        {"support": [1, 2], "predicted": [1, 2], "precision": [0.0, np.nan], "recall": [0, 0.5], "f1": [0, 0.5]},
        index=["<b>cat", "dog"],
    ),
    calibration=pd.DataFrame(
        {"low": [0.0, 0.5], "high": [0.5, 1.0], "rows": [0, 3], "confidence": [np.nan, 0.74], "accuracy": [np.nan, 0.33]}
    ),
    inputs=None, inputs_exact=True, image=False,
)  # fmt: skip


@pytest.fixture
def asked() -> list[tuple[Any, ...]]:
    return []


@pytest.fixture
def panel(asked: list[tuple[Any, ...]]) -> ErrorsPanel:
    return ErrorsPanel(lambda *arguments: asked.append(arguments), lambda trial: asked.append((trial,)))


def test_without_a_trial_it_says_what_to_do(panel: ErrorsPanel, asked: list[tuple[Any, ...]]) -> None:
    assert panel.start.disabled
    assert "Train a model first" in panel.state.value
    panel.start.click()
    assert asked == []


def test_the_button_asks_for_trial_epoch_and_split(panel: ErrorsPanel, asked: list[tuple[Any, ...]]) -> None:
    panel.offer([("7 (best)", 7), ("9", 9)], 9)
    panel.offer_epochs([2, 4])
    asked.clear()
    panel.start.click()
    panel.epoch.value, panel.split.value = 4, "train"
    panel.start.click()
    panel.trial.value = 7
    panel.start.click()
    assert asked == [(9, 0, "validation", 0), (9, 4, "train", 0), (7,), (7, 4, "train", 0)]
    assert [label for label, _ in panel.split.options] == ["validation", "training"]  # and no test


def test_choices_that_come_later_keep_what_was_chosen(panel: ErrorsPanel) -> None:
    panel.offer([("7", 7), ("9", 9)], 7)
    panel.trial.value = 9
    panel.offer([("7", 7), ("9", 9), ("10", 10)], None)
    assert panel.trial.value == 9
    panel.offer_epochs([1, 2, 3])
    panel.epoch.value = 3
    panel.offer_epochs([1, 2])
    assert panel.epoch.value == 0


def test_what_is_shown_is_escaped_and_described(panel: ErrorsPanel) -> None:
    shown = errors_html(FOUND, b"png")
    panel.show(FOUND, shown)
    assert "<b>cat" not in shown
    assert "&lt;b&gt;cat" in shown
    assert "2 of 3 rows wrong" in panel.state.value
    assert "bench.errors(7)" in panel.state.value
    assert re.search(r'<img class="wb-picture" [^>]*alt="Confusion matrix and calibration. Trial 7', shown)
    assert shown.count('class="wb-worse"') == 1  # the row that is right
    assert "nan" not in shown.lower()
    panel.busy(8)
    assert panel.shown.value == shown
    panel.show_problem("<oh> no")
    assert "&lt;oh&gt; no" in panel.state.value
    assert panel.shown.value == ""


def test_the_pictures_have_a_description_each() -> None:
    found = dataclasses.replace(FOUND, image=True, inputs=np.random.default_rng(0).random((3, 1, 4, 4)))
    shown = errors_html(found, b"png")
    alts = re.findall(r'<figure class="([^"]*)"><img [^>]*alt="([^"]*)"', shown)
    assert [alt for _, alt in alts] == [
        "row 3, true &lt;b&gt;cat, predicted dog (0.90)",
        "row 8, true dog, predicted &lt;b&gt;cat (0.80)",
        "row 1, true dog, predicted dog (0.51)",
    ]
    assert ["wb-thumbnail-wrong" in css for css, _ in alts] == [True, True, False]


def test_labels_are_drawn_as_bars() -> None:
    counts = pd.DataFrame(
        {"true_negative": [3, 2], "false_positive": [1, 0], "false_negative": [0, 2], "true_positive": [4, 4]},
        index=["a", "b"],
    )
    axes = dataclasses.replace(FOUND, kind="multilabel", confusion=counts).figure().axes
    assert [bar.get_width() for bar in axes[0].patches] == [4, 4, 0, 2, 1, 0]
    assert axes[1].get_xlabel() == "probability of a label"


def test_of_many_classes_those_with_the_lowest_f1_are_listed() -> None:
    table = pd.DataFrame({"support": 5, "predicted": 5, "precision": 0.5, "recall": 0.5, "f1": np.arange(40) / 40})
    shown = errors_html(
        dataclasses.replace(FOUND, per_class=table.set_index(pd.Index([f"c{n}" for n in range(40)]))), b"png"
    )
    assert "15 of 40" in shown
    assert ">c0<" in shown
    assert ">c39<" not in shown


def test_the_call_leaves_out_what_is_at_its_default() -> None:
    assert errors_call(FOUND) == "bench.errors(7)"
    later = dataclasses.replace(FOUND, best=False, split="train")
    assert errors_call(later) == "bench.errors(7, 4, split='train')"
    assert errors_call(dataclasses.replace(FOUND, fold=2, folds=4)) == "bench.errors(7, fold=2)"


# --- in a view ----------------------------------------------------------------------------------------------------------


def opened(bench: wb.Workbench) -> ErrorsTab:
    view = bench.presenter.build(bench, TABS)
    view.tabs.selected_index = view.tabs.titles.index("Errors")
    bench.presenter.tick()
    body: ErrorsTab = view.body("Errors")
    return body


def wait_for(bench: wb.Workbench, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        bench.presenter.tick()
        assert time.monotonic() < deadline


def test_a_click_calls_the_public_method(bench: wb.Workbench) -> None:
    bench.run(wb.Config(epochs=2, hidden_units=8), seeds=2)
    body = opened(bench)
    panel = body.panel
    assert {number for _, number in panel.trial.options} == {1, 2}
    assert [number for _, number in panel.epoch.options] == [0, 1, 2]
    panel.split.value, panel.epoch.value = "train", 1
    panel.start.click()
    wait_for(bench, lambda: bool(panel.shown.value))
    found = bench.errors(panel.trial.value, 1, split="train")
    assert found.description[0].split(" on ")[1].split("'")[0] in panel.state.value
    assert errors_call(found).replace("'", "&#x27;") in panel.state.value


def test_of_a_cross_validated_trial_all_folds_or_one_are_shown() -> None:
    bench = wb.Workbench(wb.Task.load("iris", split=wb.Split.folds(3)))
    bench.run(wb.Config(epochs=1, hidden_units=8))
    panel = opened(bench).panel
    assert [label for label, _ in panel.fold.options] == ["all", "1", "2", "3"]
    for fold, words in ((0, "on out-of-fold rows of"), (2, "Fold 2 of trial 1")):
        panel.fold.value, panel.shown.value = fold, ""
        panel.start.click()
        wait_for(bench, lambda: bool(panel.shown.value))
        assert words in panel.state.value
    assert "bench.errors(1, fold=2)" in panel.state.value


def test_a_selected_trial_is_chosen(bench: wb.Workbench) -> None:
    first, second = record(bench), record(bench)
    body = opened(bench)
    assert body.panel.trial.value == second  # the one in view
    bench.presenter.shown.select_trials([first])
    bench.presenter.tick()
    bench.presenter.tick()
    assert body.panel.trial.value == first
    body.panel.trial.value = second
    record(bench)
    bench.presenter.tick()
    assert body.panel.trial.value == second  # chosen by hand; the selection has not changed


def test_an_error_is_shown_in_the_tab(bench: wb.Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    record(bench)
    body = opened(bench)

    def fail(self: Any, *arguments: Any, **options: Any) -> Any:
        raise RunError("no <model> here")

    monkeypatch.setattr(wb.Workbench, "errors", fail)
    body.panel.start.click()
    wait_for(bench, lambda: "wb-error" in body.panel.state.value)
    assert "no &lt;model&gt; here" in body.panel.state.value
    record(bench)
    bench.presenter.tick()
    assert "no &lt;model&gt; here" in body.panel.state.value  # until the next click
