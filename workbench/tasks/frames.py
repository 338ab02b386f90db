"""Tables as they come: DataFrames and CSV files, divided into inputs and targets and checked column by column."""

from __future__ import annotations

import datetime
import numbers
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.core.errors import TaskError, did_you_mean
from workbench.core.text import counted

__all__ = ["MAX_CATEGORIES", "check_frame", "check_is_frame", "is_number", "read_csv"]

MAX_CATEGORIES = 1000
"""A text column with more different values than this is rejected: each would become an input of its own."""

DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([ T].*)?|\d{1,2}([./-])\d{1,2}\2\d{4}([ T].*)?")


def is_number(column: pd.Series[Any]) -> bool:
    """Whether a column is used as numbers: all others, booleans among them, are one-hot encoded."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def check_is_frame(frame: object) -> None:
    """Raises: TaskError for anything but a DataFrame with different column names."""
    if not isinstance(frame, pd.DataFrame):
        raise TaskError(f"from_frame needs a DataFrame, got {type(frame).__name__}; use Task.from_arrays(X, y)")
    columns = [str(column) for column in frame.columns]
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise TaskError(f"the column {twice!r} occurs twice in the data; rename one")


def check_frame(frame: pd.DataFrame, target: str | Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame | pd.Series[Any]]:
    """A DataFrame divided into inputs and target(s). Raises: TaskError naming the column."""
    check_is_frame(frame)
    columns = [str(column) for column in frame.columns]
    frame = frame.set_axis(columns, axis=1)
    targets = [str(name) for name in target] if isinstance(target, (list, tuple, pd.Index)) else [str(target)]
    for name in targets:
        if name not in columns:
            raise TaskError(f"target={name!r}: there is no such column{did_you_mean(name, columns)}")
    inputs = frame.drop(columns=targets)
    if not targets or frame.empty or inputs.shape[1] == 0:
        raise TaskError(
            f"the data has {len(frame)} rows, {inputs.shape[1]} input columns and target={target!r}: there is nothing "
            "to learn from; give rows, a target and at least one input column"
        )
    inputs = pd.DataFrame({name: _checked(name, inputs[name]) for name in inputs}, index=frame.index)
    return inputs, frame[targets[0]] if len(targets) == 1 else frame[targets]


def read_csv(path: str | Path, target: str | Sequence[str]) -> pd.DataFrame:
    """A CSV file. A first column without a name is the index that `DataFrame.to_csv` writes, and is left out.

    Raises: TaskError if there is no such file, or pandas cannot read it.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TaskError(
            f"path is a {type(path).__name__}: give a CSV file's path, or use Task.from_frame for a DataFrame"
        )
    if not Path(path).is_file():
        raise TaskError(f"path={str(path)!r}: there is no such file; check the spelling and the folder {Path.cwd()}")
    try:
        frame = pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise TaskError(
            f"path={str(path)!r}: is no CSV file that pandas can read ({error}); read it with pandas and use "
            "Task.from_frame"
        ) from error
    separator = next((mark for mark in ";\t|" if mark in str(frame.columns[0])), None)
    if frame.shape[1] == 1 and separator:
        raise TaskError(
            f"path={str(path)!r}: has a single column, {frame.columns[0]!r}; if {separator!r} separates its values, "
            f"use Task.from_frame(pd.read_csv(path, sep={separator!r}), target={target!r})"
        )
    return frame.drop(columns="Unnamed: 0") if frame.columns[0] == "Unnamed: 0" else frame


def _checked(name: str, column: pd.Series[Any]) -> pd.Series[Any]:
    """The column, with numbers kept as objects made numbers. Raises: TaskError if it cannot be used."""
    present = column.dropna()
    if column.dtype == object and len(present):
        _check_objects(name, present)
        if all(isinstance(value, numbers.Real) or type(value).__name__ == "Decimal" for value in present) and not all(
            isinstance(value, (bool, np.bool_)) for value in present
        ):
            column = column.astype(float)
    if pd.api.types.is_timedelta64_dtype(column):
        raise TaskError(f"column {name!r} holds durations; turn them into numbers: df[{name!r}].dt.total_seconds()")
    if pd.api.types.is_datetime64_any_dtype(column):
        raise TaskError(
            f"column {name!r} holds dates; turn them into numbers, such as df[{name!r}].dt.dayofyear, or drop it"
        )
    if pd.api.types.is_complex_dtype(column):
        raise TaskError(f"column {name!r} holds complex numbers; split it into real and imaginary parts")
    if is_number(column):
        infinite = int(np.isinf(column.to_numpy(dtype=float, na_value=np.nan)).sum())
        if infinite:
            raise TaskError(
                f"column {name!r} has {counted(infinite, 'infinite value')}; replace them by NaN to have them filled in"
            )
        return column
    values = present.astype(str).unique()
    if len(values) and all(DATE.fullmatch(value) for value in values):
        raise TaskError(
            f"column {name!r} holds dates as text, such as {values[0]!r}; parse it with pd.to_datetime and turn it "
            "into numbers, such as .dt.dayofyear, or drop it"
        )
    if len(values) > MAX_CATEGORIES:
        raise TaskError(
            f"column {name!r} has {len(values)} different texts, such as {values[0]!r}, and each would become an "
            f"input; drop it if it only names the rows, or merge values (at most {MAX_CATEGORIES})"
        )
    return column


def _check_objects(name: str, present: pd.Series[Any]) -> None:
    for value in present:
        if isinstance(value, (list, tuple, dict, set, np.ndarray)):
            raise TaskError(
                f"column {name!r} holds {type(value).__name__}s; expand them into one column a value, or drop it"
            )
        if isinstance(value, datetime.timedelta):
            raise TaskError(
                f"column {name!r} holds durations; turn them into numbers: pd.to_timedelta(df[{name!r}]).dt.total_seconds()"
            )
        if isinstance(value, datetime.date):
            raise TaskError(
                f"column {name!r} holds dates; turn them into numbers, such as the day of a year, or drop it"
            )
        if isinstance(value, complex):
            raise TaskError(f"column {name!r} holds complex numbers; split it into real and imaginary parts")
