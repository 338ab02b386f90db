"""The dispatch: a click on any thread only enqueues a request, and the main thread executes it at its next tick."""

from __future__ import annotations

import asyncio
import html
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import pandas as pd
import pytest
from sqlalchemy import Engine
from torch import nn

import workbench as wb
from tests.ui.canned import SHORT, record
from tests.ui.test_branch_view import front, pick, select
from tests.ui.test_view import until
from workbench.methods.tabs import TABS
from workbench.ui.dispatch import Dispatch
from workbench.ui.pump import Pump
from workbench.ui.view import WorkbenchView

TITLES = ("Search", "Compare", "Diagnose", "Layers", "Transfer", "Test set")
FINETUNE = {"freeze": 9, "learning_rate_factor": 0.1, "unfreeze_at": None, "seeds": 1, "name": "", "device": "cpu"}
REQUESTS: dict[str, Callable[[WorkbenchView], tuple[Any, ...]]] = {
    "open_test_set": lambda view: (view.body("Test set").open, ("trial", 1), False, False),
    "ensemble": lambda view: (view.body("Compare").build_ensemble, 2, None),
    "range_test": lambda view: (view.body("Search").range.begin, SHORT, "cpu"),
    "try_it": lambda view: (view.body("Diagnose").try_it, 1, "nothing of the kind"),
    "finetune": lambda view: (view.body("Transfer").finetuning.finetune, 1, SHORT, FINETUNE),
    "continue_on": lambda view: (
        view.body("Transfer").versions.continue_on, "new_rows", {"top": 1, "seeds": 1, "name": "", "device": "cpu"},
    ),
}  # fmt: skip


CALLBACK = "callback"


def elsewhere(call: Callable[..., object], *arguments: object, ok: bool = True) -> None:
    """Do something in another thread, as a subshell does. ok: whether it raises nothing."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            call(*arguments)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work, name=CALLBACK)
    thread.start()
    thread.join(30)
    assert (raised == []) == ok


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every change of a trait of any widget, with the thread it was made in."""
    found: list[tuple[str, str]] = []
    before = ipywidgets.Widget.notify_change

    def notify(self: Any, change: Any) -> None:
        found.append((change["name"], threading.current_thread().name))
        before(self, change)

    monkeypatch.setattr(ipywidgets.Widget, "notify_change", notify)
    return found


@pytest.mark.parametrize("name", REQUESTS)
def test_a_click_on_another_thread_changes_nothing_before_the_tick(
    bench: wb.Workbench, view: WorkbenchView, changed: list[tuple[str, str]], name: str
) -> None:
    bench.run(SHORT)
    for title in TITLES:
        front(bench, view, title)
    until(bench, lambda: "Diagnosis of trial 1" in view.body("Diagnose").panel.state.value or name != "try_it")
    del changed[:]
    dispatch, request = bench.presenter.dispatch, REQUESTS[name](view)
    elsewhere(lambda: dispatch.ask(*request))
    assert changed == []
    until(bench, lambda: bool(changed))
    until(bench, lambda: not any(map(dispatch.background.busy, ("test-set", "ensemble", "try-it", "finetune"))))
    view.body("Search").range.stop()
    until(bench, lambda: view.body("Search").range.panel.button.description == "Range test")
    assert {thread for _, thread in changed} == {threading.main_thread().name}


