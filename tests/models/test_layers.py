"""Layers read off a copy: against plain PyTorch, with planted dead units and zeros, and nothing changed in what is looked at."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import workbench as wb
from workbench.models.layers import LayerFacts, inspect_layers


def named(facts: list[LayerFacts]) -> dict[str, LayerFacts]:
    return {one.name: one for one in facts}


@pytest.fixture
def rows() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 1, 6, 6, generator=generator), torch.randint(0, 3, (40,), generator=generator)


def network(**options: Any) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(**options), nn.Flatten(), nn.Linear(64, 10), nn.Tanh(),
        nn.Dropout(0.5), nn.Linear(10, 3),
    )  # fmt: skip


def test_outputs_are_those_of_evaluation_mode_layer_by_layer(rows: tuple[Tensor, Tensor]) -> None:
    module = network().train()
    module(rows[0])  # running statistics of its own
    facts = inspect_layers(module, rows[0])
    plain, x = copy.deepcopy(module).eval(), rows[0]
    assert [one.kind for one in facts] == [type(part).__name__ for part in plain]
    assert [one.role for one in facts] == [
        "conv", "norm", "activation", "other", "linear", "activation", "other", "linear",
    ]  # fmt: skip
    for one, part in zip(facts, plain, strict=True):
        x = part(x).detach()
        expected = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]) if x.dim() == 4 else x
        torch.testing.assert_close(one.outputs, expected)
        assert one.parameters == sum(own.numel() for own in part.parameters())
        assert math.isnan(one.gradient)
    torch.testing.assert_close(facts[0].weight, plain[0].weight.detach().flatten())
    assert facts[4].weight_norm == pytest.approx(float(plain[4].weight.detach().norm()))
    assert facts[1].weight is None
    assert math.isnan(facts[1].weight_norm)


@pytest.mark.parametrize("mean", [True, False])
def test_gradients_are_those_of_a_training_step(rows: tuple[Tensor, Tensor], mean: bool) -> None:
    x, y = rows
    module = network()
    module[6] = nn.Identity()  # a dropout's mask is not known to the plain step
    facts = inspect_layers(module, x, y, lambda out, t: F.cross_entropy(out, t, reduction="mean" if mean else "none"))
    plain = copy.deepcopy(module).train()
    F.cross_entropy(plain(x), y).backward()
    for one in facts:
        if one.weight is None:
            assert math.isnan(one.gradient)
        else:
            assert one.gradient == pytest.approx(float(plain[int(one.name)].weight.grad.norm()), rel=1e-5)


def test_what_is_looked_at_is_not_changed(rows: tuple[Tensor, Tensor]) -> None:
    module = network(inplace=True)
    module.train()
    F.cross_entropy(module(rows[0]), rows[1]).backward()
    module[4].weight.requires_grad_(False)
    called: list[str] = []
    module[7].register_forward_hook(lambda *_: called.append("own"))
    state = copy.deepcopy(module.state_dict())
    gradients = {name: None if p.grad is None else p.grad.clone() for name, p in module.named_parameters()}
    hooks = [(len(part._forward_hooks), len(part._forward_pre_hooks)) for part in module.modules()]
    given, random = rows[0].clone(), torch.get_rng_state()
    first = inspect_layers(module, rows[0], rows[1], F.cross_entropy)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(rows[0], given)
    assert module.training
    assert all(part.training for part in module.modules())
    assert not module[4].weight.requires_grad
    for name, value in module.state_dict().items():
        assert torch.equal(value, state[name]), name
    for name, parameter in module.named_parameters():
        assert parameter.grad is None or torch.equal(parameter.grad, gradients[name]), name
    assert hooks == [(len(part._forward_hooks), len(part._forward_pre_hooks)) for part in module.modules()]
    # dropout is drawn from a generator of its own, so a second look sees the same
    second = inspect_layers(module, rows[0], rows[1], F.cross_entropy)
    assert [one.gradient for one in first if one.weight is not None] == [
        one.gradient for one in second if one.weight is not None
    ]
    assert first[4].gradient > 0  # frozen weights have a gradient to look at, too


@pytest.mark.parametrize(
    ("activation", "shift"),
    [(nn.ReLU(), -100.0), (nn.ReLU(inplace=True), -100.0), (nn.Tanh(), 8.0), (nn.Sigmoid(), -30.0), (nn.ELU(), -20.0)],
)
def test_planted_dead_units_are_counted(activation: nn.Module, shift: float) -> None:
    torch.manual_seed(2)
    module = nn.Sequential(nn.Linear(5, 8), activation, nn.Linear(8, 2))
    with torch.no_grad():
        module[0].bias[:3] += shift
    facts = inspect_layers(module, torch.randn(30, 5))
    assert facts[1].dead == 3 / 8
    assert math.isnan(facts[0].dead)
    # an activation that works in place does not overwrite what the layer before it gave
    assert float(facts[0].outputs.min()) < 0


def test_a_unit_is_alive_if_any_row_or_position_moves_it() -> None:
    module = nn.Sequential(nn.Conv1d(1, 2, 1), nn.ReLU())
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([1.0, 1.0]).view(2, 1, 1))
        module[0].bias.copy_(torch.tensor([-0.5, -5.0]))
    x = torch.zeros(3, 1, 4)
    x[1, 0, 2] = 1.0
    assert inspect_layers(module, x)[1].dead == 0.5
    # a leaky ReLU passes a hundredth on everywhere
    assert inspect_layers(nn.Sequential(nn.Linear(4, 2), nn.LeakyReLU()), torch.full((3, 4), -9.0))[1].dead == 0.0


def test_zeros_are_counted_against_the_largest_weight() -> None:
    layer = nn.Linear(10, 10)
    with torch.no_grad():
        layer.weight.fill_(2.0)
        layer.weight.view(-1)[:37] = 1e-4
        layer.weight.view(-1)[37:50] = 0.1
    (fact,) = inspect_layers(layer, torch.ones(2, 10))
    assert fact.zeros == pytest.approx(0.37)
    assert fact.name == ""
    assert fact.title == "Linear"


def test_a_penalty_for_large_weights_shrinks_and_one_for_any_makes_zeros() -> None:
    task = wb.Task.load("breast_cancer")
    bench = wb.Workbench(task)
    config = wb.Config(learning_rate=0.01, epochs=15, hidden_layers=1, hidden_units=16)
    plain, l1, l2 = (
        inspect_layers(bench.run(config.replace(**more)).model(), task.train.x)[1]
        for more in ({}, {"l1": 0.01}, {"l2": 0.01})
    )
    assert l1.zeros > plain.zeros + 0.3
    assert l2.weight_norm < 0.8 * plain.weight_norm


class Shared(nn.Module):
    """One activation called twice, a recurrent layer with a tuple for an output, one layer never called."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.unused = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.memory, self.act = nn.GRU(4, 5, batch_first=True), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.second(self.act(self.first(x))))
        outputs, _ = self.memory(y[:, None])
        return F.relu(outputs[:, -1])


