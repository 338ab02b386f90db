"""A trial on folds: equal to a loop of single runs on each fold, in curves, best epoch, endings and weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.model_selection import ShuffleSplit
from torch import nn

import workbench as wb
from tests.training.test_resumption import SETTINGS, Album, Pruner, plain, take_up, told
from workbench.core.events import EpochEnd, KnobChanged, TrialEnded, TrialState
from workbench.core.registry import MODELS
from workbench.tasks import Split, Task
from workbench.training import Change, Training, prepare

RNG = np.random.default_rng(3)
X = RNG.normal(size=(157, 5))
Y = (X[:, 0] + 0.5 * RNG.normal(size=157) > 0).astype(int) + (X[:, 1] > 1)
NUMBERS = 1e6 + 1e5 * (X[:, :2] @ RNG.normal(size=(2, 2)) + 0.1 * RNG.normal(size=(157, 2)))
CONFIG = wb.Config(epochs=3, hidden_units=8, hidden_layers=1, batch_size=16, learning_rate=0.01)
FIELDS = ("train_loss", "train_metric", "val_loss", "val_metric", "penalty", "grad_norm")


@pytest.fixture(autouse=True)
def own() -> Iterator[None]:
    """A model whose rows depend on each other, by a batch normalization, and one that only vmap can stack."""

    def normalizing(task: Any, *, hidden_units: int) -> nn.Module:
        inside = nn.Linear(task.input_shape[0], hidden_units), nn.BatchNorm1d(hidden_units), nn.ReLU()
        return nn.Sequential(*inside, nn.Linear(hidden_units, task.output_size))

    class Own(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.layer = nn.Linear(inputs, outputs)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sin(self.layer(x)) - x.mean(0, keepdim=True).sum()

    wb.register_model("normalizing", normalizing)
    wb.register_model("own", lambda task: Own(task.input_shape[0], task.output_size))
    yield
    for name in ("normalizing", "own"):
        MODELS.unregister(name)


def trained(task: Any, configs: dict[int, wb.Config], **options: Any) -> tuple[Training, list[Any]]:
    training = Training(task, configs, dtype=torch.float64, **options)
    return training, [event for moment in training.moments() for event in moment]


def epochs(events: list[Any], trial: int) -> list[EpochEnd]:
    return [event for event in events if isinstance(event, EpochEnd) and event.trial == trial]


TASKS = {
    "classes": lambda: Task.from_arrays(X, Y, split=Split.folds(5)),
    "numbers": lambda: Task.from_arrays(X, NUMBERS, split=Split.folds(4, test=0.1), metrics=("rmse", "r2")),
    "ordered": lambda: Task.from_arrays(X, Y, split=Split.folds(4, order=np.arange(157), gap=2), metrics="f1"),
    "groups": lambda: Task.from_arrays(X, Y, split=Split.folds(3, groups=np.arange(157) // 4)),
    "one row left": lambda: Task.from_arrays(X[:122], Y[:122], split=Split.folds(2, test=0)),
    "weights": lambda: Task.from_arrays(X, Y, split=Split.folds(4), weights=RNG.integers(0, 4, 157)),
    "drawn": lambda: Task.from_arrays(X, Y, split=Split.folds(splitter=ShuffleSplit(3, test_size=0.3, random_state=0))),
}
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "adamw, cosine, penalties": {
        "optimizer": "adamw",
        "schedule": "cosine",
        "l1": 1e-3,
        "l2": 1e-2,
        "gradient_clip": 0.5,
        "batch_size": 13,
    },
    "momentum": {"optimizer": "sgd", "momentum": 0.9, "batch_size": 7},
    "batch normalization": {"model": "normalizing", "batch_size": 20},
    "own module": {"model": "own"},
    "balanced": {"class_weight": "balanced"},
}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_folds_together_equal_a_loop_of_single_runs(name: str, kind: str) -> None:
    task = TASKS[name]()
    if kind == "balanced" and task.kind != "classification":
        pytest.skip("numbers have no classes")
    configs = {trial: prepare(task, CONFIG.replace(**CONFIGS[kind], seed=trial)) for trial in (3, 5)}
    training, events = trained(task, configs)
    assert task.folds is not None
    alone = [trained(member, configs) for member in task.folds.members]
    for trial in configs:
        mine, single = epochs(events, trial), [epochs(own, trial) for _, own in alone]
        assert len(mine) == 3
        for number, epoch in enumerate(mine):
            for field in FIELDS:
                wanted = np.mean([getattr(own[number], field) for own in single])
                assert getattr(epoch, field) == pytest.approx(wanted, rel=1e-10, abs=1e-10), field
            assert list(epoch.folds["loss"]) == pytest.approx([own[number].val_loss for own in single], rel=1e-10)
            assert list(epoch.folds[task.metric]) == pytest.approx(
                [own[number].val_metric for own in single], rel=1e-10
            )
            assert epoch.step == max(own[number].step for own in single)
        best = int(np.argmin([epoch.val_loss for epoch in mine])) + 1
        (end,) = [event for event in events if isinstance(event, TrialEnded) and event.trial == trial]
        assert (end.best_epoch, end.best_val_loss) == (best, mine[best - 1].val_loss)
        for fold, (single_training, _) in enumerate(alone):
            if best == 3:  # the best epoch of a fold alone may be another one than that of the mean
                ended = single_training.weights[trial].vector
                if np.argmin([epoch.val_loss for epoch in single[fold]]) == 2:
                    assert torch.allclose(training.fold_weights[trial][fold].vector, ended, rtol=1e-9, atol=1e-11)


def test_each_fold_has_preprocessing_of_its_own() -> None:
    task = Task.from_arrays(X, NUMBERS, split=Split.folds(4))
    assert task.folds is not None
    for member in task.folds.members:
        assert torch.allclose(member.train.x.mean(0), torch.zeros(5), atol=1e-6)
        assert torch.allclose(member.train.y.std(0, correction=0), torch.ones(2), atol=1e-5)
        assert torch.allclose(member.train.target.mean(0), member.target.mean)
    means = [member.target.mean[0].item() for member in task.folds.members]
    assert len(set(means)) == 4
    assert torch.equal(task.train.x, task.folds.members[0].train.x)
    together = sum(len(member.validation) for member in task.folds.members)
    assert together + task.sizes["test"] == 157


def test_categories_of_all_folds_are_inputs_of_each() -> None:
    import pandas as pd

    words = np.array(["a", "b"], dtype=object)[np.arange(157) % 2]
    words[0] = "rare"
    frame = pd.DataFrame({"n": X[:, 0], "word": words, "y": Y})
    for seed in range(3):
        task = Task.from_frame(frame, "y", split=Split.folds(5, test=0), seed=seed)
        assert task.feature_names == ("n", "word_a", "word_b", "word_rare")
        assert {member.input_shape for member in task.folds.members} == {(4,)}


def test_early_stopping_and_the_plateau_follow_the_mean() -> None:
    task = TASKS["classes"]()
    config = prepare(
        task, CONFIG.replace(epochs=40, learning_rate=0.3, patience=3, schedule="plateau", plateau_patience=1)
    )
    _, events = trained(task, {1: config})
    losses = [epoch.val_loss for epoch in epochs(events, 1)]
    best = int(np.argmin(losses))
    assert events[-1].state is TrialState.EARLY_STOPPED
    assert len(losses) == best + 1 + 3 < 40
    rates = [epoch.learning_rate for epoch in epochs(events, 1)]
    waits, reference, drops, wanted = 0, np.inf, 0, []
    for loss in losses:
        wanted.append(0.3 * config.gamma**drops)
        waits, reference = (0, loss) if loss < reference else (waits + 1, reference)
        if waits > 1:
            drops, waits = drops + 1, 0
    assert rates == pytest.approx(wanted)


def test_a_trial_ends_when_one_of_its_folds_diverges() -> None:
    task = Task.from_arrays(X * 1e3, NUMBERS, split=Split.folds(3), standardize=False)
    config = prepare(task, CONFIG.replace(optimizer="sgd", learning_rate=10.0, epochs=5))
    _, events = trained(task, {1: config, 2: config.replace(learning_rate=1e-6)})
    ends = {event.trial: event for event in events if isinstance(event, TrialEnded)}
    assert ends[1].state is TrialState.DIVERGED
    assert ends[2].state is TrialState.COMPLETED
    assert len(epochs(events, 2)) == 5


def test_a_cohort_of_folds_is_restored_to_the_last_bit() -> None:
    from workbench.training import CohortState
    from workbench.training.fold_cohort import cohort_class

    task = TASKS["ordered"]()
    config = prepare(task, CONFIG.replace(schedule="cosine", epochs=4))
    made = cohort_class(task)(task, {1: config, 2: config.replace(seed=1)}, torch.device("cpu"), torch.float64)

    def epoch(cohort: Any) -> None:
        for batch in cohort.batches():
            cohort.step(*batch)

    epoch(made)
    again = cohort_class(task).restore(task, CohortState.of(made.state().content()), torch.device("cpu"), torch.float64)
    assert [row.watch is again.rows[own[0]].watch for own in again.trials() for row in [again.rows[own[1]]]] == [
        True,
        True,
    ]
    for _ in range(2):
        epoch(made)
        epoch(again)
    assert torch.equal(made.theta, again.theta)
    assert made.evaluate() == again.evaluate()
    assert [(row.trial, row.fold, row.step) for row in made.rows] == [
        (row.trial, row.fold, row.step) for row in again.rows
    ]


@pytest.mark.parametrize("name", ["classes", "ordered"])
@pytest.mark.parametrize("kind", ["dropout and batch norm", "plateau, early stopping"])
def test_resumed_from_a_state_to_the_same_end(name: str, kind: str, tmp_path: Path) -> None:
    task = TASKS[name]()
    configs = {
        n: prepare(task, config.replace(epochs=6, batch_size=16, seed=n, hidden_units=8))
        for n, config in enumerate(SETTINGS[kind] * 2, start=1)
    }
    album = Album(tmp_path)
    training = Training(task, configs, keeper=album)
    whole = told(training.moments())
    last = max(epoch for _, epoch in album.states)
    for epoch in (1, last - 1):
        one = take_up(whole, configs, album.states[1, epoch], epoch)
        again = Training(task, {}, resumed=[one])
        rest = told(again.moments())
        ended = {trial for trial, seen in one.logged.items() if seen.end is not None}
        expected = [
            event
            for event in whole
            if (isinstance(event, EpochEnd) and event.epoch > epoch)
            or (isinstance(event, TrialEnded) and event.trial not in ended)
        ]
        assert plain(rest) == plain(expected)
        for trial in configs.keys() - ended:
            for mine, first in zip(again.fold_weights[trial], training.fold_weights[trial], strict=True):
                assert torch.equal(mine.vector, first.vector)


def test_trials_join_and_are_pruned_with_all_their_folds() -> None:
    task = TASKS["ordered"]()
    configs = {n: prepare(task, CONFIG.replace(seed=n, epochs=5)) for n in (1, 2, 3)}
    supply = Pruner({3: configs[3]})
    training, events = trained(task, {1: configs[1], 2: configs[2]}, supply=supply)
    alone = {n: trained(task, {n: configs[n]})[1] for n in configs}
    for trial, count in ((1, 5), (2, 3), (3, 5)):
        mine, single = epochs(events, trial), epochs(alone[trial], trial)[:count]
        assert [epoch.val_loss for epoch in mine] == pytest.approx([epoch.val_loss for epoch in single], rel=1e-10)
    ends = {event.trial: event.state for event in events if isinstance(event, TrialEnded)}
    assert ends == {1: TrialState.COMPLETED, 2: TrialState.PRUNED, 3: TrialState.COMPLETED}
    assert {trial: len(found) for trial, found in training.fold_weights.items()} == {1: 4, 2: 4, 3: 4}


def test_a_live_change_acts_on_all_folds() -> None:
    task = TASKS["classes"]()
    config = prepare(task, CONFIG)
    change = Change(11, "learning_rate", 0.03)
    _, events = trained(task, {1: config}, changes={1: [change]})
    assert task.folds is not None
    alone = [trained(member, {1: config}, changes={1: [change]})[1] for member in task.folds.members]
    assert sum(isinstance(event, KnobChanged) for event in events) == 1
    wanted = [np.mean([epochs(own, 1)[n].val_loss for own in alone]) for n in range(3)]
    assert [epoch.val_loss for epoch in epochs(events, 1)] == pytest.approx(wanted, rel=1e-10)


def test_a_batch_larger_than_the_smallest_fold_is_rejected() -> None:
    task = TASKS["ordered"]()
    assert task.folds is not None
    least = min(len(member.train) for member in task.folds.members)
    with pytest.raises(
        wb.ConfigError, match=rf"batch_size={least + 1}: larger than the training split of {least} rows"
    ):
        prepare(task, CONFIG.replace(batch_size=least + 1))


def test_a_model_that_cannot_be_stacked_is_rejected() -> None:
    class Branching(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.layer = nn.Linear(inputs, outputs)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) if float(x.sum()) > 0 else -self.layer(x)

    wb.register_model("branching", lambda task: Branching(task.input_shape[0], task.output_size))
    try:
        task = TASKS["classes"]()
        with pytest.raises(
            wb.ModelError, match="model='branching': the folds of a trial train together.*without folds"
        ):
            trained(task, {1: prepare(task, CONFIG.replace(model="branching"))})
    finally:
        MODELS.unregister("branching")


def test_many_trials_on_folds_are_cut_into_shards() -> None:
    task = TASKS["classes"]()
    configs = {n: prepare(task, CONFIG.replace(seed=n, epochs=2)) for n in range(12)}
    _, cut = trained(task, configs, cores=2)
    _, whole = trained(task, configs)
    for trial in configs:
        losses = [[epoch.val_loss for epoch in epochs(events, trial)] for events in (cut, whole)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-10)


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_targets_that_a_loss_is_not_made_for_are_found_in_any_fold(fold: int) -> None:
    pieces = np.repeat([0, 1, 2], 20)
    counts = np.where(np.arange(60) == 20 * fold, -1.0, np.arange(60) % 7)
    split = Split.folds(3, test=0, groups=pieces)
    task = Task.from_arrays(X[:60], counts, kind="regression", target_transform=None, split=split)
    with pytest.raises(wb.ConfigError, match="loss='poisson': needs targets from 0 on, the smallest is -1"):
        prepare(task, CONFIG.replace(loss="poisson"))
