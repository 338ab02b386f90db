"""Which configurations a search tries: none twice, none that the constraint forbids, and what happens to those that cannot be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import workbench as wb
from workbench.core.space import Space
from workbench.methods.search.arm import Arm
from workbench.methods.search.strategies import strategy

BASE = wb.Config(hidden_units=8, batch_size=16, epochs=1)


@pytest.fixture(scope="module")
def flowers() -> wb.Task:
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    return wb.Task.from_arrays(rng.normal(0, 1, (90, 4)) + y[:, None], y, name="three classes")


@pytest.fixture
def bench(flowers: wb.Task) -> wb.Workbench:
    return wb.Workbench(flowers)


def linear(task: Any, *, width: Any = wb.IntRange(1, 64, default=8)) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.ReLU(), torch.nn.Linear(width, 3))


def drawn(space: Space, name: str, count: int, **options: Any) -> list[wb.Config]:
    """The first configurations of an arm, each reported with a planted score."""
    arm = Arm(space, strategy(name), better="lower", **options)
    found = []
    for number in range(count):
        suggestion = arm.ask(number, 1)
        if suggestion is None:
            break
        found += suggestion.configs
        suggestion.trials, suggestion.values = [number], {number: math.log10(suggestion.configs[0].learning_rate) ** 2}
        arm.tell(suggestion)
    return found


# --- none twice -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["random", "sobol"])
@pytest.mark.parametrize(
    ("space", "size"),
    [
        ({"optimizer": ["sgd", "adam"], "batch_norm": [False, True]}, 4),
        ({"hidden_layers": wb.IntRange(1, 3), "batch_size": wb.IntRange(4, 16, scale="power2")}, 9),
        ({"optimizer": ["adam", "momentum"], "momentum": [0.5, 0.9]}, 3),  # Adam reads no momentum
        ({"seed": [0, 1, 2], "optimizer": ["sgd", "adam"]}, 6),
    ],
)
def test_a_space_with_an_end_is_searched_once(name: str, space: dict[str, Any], size: int) -> None:
    found = drawn(Space(space, BASE), name, 40)
    assert len(found) == size == len({(config.configuration, config.seed) for config in found})


def test_a_search_of_a_space_with_an_end_ends_and_says_so(bench: wb.Workbench) -> None:
    search = bench.search("random", {"optimizer": ["sgd", "adam"], "batch_norm": [False, True]}, BASE, trials=16).wait()
    assert len(bench.trials) == search.progress.planned == search.progress.done == 4
    assert "all 4 configurations of the space have been tried" in repr(search)
    assert bench.searches["ending"].tolist() == ["all 4 configurations of the space have been tried"]
    notes = bench.events().query("kind == 'message'")["message"]
    assert notes.str.contains("the last of the 4 configurations in the space").sum() == 1
    again = bench.search(continues=search, trials=5).wait()
    assert (again.progress.done, len(bench.trials)) == (0, 4)


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_a_repeated_configuration_gets_a_new_seed(name: str) -> None:
    found = drawn(Space({"optimizer": ["sgd", "adam"], "batch_norm": [False, True]}, BASE), name, 12)
    assert len({(config.configuration, config.seed) for config in found}) == len(found) == 12


def test_a_condition_without_choices_of_its_own_gets_new_seeds_too() -> None:
    space = Space({"optimizer": ["adam", "momentum"], "momentum": wb.Range(0.1, 0.9)}, BASE)
    found = drawn(space, "random", 20)
    adam = [config.seed for config in found if config.optimizer == "adam"]
    assert adam == list(range(len(adam)))
    assert {config.seed for config in found if config.optimizer == "momentum"} == {0}


def test_new_seeds_are_logged_once_and_differ_from_those_of_earlier_trials(bench: wb.Workbench) -> None:
    space = {"optimizer": ["sgd", "adam"], "batch_norm": [False, True]}
    bench.search("grid", space, BASE).wait()
    bench.search("tpe", space, BASE, trials=10, seeds=2).wait()
    frame = bench.trials
    assert not frame.duplicated(["optimizer", "batch_norm", "seed"]).any()
    notes = bench.events().query("kind == 'message'")["message"]
    assert notes.str.contains("was tried before; it is trained with another seed").sum() == 1


# --- what is continued ----------------------------------------------------------------------------------------------------


def test_a_grid_continued_with_other_values_trains_them_all(bench: wb.Workbench) -> None:
    first = bench.search("grid", {"learning_rate": [0.1, 0.01, 0.001]}, BASE).wait()
    bench.search(continues=first.number, space={"learning_rate": [0.5, 0.2, 0.1, 0.02]}).wait()
    assert bench.trials["learning_rate"].tolist() == [0.1, 0.01, 0.001, 0.5, 0.2, 0.02]  # 0.1 is the very same trial


def test_a_grid_that_was_interrupted_goes_on_behind_what_it_had(bench: wb.Workbench) -> None:
    values = [0.1, 0.2, 0.3, 0.4, 0.5]
    first = bench.search("grid", {"learning_rate": values}, BASE, trials=2).wait()
    bench.search(continues=first).wait()
    assert bench.trials["learning_rate"].tolist() == values


@pytest.mark.parametrize(
    ("given", "column", "expected"),
    [
        ({"seeds": 1}, "seeds", 1),
        ({"strategy": "random"}, "strategy", "random"),
        ({"pruner": None}, "pruner", None),
        ({"seed": 0}, "seed", 0),
        ({"points": 5}, "points", 5),
    ],
)
def test_an_argument_wins_over_the_continued_search_even_at_its_default(
    bench: wb.Workbench, given: dict[str, Any], column: str, expected: Any
) -> None:
    space = {"learning_rate": wb.LogRange(1e-3, 1e-1)}
    first = bench.search("tpe", space, BASE, trials=1, seeds=2, seed=3, points=7, pruner="median").wait()
    kept = {"strategy": "tpe", "seeds": 2, "seed": 3, "points": 7, "pruner": "median"}
    bench.search(continues=first, trials=1, **given).wait()
    row = bench.searches.iloc[-1]
    assert {name: None if row[name] != row[name] else row[name] for name in kept} == {**kept, column: expected}


def test_a_continued_random_search_of_another_space_begins_at_its_first_draw(flowers: wb.Task) -> None:
    other = {"learning_rate": wb.LogRange(0.2, 0.9)}
    fresh, bench = wb.Workbench(flowers), wb.Workbench(flowers)
    fresh.search("random", other, BASE, trials=4, seed=2).wait()
    first = bench.search("random", {"learning_rate": wb.LogRange(1e-3, 1e-1)}, BASE, trials=3, seed=2).wait()
    second = bench.search(continues=first, space=other, trials=2).wait()
    bench.search(continues=second, space=other, trials=2).wait()
    assert bench.trials["learning_rate"].tolist()[3:] == fresh.trials["learning_rate"].tolist()


# --- constraints ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["grid", "random", "sobol", "tpe", "gp", "cmaes"])
def test_every_strategy_keeps_the_constraint(bench: wb.Workbench, name: str) -> None:
    space = {"hidden_layers": wb.IntRange(1, 6), "hidden_units": wb.IntRange(4, 64)}
    bench.search(name, space, BASE, where=lambda c: c.hidden_layers * c.hidden_units < 100, trials=14).wait()
    frame = bench.trials
    assert len(frame) == 14
    assert (frame["hidden_layers"] * frame["hidden_units"] < 100).all()


def test_a_grid_under_a_constraint_is_the_filtered_product() -> None:
    from itertools import product

    from workbench.core.constraint import Constraint

    space = {"hidden_units": [8, 16, 32], "hidden_layers": [1, 2, 3], "dropout": [0.0, 0.5]}
    where = Constraint(lambda c: c.hidden_units * c.hidden_layers <= 32)
    found = [(c.hidden_units, c.hidden_layers, c.dropout) for c in Space(space, BASE, where=where).grid()]
    assert found == [values for values in product(*space.values()) if values[0] * values[1] <= 32]


def test_a_constraint_is_logged_as_text_and_has_to_be_given_again(bench: wb.Workbench) -> None:
    space = {"hidden_units": [8, 16, 32], "hidden_layers": [1, 2]}
    first = bench.search("grid", space, BASE, where=lambda c: c.hidden_units * c.hidden_layers < 33).wait()
    assert bench.searches["where"].tolist() == ["lambda c: c.hidden_units * c.hidden_layers < 33"]
    assert len(bench.trials) == 5
    with pytest.raises(wb.ConfigError, match=r"where=lambda c: c.hidden_units \* c.hidden_layers < 33.*give it again"):
        bench.search(continues=first)
    bench.search(continues=first, where=None).wait()
    assert len(bench.trials) == 6

    def small(config: wb.Config) -> bool:
        return config.hidden_units < 10

    bench.search("random", {"hidden_units": [8, 16]}, BASE, where=small).wait()
    assert bench.searches["where"].iloc[-1].startswith("def small(config")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (lambda c: c.hidden_units > 1000, "where=lambda c: c.hidden_units > 1000: none of .* satisfies it; loosen it"),
        (lambda c: c.width < 8, r"where=.*raised AttributeError.*width.*for wb.Config\(.*hidden_units="),
        (lambda c: None, "returned None for wb.Config.*return True or False"),
        (3, "where=3: give a function of a Config"),
    ],
)
@pytest.mark.parametrize("name", ["grid", "random", "tpe"])
def test_a_constraint_that_cannot_be_is_rejected_at_the_call(
    bench: wb.Workbench, where: Any, message: str, name: str
) -> None:
    with pytest.raises(wb.ConfigError, match=message):
        bench.search(name, {"hidden_units": wb.IntRange(4, 64), "dropout": wb.Range(0, 0.5)}, BASE, where=where)
    assert bench.searches.empty


def test_an_exception_in_a_constraint_ends_the_search_and_names_the_configuration(bench: wb.Workbench) -> None:
    def where(config: wb.Config) -> bool:
        return 1 / (config.hidden_units - 41) < 1

    assert 41 in [c.hidden_units for c in drawn(Space({"hidden_units": wb.IntRange(40, 43)}, BASE), "random", 4)]
    with pytest.raises(wb.WorkbenchError, match="raised ZeroDivisionError.*hidden_units=41"):
        bench.search("tpe", {"hidden_units": wb.IntRange(40, 43)}, BASE, where=where, trials=40).wait()


def test_the_values_of_a_comparison_keep_the_constraint(bench: wb.Workbench) -> None:
    nuisance = {"learning_rate": wb.LogRange(1e-4, 1.0)}
    table = bench.compare(
        "optimizer", ["sgd", "adam"], nuisance=nuisance, base=BASE, trials=5, seeds=2,
        where=lambda c: c.optimizer != "adam" or c.learning_rate < 0.01,
    ).wait().table  # fmt: skip
    frame = bench.trials
    assert (frame.loc[frame["optimizer"] == "adam", "learning_rate"] < 0.01).all()
    assert table["configurations"].tolist() == [5, 5]


# --- what cannot be trained -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {"batch_size": [128, 256], "learning_rate": wb.LogRange(1e-3, 1e-1)},
            "batch_size: no value.*256.*128.*at most 54",
        ),
        ({"batch_size": wb.IntRange(64, 512), "dropout": [0.0, 0.1]}, "batch_size: no value .* at most 54"),
        ({"loss": ["mse2", "mae"]}, "loss='mse2'"),
        ({"warmup": [1, 2], "learning_rate": [0.1, 0.2]}, "warmup: no value.*must be shorter than epochs=1"),
    ],
)
@pytest.mark.parametrize("name", ["grid", "random", "tpe"])
def test_a_dimension_without_a_value_that_can_be_used_is_rejected_at_the_call(
    bench: wb.Workbench, name: str, space: dict[str, Any], message: str
) -> None:
    with pytest.raises(wb.ConfigError, match=message):
        bench.search(name, space, BASE, trials=12)
    assert bench.searches.empty


def test_the_values_of_base_that_are_searched_need_not_fit(bench: wb.Workbench) -> None:
    bench.search("grid", {"batch_size": [8, 16]}, BASE.replace(batch_size=1024)).wait()
    assert bench.trials["state"].tolist() == ["completed"] * 2


@pytest.mark.parametrize("name", ["grid", "random", "tpe"])
def test_a_configuration_that_cannot_be_trained_is_logged_once_with_the_reason(bench: wb.Workbench, name: str) -> None:
    space = {"batch_size": [16, 128], "optimizer": ["sgd", "adam"]}
    search = bench.search(name, space, BASE, trials=12, seeds=2).wait()
    frame = bench.trials
    failed = frame[frame["state"] == "failed"]
    assert (failed["batch_size"] == 128).all()
    assert failed["reason"].str.contains("batch_size=128: larger than the training split of 54 rows").all()
    assert sorted(failed["optimizer"]) == ["adam", "sgd"]
    assert (failed["epochs_run"] == 0).all()
    assert (frame.loc[frame["batch_size"] == 16, "state"] == "completed").all()
    assert search.progress.failed >= 2
    assert bench.config(int(failed["trial"].iloc[0])).batch_size == 128


def test_a_builder_that_rejects_some_combinations_fails_those_trials_only(bench: wb.Workbench) -> None:
    def build(task: Any, *, width: Any = wb.Choice(2, 4, 8), heads: Any = wb.Choice(1, 4)) -> torch.nn.Module:
        if width % heads:
            raise wb.ConfigError(f"heads={heads}: must divide width={width}")
        return torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Linear(width, 3))

    own = wb.Workbench(bench.task, models={"heads": build})
    own.search("grid", {"width": [2, 4, 8], "heads": [1, 4]}, BASE.replace(model="heads")).wait()
    frame = own.trials.set_index(["width", "heads"])
    assert frame.loc[(2, 4), "state"] == "failed"
    assert "heads=4: must divide width=2" in frame.loc[(2, 4), "reason"]
    assert (frame.drop(index=(2, 4))["state"] == "completed").all()
    with pytest.raises(wb.ConfigError, match="must divide width"):
        own.search("random", {"width": [2]} | {"dropout": [0.0, 0.1]}, BASE.replace(model="heads", heads=4))


def test_a_search_of_which_nothing_is_trained_says_why(flowers: wb.Task) -> None:
    import threading

    def build(task: Any, *, width: Any = wb.IntRange(1, 9)) -> torch.nn.Module:
        if threading.current_thread() is not threading.main_thread():
            raise wb.ModelError(f"planted: no room for width={width}")
        return torch.nn.Linear(4, 3)

    bench = wb.Workbench(flowers, models={"late": build})
    search = bench.search("grid", {"width": [1, 2, 3]}, BASE.replace(model="late"))
    with pytest.raises(
        wb.RunError, match="none of the 3 configurations of the search could be trained.*no room for width"
    ):
        search.wait()
    assert bench.searches["ending"].str.contains("could be trained").all()


@pytest.mark.parametrize("name", ["grid", "tpe"])
def test_a_metric_that_is_never_defined_is_reported(flowers: wb.Task, name: str) -> None:
    wb.register_metric("broken", lambda outputs, targets: float("nan"))
    rng = np.random.default_rng(0)
    task = wb.Task.from_arrays(rng.normal(size=(90, 4)), np.arange(90) % 3, metrics="broken")
    bench = wb.Workbench(task)
    search = bench.search(name, {"learning_rate": [0.1, 0.01]}, BASE, trials=2)
    with pytest.warns(UserWarning, match="no configuration has a score.*is not defined"):
        search.wait()
    assert "no configuration has a score" in repr(search)
    found = bench.diagnose(1)
    assert found.verdict != "healthy"
    assert "not defined" in found.title or found.findings


def test_a_fallback_of_a_sampler_is_logged_once(bench: wb.Workbench) -> None:
    space = {"optimizer": ["sgd", "adam"], "learning_rate": wb.LogRange(1e-3, 0.1), "dropout": wb.Range(0, 0.5)}
    bench.search("cmaes", space, BASE, trials=20).wait()
    notes = bench.events().query("kind == 'message'")["message"]
    assert notes.str.contains("CMA-ES does not model optimizer in this space: it is drawn at random").sum() == 1
    assert not notes.str.contains("does not model learning_rate").any()


# --- the hyperparameters of one's own choices -----------------------------------------------------------------------------


def weighted(outputs: Any, targets: Any, *, w: Any = wb.LogRange(0.1, 10, default=1)) -> torch.Tensor:
    return F.cross_entropy(outputs, targets, weight=torch.tensor([1.0, w, 1.0]), reduction="none")


def slow(rate: float, progress: Any, *, slope: Any = wb.Range(0.1, 1)) -> float:
    return rate * slope


def damped(*, damping: Any = wb.Range(0.0, 0.5)) -> Any:
    return torch.optim.SGD, {"momentum": 0.5, "dampening": damping}


@pytest.mark.parametrize(
    ("register", "function", "field", "name", "domain"),
    [
        (wb.register_loss, weighted, "loss", "w", wb.LogRange(0.1, 10)),
        (wb.register_schedule, slow, "schedule", "slope", wb.Range(0.2, 0.9)),
        (wb.register_optimizer, damped, "optimizer", "damping", wb.Range(0.0, 0.4)),
        (wb.register_model, linear, "model", "width", wb.IntRange(4, 16)),
    ],
)
def test_what_base_chooses_brings_its_hyperparameters_into_the_search(
    flowers: wb.Task, register: Any, function: Any, field: str, name: str, domain: Any
) -> None:
    register(f"own_{name}", function)
    other = {"loss": "cross_entropy", "schedule": "constant", "optimizer": "sgd", "model": "mlp"}[field]
    bench = wb.Workbench(flowers)
    base = BASE.replace(**{field: f"own_{name}"})
    bench.search("random", {name: domain}, base, trials=3, blocking=True)
    values = bench.trials[name]
    assert values.between(domain.low, domain.high).all()
    assert values.nunique() > 1
    # in a comparison, where only one of the values reads it
    table = (
        bench.compare(field, [f"own_{name}", other], nuisance={name: domain}, base=BASE, trials=3, seeds=2).wait().table
    )
    rows = table.set_index(field)
    assert rows["configurations"].to_dict() == {f"own_{name}": 3, other: 1}
    assert domain.low <= rows.loc[f"own_{name}", name] <= domain.high
    assert rows[name].isna().to_dict() == {f"own_{name}": False, other: True}
    with pytest.raises(wb.ConfigError, match=f"unknown hyperparameter '{name}'"):
        bench.search("random", {name: domain}, BASE)


def narrow(task: Any, *, width: Any = wb.Choice(8, 16)) -> torch.nn.Module:
    return linear(task, width=width)


def wide(task: Any, *, width: Any = wb.IntRange(32, 64)) -> torch.nn.Module:
    return linear(task, width=width)


@pytest.mark.parametrize("name", ["grid", "random", "sobol", "tpe"])
@pytest.mark.parametrize("given", [wb.Choice(8, 16, 32, 64), wb.IntRange(8, 64), wb.IntRange(16, 40, scale="log")])
def test_models_with_one_name_and_different_ranges_keep_their_own(flowers: wb.Task, name: str, given: Any) -> None:
    bench = wb.Workbench(flowers, models={"narrow": narrow, "wide": wide})
    bench.search(name, {"model": ["narrow", "wide"], "width": given}, BASE, trials=10, points=3).wait()
    own = bench.trials[bench.trials["model"] == "narrow"]["width"]
    assert set(own) <= {8, 16}
    assert bench.trials[bench.trials["model"] == "wide"]["width"].between(32, 64).all()
    assert set(bench.trials["model"]) == {"narrow", "wide"}
    bench.range_edges()  # reads the space from the log
    more = bench.search("tpe", {"model": ["narrow", "wide"], "width": given}, BASE, trials=2).wait()
    assert more.progress.learned == len(bench.trials) - 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (wb.Choice(8, 16), "model 'wide' takes none of it.*a whole number from 32 to 64"),
        (wb.IntRange(40, 64), "model 'narrow' takes none of it.*one of 8, 16"),
        (wb.Choice(8, 20, 64), "width=20: no model takes it .*'narrow': one of 8, 16; 'wide': a whole number from 32"),
        (wb.IntRange(8, 128), "width=128: no model takes it"),
    ],
)
def test_a_model_that_cannot_take_part_is_named(flowers: wb.Task, given: Any, message: str) -> None:
    bench = wb.Workbench(flowers, models={"narrow": narrow, "wide": wide})
    with pytest.raises(wb.ConfigError, match=message):
        bench.search("random", {"model": ["narrow", "wide"], "width": given}, BASE)
