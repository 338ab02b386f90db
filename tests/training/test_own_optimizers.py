"""Optimizers of the user's own: they step as in a loop of torch alone, or are rejected when they are registered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import workbench as wb
from workbench.core.events import EpochEnd, Message
from workbench.core.registry import MODELS, OPTIMIZERS
from workbench.models import build_model
from workbench.training import CohortState, prepare
from workbench.training.cohort import Cohort
from workbench.training.optimizers import rule_of

CPU = torch.device("cpu")


class Lamb(torch.optim.Optimizer):
    """LAMB (You et al. 2020): the step of Adam, rescaled to the length of each tensor. Counts its steps in the group."""

    def __init__(self, params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-6) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            group["step"] = time = group.get("step", 0) + 1
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["m"], state["v"] = torch.zeros_like(p), torch.zeros_like(p)
                for name, value, beta in zip("mv", (p.grad, p.grad**2), group["betas"], strict=True):
                    state[name].mul_(beta).add_(value, alpha=1 - beta)
                mean, square = (state[n] / (1 - b**time) for n, b in zip("mv", group["betas"], strict=True))
                update = mean / (square.sqrt() + group["eps"])
                p.sub_(group["lr"] * (p.norm() / update.norm() if p.norm() > 0 else 1.0) * update)


class Lars(torch.optim.Optimizer):
    """LARS without momentum (You et al. 2017)."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.norm() / (p.grad.norm() + 1e-9) * p.grad)


class Hidden(torch.optim.SGD):
    """Keeps its number of steps on the object, where no checkpoint looks."""

    steps = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.steps += 1
        self.param_groups[0]["lr"] /= self.steps
        super().step()


def perceptron(task: Any, bias: bool = True) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8, bias=bias), nn.Tanh(), nn.Linear(8, 3, bias=bias))


@pytest.fixture
def register() -> Any:
    names: list[str] = []

    def add(name: str, rule: Callable[..., Any]) -> None:
        names.append(name)
        wb.register_optimizer(name, rule)

    wb.register_model("perceptron_of_optimizers", perceptron)
    wb.register_model("matrices_of_optimizers", lambda task: perceptron(task, bias=False))
    yield add
    for name in names:
        OPTIMIZERS.unregister(name)
    for name in ("perceptron_of_optimizers", "matrices_of_optimizers"):
        MODELS.unregister(name)


@pytest.fixture
def flowers() -> wb.Task:
    rng = np.random.default_rng(0)
    y = np.arange(150) % 3
    return wb.Task.from_arrays(rng.normal(0, 1, (150, 6)) + y[:, None] * 0.5, y, name="three classes")


def plain_losses(task: wb.Task, config: wb.Config, make: Callable[[Any], torch.optim.Optimizer]) -> list[float]:
    """The validation losses of a loop of torch alone, in float64."""
    module = build_model(task, config).double()
    optimizer = make(module.parameters())
    order, losses = torch.Generator().manual_seed(config.seed + 2**32), []
    x, y, x_val = task.train.x.double(), task.train.y, task.validation.x.double()
    for _ in range(config.epochs):
        for rows in torch.split(torch.randperm(len(x), generator=order), config.batch_size):

            def closure(rows: Tensor = rows) -> Tensor:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(module(x[rows]), y[rows])
                loss = loss + config.l2 * sum(p.square().sum() for p in module.parameters() if p.dim() == 2)
                loss.backward()
                return loss

            if isinstance(optimizer, torch.optim.LBFGS):
                optimizer.step(closure)
            else:
                closure()
                optimizer.step()
        with torch.no_grad():
            losses.append(float(nn.functional.cross_entropy(module(x_val), task.validation.y)))
    return losses


RULES: dict[str, tuple[Any, dict[str, Any], bool]] = {
    "lamb": (Lamb, {"betas": (0.8, 0.99)}, True),
    "lars": (Lars, {}, True),
    "muon": (torch.optim.Muon, {"momentum": 0.9}, True),
    "adafactor": (torch.optim.Adafactor, {}, True),
    "adamax": (torch.optim.Adamax, {}, False),
    "rprop": (torch.optim.Rprop, {}, False),
    "adamw_foreach": (torch.optim.AdamW, {"foreach": True, "amsgrad": True}, False),
    "lbfgs": (torch.optim.LBFGS, {"max_iter": 4, "history_size": 3}, False),
    "lbfgs_wolfe": (torch.optim.LBFGS, {"max_iter": 4, "line_search_fn": "strong_wolfe"}, False),
}


@pytest.mark.parametrize("name", RULES)
def test_alone_and_together_it_steps_as_in_a_loop_of_torch(flowers: wb.Task, register: Any, name: str) -> None:
    make, options, by_tensor = RULES[name]
    register(name, lambda: (make, options))
    model = "matrices_of_optimizers" if name == "muon" else "perceptron_of_optimizers"
    # of small batches, a quasi-Newton step without a line search makes any rounding grow
    batch = 90 if name == "lbfgs" else 16
    config = wb.Config(model=model, optimizer=name, learning_rate=0.02, batch_size=batch, epochs=2, l2=1e-3)
    config = prepare(flowers, config)
    assert rule_of(config).by_tensor is by_tensor
    trials = {1: config, 2: config.replace(seed=1, learning_rate=0.05), 3: config.replace(seed=2)}
    together = list(wb.train(flowers, trials, dtype=torch.float64))
    assert any(isinstance(event, Message) for event in together) is ("lbfgs" in name)
    for trial, own in trials.items():
        rate = own.learning_rate
        plain = plain_losses(flowers, own, lambda parameters, rate=rate: make(parameters, lr=rate, **options))
        losses = [event.val_loss for event in together if isinstance(event, EpochEnd) and event.trial == trial]
        assert losses == pytest.approx(plain, rel=1e-10)
        if trial == 2:
            alone = list(wb.train(flowers, {trial: own}, dtype=torch.float64))
            assert [e.val_loss for e in alone if isinstance(e, EpochEnd)] == pytest.approx(plain, rel=1e-10)


