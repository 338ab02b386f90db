"""Branches, replays, scripts and models out of any epoch, against plain loops and against the trials themselves."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.core.events import EpochEnd
from workbench.core.registry import LOSSES, METRICS, MODELS

SHORT = wb.Config(epochs=8, hidden_units=16, learning_rate=0.01)
NUMBERS = [
    "epoch",
    "step",
    "train_loss",
    "penalty",
    "train_metric",
    "val_loss",
    "val_metric",
    "learning_rate",
    "grad_norm",
]


@pytest.fixture
def bench(tmp_path: Path) -> wb.Workbench:
    return wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db")


def curve(bench: wb.Workbench, trial: int) -> pd.DataFrame:
    return bench.curves(trial)[NUMBERS].reset_index(drop=True)


def plain_epochs(task: wb.Task, config: wb.Config) -> list[EpochEnd]:
    return [event for event in wb.train(task, {1: config}) if isinstance(event, EpochEnd)]


# --- branches ---------------------------------------------------------------------------------------------------------


def test_a_branch_is_the_run_whose_values_were_changed_there(bench: wb.Workbench) -> None:
    bench.run(SHORT)
    steps = int(bench.curves(1)["step"][2])
    run = bench.branch(trial=1, epoch=3, learning_rate=1e-3, l2=1e-2).wait()
    live = bench.run(SHORT, changes=[(steps, "learning_rate", 1e-3), (steps, "l2", 1e-2)])
    own, other = curve(bench, run.trials[0]), curve(bench, live.trials[0])
    assert own["epoch"].tolist() == [4, 5, 6, 7, 8]
    pd.testing.assert_frame_equal(own, other[3:].reset_index(drop=True))
    row = bench.trials.set_index("trial").loc[2]
    assert (row["source"], row["parent"], row["parent_epoch"], row["state"]) == ("branch", 1, 3, "completed")
    assert bench.config(2) == bench.config(1).replace(learning_rate=1e-3, l2=1e-2)
    message = bench.events(2).query("kind == 'branch'")["message"].item()
    assert message == "from trial 1 after epoch 3: l2 0.0 → 0.01, learning_rate 0.01 → 0.001"


def test_numbers_out_of_tables_are_taken(bench: wb.Workbench) -> None:
    bench.run(SHORT)
    row = bench.trials.iloc[0]
    bench.branch(row["trial"], bench.curves(1)["epoch"][2], l2=np.float64(0.01)).wait()
    assert bench.trials["parent"].tolist()[1] == 1
    assert bench.trials["parent_epoch"].tolist()[1] == 3
    trial = bench.trials["trial"].iloc[1]
    assert bench.replay(trial).wait().identical
    assert bench.model(trial, epoch=np.int64(5)).epoch == 5
    assert "bench.branch(trial_1.trials[0], epoch=3, l2=0.01)" in bench.code(trial)
    bench.delete(trial)
    assert bench.restore(trial) == [2]


def test_a_branch_sees_the_live_changes_before_it(bench: wb.Workbench) -> None:
    bench.run(SHORT, changes=[(5, "learning_rate", 0.03), (19, "l1", 0.5)])
    bench.branch(1, epoch=3, epochs=9).wait()
    assert bench.config(2).learning_rate == 0.03
    assert bench.config(2).l1 == 0.0


def test_another_optimizer_starts_anew_and_says_so(bench: wb.Workbench) -> None:
    bench.run(SHORT)
    bench.branch(1, epoch=4, optimizer="momentum", learning_rate=0.05).wait()
    remarks = bench.events(2).query("kind == 'message'")["message"].tolist()
    assert remarks == ["the optimizer changed from adam to momentum: its state starts empty"]
    # a plain momentum loop from the weights after epoch 4, in the order of data that epoch 5 draws
    task, module = bench.task, bench.model(1, epoch=4).module.train()
    order = torch.Generator().manual_seed(2**32)
    for _ in range(5):
        rows = torch.randperm(len(task.train.x), generator=order)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    for batch in torch.split(rows, 32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(task.train.x[batch]), task.train.y[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        loss = nn.functional.cross_entropy(module.eval()(task.validation.x), task.validation.y)
    assert curve(bench, 2)["val_loss"][0] == pytest.approx(float(loss), rel=1e-5)


def test_a_branch_of_a_branch_of_a_cohort_row(bench: wb.Workbench) -> None:
    bench.run(SHORT, seeds=3)
    bench.branch(2, epoch=5, batch_size=16, dropout=0.2, epochs=12, schedule="cosine").wait()
    bench.branch(4, epoch=9, seeds=2, batch_size=16).wait()
    frame = bench.trials.set_index("trial")
    assert frame.loc[[4, 5, 6], "parent"].tolist() == [2, 4, 4]
    assert curve(bench, 5)["epoch"].tolist() == [10, 11, 12]
    assert frame.loc[[5, 6], "seed"].tolist() == [1, 2]
    text = repr(bench.tree())
    assert text.splitlines()[0].startswith("trial 2 · completed, 8 epochs")
    assert text.splitlines()[1].startswith(
        "└─ trial 4 after epoch 5: dropout 0 → 0.2, schedule constant → cosine, batch_size 32 → 16, epochs 8 → 12 · "
    )
    assert text.splitlines()[2].startswith("   ├─ trial 5 after epoch 9: no change")
    assert text.splitlines()[3].startswith("   └─ trial 6 after epoch 9: seed 1 → 2")
    assert bench.tree(6).frame["trial"].tolist() == [4, 5, 6]
    assert repr(bench.tree(1)).startswith("trial 1 · completed")


def test_an_epoch_without_checkpoint_is_trained_again(bench: wb.Workbench) -> None:
    config = SHORT.replace(dropout=0.3, batch_norm=True)
    bench.run(config, changes=[(10, "learning_rate", 0.05)])
    with_checkpoint = bench.branch(1, epoch=6, l2=0.01).wait()
    for epoch in (3, 4, 5, 6):
        (bench.checkpoints.folder / "00000001" / f"{epoch:06d}.pt").unlink()
    between = bench.branch(1, epoch=6, l2=0.01).wait()
    bench.checkpoints.forget(1)
    from_scratch = bench.branch(1, epoch=6, l2=0.01).wait()
    wanted = curve(bench, *with_checkpoint.trials)
    for run, first in ((between, 3), (from_scratch, 1)):
        pd.testing.assert_frame_equal(curve(bench, *run.trials), wanted)
        remarks = bench.events(*run.trials).query("kind == 'message'")["message"].tolist()
        assert remarks == [f"there is no checkpoint after epoch 6: epochs {first} to 6 are trained again first"]
    for run in (between, from_scratch):
        bench.checkpoints.forget(run.trials[0])
    bench.branch(3, epoch=7, l2=0.5).wait()  # a branch whose whole path has to be trained again
    assert np.isfinite(curve(bench, 5)["val_loss"]).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"trial": 9}, wb.LogError, "trial 9 is not in the log"),
        ({"trial": 1, "epoch": 9}, wb.RunError, "epoch=9: trial 1 has the epochs 1 to 8"),
        ({"trial": 1, "epoch": 0}, wb.RunError, "epoch=0"),
        ({"trial": 1, "epoch": 2.5}, wb.RunError, "epoch=2.5: must be a whole number"),
        ({"trial": None}, wb.RunError, "trial=None: must be a whole number"),
        ({"trial": True}, wb.RunError, "trial=True"),
        ({"trial": 1, "epoch": 8}, wb.ConfigError, "epochs=8: the branch begins after epoch 8; give more"),
        ({"trial": 1, "epoch": 3, "hidden_units": 32}, wb.ConfigError, "keeps the architecture of its parent, trial 1"),
        ({"trial": 1, "epoch": 3, "activation": "tanh"}, wb.ConfigError, "activation='tanh'"),
        ({"trial": 1, "epoch": 3, "model": "cnn"}, wb.ConfigError, "model='cnn'"),
        ({"trial": 1, "epoch": 3, "learning_rat": 1}, wb.ConfigError, "did you mean 'learning_rate'"),
        ({"trial": 1, "epoch": 3, "learning_rate": -1}, wb.ConfigError, "learning_rate=-1"),
        ({"trial": 1, "epoch": 3, "batch_size": 4000}, wb.ConfigError, "batch_size=4000: larger than"),
        ({"trial": 1, "epoch": 3, "seeds": 0}, wb.ConfigError, "seeds=0"),
        ({"trial": 1, "epoch": 3, "device": "gpu"}, wb.ConfigError, "device='gpu'"),
    ],
)
def test_a_branch_that_cannot_be_leaves_no_trace(
    bench: wb.Workbench, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    bench.run(SHORT)
    with pytest.raises(error, match=message):
        bench.branch(**arguments)
    assert len(bench.trials) == 1


def test_a_damaged_checkpoint_is_refused_and_others_are_none_the_worse(bench: wb.Workbench) -> None:
    bench.run(SHORT)
    assert 4 in bench.checkpoints.epochs(1)
    path = bench.checkpoints.folder / "00000001" / "000004.pt"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(wb.CheckpointError, match=r"000004\.pt.*damaged.*delete the file"):
        bench.branch(1, epoch=4, l2=0.01)
    assert len(bench.trials) == 1
    bench.branch(1, epoch=3, l2=0.01).wait()
    path.unlink()
    bench.branch(1, epoch=4, l2=0.01).wait()
    assert bench.trials["state"].tolist() == ["completed"] * 3


def test_a_trial_on_other_data_is_refused(bench: wb.Workbench, tmp_path: Path) -> None:
    bench.run(SHORT)
    other = wb.Workbench(wb.Task.load("iris", seed=1), log=tmp_path / "trials.db")
    for call in (other.branch, other.model, other.replay, other.code):
        with pytest.raises(wb.RunError, match="is of other data than 'iris'"):
            call(1)


def test_a_branch_of_a_trial_that_still_trains(bench: wb.Workbench) -> None:
    run = bench.start(SHORT.replace(epochs=50_000))
    while not len(bench.curves(1)):
        run._done.wait(0.01)
    branch = bench.branch(1, epoch=1, epochs=3)
    run.stop()
    branch.wait(60)
    assert curve(bench, 2)["epoch"].tolist() == [2, 3]


# --- replay and script --------------------------------------------------------------------------------------------------


def test_a_replay_is_identical_whatever_else_draws_random_numbers(bench: wb.Workbench) -> None:
    config = SHORT.replace(dropout=0.4, batch_norm=True, schedule="plateau", plateau_patience=0)
    bench.run(config, changes=[(7, "learning_rate", 0.05), (7, "l1", 0.01), (20, "l1", 0.0)])
    going = threading.Event()

    def draw() -> None:
        while not going.is_set():
            torch.rand(5), np.random.rand(5), random.random()
            torch.manual_seed(7)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        replay = bench.replay(1).wait()
    finally:
        going.set()
        thread.join()
    assert replay.exact
    assert replay.identical
    assert (
        replay.verdict
        == "Trial 2, a replay of trial 1, is identical to it: 8 epochs and the best weights, to the last bit."
    )
    changes = bench.events(2).query("kind == 'change'")[["step", "name", "new"]].to_numpy().tolist()
    assert changes == bench.events(1).query("kind == 'change'")[["step", "name", "new"]].to_numpy().tolist()
    assert len(changes) == 3


def test_why_a_replay_differs_is_said(bench: wb.Workbench) -> None:
    """Dropout draws for a whole cohort; without it, only roundings differ."""

    class Dropping(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(torch.nn.functional.dropout(x.flatten(1), 0.5, self.training))

    wb.register_model("dropping_of_replay", lambda task: Dropping(int(np.prod(task.input_shape)), task.output_size))
    try:
        own = wb.Config(model="dropping_of_replay", epochs=2)
        for config, drawn in (
            (SHORT.replace(dropout=0.4, epochs=2), True),
            (own, True),
            (SHORT.replace(epochs=2), False),
        ):
            trial = bench.start(config, seeds=2).wait().trials[0]
            replay = bench.replay(trial).wait()
            assert not replay.exact
            assert ("random numbers, as of dropout, are drawn for the cohort together" in replay.verdict) is drawn
            assert ("round otherwise" in replay.verdict) is not drawn
            assert replay.within_tolerance is not drawn
    finally:
        MODELS.unregister("dropping_of_replay")


def test_replays_are_no_attempts(bench: wb.Workbench) -> None:
    bench.run(SHORT)
    bench.replay(1).wait()
    assert bench.leaderboard()["seeds"].tolist() == [1]
    assert bench.trials["source"].tolist() == ["manual", "replay"]
    assert len(bench.tree()) == 0


def test_a_replay_of_a_stopped_a_diverged_and_a_branched_trial(bench: wb.Workbench) -> None:
    bench.run(SHORT, stop_after=11)
    assert bench.trials["state"].tolist() == ["stopped"]
    assert bench.replay(1).wait().identical
    bench.run(SHORT.replace(optimizer="sgd", learning_rate=10.0, l2=1.0))
    assert bench.trials["state"].tolist()[-1] == "diverged"
    run = bench.run(SHORT)
    branch = bench.branch(run.trials[0], epoch=5, optimizer="adamw", epochs=9).wait()
    bench.checkpoints.forget(run.trials[0])  # a replay goes by the configuration alone
    replay = bench.replay(branch.trials[0]).wait()
    assert replay.identical
    assert curve(bench, replay.trials[0])["epoch"].tolist() == [6, 7, 8, 9]


def test_a_replay_of_a_cohort_row_agrees_within_the_stated_tolerance(bench: wb.Workbench) -> None:
    bench.run(SHORT, seeds=4)
    replay = bench.replay(3).wait()
    assert not replay.exact
    assert "trained together with others" in replay.reason
    assert replay.within_tolerance
    assert "within 0.1% in all 8 epochs" in replay.verdict or replay.identical


def test_a_replay_notices_a_difference(bench: wb.Workbench, tmp_path: Path) -> None:
    run = bench.run(SHORT)
    replay = bench.replay(*run.trials).wait()
    other = bench.run(SHORT.replace(learning_rate=0.011))
    replay.original = other.trials[0]
    assert not replay.identical
    assert not replay.same_weights
    assert replay.differences["epoch"].iloc[0] == 1
    assert "differs from it, first in epoch 1" in replay.verdict


def test_what_cannot_be_replayed(bench: wb.Workbench) -> None:
    run = bench.start(SHORT.replace(epochs=50_000))
    while not len(bench.curves(1)):
        run._done.wait(0.01)
    with pytest.raises(wb.RunError, match="trial 1 is running; wait for its end"):
        bench.replay(1)
    run.stop()
    run.wait(60)
    with pytest.raises(wb.LogError, match="trial 5"):
        bench.replay(5)


def run_script(text: str, tmp_path: Path, extra: str = "") -> str:
    file = tmp_path / "again.py"
    file.write_text(text + extra, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


DUMP = "\nprint(bench.curves(run.trials[0])[['epoch', 'train_loss', 'val_loss']].to_json(double_precision=15))\n"


def same_losses(output: str, bench: wb.Workbench, trial: int) -> None:
    import io

    again = pd.read_json(io.StringIO(output.splitlines()[-1]), precise_float=True)
    wanted = bench.curves(trial)
    assert again["epoch"].tolist() == wanted["epoch"].tolist()
    for name in ("train_loss", "val_loss"):
        np.testing.assert_allclose(again[name], wanted[name], rtol=1e-13)


def test_the_script_of_a_trial_does_it_again_in_a_fresh_process(bench: wb.Workbench, tmp_path: Path) -> None:
    bench.run(SHORT.replace(optimizer="momentum"), changes=[(5, "learning_rate", 0.1), (9, "momentum", 0.5)])
    bench.branch(1, epoch=5, l2=0.02, optimizer="adam", script=[(19, "l2", 0.0)]).wait()
    for trial in (1, 2):
        text = bench.code(trial)
        assert "_session" not in text
        same_losses(run_script(text, tmp_path, DUMP), bench, trial)


def test_the_script_of_a_model_of_ones_own_holds_its_source(tmp_path: Path) -> None:
    def build(task, *, width=wb.IntRange(4, 64, default=8)):  # type: ignore[no-untyped-def]
        return nn.Sequential(nn.Linear(task.input_shape[0], width), nn.Tanh(), nn.Linear(width, task.output_size))

    bench = wb.Workbench(wb.Task.load("iris"), log=None, models={"tiny": build})
    try:
        bench.run(wb.Config(model="tiny", width=12, epochs=3))
        same_losses(run_script(bench.code(1), tmp_path, DUMP), bench, 1)
    finally:
        MODELS.unregister("tiny")


def test_the_script_on_data_in_memory_says_what_it_needs() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    bench = wb.Workbench(wb.Task.from_arrays(X, y, name="mine"))
    bench.run(wb.Config(epochs=1))
    text = bench.code(1)
    assert "# X, y: your data" in text
    scope: dict[str, Any] = {"X": X, "y": y}
    exec(text, scope)
    assert scope["bench"].curves(1)["val_loss"].tolist() == bench.curves(1)["val_loss"].tolist()


def test_the_script_names_all_that_has_to_be_registered_before_the_task_is_made() -> None:
    def squared(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs - targets).square().mean(1)

    wb.register_loss("squared", squared, kinds=["regression"], link="identity")
    for name in ("first", "second"):
        wb.register_metric(name, lambda predictions, targets: float((predictions - targets).abs().mean()))
    try:
        X = np.random.default_rng(0).normal(size=(60, 3))
        task = wb.Task.from_arrays(X, X.sum(1), metrics=("mae", "first", "second"), monitor="second")
        bench = wb.Workbench(task)
        bench.run(wb.Config(epochs=1, loss="squared"))
        lines = bench.code(1).splitlines()
        made = next(index for index, line in enumerate(lines) if line.startswith("task = "))
        for kind, name in (("loss", "squared"), ("metric", "first"), ("metric", "second")):
            comment = f"# {kind} {name!r} is your own: wb.register_{kind}({name!r}, ...) has to come first"
            assert lines.index(comment) < made
        assert sum("is your own" in line for line in lines) == 3
    finally:
        LOSSES.unregister("squared")
        METRICS.unregister("first")
        METRICS.unregister("second")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([(5, "batch_size", 4)], "batch_size cannot be changed while a trial runs"),
        ([(5, "learning_rate", "x")], "learning_rate='x'"),
        ([(-1, "l2", 0.1)], "step=-1"),
        ([(5, "l2")], r"changes: \(5, 'l2'\) is no \(step, hyperparameter, value\)"),
    ],
)
def test_impossible_scripted_changes(bench: wb.Workbench, changes: Any, message: str) -> None:
    with pytest.raises(wb.ConfigError, match=message):
        bench.start(SHORT, changes=changes)
    assert len(bench.trials) == 0


# --- models -------------------------------------------------------------------------------------------------------------


def test_the_best_model_and_that_of_any_epoch(bench: wb.Workbench, tmp_path: Path) -> None:
    bench.run(SHORT.replace(learning_rate=0.3, epochs=12))
    curves = bench.curves(1).set_index("epoch")
    best = int(curves["val_loss"].idxmin())
    task = bench.task

    def loss(model: nn.Module) -> float:
        with torch.no_grad():
            return float(nn.functional.cross_entropy(model(task.validation.x), task.validation.y))

    assert bench.model(1).epoch == best
    assert loss(bench.model(1)) == pytest.approx(curves.loc[best, "val_loss"], rel=1e-6)
    for epoch in (1, 5, 12):
        assert loss(bench.model(1, epoch=epoch)) == pytest.approx(curves.loc[epoch, "val_loss"], rel=1e-6)
    # another session has the checkpoints only; then not even these
    later = wb.Workbench(task, log=tmp_path / "trials.db", checkpoints=bench.checkpoints.folder)
    later._session._runs.clear()
    assert loss(later.model(1)) == loss(bench.model(1))
    later.checkpoints.forget(1)
    assert loss(later.model(1)) == loss(bench.model(1))
    assert loss(later.model(1, epoch=4)) == pytest.approx(curves.loc[4, "val_loss"], rel=1e-6)


def test_predictions_for_raw_rows_and_a_file_for_another_process(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": rng.normal(80, 20, 200),
            "town": rng.choice(["Bern", "Genève", "<b>x</b>"], 200),
            "floor": rng.integers(0, 9, 200),
        }
    )
    frame["rent"] = 10 * frame["size"] + 200 * (frame["town"] == "Bern") + rng.normal(0, 20, 200)
    task = wb.Task.from_frame(frame, "rent")
    bench = wb.Workbench(task)
    bench.run(wb.Config(epochs=30, learning_rate=0.01))
    raw = frame.drop(columns="rent").head(20)
    numbers = bench.predict(1, raw)
    assert np.abs(numbers - frame["rent"].head(20)).mean() < 150
    path = bench.save(1, tmp_path / "model.pt")
    raw.to_csv(tmp_path / "raw.csv", index=False)
    text = (
        "import sys, pandas, workbench as wb\n"
        "model = wb.load_model(sys.argv[1])\n"
        "print(model.predict(pandas.read_csv(sys.argv[2])).tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", text, str(path), str(tmp_path / "raw.csv")], capture_output=True, text=True, check=True
    )
    np.testing.assert_allclose(eval(done.stdout), numbers, rtol=1e-6)


def test_models_that_are_not_there(bench: wb.Workbench) -> None:
    with pytest.raises(wb.LogError, match="trial 1 is not in the log"):
        bench.model(1)
    bench.run(SHORT.replace(optimizer="sgd", learning_rate=10.0, gradient_clip=None, hidden_layers=0, l2=1.0))
    if bench.trials["epochs_run"][0] == 0:
        with pytest.raises(wb.RunError, match="no finished epoch"):
            bench.model(1)


# --- the trash ------------------------------------------------------------------------------------------------------------


def test_deleting_is_undone_and_emptying_is_not(bench: wb.Workbench) -> None:
    for _ in range(3):
        bench.run(SHORT)
    bench.branch(1, epoch=2, l2=0.1).wait()
    bench.presenter.selected = [2, 3]
    bench.delete(1, 2)
    assert bench.trials["trial"].tolist() == [3, 4]
    assert bench.selected == [3]
    assert bench.trash["trial"].tolist() == [1, 2]
    assert bench.restore(2) == [2]
    assert bench.trials["trial"].tolist() == [2, 3, 4]
    bench.delete(2)
    assert bench.empty_trash() == ([2], [1])  # a branch was made from trial 1
    assert bench.checkpoints.epochs(2) == []
    assert bench.checkpoints.epochs(1) != []
    assert bench.restore() == [1]
    assert bench.run(SHORT).trials == (5,)
    with pytest.raises(wb.LogError, match="trial 9"):
        bench.delete(9)


def test_what_is_made_from_a_deleted_trial_keeps_its_path(bench: wb.Workbench) -> None:
    bench.run(SHORT)
    bench.branch(1, epoch=3, l2=0.01).wait()
    bench.branch(2, epoch=6, learning_rate=0.1, epochs=9).wait()
    bench.delete(2)
    assert "bench.branch(trial_1.trials[0], epoch=3" in bench.code(3)
    assert bench.replay(3).wait().identical
    assert "in the trash" in repr(bench.tree())


def test_nothing_begins_from_a_trial_in_the_bin_and_nothing_is_claimed_of_it(bench: wb.Workbench) -> None:
    """What only reads it goes on; brought back, it is as it was."""
    bench.run(SHORT)
    bench.run(SHORT.replace(learning_rate=1e-5))
    judged, together = bench.diagnose(2), bench.ensemble(trials=[1, 2])
    assert judged.findings
    bench.delete(1, 2)
    begins: list[Callable[[], Any]] = [
        lambda: bench.branch(2, epoch=3, learning_rate=0.02),
        lambda: bench.finetune(2),
        lambda: bench.replay(2),
        lambda: bench.try_it(2),
        lambda: bench.try_it(judged),
        lambda: bench.diagnose(2),
        lambda: bench.ensemble(trials=[2]),
        lambda: bench.open_test_set(2),
    ]
    before = [len(bench.log.findings()), bench.log.results.count(bench.task.fingerprint), list(MODELS)]
    for begin in begins:
        with pytest.raises(wb.RunError, match=r"^trial 2 is in the trash; bring it back with bench\.restore\(2\)$"):
            begin()
    for begin in (lambda: bench.open_test_set(together), lambda: bench.load_ensemble(1)):
        with pytest.raises(wb.RunError, match=r"^trial 1 is in the trash"):
            begin()
    assert [len(bench.log.findings()), bench.log.results.count(bench.task.fingerprint), list(MODELS)] == before
    assert len(bench.curves(2)) == SHORT.epochs
    assert bench.model(2).trial == 2
    assert "bench.start" in bench.code(2)
    bench.restore()
    assert bench.open_test_set(2).number == 1
    assert bench.branch(2, epoch=3, learning_rate=0.02).wait().trials == (3,)


def test_the_same_branch_while_it_trains_is_the_same_run(bench: wb.Workbench) -> None:
    bench.run(SHORT)
    run = bench.branch(1, epoch=3, learning_rate=0.02, epochs=100_000)
    try:
        assert bench.branch(1, epoch=3, learning_rate=0.02, epochs=100_000) is run
        others = [
            bench.branch(1, epoch=4, learning_rate=0.02, epochs=100_000),
            bench.branch(1, epoch=3, learning_rate=0.03, epochs=100_000),
            bench.branch(1, epoch=3, learning_rate=0.02, epochs=100_000, seeds=2),
            bench.branch(1, epoch=3, learning_rate=0.02, epochs=100_000, script=[(900, "l2", 0.1)]),
        ]
        assert len({run, *others}) == 5
    finally:
        for one in bench.active[::-1]:
            one.stop()
    run.wait()
    assert bench.branch(1, epoch=3, learning_rate=0.02, epochs=100_000, stop_after=60).wait() is not run


def test_a_value_that_is_set_and_taken_back_while_paused(bench: wb.Workbench) -> None:
    run = bench.start(SHORT.replace(epochs=400))
    run.pause()
    for rate in (0.1, 0.2, 0.1):
        run.set(learning_rate=rate)
    run.resume()
    run.wait()
    assert [value for _, _, value in bench.log.history.changes(1)] == [0.1, 0.2, 0.1]
    assert bench.replay(1).wait().identical


def test_two_logs_in_one_folder_of_checkpoints(tmp_path: Path) -> None:
    benches = [
        wb.Workbench(wb.Task.load("iris", seed=seed), log=tmp_path / f"{seed}.db", checkpoints=tmp_path / "shared")
        for seed in (0, 1)
    ]
    for bench in benches:
        bench.run(SHORT)
    for bench in benches:
        bench.branch(1, epoch=4).wait()
        pd.testing.assert_frame_equal(curve(bench, 2), curve(bench, 1)[4:].reset_index(drop=True))


def test_a_small_budget_leaves_what_the_logs_other_tasks_need(tmp_path: Path) -> None:
    one, other = (wb.Workbench(wb.Task.load(name), log=tmp_path / "trials.db") for name in ("iris", "wine"))
    one.run(SHORT)
    other.run(SHORT)
    other.branch(2, epoch=3).wait()
    one.checkpoints.budget = 1
    assert 3 in other.checkpoints.epochs(2)
    assert one.checkpoints.epochs(1) != []  # the best of its own


def test_a_stop_after_some_steps_stops_each_trial_there() -> None:
    def build(task: Any) -> nn.Module:
        class Odd(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(task.input_shape[0], task.output_size)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.layer(x) * (1 if float(x.sum()) > -1e9 else 2)  # cannot be vectorised

        return Odd()

    bench = wb.Workbench(wb.Task.load("iris"), models={"odd": build})
    run = bench.run(wb.Config(model="odd", epochs=20), seeds=3, stop_after=8)
    assert {trial: end.step for trial, end in bench.log.history.ends(*run.trials).items()} == {1: 8, 2: 8, 3: 8}


def test_mates_that_were_removed_still_count(bench: wb.Workbench) -> None:
    bench.run(SHORT, seeds=3)
    bench.delete(2, 3)
    bench.empty_trash()
    replay = bench.replay(1).wait()
    assert not replay.exact
    assert "trained together with others" in replay.reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stop_after": "x"}, "stop_after='x': must be a whole number"),
        ({"stop_after": -1}, "stop_after=-1"),
        ({"stop_after": 1.5}, "stop_after=1.5"),
    ],
)
def test_impossible_stops(bench: wb.Workbench, options: dict[str, Any], message: str) -> None:
    with pytest.raises(wb.ConfigError, match=message):
        bench.start(SHORT, **options)
    assert len(bench.trials) == 0


def test_steps_out_of_tables_and_scripts_before_a_branch(bench: wb.Workbench) -> None:
    bench.run(SHORT, stop_after=np.int64(12), changes=[(np.int64(4), "l2", np.float64(0.1))])
    assert bench.log.history.ends(1)[1].step == 12
    with pytest.raises(wb.ConfigError, match=r"script: \(0, 'l2', 0.1\) lies before step 9"):
        bench.branch(1, 3, script=[(0, "l2", 0.1)])
    assert len(bench.trials) == 1


def test_it_all_works_on_a_log_in_memory() -> None:
    bench = wb.Workbench(wb.Task.load("iris"))
    bench.run(SHORT)
    bench.branch(1, epoch=3, l2=0.1).wait()
    assert bench.replay(2).wait().identical
    assert bench.model(2).epoch is not None
    bench.delete(3)
    assert len(bench.resume()) == 0
    assert bench.empty_trash() == ([3], [])


def test_a_log_made_anew_leaves_nothing_of_the_one_before(tmp_path: Path) -> None:
    log = tmp_path / "trials.db"
    first = wb.Workbench(wb.Task.load("iris"), log=log)
    first.run(SHORT)
    assert first.checkpoints.epochs(1)
    first.log.close()
    for file in tmp_path.glob("trials.db*"):
        if file.is_file():
            file.unlink()
    second = wb.Workbench(wb.Task.load("iris"), log=log)
    assert not first.checkpoints.folder.exists()
    second.run(SHORT.replace(seed=5))
    assert second.checkpoints.epochs(1)
    again = wb.Workbench(wb.Task.load("wine"), log=log)  # of the same log: its states stay
    assert again.checkpoints.epochs(1) == second.checkpoints.epochs(1)
