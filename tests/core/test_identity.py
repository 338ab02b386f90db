"""The identity of a function: what its result depends on changes it, and nothing else does."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.core.identity import identity_of
from workbench.core.registry import LOSSES
from workbench.models import code_of

SOURCE = '''
from torch import nn
WIDTH = 3
TABLE = {"depth": [1, 2]}

class Block(nn.Module):
    """A block."""
    scale = 1.5
    def forward(self, x): return x * 2

def helper(x):
    return x + 1  # one more

def build(task, *, width=7):
    """Build it."""
    helper(TABLE["depth"])
    return nn.Sequential(Block(), nn.ReLU(), nn.Linear(WIDTH, width))
'''
NUMBERS = itertools.count()


def typed(source: str) -> Callable[..., Any]:
    """The function `build` as a notebook's cell makes it: with source text, in the module __main__."""
    file = f"<cell {next(NUMBERS)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, file, "exec"), names)
    function: Callable[..., Any] = names["build"]
    return function


def without_source(source: str) -> Callable[..., Any]:
    """The same as standard input or `exec` makes it."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(source, names)
    function: Callable[..., Any] = names["build"]
    return function


EDITS = [
    ("ReLU", "Sigmoid"),  # the function
    ("x + 1", "x + 2"),  # one that it calls
    ("x * 2", "x * 3"),  # a method of a class
    ("scale = 1.5", "scale = 2.5"),  # an attribute of a class
    ("WIDTH = 3", "WIDTH = 4"),  # a plain global
    ("[1, 2]", "[1, 3]"),  # inside a container
    ("width=7", "width=8"),  # a default
]


@pytest.mark.parametrize("made", [typed, without_source])
@pytest.mark.parametrize(("old", "new"), EDITS)
def test_an_edit_changes_it(made: Callable[[str], Any], old: str, new: str) -> None:
    assert old in SOURCE
    assert identity_of(made(SOURCE.replace(old, new))) != identity_of(made(SOURCE))
    assert identity_of(made(SOURCE)) == identity_of(made(SOURCE))


@pytest.mark.parametrize(
    ("old", "new"),
    [("# one more", ""), ("Build it.", "Other words."), ("A block.", "B."), ("nn.ReLU(), ", "nn.ReLU(),\n        ")],
)
def test_comments_docstrings_and_formatting_do_not_count(old: str, new: str) -> None:
    assert old in SOURCE
    assert identity_of(typed(SOURCE.replace(old, new))) == identity_of(typed(SOURCE))


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 2), ([1], [2]), ({"a": 1.0}, {"a": 1.5}), (np.arange(3), np.arange(3) + 1), (torch.zeros(9), torch.ones(9))],
)
def test_values_of_a_closure_count(one: Any, other: Any) -> None:
    def around(value: Any) -> Callable[[], Any]:
        def inner() -> Any:
            return value

        return inner

    assert identity_of(around(one)) != identity_of(around(other))
    assert identity_of(around(one)) == identity_of(around(one))


def test_functions_that_refer_to_each_other_end() -> None:
    source = "def build(n):\n    return other(n)\ndef other(n):\n    return build(n - {}) if n else 0\n"
    assert identity_of(typed(source.format(1))) != identity_of(typed(source.format(2)))


@pytest.mark.parametrize(
    "source",
    [
        "CALLS = []\ndef build(task):\n    CALLS.append(task)\n",
        "CALLS = {'n': 0}\ndef build(task):\n    CALLS['n'] += 1\n",
        "CALLS = 0\ndef build(task):\n    global CALLS\n    CALLS += 1\n",
        "def around(n=0):\n    def build(task):\n        nonlocal n\n        n += 1\n    return build\nbuild = around()\n",
    ],
)
def test_a_record_that_a_builder_keeps_of_its_calls_does_not_count(source: str) -> None:
    build = typed(source)
    before = identity_of(build)
    build("digits")
    assert identity_of(build) == before


def test_a_container_that_is_only_read_counts_beside_one_that_is_changed() -> None:
    source = "SIZES = [8, 4]\ndef build(task):\n    made = []\n    for n in SIZES:\n        made.append(n)\n    return made\n"
    assert identity_of(typed(source)) != identity_of(typed(source.replace("[8, 4]", "[8, 8]")))
    assert identity_of(without_source(source)) != identity_of(without_source(source.replace("[8, 4]", "[8, 8]")))


def test_what_a_notebook_or_script_defines_is_its_own_whatever_program_runs_it() -> None:
    function = typed(SOURCE)
    assert function.__module__ == "__main__"
    assert identity_of(function) != identity_of(typed(SOURCE.replace("x + 1", "x - 1")))


@pytest.mark.parametrize("made", [typed, without_source])
def test_it_does_not_depend_on_where_objects_lie_in_memory(made: Callable[[str], Any]) -> None:
    """Objects that are made on the way, and freed, must not be taken for others that get their place."""
    kept: list[object] = []
    found = set()
    for n in range(200):
        kept += [{} for _ in range(n % 7)] + [(n, [n]) for _ in range(n % 5)]
        found.add(identity_of(made(SOURCE)))
    assert len(found) == 1


def test_threads_may_ask_at_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: identity_of(typed(SOURCE)), range(400)))
    assert len(set(found)) == 1


def test_the_identity_of_a_loss_is_that_of_its_link_and_targets_too() -> None:
    """Predictions of a trial follow from the link of its loss."""

    def loss(outputs: Any, targets: Any) -> Any:
        return (outputs - targets).square().mean(1)

    registered: list[dict[str, Any]] = [
        {}, {"link": "exp"}, {"link": "identity"}, {"link": {"count": "exp"}}, {"transformed": False}, {"width": 2},
        {"link": lambda outputs: outputs.exp()}, {"link": lambda outputs: outputs.exp() + 1},
    ]  # fmt: skip
    found = []
    try:
        for options in (*registered, *registered):
            wb.register_loss("linked", loss, **options)
            found.append(code_of(wb.Config(loss="linked"))["loss"])
    finally:
        LOSSES.unregister("linked")
    assert found[: len(registered)] == found[len(registered) :]
    assert len(set(found)) == len(registered)
