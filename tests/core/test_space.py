"""Search spaces: what is refused and how, conditional hyperparameters, grids against itertools, the codec."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from workbench.core.space import GRID_LIMIT, Space

BASE = wb.Config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {"learning_rat": wb.LogRange(1e-4, 1)}, "unknown hyperparameter 'learning_rat'; did you mean 'learning_rate'"),
        (lambda: {"learning_rate": wb.LogRange(1e-3, 1e-4)}, "swap them"),
        (lambda: {"learning_rate": wb.Range(math.nan, 1)}, "finite numbers"),
        (lambda: {"l2": wb.LogRange(0, 1)}, "must start above 0"),
        (lambda: {"learning_rate": wb.Range(0.5, 0.5)}, "below the upper"),
        (lambda: {"learning_rate": wb.LogRange(1e-9, 1)}, "learning_rate=1e-09: must be a number from 1e-06 to 10"),
        (lambda: {"optimizer": ["adam", "adm"]}, "optimizer='adm'.*did you mean 'adam'"),
        (lambda: {"optimizer": wb.Range(0, 1)}, "is chosen by name; use wb.Choice"),
        (lambda: {"hidden_units": wb.Range(8, 64)}, "takes whole numbers; use wb.IntRange"),
        (lambda: {"learning_rate": 0.1}, "to hold it, set it in base"),
        (lambda: {"learning_rate": (1e-4, 1e-1)}, r"two choices; write wb.LogRange\(0.0001, 0.1\).*list \[0.0001, 0.1\]"),
        (lambda: {"dropout": (0.1, 0.5)}, r"write wb.Range\(0.1, 0.5\)"),
        (lambda: {"hidden_units": (64, 8)}, r"hidden_units=\(64, 8\).*wb.IntRange\(8, 64\).*\[64, 8\]"),
        (lambda: {"learning_rate": np.ones((2, 2))}, "must be a range or choices"),
        (lambda: {"learning_rate": []}, "at least one option"),
        (dict, "nothing to search"),
        (lambda: {"learning_rate": [0.1], "optimizer": ["adam"]}, "nothing to search"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(wb.ConfigError, match=message):
        Space(make(), BASE)


@pytest.mark.parametrize(
    ("given", "values"),
    [
        (np.logspace(-3, -1, 3), [0.001, 0.01, 0.1]),
        (np.array([0.1, 0.2], np.float32), [float(np.float32(0.1)), float(np.float32(0.2))]),
        ((0.1, 0.2, 0.3), [0.1, 0.2, 0.3]),
        (pd.Series([0.1, 0.2], index=[7, 9]), [0.1, 0.2]),
        (wb.Choice(np.array([0.1, 0.2])), [0.1, 0.2]),
    ],
)
def test_arrays_and_columns_are_lists_of_choices(given: object, values: list[float]) -> None:
    space = Space({"learning_rate": given}, BASE)
    assert [config.learning_rate for config in space.grid()] == pytest.approx(values)
    assert all(type(option) is float for option in space["learning_rate"].options)
    assert dict(Space.from_json(space.to_json(), BASE)) == dict(space)


@pytest.mark.parametrize("given", [range(1, 4), np.arange(1, 4), (1, 2, 3), [np.int64(1), 2.0, 3]])
def test_ranges_of_whole_numbers_are_lists_of_choices(given: object) -> None:
    space = Space({"hidden_layers": given}, BASE)
    assert space["hidden_layers"].options == (1, 2, 3)
    assert all(type(option) is int for option in space["hidden_layers"].options)


def test_what_a_model_does_not_read_makes_no_further_configurations() -> None:
    wb.register_model("plain", lambda task, *, hidden_units: None)
    try:
        space = {"activation": ["relu", "tanh"], "model": ["mlp", "plain"], "batch_norm": [False, True]}
        assert len(Space(space, BASE).grid()) == 2 * 2 + 1
    finally:
        from workbench.core.registry import MODELS

        MODELS.unregister("plain")


def test_the_configurations_of_a_space_are_listed_unless_there_are_too_many() -> None:
    space = {"hidden_layers": wb.IntRange(1, 4), "optimizer": ["adam", "momentum"], "momentum": [0.1, 0.5]}
    found = Space(space, BASE).configurations(100)
    assert found is not None
    assert len(found) == 4 * (1 + 2) == len({config.configuration for config in found})
    assert Space(space, BASE).configurations(11) is None
    assert Space({**space, "momentum": wb.Range(0.1, 0.5)}, BASE).configurations(100) is None
    assert (
        Space({"momentum": wb.Range(0, 0.5), "epochs": [1, 2]}, BASE).configurations(9) is not None
    )  # Adam reads none
    assert Space({"hidden_units": wb.IntRange(1, 2000)}, BASE).configurations(100) is None


@pytest.mark.parametrize(
    "domain",
    [wb.Range(-1.0, 2.0), wb.LogRange(1e-6, 1.0), wb.IntRange(3, 40, scale="log"), wb.IntRange(2, 64, scale="power2")],
)
def test_random_values_are_spread_evenly_on_their_scale(domain: wb.Range | wb.IntRange) -> None:
    from scipy import stats

    from workbench.core.dimensions import drawn

    generator = np.random.default_rng(0)
    values = [domain.check(drawn(domain, generator)) for _ in range(4000)]
    if domain.scale == "linear":
        assert stats.kstest(values, stats.uniform(domain.low, domain.high - domain.low).cdf).pvalue > 0.01
    elif domain.scale == "power2":
        assert set(values) == {2**e for e in range(1, 7)}
        assert stats.chisquare(np.unique(values, return_counts=True)[1]).pvalue > 0.01
    else:
        share = np.log(np.array(values) / domain.low) / np.log(domain.high / domain.low)
        assert abs(np.median(share) - 0.5) < 0.05


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(wb.ConfigError) as caught:
        Space({"lr": wb.LogRange(1e-4, 1), "momentum": wb.Range(0, 2)}, BASE)
    assert [problem.field for problem in caught.value.problems] == ["lr", "momentum"]


def test_a_grid_is_the_product_in_its_order() -> None:
    space = {"optimizer": ["sgd", "adam"], "batch_size": [64, 16, 32], "learning_rate": [0.1, 0.01]}
    found = [(c.optimizer, c.batch_size, c.learning_rate) for c in Space(space, BASE).grid()]
    assert found == list(itertools.product(*space.values()))


def test_a_grid_cuts_ranges_evenly_on_their_scale() -> None:
    space = Space(
        {
            "learning_rate": wb.LogRange(1e-4, 1.0),
            "dropout": wb.Range(0, 0.5),
            "hidden_units": wb.IntRange(8, 64, scale="power2"),
        },
        BASE,
    )
    configs = space.grid(points=5)
    assert len(configs) == space.grid_size(5) == 5 * 5 * 4
    np.testing.assert_allclose(sorted({c.learning_rate for c in configs}), np.geomspace(1e-4, 1, 5), rtol=1e-5)
    np.testing.assert_allclose(sorted({c.dropout for c in configs}), np.linspace(0, 0.5, 5))
    assert sorted({c.hidden_units for c in configs}) == [8, 16, 32, 64]


def test_combinations_that_differ_in_nothing_that_counts_are_one() -> None:
    space = Space({"optimizer": ["adam", "momentum"], "momentum": [0.5, 0.9]}, BASE)
    assert [(c.optimizer, c.momentum) for c in space.grid()] == [("adam", 0.9), ("momentum", 0.5), ("momentum", 0.9)]


def test_impossible_combinations_are_left_out() -> None:
    space = Space({"epochs": [2, 10], "warmup": [0, 5]}, BASE)
    assert [(c.epochs, c.warmup) for c in space.grid()] == [(2, 0), (10, 0), (10, 5)]


def test_a_grid_that_never_ends_is_refused_and_random_offered() -> None:
    space = Space({name: wb.Range(0.1, 0.9) for name in ("momentum", "beta1", "beta2")}, BASE)
    assert space.grid_size(1000) == 10**9 > GRID_LIMIT
    with pytest.raises(wb.ConfigError, match=r"1,000,000,000 points.*'random'"):
        space.grid(points=1000)


def test_a_models_own_hyperparameters_are_searched() -> None:
    def narrow(task, *, width=wb.IntRange(2, 16), kernel=wb.Choice(3, 5)):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    wb.register_model("narrow", narrow)
    try:
        space = Space({"model": ["mlp", "narrow"], "width": wb.IntRange(4, 8), "hidden_units": [8, 16]}, BASE)
        grid = space.grid(points=2)
        assert [(c.model, getattr(c, "width", None), c.hidden_units) for c in grid] == [
            ("mlp", None, 8), ("mlp", None, 16), ("narrow", 4, 64), ("narrow", 8, 64),
        ]  # fmt: skip
        with pytest.raises(wb.ConfigError, match="unknown hyperparameter 'width'"):
            Space({"width": wb.IntRange(4, 8)}, BASE)
    finally:
        from workbench.core.registry import MODELS

        MODELS.unregister("narrow")


numbers = st.floats(1e-6, 10, allow_nan=False).map(lambda value: float(f"{value:.3g}"))
domains = st.one_of(
    st.tuples(numbers, numbers).filter(lambda p: p[0] < p[1]).map(lambda p: wb.LogRange(*p)),
    st.tuples(numbers, numbers).filter(lambda p: p[0] < p[1]).map(lambda p: wb.Range(*p)),
    st.lists(numbers, min_size=2, max_size=4, unique=True).map(lambda options: wb.Choice(*options)),
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "learning_rate": domains,
            "hidden_units": st.sampled_from([wb.IntRange(3, 99), wb.IntRange(4, 64, scale="power2"), wb.Choice(8, 16)]),
            "optimizer": st.just(wb.Choice("sgd", "adam")),
            "batch_norm": st.just(wb.Choice(False, True)),
        },
    ).filter(len)
)
def test_a_space_comes_back_from_json_and_from_code(given_space) -> None:  # type: ignore[no-untyped-def]
    space = Space(given_space, BASE)
    assert dict(Space.from_json(space.to_json(), BASE)) == dict(space)
    assert dict(Space(eval(repr(space), {"wb": wb}), BASE)) == dict(space)


@given(st.integers(0, 2**31 - 1))
def test_what_is_drawn_lies_in_the_space_and_is_recognised(seed: int) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = Space(
        {
            "learning_rate": wb.LogRange(1e-4, 1), "momentum": wb.Range(0, 0.99), "optimizer": ["momentum", "adam"],
            "batch_size": wb.IntRange(8, 128, scale="power2"), "hidden_layers": wb.IntRange(1, 4),
        },
        BASE.replace(epochs=3),
    )  # fmt: skip
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    config = space.draw(trial)
    assert config.batch_size in (8, 16, 32, 64, 128)
    assert ("momentum" in trial.params) == (config.optimizer == "momentum")
    assert space.parameters(config) == trial.params
    assert space.parameters(config.replace(seed=7)) == trial.params
    assert space.parameters(config.replace(dropout=0.5)) is None
    assert space.parameters(config.replace(learning_rate=2.0)) is None
