"""The notebook's variables as new data: what is offered, what a text names, and what is never touched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from IPython.testing.globalipapp import start_ipython
from torch.utils.data import IterableDataset, TensorDataset

import workbench as wb
from workbench.methods.data_versions.namespace import as_code, fitting, looked_up, notebook_variables

FRAME = pd.DataFrame({"age": np.arange(60.0), "city": ["north", "south"] * 30, "buys": ["yes", "no", "no"] * 20})
X, Y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2


class Untouchable:
    """Raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":  # which `isinstance` asks
            return object
        raise AssertionError(name)


@pytest.fixture(scope="module")
def table() -> wb.Task:
    return wb.Task.from_frame(FRAME, "buys")


@pytest.fixture(scope="module")
def arrays() -> wb.Task:
    return wb.Task.from_arrays(X, Y)


def test_a_table_is_continued_by_tables_those_with_its_columns_first(table: wb.Task) -> None:
    variables = {"other": FRAME.rename(columns={"age": "years"}), "x": X, "new": FRAME, "odd": Untouchable(), "n": 3}
    assert fitting(variables, table) == ["new", "other"]
    more = pd.concat([FRAME, FRAME.assign(age=FRAME["age"] + 100)], ignore_index=True)
    assert fitting({**variables, "spring": table.version(more)}, table) == ["spring", "new", "other"]


def test_arrays_are_continued_by_pairs_data_sets_and_two_arrays_of_as_many_rows(arrays: wb.Task) -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            raise AssertionError("read")

    variables = {
        "pair": (X, Y), "three": (X, Y, Y), "words": ("a", "b"), "data": TensorDataset(torch.zeros(4, 3), torch.zeros(4)),
        "stream": Stream(), "X_new": X, "wide": np.zeros((60, 4)), "y_new": Y, "y_short": Y[:5], "frame": FRAME,
        "series": pd.Series(Y), "tensor": torch.zeros(5, 3), "odd": Untouchable(), "number": np.float64(3),
    }  # fmt: skip
    assert fitting(variables, arrays) == ["pair", "data", "X_new, y_new", "X_new, series", "tensor, y_short"]


@pytest.mark.parametrize(("outputs", "fits"), [(1, ["a, flat", "a, column"]), (2, ["a, two"])])
def test_targets_have_the_columns_of_the_task(outputs: int, fits: list[str]) -> None:
    rng = np.random.default_rng(1)
    task = wb.Task.from_arrays(X, rng.normal(size=(60, outputs)))
    variables = {"a": X, "flat": X[:, 0], "column": X[:, :1], "two": X[:, :2]}
    assert fitting(variables, task) == fits


def test_a_text_is_looked_up_and_never_evaluated(table: wb.Task, arrays: wb.Task) -> None:
    variables = {"new": FRAME, "a": X, "b": Y}
    assert looked_up(" new ", variables, table) is FRAME
    found = looked_up("a, b", variables, arrays)
    assert found[0] is X
    assert found[1] is Y
    assert looked_up("data/new.CSV", {}, table) == "data/new.CSV"
    for text in ("new.copy()", "new[:5]", "__import__('os')", "FRAME"):
        with pytest.raises(wb.TaskError, match="no variable"):
            looked_up(text, variables, table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "nothing is chosen"),
        ("a, c", "no variable 'c'"),
        ("aa, b", "did you mean 'a'"),
        ("a, b, b", "these are 3 variables"),
        ("rows.csv", "made from arrays, not from a table"),
    ],
)
def test_what_a_text_cannot_name_is_told(arrays: wb.Task, text: str, message: str) -> None:
    with pytest.raises(wb.TaskError, match=message):
        looked_up(text, {"a": X, "b": Y}, arrays)


def test_the_code_of_a_text_names_the_same() -> None:
    assert as_code(" new ") == "new"
    assert as_code("X_new, y_new") == as_code("(X_new, y_new)") == "(X_new, y_new)"
    assert as_code("a 'b'.csv") == repr("a 'b'.csv")


def test_of_a_notebook_only_the_users_own_variables_are_read() -> None:
    shell = start_ipython() or __import__("IPython").get_ipython()
    shell.run_cell("import os\nnew_rows, _private = 1, 2\n3")
    variables = notebook_variables()
    assert variables["new_rows"] == 1
    assert not {"_private", "_", "In", "Out", "get_ipython", "exit", "quit"} & set(variables)
