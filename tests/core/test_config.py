"""Declarations and Config."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import workbench as wb
from workbench.core.config import HYPERPARAMETERS, Hyperparameter
from workbench.core.domains import Choice, IntRange
from workbench.core.registry import MODELS


def values(hyperparameter: Hyperparameter) -> st.SearchStrategy[Any]:
    options = hyperparameter.options
    if options is not None:
        return st.sampled_from(options)
    domain = hyperparameter.domain
    assert not isinstance(domain, Choice)
    numbers = st.integers if isinstance(domain, IntRange) else st.floats
    found = numbers(domain.low, domain.high)
    if hyperparameter.zero:
        found |= st.just(0.0)
    return found | st.none() if hyperparameter.optional else found


@st.composite
def configs(draw: st.DrawFn) -> wb.Config:
    chosen = {name: draw(values(h)) for name, h in HYPERPARAMETERS.items() if draw(st.booleans())}
    chosen |= {"warmup": 0, "min_learning_rate": 0.0, "batch_size": max(2, chosen.get("batch_size", 2))}
    return wb.Config(**chosen)


@given(configs())
def test_json_repr_and_replace_round_trip(config: wb.Config) -> None:
    assert wb.Config.model_validate_json(config.model_dump_json()) == config
    assert eval(repr(config), {"wb": wb}) == config
    assert config.replace() == config


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, 1e9, "fast", True, None, [1]])
def test_an_impossible_learning_rate_is_named_with_its_rule(value: Any) -> None:
    with pytest.raises(wb.ConfigError) as caught:
        wb.Config(learning_rate=value)
    (problem,) = caught.value.problems
    assert problem.field == "learning_rate"
    assert repr(value) in problem.message
    assert "from 1e-06 to 10" in problem.message


def test_all_problems_are_told_at_once_with_hints() -> None:
    with pytest.raises(wb.ConfigError) as caught:
        wb.Config(batchsize=32, optimizer="addam", epochs=0)
    text = str(caught.value)
    assert "did you mean 'batch_size'?" in text
    assert "did you mean 'adam'?" in text
    assert "epochs=0" in text
    assert {problem.field for problem in caught.value.problems} == {"batchsize", "optimizer", "epochs"}


def test_values_that_do_not_go_together() -> None:
    with pytest.raises(wb.ConfigError, match="batch normalisation needs at least 2"):
        wb.Config(batch_norm=True, batch_size=1)
    with pytest.raises(wb.ConfigError, match="shorter than epochs"):
        wb.Config(warmup=5, epochs=5)


def test_only_what_the_choices_read_is_used() -> None:
    assert wb.Config(optimizer="momentum").uses("momentum")
    assert not wb.Config(optimizer="adam").uses("momentum")
    assert wb.Config().uses("learning_rate")


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(Exception, match="frozen"):
        wb.Config().learning_rate = 1.0  # type: ignore[misc]


def test_a_builders_keyword_only_parameters_become_hyperparameters() -> None:
    def mine(task: Any, *, activation: str, width=wb.IntRange(8, 256, default=64), kernel=wb.Choice(3, 5)) -> Any: ...

    wb.register_model("mine", mine)
    try:
        config = wb.Config(model="mine", kernel=5)
        assert (config.width, config.kernel) == (64, 5)  # type: ignore[attr-defined]
        assert eval(repr(config), {"wb": wb}) == config
        assert config.uses("activation")
        assert not config.uses("hidden_units")
        with pytest.raises(wb.ConfigError, match="width=300: must be a whole number from 8 to 256"):
            wb.Config(model="mine", width=300)
        with pytest.raises(wb.ConfigError, match="'mine', which is not chosen"):
            wb.Config(width=64)
        assert config.replace(model="mlp") == wb.Config(model="mlp")
        with pytest.raises(wb.ConfigError, match=r"width=64 has no range.*wb.IntRange"):
            wb.register_model("vague", lambda task, *, width=64: None)
    finally:
        MODELS.unregister("mine")


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_built_in_model_keeps_its_name(name: str) -> None:
    before = MODELS[name]
    for register in (
        lambda: wb.register_model(name, lambda task: None),
        lambda: wb.register_backbone(name, lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))),
        lambda: wb.Workbench(wb.Task.load("iris"), models={name: lambda task: None}),
    ):
        with pytest.raises(wb.ConfigError, match=f"model '{name}' is built in.*another name, my_{name}"):
            register()
        assert MODELS[name] is before


@pytest.mark.parametrize(
    "make",
    [
        lambda: wb.Range(1.0, 1.0),
        lambda: wb.Range(2.0, 1.0),
        lambda: wb.Range(math.nan, 1.0),
        lambda: wb.LogRange(0.0, 1.0),
        lambda: wb.IntRange(0.5, 3),  # type: ignore[arg-type]
        lambda: wb.Choice(),
        lambda: wb.Range(0.0, 1.0, default=2.0),
    ],
)
def test_impossible_domains(make: Any) -> None:
    with pytest.raises(wb.ConfigError):
        make()
