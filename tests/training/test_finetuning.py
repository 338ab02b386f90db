"""Frozen layers, learning rates by group and unfreezing against a loop written out with torch's own parameter groups."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import workbench as wb
from tests.training import reference
from workbench.core.events import EpochEnd, Event, Message, TrialEnded, TrialState
from workbench.core.registry import MODELS, OPTIMIZERS
from workbench.models import Backbone, Pretrained, build_model, register_backbone
from workbench.training import (
    Change,
    CohortState,
    LoggedTrial,
    ResumedCohort,
    Training,
    check_fits,
    filled,
    prepare,
    stages,
)
from workbench.training.blueprint import Blueprint
from workbench.training.cohort import Cohort
from workbench.training.preparation import cohort_key

TOLERANCE = 1e-10
BASE = wb.Config(loss="cross_entropy", batch_size=16, epochs=4, learning_rate=0.02)


class Residual(nn.Module):
    """A small network that is no sequence: stem, two blocks, one of which skips, pooling and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
        self.last = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.fc = nn.Linear(6, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.block(x))
        outputs: Tensor = self.fc(torch.relu(self.last(x)).mean((2, 3)))
        return outputs


def perceptron() -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for width in (6, 8):
        layers += [nn.Linear(width, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(8, 5))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 7),
    )  # fmt: skip