def test_layers_come_in_the_order_of_their_calls() -> None:
    facts = inspect_layers(Shared(), torch.randn(6, 3))
    assert [one.name for one in facts] == ["first", "act", "second", "act (call 2)", "memory"]
    assert named(facts)["memory"].outputs.shape == (6, 5)
    assert named(facts)["memory"].weight is not None
    assert not torch.equal(facts[1].outputs, facts[3].outputs)


def test_tokens_have_their_units_last() -> None:
    module = nn.Sequential(nn.Linear(3, 7), nn.GELU(), nn.LayerNorm(7))
    assert [one.outputs.shape for one in inspect_layers(module, torch.randn(4, 5, 3))] == [(20, 7)] * 3


def test_a_network_that_raises_is_named() -> None:
    with pytest.raises(wb.ModelError, match=r"Sequential raised RuntimeError on a batch of shape \(2, 9\)"):
        inspect_layers(nn.Sequential(nn.Linear(3, 4)), torch.randn(2, 9))
    module = nn.Linear(3, 4)
    module.extra = module.weight * 2  # type: ignore[assignment]
    with pytest.raises(wb.ModelError, match="Linear cannot be copied"):
        inspect_layers(module, torch.randn(2, 3))


def test_a_single_row_is_looked_at_in_evaluation_mode() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    facts = inspect_layers(module, torch.randn(1, 3), torch.tensor([1]), F.cross_entropy)
    assert facts[0].gradient > 0
