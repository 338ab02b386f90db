"""Modules that return more than a tensor, and layers that are initialised by the first batch."""

from __future__ import annotations

import copy
from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import workbench as wb
from workbench.core.registry import MODELS
from workbench.models import Facts, build_model

Pair = namedtuple("Pair", ["scores", "hidden"])
RETURNS: dict[str, Any] = {
    "tuple": lambda y, h: (h, y),
    "nested": lambda y, h: (h, [{"deep": y}]),
    "mapping": lambda y, h: {"scores": y, "hidden": h},
    "logits": lambda y, h: {"logits": y, "other": 2 * y},
    "record": lambda y, h: SimpleNamespace(logits=y, other=2 * y, hidden=h),
    "named tuple": lambda y, h: Pair(y, h),
}


class Several(nn.Module):
    """Returns what `form` makes of its output and its hidden units."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        self.first, self.last, self.form = nn.Linear(6, 5), nn.Linear(5, 3), form

    def forward(self, x: Tensor) -> Any:
        hidden = torch.tanh(self.first(x))
        return self.form(self.last(hidden), hidden)


@pytest.fixture
def flowers() -> wb.Task:
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    return wb.Task.from_arrays(rng.normal(0, 1, (90, 6)) + y[:, None] * 0.5, y, name="three classes")


def plain(y: Tensor, h: Tensor) -> Tensor:
    return y


@pytest.mark.parametrize("form", RETURNS)
def test_the_output_is_found_wherever_the_model_is_called(flowers: wb.Task, form: str) -> None:
    models = {"several": lambda task: Several(RETURNS[form]), "plain": lambda task: Several(plain)}
    bench = wb.Workbench(flowers, models=models)
    config = wb.Config(model="several", batch_size=16, epochs=2)
    bench.start(config, seeds=2).wait()
    bench.start(config.replace(model="plain"), seeds=2).wait()
    curves = bench.curves(1, 2, 3, 4).set_index(["trial", "epoch"])
    for one, other in ((1, 3), (2, 4)):
        for name in ("train_loss", "val_loss", "val_metric"):
            assert curves.loc[one, name].tolist() == curves.loc[other, name].tolist()
    X = np.random.default_rng(1).normal(0, 1, (5, 6))
    assert bench.predict(1, X).tolist() == bench.predict(3, X).tolist()
    assert torch.equal(bench.model(1)(torch.ones(2, 6)), bench.model(3)(torch.ones(2, 6)))
    assert len(bench.layers(1).frame)


def test_an_output_that_cannot_be_told_apart_is_named(flowers: wb.Task) -> None:
    def two(task: Any) -> nn.Module:
        return Several(lambda y, h: {"one": y, "two": 2 * y, "hidden": h})

    bench = wb.Workbench(
        flowers, models={"two": two, "second": wb.Output(two, "two"), "wrong": wb.Output(two, "three")}
    )
    with pytest.raises(wb.ModelError, match=r"'one' \(2, 3\), 'two' \(2, 3\), 'hidden' \(2, 5\).*wb.Output\(build"):
        bench.start(wb.Config(model="two", epochs=1))
    with pytest.raises(wb.ModelError, match=r"output='three' names no tensor.*'one' \(2, 3\)"):
        bench.start(wb.Config(model="wrong", epochs=1))
    bench.start(wb.Config(model="second", epochs=1, batch_size=16)).wait()
    module = bench.model(1).module
    hook = next(iter(module._forward_hooks.values()))
    x = torch.ones(2, 6)
    assert torch.equal(module(x), 2 * module.last(torch.tanh(module.first(x))))
    assert hook.name == "two"


def test_a_position_in_a_tuple_by_register_model(flowers: wb.Task) -> None:
    wb.register_model("by_position", lambda task: Several(lambda y, h: (2 * y, y)), output=1)
    try:
        module = build_model(flowers, wb.Config(model="by_position"))
        assert torch.equal(module(torch.ones(1, 6)), module.last(torch.tanh(module.first(torch.ones(1, 6)))))
    finally:
        wb.core.registry.MODELS.unregister("by_position")
    for bad in (True, 1.5, None):
        with pytest.raises(wb.ConfigError, match="must be a key or attribute"):
            wb.Output(lambda task: None, bad)  # type: ignore[arg-type]


def test_a_model_whose_output_is_named_otherwise_is_another_model(flowers: wb.Task) -> None:
    def two(task: Any) -> nn.Module:
        return Several(lambda y, h: (y, 2 * y))

    identities = set()
    for place in (0, 1):
        bench = wb.Workbench(flowers, models={"two": wb.Output(two, place)})
        bench.start(wb.Config(model="two", epochs=1, batch_size=16)).wait()
        identities.add(bench.log.record(1).builder)
    assert len(identities) == 2
    assert None not in identities


def test_nothing_of_the_right_shape(flowers: wb.Task) -> None:
    bench = wb.Workbench(flowers, models={"none": lambda task: Several(lambda y, h: {"hidden": h, "text": "?"})})
    with pytest.raises(wb.ModelError, match=r"'hidden' \(2, 5\), 'text' \(str\): 0 of these"):
        bench.start(wb.Config(model="none", epochs=1))


def lazy(normalised: bool = False) -> nn.Module:
    layers = [nn.Flatten(), nn.LazyLinear(7), nn.Tanh(), nn.LazyLinear(3)]
    if normalised:
        layers.insert(2, nn.LazyBatchNorm1d())
    return nn.Sequential(*layers)


class LazyConvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LazyConv1d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x[:, None])
        return out


@pytest.mark.parametrize("make", [lazy, lambda: lazy(normalised=True), LazyConvolution])
def test_lazy_layers_are_those_of_a_plain_loop(flowers: wb.Task, make: Any) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        module = make().eval()
        module(torch.zeros(2, 6))
    bench = wb.Workbench(flowers, models={"lazy": lambda task: make()})
    mine = build_model(flowers, wb.Config(seed=5), lambda task: make())
    ours = mine.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in module.state_dict().items())
    config = wb.Config(model="lazy", batch_size=16, epochs=2, optimizer="sgd", seed=5)
    bench.start(config).wait()
    bench.start(config).wait()
    bench.start(config, seeds=2).wait()
    losses = bench.curves(1, 2, 3).pivot(index="epoch", columns="trial", values="val_loss")
    assert losses[1].tolist() == losses[2].tolist() == pytest.approx(losses[3].tolist(), abs=1e-5)
    optimizer = torch.optim.SGD(module.train().parameters(), lr=config.learning_rate)
    order = torch.Generator().manual_seed(5 + 2**32)
    for epoch in (1, 2):
        x, y = flowers.train.x, flowers.train.y
        for rows in torch.split(torch.randperm(len(x), generator=order), 16):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x[rows]), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            loss = nn.functional.cross_entropy(module.eval()(flowers.validation.x), flowers.validation.y)
        module.train()
        assert losses.loc[epoch, 1] == pytest.approx(float(loss), abs=1e-5)


def test_a_lazy_layer_that_no_batch_reaches(flowers: wb.Task) -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.unused = nn.Linear(6, 3), nn.LazyLinear(3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.layer(x)
            return out

    bench = wb.Workbench(flowers, models={"unused": lambda task: Unused()})
    with pytest.raises(wb.ModelError, match=r"lazy parameter 'unused.weight'"):
        bench.start(wb.Config(model="unused"))


def test_a_trial_of_such_a_model_can_be_fine_tuned(flowers: wb.Task) -> None:
    """Without its head it returns features, whose number is not the task's."""
    bench = wb.Workbench(flowers, models={"several": lambda task: Several(lambda y, h: {"scores": y, "rows": len(y)})})
    bench.start(wb.Config(model="several", batch_size=16, epochs=1)).wait()
    bench.finetune(1, freeze=None, seeds=2).wait()
    assert bench.trials.state.tolist() == ["completed"] * 3
    assert bench.model(3).outputs(flowers.validation.x).shape == (len(flowers.validation), 3)


class Keeps(nn.Module):
    """Keeps its task, and asks it for the shape of its outputs."""

    def __init__(self, task: Any) -> None:
        super().__init__()
        self.task, self.layer = task, nn.Linear(3, task.output_shape[0])

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layer(x)
        return outputs


@pytest.mark.parametrize(("loss", "size"), [("mse", 2), ("gaussian", 4)])
def test_a_task_with_more_outputs_for_a_loss_can_be_copied_and_gives_their_shape(loss: str, size: int) -> None:
    X = np.random.default_rng(0).normal(size=(60, 3))
    task = wb.Task.from_arrays(X, X[:, :2] + 1)
    wb.register_model("keeps_task", lambda task: Keeps(task))
    try:
        module = build_model(task, wb.Config(model="keeps_task", loss=loss))
        twin = copy.deepcopy(module)
        assert twin.task.output_shape == (size,)
        assert twin.task.output_size == size
        assert twin.task.name == task.name
        assert module(torch.zeros(5, 3)).shape == (5, size)
        facts = Facts.of(task)
        assert (facts.output_shape, facts.is_image) == (task.output_shape, task.is_image)
    finally:
        MODELS.unregister("keeps_task")