def pretrained(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Always the same weights, and statistics as if it had seen data."""

    def made() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(5)
            network = make()
            for part in network.modules():
                if isinstance(part, nn.modules.batchnorm._BatchNorm):
                    part.running_mean.normal_()  # type: ignore[union-attr]
                    part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
                    part.weight.data.uniform_(0.5, 2)
        return network

    return made


# no bias before a batch normalisation: its gradient is nothing but rounding, which Adam would make steps of
GROUPS: dict[str, tuple[Callable[[], nn.Module], list[list[str]], str]] = {
    "perceptron": (pretrained(perceptron), [["1", "2"], ["4", "5"]], "7"),
    "convolutions": (pretrained(convolutions), [["0"], ["3", "4"]], "7"),
    "residual": (pretrained(Residual), [["stem", "norm"], ["block"], ["last"]], "fc"),
}
"""By name: what makes the network, its groups by hand, its head."""


@pytest.fixture(scope="session")
def pictures() -> wb.Task:
    """Three classes of 4x4 pictures, 97 training rows, of which an epoch leaves a last batch of one."""
    rng = np.random.default_rng(3)
    y = np.arange(162) % 3
    X = rng.normal(0, 1, (162, 1, 4, 4)) + y[:, None, None, None] * np.linspace(-1, 1, 16).reshape(4, 4)
    task = wb.Task.from_arrays(X, y, name="pictures")
    assert task.sizes["train"] == 97
    return task


@pytest.fixture(autouse=True)
def backbones() -> Iterator[None]:
    for name, (make, _, _) in GROUPS.items():
        register_backbone(name, make)
    yield
    for name in GROUPS:
        MODELS.unregister(name)


@pytest.fixture
def task_of(flowers: wb.Task, pictures: wb.Task) -> Callable[[str], wb.Task]:
    return lambda name: flowers if name == "perceptron" else pictures


# --- the same by hand -------------------------------------------------------------------------------------------------


def by_hand(name: str, task: wb.Task, c: Any) -> tuple[list[dict[str, float]], nn.Module]:
    """One row an epoch, and the network afterwards."""
    make, groups, head = GROUPS[name]
    network = make()
    with torch.random.fork_rng():
        torch.manual_seed(c.seed)
        old = network.get_submodule(head)
        setattr(network, head, nn.Linear(old.in_features, 3))  # type: ignore[arg-type]
    network = network.double()
    x, y = task.train.x.double(), task.train.y
    x_val, y_val = task.validation.x.double(), task.validation.y
    layers = [[network.get_submodule(part) for part in group] for group in groups]
    count, frozen = len(groups), c.freeze
    trains_norm = any(
        isinstance(part, nn.modules.batchnorm._BatchNorm)
        for group in layers[0 if c.unfreeze_at else frozen :]
        for layer in group
        for part in layer.modules()
    )
    used = len(x) - (trains_norm and len(x) % c.batch_size == 1)
    per_epoch = math.ceil(used / c.batch_size)
    order = torch.Generator().manual_seed(c.seed + 2**32)

    def optimizer_of() -> torch.optim.Optimizer:
        own = [
            {"params": [p for layer in group for p in layer.parameters()], "depth": (count - index) / count}
            for index, group in enumerate(layers)
        ][frozen:]
        own.append({"params": list(network.get_submodule(head).parameters()), "depth": 0.0})
        if c.optimizer == "adam":
            return torch.optim.Adam(own)
        if c.optimizer == "adamw":
            return torch.optim.AdamW(own, weight_decay=c.weight_decay)
        if c.optimizer == "rmsprop":
            return torch.optim.RMSprop(own, alpha=c.alpha)
        return torch.optim.SGD(own, lr=1.0, momentum=c.momentum)

    optimizer, step, rows = optimizer_of(), 0, []
    for epoch in range(1, c.epochs + 1):
        if c.unfreeze_at and epoch == c.unfreeze_at + 1 and frozen:
            frozen = 0
            optimizer = optimizer_of()
        network.train()
        for group in layers[:frozen]:
            for layer in group:
                layer.eval()
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        total, norms = 0.0, []
        for now in torch.split(torch.randperm(len(x), generator=order)[:used], c.batch_size):
            rate = reference.rate_at(c, step, per_epoch, 0)
            for group in optimizer.param_groups:
                group["lr"] = rate * c.learning_rate_factor ** group["depth"]
            data = nn.functional.cross_entropy(network(x[now]), y[now])
            penalty = sum(c.l1 * p.abs().sum() + c.l2 * (p**2).sum() for p in weights if p.dim() > 1)
            optimizer.zero_grad()
            (data + penalty).backward()
            for p in network.parameters():
                if not any(p is one for one in weights):
                    p.grad = None
            norm = torch.nn.utils.clip_grad_norm_(weights, c.gradient_clip or math.inf)
            optimizer.step()
            total, step = total + float(data.detach()) * len(now), step + 1
            norms.append(float(norm))
        network.eval()
        with torch.no_grad():
            val_loss = float(nn.functional.cross_entropy(network(x_val), y_val))
            penalty = sum(float(c.l1 * p.abs().sum() + c.l2 * (p**2).sum()) for p in weights if p.dim() > 1)
        rows.append(
            {
                "train_loss": total / used,
                "val_loss": val_loss,
                "penalty": penalty,
                "learning_rate": rate,
                "grad_norm": sum(norms) / len(norms),
            }
        )
    return rows, network


def trained(task: Any, trials: dict[int, wb.Config], **options: Any) -> tuple[dict[int, list[EpochEnd]], Training]:
    training = Training(task, {n: prepare(task, c) for n, c in trials.items()}, dtype=torch.float64, **options)
    rows: dict[int, list[EpochEnd]] = {trial: [] for trial in trials}
    for moment in training.moments():
        for event in moment:
            if isinstance(event, EpochEnd):
                rows[event.trial].append(event)
    return rows, training


def assert_same(ours: list[EpochEnd], plain: list[dict[str, float]]) -> None:
    assert len(ours) == len(plain)
    for ends, row in zip(ours, plain, strict=True):
        for name, value in row.items():
            assert math.isclose(getattr(ends, name), value, rel_tol=TOLERANCE, abs_tol=TOLERANCE), (name, ends, row)


CASES = [
    (name, freeze, unfreeze_at, optimizer)
    for name, (_, groups, _) in GROUPS.items()
    for freeze, unfreeze_at, optimizer in itertools.product(
        range(len(groups) + 1), (0, 2), ("momentum", "adam")
    )
]  # fmt: skip


@pytest.mark.parametrize(("name", "freeze", "unfreeze_at", "optimizer"), CASES)
def test_alone_and_in_a_cohort(
    task_of: Callable[[str], wb.Task], name: str, freeze: int, unfreeze_at: int, optimizer: str
) -> None:
    """The others of the cohort have another seed, rate, factor and penalty; one leaves before the layers are opened."""
    task = task_of(name)
    config = BASE.replace(model=name, freeze=freeze, unfreeze_at=unfreeze_at, optimizer=optimizer, seed=3)
    config = config.replace(learning_rate_factor=0.3, l2=0.01)
    plain, _ = by_hand(name, task, config)
    alone, _ = trained(task, {1: config})
    assert_same(alone[1], plain)
    others = {
        2: config.replace(seed=4, epochs=1),
        3: config.replace(seed=5, learning_rate=0.05, learning_rate_factor=0.01, optimizer="adam", l2=0.0),
    }
    together, _ = trained(task, {1: config, **others})
    assert_same(together[1], plain)
    assert_same(together[3], by_hand(name, task, others[3])[0])


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
@pytest.mark.parametrize("name", ["perceptron", "residual"])
def test_schedules_decay_and_clipping_know_the_groups(
    task_of: Callable[[str], wb.Task], name: str, optimizer: str
) -> None:
    config = BASE.replace(model=name, freeze=1, unfreeze_at=1, learning_rate_factor=0.05, optimizer=optimizer, l1=1e-3)
    config = config.replace(weight_decay=0.5, schedule="one_cycle", gradient_clip=0.3)
    task = task_of(name)
    plain, _ = by_hand(name, task, config)
    assert_same(trained(task, {1: config})[0][1], plain)
    assert_same(trained(task, {1: config, 2: config.replace(seed=9)})[0][1], plain)


def test_an_optimizer_whose_step_is_not_proportional_takes_its_share_of_it(flowers: wb.Task) -> None:
    """Of sign descent, whose steps have a length of their own whatever the rate."""

    class Sign(torch.optim.Optimizer):
        def __init__(self, params: Any, lr: float) -> None:
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    p -= 0.01 * p.grad.sign()

    wb.register_optimizer("sign", lambda: (Sign, {}))
    try:
        config = BASE.replace(model="perceptron", freeze=0, learning_rate_factor=0.25, optimizer="sign", epochs=1)
        before = build_model(flowers, config).double()
        cohort = Cohort(flowers, {1: config}, torch.device("cpu"), torch.float64)
        x, y, _ = next(iter(cohort.batches()))
        cohort.step(x, y)
        after = Blueprint.of(flowers, config).module_of(cohort.weights(0))
    finally:
        OPTIMIZERS.unregister("sign")
    moved = {key: (value - dict(after.named_parameters())[key]).abs().max() for key, value in before.named_parameters()}
    for key, share in {"body.1.weight": 0.25, "body.4.weight": 0.5, "head.weight": 1.0}.items():
        assert float(moved[key].detach()) == pytest.approx(0.01 * share, rel=1e-9)


# --- what is frozen ---------------------------------------------------------------------------------------------------


def frozen_state(name: str, module: nn.Module, freeze: int) -> dict[str, Tensor]:
    assert isinstance(module, Pretrained)
    parts = tuple(f"{part}." for group in GROUPS[name][1][:freeze] for part in group)
    return {key: value for key, value in module.body.state_dict().items() if key.startswith(parts)}


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("name", GROUPS)
def test_frozen_layers_keep_every_bit(task_of: Callable[[str], wb.Task], name: str, others: int) -> None:
    """Weights and the statistics of batch normalisation."""
    task, before = task_of(name), GROUPS[name][0]().state_dict()
    for freeze in range(1, len(GROUPS[name][1]) + 1):
        config = BASE.replace(model=name, freeze=freeze, epochs=2, optimizer="sgd", learning_rate=0.3)
        _, training = trained(task, {1 + i: config.replace(seed=i) for i in range(1 + others)})
        found = frozen_state(name, training.module(1), freeze)
        assert found, "there is something to compare"
        assert all(torch.equal(value, before[key].to(value.dtype)) for key, value in found.items())


def test_opened_layers_move(flowers: wb.Task) -> None:
    config = BASE.replace(model="perceptron", freeze=2, unfreeze_at=1, epochs=2, learning_rate_factor=1.0)
    album = Album()
    trained(flowers, {1: config}, keeper=album)
    before = GROUPS["perceptron"][0]().state_dict()
    module = filled(build_model(flowers, config), album.states[2].row(1).weights)
    found = frozen_state("perceptron", module, 2)
    moved = [not torch.equal(value, before[key].to(value.dtype)) for key, value in found.items()]
    assert all(moved)
    assert len(moved) == 12


def test_only_what_trains_has_a_row(flowers: wb.Task) -> None:
    """Of K heads, K vectors of a head's size; and the cohort's forward pass is the stacked one."""
    config = BASE.replace(model="perceptron", freeze=2)
    cohort = Cohort(flowers, {i: config.replace(seed=i) for i in range(5)}, torch.device("cpu"))
    assert cohort.theta.shape == (5, 8 * 3 + 3)
    assert cohort.buffers == {}
    assert cohort.rebuilt.known
    assert cohort.x.shape == (len(flowers.train.x), 8)
    half = Cohort(flowers, {i: config.replace(seed=i, freeze=1) for i in range(2)}, torch.device("cpu"))
    assert half.rebuilt.known
    assert half.theta.shape == (2, 8 * 8 + 16 + 27)


def test_features_are_those_of_the_network_and_computed_once(flowers: wb.Task) -> None:
    """By the first of three cohorts in a row; a look at their size takes two rows more."""

    class Counting(nn.Identity):
        rows = 0

        def forward(self, x: Tensor) -> Tensor:
            Counting.rows += len(x)
            return x

    register_backbone("counting", lambda: nn.Sequential(Counting(), *GROUPS["perceptron"][0]()))
    try:
        config = BASE.replace(model="counting", freeze=2, epochs=1)
        prepared = prepare(flowers, config)
        Counting.rows = 0
        sizes = [prepared.replace(batch_size=size) for size in (16, 16, 32, 64)]
        trials = {index: one.replace(seed=index) for index, one in enumerate(sizes)}
        training = Training(flowers, trials)
        for _ in training.moments():
            pass
        assert Counting.rows == len(flowers.train.x) + len(flowers.validation.x) + 2
        assert training._features == []
        network = GROUPS["perceptron"][0]().eval()
        cohort = Cohort(flowers, {1: config}, torch.device("cpu"))
        with torch.no_grad():
            torch.testing.assert_close(cohort.x, network[:-1](flowers.train.x))  # type: ignore[index]
            torch.testing.assert_close(cohort.x_val, network[:-1](flowers.validation.x))  # type: ignore[index]
        cohort.keep([])
        assert len(cohort.x) == 0, "an ended cohort holds no features"
    finally:
        MODELS.unregister("counting")


@pytest.mark.parametrize("others", [0, 3])
@pytest.mark.parametrize(("name", "freeze"), [("perceptron", 1), ("convolutions", 2), ("residual", 3)])
def test_features_that_do_not_fit_into_memory_are_computed_for_each_batch(
    task_of: Callable[[str], wb.Task], monkeypatch: pytest.MonkeyPatch, name: str, freeze: int, others: int
) -> None:
    config = BASE.replace(model=name, freeze=freeze, unfreeze_at=3)
    trials = {1 + index: config.replace(seed=index) for index in range(1 + others)}
    cached, _ = trained(task_of(name), trials)
    monkeypatch.setattr(stages, "FEATURES_SHARE", 0.0)
    cohort = Cohort(task_of(name), trials, torch.device("cpu"))
    assert cohort.inputs.features is None
    assert cohort.inputs.stem is not None
    for trial, rows in trained(task_of(name), trials)[0].items():
        for one, other in zip(rows, cached[trial], strict=True):
            for value in ("train_loss", "val_loss", "grad_norm"):
                assert math.isclose(getattr(one, value), getattr(other, value), rel_tol=TOLERANCE), (one, other)


# --- going on with a state --------------------------------------------------------------------------------------------


class Album:
    """A keeper that keeps every state."""

    def __init__(self) -> None:
        self.states: dict[int, CohortState] = {}

    def begin(self, series: int) -> None: ...

    def wants(self, last: bool) -> bool:
        return True

    def take(self, state: CohortState) -> None:
        self.states[state.epoch] = CohortState.of({**state.content()})


def told(training: Training) -> list[Event]:
    return [event for moment in training.moments() for event in moment]


def numbers(events: list[Event]) -> list[tuple[Any, ...]]:
    return [
        (e.trial, e.epoch, e.step, e.train_loss, e.val_loss, e.grad_norm, e.penalty)
        for e in events
        if isinstance(e, EpochEnd)
    ]


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize(("name", "freeze"), [("perceptron", 2), ("convolutions", 1), ("residual", 2)])
def test_taken_up_before_at_and_after_the_opening(
    task_of: Callable[[str], wb.Task], name: str, freeze: int, others: int
) -> None:
    """To the last bit, from any state, however much later the log ends; the opening is told once."""
    task = task_of(name)
    config = BASE.replace(model=name, freeze=freeze, unfreeze_at=2, learning_rate_factor=0.2, patience=3, l2=1e-3)
    trials = {n: prepare(task, config.replace(seed=n, learning_rate=0.01 * n)) for n in range(1, 2 + others)}
    album = Album()
    whole = Training(task, trials, keeper=album)
    events = told(whole)
    remarks = [event for event in events if isinstance(event, Message)]
    assert [event.trial for event in remarks] == list(trials)
    sizes = build_model(task, config).sizes  # type: ignore[operator]
    assert [album.states[epoch].theta.shape[1] for epoch in range(1, 5)] == [sizes[0], sizes[0], sizes[1], sizes[1]]
    for at in range(1, 5):
        for until in range(at, 5):
            ends = {e.trial: e for e in events if isinstance(e, TrialEnded) and e.epochs_run <= until}
            seen = {trial: LoggedTrial(until, (), ends.get(trial)) for trial in trials}
            one = ResumedCohort(trials, album.states[at], until, {}, seen)
            again = Training(task, {}, resumed=[one])
            rest = told(again)
            assert numbers(rest) == [row for row in numbers(events) if row[1] > until], (at, until)
            assert [e.trial for e in rest if isinstance(e, Message)] == (list(trials) if until < 2 else [])
            for trial in trials:
                if trial not in ends:
                    assert torch.equal(again.weights[trial].vector, whole.weights[trial].vector)


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_branch_begins_in_the_stage_of_its_epoch(flowers: wb.Task, epoch: int) -> None:
    config = prepare(flowers, BASE.replace(model="perceptron", freeze=2, unfreeze_at=2, optimizer="momentum"))
    album = Album()
    events = told(Training(flowers, {1: config}, keeper=album))
    origin = album.states[epoch].row(1)
    branch = told(Training(flowers, {2: config}, origins={2: lambda: origin}))
    assert [row[1:] for row in numbers(branch)] == [row[1:] for row in numbers(events) if row[1] > epoch]
    changed = config.replace(learning_rate=0.3, epochs=6)
    both = told(
        Training(flowers, {2: changed, 3: changed.replace(seed=8)}, origins=dict.fromkeys([2, 3], lambda: origin))
    )
    assert {row[0] for row in numbers(both) if row[1] == 6} == {2, 3}


def test_a_live_change_and_a_script_work_in_both_stages(flowers: wb.Task) -> None:
    config = prepare(flowers, BASE.replace(model="perceptron", freeze=1, unfreeze_at=2, optimizer="sgd"))
    steps = Cohort(flowers, {1: config}, torch.device("cpu")).steps_per_epoch
    changes = {1: [Change(steps, "learning_rate", 0.5), Change(3 * steps, "learning_rate", 0.001)]}
    rows = [e for e in told(Training(flowers, {1: config}, changes=changes)) if isinstance(e, EpochEnd)]
    assert [row.learning_rate for row in rows] == [0.02, 0.5, 0.5, 0.001]


def test_nobody_joins_a_cohort_that_will_be_opened(flowers: wb.Task) -> None:
    class Supply:
        """Sends trials only when asked for a whole cohort; a cohort under way must not ask."""

        def __init__(self, configs: list[dict[int, wb.Config]]) -> None:
            self.configs, self.asked = configs, 0

        def next(self) -> dict[int, wb.Config]:
            return self.configs.pop(0) if self.configs else {}

        def refill(self, training: int) -> dict[int, wb.Config]:
            self.asked += 1
            return {}

        def shrink(self, size: int) -> None: ...
        def prune(self, epochs: Any) -> dict[int, str]:
            return {}

    config = prepare(flowers, BASE.replace(model="perceptron", freeze=2, unfreeze_at=1, epochs=3))
    for opened, asked in ((1, 0), (0, 4)):
        supply = Supply([{1: config.replace(unfreeze_at=opened)}, {2: config.replace(unfreeze_at=opened, seed=4)}])
        events = told(Training(flowers, {}, supply=supply))
        assert [e.state for e in events if isinstance(e, TrialEnded)] == [TrialState.COMPLETED] * 2
        assert supply.asked == asked


def test_a_state_of_either_stage_makes_the_network_of_its_epoch(pictures: wb.Task) -> None:
    """Its outputs are those that were measured on the validation rows, for the last and for the best weights."""
    config = prepare(pictures, BASE.replace(model="residual", freeze=2, unfreeze_at=2))
    album = Album()
    events = told(Training(pictures, {1: config}, keeper=album))
    losses = {e.epoch: e.val_loss for e in events if isinstance(e, EpochEnd)}
    for epoch, loss in losses.items():
        row = album.states[epoch].row(1)
        for weights, value in ((row.weights, loss), (row.best, min(list(losses.values())[:epoch]))):
            assert weights is not None
            module = filled(build_model(pictures, config), weights)
            with torch.no_grad():
                found = nn.functional.cross_entropy(module(pictures.validation.x), pictures.validation.y)
            assert float(found) == pytest.approx(value, rel=1e-5)


def test_weights_of_another_network_are_refused(flowers: wb.Task) -> None:
    config = BASE.replace(model="perceptron", freeze=1)
    weights = Cohort(flowers, {1: config.replace(freeze=2)}, torch.device("cpu")).weights(0)
    with pytest.raises(wb.ModelError, match="parameters now and had 27 when it was trained"):
        check_fits(build_model(flowers, config), weights)


def test_rows_may_differ_in_the_factor_and_not_in_what_is_frozen() -> None:
    config = BASE.replace(model="residual")
    assert cohort_key(config) == cohort_key(config.replace(learning_rate_factor=0.5, learning_rate=1.0, seed=4))
    assert len({cohort_key(config.replace(freeze=k, unfreeze_at=e)) for k in (0, 1, 2, 3) for e in (0, 4)}) == 8
    assert isinstance(MODELS["residual"].value, Backbone)
    assert copy.deepcopy(MODELS["residual"].value) is MODELS["residual"].value


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(flowers: wb.Task) -> None:
    config = prepare(flowers, BASE.replace(model="perceptron", freeze=2, unfreeze_at=2))
    trials = {1: config, 2: config.replace(seed=3)}
    here, there = (told(Training(flowers, trials, device=device)) for device in ("cpu", "cuda"))
    for one, other in zip(numbers(here), numbers(there), strict=True):
        assert one[4] == pytest.approx(other[4], rel=1e-3)
