"""A refit is a plain training loop on the rows of training and validation, for the epochs found, and no score stands for it."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import StandardScaler

import workbench as wb
from tests.training import reference
from workbench.core.events import EpochEnd
from workbench.methods.comparison.reads import Reads
from workbench.methods.search.recorder import results_of
from workbench.runs.refits import Refits
from workbench.tasks.merged import _RAW, merged
from workbench.tasks.test_split import open_seal
from workbench.training import FixedLength, Training, plateau_drops, prepare
from workbench.ui.live import LiveRun
from workbench.ui.status import run_status
from workbench.ui.task_log import TaskLog

ROWS = 150
RNG = np.random.default_rng(0)
CLASSES = np.arange(ROWS) % 3
X = RNG.normal(3.0, 2.0, (ROWS, 6)) + CLASSES[:, None]
NUMBERS = X[:, :2] @ [[1.0], [-2.0]] + 50
TASKS = {"classes": (X, CLASSES, {}), "numbers": (X, NUMBERS, {}), "as they are": (X, CLASSES, {"standardize": False})}
QUICK = wb.Config(hidden_units=8, batch_size=16, epochs=6, learning_rate=0.02)


def bench_on(task: wb.Task | None = None, log: Any = None) -> wb.Workbench:
    return wb.Workbench(task or wb.Task.load("iris"), log)


def open_rows(task: wb.Task, data: Any, targets: Any) -> tuple[Any, Any]:
    """The raw training and validation rows, found by their values and not by the task's own bookkeeping."""
    sealed = {tuple(row) for row in open_seal(task).x.tolist()}
    prepared = [tuple(row) for row in task.preprocess(data).tolist()]
    places = {row: place for place, row in enumerate(prepared)}
    order = [places[tuple(row)] for split in (task.train, task.validation) for row in split.x.tolist()]
    assert not sealed & {prepared[place] for place in order}
    assert len(order) + len(sealed) == len(data)
    return np.asarray(data)[order], np.asarray(targets)[order]


def by_hand(config: wb.Config, x: Any, y: Any, outputs: int, epochs: int, drops: Sequence[int] = ()) -> Any:
    """A plain loop with torch.optim.Adam in float64; the schedule has the length that the configuration plans."""
    model = reference.build(config.seed, x.shape[1], outputs)
    loss = torch.nn.CrossEntropyLoss() if y.dtype == torch.int64 else torch.nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters())
    order, step = torch.Generator().manual_seed(config.seed + 2**32), 0
    per_epoch = -(-len(x) // config.batch_size)
    losses = []
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.split(torch.randperm(len(x), generator=order), config.batch_size):
            dropped = sum(drop <= epoch for drop in drops)
            optimizer.param_groups[0]["lr"] = reference.rate_at(config, step, per_epoch, dropped)
            optimizer.zero_grad()
            value = loss(model(x[rows]), y[rows])
            value.backward()
            optimizer.step()
            total, step = total + float(value.detach()) * len(rows), step + 1
        losses.append(total / len(x))
    return model, losses


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "plateau"])
@pytest.mark.parametrize("name", TASKS)
def test_it_is_a_plain_loop_on_the_rows_of_both_splits(name: str, schedule: str) -> None:
    data, targets, options = TASKS[name]
    task = wb.Task.from_arrays(data, targets, **options)
    raw, answers = open_rows(task, data, targets)
    scaler = StandardScaler().fit(raw)
    x = torch.from_numpy(scaler.transform(raw) if options == {} else raw).float().double()
    if name == "numbers":
        y = torch.from_numpy(StandardScaler().fit_transform(answers)).float().double()
    else:
        y = torch.from_numpy(answers)
    config = prepare(merged(task), QUICK.replace(schedule=schedule, gamma=0.3, patience=1))
    drops = (2, 2, 3) if schedule == "plateau" else ()
    training = Training(merged(task), {1: config}, fixed=FixedLength(4, drops), dtype=torch.float64)
    events = [event for moment in training.moments() for event in moment]
    model, losses = by_hand(config, x, y, 1 if name == "numbers" else 3, 4, drops)
    found = [event.train_loss for event in events if type(event).__name__ == "EpochEnd"]
    assert found == pytest.approx(losses, rel=1e-10)
    ours = torch.cat([value.reshape(-1) for value in training.module(1).parameters()])
    theirs = torch.cat([value.detach().reshape(-1) for value in model.parameters()])
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-10)
    end = events[-1]
    assert (end.state, end.epochs_run, end.best_epoch) == ("completed", 4, 4)
    assert np.isnan([end.best_val_loss, end.best_val_metric]).all()


