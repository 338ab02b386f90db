"""The notebook's variables that hold data of a task's kind: found by their names; nothing is evaluated."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset, IterableDataset

from workbench.core.errors import TaskError, did_you_mean
from workbench.tasks import Task

__all__ = ["as_code", "fitting", "looked_up", "notebook_variables"]

OFFERED = 30
"""At most so many are offered."""
COLUMNS = (np.ndarray, torch.Tensor, pd.Series)
Shapes = Collection[tuple[int, ...]]


def notebook_variables() -> dict[str, object]:
    """The variables of the notebook, those that begin with `_` and IPython's own left out; none outside of IPython."""
    from IPython import get_ipython

    shell: Any = get_ipython()
    if shell is None:
        return {}
    hidden = shell.user_ns_hidden
    return {
        name: value
        for name, value in list(shell.user_ns.items())
        if not name.startswith("_") and not (name in hidden and hidden[name] is value)
    }


def fitting(variables: Mapping[str, object], task: Task) -> list[str]:
    """What of some variables can be new data of a task, as text for `looked_up`; what fits best first.

    Of a task made from a table, the DataFrames, those with all of its input columns first. Of one made from arrays, pairs (X, y),
    map-style torch data sets, and any two arrays of as many rows: "X, y". Versions that `task.version` made fit as well. Only
    types, columns and shapes are looked at.
    """
    found = [name for name, value in variables.items() if isinstance(value, Task) and _is_version(value, task)]
    columns = task.schema.columns
    if columns is not None:
        frames = {name: value for name, value in variables.items() if isinstance(value, pd.DataFrame)}
        whole = [name for name, frame in frames.items() if set(columns) <= set(map(str, frame.columns))]
        return [*found, *whole, *(name for name in frames if name not in whole)][:OFFERED]
    found += [name for name, value in variables.items() if _is_pair(value) or _is_dataset(value)]
    outputs = task.output_size
    shapes: Shapes = ((),) if task.classes is not None else ((), (1,)) if outputs == 1 else ((outputs,),)
    inputs, targets = _arrays(variables, (task.schema.raw_shape,)), _arrays(variables, shapes)
    pairs = [f"{x}, {y}" for x, rows in inputs.items() for y, others in targets.items() if x != y and rows == others]
    return [*found, *pairs][:OFFERED]


def looked_up(text: str, variables: Mapping[str, object], task: Task) -> Any:
    """The data that a text names: a variable, two of them as a pair ("X, y"), or, for a task made from a table, a CSV file.

    Raises: TaskError naming what is not there.
    """
    text = text.strip()
    table = task.schema.columns is not None
    wanted = "a DataFrame, or the path of a .csv file" if table else 'a pair (X, y), or two arrays as in "X, y"'
    if not text:
        raise TaskError(f"new_data: nothing is chosen; give the name of {wanted}")
    if _is_path(text):
        if not table:
            message = "this task was made from arrays, not from a table"
            raise TaskError(f"new_data={text!r}: {message}; give the name of {wanted}")
        return text
    names = [part.strip() for part in text.strip("()").split(",")]
    for name in names:
        if name not in variables:
            known = {one.strip() for offer in fitting(variables, task) for one in offer.split(",")}
            message = f"new_data: the notebook has no variable {name!r}{did_you_mean(name, known)}"
            raise TaskError(f"{message}; give the name of {wanted}")
    if len(names) > 2:
        raise TaskError(f"new_data={text!r}: these are {len(names)} variables; give the name of {wanted}")
    found = tuple(variables[name] for name in names)
    return found if len(found) == 2 else found[0]


def as_code(text: str) -> str:
    """What a text for `looked_up` is in Python: the name, the pair of names, or the path as a string."""
    text = text.strip()
    if _is_path(text):
        return repr(text)
    inner = text.strip("()")
    return f"({inner})" if "," in inner else inner


# ----------------------------------------------------------------------------------------------------------------------


def _is_path(text: str) -> bool:
    return text.lower().endswith(".csv")


def _is_version(value: Task, task: Task) -> bool:
    return value.former is not None and value.former.fingerprint == task.fingerprint


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, COLUMNS) for part in value)


def _is_dataset(value: object) -> bool:
    return isinstance(value, Dataset) and not isinstance(value, IterableDataset)


def _arrays(variables: Mapping[str, object], shapes: Shapes) -> dict[str, int]:
    """The arrays whose rows have one of some shapes, and how many rows each has."""
    arrays = {name: value for name, value in variables.items() if isinstance(value, COLUMNS) and value.ndim > 0}
    return {name: len(value) for name, value in arrays.items() if tuple(value.shape[1:]) in shapes}
