"""What users register belongs to their Workbench, and what a run uses is fixed when it is made."""

from __future__ import annotations

import linecache
import math
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.core.registry import LOSSES, MODELS, OPTIMIZERS, SCHEDULES
from workbench.training.schedules import Progress


@pytest.fixture(autouse=True)
def unregistered() -> Iterator[None]:
    yield
    for registry in (MODELS, LOSSES, OPTIMIZERS, SCHEDULES):
        registry.unregister("mine")


def builder(activation: type[nn.Module], width: int) -> Callable[..., nn.Module]:
    def build(task: Any, *, width: int = wb.IntRange(2, 64, default=width)) -> nn.Module:  # type: ignore[assignment]
        inputs = math.prod(task.input_shape)
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), activation(), nn.Linear(width, task.output_size))

    return build


def activation_of(bench: wb.Workbench, trial: int) -> str:
    return type(bench.model(trial).module[2]).__name__


def test_two_workbenches_train_their_own_model_of_one_name() -> None:
    """At once, in turn, on another task and on the same, with defaults of their own."""
    iris, digits = wb.Task.load("iris"), wb.Task.load("digits")
    one = wb.Workbench(iris, models={"mine": builder(nn.ReLU, 4)})
    other = wb.Workbench(digits, models={"mine": builder(nn.Tanh, 8)})
    third = wb.Workbench(iris, models={"mine": builder(nn.Sigmoid, 16)})
    for bench, name, width in [(one, "ReLU", 4), (other, "Tanh", 8), (third, "Sigmoid", 16), (one, "ReLU", 4)]:
        run = bench.run(wb.Config(model="mine", epochs=1, seed=len(bench.trials)))
        trial = run.trials[-1]
        assert activation_of(bench, trial) == name
        assert type(run.model()[2]).__name__ == name
        assert bench.config(trial).width == width
        assert bench.code(trial).count("mine")
    search = one.search("random", {"learning_rate": [0.1, 0.01]}, wb.Config(model="mine", epochs=1), trials=2).wait()
    assert {activation_of(one, trial) for trial in search.trials} == {"ReLU"}


def test_a_workbench_without_models_has_none_of_anothers() -> None:
    iris = wb.Task.load("iris")
    one = wb.Workbench(iris, models={"mine": builder(nn.ReLU, 4)})
    with pytest.raises(wb.ConfigError, match="model='mine': must be one of"):
        wb.Workbench(iris).start(wb.Config(model="mine"))
    assert one.run(wb.Config(model="mine", epochs=1)).done


def test_a_search_goes_on_with_the_builder_it_began_with(tmp_path: Path) -> None:
    """The notebook's ordinary way: the cell with an edited builder is run again while the search trains."""
    iris, began, go_on = wb.Task.load("iris"), threading.Event(), threading.Event()

    def relu(task: Any, *, width: int = wb.IntRange(2, 64, default=4)) -> nn.Module:  # type: ignore[assignment]
        if threading.current_thread() is not threading.main_thread():
            began.set()
            assert go_on.wait(60)
        return builder(nn.ReLU, 4)(task, width=width)

    first = wb.Workbench(iris, log=tmp_path / "trials.db", models={"mine": relu})
    space = {"learning_rate": wb.LogRange(1e-3, 1e-1)}
    search = first.search("random", space, wb.Config(model="mine", epochs=1), trials=6, cohort=2)
    assert began.wait(60)
    second = wb.Workbench(iris, log=tmp_path / "trials.db", models={"mine": builder(nn.Tanh, 4)})
    go_on.set()
    search.wait()
    (own,) = second.run(wb.Config(model="mine", epochs=1)).trials
    assert {activation_of(first, trial) for trial in search.trials} == {"ReLU"}
    assert activation_of(second, own) == "Tanh"
    assert len({one.builder for one in first.log.records(search.trials).values()}) == 1
    with pytest.raises(wb.ModelError, match="another version of the model 'mine'"):
        second.model(search.trials[0])


def test_the_same_call_with_another_builder_is_another_run(tmp_path: Path) -> None:
    iris, began, go_on = wb.Task.load("iris"), threading.Event(), threading.Event()

    def slow(task: Any) -> nn.Module:
        if threading.current_thread() is not threading.main_thread():
            began.set()
            assert go_on.wait(60)
        return nn.Linear(4, 3)

    first = wb.Workbench(iris, log=tmp_path / "trials.db", models={"mine": slow})
    run = first.start(wb.Config(model="mine", epochs=1))
    assert began.wait(60)
    again = first.start(wb.Config(model="mine", epochs=1))
    second = wb.Workbench(iris, log=tmp_path / "trials.db", models={"mine": builder(nn.Tanh, 4)})
    other = second.start(wb.Config(model="mine", epochs=1))
    go_on.set()
    assert again is run
    assert other is not run
    assert activation_of(second, other.wait().trials[0]) == "Tanh"


