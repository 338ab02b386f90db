"""Going back in the user interface, without a browser: branch, replay, resume, delete, the history tab."""

from __future__ import annotations

import re
from typing import Any

import pytest
from torch import nn

import workbench as wb
from tests.ui.canned import SHORT, record
from tests.ui.test_view import until
from workbench.core.events import TrialState
from workbench.core.registry import MODELS
from workbench.methods.tabs import TABS
from workbench.runs.run import Run
from workbench.training import prepare
from workbench.ui.branch_bar import Pick, branch_call
from workbench.ui.history_tab import GIB
from workbench.ui.trial_table import readable
from workbench.ui.view import WorkbenchView

HOSTILE = "<img src=x onerror=alert(1)>"


def say(view: WorkbenchView, name: str, text: str) -> None:
    view.controls.field(name).text.value = text  # type: ignore[attr-defined]


def front(bench: wb.Workbench, view: WorkbenchView, title: str) -> None:
    view.tabs.selected_index = view.tabs.titles.index(title)
    bench.presenter.tick()


def pick(bench: wb.Workbench, view: WorkbenchView, trial: int, epoch: float) -> None:
    """A click on a point, as the page sends it."""
    view.curves._receive(view.curves, {"kind": "pick", "trial": trial, "epoch": epoch}, [])
    bench.presenter.tick()


def slot(view: WorkbenchView) -> tuple[Any, ...]:
    return tuple(view.panel._slot.children)


def select(view: WorkbenchView, *trials: int) -> None:
    view.table.table.selected_rows = [view.table._trials.index(trial) for trial in trials]


# --- branch ---------------------------------------------------------------------------------------------------------


def test_a_picked_point_opens_the_bar_with_the_configuration_of_then(bench: wb.Workbench, view: WorkbenchView) -> None:
    record(bench, SHORT.replace(learning_rate=0.05), change=(1, 0.02))
    bench.presenter.tick()
    assert view.bar.widget not in slot(view)
    pick(bench, view, 1, 2.0)
    assert view.bar.widget in slot(view)
    assert "Branch from trial 1 after epoch 2" in view.bar.text.value
    assert "change controls, then press Branch" in view.bar.text.value
    assert view.controls.read().learning_rate == 0.02  # the live change before it included
    assert view.curves.picked == (1, 2)
    view.bar.close.click()
    bench.presenter.tick()
    assert view.bar.widget not in slot(view)
    assert view.curves.picked == ()


