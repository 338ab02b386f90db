"""Values that no call expects, and the public calls with arguments that are right, found by their signatures."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel
from torch import nn

import workbench as wb

VALUES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "NaN": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "pd.NA": lambda: pd.NA,
    "NaT": lambda: np.datetime64("NaT"),
    "Decimal NaN": lambda: Decimal("NaN"),
    "10**30": lambda: 10**30,
    "10**400": lambda: 10**400,
    "-1": lambda: -1,
    "1.5": lambda: 1.5,
    "complex": lambda: 1 + 2j,
    "True": lambda: True,
    "empty text": lambda: "",
    "lone surrogate": lambda: "\ud800",
    "NUL": lambda: "a\0b",
    "bytes": lambda: b"",
    "empty array": lambda: np.zeros(0),
    "array": lambda: np.ones((2, 2)),
    "array of texts": lambda: np.array(["a", "b"]),
    "0-d array": lambda: np.array(3.0),
    "frame": lambda: pd.DataFrame({"a": [1, 2]}),
    "series": lambda: pd.Series([1, 2]),
    "0-d tensor": lambda: torch.tensor(1.0),
    "class": lambda: int,
    "module class": lambda: nn.Linear,
    "function": lambda: lambda: None,
    "generator": lambda: (one for one in (1, 2)),
    "object": object,
    "empty dict": dict,
    "dict": lambda: {"a": 1},
    "set": lambda: {1},
    "deep list": lambda: reduce(lambda inner, _: [inner], range(100), []),
    "list with None": lambda: [None],
}
"""Each is made when it is needed, so that a generator is a new one."""

SHORT = wb.Config(epochs=1, batch_size=64)
SPACE = {"learning_rate": wb.LogRange(1e-3, 1e-1)}
ROWS = pd.DataFrame({"a": np.arange(30.0), "b": np.arange(30.0) % 7, "y": ["u", "v", "w"] * 10})


@dataclass(frozen=True)
class Case:
    """One argument of one call. call: takes the value."""

    name: str
    argument: str
    call: Callable[[Any, wb.Workbench], Any]


def rule(*_given: Any) -> float:
    return 0.0


RIGHT: dict[str, Any] = {
    "trial": 1, "epoch": 1, "search": 1,
    "number": 1, "top": 1, "trials": 1, "blocking": True, "nuisance": SPACE, "field": "optimizer",
    "values": ["sgd", "adam"], "space": SPACE, "base": SHORT, "config": SHORT, "seeds": 1, "from_trial": 1, "diagnosis": 1,
    "steps": 2, "points": 3, "cohort": 1, "low": 1e-4, "high": 1e-1, "learning_rate": 0.01, "name": "x", "target": "y",
    "names": "learning_rate", "X": ROWS[["a", "b"]].to_numpy(), "y": ROWS["y"].tolist(), "frame": ROWS,
    "task": wb.Task.load("iris"), "path": "none.pt", "new_data": ROWS, "outputs": torch.zeros(2, 3),
    "dataset": [(np.zeros(2), 0), (np.ones(2), 1)] * 12, "metrics": "accuracy",
   
    "make": lambda: nn.Linear(2, 2), "loss": rule, "metric": rule, "build": rule, "rule": rule, "schedule": rule,
}  # fmt: skip
"""Right values by an argument's name: those of required arguments, and those that keep a call short."""
SPECIAL: dict[str, dict[str, Any]] = {
    "wb.IntRange": {"low": 1, "high": 9},
    "Workbench.search": {"trials": 1, "name": "", "seeds": 1},
    "Workbench.compare": {"trials": 1, "seeds": 1},
    "Workbench.ensemble": {"trials": None},
    "Workbench.predict": {"X": np.zeros((2, 4))},
    "Workbench.plot": {"trials": None},
    "Task.load": {"name": "iris"},
    "Config.uses": {"name": "momentum"},
}
"""Right values of one call where they differ from `RIGHT`."""


