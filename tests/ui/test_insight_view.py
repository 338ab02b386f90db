"""The tabs that look closer, in the user interface without a browser: layers, test set."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_iris

import workbench as wb
from tests.ui.canned import SHORT
from tests.ui.test_branch_view import front, select
from tests.ui.test_view import until
from workbench.methods.tabs import TABS
from workbench.ui.presenter import LOOK_SHARE
from workbench.ui.trial_table import readable
from workbench.ui.view import WorkbenchView


def test_the_test_set_is_opened_by_mouse_as_by_call(bench: wb.Workbench, view: WorkbenchView) -> None:
    bench.run(SHORT, seeds=2)
    front(bench, view, "Test set")
    tab = view.body("Test set").panel
    assert "Sealed" in tab.state.value
    assert "30 test rows" in tab.state.value
    select(view, 2)
    bench.presenter.tick()
    tab.choice.value = ("trial", 2)
    tab.start.click()
    assert bench.openings.empty
    tab.yes.click()
    until(bench, lambda: "Opened once" in tab.state.value and "Test accuracy of trial 2" in tab.result.value)
    assert bench.openings["what"].tolist() == ["trial 2"]
    table = readable(bench.presenter.task_log.trials())
    assert table["test"].tolist()[0].endswith(", opened once")
    tab.start.click()
    assert "reused (2)" in tab.sure.value
    tab.yes.click()
    until(bench, lambda: "Reused (2)" in tab.state.value)
    assert bench.trials["test_set"].tolist() == ["", "reused (2)"]


def test_somebody_else_may_have_opened_it_meanwhile(bench: wb.Workbench, view: WorkbenchView) -> None:
    bench.run(SHORT)
    front(bench, view, "Test set")
    tab = view.body("Test set").panel
    tab.start.click()
    bench.open_test_set(1)  # the tab does not know yet
    tab.yes.click()
    until(bench, lambda: "again=True" in tab.result.value)
    assert len(bench.openings) == 1


def test_of_newer_data_the_unseen_test_rows_are_opened_by_mouse(tmp_path: Path) -> None:
    data = load_iris(as_frame=True).frame.drop_duplicates().sample(frac=1, random_state=0)
    task, log = wb.Task.from_frame(data[:90], "target"), tmp_path / "trials.db"
    former = wb.Workbench(task, log)
    former.run(SHORT)
    former.open_test_set(1)
    bench = wb.Workbench(task.version(data), log)
    bench.run(SHORT)
    bench.presenter.build(bench, TABS)
    view = bench.presenter.view
    assert view is not None
    front(bench, view, "Test set")
    tab = view.body("Test set").panel
    fresh = int((~np.isin(bench.task.row_keys["test"], task.row_keys["test"])).sum())
    tab.start.click()
    assert tab.fresh.description == f"Only the {fresh} unseen rows"
    tab.fresh.click()
    until(bench, lambda: f"{fresh} of the split" in tab.result.value and len(bench.openings) == 2)
    assert bench.openings["stamp"].tolist() == ["opened once"] * 2
    tab.start.click()
    assert tab.fresh.layout.display == "none"


@pytest.mark.parametrize("learned", [True, False])
def test_the_layers_of_the_trial_in_view(bench: wb.Workbench, view: WorkbenchView, learned: bool) -> None:
    if learned:
        bench.run(SHORT)
    front(bench, view, "Layers")
    panel = view.body("Layers").panel
    if learned:
        until(bench, lambda: "Trial 1 after its best epoch" in panel.caption.value)
        assert "<svg" in panel.layers.value
    else:
        assert "Train a model" in panel.caption.value


def test_a_trial_is_fine_tuned_by_mouse_as_by_call(bench: wb.Workbench, view: WorkbenchView) -> None:
    front(bench, view, "Transfer")
    panel = view.body("Transfer").finetuning.panel
    assert panel.button.disabled
    bench.run(SHORT, name="source")
    bench.presenter.refresh_table()
    bench.presenter.tick()
    assert [number for _, number in panel.source.options] == [1]
    panel.freeze.value = 0
    panel.unfreeze_at.value = "nine"
    panel.button.click()
    bench.presenter.tick()
    assert "nine" in panel.message.value
    panel.unfreeze_at.value = ""
    view.panel.seeds.value = 2
    view.put(epochs=20)
    panel.button.click()
    until(bench, lambda: len(bench.trials) == 3 and not bench.active)
    frame = bench.trials.set_index("trial")
    assert frame["source"].tolist() == ["manual", "finetune", "finetune"]
    assert frame["parent"].tolist()[1:] == [1, 1]
    code = view.code.text.splitlines()[-1]
    assert code.startswith("run = bench.finetune(from_trial=1, config=wb.Config(")
    exec(f"{code}.wait()", {"bench": bench, "wb": wb})
    columns = ["epoch", "train_loss", "val_loss"]
    assert bench.curves(2)[columns].equals(bench.curves(4)[columns])


def test_why_a_trial_cannot_be_fine_tuned_is_shown_in_the_tab(bench: wb.Workbench, view: WorkbenchView) -> None:
    bench.run(SHORT)
    front(bench, view, "Transfer")
    panel = view.body("Transfer").finetuning.panel
    panel.unfreeze_at.value = "400"
    view.put(epochs=20)
    panel.button.click()
    until(bench, lambda: "unfreeze_at=400" in panel.message.value)
    assert len(bench.trials) == 1


def test_what_can_be_frozen_is_named_for_each_trial(bench: wb.Workbench, view: WorkbenchView) -> None:
    bench.run(SHORT.replace(hidden_layers=3))
    bench.run(SHORT.replace(hidden_layers=1, learning_rate=1e-5))
    bench.finetune(from_trial=1, freeze=1, config=SHORT, seeds=1).wait()
    front(bench, view, "Transfer")
    panel = view.body("Transfer").finetuning.panel

    def offered(trial: int) -> list[object]:
        panel.source.value = trial
        bench.presenter.tick()
        until(bench, lambda: not bench.presenter.dispatch.background.busy("groups"))
        bench.presenter.tick()
        return [value for _, value in panel.freeze.options]

    assert offered(1) == ["all but the head", 0, 1, 2]
    assert "(Linear)" in panel.freeze.options[-1][0]
    panel.freeze.value = 2
    assert offered(2) == ["all but the head", 0]
    assert panel.freeze.value == "all but the head"
    assert offered(3) == ["all but the head", 0, 1, 2]  # of a fine-tuned trial as well
    bench.finetune(from_trial=3, freeze=2, config=SHORT).wait()  # the largest that is offered
    with pytest.raises(wb.ConfigError, match="from 0 to 3"):
        bench.finetune(from_trial=3, freeze=4)


def test_an_ensemble_is_made_in_the_leaderboard(bench: wb.Workbench, view: WorkbenchView) -> None:
    for rate in (0.003, 0.01, 0.03):
        bench.run(SHORT.replace(learning_rate=rate))
    view.body("Compare").panel.kind.value = "leaderboard"
    front(bench, view, "Compare")
    view.body("Compare").panel.size.value = 2
    view.body("Compare").panel.build.click()
    until(bench, lambda: "Ensemble 1:" in view.body("Compare").panel.note.value)
    assert "ensemble 1" in view.body("Compare").panel.text.value
    assert len(bench.ensembles["trials"].iloc[0]) == 2
    front(bench, view, "Test set")
    assert ("ensemble", 1) in [key for _, key in view.body("Test set").panel.choice.options]
    view.body("Test set").panel.choice.value = ("ensemble", 1)
    view.body("Test set").panel.start.click()
    view.body("Test set").panel.yes.click()
    until(bench, lambda: len(bench.openings) == 1)
    assert bench.openings[["what", "ensemble"]].values.tolist() == [["ensemble 1", 1]]


def test_a_bad_trial_is_diagnosed_and_its_prescription_is_tried(bench: wb.Workbench, view: WorkbenchView) -> None:
    front(bench, view, "Diagnose")
    panel = view.body("Diagnose").panel
    assert "Select a trial" in panel.state.value
    bench.run(wb.Config(optimizer="sgd", learning_rate=10.0, epochs=8))
    until(bench, lambda: "Diagnosis of trial 1" in panel.state.value)
    assert "earning rate too high" in panel.verdict.value
    assert "bench." in panel.cards[0].words.value
    panel.cards[0].button.click()
    until(bench, lambda: len(bench.trials) == 2 and not bench.active)
    until(bench, lambda: len(bench.prescriptions()) == 1)
    assert bench.prescriptions()["trial"].tolist() == [1]
    until(bench, lambda: "Diagnosis of trial 2" in panel.state.value)  # the new run is in view now
    select(view, 1)
    until(bench, lambda: "Diagnosis of trial 1" in panel.state.value)
    assert "1 of 1" in panel.cards[0].record.value


def test_a_range_test_puts_its_rate_into_the_controls(bench: wb.Workbench, view: WorkbenchView) -> None:
    front(bench, view, "Search")
    panel = view.body("Search").range.panel
    panel.button.click()
    bench.presenter.tick()
    assert panel.button.description == "Stop"
    until(bench, lambda: panel.button.description == "Range test" and panel.rate is not None)
    assert bench.trials.empty
    panel.take.click()
    bench.presenter.tick()
    assert view.controls.read().learning_rate == pytest.approx(panel.rate)


def test_patience_and_cost_are_read_in_the_compare_tab(bench: wb.Workbench, view: WorkbenchView) -> None:
    view.body("Compare").panel.kind.value = "patience"
    front(bench, view, "Compare")
    assert "there is no trial" in view.body("Compare").panel.note.value
    space = {"learning_rate": wb.LogRange(1e-3, 1.0), "hidden_units": [4, 8]}
    bench.search("random", space, SHORT.replace(epochs=30), trials=6, cohort=6, blocking=True)
    bench.presenter.refresh_table()
    bench.presenter.tick()
    advice = bench.suggest_patience()
    assert bytes(view.body("Compare").panel.picture.value).startswith(b"\x89PNG")
    if advice.suggestion is not None:
        view.body("Compare").panel.use.click()
        bench.presenter.tick()
    assert view.controls.read().patience == advice.suggestion
    patience = bytes(view.body("Compare").panel.picture.value)
    view.body("Compare").panel.kind.value = "complexity"
    bench.presenter.tick()
    assert bytes(view.body("Compare").panel.picture.value) not in (b"", patience)


def test_a_deleted_trial_is_not_diagnosed_until_it_is_restored(bench: wb.Workbench, view: WorkbenchView) -> None:
    bench.run(SHORT)
    front(bench, view, "Diagnose")
    panel = view.body("Diagnose").panel
    until(bench, lambda: "Diagnosis of trial 1" in panel.state.value)
    bench.delete(1)
    until(bench, lambda: "Select a trial" in panel.state.value)
    bench.restore()
    until(bench, lambda: "Diagnosis of trial 1" in panel.state.value)


def test_while_a_trial_trains_the_tab_in_front_takes_a_share_of_the_time(
    bench: wb.Workbench, view: WorkbenchView, monkeypatch: pytest.MonkeyPatch
) -> None:
    presenter, looked = bench.presenter, []
    now = [begun := time.monotonic() + 1000.0]

    def refresh() -> None:
        looked.append(now[0])
        now[0] += 1.0  # what a look costs

    run = bench.start(SHORT.replace(epochs=100_000))
    try:
        until(bench, lambda: len(bench.curves(1)) > 0)
        monkeypatch.setattr(presenter, "refresh_tab", refresh)
        monkeypatch.setattr("workbench.ui.presenter.time", SimpleNamespace(monotonic=lambda: now[0]))
        view.tabs.selected_index = view.tabs.titles.index("Compare")
        presenter.tick()
        del looked[:]
        for _ in range(200):
            now[0] += 0.5
            presenter._stale = True
            presenter.tick()
        assert 1 <= len(looked) <= (now[0] - begun) * LOOK_SHARE + 1
        view.body("Compare").panel.kind.value = "importance"  # asked for, together with a reading of the table
        del looked[:]
        presenter._table_due = True
        presenter.tick()
        assert len(looked) == 1
    finally:
        monkeypatch.undo()
        run.stop()
        run.wait()