def test_the_bar_lists_the_changes_and_its_button_makes_the_call_that_the_code_tab_shows(
    bench: wb.Workbench, view: WorkbenchView, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run(SHORT)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setattr(bench, "branch", lambda *arguments, **options: calls.append((arguments, options)))
    pick(bench, view, 1, 2.0)
    say(view, "learning_rate", "0.0001")
    view.controls.field("optimizer").control.value = "sgd"  # type: ignore[attr-defined]
    assert "optimizer adam → sgd" in view.bar.text.value
    assert "learning rate 0.001 → 0.0001" in view.bar.text.value
    view.panel.name.value, view.panel.seeds.value = "slower", 2
    view.bar.branch.click()
    bench.presenter.tick()
    options = {"seeds": 2, "name": "slower", "device": "cpu", "learning_rate": 0.0001, "optimizer": "sgd"}
    assert calls == [((1, 2), options)]
    monkeypatch.undo()
    assert view.bar.pick is None
    view.open_bar(1, 2, bench.config(1))
    say(view, "learning_rate", "0.0001")
    code = view.code.text
    assert code.startswith("run = bench.branch(1, epoch=2, seeds=2, name='slower', ")
    exec(code, {"bench": bench})
    assert bench.trials["source"].tolist() == ["manual", "branch", "branch"]


def test_by_mouse_and_by_call_the_branch_is_the_same(bench: wb.Workbench, view: WorkbenchView) -> None:
    bench.run(SHORT)
    bench.presenter.tick()
    assert "Click a point of a curve" in view.panel.message.value
    pick(bench, view, 1, 2.0)
    assert "Click a point of a curve" not in view.panel.message.value
    say(view, "learning_rate", "0.01")
    code = view.code.text
    view.bar.branch.click()
    bench.presenter.tick()
    for run in bench.active:
        run.wait()
    exec(f"{code}.wait()", {"bench": bench})
    first, second = (bench.curves(trial).drop(columns=["trial", "seconds"]) for trial in (2, 3))
    assert first.equals(second)
    bench.presenter.tick()
    assert view.curves.checkpoint()["3/val_loss"][0].tolist() == [2, 3, 4]  # from its parent's point
    assert {series.trial for series in view.curves.series} == {1, 3}  # with its parent


def test_the_last_epoch_raises_the_epochs_and_the_bar_shows_it(bench: wb.Workbench, view: WorkbenchView) -> None:
    bench.run(SHORT)
    pick(bench, view, 1, 4.0)
    assert view.controls.read().epochs == 8
    assert "epochs 4 → 8" in view.bar.text.value
    view.bar.branch.click()
    bench.presenter.tick()
    for run in bench.active:
        run.wait()
    assert int(bench.trials["epochs_run"].iloc[-1]) == 8
    most = wb.Config(epochs=100_000)
    assert Pick(1, 100_000, most).config == most  # no more than there can be; the call then says it


def test_what_a_branch_cannot_change_is_shown_under_the_control(bench: wb.Workbench, view: WorkbenchView) -> None:
    record(bench)
    pick(bench, view, 1, 2.0)
    say(view, "hidden_units", "16")
    view.bar.branch.click()
    bench.presenter.tick()
    assert "keeps the architecture" in view.controls.field("hidden_units").message.value
    assert "Not started" in view.panel.message.value
    assert view.bar.widget in slot(view)
    say(view, "hidden_units", "8")
    say(view, "epochs", "2")
    view.bar.branch.click()
    bench.presenter.tick()
    assert "epochs=2: the branch begins after epoch 2" in view.controls.field("epochs").message.value
    assert len(bench.trials) == 1
    say(view, "epochs", "many")
    assert "see the marked controls" in view.bar.text.value


def test_another_model_is_rejected_too() -> None:
    def build(task: Any, *, width=wb.IntRange(4, 64, default=8)) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(task.input_shape[0], width), nn.Linear(width, task.output_size))

    try:
        bench = wb.Workbench(wb.Task.load("iris"), models={"own_branch": build})
        bench.presenter.build(bench, TABS)
        view = bench.presenter.view
        assert view is not None
        bench.run(wb.Config(model="own_branch", width=8, epochs=3))
        pick(bench, view, 1, 2.0)
        say(view, "width", "16")
        view.bar.branch.click()
        bench.presenter.tick()
        assert "keeps the architecture" in view.controls.field("width").message.value
        view.controls.field("model").control.value = "mlp"  # type: ignore[attr-defined]
        view.bar.branch.click()
        bench.presenter.tick()
        assert "keeps the architecture" in view.controls.field("model").message.value
        assert len(bench.trials) == 1
    finally:
        MODELS.unregister("own_branch")


def test_the_first_point_of_a_branch_is_its_parents(bench: wb.Workbench, view: WorkbenchView) -> None:
    record(bench)
    record(bench, SHORT.replace(epochs=5), branch=(1, 2))
    pick(bench, view, 2, 2.0)
    assert "trial 1 after epoch 2" in view.bar.text.value
    pick(bench, view, 2, 3.0)
    assert "trial 2 after epoch 3" in view.bar.text.value


def test_while_the_bar_is_open_a_live_control_leaves_the_run_alone(bench: wb.Workbench, view: WorkbenchView) -> None:
    run = bench.start(SHORT.replace(epochs=50_000))
    until(bench, lambda: view.active and len(bench.curves(1)) > 2)
    pick(bench, view, 1, 1.0)
    say(view, "learning_rate", "0.2")
    view.close_bar()
    say(view, "learning_rate", "0.1")
    until(bench, lambda: len(bench.events(1).query("kind == 'change'")) > 0)
    run.stop()
    run.wait()
    assert bench.events(1).query("kind == 'change'")["new"].tolist() == [0.1]