def test_the_call_trains_that_loop_and_the_model_answers_from_raw_rows() -> None:
    task = wb.Task.from_arrays(X, CLASSES)
    bench = bench_on(task)
    bench.run(QUICK.replace(schedule="cosine", epochs=8, patience=2))
    best = int(bench.trials["best_epoch"].iloc[0])
    run = bench.refit(1, seeds=2).wait()
    assert run.trials == (2, 3)
    raw, answers = open_rows(task, X, CLASSES)
    scaler = StandardScaler().fit(raw)
    for trial, seed in zip(run.trials, (0, 1), strict=True):
        config = bench.config(trial)
        assert config == bench.config(1).replace(seed=seed)
        prepared = torch.from_numpy(scaler.transform(raw)).double()
        model, losses = by_hand(config, prepared, torch.from_numpy(answers), 3, best)
        assert bench.curves(trial)["train_loss"].tolist() == pytest.approx(losses, rel=1e-4)
        wanted = model(torch.from_numpy(scaler.transform(X))).softmax(1).detach().numpy()
        assert bench.model(trial).predict_proba(X) == pytest.approx(wanted, abs=1e-4)
        assert (bench.predict(trial, X) == wanted.argmax(1)).mean() > 0.99
    assert torch.equal(run.model(2)(torch.ones(1, 6)), bench.model(2).module(torch.ones(1, 6)))


def test_no_validation_number_stands_anywhere() -> None:
    bench = bench_on()
    bench.run(QUICK, seeds=2)
    before = bench.leaderboard(), bench.importance, bench._reads.summary()
    measured = bench.log.results.count_measured(bench.task.fingerprint)
    bench.refit(1).wait()
    row = bench.trials.set_index("trial").loc[3]
    names = ["best_val_loss", "best_val_metric", "val_loss", "val_metric"]
    assert row[names].astype(float).isna().all()
    assert bench.curves(3)[["val_loss", "val_metric"]].isna().all(axis=None)
    assert (row["source"], row["parent"], row["parent_epoch"]) == ("refit", 1, bench.trials["best_epoch"].iloc[0])
    assert row["state"] == "completed"
    pd.testing.assert_frame_equal(bench.leaderboard(), before[0])
    assert bench._reads.summary().partition(",")[2] == before[2].partition(",")[2]  # the best trial is the same
    assert bench.log.results.count_measured(bench.task.fingerprint) == measured
    assert 3 not in [trial for trial, _ in results_of(bench._session)]
    assert 3 not in list(Reads.of(bench._session).trials_of(None)["trial"])
    assert 3 not in list(bench.complexity()["trial"])
    assert TaskLog(bench.task, bench.log).seeds_together([1, 2, 3]) == [[1, 2], [3]]
    bench.figure(1, 3)
    bench.delete(3)
    bench.empty_trash()
    assert bench.log.results.count_measured(bench.task.fingerprint) == measured


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("a branch", lambda bench: bench.branch(2, learning_rate=0.1)),
        ("a replay", lambda bench: bench.replay(2)),
        ("a diagnosis", lambda bench: bench.diagnose(2)),
        ("a diagnosis", lambda bench: bench.try_it(2)),
        ("another refit", lambda bench: bench.refit(2)),
        ("a fine-tuning", lambda bench: bench.finetune(2)),
        ("an ensemble", lambda bench: bench.ensemble(trials=[1, 2])),
        ("a look at its errors", lambda bench: bench.errors(2)),
        ("a look at its errors", lambda bench: bench.errors(2, split="train")),
        ("a look at its errors", lambda bench: bench.errors(2, epoch=1)),
    ],
)
def test_what_needs_unseen_rows_rejects_a_refit_and_names_the_trial_to_use(what: str, call: Any) -> None:
    bench = bench_on()
    bench.run(QUICK.replace(epochs=2))
    bench.refit(1).wait()
    with pytest.raises(wb.RunError, match=f"trial 2 is a refit of trial 1.*{what} needs.*use trial 1"):
        call(bench)
    assert len(bench.trials) == 2


