"""What a result may depend on, and what it may not."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import workbench as wb
from workbench.core.events import EpochEnd, Event, Message, StateChanged, TrialEnded, TrialState
from workbench.core.registry import LOSSES, MODELS
from workbench.training import Commands, learning_rate_at, prepare

BASE = wb.Config(hidden_units=8, batch_size=16, epochs=3)


def numbers_of(events: list[Event]) -> list[tuple[Any, ...]]:
    """The epochs without their wall time."""
    return [
        (e.trial, e.epoch, e.step, e.train_loss, e.val_loss, e.val_metric, e.grad_norm)
        for e in events
        if isinstance(e, EpochEnd)
    ]


def scheduler_rates(make: Any, steps: int, rate: float = 0.1) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("config", "make", "per_epoch"),
    [
        (wb.Config(schedule="step", step_size=3, gamma=0.5), lambda o: lr_scheduler.StepLR(o, 3, 0.5), 1),
        (wb.Config(schedule="exponential", decay=0.9), lambda o: lr_scheduler.ExponentialLR(o, 0.9), 1),
        (
            wb.Config(schedule="cosine", min_learning_rate=0.01, learning_rate=0.1),
            lambda o: lr_scheduler.CosineAnnealingLR(o, 20, 0.01),
            1,
        ),
        (
            wb.Config(schedule="cosine_restarts", restart_epochs=2, restart_factor=2),
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 2),
            1,
        ),
        (
            wb.Config(schedule="cosine_restarts", restart_epochs=4),
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4, 1),
            1,
        ),
        (
            wb.Config(schedule="one_cycle"),
            lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=100, cycle_momentum=False),
            5,
        ),
    ],
)
def test_schedules_agree_with_torchs(config: wb.Config, make: Any, per_epoch: int) -> None:
    config = config.replace(learning_rate=0.1, epochs=20)
    ours = [learning_rate_at(config, step, per_epoch) for step in range(20 * per_epoch)]
    assert ours == pytest.approx(scheduler_rates(make, 20 * per_epoch), rel=1e-9)


def test_the_same_run_twice_is_bit_identical_and_leaves_torchs_generator_alone(flowers: wb.Task) -> None:
    config = BASE.replace(dropout=0.3, batch_norm=True)
    before = torch.get_rng_state()
    first = numbers_of(list(wb.train(flowers, {1: config})))
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(7)  # what others draw changes nothing
    assert numbers_of(list(wb.train(flowers, {1: config}))) == first
    assert numbers_of(list(wb.train(flowers, {1: config.replace(seed=1)}))) != first


def test_random_numbers_drawn_by_another_thread_change_nothing(flowers: wb.Task) -> None:
    config = BASE.replace(dropout=0.5, epochs=5)
    alone = numbers_of(list(wb.train(flowers, {1: config})))
    over = threading.Event()

    def draw() -> None:
        while not over.is_set():
            torch.rand(10)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        assert numbers_of(list(wb.train(flowers, {1: config}))) == alone
    finally:
        over.set()
        thread.join()


def test_dropout_of_a_cohort_silences_each_trial_for_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    with wb.models.SeededRandomness(generator):
        masks = torch.func.vmap(nn.Dropout(0.25), randomness="different")(torch.ones(4, 5000))
    assert ((masks == 0).float().mean(1) - 0.25).abs().max() < 0.03
    assert masks.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert not torch.equal(masks[0], masks[1])


def test_pause_and_resume_from_another_thread_keep_the_result(flowers: wb.Task) -> None:
    plain = numbers_of(list(wb.train(flowers, {1: BASE})))
    commands = Commands()
    events: list[Event] = []
    paused = threading.Event()

    def go() -> None:
        for event in wb.train(flowers, {1: BASE}, commands=commands):
            events.append(event)
            if isinstance(event, StateChanged) and event.state is TrialState.PAUSED:
                paused.set()

    commands.pause()
    thread = threading.Thread(target=go)
    thread.start()
    assert paused.wait(30)
    commands.resume()
    thread.join(30)
    states = [event.state for event in events if isinstance(event, StateChanged)]
    assert states == [TrialState.RUNNING, TrialState.PAUSED, TrialState.RUNNING]
    assert numbers_of(events) == plain


def test_stop_keeps_finished_epochs(flowers: wb.Task) -> None:
    commands = Commands()
    events = []
    for event in wb.train(flowers, {1: BASE.replace(epochs=50)}, commands=commands):
        events.append(event)
        if isinstance(event, EpochEnd) and event.epoch == 2:
            commands.stop()
    assert events[-1].state is TrialState.STOPPED
    assert events[-1].epochs_run == 2
    assert numbers_of(events) == numbers_of(list(wb.train(flowers, {1: BASE.replace(epochs=50)})))[:2]


class Recurrent(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.cell = nn.LSTM(inputs, 4, batch_first=True)
        self.head = nn.Linear(4, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, _ = self.cell(x[:, None, :])
        return self.head(out[:, -1])


class Fragile(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(inputs, outputs), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.calls += 1
            if self.calls == 3:
                raise RuntimeError("no third step")
        return self.layer(x)


@pytest.fixture
def own_models() -> Any:
    wb.register_model("recurrent", lambda task: Recurrent(task.input_shape[0], task.output_size))
    wb.register_model("fragile", lambda task: Fragile(task.input_shape[0], task.output_size))
    wb.register_model("wide", lambda task: nn.Linear(task.input_shape[0], task.output_size + 1))
    yield
    for name in ("recurrent", "fragile", "wide"):
        MODELS.unregister(name)


@pytest.mark.usefixtures("own_models")
def test_a_model_that_cannot_be_vectorised_trains_one_after_another(flowers: wb.Task) -> None:
    config = wb.Config(model="recurrent", batch_size=16, epochs=2)
    trials = {1: config, 2: config.replace(seed=1)}
    events = list(wb.train(flowers, trials))
    assert all("one after another" in event.message for event in events if isinstance(event, Message))
    assert sum(isinstance(event, Message) for event in events) == 2
    alone = [row for trial, c in trials.items() for row in numbers_of(list(wb.train(flowers, {trial: c})))]
    assert numbers_of(events) == alone


@pytest.mark.usefixtures("own_models")
def test_a_model_that_raises_is_heard_and_a_wrong_shape_is_refused(flowers: wb.Task) -> None:
    with pytest.raises(RuntimeError, match="no third step"):
        list(wb.train(flowers, {1: wb.Config(model="fragile", batch_size=16)}))
    with pytest.raises(wb.ModelError, match=r"shape \(2, 3\).*got shape \(2, 4\)"):
        prepare(flowers, wb.Config(model="wide", batch_size=16))


def test_bad_settings_for_the_task(flowers: wb.Task) -> None:
    with pytest.raises(wb.ConfigError, match=r"batch_size=5000: larger than the training split of 90 rows"):
        prepare(flowers, wb.Config(batch_size=5000))
    with pytest.raises(wb.ConfigError, match="needs images"):
        prepare(flowers, wb.Config(model="cnn"))


def test_a_loss_of_ones_own_with_a_hyperparameter(flowers: wb.Task) -> None:
    def focal(outputs: torch.Tensor, targets: torch.Tensor, *, focus=wb.Range(0.0, 5.0, default=2.0)) -> torch.Tensor:
        chosen = outputs.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
        return -((1 - chosen.exp()) ** focus) * chosen

    wb.register_loss("focused", focal)
    wb.register_loss("mean", lambda outputs, targets: outputs.mean())
    try:
        plain = numbers_of(list(wb.train(flowers, {1: BASE}, dtype=torch.float64)))
        own = numbers_of(list(wb.train(flowers, {1: BASE.replace(loss="focused", focus=0.0)}, dtype=torch.float64)))
        for ours, theirs in zip(own, plain, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-9)
        with pytest.raises(wb.ModelError, match="one value a row"):
            list(wb.train(flowers, {1: BASE.replace(loss="mean")}))
    finally:
        LOSSES.unregister("focused")
        LOSSES.unregister("mean")


def test_events_come_in_order(flowers: wb.Task) -> None:
    events = [e for e in wb.train(flowers, {1: BASE, 2: BASE.replace(epochs=2)}) if e.trial == 2]
    kinds = [type(event) for event in events if isinstance(event, (StateChanged, EpochEnd, TrialEnded))]
    assert kinds == [StateChanged, EpochEnd, EpochEnd, TrialEnded]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("classes", [2, 3, 10, 20])
@pytest.mark.parametrize("rows", [8, 300])
def test_cross_entropy_is_torchs_whatever_its_shape(rows: int, classes: int, smoothing: float) -> None:
    from workbench.training.losses import cross_entropy

    outputs = torch.randn(rows, classes, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, classes, (rows,))
    for reduction in ("none", "mean"):
        ours = cross_entropy(outputs, targets, reduction, label_smoothing=smoothing)
        theirs = torch.nn.functional.cross_entropy(outputs, targets, reduction=reduction, label_smoothing=smoothing)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        gradients = [torch.autograd.grad(values.sum(), outputs)[0] for values in (ours, theirs)]
        torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
