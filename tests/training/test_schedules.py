"""Where the learning rate ends, and what a rate that is set live becomes, against PyTorch's schedulers and plain formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

import workbench as wb
from workbench.training import learning_rate_at
from workbench.training.stopping import Watch

PER_EPOCH, SET_AT, VALUE = 4, 13, 0.02
"""Steps of an epoch on the task; the step after which the rate is set, in the fourth epoch; and the rate."""


@pytest.fixture(scope="module")
def task() -> wb.Task:
    task = wb.Task.load("moons", n=200, noise=0.3)
    assert math.ceil(len(task.train.x) / 30) == PER_EPOCH
    return task


def config(schedule: str, **more: Any) -> wb.Config:
    return wb.Config(
        **{"hidden_units": 4, "batch_size": 30, "epochs": 12, "learning_rate": 0.1, "schedule": schedule, **more}
    )


def rates(task: wb.Task, config: wb.Config, *values: float, at: int = SET_AT) -> list[float]:
    """The rate of each epoch's last step, with the rate set to some values one after the other after a step."""
    bench = wb.Workbench(task)
    bench.run(config, changes=[(at, "learning_rate", value) for value in values])
    return list(bench.curves(1)["learning_rate"])


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("patience", [0, 2])
@pytest.mark.parametrize("floor", [0.0, 1e-4])
def test_the_plateau_schedule_ends_where_pytorchs_does(gamma: float, patience: int, floor: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.05)
    scheduler = ReduceLROnPlateau(optimizer, factor=gamma, patience=patience, threshold=0.0, min_lr=floor)
    ours = wb.Config(
        schedule="plateau",
        gamma=gamma,
        plateau_patience=patience,
        min_learning_rate=floor,
        learning_rate=0.05,
        epochs=600,
    )
    watch = Watch(None, 0.0, patience)
    for epoch in range(600):
        watch.update(epoch, 1.0, 0.0)
        scheduler.step(1.0)
        assert learning_rate_at(ours, epoch, 1, watch.plateaus) == optimizer.param_groups[0]["lr"]
    assert learning_rate_at(ours, 599, 1, watch.plateaus) >= max(floor, 1e-9)


@pytest.mark.parametrize(
    "more", [{"schedule": "exponential", "decay": 0.5}, {"schedule": "step", "step_size": 1, "gamma": 0.01}]
)
def test_a_rate_that_becomes_too_small_for_a_number_is_zero_and_can_be_set_again(task: wb.Task, more: Any) -> None:
    made = config(**more, epochs=3000)
    assert learning_rate_at(made, 3000 * PER_EPOCH - 1, PER_EPOCH) == 0.0
    bench = wb.Workbench(task)
    bench.run(made.replace(epochs=700), changes=[(650 * PER_EPOCH, "learning_rate", VALUE)])
    found = bench.curves(1)["learning_rate"]
    assert found.iloc[649] < 1e-190
    # the factor is zero by then, or halves with each epoch: an epoch ends with its fourth step
    assert found.iloc[650] == pytest.approx(VALUE * (1 if more["schedule"] == "step" else 0.5**0.75))
    assert (found.iloc[650:] <= VALUE).all()


@pytest.mark.parametrize(
    "made",
    [
        config("constant"),
        config("exponential", decay=0.7),
        config("step", step_size=2, gamma=0.1),
        config("cosine"),
        config("one_cycle"),
        config("constant", warmup=6),
        config("exponential", decay=0.7, warmup=5),
        config("cosine_restarts", restart_epochs=3),
        config("cosine", min_learning_rate=0.005),
    ],
    ids=lambda made: f"{made.schedule}-{made.warmup}-{made.min_learning_rate}",
)
@pytest.mark.parametrize("value", [VALUE, 0.5])
def test_a_rate_that_is_set_live_is_the_rate_and_the_schedule_lowers_it_from_there(
    task: wb.Task, made: wb.Config, value: float
) -> None:
    planned = [learning_rate_at(made, step, PER_EPOCH) for step in range(12 * PER_EPOCH)]
    floor = made.min_learning_rate
    wanted, peak = planned[:SET_AT], 0.0
    for rate in planned[SET_AT:]:
        peak = max(peak, rate)
        wanted.append(floor + (value - floor) * (rate - floor) / (peak - floor))
    assert wanted[SET_AT] == pytest.approx(value)
    assert max(wanted[SET_AT:]) <= value * (1 + 1e-12)
    assert rates(task, made, value) == pytest.approx(wanted[PER_EPOCH - 1 :: PER_EPOCH])