def test_what_cannot_be_refitted() -> None:
    bench = bench_on()
    bench.run(QUICK.replace(epochs=2))
    with pytest.raises(wb.LogError, match="trial 9"):
        bench.refit(9)
    bench.run(QUICK.replace(learning_rate=10.0, optimizer="sgd", l2=1.0, epochs=60))
    with pytest.raises(wb.RunError, match="trial 2 diverged"):
        bench.refit(2)
    going = bench.start(QUICK.replace(epochs=100_000))
    with pytest.raises(wb.RunError, match="wait for its end"):
        bench.refit(3)
    going.stop()
    going.wait()
    bench.delete(1)
    with pytest.raises(wb.RunError, match="trash"):
        bench.refit(1)
    assert set(bench.log.trials()["source"]) == {"manual"}
    with pytest.raises(wb.ConfigError, match="seeds"):
        bench.refit(3, seeds=0)


def test_live_changes_and_plateaus_are_repeated_in_the_same_epochs() -> None:
    bench = bench_on(wb.Task.from_arrays(X, CLASSES))
    per_epoch = 6  # 90 rows in batches of 16; 8 of the refit's 120
    config = QUICK.replace(schedule="plateau", plateau_patience=0, gamma=0.5, epochs=9, learning_rate=0.3)
    bench.run(config, changes=[(2 * per_epoch, "l2", 0.01), (3 * per_epoch + 3, "l1", 0.002), (500, "l1", 0.5)])
    best = int(bench.trials["best_epoch"].iloc[0])
    bench.refit(1).wait()
    old, new = bench.curves(1), bench.curves(2)
    assert new["epoch"].tolist() == list(range(1, best + 1))
    assert new["learning_rate"].tolist() == old["learning_rate"].tolist()[:best]
    changed = bench.events(2).query("kind == 'change'")
    wanted = [(8 * 2, "l2"), (8 * 3 + 4, "l1")]
    assert list(zip(changed["step"], changed["name"], strict=True)) == [one for one in wanted if one[0] < 8 * best]
    drops = plateau_drops([(bench.config(1), "loss", old["val_loss"], ())])
    rates = [0.3 * 0.5 ** sum(drop < epoch for drop in drops) for epoch in old["epoch"]]
    assert drops
    assert old["learning_rate"].tolist() == pytest.approx(rates)


@pytest.mark.parametrize(
    "script",
    [
        [(26, "learning_rate", 0.2)],
        [(24, "learning_rate", 0.2)],
        [(20, "learning_rate", 0.3), (41, "learning_rate", 0.05)],
        [(31, "learning_rate", 0.3), (31, "l2", 0.01)],
    ],
)
@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_the_drops_before_a_rate_that_was_set_live_do_not_act_on_it(script: list[Any], monitor: str) -> None:
    bench = bench_on(wb.Task.from_arrays(X, CLASSES, monitor=monitor))
    bench.run(
        QUICK.replace(schedule="plateau", plateau_patience=0, gamma=0.5, epochs=10, learning_rate=0.3), changes=script
    )
    refits, config = bench._session.recall.refits, bench.config(1)
    length, changes = refits.length_until(1, 10), refits.changes_until(1, 10, config)
    assert min(length.drops) < 4  # before the first change, in epoch 4, 5 or 6
    training = Training(merged(bench.task), {1: config}, fixed=length, changes={1: changes})
    rates = [e.learning_rate for moment in training.moments() for e in moment if isinstance(e, EpochEnd)]
    assert rates == pytest.approx(bench.curves(1)["learning_rate"].tolist())


