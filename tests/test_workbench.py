"""`Workbench` and `Run` from Python: what starts, what is logged, what an error leaves behind."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.core.events import EpochEnd, TrialState
from workbench.core.registry import LOSSES, METRICS, OPTIMIZERS, SCHEDULES
from workbench.runs.waiting import RunInterrupted

LONG = wb.Config(epochs=50_000)


@pytest.fixture
def bench(tmp_path: Path) -> wb.Workbench:
    return wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db")


def after_first_epoch(run: Any, action: Callable[[], None]) -> None:
    """Do something on another thread once the run has logged an epoch."""

    def wait() -> None:
        while not any(run._epochs.values()):
            run._done.wait(0.01)
        action()

    threading.Thread(target=wait, daemon=True).start()


def test_a_run_is_what_train_yields_and_stays_in_the_log(bench: wb.Workbench, tmp_path: Path) -> None:
    config = wb.Config(epochs=4, learning_rate=0.01, seed=3)
    run = bench.run(config, name="one", note="why", tags=["a", "b"])
    plain = [e for e in wb.train(bench.task, {1: config}) if isinstance(e, EpochEnd)]
    curves = bench.curves(*run.trials)
    for column in ("train_loss", "val_loss", "val_metric", "train_metric", "grad_norm", "learning_rate"):
        assert curves[column].tolist() == [getattr(event, column) for event in plain]
    row = wb.TrialLog.open(tmp_path / "trials.db").trials().iloc[0]
    assert row[["name", "note", "state", "source", "epochs_run"]].tolist() == ["one", "why", "completed", "manual", 4]
    assert row["tags"] == ("a", "b")
    best = min(plain, key=lambda event: event.val_loss)
    assert (row["best_epoch"], row["best_val_loss"]) == (best.epoch, best.val_loss)
    assert bench.config(1).replace(loss="auto") == config


def test_the_run_hands_out_the_best_weights(bench: wb.Workbench) -> None:
    run = bench.run(wb.Config(epochs=6, learning_rate=0.05))
    module = run.model()
    assert not module.training
    data = bench.task.validation
    with torch.no_grad():
        loss = nn.functional.cross_entropy(module(torch.as_tensor(data.x)), torch.as_tensor(data.y))
    assert float(loss) == pytest.approx(bench.trials["best_val_loss"][0], rel=1e-5)


def test_seeds_train_as_one_cohort_of_replicates(bench: wb.Workbench) -> None:
    run = bench.run(wb.Config(epochs=2, seed=10), seeds=3)
    trials = bench.trials
    assert run.trials == (1, 2, 3)
    assert trials["seed"].tolist() == [10, 11, 12]
    assert trials["source"].tolist() == ["manual", "replicate", "replicate"]
    assert trials["parent"].fillna(0).tolist() == [0, 1, 1]
    assert trials["cohort"].nunique() == 1
    alone = bench.run(wb.Config(epochs=2, seed=12))
    together, single = bench.curves(3), bench.curves(*alone.trials)
    assert together["val_loss"].tolist() == pytest.approx(single["val_loss"].tolist(), rel=1e-4)


def test_pause_change_resume_stop(bench: wb.Workbench) -> None:
    run = bench.start(LONG)
    run.pause()
    run.set(learning_rate=0.5)
    run.resume()
    run.set(l2=0.25)
    after_first_epoch(run, run.stop)
    run.wait(60)
    assert run.states == {1: TrialState.STOPPED}
    events = bench.events(1)
    assert events.query("kind == 'change'")[["name", "new"]].to_numpy().tolist() == [
        ["learning_rate", 0.5],
        ["l2", 0.25],
    ]
    with pytest.raises(wb.RunError, match="cannot change a run that has ended"):
        run.set(l2=0.1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": "fast"}, "learning_rate='fast': must be a number"),
        ({"batch_size": 16}, "batch_size.*live"),
        ({"learning_rat": 0.1}, "did you mean 'learning_rate'"),
    ],
)
def test_an_impossible_live_change_is_refused_at_once(
    bench: wb.Workbench, values: dict[str, Any], message: str
) -> None:
    run = bench.start(LONG)
    with pytest.raises(wb.ConfigError, match=message):
        run.set(**values)
    run.stop()
    run.wait(60)
    assert not len(bench.events(1).query("kind == 'change'"))


def test_the_same_call_while_it_runs_is_the_same_run(bench: wb.Workbench) -> None:
    run = bench.start(LONG)
    assert bench.start(LONG) is run
    again = wb.Workbench(bench.task, log=str(bench.log.database.name))
    assert again.presenter.session is bench.presenter.session
    other = bench.start(wb.Config(epochs=1))
    assert other is not run
    assert len(bench.active) == 2
    run.stop()
    other.wait(60)
    assert bench.trials["state"].tolist() == ["stopped", "completed"]
    assert bench.start(wb.Config(epochs=1)).wait().trials == (3,)  # an ended one is not taken for it


def test_an_await_leaves_the_loop_free(bench: wb.Workbench) -> None:
    async def both() -> int:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        await bench.start(wb.Config(epochs=20))
        counting.cancel()
        return turns

    assert asyncio.run(both()) > 1
    assert bench.trials["state"].tolist() == ["completed"]


def test_the_kernels_interrupt_stops_the_run_and_keeps_its_epochs(bench: wb.Workbench) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it ignored
    run = bench.start(LONG)
    after_first_epoch(run, lambda: signal.raise_signal(signal.SIGINT))
    try:
        with pytest.raises(RunInterrupted, match=r"trial 1: \d+ epochs kept"):
            run.wait(60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert bench.trials["state"].tolist() == ["stopped"]
    assert len(bench.curves(1)) == bench.trials["epochs_run"][0] > 0


def test_a_model_that_raises_is_logged_as_failed_before_the_error_reaches_the_cell(tmp_path: Path) -> None:
    class Breaks(nn.Module):
        def __init__(self, task: Any) -> None:
            super().__init__()
            self.layer, self.calls = nn.Linear(task.input_shape[0], task.output_size), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += self.training
            if self.calls > 3 and x.shape[0] > 2:
                raise ValueError("broken in step 3")
            return self.layer(x)

    bench = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db", models={"breaks": lambda task: Breaks(task)})
    with pytest.raises(ValueError, match="broken in step 3"):
        bench.run(wb.Config(model="breaks", epochs=2))
    row = bench.trials.iloc[0]
    assert (row["state"], row["reason"]) == ("failed", "ValueError: broken in step 3")
    assert "in forward" in bench.log.traceback(1)
    assert bench.run(wb.Config(epochs=1)).states == {2: TrialState.COMPLETED}


@pytest.mark.parametrize("shape", [(2,), (4, 1), ()])
def test_a_model_of_the_wrong_shape_is_rejected_before_anything_is_logged(shape: tuple) -> None:
    class Wrong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.weight + torch.zeros(x.shape[0], *shape)

    bench = wb.Workbench(wb.Task.load("iris"), models={"wrong": lambda task: Wrong()})
    with pytest.raises(wb.ModelError, match=r"wrong.*shape"):
        bench.run(wb.Config(model="wrong"))
    assert len(bench.trials) == 0


def test_a_full_disk_makes_training_wait_and_lose_nothing(bench: wb.Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    real, refused = bench.log.append, []

    def append(events: Any, **about: Any) -> None:
        if len(refused) < 2 and any(isinstance(event, EpochEnd) and event.epoch == 3 for event in events):
            refused.append(1)
            raise wb.LogError("the disk is full.", passing=True)
        real(events, **about)

    monkeypatch.setattr("workbench.runs.runner.RETRY_SECONDS", 0.01)
    monkeypatch.setattr(bench.log, "append", append)
    heard: list[Any] = []
    bench.presenter.session.subscribe(heard.extend)
    bench.run(wb.Config(epochs=5))
    assert bench.curves(1)["epoch"].tolist() == [1, 2, 3, 4, 5]
    remarks = [event.message for event in heard if hasattr(event, "message")]
    assert remarks == [
        "the disk is full. Training waits and tries again; Stop ends it.",
        "Written now: training goes on.",
    ]


@pytest.mark.parametrize("seeds", [0, -1, 1.5, True, "3", 10_000])
def test_impossible_seeds(bench: wb.Workbench, seeds: Any) -> None:
    with pytest.raises(wb.ConfigError, match="seeds="):
        bench.start(wb.Config(), seeds=seeds)
    assert len(bench.trials) == 0


@pytest.mark.parametrize(
    ("ask", "argument"),
    [
        (lambda b: b.start("x"), r"config is a str \('x'\)"),
        (lambda b: b.start({"epochs": 3}), "config is a dict"),
        (lambda b: b.run(""), r"config is a str \(''\)"),
        (lambda b: b.run(7), r"config is a int \(7\)"),
        (lambda b: b.lr_range_test("x"), r"config is a str \('x'\)"),
        (lambda b: b.search(space={"learning_rate": [0.1]}, base="x"), r"base is a str \('x'\)"),
        (lambda b: b.compare("optimizer", nuisance={"learning_rate": [0.1]}, base=0), r"base is a int \(0\)"),
        (lambda b: b.finetune(backbone=lambda: None, config="x"), r"config is a str \('x'\)"),
    ],
)
def test_what_is_no_config_is_told_with_its_type(
    bench: wb.Workbench, ask: Callable[[wb.Workbench], Any], argument: str
) -> None:
    with pytest.raises(wb.ConfigError, match=f"^{argument}: give a wb.Config"):
        ask(bench)
    assert len(bench.trials) == 0


def test_what_is_no_task_or_place_is_told_with_its_type(bench: wb.Workbench) -> None:
    with pytest.raises(wb.TaskError, match=r"^task is a str \('digits'\): give a wb.Task, such as wb.Task.load"):
        wb.Workbench("digits")  # type: ignore[arg-type]
    with pytest.raises(wb.TaskError, match=r"^task is a str \('x'\): give a wb.Task"):
        bench.finetune(1, task="x")  # type: ignore[arg-type]
    with pytest.raises(wb.ConfigError, match=r"^log is a TrialLog: give a path, or None for a log in memory"):
        wb.Workbench(bench.task, bench.log)  # type: ignore[arg-type]
    with pytest.raises(
        wb.ConfigError, match=r"^checkpoints is a int \(3\): give a path, or None to keep them next to the log"
    ):
        wb.Workbench(bench.task, checkpoints=3)  # type: ignore[arg-type]
    with pytest.raises(wb.TaskError, match=r"^task is a Tensor: give a wb.Task"):
        wb.Workbench(torch.zeros(3, 2))  # type: ignore[arg-type]


def test_an_unknown_device_says_what_there_is(bench: wb.Workbench) -> None:
    with pytest.raises(wb.ConfigError, match=r"device='cdua': this machine has cpu"):
        bench.start(wb.Config(), device="cdua")


def test_registered_pieces_are_known_to_config_training_and_log() -> None:
    def halving(rate: float, progress: Any, *, every=wb.IntRange(1, 50, default=1)) -> float:
        return rate * 0.5 ** (int(progress.epoch) // every)

    wb.register_optimizer("my_sgd", lambda: (torch.optim.SGD, {}))
    wb.register_schedule("halving", halving)
    wb.register_loss("squared", lambda outputs, targets: ((outputs - targets) ** 2).mean(-1), kinds=("regression",))
    wb.register_metric(
        "worst", lambda outputs, targets: (outputs - targets).abs().max(), better="lower", kinds=("regression",)
    )
    try:
        task = wb.Task.load("diabetes", metrics="worst")
        bench = wb.Workbench(task)
        config = wb.Config(
            optimizer="my_sgd", learning_rate=0.01, schedule="halving", every=2, loss="squared", epochs=4
        )
        bench.run(config)
        bench.run(wb.Config(optimizer="sgd", learning_rate=0.01, loss="mse", epochs=4))
        own, plain = bench.curves(1), bench.curves(2)
        assert own["val_loss"][:1].tolist() == pytest.approx(plain["val_loss"][:1].tolist(), rel=1e-6)
        assert own["learning_rate"].tolist() == pytest.approx([0.01, 0.01, 0.005, 0.005])
        assert bench.trials.loc[0, ["optimizer", "schedule", "every", "metric"]].tolist() == [
            "my_sgd",
            "halving",
            2,
            "worst",
        ]
        module = bench.start(config.replace(epochs=1)).wait().model()
        with torch.no_grad():
            outputs = module(torch.as_tensor(task.validation.x))
        answers = outputs.double() * task.target_std + task.target_mean
        expected = (answers - task.validation.target).abs().max()  # in the target's own unit
        assert bench.trials["best_val_metric"][2] == pytest.approx(float(expected), rel=1e-5)
    finally:
        for registry, name in ((OPTIMIZERS, "my_sgd"), (SCHEDULES, "halving"), (LOSSES, "squared"), (METRICS, "worst")):
            registry.unregister(name)


def test_a_small_model_trains_on_one_core_and_other_threads_keep_theirs() -> None:
    task = wb.Task.load("iris")
    before, seen = torch.get_num_threads(), []

    def build(task: wb.Task) -> torch.nn.Module:
        class Watched(torch.nn.Linear):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                if self.training:
                    seen.append((threading.current_thread().name, torch.get_num_threads()))
                return super().forward(x)

        return Watched(4, 3)

    torch.set_num_threads(2)
    try:
        bench = wb.Workbench(task, log=None, models={"watched": build})
        bench.run(wb.Config(model="watched", epochs=1))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert ("workbench-training", 1) in seen


def test_a_large_model_gets_the_users_threads_whatever_another_thread_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    task = wb.Task.load("iris")
    before, seen = torch.get_num_threads(), []

    class Watched(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.append(torch.get_num_threads())
            return super().forward(x)

    monkeypatch.setattr("workbench.training.devices.SMALL_WORK", 0.0)
    torch.set_num_threads(2)
    other = threading.Thread(target=torch.set_num_threads, args=[1])  # as the shards of a search do
    other.start()
    other.join()
    try:
        bench = wb.Workbench(task, log=None, models={"watched": lambda task: Watched(4, 3)})
        bench.run(wb.Config(model="watched", epochs=1))
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {2}


@pytest.mark.parametrize("options", [{"monitor": "accuracy"}, {"metrics": "f1"}, {"metrics": ("accuracy", "f1")}])
def test_a_workbench_with_other_metrics_does_not_attach_to_what_trains(tmp_path: Path, options: dict[str, Any]) -> None:
    run = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db").start(LONG)
    try:
        task = wb.Task.load("iris", **options)
        other = wb.Workbench(task, log=tmp_path / "trials.db")
        assert (other.task.metrics, other.task.monitor) == (task.metrics, task.monitor)
        assert (other.active, wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db").active) == ([], [run])
    finally:
        run.stop()
    run.wait()