def signature(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return [one for one in inspect.signature(function).parameters.values() if one.name != "self"]


def _arguments(
    name: str, parameters: list[inspect.Parameter], wrong: str, value: Any
) -> tuple[list[Any], dict[str, Any]]:
    """The right arguments with one replaced. Raises: KeyError for a required argument that `RIGHT` does not know."""
    special = SPECIAL.get(name, {})
    given, listed = {}, []
    for one in parameters:
        if one.kind is one.VAR_KEYWORD:
            continue
        if one.name == wrong:
            right = value
        elif one.kind is one.VAR_POSITIONAL:
            continue
        elif one.default is one.empty or one.name in special or (one.name in SHORTENED and one.name in RIGHT):
            right = special[one.name] if one.name in special else RIGHT[one.name]
        else:
            continue
        if one.kind in (one.VAR_POSITIONAL, one.POSITIONAL_ONLY):
            listed.append(right)
        else:
            given[one.name] = right
    if any(one.kind is one.VAR_POSITIONAL and one.name == wrong for one in parameters):
        before = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD and one.name in given]
        listed = [given.pop(one) for one in before] + listed
    return listed, given


SHORTENED = {"config", "base", "space", "trials", "blocking", "steps", "points", "seeds", "cohort", "top"}
"""Optional arguments that are given, so that what is accepted is over soon."""


def _of(
    name: str, function: Callable[[wb.Workbench], Callable[..., Any]], parameters: list[inspect.Parameter]
) -> Iterator[Case]:
    for one in parameters:
        if one.kind is one.VAR_KEYWORD:
            continue

        def call(value: Any, bench: wb.Workbench, wrong: str = one.name) -> Any:
            listed, given = _arguments(name, parameters, wrong, value)
            return function(bench)(*listed, **given)

        yield Case(name, one.name, call)


def methods(owner: type) -> Iterator[str]:
    """The public methods that a class itself brings, not those of pydantic."""
    for name in dir(owner):
        if not name.startswith("_") and not hasattr(BaseModel, name) and callable(getattr(owner, name)):
            yield name


def cases() -> Iterator[Case]:
    """Each argument of each public call."""
    for name in methods(wb.Workbench):
        parameters = signature(getattr(wb.Workbench, name))
        yield from _of(f"Workbench.{name}", lambda bench, name=name: getattr(bench, name), parameters)  # type: ignore[misc]
    for name in methods(wb.Task):
        parameters = signature(getattr(wb.Task, name))
        yield from _of(f"Task.{name}", lambda bench, name=name: getattr(bench.task, name), parameters)  # type: ignore[misc]
    for name in wb.Config.model_fields:
        yield Case("wb.Config", name, lambda value, bench, name=name: wb.Config(**{name: value}))  # type: ignore[misc]
    for name in ("learning_rate", "model", "l2", "epochs"):
        yield Case("Config.replace", name, lambda value, bench, name=name: SHORT.replace(**{name: value}))  # type: ignore[misc]
    yield from _of("Config.uses", lambda bench: SHORT.uses, signature(wb.Config.uses))
    options = {one.name: one for one in signature(wb.Task) if one.kind is one.KEYWORD_ONLY}
    for name in OPTIONS_OF_A_TASK & options.keys():
        yield Case(
            "Task.from_frame", name, lambda value, bench, name=name: wb.Task.from_frame(ROWS, "y", **{name: value})
        )  # type: ignore[misc]
    for name in ("Choice", "IntRange", "LogRange", "Range", "Workbench", "load_model", "load_weights"):
        yield from _of(f"wb.{name}", lambda bench, name=name: getattr(wb, name), signature(getattr(wb, name)))  # type: ignore[misc]
    for name in ("loss", "metric", "model", "optimizer", "schedule", "backbone"):
        yield from _of(
            f"wb.register_{name}",
            lambda bench, name=name: getattr(wb, f"register_{name}"),
            signature(getattr(wb, f"register_{name}")),
        )  # type: ignore[misc]


OPTIONS_OF_A_TASK = {
    "name", "kind", "split", "seed", "standardize", "clip", "transform", "metrics", "monitor", "target_transform", "weights",
    "inputs", "categories",
}  # fmt: skip