def test_a_branch_is_refitted_on_its_whole_path(tmp_path: Path) -> None:
    bench = bench_on(log=tmp_path / "trials.db")
    first = QUICK.replace(epochs=5, optimizer="momentum", schedule="plateau", plateau_patience=0, learning_rate=0.3)
    bench.run(first, changes=[(6 * 1, "l2", 0.01)])  # 90 rows, 6 steps in an epoch; 8 of the refit's 120
    bench.branch(1, epoch=3, learning_rate=0.1, momentum=0.5, batch_size=32, epochs=7).wait()
    bench.branch(2, epoch=5, l2=0.03, epochs=9).wait()
    best = int(bench.trials["best_epoch"].iloc[2])
    assert best > 5
    bench.refit(3).wait()
    assert bench.curves(4)["epoch"].tolist() == list(range(6, best + 1))
    old = pd.concat([bench.curves(trial).query(f"epoch <= {last}") for trial, last in ((1, 3), (2, 5), (3, best))])
    assert bench.curves(4)["learning_rate"].tolist() == old["learning_rate"].tolist()[5:]
    # by hand: one loop on the merged rows, in which the hyperparameters change after epochs 1, 3 and 5
    x, y = merged(bench.task).train.x.double(), merged(bench.task).train.y
    model, order, velocity = reference.build(0, 4, 3), torch.Generator().manual_seed(2**32), {}
    losses = []
    for epoch, rate in enumerate(old["learning_rate"], 1):
        batch, momentum = (16, first.momentum) if epoch <= 3 else (32, 0.5)
        l2 = 0.0 if epoch == 1 else 0.03 if epoch > 5 else 0.01
        total = 0.0
        for rows in torch.split(torch.randperm(len(x), generator=order), batch):
            data = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
            penalty = sum(l2 * (p**2).sum() for p in model.parameters() if p.dim() == 2)
            grads = torch.autograd.grad(data + penalty, list(model.parameters()))
            with torch.no_grad():
                for p, grad in zip(model.parameters(), grads, strict=True):
                    velocity[p] = momentum * velocity[p] + grad if p in velocity else grad.clone()
                    p -= rate * velocity[p]
            total += float(data.detach()) * len(rows)
        losses.append(total / len(x))
    assert bench.curves(4)["train_loss"].tolist() == pytest.approx(losses[5:], rel=1e-3)
    # and the same in a process that has to train it again
    wanted = bench.model(4).predict_proba(np.ones((1, 4)))
    bench.checkpoints.forget(4)
    assert np.array_equal(bench_on(log=tmp_path / "trials.db").model(4).predict_proba(np.ones((1, 4))), wanted)


def test_the_test_set_is_opened_once_by_the_refitted_model(tmp_path: Path) -> None:
    bench = bench_on(log=tmp_path / "trials.db")
    bench.run(QUICK)
    bench.refit(1).wait()
    result = bench.open_test_set(2)
    frame = wb.Task.load("iris", standardize=False)
    raw, labels = open_seal(frame).x.double().numpy(), open_seal(frame).y.numpy()
    names = bench.predict(2, raw)
    assert result.score == pytest.approx(np.mean(names == np.array(bench.task.classes)[labels]))
    assert np.isnan([result.validation, result.optimism]).all()
    assert (result.looked, result.stamp, result.rows) == (1, "opened once", 30)
    assert "refit of trial 1" in repr(result)
    assert "No validation score" in repr(result)
    assert "nan" not in repr(result)
    assert bench.trials["test_set"].tolist() == ["", "opened once"]
    result.figure()
    with pytest.raises(wb.SealError, match="opened before: trial 2, a refit of trial 1"):
        bench.open_test_set(1)  # the test rows are the same
    again = bench_on(log=tmp_path / "trials.db")
    assert again.openings["optimism"].isna().all()