def test_the_button_in_the_table_picks_the_best_epoch(bench: wb.Workbench, view: WorkbenchView) -> None:
    record(bench)
    bench.presenter.tick()
    assert view.table.branch.disabled
    select(view, 1)
    view.table.branch.click()
    bench.presenter.tick()
    assert view.bar.pick is not None
    assert view.bar.pick.epoch == int(bench.trials["best_epoch"].iloc[0])


def test_the_source_shows_where_a_branch_began(bench: wb.Workbench, view: WorkbenchView) -> None:
    record(bench)
    record(bench, SHORT.replace(learning_rate=0.01), branch=(1, 2))
    record(bench, source="replay", parent=1, name="replay of 1")
    frame = readable(bench.presenter.task_log.trials(last=10))
    assert frame["source"].tolist() == ["replay", "branch of 1 @ 2", "manual"]
    assert frame["name"].iloc[0] == "replay of 1"


def test_the_call_leaves_out_what_is_at_its_default() -> None:
    point = Pick(7, 12, wb.Config())
    assert branch_call(point, wb.Config(learning_rate=0.1)) == "run = bench.branch(7, epoch=12, learning_rate=0.1)"


# --- replay and resume ----------------------------------------------------------------------------------------------


def test_the_verdict_of_a_replay_stays_until_the_next_run(bench: wb.Workbench, view: WorkbenchView) -> None:
    bench.run(SHORT)
    bench.presenter.tick()
    select(view, 1)
    view.table.replay.click()
    until(bench, lambda: "identical" in view.panel.message.value)
    assert "wb-good" in view.panel.message.value
    view.show_error(wb.RunError("something else"))
    assert "identical" in view.panel.message.value
    assert "something else" in view.panel.message.value
    view.panel.clear_error()
    bench.presenter.tick()
    assert "identical" in view.panel.message.value
    bench.run(SHORT)
    until(bench, lambda: "identical" not in view.panel.message.value)


def test_what_cannot_be_replayed_has_no_button(bench: wb.Workbench, view: WorkbenchView) -> None:
    run = bench.start(SHORT.replace(epochs=50_000))
    until(bench, lambda: view.active and len(view.table._trials) == 1 and len(bench.curves(1)) > 0)
    select(view, 1)
    assert view.table.replay.disabled
    run.stop()
    run.wait()
    until(bench, lambda: not view.table.replay.disabled)