def test_loss_optimizer_and_schedule_of_a_run_are_fixed_too() -> None:
    """They are looked up while it trains; registering others under the same names meanwhile changes nothing."""

    iris, began, go_on = wb.Task.load("iris"), threading.Event(), threading.Event()
    used: list[str] = []

    def model(task: Any) -> nn.Module:
        if threading.current_thread() is not threading.main_thread():
            began.set()
            assert go_on.wait(60)
        return nn.Linear(4, 3)

    def register(which: str) -> None:
        def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            used.append(f"loss {which}")
            return nn.functional.cross_entropy(outputs, targets, reduction="none")

        def optimizer() -> Any:
            used.append(f"optimizer {which}")
            return torch.optim.SGD, {}

        def schedule(rate: float, progress: Progress) -> float:
            used.append(f"schedule {which}")
            return rate

        wb.register_loss("mine", loss, kinds=["classification"])
        wb.register_optimizer("mine", optimizer)
        wb.register_schedule("mine", schedule)

    register("first")
    bench = wb.Workbench(iris, models={"slow": model})
    config = wb.Config(model="slow", loss="mine", optimizer="mine", schedule="mine", epochs=1)
    run = bench.start(config)
    assert began.wait(60)
    register("second")
    used.remove("optimizer second")  # tried when it is registered
    go_on.set()
    run.wait()
    assert set(used) == {"loss first", "optimizer first", "schedule first"}
    with pytest.warns(UserWarning, match="was registered again after this Workbench was made"):
        bench.run(config.replace(seed=1))
    assert set(used) == {"loss first", "optimizer first", "schedule first"}
    wb.Workbench(iris, models={"slow": model}).run(config)
    assert "loss second" in used


def test_the_same_registration_again_is_no_other_version() -> None:
    wb.register_model("mine", builder(nn.ReLU, 4))
    bench = wb.Workbench(wb.Task.load("iris"))
    wb.register_model("mine", builder(nn.ReLU, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench.run(wb.Config(model="mine", epochs=1))


def cell(source: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run a notebook's cell, whose source Python finds."""
    file = f"<cell {len(linecache.cache)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), names)
    return names


CELL = """
from torch import nn
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
def build(task):
    wait()
    return Net()
"""


def test_code_that_a_builder_refers_to_and_that_changes_meanwhile_ends_the_search_with_a_reason() -> None:
    began, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        if threading.current_thread() is not threading.main_thread():
            began.set()
            assert go_on.wait(60)

    names = cell(CELL, {"__name__": "__main__", "wait": wait})
    bench = wb.Workbench(wb.Task.load("iris"), models={"mine": names["build"]})
    config = wb.Config(model="mine", epochs=1)
    search = bench.search("random", {"learning_rate": wb.LogRange(1e-3, 1e-1)}, config, trials=6, cohort=2)
    queued = bench.start(config)
    assert began.wait(60)
    cell(CELL.replace("ReLU", "Sigmoid"), names)
    go_on.set()
    for handle in (search, queued):
        with pytest.raises(wb.ModelError, match="model 'mine': the code that it refers to was changed"):
            handle.wait()
    assert len({one.builder for one in bench.log.records(list(bench.trials["trial"])).values()}) == 1
    with pytest.raises(wb.ModelError, match="another version"):
        bench.model(search.trials[0])
    assert bench.run(config.replace(seed=5)).done


@pytest.mark.parametrize("field", ["loss", "optimizer", "schedule"])
def test_an_edited_loss_optimizer_or_schedule_is_another_configuration(field: str, tmp_path: Path) -> None:
    def register(version: int) -> None:
        def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return version * nn.functional.cross_entropy(outputs, targets, reduction="none")

        def optimizer() -> Any:
            return torch.optim.SGD, {"dampening": 0.1 * version}

        def schedule(rate: float, progress: Progress) -> float:
            return rate / version

        kinds = {"kinds": ["classification"]} if field == "loss" else {}
        own = {"loss": loss, "optimizer": optimizer, "schedule": schedule}[field]
        getattr(wb, f"register_{field}")("mine", own, **kinds)

    def bench() -> wb.Workbench:
        return wb.Workbench(wb.Task.load("iris"), log=tmp_path / "trials.db")

    register(1)
    config = wb.Config(**{field: "mine"}, epochs=2)
    first = bench()
    first.run(config, seeds=2)
    register(2)
    second = bench()
    second.run(config, seeds=2)
    assert second.leaderboard()["seeds"].tolist() == [2, 2]
    for call in (lambda: second.replay(1), lambda: second.branch(1, epoch=1)):
        with pytest.raises(wb.ModelError, match=f"trial 1 was trained with another version of the {field} 'mine'"):
            call()
    second.model(1)  # its weights do not depend on it
    assert second.replay(3).wait().within_tolerance
    assert first.replay(1).wait().within_tolerance