def test_a_refit_that_was_stopped_is_not_measured_on_the_test_set() -> None:
    slow = bench_on(wb.Task.from_arrays(np.tile(X, (40, 1)), np.tile(CLASSES, 40)))
    slow.run(QUICK.replace(epochs=3, learning_rate=1e-4, batch_size=1024))
    run = slow.refit(1)
    run.stop()
    run.wait()
    assert slow.trials["state"].iloc[1] == "stopped"
    with pytest.raises(wb.RunError, match="did not reach its last epoch"):
        slow.open_test_set(2)
    assert slow.openings.empty


def test_preprocessing_and_categories_come_from_both_splits() -> None:
    frame = pd.DataFrame(
        {"number": RNG.normal(5, 3, 200), "text": RNG.choice(["a", "b"], 200), "y": np.arange(200) % 2}
    )
    frame.loc[130, "text"] = "only here"
    split = wb.Split.given(train=range(120), validation=range(120, 160), test=range(160, 200))
    task = wb.Task.from_frame(frame, "y", split=split)
    bench = bench_on(task)
    bench.run(QUICK.replace(epochs=2))
    bench.refit(1).wait()
    both = bench.model(2).schema
    assert set(both.feature_names or ()) - set(task.feature_names or ()) == {"text_only here"}
    assert bench.model(2).predict(frame).shape == (200,)
    assert len(bench.layers(2).frame)


def test_a_saved_refit_answers_alike(tmp_path: Path) -> None:
    bench = bench_on(wb.Task.load("diabetes"))
    bench.run(QUICK)
    bench.refit(1).wait()
    raw = open_seal(wb.Task.load("diabetes", standardize=False)).x.double().numpy()
    loaded = wb.load_model(bench.save(2, tmp_path / "model.pt"))
    assert np.array_equal(loaded.predict(raw), bench.predict(2, raw))


def test_data_that_were_changed_in_place_are_rejected_before_anything_is_logged() -> None:
    bench = bench_on(wb.Task.from_arrays(X.copy(), CLASSES))
    bench.run(QUICK.replace(epochs=2))
    kept = _RAW[bench.task][0]
    kept[7] *= 2
    with pytest.raises(wb.TaskError, match="changed in place"):
        bench.refit(1)
    assert len(bench.trials) == 1


def test_a_frame_may_get_columns_later_and_a_copied_task_says_what_it_lacks() -> None:
    frame = pd.DataFrame({"number": X[:, 0], "y": CLASSES})
    task = wb.Task.from_frame(frame, "y")
    frame["prediction"] = 0
    frame["number"] = 0.0
    assert len(merged(task).train) == 120
    with pytest.raises(wb.TaskError, match="copy without its raw rows"):
        merged(copy.copy(task))


def test_a_version_of_a_task_keeps_its_test_rows_sealed() -> None:
    data = pd.DataFrame({"number": X[:, 0], "other": X[:, 1], "y": CLASSES})
    task = wb.Task.from_frame(data[:90], "y").version(data)
    both = merged(task)
    assert set(both.row_keys["train"]) == {*task.row_keys["train"], *task.row_keys["validation"]}
    assert both.row_keys["test"].tolist() == task.row_keys["test"].tolist()
    assert both.fingerprint not in (task.fingerprint, merged(wb.Task.from_frame(data, "y")).fingerprint)


def test_the_script_does_it_again() -> None:
    bench = bench_on()
    bench.run(QUICK.replace(epochs=3))
    bench.refit(1, seeds=2).wait()
    space: dict[str, Any] = {}
    exec(bench.code(3), space)
    again, run = space["bench"], space["run"]
    assert again.curves(run.trials[1])["train_loss"].tolist() == bench.curves(3)["train_loss"].tolist()