def test_the_layers_are_read_on_the_main_thread(
    bench: wb.Workbench, view: WorkbenchView, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[tuple[int, threading.Thread]] = []
    body = view.body("Layers")
    monkeypatch.setattr(body, "look", lambda epoch: looks.append((epoch, threading.current_thread())))
    elsewhere(lambda: body.panel._ask({"new": 3}))
    assert looks == []
    bench.presenter.tick()
    assert looks == [(3, threading.main_thread())]


@pytest.mark.parametrize("button", ["train", "branch", "search", "replay", "delete", "load"])
def test_a_click_on_a_button_touches_neither_log_nor_widgets_before_the_tick(
    bench: wb.Workbench, view: WorkbenchView, monkeypatch: pytest.MonkeyPatch, button: str
) -> None:
    record(bench)
    bench.presenter.tick()
    select(view, 1)
    pick(bench, view, 1, 2.0)
    view.controls.field("learning_rate").search(wb.LogRange(1e-3, 1e-1))
    buttons = {
        "train": view.panel.train, "branch": view.bar.branch, "search": view.body("Search").panel.start,
        "replay": view.table.replay, "delete": view.table.delete, "load": view.table.load_button,
    }  # fmt: skip
    done: list[str] = []
    for name in ("start", "branch", "search", "replay", "delete", "config"):
        monkeypatch.setattr(
            bench, name, lambda *arguments, **options: done.append(threading.current_thread().name) or SHORT
        )
    elsewhere(buttons[button].click)
    assert done == []
    bench.presenter.tick()
    assert done == [threading.main_thread().name]


def buttons_in(widget: Any) -> Iterator[ipywidgets.Button]:
    if isinstance(widget, ipywidgets.Button):
        yield widget
    for child in getattr(widget, "children", ()):
        yield from buttons_in(child)


def test_no_click_touches_the_log_a_lock_or_a_model_on_its_own_thread(
    bench: wb.Workbench, view: WorkbenchView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every button of the view, the hidden and disabled ones too."""
    bench.run(wb.Config(optimizer="sgd", learning_rate=10.0, epochs=4))
    for title in view.tabs.titles:
        front(bench, view, title)
    until(bench, lambda: "Diagnosis of trial 1" in view.body("Diagnose").panel.state.value)
    select(view, 1)
    pick(bench, view, 1, 2.0)
    touched: list[str] = []
    pressed = ""

    def guard(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **options: Any) -> Any:
            if threading.current_thread().name == CALLBACK:
                touched.append(f"{pressed}: {name}")  # ipywidgets catches what a callback raises
                raise AssertionError(name)
            return call(*arguments, **options)

        return guarded

    for owner, name in ((Engine, "connect"), (Engine, "begin"), (nn.Module, "__init__")):
        monkeypatch.setattr(owner, name, guard(name, getattr(owner, name)))
    session = bench.presenter.session
    monkeypatch.setattr(session, "lock", GuardedLock(guard("lock", session.lock.acquire), session.lock.release))
    buttons = list(buttons_in(view.widget))
    assert len(buttons) > 25
    for button in buttons:
        pressed = button.description or button.icon
        elsewhere(button.click)
    assert touched == []
    elsewhere(lambda: bench.log.results.count(bench.task.fingerprint), ok=False)
    elsewhere(bench.replay, 1, ok=False)
    assert len(touched) == 2  # so it would have been noticed


class GuardedLock:
    """A lock whose acquisition is guarded."""

    def __init__(self, acquire: Callable[..., Any], release: Callable[[], None]) -> None:
        self.acquire, self.release = acquire, release

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def test_pause_stop_and_live_changes_act_before_the_tick(bench: wb.Workbench, view: WorkbenchView) -> None:
    """As while a cell keeps the kernel busy."""
    run = bench.start(SHORT.replace(epochs=100_000))
    until(bench, lambda: not view.panel.pause.disabled and len(bench.curves(1)) > 0)
    elsewhere(lambda: setattr(view.controls.field("learning_rate").text, "value", "0.05"))  # type: ignore[attr-defined]
    elsewhere(view.panel.stop.click)
    assert run.stopped
    run.wait(60)
    assert bench.events(1).query("kind == 'change'")["new"].tolist() == [0.05]


@pytest.mark.parametrize(
    ("title", "button", "call", "place"),
    [
        ("Compare", "add", "add_seeds", "note"),
        ("Compare", "build", "ensemble", "note"),
        ("Search", "start", "search", "message"),
        ("Search", "range", "lr_range_test", "words"),
        ("Transfer", "finetuning", "finetune", "message"),
    ],
)
def test_the_error_of_a_request_is_shown_next_to_what_was_clicked(
    bench: wb.Workbench,
    view: WorkbenchView,
    monkeypatch: pytest.MonkeyPatch,
    title: str,
    button: str,
    call: str,
    place: str,
) -> None:
    record(bench)
    view.controls.field("learning_rate").search(wb.LogRange(1e-3, 1e-1))
    front(bench, view, title)
    body = view.body(title)
    panel = getattr(body, button).panel if hasattr(body, button) else body.panel

    def fail(*arguments: Any, **options: Any) -> None:
        raise wb.RunError("the device is gone")

    monkeypatch.setattr(bench, call, fail)
    (getattr(panel, button, None) or panel.button).click()
    until(bench, lambda: "the device is gone" in getattr(panel, place).value)
    assert "the device is gone" not in view.panel.message.value


def test_a_request_waits_for_the_earlier_messages_of_the_page() -> None:
    """A click that overtakes the value typed before it is executed after the main thread has handled that value."""
    handled: list[Callable[[], None]] = []
    woken: list[str] = []
    dispatch = Dispatch(lambda error, show: None, lambda: woken.append("woken"), handled.append)
    done: list[int] = []
    for number in (1, 2):
        elsewhere(lambda number=number: dispatch.ask(done.append, number))
    dispatch.tick()
    assert (done, woken) == ([], [])
    handled[0]()
    assert woken == ["woken"]
    dispatch.tick()
    assert done == [1]


def test_a_request_does_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that waits for a run executes requests, but its event loop handles no message."""
    monkeypatch.setattr("workbench.ui.dispatch.ORDER_SECONDS", 0.0)
    dispatch, done = Dispatch(lambda error, show: None, lambda: None, lambda call: None), []
    dispatch.ask(done.append, 1)
    dispatch.tick()
    assert done == [1]


def test_after_messages_calls_later_on_the_main_thread_and_does_not_wait() -> None:
    pump, called = Pump(lambda: False), []

    async def main() -> None:
        pump.attach()
        elsewhere(lambda: pump.after_messages(lambda: called.append(threading.current_thread())))
        assert called == []
        await asyncio.sleep(0.2)

    asyncio.run(main())
    assert called == [threading.main_thread()]
    pump.after_messages(lambda: called.append("no loop any more"))
    assert called[1:] == ["no loop any more"]


def test_a_request_wakes_the_pump(bench: wb.Workbench, view: WorkbenchView) -> None:
    dispatch, woken = bench.presenter.dispatch, []

    async def main() -> None:
        bench.presenter.pump.attach()
        elsewhere(lambda: dispatch.ask(woken.append, 1))
        while not woken:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_double_click_makes_one_ensemble(bench: wb.Workbench, view: WorkbenchView) -> None:
    for rate in (0.003, 0.01):
        bench.run(SHORT.replace(learning_rate=rate))
    front(bench, view, "Compare")
    view.body("Compare").panel.size.value = 2
    for _ in range(2):
        view.body("Compare").panel.build.click()
    until(bench, lambda: "Ensemble 1:" in view.body("Compare").panel.note.value)
    assert len(bench.ensembles) == 1


def test_what_a_request_raises_is_shown_and_the_next_is_done(
    bench: wb.Workbench, view: WorkbenchView, caplog: pytest.LogCaptureFixture
) -> None:
    dispatch, done = bench.presenter.dispatch, []
    view.controls.field("batch_size").text.value = "500"  # type: ignore[attr-defined]
    dispatch.ask(view.body("Search").range.begin, SHORT.replace(batch_size=500), "cpu")
    dispatch.ask(done.append, 1)
    with caplog.at_level(logging.ERROR, "workbench"):
        bench.presenter.tick()
        assert done == [1]
        assert "larger than the training split" in view.controls.field("batch_size").message.value
        assert caplog.records == []  # foreseen
        dispatch.ask(lambda: 1 / 0)
        dispatch.ask(done.append, 2)
        bench.presenter.tick()
    assert done == [1, 2]
    assert "ZeroDivisionError: division by zero" in view.panel.message.value
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_an_unexpected_error_is_shown_with_its_class_and_its_traceback_is_kept(
    bench: wb.Workbench, view: WorkbenchView, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run(SHORT)
    front(bench, view, "Compare")

    def broken(**options: Any) -> None:
        raise KeyError("votes")

    monkeypatch.setattr(bench, "ensemble", broken)
    view.body("Compare").panel.build.click()
    with caplog.at_level(logging.ERROR, "workbench"):
        until(bench, lambda: "KeyError: &#x27;votes&#x27;" in view.body("Compare").panel.note.value)
    assert "KeyError: &#x27;votes&#x27;" in view.panel.message.value
    assert "in broken" in caplog.text
    assert repr(sys.last_value) == "KeyError('votes')"  # what `%tb` shows


def test_why_a_prescription_was_not_tried_stays_while_the_trial_is_diagnosed_again(
    bench: wb.Workbench, view: WorkbenchView, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run(wb.Config(optimizer="sgd", learning_rate=10.0, epochs=8))
    bench.run(SHORT)
    front(bench, view, "Diagnose")
    panel = view.body("Diagnose").panel
    view.select_trials([1])
    until(bench, lambda: "Diagnosis of trial 1" in panel.state.value)

    def refuse(trial: int, rule: str) -> None:
        raise wb.RunError("the device is gone")

    monkeypatch.setattr(bench, "try_it", refuse)
    panel.cards[0].button.click()
    until(bench, lambda: "the device is gone" in panel.error.value)
    assert not panel.cards[0].button.disabled
    assert "earning rate too high" in panel.verdict.value
    shown: list[int] = []
    monkeypatch.setattr(panel, "show", lambda judgement, png, show=panel.show: (show(judgement, png), shown.append(1)))
    told = panel.error.value
    bench.run(SHORT)  # something else trains, and the trial in view is judged anew
    until(bench, lambda: bool(shown))
    assert panel.error.value == told
    view.select_trials([2])
    until(bench, lambda: "Diagnosis of trial 2" in panel.state.value)
    assert panel.error.value == ""


# --- continue on new data -----------------------------------------------------------------------------------------------


def people(rows: int, start: float = 0.0) -> pd.DataFrame:
    ages = [start + index * 1.5 for index in range(rows)]
    return pd.DataFrame(
        {"age": ages, "city": ["north", "south"] * (rows // 2), "buys": ["yes", "no", "no", "yes"] * (rows // 4)}
    )


@pytest.fixture
def shop(tmp_path: Path) -> wb.Workbench:
    """A workbench on a table, its view made, with two trials."""
    bench = wb.Workbench(wb.Task.from_frame(people(200), "buys", name="shop"), log=tmp_path / "shop.db")
    bench.presenter.build(bench, TABS)
    bench.run(SHORT)
    bench.run(SHORT.replace(learning_rate=0.02))
    return bench


@pytest.fixture
def view_of_shop(shop: wb.Workbench) -> WorkbenchView:
    """Its transfer tab in front, in a notebook with some variables."""
    presenter = shop.presenter
    assert presenter.view is not None
    more = pd.concat([people(200), people(100, start=0.7)], ignore_index=True)
    variables = {"new_rows": more, "old_rows": people(200), "torn": more.drop(columns="city"), "number": 3}
    presenter.view.body("Transfer").versions.variables = lambda: variables
    front(shop, presenter.view, "Transfer")
    return presenter.view


def test_new_data_is_continued_on_by_mouse_as_by_call(shop: wb.Workbench, view_of_shop: WorkbenchView) -> None:
    view, panel = view_of_shop, view_of_shop.body("Transfer").versions.panel
    assert list(panel.data.options) == ["new_rows", "old_rows", "torn"]
    assert "bench.continue_on" not in view.code.text
    panel.data.value = "new_rows"
    panel.top.value = 1
    panel.seeds.value = 2
    view.panel.name.value = "spring"
    code = view.code.text.splitlines()[-1]
    assert code == "run = bench.continue_on(new_rows, top=1, seeds=2, name='spring')"
    said: list[tuple[str, str, float]] = []
    panel.note.observe(
        lambda change: said.append((change["new"], panel.button.description, panel.progress.value)), "value"
    )
    panel.button.click()
    until(shop, lambda: "Version 2 is trained: 1 " in panel.note.value)
    assert panel.button.description == "Continue"
    (later,) = re.findall("<code>(.*)</code>", panel.note.value)
    running = [(text, button) for text, button, _ in said if "2 trials in training" in text]
    assert {button for _, button in running} == {"Stop"}
    assert "bench.continue_on(new_rows, top=1, seeds=2, name=&#x27;spring&#x27;).bench" in running[0][0]
    # what the call does is what the click did
    trials = shop.trials
    assert trials["source"].tolist() == ["manual", "manual", "continue", "continue"]
    assert trials["name"].tolist()[2:] == ["spring", "spring"]
    assert shop.versions["version"].tolist() == [1, 2]
    assert "2" in panel.text.value
    assert "Change for each configuration" in panel.text.value
    assert len(shop.version_changes) == 1
    variables = bench_variables(shop)
    again = eval(html.unescape(later), {"bench": shop, "wb": wb, **variables})
    assert again.leaderboard()["seeds"].tolist() == [2]
    run = eval(code.removeprefix("run = "), {"bench": shop, **variables}).wait()
    columns = ["epoch", "val_loss"]
    old, new = (shop.curves(trial)[columns].to_numpy().tolist() for trial in (3, run.table["reruns"][0][0]))
    assert old == new


def bench_variables(bench: wb.Workbench) -> dict[str, object]:
    assert bench.presenter.view is not None
    return dict(bench.presenter.view.body("Transfer").versions.variables())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "nothing is chosen"),
        ("rows", "the notebook has no variable"),
        ("torn", "column &#x27;city&#x27; is missing"),
        ("old_rows", "no new row"),
        ("number", "this task was made from a table"),
        ("nowhere.csv", "nowhere.csv"),
    ],
)
def test_why_data_cannot_be_continued_on_is_shown_and_stays(
    shop: wb.Workbench, view_of_shop: WorkbenchView, data: str, message: str
) -> None:
    panel = view_of_shop.body("Transfer").versions.panel
    panel.data.value = data
    panel.button.click()
    until(shop, lambda: message in panel.note.value)
    assert 'role="alert"' in panel.note.value
    front(shop, view_of_shop, "Transfer")
    shop.presenter.refresh_table()
    shop.presenter.tick()
    assert message in panel.note.value
    assert not panel.button.disabled
    assert len(shop.trials) == 2
    assert len(shop.versions) == 1


def test_continuing_is_stopped_by_the_same_button(shop: wb.Workbench, view_of_shop: WorkbenchView) -> None:
    shop.run(SHORT.replace(epochs=300, learning_rate=0.05, hidden_units=16))
    shop.delete(1, 2)
    panel = view_of_shop.body("Transfer").versions.panel
    panel.data.value = "new_rows"
    panel.seeds.value = 30
    panel.button.click()
    panel.button.click()  # a double click
    until(shop, lambda: panel.button.description == "Stop")
    elsewhere(panel.button.click)
    until(shop, lambda: "Version 2 was stopped" in panel.note.value)
    assert len(shop.versions) == 2
    assert set(shop.trials["state"][shop.trials["source"] == "continue"]) <= {"stopped", "completed"}


def test_a_failed_training_is_shown(
    shop: wb.Workbench, view_of_shop: WorkbenchView, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = view_of_shop.body("Transfer").versions.panel

    def broken(*arguments: Any) -> None:
        raise wb.RunError("the old model is lost")

    monkeypatch.setattr("workbench.methods.data_versions.continue_on.Continuation._old_predictions", broken)
    panel.data.value = "new_rows"
    panel.button.click()
    until(shop, lambda: "the old model is lost" in panel.note.value)
    assert 'role="alert"' in panel.note.value
    assert panel.button.description == "Continue"
    assert len(shop.versions) == 2
