"""What is resumed, by whom, from what, and what is said when it cannot be as it was."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import workbench as wb
from tests.faults.victim import TASK, build, fragile, outcome
from workbench.core.registry import MODELS

if TYPE_CHECKING:
    from tests.faults.conftest import Victims


def epochs(count: int) -> tuple[str, int]:
    """The moment when the log has so many epochs."""
    return "epoch committed", count


def checkpoints(count: int) -> tuple[str, int]:
    """The moment when so many checkpoints are on disk."""
    return "checkpoint renamed", count


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "trials.db"


def plain(found: dict[str, object]) -> dict[str, object]:
    return json.loads(json.dumps(found))


def whole(victims: Victims, job: str, folder: Path) -> dict[str, object]:
    """What an uninterrupted process leaves."""
    victims.run(job, folder / "whole.db")
    return json.loads((folder / "whole.json").read_text())


LEFT = """
import atexit, sys, threading
import workbench as wb
bench = wb.Workbench(wb.Task.load("iris"), log=sys.argv[1])
bench.run(wb.Config(epochs=2))
run = bench.start(wb.Config(epochs=100_000), seeds=int(sys.argv[2]))
bench.start(wb.Config(epochs=7))
def trained(epochs):
    while len(bench.curves(2)) < epochs:
        threading.Event().wait(0.01)

