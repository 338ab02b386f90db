"""The learning-rate range test: its runs against a plain loop, what it must leave alone, and against the classic sweep."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import workbench as wb
from workbench.methods.range_test import range_test as ranging
from workbench.methods.range_test.range_test import RangeTest, plan_of
from workbench.models import build_model
from workbench.runs.job import Job
from workbench.runs.waiting import RunInterrupted
from workbench.training import prepare


@pytest.fixture
def bench() -> wb.Workbench:
    return wb.Workbench(wb.Task.load("iris"))


# --- what is measured -------------------------------------------------------------------------------------------------


def by_hand(plan: ranging.Plan, run: int) -> tuple[float, float, float]:
    """One run in a plain loop: mean training loss of the last epoch, validation loss after it, largest training loss."""
    config, x, y = plan.configs[run], plan.task.train.x, plan.task.train.y
    module = build_model(plan.task, config)
    optimizer = torch.optim.Adam(module.parameters(), lr=config.learning_rate)
    order = torch.Generator().manual_seed(config.seed + 2**32)
    means = []
    for _ in range(config.epochs):
        shuffled, total = torch.randperm(len(x), generator=order), 0.0
        for rows in torch.split(shuffled, config.batch_size):
            loss = cross_entropy(module(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        means.append(total / len(x))
    with torch.no_grad():
        validation = float(cross_entropy(module(plan.task.validation.x), plan.task.validation.y))
    return means[-1], validation, max(means)


@pytest.mark.parametrize("steps", [2, 30])
def test_each_run_is_that_of_a_plain_loop(bench: wb.Workbench, steps: int) -> None:
    """Of two steps, an excerpt of the rows is made (an epoch has three); of 30, ten epochs."""
    config = wb.Config(hidden_units=8, schedule="cosine", warmup=2, patience=3, epochs=40)
    test = bench.lr_range_test(config, low=1e-3, high=1e-1, points=5, seeds=2, steps=steps).wait(60)
    runs = test.result
    assert len(runs) == 10
    for run, row in enumerate(runs.itertuples(index=False)):
        expected = by_hand(test.plan, run)
        assert (row.train_loss, row.val_loss, row.peak_loss) == pytest.approx(expected, rel=1e-3)
    assert sorted(set(runs["seed"])) == [0, 1]
    np.testing.assert_allclose(sorted(set(runs["learning_rate"])), np.geomspace(1e-3, 1e-1, 5))
    assert test.plan.steps == steps
    fresh = build_model(test.plan.task, test.plan.configs[0])
    validation = test.plan.task.validation
    with torch.no_grad():
        assert test._untrained[0] == pytest.approx(float(cross_entropy(fresh(validation.x), validation.y)), rel=1e-5)


def test_a_long_epoch_is_cut_and_a_short_run_stays_short() -> None:
    task = wb.Task.load("blobs", n=4000)
    config = prepare(task, wb.Config(batch_size=16, epochs=7))
    plan = plan_of(task, config, [0.1], 2, steps=50)
    assert plan.steps == 50
    assert len(plan.task.train.x) == 800
    rows = {tuple(row) for row in task.train.x.tolist()}
    drawn = [tuple(row) for row in plan.task.train.x.tolist()]
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) <= rows
    assert drawn != task.train.x[:800].tolist()
    small = plan_of(wb.Task.load("iris"), prepare(wb.Task.load("iris"), wb.Config(epochs=4)), [0.1], 1, steps=100)
    assert small.steps == 4 * 3
    assert all(
        one.schedule == "constant" and one.patience is None and one.warmup == 0 for one in small.configs.values()
    )


def test_a_model_that_cannot_be_stacked_is_tested_run_by_run(bench: wb.Workbench) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = nn.LSTM(1, 4, batch_first=True), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = self.head(self.cell(x[..., None])[0][:, -1])
            return outputs

    wb.register_model("recurrent_for_range", lambda task: Recurrent())
    test = bench.lr_range_test(wb.Config(model="recurrent_for_range"), points=5, seeds=1, steps=6).wait(60)
    assert len(test.table) == 5
    assert test.result["val_loss"].iloc[0] == pytest.approx(by_hand(test.plan, 0)[1], rel=1e-3)


def test_validation_rows_that_are_easier_by_chance_do_not_make_runs_diverge() -> None:
    """A training loss that begins above twice the untrained model's validation loss has not been thrown there."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3))
    y = X @ [1.0, -1.0, 0.5]
    large = np.linalg.norm(X, axis=1) > 1.5
    task = wb.Task.from_arrays(X, np.where(large, 4 * y, y))
    easy = task.validation.y.abs()[:, 0] < 0.3
    task.validation = task.validation.part(easy)
    test = wb.Workbench(task).lr_range_test(points=8, seeds=2, steps=20, low=1e-5, high=0.1).wait(60)
    assert test.result["start_loss"].iloc[0] > 2 * test._untrained[0]
    assert test.table["diverged"].iloc[0] == 0


