"""The user interface without a browser: what its controls say, show, refuse and ask for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comm
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from torch import nn

import workbench as wb
from tests.ui.canned import epoch_end, record
from workbench.core.config import HYPERPARAMETERS
from workbench.core.domains import Choice, IntRange, Range
from workbench.core.events import StepProgress, TrialEnded, TrialState
from workbench.core.registry import MODELS
from workbench.methods.tabs import TABS
from workbench.ui.controls import Controls
from workbench.ui.fields import NumberField
from workbench.ui.live import LiveRun
from workbench.ui.presenter import LOADING_TICK_SECONDS, NUMBERS_SECONDS
from workbench.ui.pump import TICK_SECONDS
from workbench.ui.status import run_status
from workbench.ui.view import WorkbenchView


def controls(kind: str = "classification") -> Controls:
    return Controls(kind, changed=lambda: None, live=lambda name, value: None)


def visible(shown: Controls) -> set[str]:
    return {name for name in HYPERPARAMETERS if shown.field(name).widget.layout.display != "none"}


def test_the_page_gets_few_enough_messages_to_lose_none(monkeypatch: pytest.MonkeyPatch, bench: wb.Workbench) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(comm.DummyComm, "publish_msg", lambda self, *message, **rest: sent.append(message))
    bench.presenter.build(bench, TABS)
    bench.presenter.tick()
    assert 100 < len(sent) < 350  # a socket's queue of 1,000 is only sure to take 500 (see parts.py)


def test_a_control_is_made_when_it_is_first_shown() -> None:
    shown = controls()
    field = shown._fields["momentum"]
    assert (field.widget.children, field.raw, shown.read().momentum) == ((), 0.9, 0.9)
    shown._fields["optimizer"].control.value = "momentum"  # type: ignore[attr-defined]
    assert field.widget.children == ()
    shown.sections["optimizer"].open()
    assert len(field.widget.children) == 3
    assert shown._fields["gamma"].widget.children == ()
    shown.load(wb.Config(gamma=0.3))  # hidden, but not at its default: it has to be kept
    assert shown.read().gamma == 0.3


def test_the_views_are_refreshed_less_while_a_page_loads(bench: wb.Workbench) -> None:
    presenter = bench.presenter
    assert presenter._pause() == TICK_SECONDS
    curves = presenter.build(bench, TABS).curves
    assert presenter._pause() == TICK_SECONDS
    for answer in ("hello", "here"):
        curves.get_state("epochs")  # one trait is no page
        assert presenter._pause() == TICK_SECONDS
        curves.get_state()  # as the page's widget manager asks for it
        assert presenter._pause() == LOADING_TICK_SECONDS
        curves._receive(curves, {"kind": answer}, [])
        assert presenter._pause() == TICK_SECONDS


def test_the_front_end_keeps_every_anywidget_connected(bench: wb.Workbench) -> None:
    presenter = bench.presenter
    view = presenter.build(bench, TABS)
    table, parallel = view.table.table, view.body("Compare").panel.parallel
    assert view.curves.kept == (view.curves.model_id, table.model_id)
    assert parallel.kept == (parallel.model_id,)


def test_every_hyperparameter_has_a_control_with_its_symbol_and_meaning() -> None:
    shown = controls()
    for name, hyperparameter in HYPERPARAMETERS.items():
        field = shown.field(name)
        assert hyperparameter.symbol in field.label.value
        assert hyperparameter.meaning in field.tip


def values(name: str) -> st.SearchStrategy[Any]:
    hyperparameter = HYPERPARAMETERS[name]
    domain = hyperparameter.domain
    if isinstance(domain, IntRange):
        strategy: st.SearchStrategy[Any] = st.integers(int(domain.low), int(domain.high))
    elif isinstance(domain, Range):
        strategy = st.floats(float(domain.low), float(domain.high))
    else:
        options = [o for o in hyperparameter.options or () if o != "mine"]
        strategy = st.sampled_from(options if isinstance(domain, Choice) else [HYPERPARAMETERS[name].default])
    return st.one_of(st.none(), strategy) if hyperparameter.optional else strategy


CONFIGURATIONS = st.fixed_dictionaries({}, optional={name: values(name) for name in HYPERPARAMETERS})
SHOWN = controls()


@settings(max_examples=60, deadline=None)
@given(CONFIGURATIONS)
def test_a_configuration_is_read_from_the_controls_as_it_was_loaded(chosen: dict[str, Any]) -> None:
    try:
        config = wb.Config(**chosen)
    except wb.ConfigError:
        return  # fine alone, but not together
    SHOWN.load(config)
    assert SHOWN.read() == config


def test_what_the_choices_do_not_use_is_hidden() -> None:
    shown = controls()
    assert {"beta1", "beta2"} <= visible(shown)
    assert not {"momentum", "step_size", "gamma", "decay"} & visible(shown)
    shown.field("optimizer").control.value = "momentum"
    shown.field("schedule").control.value = "step"
    assert {"momentum", "step_size", "gamma"} <= visible(shown)
    assert not {"beta1", "beta2"} & visible(shown)
    assert {"label_smoothing"} <= visible(shown)
    assert "label_smoothing" not in visible(controls("regression"))


@pytest.mark.parametrize("text", ["fast", "0", "-0.1", "nan", "inf", "1e9", "", "1,5"])
def test_the_problem_of_a_learning_rate_is_shown_under_its_control(text: str) -> None:
    shown = controls()
    field = shown.field("learning_rate")
    assert isinstance(field, NumberField)
    field.text.value = text
    assert "learning_rate=" in field.message.value
    with pytest.raises(wb.ConfigError):
        shown.read()
    field.text.value = "0.01"
    assert field.message.value == ""
    assert shown.read().learning_rate == 0.01


def test_slider_and_number_field_have_the_same_value() -> None:
    shown = controls()
    field = shown.field("learning_rate")
    assert isinstance(field, NumberField)
    field.slider.value = 0.1
    assert field.text.value == "0.1"
    field.text.value = "0.02"
    assert field.slider.value == pytest.approx(0.02)
    assert shown.read().learning_rate == 0.02


def test_train_with_a_bad_value_starts_nothing_and_shows_why(bench: wb.Workbench, view: WorkbenchView) -> None:
    view.controls.field("batch_size").text.value = "many"  # type: ignore[attr-defined]
    view.panel.train.click()
    bench.presenter.tick()
    assert len(bench.trials) == 0
    assert "Not started" in view.panel.message.value
    assert "batch_size=&#x27;many&#x27;" in view.controls.field("batch_size").message.value


def test_what_only_the_task_can_reject_is_shown_as_well(bench: wb.Workbench, view: WorkbenchView) -> None:
    view.controls.field("batch_size").text.value = "500"  # type: ignore[attr-defined]
    view.panel.train.click()
    bench.presenter.tick()
    assert len(bench.trials) == 0
    assert "larger than the training split" in view.controls.field("batch_size").message.value


def test_the_buttons_do_what_the_calls_do(bench: wb.Workbench, view: WorkbenchView) -> None:
    view.load(wb.Config(epochs=50_000, optimizer="momentum"))
    view.panel.name.value = "by mouse"
    view.panel.train.click()
    bench.presenter.tick()
    (run,) = bench.active
    view.panel.pause.disabled = view.panel.stop.disabled = False
    until(bench, lambda: view.panel.pause.description == "Pause" and view.active)
    view.controls.field("learning_rate").text.value = "0.03"  # type: ignore[attr-defined]
    view.panel.pause.click()
    until(bench, lambda: view.panel.paused)
    assert view.panel.pause.description == "Resume"
    view.panel.pause.click()
    until(bench, lambda: not view.panel.paused)
    view.panel.stop.click()
    run.wait()
    bench.presenter.tick()
    assert bench.trials.loc[0, ["name", "state"]].tolist() == ["by mouse", "stopped"]
    changes = bench.events(1).query("kind == 'change'")
    assert changes[["name", "new"]].to_numpy().tolist() == [["learning_rate", 0.03]]


def test_while_a_cell_waits_the_view_shows_how_to_stop(
    bench: wb.Workbench, view: WorkbenchView, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    view.panel.message.observe(lambda change: said.append(change["new"]), "value")
    bench.run(wb.Config(epochs=3))
    assert not any("interrupt the kernel" in text for text in said)  # too short to be told
    monkeypatch.setattr("workbench.runs.waiting.HELD_UP_SECONDS", 0.0)
    bench.run(wb.Config(epochs=100))
    assert any("interrupt the kernel" in text for text in said)
    assert "interrupt the kernel" not in said[-1]


def test_what_others_wrote_to_the_log_is_there_when_it_is_shown_again(tmp_path: Path) -> None:
    first, other = (wb.Workbench(wb.Task.load("iris"), tmp_path / "trials.db") for _ in range(2))
    shell = InteractiveShell.instance()
    try:
        with capture_output():
            first._ipython_display_()
            other.run(wb.Config(epochs=1))
            first._ipython_display_()
    finally:
        shell.clear_instance()
    view = first.presenter.view
    assert view is not None
    assert view.table._trials == [1]
    assert "1 trial on iris in the log" in view.panel.line.value


def until(bench: wb.Workbench, condition: Callable[[], bool]) -> None:
    """Turn the pump until something holds."""

    async def turn() -> None:
        while not condition():
            bench.presenter.tick()
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(turn(), 30))


def test_selected_trials_are_overlaid_and_load_into_the_controls(bench: wb.Workbench, view: WorkbenchView) -> None:
    record(bench, wb.Config(epochs=2, learning_rate=0.05), name="first")
    bench.run(wb.Config(epochs=2))
    bench.presenter.tick()
    view.table.table.selected_rows = [1]  # newest first
    bench.presenter.tick()
    assert bench.selected == [1]
    assert bench.presenter.drawn == {1, 2}
    view.table.load_button.click()
    bench.presenter.tick()
    assert view.controls.read() == bench.config(1).replace(loss=view.controls.read().loss)
    # a run that begins keeps what is selected, be it the run that was on show
    view.table.table.selected_rows = [0]
    bench.run(wb.Config(epochs=1))
    bench.presenter.tick()
    assert bench.presenter.drawn == {2, 3}


def test_a_model_of_ones_own_brings_its_controls() -> None:
    def build(task: Any, *, width=wb.IntRange(4, 64, default=8)) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(task.input_shape[0], width), nn.Linear(width, task.output_size))

    wb.register_model("own_model", build)
    try:
        shown = controls()
        shown.field("model").control.value = "own_model"  # type: ignore[attr-defined]
        assert shown.field("width").widget.layout.display != "none"
        assert "hidden_units" not in visible(shown)
        shown.field("width").text.value = "16"  # type: ignore[attr-defined]
        assert shown.read() == wb.Config(model="own_model", width=16)
        shown.field("width").text.value = "3"  # type: ignore[attr-defined]
        with pytest.raises(wb.ConfigError, match="width=3"):
            shown.read()
        assert "width=3" in shown.field("width").message.value
    finally:
        MODELS.unregister("own_model")


def test_names_and_labels_are_shown_as_text(bench: wb.Workbench) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    frame = wb.Task.load("iris")
    bench = wb.Workbench(frame)
    bench.presenter.build(bench, TABS)
    view = bench.presenter.view
    assert view is not None
    record(bench, name=hostile)
    bench.presenter.tick()
    view.panel.name.value = hostile
    assert hostile not in view.code.widget.value
    view.show_error(wb.RunError(hostile))
    assert hostile not in view.panel.message.value
    assert "&lt;img" in view.panel.message.value


def test_the_table_is_read_ever_more_seldom_for_numbers_alone(
    view: WorkbenchView, bench: wb.Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a trial trains; what it comes to, a name and another state are shown at once."""
    presenter, now = bench.presenter, [1000.0 + time.monotonic()]
    run = bench.start(wb.Config(epochs=50_000))
    shown, read_at, read = view.table, [], presenter.task_log.trials

    def counted(**options: Any) -> pd.DataFrame:
        read_at.append(now[0])
        return read(**options)

    def state() -> list[str]:
        presenter.tick()
        return [] if shown._shown is None else shown._shown["state"].tolist()

    monkeypatch.setattr("workbench.ui.presenter.time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(presenter.task_log, "trials", counted)
    until(bench, lambda: state() == ["running"] or now.append(now.pop() + 1) or False)
    del read_at[:]
    for _ in range(600):
        now[0] += 0.1
        presenter._stale = True  # an epoch has ended
        presenter.tick()
    pauses = [later - earlier for earlier, later in pairwise(read_at)]
    assert min(pauses) > 1
    assert pauses[-3:] == pytest.approx([NUMBERS_SECONDS] * 3, abs=0.11)
    assert len(read_at) < 12
    bench.annotate(1, name="mine")
    assert state() == ["running"]
    assert shown._shown["name"].tolist() == ["mine"]
    run.pause()
    until(bench, lambda: run.states[1] is TrialState.PAUSED)
    presenter.tick()
    now[0] += 1.01
    assert state() == ["paused"]
    run.stop()
    run.wait(60)
    assert state() == ["stopped"]


def test_the_time_left_follows_the_pace_and_not_each_epoch() -> None:
    """A steady trial with an epoch that is held up now and then; then one that has become slower for good."""
    live = LiveRun("accuracy", "cross_entropy")
    live.begin({1: wb.Config(epochs=10_000)}, "")

    def left_after(numbers: range, seconds: Callable[[int], float]) -> list[float]:
        found = []
        for number in numbers:
            live.show([replace(epoch_end(1, number), seconds=seconds(number))])
            found.append(run_status(live.trials).seconds_left or 0.0)
        return found

    # the first one, too, takes long
    left = left_after(range(1, 5001), lambda number: 0.2 if number % 100 == 1 else 0.01)
    true = [0.0119 * (10_000 - number) for number in range(1, 5001)]
    late = slice(1000, None)
    assert max(abs(said / fact - 1) for said, fact in zip(left[late], true[late], strict=True)) < 0.05
    left = left_after(range(5001, 6001), lambda number: 0.03)
    assert left[-1] == pytest.approx(0.03 * 4000, rel=0.02)


def test_progress_of_an_epoch_that_was_read_from_the_log_already() -> None:
    """A run is put on show while its first events are still on their way."""
    live = LiveRun("accuracy", "cross_entropy")
    live.begin({1: wb.Config(epochs=9)}, "")
    live.replay(pd.DataFrame([asdict(epoch_end(1, 1)), asdict(epoch_end(1, 2))]), {1: TrialState.RUNNING})
    live.show(
        [
            StepProgress(1, 1, 3, 5, 0.5),
            epoch_end(1, 1),
            StepProgress(1, 2, 8, 5, 0.5),
            epoch_end(1, 2),
            epoch_end(1, 3),
        ]
    )
    assert live.curves.checkpoint()["1/val_loss"][0].tolist() == [1, 2, 3]
    assert run_status(live.trials).epoch == 3


def test_a_run_that_ended_early_has_the_whole_width_of_the_charts() -> None:
    live = LiveRun("accuracy", "cross_entropy")
    live.begin({1: wb.Config(epochs=900), 2: wb.Config(epochs=900)}, "")
    live.show([epoch_end(1, 1), epoch_end(2, 1), epoch_end(2, 2), epoch_end(2, 3)])
    live.show([TrialEnded(1, TrialState.EARLY_STOPPED, 1, 5, 1, 1.0, 0.5, 0.1)])
    assert live.curves.epochs == 900  # the other one goes on
    live.show([TrialEnded(2, TrialState.STOPPED, 3, 15, 1, 1.0, 0.5, 0.1)])
    assert live.curves.epochs == 3
    live.begin_search()
    live.join({3: wb.Config(epochs=70)})
    live.show([epoch_end(3, 1), TrialEnded(3, TrialState.PRUNED, 1, 5, 1, 1.0, 0.5, 0.1)])
    assert live.curves.epochs == 70  # more trials are to come
