"""Every optimizer, schedule and penalty against a loop written out by hand, alone and as a row of a cohort."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

import workbench as wb
from tests.training import reference
from workbench.core.events import EpochEnd, KnobChanged, TrialEnded, TrialState
from workbench.core.registry import OPTIMIZERS, SCHEDULES
from workbench.training import Commands

TOLERANCE = 1e-10
PENALTIES = [{}, {"l1": 1e-3}, {"l2": 1e-2}, {"l1": 1e-3, "l2": 1e-2, "gradient_clip": 0.5}]
BASE = wb.Config(
    hidden_units=8, batch_size=16, epochs=3, learning_rate=0.02, step_size=1, restart_epochs=1, plateau_patience=0
)
EVERY = list(itertools.product(OPTIMIZERS, SCHEDULES, range(len(PENALTIES))))


def epochs(task: Any, trials: dict[int, wb.Config]) -> dict[int, list[EpochEnd]]:
    rows: dict[int, list[EpochEnd]] = {trial: [] for trial in trials}
    for event in wb.train(task, trials, dtype=torch.float64):
        if isinstance(event, EpochEnd):
            rows[event.trial].append(event)
    return rows


def assert_same(ours: list[EpochEnd], plain: list[dict[str, float]]) -> None:
    assert len(ours) == len(plain)
    for ends, row in zip(ours, plain, strict=True):
        for name, value in row.items():
            assert math.isclose(getattr(ends, name), value, rel_tol=TOLERANCE, abs_tol=TOLERANCE), (name, ends, row)


@pytest.mark.parametrize(("optimizer", "schedule", "penalty"), EVERY)
def test_alone(flowers: wb.Task, optimizer: str, schedule: str, penalty: int) -> None:
    config = BASE.replace(optimizer=optimizer, schedule=schedule, **PENALTIES[penalty])
    assert_same(epochs(flowers, {1: config})[1], reference.train(config, flowers))


@pytest.mark.parametrize(("optimizer", "schedule", "penalty"), EVERY)
def test_as_a_row_of_four(flowers: wb.Task, optimizer: str, schedule: str, penalty: int) -> None:
    """The other rows differ in everything a row may differ in; one ends after the first epoch and leaves."""
    config = BASE.replace(optimizer=optimizer, schedule=schedule, seed=3, **PENALTIES[penalty])
    others = {
        2: BASE.replace(optimizer="momentum", l1=0.01, seed=5, epochs=1),
        3: BASE.replace(optimizer="adam", schedule="cosine", learning_rate=0.1, seed=6, epochs=2),
        4: BASE.replace(optimizer="rmsprop", learning_rate=1e-3, gradient_clip=0.1),
    }
    rows = epochs(flowers, {1: config, **others})
    assert_same(rows[1], reference.train(config, flowers))
    assert_same(rows[3], reference.train(others[3], flowers))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_before_any_schedule(flowers: wb.Task, schedule: str) -> None:
    config = BASE.replace(schedule=schedule, warmup=1, epochs=4)
    assert_same(epochs(flowers, {1: config})[1], reference.train(config, flowers))


@pytest.mark.parametrize("others", [0, 3])
def test_batch_norm(flowers: wb.Task, others: int) -> None:
    config = BASE.replace(batch_norm=True)
    trials = {1: config} | {2 + i: config.replace(seed=i + 1) for i in range(others)}
    assert_same(epochs(flowers, trials)[1], reference.train(config, flowers))


@pytest.mark.parametrize("others", [0, 3])
@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_regression_losses(numbers: wb.Task, loss: str, others: int) -> None:
    config = BASE.replace(loss=loss, huber_delta=0.3)
    plain = {"mse": reference.squared, "mae": reference.absolute, "huber": reference.huber(0.3)}[loss]
    trials = {1: config} | {2 + i: config.replace(seed=i + 1) for i in range(others)}
    assert_same(epochs(numbers, trials)[1], reference.train(config, numbers, plain))


def test_label_smoothing_is_cross_entropy_with_softened_targets(flowers: wb.Task) -> None:
    def smoothed(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        soft = torch.nn.functional.one_hot(targets, 3).double() * 0.8 + 0.2 / 3
        return -(soft * outputs.log_softmax(1)).sum(1).mean()

    config = BASE.replace(label_smoothing=0.2)
    assert_same(epochs(flowers, {1: config})[1], reference.train(config, flowers, smoothed))


@pytest.mark.parametrize(
    "values", [{"learning_rate": 0.001}, {"l1": 0.01}, {"l2": 0.05}, {"momentum": 0.2}, {"l2": 0.1, "momentum": 0.0}]
)
def test_a_live_change_acts_at_the_next_step(flowers: wb.Task, values: dict[str, float]) -> None:
    config = BASE.replace(optimizer="momentum")
    commands = Commands()
    ours, changes = [], []
    for event in wb.train(flowers, {1: config}, dtype=torch.float64, commands=commands):
        if isinstance(event, EpochEnd):
            ours.append(event)
            if event.epoch == 1:
                commands.set(**values)
        elif isinstance(event, KnobChanged):
            changes.append((event.name, event.step, event.old, event.new))
    step = ours[0].step
    assert changes == [(name, step, getattr(config, name), value) for name, value in values.items()]
    assert_same(ours, reference.train(config, flowers, change=(step, values)))


def test_textbook_momentum_differs_from_pytorchs_only_where_the_rate_changes() -> None:
    """Textbook: v ← μv - ηg, w ← w + v. PyTorch, and so ours: v ← μv + g, w ← w - ηv."""

    def walk(rates: list[float]) -> tuple[list[float], list[float], list[float]]:
        weight = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
        ours = torch.optim.SGD([weight], lr=rates[0], momentum=0.9)
        book_w, book_v, torch_w, torch_v = 1.0, 0.0, 1.0, 0.0
        paths: tuple[list[float], list[float], list[float]] = ([], [], [])
        for rate in rates:
            ours.param_groups[0]["lr"] = rate
            weight.grad = 2 * weight.detach()
            ours.step()
            book_v = 0.9 * book_v - rate * 2 * book_w
            book_w += book_v
            torch_v = 0.9 * torch_v + 2 * torch_w
            torch_w -= rate * torch_v
            for path, value in zip(paths, (float(weight.detach()), torch_w, book_w), strict=True):
                path.append(value)
        return paths

    ours, by_hand, book = walk([0.1] * 6)
    assert ours == pytest.approx(by_hand, abs=1e-14)
    assert by_hand == pytest.approx(book, abs=1e-14)
    ours, by_hand, book = walk([0.1] * 3 + [0.01] * 3)
    assert ours == pytest.approx(by_hand, abs=1e-14)
    assert abs(by_hand[-1] - book[-1]) > 0.1


def test_early_stopping_ends_a_row_with_its_best_weights(flowers: wb.Task) -> None:
    config = BASE.replace(learning_rate=0.05, epochs=60, patience=3)
    training = wb.training.Training(flowers, {1: wb.training.prepare(flowers, config)}, dtype=torch.float64)
    events = [event for moment in training.moments() for event in moment]
    end = next(event for event in events if isinstance(event, TrialEnded))
    losses = [event.val_loss for event in events if isinstance(event, EpochEnd)]
    assert end.state is TrialState.EARLY_STOPPED
    assert len(losses) == end.best_epoch + 3
    assert losses[end.best_epoch - 1] == min(losses) == end.best_val_loss
    with torch.no_grad():
        outputs = training.module(1)(flowers.validation.x.double())
    assert float(reference.cross_entropy(outputs, flowers.validation.y)) == pytest.approx(end.best_val_loss, abs=1e-12)


@pytest.mark.parametrize("others", [0, 2])
def test_divergence_ends_the_trial_with_its_step_and_touches_no_other(numbers: wb.Task, others: int) -> None:
    wild = BASE.replace(optimizer="sgd", learning_rate=10.0, epochs=30)
    calm = {2 + i: BASE.replace(seed=i) for i in range(others)}
    events = list(wb.train(numbers, {1: wild, **calm}, dtype=torch.float64))
    end = next(event for event in events if isinstance(event, TrialEnded) and event.trial == 1)
    assert end.state is TrialState.DIVERGED
    assert f"step {end.step}" in end.reason
    for trial, config in calm.items():
        ours = [event for event in events if isinstance(event, EpochEnd) and event.trial == trial]
        assert_same(ours, reference.train(config, numbers, reference.squared))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_rows_divided_among_cores(flowers: wb.Task, optimizer: str) -> None:
    """Two shards of twelve rows that step side by side; rows leave, so that the cohort is divided anew."""
    from workbench.training import Training, prepare

    configs = {
        trial: prepare(
            flowers,
            BASE.replace(
                optimizer=optimizer, seed=trial, learning_rate=0.001 * (trial + 1), epochs=1 + trial % 3,
                l1=1e-3 * (trial % 2), l2=1e-3 * (trial % 5), batch_norm=True, gradient_clip=[None, 1.0][trial % 2],
            ),
        )
        for trial in range(24)
    }  # fmt: skip
    rows: dict[int, list[EpochEnd]] = {trial: [] for trial in configs}
    for moment in Training(flowers, configs, dtype=torch.float64, cores=2).moments():
        for event in moment:
            assert not isinstance(event, TrialEnded) or event.state is TrialState.COMPLETED
            if isinstance(event, EpochEnd):
                rows[event.trial].append(event)
    for trial, config in configs.items():
        assert_same(rows[trial], reference.train(config, flowers))