def test_below_the_lowest_rate_of_the_schedule_it_stays_as_it_was_set(task: wb.Task) -> None:
    found = rates(task, config("cosine_restarts", restart_epochs=2, min_learning_rate=0.01), 0.01)
    assert found[3:] == [0.01] * 9


def test_the_plateau_schedule_counts_its_drops_from_a_rate_that_is_set(task: wb.Task) -> None:
    made = config(
        "plateau", plateau_patience=0, gamma=0.5, epochs=60, hidden_units=64, learning_rate=0.3, optimizer="adam"
    )
    bench = wb.Workbench(task)
    bench.run(made, changes=[(40 * PER_EPOCH, "learning_rate", 0.25)])
    curve = bench.curves(1)
    found, losses = list(curve["learning_rate"]), list(curve["val_loss"])
    assert found[39] < 0.01
    assert found[40] == 0.25
    # from there on, as PyTorch's scheduler that begins with this rate and knows the lowest loss so far
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.25)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.0)
    scheduler.best = min(losses[:40])
    for epoch in range(40, 60):
        assert found[epoch] == optimizer.param_groups[0]["lr"]
        scheduler.step(losses[epoch])
    assert found[-1] < 0.01


def test_the_same_value_again_counts_where_the_schedule_has_lowered_it(task: wb.Task) -> None:
    made = config("exponential", decay=0.6)
    found = rates(task, made, 0.1)
    assert found[2] == pytest.approx(learning_rate_at(made, 3 * PER_EPOCH - 1, PER_EPOCH))
    assert found[3] == pytest.approx(0.1 * 0.6 ** ((4 * PER_EPOCH - 1 - SET_AT) / PER_EPOCH))
    bench = wb.Workbench(task)
    bench.run(config("constant"), changes=[(SET_AT, "learning_rate", 0.1)])
    assert "learning_rate" not in bench.events(1)["message"].str.cat()  # nothing has changed
    # of two values at one step the last one counts
    assert rates(task, made, 0.5, VALUE) == rates(task, made, VALUE)


@pytest.mark.parametrize("schedule", ["exponential", "cosine", "plateau", "one_cycle"])
def test_a_branch_and_a_replay_continue_from_the_rate_that_was_set(task: wb.Task, schedule: str) -> None:
    bench = wb.Workbench(task)
    bench.run(config(schedule, plateau_patience=0), changes=[(SET_AT, "learning_rate", 0.05)])
    bench.branch(1, epoch=6).wait()
    whole, branch = bench.curves(1), bench.curves(2)
    assert list(branch["learning_rate"]) == list(whole["learning_rate"].iloc[6:])
    assert list(branch["val_loss"]) == list(whole["val_loss"].iloc[6:])
    assert bench.replay(1).wait().identical
    # a branch with a rate of its own follows the schedule with that
    bench.branch(1, epoch=6, learning_rate=0.01, schedule="constant").wait()
    trial = int(bench.trials["trial"].iloc[-1])
    assert set(bench.curves(trial)["learning_rate"]) == {0.01}


def test_a_stack_of_trials_is_set_as_one_alone(task: wb.Task) -> None:
    bench = wb.Workbench(task)
    made = config("cosine")
    run = bench.run(made, seeds=3, changes=[(SET_AT, "learning_rate", VALUE)])
    alone = rates(task, made, VALUE)
    for trial in run.trials:
        assert list(bench.curves(trial)["learning_rate"]) == alone