# --- what it leaves alone ---------------------------------------------------------------------------------------------


def test_a_trial_that_trains_meanwhile_is_the_same_to_the_last_bit(bench: wb.Workbench) -> None:
    config = wb.Config(hidden_units=16, dropout=0.3, epochs=15)
    alone = bench.run(config)
    test = bench.lr_range_test(config, points=64, seeds=3, steps=20_000)
    beside = bench.run(config)
    assert not test.done, "the range test must have gone on all the while"
    test.stop()
    with pytest.raises(wb.RunError, match="stopped before one seed was through"):
        test.wait(60)
    columns = ["epoch", "step", "train_loss", "val_loss", "val_metric", "grad_norm", "learning_rate"]
    first, second = (bench.curves(run.trials[0])[columns] for run in (alone, beside))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    for ours, theirs in zip(alone.model().parameters(), beside.model().parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_it_leaves_no_trace_in_the_log_and_no_random_number(bench: wb.Workbench) -> None:
    before = torch.get_rng_state()
    test = bench.lr_range_test(wb.Config(hidden_units=8, dropout=0.2), points=8, seeds=2, steps=9, blocking=True)
    assert test.suggestion is not None
    assert bench.trials.empty
    assert bench.events().empty
    assert bench.searches.empty
    assert bench.active == []
    assert torch.equal(torch.get_rng_state(), before)
    again = bench.lr_range_test(wb.Config(hidden_units=8, dropout=0.2), points=8, seeds=2, steps=9, blocking=True)
    pd.testing.assert_frame_equal(test.table, again.table, check_exact=True)


# --- the handle -------------------------------------------------------------------------------------------------------


def test_stopped_early_it_tells_of_the_seeds_that_are_through(
    bench: wb.Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranging, "capacity", lambda task, config, device, wanted: 6)
    train = RangeTest._train

    def two_cohorts(self: RangeTest, configs: Any, runs: Any) -> None:
        train(self, configs, runs)
        if 9 in configs:  # the first seed's eight rates, and four of the second's
            self.stop()

    monkeypatch.setattr(RangeTest, "_train", two_cohorts)
    test = bench.lr_range_test(wb.Config(hidden_units=8), points=8, seeds=3, steps=9).wait(60)
    assert test.stopped
    assert (test.table["seeds"] == 1).all()
    assert len(test.table) == 8
    assert "one seed" in test.reason
    assert "stopped" in repr(test)


def test_the_handle_says_where_it_stands_and_shows_itself(bench: wb.Workbench) -> None:
    test = bench.lr_range_test(wb.Config(hidden_units=8), points=5, seeds=1, steps=3000)
    with pytest.raises(wb.RunError, match="has not ended yet"):
        _ = test.suggestion
    assert "% done" in repr(test)
    assert "% done" in test._repr_html_()
    test.stop()
    with pytest.raises(wb.RunError):
        asyncio.run(_awaited(test))
    test = bench.lr_range_test(wb.Config(hidden_units=8), points=12, seeds=2, steps=30)
    asyncio.run(_awaited(test))
    assert test.progress == 1
    html = test._repr_html_()
    assert str(test.suggestion) in html
    assert "data:image/png;base64," in html
    assert test.reason in repr(test)
    (axes,) = test.figure().axes
    assert axes.get_ylabel() == "cross-entropy"


async def _awaited(job: Any) -> None:
    await job


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"low": 1.0, "high": 0.1}, "high=0.1: must be larger than low=1.0"),
        ({"low": 0.0}, r"low=0.0: must be a number from 1e-06 to 10 \(default 1e-05\)"),
        ({"high": 0.0}, r"high=0.0: .* \(default 10.0\)"),
        ({"config": "x"}, "config is a str \\('x'\\): give a wb.Config"),
        ({"high": math.nan}, "high=nan"),
        ({"points": 4}, "points=4: must be a whole number from 5"),
        ({"seeds": 0, "steps": 0}, "seeds=0: .*\n.*steps=0: "),
        ({"steps": 1.5}, "steps=1.5"),
        ({"points": math.inf}, "points=inf"),
        ({"low": 0.1, "high": 0.1 + 1e-16}, "so near to low=0.1 that no 48 different rates lie between"),
        ({"device": "tpu"}, "device='tpu'"),
    ],
)
def test_bad_arguments_are_named_and_nothing_starts(bench: wb.Workbench, options: dict[str, Any], words: str) -> None:
    with pytest.raises(wb.ConfigError, match=words):
        bench.lr_range_test(**options)
    assert "workbench-range-test" not in {thread.name for thread in threading.enumerate()}