trained(5)
# the interpreter gives no more threads from here on, and yet the trial goes on until it is paused
atexit.register(trained, len(bench.curves(2)) + 5)
"""


@pytest.mark.parametrize("seeds", [1, 30])
def test_a_script_that_ends_while_it_trains_ends_well_and_can_be_gone_on_with(log: Path, seeds: int) -> None:
    """Torch aborts the process if a thread ends in the middle of a step; a cohort of 30 steps in shards."""
    found = subprocess.run([sys.executable, "-c", LEFT, log, str(seeds)], capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stderr) == (0, "")
    bench = wb.Workbench(wb.Task.load("iris"), log=log)
    assert bench.trials["state"].tolist() == ["completed", *["interrupted"] * (seeds + 1)]
    told = len(bench.curves(2))
    runs = bench.resume()
    last = seeds + 2
    assert sorted(trial for run in bench.active for trial in run.trials) == list(range(2, last + 1))
    while len(bench.curves(2)) <= told:
        threading.Event().wait(0.01)
    bench.active[0].stop()
    runs.wait(60)
    assert bench.trials["state"].tolist()[1:] == ["stopped"] * seeds + ["completed"]


def test_a_killed_trial_is_interrupted_and_resumed_from_its_last_checkpoint(victims: Victims, log: Path) -> None:
    wanted = whole(victims, "alone", log.parent)
    victims.run("alone", log, kill_at=checkpoints(1))
    bench = wb.Workbench(TASK, log=log)
    assert bench.trials["state"].tolist() == ["interrupted"]
    last = bench.checkpoints.epochs(1)[-1]
    told = len(bench.curves(1))
    runs = bench.resume()
    assert runs.trials == (1,)
    assert len(bench.resume()) == 0  # it goes on already
    runs.wait()
    assert plain(outcome(bench)) == wanted
    remark = bench.events(1).query("kind == 'message'")["message"].iloc[0]
    assert remark.startswith(f"resumed from the checkpoint after epoch {min(last, told)}")
    states = bench.events(1).query("kind == 'state'")["name"].tolist()
    assert states == ["running", "interrupted", "queued", "running"]
    assert len(bench.resume()) == 0
    assert "nothing to resume" in repr(bench.resume())


@pytest.mark.parametrize("damage", ["the last is cut", "the last two are nonsense", "none is left"])
def test_damaged_checkpoints_cost_time_and_nothing_else(victims: Victims, log: Path, damage: str) -> None:
    wanted = whole(victims, "seeds", log.parent)
    victims.run("seeds", log, kill_at=checkpoints(3))
    bench = wb.Workbench(TASK, log=log)
    kept = bench.checkpoints.epochs(1)
    files = [bench.checkpoints.folder / "00000001" / f"{epoch:06d}.pt" for epoch in kept]
    broken = files[-1:] if "cut" in damage else files[-2:] if "two" in damage else files
    for file in broken:
        if "none" in damage:
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:300] if "cut" in damage else b"nonsense" * 100)
    bench.resume().wait()
    assert plain(outcome(bench)) == wanted
    remarks = bench.events(1).query("kind == 'message'")["message"].tolist()
    assert sum("damaged" in remark for remark in remarks) == (0 if "none" in damage else len(broken))


def test_a_model_of_ones_own_has_to_be_there(victims: Victims, log: Path) -> None:
    victims.run("own_model", log, kill_at=epochs(10))
    with pytest.raises(
        wb.ConfigError, match=r"trial 1 uses the model 'own', which is not registered here; .*models=\{'own'"
    ):
        wb.Workbench(TASK, log=log).resume()
    try:
        bench = wb.Workbench(TASK, log=log, models={"own": build})
        assert bench.trials["state"].tolist() == ["interrupted"]  # nothing was changed
        bench.resume().wait()
        assert bench.trials["state"].tolist() == ["completed"]
        assert bench.replay(1).wait().identical
    finally:
        MODELS.unregister("own")


@pytest.mark.parametrize("at", [8, 20])
def test_a_search_that_rejects_and_repeats_configurations_is_resumed(victims: Victims, log: Path, at: int) -> None:
    wanted = whole(victims, "rejecting_search", log.parent)
    victims.run("rejecting_search", log, kill_at=epochs(at))
    bench = wb.Workbench(TASK, log=log)
    bench.resume().wait()
    assert plain(outcome(bench)) == wanted
    frame = bench.trials
    assert sorted(frame.loc[frame["state"] == "failed", "optimizer"]) == ["adam", "momentum"]
    assert not frame.duplicated(["optimizer", "batch_size", "seed"]).any()


def test_a_search_with_a_constraint_ends_with_what_it_started(victims: Victims, log: Path) -> None:
    victims.run("constrained_search", log, kill_at=epochs(10))
    bench = wb.Workbench(TASK, log=log)
    with pytest.warns(UserWarning, match=r"where=lambda c: c.learning_rate > 0.001.*continues=\.\.\., where=\.\.\."):
        bench.resume().wait()
    assert bench.trials["state"].tolist() == ["completed"] * 4
    bench.search(continues=1, where=lambda c: c.learning_rate > 1e-3, trials=4).wait()
    assert bench.trials["learning_rate"].gt(1e-3).tolist() == [True] * 8


def test_a_search_with_a_sampler_of_ones_own_ends_with_what_it_started(victims: Victims, log: Path) -> None:
    victims.run("own_sampler", log, kill_at=epochs(40))
    bench = wb.Workbench(TASK, log=log)
    started = len(bench.trials)
    assert 0 < started < 8
    with pytest.warns(
        UserWarning, match="search 1 ends with the trials .* a sampler object of yours, which a log cannot store"
    ):
        runs = bench.resume()
    runs.wait()
    assert len(bench.trials) == started
    assert bench.trials["state"].isin(["completed", "diverged"]).all()
    remarks = bench.events().query("kind == 'message'")["message"]
    assert remarks.str.contains("a sampler object of yours, which a log cannot store").any()
    assert len(bench.resume()) == 0


def test_deleted_trials_are_not_resumed_and_restored_ones_are(victims: Victims, log: Path) -> None:
    victims.run("alone", log, kill_at=epochs(10))
    bench = wb.Workbench(TASK, log=log)
    bench.delete(1)
    assert len(bench.resume()) == 0
    bench.restore(1)
    runs = bench.resume()
    runs.stop()
    runs.wait()
    assert bench.trials["state"].tolist() == ["stopped"]


def test_another_task_on_the_same_log_is_left_alone(victims: Victims, log: Path) -> None:
    victims.run("alone", log, kill_at=epochs(10))
    other = wb.Workbench(wb.Task.load("wine"), log=log)
    assert len(other.resume()) == 0
    assert other.trials["state"].tolist() == ["interrupted"]


def test_a_paused_and_a_queued_run_are_resumed_too(victims: Victims, log: Path) -> None:
    wanted = whole(victims, "queue", log.parent)
    victims.run("queue", log, kill_at=epochs(20))
    bench = wb.Workbench(TASK, log=log)
    states = bench.trials["state"].tolist()
    assert states == ["interrupted"] * 3
    runs = bench.resume()
    assert len(runs) == 3  # two runs and a search that had not begun
    runs.wait()
    assert plain(outcome(bench)) == wanted


def test_killed_while_a_cohort_that_broke_off_is_tried_one_by_one(
    victims: Victims, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials whose cohort is gone, and who wait for their turn, are not lost."""
    wanted = whole(victims, "breaking", log.parent)
    assert [end[0] for end in wanted["ends"].values()] == ["completed", "completed", "failed", "completed"]
    victims.run("breaking", log, kill_at=("event committed", 1), of={"kind": "EpochEnd", "trial": 1, "epoch": 6})
    bench = wb.Workbench(TASK, log=log)
    assert bench.trials["state"].tolist() == ["interrupted"] * 4
    monkeypatch.setattr("workbench.training.cohort.Cohort.step", fragile)
    bench.resume().wait()
    assert plain(outcome(bench))["ends"] == wanted["ends"]
    assert len(bench.resume()) == 0