LEFT = """
import os, sys
import workbench as wb
from workbench.core.events import EpochEnd

bench = wb.Workbench(wb.Task.load("iris"), sys.argv[1])
bench.run(wb.Config(hidden_units=8, batch_size=16, epochs=8, learning_rate=0.02, schedule="plateau", plateau_patience=0, seed=3))
parent = 1
if sys.argv[2] == "branch":
    parent = bench.branch(1, epoch=2, learning_rate=0.03, batch_size=32).wait().trials[0]
def leave(events):
    for event in events:
        if isinstance(event, EpochEnd) and event.trial == parent + 1 and event.epoch == 4:
            bench.checkpoints.flush()
            os._exit(3)

bench._session.subscribe(leave)
bench.refit(parent, seeds=2).wait()
"""


@pytest.mark.parametrize(("what", "kept"), [("trial", True), ("trial", False), ("branch", False)])
def test_an_interrupted_refit_is_resumed_to_the_same_result(tmp_path: Path, what: str, kept: bool) -> None:
    log = tmp_path / "trials.db"
    found = subprocess.run([sys.executable, "-c", LEFT, log, what], capture_output=True, text=True, timeout=120)
    assert found.returncode == 3, found.stderr
    bench = bench_on(log=log)
    parent = 1 if what == "trial" else 2
    best = int(bench.trials["best_epoch"].iloc[parent - 1])
    assert best > 4
    ended = ["completed"] * parent
    assert bench.trials["state"].tolist() == [*ended, "interrupted", "interrupted"]
    if not kept:  # it begins at the first step again
        bench.checkpoints.forget(parent + 1)
    bench.resume().wait()
    assert bench.trials["state"].tolist() == [*ended, "completed", "completed"]
    assert bench.trials["epochs_run"].tolist()[parent:] == [best, best]
    whole = bench.refit(parent, seeds=2).wait()
    for resumed, trial in zip((parent + 1, parent + 2), whole.trials, strict=True):
        one, other = bench.curves(resumed), bench.curves(trial)
        for column in ("train_loss", "learning_rate", "step", "grad_norm"):
            assert one[column].tolist() == other[column].tolist()
        assert one["val_loss"].isna().all()
    # and in another process its model is found again, with the preprocessing of both splits
    kernel = bench_on(log=log)
    rows = np.random.default_rng(0).normal(4, 2, (20, 4))
    first = whole.trials[0]
    assert np.array_equal(kernel.model(parent + 1).predict_proba(rows), bench.model(first).predict_proba(rows))


def test_a_model_whose_checkpoint_is_gone_is_trained_again(tmp_path: Path) -> None:
    bench = bench_on(log=tmp_path / "trials.db")
    bench.run(QUICK)
    run = bench.refit(1).wait()
    wanted = run.model()(torch.ones(3, 4))
    bench.checkpoints.forget(2)
    other = bench_on(log=tmp_path / "trials.db")
    assert torch.equal(other.model(2).module(torch.ones(3, 4)), wanted)
    first = other.model(2, 1).module(torch.ones(3, 4))
    assert not torch.equal(first, wanted)


def test_the_length_is_read_from_the_log() -> None:
    bench = bench_on()
    bench.run(QUICK)
    bench.refit(1).wait()
    best = int(bench.trials["best_epoch"].iloc[0])
    refits = Refits(bench.task, bench.log, lambda trial: None)
    assert refits.length_of(2) == FixedLength(best, [])
    assert refits.length_of(1) is None


def test_the_live_view_draws_it_without_a_best_epoch() -> None:
    live = LiveRun("accuracy", "cross_entropy")
    live.begin({2: QUICK}, "", fixed_epochs=4)
    live.show([EpochEnd(2, epoch, epoch, 0.5, 0.0, 0.5, math.nan, math.nan, 0.1, 1.0, 0.1) for epoch in (1, 2)])
    assert (live.trials[2].best, live.trials[2].epoch) == (None, 2)
    assert run_status(live.trials).best_metric is None
    assert (run_status(live.trials).epochs, live.curves.epochs) == (4, 4)
    live.show([EpochEnd(2, 3, 3, 0.5, 0.0, 0.5, 0.4, 0.9, 0.1, 1.0, 0.1)])
    assert live.trials[2].best is not None