def test_whole_numbers_may_come_as_floats(bench: wb.Workbench) -> None:
    test = bench.lr_range_test(wb.Config(hidden_units=4), points=5.0, seeds=1.0, steps=3.0).wait(60)  # type: ignore[arg-type]
    assert len(test.table) == 5


def test_a_model_that_raises_is_told_to_whoever_waits(bench: wb.Workbench) -> None:
    class Moody(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                raise ArithmeticError("not today")
            outputs: torch.Tensor = self.layer(x)
            return outputs

    wb.register_model("moody_for_range", lambda task: Moody())
    test = bench.lr_range_test(wb.Config(model="moody_for_range"), points=5, seeds=1, steps=3)
    with pytest.raises(ArithmeticError, match="not today"):
        test.wait(60)
    with pytest.raises(ArithmeticError):
        _ = test.suggestion
    assert "failed (not today)" in repr(test)


def test_an_interrupt_stops_the_work_and_waits_for_its_end() -> None:
    looks: list[bool] = []

    def pump() -> None:
        looks.append(True)
        if len(looks) == 1:
            raise KeyboardInterrupt

    stopping = threading.Event()

    def work(job: Job[str]) -> str:
        while not job.stopped:
            stopping.wait(0.01)
        return "what there is"

    job = Job(work, name="test of jobs", pump=pump).start()
    with pytest.raises(RunInterrupted, match="test of jobs"):
        job.wait()
    assert job.done
    assert job.result == "what there is"


def test_a_wait_can_end_before_the_work_and_news_are_told() -> None:
    told: list[float] = []
    go_on = threading.Event()

    def work(job: Job[int]) -> int:
        go_on.wait()
        job.progress = 0.5
        return 7

    job = Job(work, name="slow thing", news=lambda: told.append(job.progress))
    job.start()
    with pytest.raises(TimeoutError, match="the slow thing has not ended after 0.01 s"):
        job.wait(0.01)
    go_on.set()
    assert job.wait(60).start() is job
    assert job.result == 7
    assert told == [0.5, 1.0]


# --- against the classic sweep ----------------------------------------------------------------------------------------


def classic(
    task: wb.Task, config: wb.Config, low: float = 1e-5, high: float = 10.0, steps: int = 100
) -> dict[str, float]:
    """The usual finder: one run whose rate grows by a constant factor, the loss smoothed, stopped at four times its least.

    Suggestions: a tenth of the rate of the least loss, and the rate of the steepest fall, 10 steps at the start and 5 at the
    end left out, where the smoothed loss means little.
    """
    module = build_model(task, config)
    kinds = {
        "sgd": lambda weights: torch.optim.SGD(weights, low),
        "momentum": lambda weights: torch.optim.SGD(weights, low, momentum=config.momentum),
        "adam": lambda weights: torch.optim.Adam(weights, low),
    }
    optimizer = kinds[config.optimizer](module.parameters())
    loss_of = cross_entropy if task.kind == "classification" else mse_loss
    order = torch.Generator().manual_seed(config.seed)
    rates: list[float] = []
    losses: list[float] = []
    rows, mean = torch.empty(0, dtype=torch.long), 0.0
    for step in range(steps):
        if len(rows) < config.batch_size:
            rows = torch.randperm(len(task.train.x), generator=order)
        batch, rows = rows[: config.batch_size], rows[config.batch_size :]
        rate = optimizer.param_groups[0]["lr"] = low * (high / low) ** (step / (steps - 1))
        loss = loss_of(module(task.train.x[batch]), task.train.y[batch])
        mean = 0.98 * mean + 0.02 * float(loss.detach())
        smooth = mean / (1 - 0.98 ** (step + 1))
        if not math.isfinite(smooth) or smooth > 4 * min([*losses, smooth]):
            break
        rates.append(rate)
        losses.append(smooth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    slopes = np.gradient(losses[10:-5], np.log(rates[10:-5]))
    return {"tenth of the least": rates[int(np.argmin(losses))] / 10, "steepest": rates[10 + int(np.argmin(slopes))]}


def curved(rows: int = 400) -> wb.Task:
    """Friedman's first function (1991) with noise: ten inputs, of which five count."""
    rng = np.random.default_rng(0)
    X = rng.random((rows, 10))
    y = (
        10 * np.sin(np.pi * X[:, 0] * X[:, 1])
        + 20 * (X[:, 2] - 0.5) ** 2
        + 10 * X[:, 3]
        + 5 * X[:, 4]
        + rng.normal(size=rows)
    )
    return wb.Task.from_arrays(X, y, kind="regression", name="curved")


def test_training_with_its_suggestion_is_no_worse_than_with_the_classic_ones_and_it_varies_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two tasks, two optimizers, three draws of each test, and a training with each suggestion.

    The excess is a training's best validation loss less the least of all that were made, as a share of what that one gains over
    the untrained model. Trainings are paired: the seed is the same whichever test made the suggestion.
    """
    monkeypatch.setattr(ranging, "capacity", lambda task, config, device, wanted: wanted)  # a measurement less
    excess: dict[str, list[float]] = {}
    spread: dict[str, list[float]] = {}
    for task in (wb.Task.load("mnist1d", n=600), curved()):
        for optimizer in ("momentum", "adam"):
            config = prepare(task, wb.Config(optimizer=optimizer, epochs=20))
            bench = wb.Workbench(task)
            rates: dict[str, list[float]] = {}
            for draw in (0, 100, 200):
                anew = config.replace(seed=draw)
                test = bench.lr_range_test(anew, points=24, blocking=True)
                assert test.suggestion is not None
                found = {"range test": test.suggestion, **classic(task, anew)}
                for name, rate in found.items():
                    rates.setdefault(name, []).append(rate)
            trials = {
                (name, index): config.replace(learning_rate=min(rate, 10.0), seed=1000 + index)
                for name, several in rates.items()
                for index, rate in enumerate(several)
            }
            ends = _best_losses(task, list(trials.values()))
            least = min(ends)
            gain = next(iter(test._untrained.values())) - least
            for (name, _), loss in zip(trials, ends, strict=True):
                excess.setdefault(name, []).append((loss - least) / gain)
            for name, several in rates.items():
                spread.setdefault(name, []).append(float(np.log10(several).std(ddof=1)))
    means = {name: float(np.mean(np.minimum(values, 1))) for name, values in excess.items()}
    spreads = {name: float(np.mean(values)) for name, values in spread.items()}
    print(means, spreads)
    for name in ("tenth of the least", "steepest"):
        assert means["range test"] <= means[name] + 0.01
        assert spreads["range test"] < spreads[name]
    assert means["range test"] < 0.1


def _best_losses(task: wb.Task, configs: list[wb.Config]) -> list[float]:
    found = dict.fromkeys(range(len(configs)), math.inf)
    for event in wb.train(task, dict(enumerate(configs))):
        if hasattr(event, "best_val_loss"):
            found[event.trial] = event.best_val_loss
    return list(found.values())
