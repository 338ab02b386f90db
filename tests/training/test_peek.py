"""A look at the weights of a trial that trains: what is seen, and that nothing of it is felt."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from queue import SimpleQueue

import pytest
import torch

import workbench as wb
from workbench.core.events import EpochEnd, Event, StateChanged, StepProgress, TrialState
from workbench.training import CohortState, Commands, Training, Weights, prepare
from workbench.training.commands import Mailbox, Peek

BASE = wb.Config(hidden_units=8, batch_size=16, epochs=4, dropout=0.3, batch_norm=True)
ONE = {1: BASE}
THREE = {number: BASE.replace(seed=number, learning_rate=0.003 * number) for number in (1, 2, 3)}


class Watching(Commands):
    """Commands through which somebody asks for a trial's weights before each step."""

    def __init__(self, trial: int) -> None:
        self.mailbox: Mailbox = SimpleQueue()
        self._wanted = trial
        super().__init__()

    @property
    def pending(self) -> bool:
        self.peek(self._wanted, self.mailbox)
        return True

    @pending.setter
    def pending(self, value: bool) -> None: ...


def trained(task: wb.Task, trials: Mapping[int, wb.Config], commands: Commands) -> tuple[Training, list[Event]]:
    training = Training(task, {trial: prepare(task, config) for trial, config in trials.items()}, commands=commands)
    return training, [event for moment in training.moments() for event in moment]


def drained(mailbox: Mailbox) -> list[Peek | None]:
    return [mailbox.get() for _ in range(mailbox.qsize())]


def kinds(events: list[Event]) -> list[type[Event]]:
    """Without the progress within an epoch, which comes by the clock."""
    return [type(event) for event in events if not isinstance(event, StepProgress)]


class Keeping:
    """A keeper that keeps the weights of all rows after each epoch."""

    def __init__(self) -> None:
        self.weights: dict[tuple[int, int], Weights] = {}

    def begin(self, series: int) -> None: ...

    def wants(self, last: bool) -> bool:
        return True

    def take(self, state: CohortState) -> None:
        self.weights |= {(trial, state.epoch): state.row(trial).weights for trial in state.trials}


@pytest.mark.parametrize("trials", [ONE, THREE], ids=["alone", "cohort"])
def test_watched_at_each_step_a_trial_trains_to_the_same_bits(flowers: wb.Task, trials: dict[int, wb.Config]) -> None:
    watching = Watching(trial=max(trials))
    left_alone, quiet = trained(flowers, trials, Commands())
    watched, told = trained(flowers, trials, watching)

    for trial in trials:
        ours, theirs = watched.weights[trial], left_alone.weights[trial]
        assert torch.equal(ours.vector, theirs.vector)
        assert all(torch.equal(ours.buffers[name], value) for name, value in theirs.buffers.items())
    assert kinds(told) == kinds(quiet)  # nothing of it is told
    numbers = [(e.trial, e.epoch, e.step, e.train_loss, e.val_loss) for e in told if isinstance(e, EpochEnd)]
    assert numbers == [(e.trial, e.epoch, e.step, e.train_loss, e.val_loss) for e in quiet if isinstance(e, EpochEnd)]

    seen = drained(watching.mailbox)
    assert all(peek is not None and peek.trial == max(trials) for peek in seen)
    steps = [peek.step for peek in seen if peek is not None]
    assert steps == list(range(4 * 6))  # 90 rows, 16 a batch: six steps an epoch
    assert [peek.epoch for peek in seen if peek is not None] == [step // 6 for step in steps]


@pytest.mark.parametrize("trial", [1, 2, 3])
def test_the_copy_is_what_the_trial_had_between_two_steps(flowers: wb.Task, trial: int) -> None:
    watching, keeping = Watching(trial), Keeping()
    prepared = {number: prepare(flowers, config) for number, config in THREE.items()}
    for _ in Training(flowers, prepared, commands=watching, keeper=keeping).moments():
        pass
    seen = {peek.step: peek.weights for peek in drained(watching.mailbox) if peek is not None}
    for epoch in (1, 2, 3):
        kept = keeping.weights[trial, epoch]
        assert torch.equal(seen[6 * epoch].vector, kept.vector)
        assert all(torch.equal(seen[6 * epoch].buffers[name], value) for name, value in kept.buffers.items())
    assert not torch.equal(seen[8].vector, seen[9].vector)  # a copy, not a view of what trains


def test_a_trial_that_is_not_in_the_cohort_is_answered_with_nothing(flowers: wb.Task) -> None:
    watching = Watching(trial=99)
    trained(flowers, ONE, watching)
    assert set(drained(watching.mailbox)) == {None}


def test_a_paused_trial_is_seen_and_goes_on_as_if_it_had_not_been(flowers: wb.Task) -> None:
    commands, mailbox = Commands(), SimpleQueue[Peek | None]()
    paused = threading.Event()
    commands.pause()
    training = Training(flowers, {1: prepare(flowers, BASE)}, commands=commands)
    told: list[Event] = []
    undisturbed: list[Training] = []

    def train() -> None:
        for moment in training.moments():
            told.extend(moment)
            if any(isinstance(event, StateChanged) and event.state is TrialState.PAUSED for event in moment):
                paused.set()
        undisturbed.append(trained(flowers, ONE, Commands())[0])  # in the same thread, with as many cores

    thread = threading.Thread(target=train)
    thread.start()
    assert paused.wait(60)
    commands.peek(1, mailbox)
    first = mailbox.get(timeout=60)
    commands.peek(1, mailbox)
    second = mailbox.get(timeout=60)
    assert first is not None
    assert second is not None
    assert (first.step, second.step) == (0, 0)
    assert torch.equal(first.weights.vector, second.weights.vector)
    commands.resume()
    thread.join(60)
    states = [event.state for event in told if isinstance(event, StateChanged)]
    assert states == [TrialState.RUNNING, TrialState.PAUSED, TrialState.RUNNING]  # not told as paused anew
    (left_alone,) = undisturbed
    assert torch.equal(training.weights[1].vector, left_alone.weights[1].vector)
