"""What a forward pass changes besides its outputs, and whether the model handed out is the one that was measured."""

from __future__ import annotations

import copy
import warnings
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import workbench as wb
from workbench.core.events import Message, Mismatch
from workbench.models import build_model, observe

RATE = 0.05


def config() -> wb.Config:
    """Of the model "own", which has to be registered before."""
    return wb.Config(model="own", batch_size=16, epochs=3, optimizer="sgd", learning_rate=RATE)


class Own(nn.Module):
    """A linear layer on top of what a subclass makes of the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(self.prepared(x))
        return out

    def prepared(self, x: Tensor) -> Tensor:
        return x


class Assigned(Own):
    """Batch normalisation as a textbook writes it: the running statistics are assigned."""

    def __init__(self, persistent: bool = True) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(6), persistent=persistent)
        self.register_buffer("var", torch.ones(6), persistent=persistent)

    def prepared(self, x: Tensor) -> Tensor:
        mean, var = (x.mean(0), x.var(0, unbiased=False)) if self.training else (self.mean, self.var)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * mean.detach()
            self.var = 0.9 * self.var + 0.1 * x.var(0).detach()
        return (x - mean) / torch.sqrt(var + 1e-5)


class Library(Own):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6, affine=False)

    def prepared(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x)
        return out


class Widening(Own):
    """A buffer that becomes float64 with the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))

    def prepared(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean.double() + 0.1 * x.double().mean(0)
        return x - self.mean.to(x)


class Bounded(Own):
    """Rows of the weight of length 1 at most, by new data for the parameter."""

    def prepared(self, x: Tensor) -> Tensor:
        if self.training:
            self.layer.weight.data = torch.renorm(self.layer.weight.data, 2, 0, 0.5)
        return x


class Counting(Own):
    count = 0

    def prepared(self, x: Tensor) -> Tensor:
        self.count += self.training
        return x * (1 + 0.2 * self.count)


class Remembering(Own):
    """Keeps the means of the last batches in a list that it never registered."""

    def __init__(self) -> None:
        super().__init__()
        self.means: deque[Tensor] = deque([torch.zeros(6)], maxlen=4)

    def prepared(self, x: Tensor) -> Tensor:
        if self.training:
            self.means.append(0.5 * self.means[-1] + 0.5 * x.detach().mean(0))
        return x - self.means[-1]


class Averaging(Own):
    """Predicts with a running average of its weights, hidden from itself in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.average = [copy.deepcopy(self.layer)]

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                for slow, fast in zip(self.average[0].parameters(), self.layer.parameters(), strict=True):
                    slow.lerp_(fast, 0.5)
            out: Tensor = self.layer(x)
        else:
            out = self.average[0](x)
        return out


class Registered(Own):
    """The same average, as a part that does not train."""

    def __init__(self) -> None:
        super().__init__()
        self.average = copy.deepcopy(self.layer).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            for slow, fast in zip(self.average.parameters(), self.layer.parameters(), strict=True):
                slow.data = torch.lerp(slow.data, fast.data, 0.5)
            out: Tensor = self.layer(x)
        else:
            out = self.average(x)
        return out


class Masked(Own):
    """A mask that is drawn when the module is made, and no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.mask = (torch.rand(6) > 0.4).float()

    def prepared(self, x: Tensor) -> Tensor:
        return x * self.mask


@pytest.fixture
def flowers() -> wb.Task:
    rng = np.random.default_rng(0)
    y = np.arange(150) % 3
    return wb.Task.from_arrays(rng.normal(0, 1, (150, 6)) + y[:, None] * 0.5, y, name="three classes")


def bench_of(task: wb.Task, make: Any, **options: Any) -> wb.Workbench:
    return wb.Workbench(task, models={"own": lambda task: make()}, **options)


def plain_loop(task: wb.Task, make: Any, seed: int = 0, epochs: int = 3) -> tuple[list[float], nn.Module]:
    """The validation losses of a loop without the engine, and its module."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = make()
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
    order, losses = torch.Generator().manual_seed(seed + 2**32), []
    x, y = task.train.x, task.train.y
    for _ in range(epochs):
        module.train()
        for rows in torch.split(torch.randperm(len(x), generator=order), 16):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x[rows]), y[rows]).backward()
            optimizer.step()
        module.eval()
        with torch.no_grad():
            losses.append(float(nn.functional.cross_entropy(module(task.validation.x), task.validation.y)))
    return losses, module


@pytest.mark.parametrize("make", [Assigned, Library, Widening, Bounded, Registered, Masked])
def test_the_model_measured_alone_and_together_is_that_of_a_plain_loop(flowers: wb.Task, make: Any) -> None:
    bench = bench_of(flowers, make)
    bench.start(config()).wait()
    bench.start(config(), seeds=2).wait()
    curves = bench.curves(1, 2, 3).pivot(index="epoch", columns="trial", values="val_loss")
    for trial, seed in ((1, 0), (2, 0), (3, 1)):
        losses, _ = plain_loop(flowers, make, seed)
        assert curves[trial].tolist() == pytest.approx(losses, abs=2e-6)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            outputs = bench.model(trial).outputs(flowers.validation.x)
        loss = float(nn.functional.cross_entropy(outputs, flowers.validation.y))
        assert loss == pytest.approx(min(losses), abs=2e-6)
        assert bench.log.history.mismatch(trial) == ""
    assert bench.open_test_set(3).number == 1


def test_together_where_one_module_can_serve_all(flowers: wb.Task) -> None:
    alone = {}
    for make in (Assigned, Library, Widening, Bounded, Registered, Masked, Counting, Remembering, Averaging):
        bench = bench_of(flowers, make)
        with bench.choices.active():
            events = list(wb.train(flowers, {1: config(), 2: config().replace(seed=1)}))
        messages = {event.message for event in events if isinstance(event, Message)}
        alone[make] = " ".join(sorted(text for text in messages if "one after another" in text))
    assert not alone[Assigned]
    assert not alone[Library]
    assert "dtype of mean" in alone[Widening]
    assert "layer.weight" in alone[Bounded]
    assert "average.weight" in alone[Registered]
    assert "'mask' depends on the seed" in alone[Masked]
    assert "changes count" in alone[Counting]
    assert "means" in alone[Remembering]
    assert "average" in alone[Averaging]


@pytest.mark.parametrize("make", [Counting, Remembering, Averaging])
def test_state_in_python_is_reported_and_never_opened(flowers: wb.Task, tmp_path: Path, make: Any) -> None:
    bench = bench_of(flowers, make, log=tmp_path / "trials.db")
    bench.start(config()).wait()
    bench.start(config(), seeds=2).wait()
    losses, _ = plain_loop(flowers, make)
    curves = bench.curves(1, 2).pivot(index="epoch", columns="trial", values="val_loss")
    assert curves[1].tolist() == curves[2].tolist() == pytest.approx(losses, abs=2e-6)  # the probe took no step
    messages = bench.events(1).message.tolist()
    assert any("checkpoints and the trained model do not hold" in text for text in messages)
    assert any("differ by up to" in text for text in messages)
    with pytest.warns(UserWarning, match=r"trial 1: .*is not the one that was measured"):
        bench.model(1)
    # from the checkpoint alone, in another session
    again = bench_of(flowers, make, log=tmp_path / "trials.db", checkpoints=tmp_path / "trials.db.checkpoints")
    with pytest.raises(wb.ModelError, match=r"trial 1 cannot be evaluated on the test set: .*differ by up to"):
        again.open_test_set(1)
    assert again.openings.empty


def test_a_model_that_differs_is_found_in_its_checkpoint_too(flowers: wb.Task, tmp_path: Path) -> None:
    """Without a word in the log: a module that differs only in the process that reads it."""
    scale = [1.0]

    class Scaled(Own):
        def prepared(self, x: Tensor) -> Tensor:
            return x * scale[0]

    def build(task: Any) -> nn.Module:
        return Scaled()

    bench = wb.Workbench(flowers, models={"own": build}, log=tmp_path / "trials.db")
    bench.start(config(), seeds=2).wait()
    assert bench.log.history.mismatch(1) == ""
    assert bench.model(1).mismatch == ""
    recall = bench._session.recall
    recall.at_hand = lambda trial, fold: None  # as in another process
    for epoch in (None, 1):
        assert recall.model(1, epoch).mismatch == ""
    recall.former_builder = lambda trial: None  # type: ignore[method-assign]
    recall.check_builder = lambda trial, weights=None: None  # type: ignore[method-assign]
    recall.check_code = lambda trial, weights=None: None  # type: ignore[method-assign]
    scale[0] = 3.0
    for epoch in (None, 1):
        assert "differ by up to" in recall.model(1, epoch).mismatch


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m, x: m.register_buffer("late", x.mean(0)), "creates the buffer 'late'"),
        (lambda m, x: m.register_parameter("late", nn.Parameter(x.mean(0))), "creates the parameter 'late'"),
        (lambda m, x: setattr(m, "cache", torch.cat([m.cache, x[:1]])), r"shape of the buffer 'cache' from \(0, 6\)"),
        (lambda m, x: setattr(m.layer, "bias", nn.Parameter(m.layer.bias * 1)), "replaces the parameter 'layer.bias'"),
        (lambda m, x: delattr(m, "cache"), "removes the buffer 'cache'"),
    ],
)
def test_what_no_checkpoint_could_hold_is_rejected_before_it_trains(flowers: wb.Task, change: Any, words: str) -> None:
    class Changing(Own):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("cache", torch.zeros(0, 6))

        def prepared(self, x: Tensor) -> Tensor:
            if self.training and (not hasattr(self, "late")) and hasattr(self, "cache"):
                change(self, x.detach())
            return x

    with pytest.raises(wb.ModelError, match=words):
        bench_of(flowers, Changing).start(config())


def hidden_buffers(task: Any) -> nn.Module:
    return Assigned(persistent=False)


def test_buffers_that_a_state_dict_leaves_out_are_in_the_file(flowers: wb.Task, tmp_path: Path) -> None:
    bench = wb.Workbench(flowers, models={"own": hidden_buffers})
    bench.start(config()).wait()
    bench.save(1, tmp_path / "model.wb")
    loaded = wb.load_model(tmp_path / "model.wb", models={"own": hidden_buffers})
    x = flowers.validation.x
    assert torch.equal(loaded.outputs(x), bench.model(1).outputs(x))
    assert not torch.equal(loaded.module.mean, torch.zeros(6))


def test_the_module_at_its_end_is_not_the_one_handed_out(flowers: wb.Task) -> None:
    """`run.model` builds a new module, like `bench.model`."""
    bench = bench_of(flowers, Counting)
    run = bench.start(config()).wait()
    assert run.model().count == 0


def test_results_that_are_kept_are_no_state() -> None:
    class Attending(Own):
        seen: Tensor | None = None
        ready = False

        def prepared(self, x: Tensor) -> Tensor:
            self.seen = x.softmax(-1).detach()
            return x

    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    assert observe(Attending(), x, "own").attributes == ()
    assert observe(Counting(), x, "own").attributes == ("count",)
    assert observe(Own(), x, "own").draws is False

    class Noisy(Own):
        def prepared(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(x, 0.5, self.training)

    assert observe(Noisy(), x, "own").draws is True


def test_why_a_model_differs_is_said(flowers: wb.Task) -> None:
    class Random(Own):
        def prepared(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(x, 0.5)

    class OfTheBatch(Own):
        def prepared(self, x: Tensor) -> Tensor:
            return x - x.max(0).values

    for make, words in ((Random, "other outputs each time"), (OfTheBatch, "depends on the other rows of the batch")):
        bench = bench_of(flowers, make)
        with bench.choices.active():
            events = list(wb.train(flowers, {1: config()}))
        (mismatch,) = [event for event in events if isinstance(event, Mismatch)]
        assert words in mismatch.message


def test_the_built_in_models_agree(flowers: wb.Task) -> None:
    normal = wb.Config(batch_norm=True, dropout=0.2, hidden_units=8, batch_size=16, epochs=3)
    trials = {seed: normal.replace(seed=seed) for seed in range(1, 5)}
    assert not [event for event in wb.train(flowers, trials) if isinstance(event, Mismatch)]
    assert not [event for event in wb.train(flowers, {1: normal}, dtype=torch.float64) if isinstance(event, Mismatch)]


def test_a_built_model_is_not_probed_twice(flowers: wb.Task) -> None:
    """The module of `build_model` starts at its first step, whatever was tried out before."""
    bench = bench_of(flowers, Counting)
    with bench.choices.active():
        assert build_model(flowers, config()).count == 0