@pytest.mark.parametrize("name", ["lamb", "muon", "adafactor", "lbfgs"])
def test_it_continues_from_a_checkpoint_to_the_last_bit(flowers: wb.Task, register: Any, name: str) -> None:
    make, options, _ = RULES[name]
    register(name, lambda: (make, options))
    model = "matrices_of_optimizers" if name == "muon" else "perceptron_of_optimizers"
    config = wb.Config(model=model, optimizer=name, loss="cross_entropy", learning_rate=0.02, batch_size=30)
    trials = {1: config} if name == "lbfgs" else {1: config, 2: config.replace(seed=1)}
    cohort = Cohort(flowers, trials, CPU, torch.float64)
    batches = list(cohort.batches())
    cohort.step(*batches[0])
    other = Cohort.restore(flowers, CohortState.of(cohort.state().content()), CPU, torch.float64)
    for batch in batches[1:]:
        cohort.step(*batch)
        other.step(*batch)
    assert torch.equal(cohort.theta, other.theta)


def test_rows_that_leave_take_their_steps_along(flowers: wb.Task, register: Any) -> None:
    """What an optimizer counts in its group stays with the row when the cohort changes."""
    register("lamb", lambda: (Lamb, {}))
    config = wb.Config(
        model="perceptron_of_optimizers", optimizer="lamb", loss="cross_entropy", learning_rate=0.05, batch_size=16
    )
    trials = {seed: config.replace(seed=seed, epochs=1 if seed == 2 else 3) for seed in (1, 2, 3)}
    together = [e for e in wb.train(flowers, trials, dtype=torch.float64) if isinstance(e, EpochEnd)]
    for seed, own in trials.items():
        plain = plain_losses(flowers, own, lambda parameters: Lamb(parameters, lr=0.05))
        assert [e.val_loss for e in together if e.trial == seed] == pytest.approx(plain, rel=1e-10)


def test_a_parameter_that_it_does_not_take_is_named_before_anything_trains(flowers: wb.Task, register: Any) -> None:
    register("muon", lambda: (torch.optim.Muon, {}))
    bench = wb.Workbench(flowers)
    with pytest.raises(wb.ConfigError, match=r"optimizer='muon'.*'perceptron_of_optimizers'.*only supports 2D"):
        bench.start(wb.Config(model="perceptron_of_optimizers", optimizer="muon"))
    assert bench.trials.empty


def raises(*_: Any, **__: Any) -> Any:
    raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (lambda: (torch.optim.SparseAdam, {}), "does not support dense gradients"),
        (lambda: (Hidden, {}), "its steps differ once its state is read into a new object"),
        (lambda: (torch.optim.SGD, {"speed": 3}), "unexpected keyword argument 'speed'"),
        (lambda: (torch.optim.SGD, {"lr": 3}), "multiple values for keyword argument 'lr'"),
        (lambda: torch.optim.SGD, "must return"),
        (lambda: None, "must return"),
        (lambda: (raises, {}), "not today"),
        (raises, "not today"),
    ],
)
def test_what_cannot_be_used_is_rejected_when_it_is_registered(rule: Any, words: str) -> None:
    wb.register_optimizer("mine_of_optimizers", lambda: (torch.optim.SGD, {"momentum": 0.5}))
    try:
        with pytest.raises(wb.ConfigError, match=words):
            wb.register_optimizer("mine_of_optimizers", rule)
        assert rule_of(wb.Config(optimizer="mine_of_optimizers")).options == {"momentum": 0.5}  # the former one stays
    finally:
        OPTIMIZERS.unregister("mine_of_optimizers")


def test_hyperparameters_of_its_own_are_tried_at_their_defaults() -> None:
    seen: list[Any] = []

    def rule(*, momentum: float, haste: float = wb.Range(0.0, 0.9, default=0.3)) -> Any:  # type: ignore[assignment]
        seen.append((momentum, haste))
        return torch.optim.SGD, {"momentum": haste}

    wb.register_optimizer("hasty_of_optimizers", rule)
    OPTIMIZERS.unregister("hasty_of_optimizers")
    assert seen == [(0.9, 0.3)]


def test_an_optimizer_that_looks_at_shapes_and_learning_rates_by_layer(flowers: wb.Task, register: Any) -> None:
    """A row with shares of the learning rate is scaled after its step, with whole tensors as with one vector."""
    register("lars", lambda: (Lars, {}))
    config = wb.Config(
        model="perceptron_of_optimizers", optimizer="lars", loss="cross_entropy", learning_rate=0.1, batch_size=90
    )
    cohort = Cohort(flowers, {1: config}, CPU, torch.float64)
    before = cohort.theta.clone()
    x, y, _ = next(iter(cohort.batches()))
    cohort.step(x, y)
    whole = cohort.theta - before
    again = Cohort(flowers, {1: config}, CPU, torch.float64)
    for shard in again.shards:
        shard.bind([again.rows[0].rule], [0], [None], torch.full_like(again.theta, 0.25))
    again.step(*next(iter(again.batches())))
    assert torch.allclose(again.theta - before, 0.25 * whole, rtol=1e-12)