def test_killed_before_the_first_epoch_with_a_live_change(victims: Victims, log: Path) -> None:
    wanted = whole(victims, "changed_at_once", log.parent)
    victims.run("changed_at_once", log, kill_at=("event committed", 1), of={"kind": "KnobChanged"})
    bench = wb.Workbench(TASK, log=log)
    assert len(bench.curves(1)) == 0
    bench.resume().wait()
    assert plain(outcome(bench))["bits"] == wanted["bits"]


def test_set_and_stop_while_it_is_trained_again_in_silence(victims: Victims, log: Path) -> None:
    victims.run("alone", log, kill_at=epochs(60))
    bench = wb.Workbench(TASK, log=log)
    curve = bench.curves(1)
    bench.checkpoints.forget(1)
    run = bench.resume()[0]
    run.pause()
    run.set(l2=0.5)
    run.stop()
    run.wait()
    end = bench.log.history.ends(1)[1]
    assert str(end.state) == "stopped"
    assert end.epochs_run == len(bench.curves(1)) >= len(curve)
    assert end.best_val_loss == bench.curves(1)["val_loss"].min()
    assert all(name != "l2" for _, name, _ in bench.log.history.changes(1))
    assert bench.replay(1).wait().identical


def test_mates_in_the_bin_stay_there(victims: Victims, log: Path) -> None:
    victims.run("seeds", log, kill_at=epochs(30))
    bench = wb.Workbench(TASK, log=log)
    bench.delete(2)
    runs = bench.resume()
    assert runs.trials == (1, 3, 4, 5)
    runs.wait()
    bench.presenter.tick()
    assert bench.trials["state"].isin(["completed", "early_stopped"]).all()
    assert bench.trash["state"].tolist() == ["interrupted"]


def test_a_search_with_removed_trials_ends_with_what_it_started(victims: Victims, log: Path) -> None:
    victims.run("grid_search", log, kill_at=epochs(70))
    bench = wb.Workbench(TASK, log=log)
    ended = bench.trials.query("state == 'completed'")["trial"].tolist()
    assert ended
    bench.delete(ended[0])
    assert bench.empty_trash() == ([ended[0]], [])
    with pytest.warns(UserWarning, match="no longer in the log|is not in the log"):
        runs = bench.resume()
    runs.wait()
    assert bench.trials["state"].eq("completed").all()
    assert len(bench.resume()) == 0


def test_what_cannot_be_trained_here_is_refused_before_anything_is_changed(victims: Victims, log: Path) -> None:
    victims.run("own_model", log, kill_at=checkpoints(1))

    def other(task, *, width=wb.IntRange(4, 64, default=8)):  # type: ignore[no-untyped-def]
        return build(task, width=2 * width)

    try:
        bench = wb.Workbench(TASK, log=log, models={"own": other})
        with pytest.raises(wb.ModelError, match="another version of the model"):
            bench.model(1, epoch=3)
        with pytest.raises(wb.ModelError, match="another version of the model"):
            bench.resume()
        assert bench.trials["state"].tolist() == ["interrupted"]
        MODELS.unregister("own")
        bench = wb.Workbench(TASK, log=log, models={"own": build})
        bench.resume().wait()
        assert bench.trials["state"].tolist() == ["completed"]
    finally:
        MODELS.unregister("own")


def test_resume_beside_a_search_touches_none_of_its_trials(tmp_path: Path) -> None:
    bench = wb.Workbench(TASK, log=tmp_path / "trials.db")
    space = {"learning_rate": wb.LogRange(1e-4, 1e-1)}
    search = bench.search("random", space, wb.Config(hidden_units=4, epochs=1), trials=150, cohort=2)
    while not search.done:
        assert len(bench.resume()) == 0
    search.wait()
    assert bench.trials["state"].eq("completed").all()
    assert not bench.events()["name"].eq("interrupted").any()
