"""The sections of the controls, leaving a search, and the line of the best trial."""

from __future__ import annotations

import pytest

import workbench as wb
from tests.ui.canned import SHORT, record
from workbench.core.config import HYPERPARAMETERS
from workbench.core.events import TrialState
from workbench.methods.tabs import TABS
from workbench.ui.controls import Controls
from workbench.ui.view import WorkbenchView


@pytest.fixture
def controls() -> Controls:
    return Controls("classification", changed=lambda: None, live=lambda name, value: None)


def on_show(controls: Controls) -> list[str]:
    """The fields on show, in their order."""
    return [
        field.name
        for section in controls.sections.values()
        for field in section.fields
        if field.widget.layout.display != "none"
    ]


def test_the_essentials_come_first_and_the_rest_is_folded(controls: Controls) -> None:
    assert on_show(controls) == ["learning_rate", "optimizer", "batch_size", "hidden_units", "epochs"]
    assert next(iter(controls.sections)) == "essentials"
    assert not controls.sections["loss"].fields[0].widget.children  # made when it is first shown
    controls.sections["loss"].open()
    assert set(on_show(controls)) >= {"loss", "l1", "l2"}
    controls.sections["loss"].heading.value = False
    assert "l2" not in on_show(controls)
    placed = [field.name for section in controls.sections.values() for field in section.fields]
    assert sorted(placed) == sorted(HYPERPARAMETERS)


def test_a_heading_counts_what_was_changed_and_what_is_searched_below_it(controls: Controls) -> None:
    heading = controls.sections["loss"].heading
    assert heading.description == "Loss"
    controls.load(wb.Config(l2=0.01, label_smoothing=0.1))
    assert heading.description == "Loss · 2 changed"
    assert "wb-changed" in controls.sections["loss"].fields[1].widget._dom_classes
    controls.field("l2").search(wb.LogRange(1e-5, 1e-2))
    assert heading.description == "Loss · 1 changed · 1 searched"
    controls.load(wb.Config())
    assert heading.description == "Loss"


def test_what_the_task_suggests_counts_as_unchanged_and_is_what_reset_brings_back() -> None:
    start = wb.Config(epochs=300, l2=1e-4)
    controls = Controls("classification", changed=lambda: None, live=lambda name, value: None, start=start)
    assert controls.read() == start
    assert controls.sections["loss"].heading.description == "Loss"
    controls.load(start.replace(epochs=7, l2=0.0))
    assert controls.sections["loss"].heading.description == "Loss · 1 changed"
    controls.reset("epochs")
    controls.reset("l2")
    assert controls.read() == start


def test_a_problem_below_a_folded_heading_opens_it(controls: Controls) -> None:
    controls._fields["patience"].load(3)
    controls._fields["patience"].set_value("soon")
    with pytest.raises(wb.ConfigError, match="patience='soon'"):
        controls.read()
    assert controls.sections["training"].is_open
    assert "patience" in on_show(controls)


def test_hyperparameters_of_the_users_model_are_essential() -> None:
    bench = wb.Workbench(wb.Task.load("iris"), models={"sized": sized})
    view = bench.presenter.build(bench, TABS)
    view.controls.field("model").control.value = "sized"  # type: ignore[attr-defined]
    assert "width" in [field.name for field in view.controls.sections["essentials"].fields]
    assert view.controls.field("width").widget.layout.display != "none"


def sized(task: object, *, width: int = wb.IntRange(1, 64, default=8)) -> object:  # type: ignore[assignment]
    from torch import nn

    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))


def test_what_is_loaded_is_searched_no_longer(bench: wb.Workbench, view: WorkbenchView) -> None:
    fields = [view.controls.field(name) for name in ("learning_rate", "optimizer")]
    fields[0].search(wb.LogRange(1e-4, 1e-1))
    fields[1].search(wb.Choice("sgd", "adam"))
    view.put(learning_rate=0.02)
    assert (fields[0].searched, fields[1].searched) == (False, True)
    view.load(wb.Config(learning_rate=0.03, optimizer="sgd"))
    assert not any(field.searched for field in fields)
    assert (fields[0].raw, fields[1].raw) == (0.03, "sgd")


def test_the_best_trial_is_named_and_its_buttons_act_on_it(bench: wb.Workbench, view: WorkbenchView) -> None:
    bench.presenter.tick()
    assert view.best.widget.layout.display == "none"
    record(bench, SHORT.replace(learning_rate=0.5), state=TrialState.DIVERGED)
    trial = record(bench, SHORT.replace(learning_rate=0.02))
    bench.presenter.tick()
    assert view.best.widget.layout.display != "none"
    assert f"<b>trial {trial}</b>, accuracy 0.5000 at epoch 3 (lowest validation loss)" in view.best.text.value
    view.best.load.click()
    bench.presenter.tick()
    assert view.controls.read().learning_rate == 0.02
    view.best.diagnose.click()
    bench.presenter.tick()
    assert view.tabs.titles[view.tabs.selected_index] == "Diagnose"
    assert bench.presenter.selected == [trial]
    view.best.more_seeds.click()
    bench.presenter.tick()
    (run,) = bench.active or bench.runs[-1:]
    run.wait(60)
    assert [config.seed for config in run.configs.values()] == [1, 2, 3, 4]
    expected = bench.config(trial).replace(loss="cross_entropy")
    assert {config.replace(seed=0) for config in run.configs.values()} == {expected}


def test_more_seeds_of_chosen_trials(bench: wb.Workbench) -> None:
    first = record(bench, SHORT)
    second = record(bench, SHORT.replace(seed=2))
    other = record(bench, SHORT.replace(optimizer="sgd"))
    run = bench.add_seeds(trials=[first, second, other], seeds=2)
    run.wait(60)
    seeds = [(config.optimizer, config.seed) for config in run.configs.values()]
    assert seeds == [("adam", 1), ("adam", 3), ("adam", 4), ("adam", 5), ("sgd", 1), ("sgd", 2)]


def test_trials_that_no_seed_repeats_are_rejected(bench: wb.Workbench) -> None:
    live = record(bench, change=(2, 0.5))
    deleted = record(bench)
    bench.delete(deleted)
    count = len(bench.trials)
    for trials, words in (
        ([live], rf"trial {live} is a branch or was changed while it trained.*bench.config\({live}\)"),
        ([deleted], rf"trial {deleted} is in the trash; bring it back with bench.restore\({deleted}\)"),
        ([99], "99"),
        (7, "trials=7: give a list of trial numbers"),
    ):
        with pytest.raises(wb.WorkbenchError, match=words):
            bench.add_seeds(trials=trials)  # type: ignore[arg-type]
    assert len(bench.trials) == count


def test_a_choice_that_is_off_says_so(controls: Controls) -> None:
    field = controls.field("class_weight")
    assert field.control.label == "off"  # type: ignore[attr-defined]
    for value in ("balanced", None, '{"a": 2.0, "b": 1.0}', None):
        field.load(value)
        assert (field.raw, field.control.label) == (value, value or "off")  # type: ignore[attr-defined]