def test_the_banner_offers_what_was_interrupted_and_goes_when_pressed(
    bench: wb.Workbench, view: WorkbenchView, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run(SHORT)
    bench.presenter.tick()
    banner = view.panel._banner_box
    assert banner not in view.panel.widget.children
    # a trial that nobody trains any more, as a killed kernel leaves one
    session = bench.presenter.session
    left = session.log.create([session.new_trial(bench.config(1), source="manual")])
    assert session.log.ownership.mark_interrupted(session.runner.trials) == left
    bench.presenter.refresh_table()
    bench.presenter.tick()
    assert view.panel.widget.children[0] is banner
    assert "<b>1 trial</b> was interrupted when its kernel died." in view.panel.banner.value
    assert readable(bench.presenter.task_log.trials(last=5))["state"].iloc[0] == "interrupted"
    view.panel.resume.click()
    bench.presenter.tick()
    for run in bench.active:
        run.wait()
    bench.presenter.tick()
    assert banner not in view.panel.widget.children
    assert bench.trials["state"].tolist() == ["completed", "completed"]


@pytest.mark.parametrize(
    ("trials", "searches", "says"),
    [
        (3, 0, "<b>3 trials</b> were interrupted when their kernel died."),
        (0, 1, "<b>1 search</b> was interrupted when its kernel died."),
        (8, 2, "<b>8 trials and 2 searches</b> were"),
        (0, 0, ""),
    ],
)
def test_the_banner_counts(view: WorkbenchView, trials: int, searches: int, says: str) -> None:
    view.panel.show_left(trials, searches)
    assert says in view.panel.banner.value
    assert (view.panel._banner_box in view.panel.widget.children) == bool(says)


def test_interrupted_trials_are_not_searched_at_each_tick(
    bench: wb.Workbench, view: WorkbenchView, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.presenter.tick()
    looks: list[int] = []
    monkeypatch.setattr(bench.presenter, "_left", lambda: (looks.append(1), (0, 0))[1])
    for _ in range(20):
        bench.presenter.tick()
    assert not looks


# --- delete and the trash ---------------------------------------------------------------------------------------------


def test_delete_is_reported_and_undo_restores_the_selection(bench: wb.Workbench, view: WorkbenchView) -> None:
    for _ in range(3):
        record(bench)
    bench.presenter.tick()
    select(view, 2, 3)
    bench.presenter.tick()
    view.table.delete.click()
    bench.presenter.tick()
    assert "Deleted trials 2, 3." in view.table.hint.value
    assert view.table.undo.layout.display != "none"
    assert bench.trials["trial"].tolist() == [1]
    assert not bench.presenter.drawn
    assert "1 trial on iris in the log" in view.panel.line.value
    assert bench.figure().axes  # of what is left
    view.table.undo.click()
    bench.presenter.tick()
    assert bench.trials["trial"].tolist() == [1, 2, 3]
    assert sorted(view.table.selection) == sorted(bench.selected) == [2, 3]
    bench.presenter.tick()
    assert bench.presenter.drawn == {2, 3}
    assert view.table.undo.layout.display == "none"


def test_a_running_trial_is_not_deleted_and_the_table_shows_why(bench: wb.Workbench, view: WorkbenchView) -> None:
    run = bench.start(SHORT.replace(epochs=50_000))
    until(bench, lambda: len(view.table._trials) == 1)
    select(view, 1)
    view.table.delete.click()
    bench.presenter.tick()
    assert "stop it first" in view.table.problem.value
    assert "stop it first" not in view.panel.message.value
    assert "Deleted" not in view.table.hint.value
    run.stop()


def test_deleting_the_picked_trial_closes_the_bar(bench: wb.Workbench, view: WorkbenchView) -> None:
    record(bench)
    pick(bench, view, 1, 2.0)
    select(view, 1)
    view.table.delete.click()
    bench.presenter.tick()
    assert view.bar.pick is None


def test_the_trash_lists_restores_and_asks_before_it_is_emptied(bench: wb.Workbench, view: WorkbenchView) -> None:
    for _ in range(3):
        record(bench)
    record(bench, SHORT.replace(learning_rate=0.01), branch=(2, 2))
    front(bench, view, "History")
    history = view.body("History")
    assert "The trash is empty" in history.trash_note.value
    bench.delete(1, 2, 3)
    bench.presenter.tick()
    assert [number for _, number in history.list.options] == [3, 2, 1]
    history.list.value = (3,)
    history.restore.click()
    bench.presenter.tick()
    assert bench.trash["trial"].tolist() == [1, 2]
    history.empty.click()
    bench.presenter.tick()
    assert history.remove.description == "Remove 2 trials permanently"
    history.keep.click()
    bench.presenter.tick()
    assert history.remove.layout.display == "none"
    assert len(bench.trash) == 2
    history.empty.click()
    history.remove.click()
    bench.presenter.tick()
    assert "Removed trial 1." in history.trash_note.value
    assert "Kept trial 2: a trial outside the trash was made from it." in history.trash_note.value
    assert bench.trash["trial"].tolist() == [2]


# --- the other parts of the history tab -----------------------------------------------------------------------------


def test_the_tree_is_drawn_and_a_click_selects(bench: wb.Workbench, view: WorkbenchView) -> None:
    record(bench)
    front(bench, view, "History")
    assert view.body("History").no_tree.layout.display != "none"
    record(bench, SHORT.replace(learning_rate=0.01), branch=(1, 2), name="deep")
    record(bench)
    bench.presenter.tick()
    tree = view.body("History").tree
    assert [(line["trial"], line["before"], line["shown"]) for line in tree.lines] == [
        (1, "", False),
        (2, "└─ ", False),
    ]
    assert "0.001 → 0.01" in tree.lines[1]["text"]
    tree._receive(tree, {"kind": "pick", "trial": 2}, [])
    bench.presenter.tick()
    assert view.table.selection == [2]
    for _ in range(2):
        bench.presenter.tick()
    assert [line["shown"] for line in tree.lines] == [False, True]
    bench.delete(1)
    bench.presenter.tick()
    assert [line["gone"] for line in tree.lines] == [True, False]


def test_nothing_is_read_for_a_tab_that_is_not_in_front(bench: wb.Workbench, view: WorkbenchView) -> None:
    record(bench)
    bench.presenter.tick()
    assert view.body("History").widget.children == ()


def test_the_budget_is_set_and_a_bad_one_is_reported_next_to_it(bench: wb.Workbench, view: WorkbenchView) -> None:
    record(bench)
    front(bench, view, "History")
    history = view.body("History")
    assert history.budget.value == "1"
    assert "of 1 GiB" in history.used.value
    history.budget.value = "0.5"
    bench.presenter.tick()
    assert bench.checkpoints.budget == GIB // 2
    for text in ("much", "-1", "", "nan", "1e99"):
        history.budget.value = text
        bench.presenter.tick()
        assert "must be a number of GiB" in history.budget_note.value
        bench.presenter.refresh_table()
        bench.presenter.tick()  # a refresh leaves the message, and what was typed
        assert "must be a number of GiB" in history.budget_note.value
        assert history.budget.value == text
    assert bench.checkpoints.budget == GIB // 2
    history.budget.value = "0"
    bench.presenter.tick()
    assert bench.checkpoints.budget == 0
    assert history.budget_note.value == "" or "More than the budget" in history.budget_note.value


def test_trouble_with_the_checkpoints_is_shown(bench: wb.Workbench, view: WorkbenchView) -> None:
    bench.checkpoints._write_error = wb.CheckpointError(f"{HOSTILE} could not be written")
    front(bench, view, "History")
    assert "could not be written" in view.body("History").budget_note.value
    assert HOSTILE not in view.body("History").budget_note.value


def test_the_code_tab_has_the_script_of_the_selected_trial(
    bench: wb.Workbench, view: WorkbenchView, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(bench)
    bench.presenter.tick()
    select(view, 1)
    bench.presenter.tick()
    assert "again" not in view.code.widget.value  # not in front
    front(bench, view, "Code")
    assert "Reproduce trial 1" in view.code.widget.value
    assert "task = wb.Task.load(&#x27;iris&#x27;)" in view.code.widget.value
    pick(bench, view, 1, 2.0)
    bench.presenter.look_again()
    bench.presenter.tick()
    assert "bench.branch(1, epoch=2" in view.code.widget.value
    assert "Reproduce trial 1" not in view.code.widget.value
    view.close_bar()
    monkeypatch.setattr(bench, "code", lambda trial: (_ for _ in ()).throw(wb.RunError(HOSTILE)))
    view.show_script()
    assert "&lt;img" in view.code.widget.value


# --- text is text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [HOSTILE, "$\\frac{", "a\nb", "😀" * 40])
def test_a_name_is_shown_as_text_everywhere(bench: wb.Workbench, view: WorkbenchView, name: str) -> None:
    record(bench, name=name, note=name, tags=[name])
    record(bench, SHORT.replace(learning_rate=0.01), branch=(1, 2), name=name)
    record(bench, name=name)
    bench.delete(3)
    bench.presenter.tick()
    for title in view.tabs.titles:
        front(bench, view, title)
    select(view, 2)
    front(bench, view, "Code")
    pick(bench, view, 1, 2.0)
    view.panel.name.value = name
    for widget in (view.bar.text, view.code.widget, view.panel.message, view.panel.line, view.table.hint):
        assert HOSTILE not in widget.value
        assert not re.search(r"<(img|script)", widget.value)
    assert bench.figure(1, 2)._repr_png_()[:4] == b"\x89PNG"
    assert bench.presenter._picture()["image/png"]


def test_why_a_verdict_is_missing_is_shown(bench: wb.Workbench, view: WorkbenchView) -> None:
    class Doubtful(Run):
        @property
        def verdict(self) -> str:
            raise wb.CheckpointError("the checkpoint is damaged")

    session = bench.presenter.session
    config = prepare(session.task, SHORT)
    run = session.launch([config], device="cpu", kind=Doubtful)
    run.wait()
    until(bench, lambda: "the checkpoint is damaged" in view.panel.message.value)
    assert set(run.states.values()) == {TrialState.COMPLETED}
