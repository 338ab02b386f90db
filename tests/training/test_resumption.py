"""Training taken up again, from any of its epochs, against the same training left alone: equal to the last bit."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.core import files
from workbench.core.events import ENDED, CohortJoined, EpochEnd, KnobChanged, TrialEnded, TrialState
from workbench.core.registry import OPTIMIZERS
from workbench.training import Change, CohortState, Commands, LoggedTrial, ResumedCohort, Training, prepare
from workbench.training.cohort import Cohort


class Album:
    """A keeper that keeps every state, through a file's bytes and back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.states: dict[tuple[int, int], CohortState] = {}

    def begin(self, series: int) -> None:
        self.states = {key: state for key, state in self.states.items() if key[0] != series}

    def wants(self, last: bool) -> bool:
        return True

    def take(self, state: CohortState) -> None:
        path = self.folder / "state"
        files.write(path, files.pack("checkpoint", state.content()))
        self.states[state.series, state.epoch] = CohortState.of(files.read(path, "checkpoint"))


class Pruner:
    """A supply that sends one more trial after its second epoch, and gives up trial 2 after its third."""

    def __init__(self, more: Mapping[int, wb.Config]) -> None:
        self.more = dict(more)
        self.boundaries = 0

    def next(self) -> dict[int, wb.Config]:
        return {}

    def refill(self, training: int) -> dict[int, wb.Config]:
        self.boundaries += 1
        more, self.more = (self.more, {}) if self.boundaries == 2 else ({}, self.more)
        return more

    def shrink(self, size: int) -> None: ...

    def prune(self, epochs: Sequence[EpochEnd]) -> Mapping[int, str]:
        return {event.trial: "given up" for event in epochs if event.trial == 2 and event.epoch == 3}


@pytest.fixture(scope="module")
def task() -> wb.Task:
    return wb.Task.load("iris")


def told(moments: Iterator[tuple[Any, ...]], after: Callable[[Any], None] = lambda _: None) -> list[Any]:
    """All that is told but times."""
    events = []
    for moment in moments:
        for event in moment:
            events.append(event)
            after(event)
    return events


def plain(events: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Epochs and ends without their seconds; NaN as text, so that it equals itself."""
    kept = [e for e in events if isinstance(e, (EpochEnd, TrialEnded))]
    values = [{n: getattr(e, n) for n in e.__dataclass_fields__ if n not in ("seconds", "traceback")} for e in kept]
    return [tuple((name, repr(value)) for name, value in sorted(one.items())) for one in values]


def take_up(
    events: Sequence[Any],
    configs: Mapping[int, wb.Config],
    state: CohortState | None,
    until: int,
) -> ResumedCohort:
    """What a log knows that has taken the events up to the cohort's epoch `until`."""
    seats = {e.trial: e.after for e in events if isinstance(e, CohortJoined)}
    last = {t: until - seats[t] for t in configs if seats[t] < until}
    changes: dict[int, list[Change]] = {t: [] for t in configs}
    ends = {}
    for event in events:
        if isinstance(event, KnobChanged) and event.epoch <= last.get(event.trial, 0):
            changes[event.trial].append(Change(event.step, event.name, event.new))
        if isinstance(event, TrialEnded):
            begun = event.epochs_run + event.reason.startswith("training loss")
            if begun <= last.get(event.trial, 0):
                ends[event.trial] = event
    joins: dict[int, dict[int, wb.Config]] = {}
    for trial, after in seats.items():
        if 0 < after < until:
            joins.setdefault(after, {})[trial] = configs[trial]
    seen = {
        t: LoggedTrial(min(last[t], ends[t].epochs_run if t in ends else last[t]), changes[t], ends.get(t))
        for t in last
    }
    return ResumedCohort({t: configs[t] for t in configs if seats[t] == 0}, state, until, joins, seen)


SETTINGS = {
    "adam": [wb.Config(epochs=6, learning_rate=0.01)],
    "dropout and batch norm": [wb.Config(epochs=6, dropout=0.3, batch_norm=True, optimizer="momentum", l1=1e-4)],
    "plateau, early stopping": [
        wb.Config(epochs=30, schedule="plateau", plateau_patience=1, patience=3, learning_rate=0.3, optimizer="sgd")
    ],
    "a diverging one": [
        wb.Config(epochs=8, learning_rate=rate, optimizer="sgd", hidden_layers=0) for rate in (0.05, 0.5, 0.4)
    ],
    "a mixed cohort": [
        wb.Config(epochs=4 + i % 3, learning_rate=0.001 * (i + 1), optimizer=o, schedule=s, seed=i, dropout=0.2)
        for i, (o, s) in enumerate(
            [("adam", "cosine"), ("sgd", "constant"), ("adamw", "one_cycle"), ("momentum", "step"), ("adagrad", "step")]
            * 5
        )
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_from_any_epoch_to_the_same_end(task: wb.Task, tmp_path: Path, name: str) -> None:
    if name == "a diverging one":
        task = wb.Task.load("diabetes")
    configs = {n: prepare(task, config) for n, config in enumerate(SETTINGS[name], start=1)}
    album = Album(tmp_path)
    training = Training(task, configs, keeper=album, cores=2)
    whole = told(training.moments())
    last = max(epoch for _, epoch in album.states)
    assert len(album.states) == last
    for epoch in {1, last // 2, last - 1} - {0}:
        for told_until in {epoch, min(epoch + 2, last - 1)}:
            one = take_up(whole, configs, album.states[1, epoch], told_until)
            again_album = Album(tmp_path)
            again = Training(task, {}, resumed=[one], keeper=again_album, cores=2)
            rest = told(again.moments())
            ended = {t for t, seen in one.logged.items() if seen.end is not None}
            expected = [
                e for e in whole
                if (isinstance(e, EpochEnd) and e.epoch > told_until) or (isinstance(e, TrialEnded) and e.trial not in ended)
            ]  # fmt: skip
            assert plain(rest) == plain(expected)
            for trial in configs.keys() - ended:
                assert torch.equal(again.weights[trial].vector, training.weights[trial].vector)
            for key, state in again_album.states.items():
                assert state.trials == album.states[key].trials
                assert (
                    torch.equal(
                        state.theta,
                        album.states[key].theta,
                    )
                    or state.theta.isnan().any()
                )
                assert all(map(torch.equal, state.orders, album.states[key].orders))
                assert all(map(torch.equal, state.noises, album.states[key].noises))


def test_from_the_beginning_where_no_state_is_left(task: wb.Task) -> None:
    configs = {n: prepare(task, config) for n, config in enumerate(SETTINGS["a mixed cohort"], start=1)}
    training = Training(task, configs, cores=2)
    whole = told(training.moments())
    again = Training(task, {}, resumed=[take_up(whole, configs, None, 3)], cores=2)
    rest = told(again.moments())
    assert plain(rest) == plain([e for e in whole if not isinstance(e, EpochEnd) or e.epoch > 3])
    assert all(torch.equal(again.weights[t].vector, training.weights[t].vector) for t in configs)


def test_trials_that_join_and_trials_given_up(task: wb.Task, tmp_path: Path) -> None:
    configs = {n: prepare(task, wb.Config(epochs=5, learning_rate=0.01 * n, seed=n)) for n in (1, 2, 3)}
    late = {4: prepare(task, wb.Config(epochs=4, learning_rate=0.05, seed=9))}
    album = Album(tmp_path)
    training = Training(task, configs, supply=Pruner(late), keeper=album)
    whole = told(training.moments())
    assert {e.trial: str(e.state) for e in whole if isinstance(e, TrialEnded)}[2] == "pruned"
    for epoch in (1, 2, 3, 4, 5):
        for until in range(epoch, 6):
            one = take_up(whole, configs | late, album.states[1, epoch], until)
            supply = Pruner(late if until <= 2 else {})
            supply.boundaries = until - 1
            again = Training(task, {}, resumed=[one], supply=supply)
            rest = told(again.moments())
            kept = [e for e in whole if isinstance(e, (EpochEnd, TrialEnded))]
            kept = [
                e for e in kept
                if (e.trial in one.logged and isinstance(e, EpochEnd) and e.epoch > one.logged[e.trial].epochs)
                or e.trial not in one.logged
                or (isinstance(e, TrialEnded) and one.logged[e.trial].end is None)
            ]  # fmt: skip
            assert sorted(plain(rest)) == sorted(plain(kept)), (epoch, until)


def test_live_changes_are_made_again_in_silence_when_told_and_aloud_when_not(task: wb.Task, tmp_path: Path) -> None:
    config = prepare(task, wb.Config(epochs=5, optimizer="momentum", learning_rate=0.05))
    commands, album = Commands(), Album(tmp_path)
    changes = [(4, "learning_rate", 0.2), (4, "momentum", 0.5), (8, "learning_rate", 0.05), (8, "l2", 0.01)]

    def change(event: Any) -> None:
        if isinstance(event, EpochEnd) and event.epoch in (1, 3):
            commands.set(learning_rate=0.2 if event.epoch == 1 else 0.05)
            commands.set(**({"momentum": 0.5} if event.epoch == 1 else {"l2": 0.01}))

    training = Training(task, {1: config}, commands=commands, keeper=album)
    whole = told(training.moments(), change)
    made = [Change(e.step, e.name, e.new) for e in whole if isinstance(e, KnobChanged)]
    assert len(made) == len(changes)
    replay = Training(task, {1: config}, changes={1: made})
    again = told(replay.moments())
    assert plain(again) == plain(whole)
    assert [e for e in again if isinstance(e, KnobChanged)] == [e for e in whole if isinstance(e, KnobChanged)]
    assert torch.equal(replay.weights[1].vector, training.weights[1].vector)
    # the process died in the middle of epoch 4, after the second pair of changes was told
    one = take_up(whole, {1: config}, album.states[1, 2], 3)
    one = ResumedCohort(one.trials, one.state, 3, {}, {1: LoggedTrial(3, made)})
    resumed = Training(task, {}, resumed=[one])
    rest = told(resumed.moments())
    assert not [e for e in rest if isinstance(e, KnobChanged)]
    assert plain(rest) == plain(whole)[3:]
    assert torch.equal(resumed.weights[1].vector, training.weights[1].vector)


def test_a_stop_after_so_many_steps(task: wb.Task) -> None:
    config = prepare(task, wb.Config(epochs=50))
    events = told(Training(task, {1: config}, stop_after=7).moments())
    (end,) = [e for e in events if isinstance(e, TrialEnded)]
    assert (str(end.state), end.step, end.epochs_run) == ("stopped", 7, 2)


def test_other_draws_in_the_process_change_nothing(task: wb.Task) -> None:
    config = prepare(task, wb.Config(epochs=4, dropout=0.4))
    quiet = told(Training(task, {1: config}).moments())
    going = threading.Event()

    def draw() -> None:
        while not going.is_set():
            torch.rand(3), np.random.rand(3), random.random()
            torch.manual_seed(int(torch.randint(100, (1,))))

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        loud = told(Training(task, {1: config}).moments())
    finally:
        going.set()
        thread.join()
    assert plain(loud) == plain(quiet)


def test_a_branch_without_a_change_is_its_parent(task: wb.Task, tmp_path: Path) -> None:
    config = prepare(task, wb.Config(epochs=6, dropout=0.3, batch_norm=True, schedule="plateau", plateau_patience=0))
    album = Album(tmp_path)
    whole = told(Training(task, {1: config}, keeper=album).moments())
    origin = album.states[1, 2].row(1)
    branch = told(Training(task, {7: config}, origins={7: lambda: origin}).moments())
    epochs = [e for e in branch if isinstance(e, EpochEnd)]
    assert [e.epoch for e in epochs] == [3, 4, 5, 6]
    for own, parents in zip(epochs, [e for e in whole if isinstance(e, EpochEnd)][2:], strict=True):
        assert (own.train_loss, own.val_loss, own.step) == (parents.train_loss, parents.val_loss, parents.step)


def test_a_branch_with_changes_is_the_plain_loop_with_changes(task: wb.Task, tmp_path: Path) -> None:
    """A branch from epoch 2 equals a run whose rate and penalty are changed live at the end of epoch 2."""
    config = prepare(task, wb.Config(epochs=5, optimizer="momentum", learning_rate=0.1))
    album = Album(tmp_path)
    told(Training(task, {1: config}, keeper=album).moments())
    state = album.states[1, 2]
    branch = Training(task, {2: config.replace(learning_rate=0.01, l2=0.003)}, origins={2: lambda: state.row(1)})
    own = [e for e in told(branch.moments()) if isinstance(e, EpochEnd)]
    steps = state.rows[0].step
    live = Training(task, {3: config}, changes={3: [Change(steps, "learning_rate", 0.01), Change(steps, "l2", 0.003)]})
    other = [e for e in told(live.moments()) if isinstance(e, EpochEnd)][2:]
    assert [e.val_loss for e in own] == [e.val_loss for e in other]


def test_several_branches_train_together(task: wb.Task, tmp_path: Path) -> None:
    config = prepare(task, wb.Config(epochs=5))
    album = Album(tmp_path)
    told(Training(task, {1: config}, keeper=album).moments())
    origin = album.states[1, 3].row(1)
    fan = {n: config.replace(learning_rate=0.001 * n, optimizer=o) for n, o in ((2, "adam"), (3, "adam"), (4, "sgd"))}
    together = [
        e
        for e in told(Training(task, fan, origins=dict.fromkeys(fan, lambda: origin)).moments())
        if isinstance(e, EpochEnd)
    ]
    for trial, one in fan.items():
        alone = told(Training(task, {trial: one}, origins={trial: lambda: origin}).moments())
        wanted = [e.val_loss for e in alone if isinstance(e, EpochEnd)]
        assert [e.val_loss for e in together if e.trial == trial] == pytest.approx(wanted, rel=1e-5)


def test_interrupted_is_no_end() -> None:
    assert TrialState.INTERRUPTED not in ENDED


def test_live_changes_before_a_cohort_broke_off_are_made_again(task: wb.Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trials that are tried again one by one end as if the cohort had held, with the change in force where it was."""
    configs = {n: prepare(task, wb.Config(epochs=5, optimizer="momentum", learning_rate=0.01, seed=n)) for n in (1, 2)}
    real, steps = Cohort.step, []

    def step(cohort: Cohort, x: torch.Tensor, y: torch.Tensor, counts: None = None) -> Any:
        steps.append(len(cohort.rows))
        if len(steps) == 11:  # in epoch 4
            raise MemoryError
        return real(cohort, x, y)

    monkeypatch.setattr(Cohort, "step", step)
    commands = Commands()

    def change(event: Any) -> None:
        if isinstance(event, EpochEnd) and (event.trial, event.epoch) == (1, 2):
            commands.set(None, learning_rate=0.2)

    broken = told(Training(task, configs, commands=commands).moments(), change)
    assert steps[:11] == [2] * 11
    assert set(steps[11:]) == {1}
    made = {e.trial: [Change(e.step, e.name, e.new)] for e in broken if isinstance(e, KnobChanged)}
    assert made == {n: [Change(6, "learning_rate", 0.2)] for n in configs}
    for trial, config in configs.items():
        alone = told(Training(task, {trial: config}, changes=made).moments())
        losses = [e.val_loss for e in broken if isinstance(e, EpochEnd) and e.trial == trial]
        assert losses == pytest.approx([e.val_loss for e in alone if isinstance(e, EpochEnd)], rel=1e-5)
        assert len(losses) == 5


@pytest.mark.parametrize("momenta", [(0.0, 0.9), (0.9, 0.0)])
def test_a_live_momentum_takes_nothing_from_the_row_beside_it(task: wb.Task, momenta: tuple[float, float]) -> None:
    """One row has no velocity yet, the other one has; then the first one's momentum is set to the same."""
    base = wb.Config(epochs=4, optimizer="momentum", learning_rate=0.05)
    configs = {n: prepare(task, base.replace(momentum=m, seed=n)) for n, m in enumerate(momenta, start=1)}
    (still,) = (n for n, m in enumerate(momenta, start=1) if m == 0.0)
    script = {still: [Change(6, "momentum", 0.9)]}
    together = told(Training(task, configs, changes=script).moments())
    for trial, config in configs.items():
        alone = told(Training(task, {trial: config}, changes=script).moments())
        losses = [e.val_loss for e in together if isinstance(e, EpochEnd) and e.trial == trial]
        assert losses == pytest.approx([e.val_loss for e in alone if isinstance(e, EpochEnd)], rel=1e-5)


def test_an_optimizer_that_remembers_lists(task: wb.Task, tmp_path: Path) -> None:
    class Counting(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            super().step()
            for parameter in self.param_groups[0]["params"]:
                self.state[parameter].setdefault("norms", []).append(float(parameter.grad.norm()))

    wb.register_optimizer("counting", lambda: (Counting, {}))
    try:
        config = prepare(task, wb.Config(optimizer="counting", learning_rate=0.05, epochs=4))
        album = Album(tmp_path)
        whole = told(Training(task, {1: config}, keeper=album).moments())
        assert [len(album.states[1, epoch].optimizers[0]["norms"]) for epoch in (1, 2, 3, 4)] == [3, 6, 9, 12]
        one = take_up(whole, {1: config}, album.states[1, 2], 2)
        assert plain(told(Training(task, {}, resumed=[one]).moments())) == plain(whole)[2:]
    finally:
        OPTIMIZERS.unregister("counting")
