"""Tables as they come: DataFrames and CSV files, divided into inputs and targets and checked column by column."""

from __future__ import annotations

import datetime
import decimal
import math
import numbers
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import TaskError, did_you_mean
from workbench.core.text import counted

__all__ = ["MAX_CATEGORIES", "as_frame", "as_numbers", "check_frame", "check_is_frame", "is_number", "read_csv"]

MAX_CATEGORIES = 1000
"""A text column with more different values than this is rejected: each would become an input of its own."""

DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([ T].*)?|\d{1,2}([./-])\d{1,2}\2\d{4}([ T].*)?")


_BY_TIME = "; to divide the rows by it, give split=wb.Split.ordered({!r})"


def is_number(column: pd.Series[Any]) -> bool:
    """Whether a column is used as numbers: all others, booleans among them, are one-hot encoded."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def as_frame(data: Any) -> Any:
    """A table of another library (polars, pyarrow) as a pandas DataFrame; all else as it is.

    Raises: TaskError for a table that is not read yet, or cannot be converted.
    """
    if isinstance(data, (pd.DataFrame, pd.Series)):
        return data
    library, name = type(data).__module__.partition(".")[0], type(data).__name__
    if library == "polars" and name == "LazyFrame":
        raise TaskError("the table is a polars LazyFrame, which is not read yet; give frame.collect()")
    if library == "polars" and name == "DataFrame":
        return _from_polars(data)
    if not (hasattr(data, "to_pandas") and (hasattr(data, "columns") or hasattr(data, "column_names"))):
        return data
    try:
        return data.to_pandas()
    except Exception as error:
        raise TaskError(f"the {library} {name} cannot be converted ({error}); give a pandas DataFrame") from error


def _from_polars(data: Any) -> pd.DataFrame:
    """Column by column, which does not need pyarrow, as polars' own conversion does. An Enum is an ordered categorical."""
    columns = {}
    for column in data.iter_columns():
        kind = type(column.dtype).__name__
        values = column.to_list()
        if kind == "Enum":
            columns[column.name] = pd.Categorical(values, column.dtype.categories.to_list(), ordered=True)
        elif kind == "Categorical":
            columns[column.name] = pd.Categorical(values)
        elif column.dtype.is_numeric() and kind != "Decimal":
            columns[column.name] = column.cast(type(data)({"x": [0.0]})["x"].dtype).to_numpy()
        else:
            columns[column.name] = pd.Series(values, dtype=object).infer_objects()
    return pd.DataFrame(columns)


def check_is_frame(frame: object) -> None:
    """Raises: TaskError for anything but a DataFrame with different column names."""
    if isinstance(frame, pd.Series):
        raise TaskError(
            "from_frame needs a table of inputs and a target, got a Series, which is one column; give a DataFrame"
        )
    if not isinstance(frame, pd.DataFrame):
        raise TaskError(
            f"from_frame needs a DataFrame, got {type(frame).__name__}; use Task.from_arrays(X, y) for arrays, or give a table "
            "of pandas, polars or pyarrow"
        )
    columns = [str(column) for column in frame.columns]
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise TaskError(f"the column {twice!r} occurs twice in the data; rename one")


def check_frame(frame: Any, target: str | Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame | pd.Series[Any]]:
    """A table divided into inputs and target(s). Raises: TaskError naming the column."""
    frame = as_frame(frame)
    check_is_frame(frame)
    columns = [str(column) for column in frame.columns]
    frame = frame.set_axis(columns, axis=1)
    targets = [str(name) for name in target] if isinstance(target, (list, tuple, pd.Index)) else [str(target)]
    for name in targets:
        if name not in columns:
            raise TaskError(f"target={name!r}: there is no such column{did_you_mean(name, columns)}")
    if len(set(targets)) < len(targets):
        raise TaskError(f"target={list(targets)!r}: names a column twice; name each once")
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
    given = path
    try:
        path = Path(path).expanduser()
    except RuntimeError as error:  # a home folder that is not known
        raise TaskError(f"path={str(given)!r}: {error}; give the whole path") from error
    if not path.is_file():
        raise TaskError(f"path={str(given)!r}: there is no such file; check the spelling and the folder {Path.cwd()}")
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
        if all(isinstance(value, (numbers.Real, decimal.Decimal)) for value in present) and not all(
            isinstance(value, (bool, np.bool_)) for value in present
        ):
            column = pd.Series(as_numbers(column), index=column.index, name=name)
    categories = column.dtype.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    if isinstance(categories, pd.Index) and categories.dtype == object:
        _check_objects(name, categories)
    plain = f"df[{name!r}]" + (f".astype({str(categories.dtype)!r})" if categories is not column else "")
    if pd.api.types.is_timedelta64_dtype(categories):
        raise TaskError(f"column {name!r} holds durations; turn them into numbers: {plain}.dt.total_seconds()")
    if pd.api.types.is_datetime64_any_dtype(categories) or isinstance(categories.dtype, pd.PeriodDtype):
        what, part = ("periods", "year") if isinstance(categories.dtype, pd.PeriodDtype) else ("dates", "dayofyear")
        raise TaskError(
            f"column {name!r} holds {what}; turn them into numbers, such as {plain}.dt.{part}, or drop it{_BY_TIME.format(name)}"
        )
    if pd.api.types.is_complex_dtype(categories):
        raise TaskError(f"column {name!r} holds complex numbers; split it into real and imaginary parts")
    if is_number(column):
        if column.dtype == np.longdouble:
            column = column.astype(np.float64)  # pandas cannot hash long doubles
        infinite = int(np.isinf(column.to_numpy(dtype=float, na_value=np.nan)).sum())
        if infinite:
            raise TaskError(
                f"column {name!r} has {counted(infinite, 'infinite value')}; replace them by NaN to have them filled in"
            )
        return column
    values = present.astype(str).unique()
    for value in values:
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise TaskError(
                f"column {name!r} has {value!r}, which is no valid text (half a surrogate pair); read the file with its own "
                "encoding"
            )
    if len(values) and all(DATE.fullmatch(value) for value in values):
        raise TaskError(
            f"column {name!r} holds dates as text, such as {values[0]!r}; parse it with pd.to_datetime and turn it "
            f"into numbers, such as .dt.dayofyear, or drop it{_BY_TIME.format(name)}"
        )
    if len(values) > MAX_CATEGORIES:
        raise TaskError(
            f"column {name!r} has {len(values)} different texts, such as {values[0]!r}, and each would become an "
            f"input; drop it if it only names the rows, or merge values (at most {MAX_CATEGORIES})"
        )
    return column


def as_numbers(column: pd.Series[Any]) -> NDArray[np.float64]:
    """The numbers of a column, NaN for missing ones. Raises: TaskError naming the value that is none."""
    try:
        if column.dtype != object:
            return np.asarray(pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan))
        missing = column.isna().to_numpy()
        return np.array([math.nan if lacks else float(value) for value, lacks in zip(column, missing, strict=True)])
    except OverflowError:
        raise TaskError(f"column {column.name!r} holds a number beyond 1e308; take its logarithm, or drop it") from None
    except (TypeError, ValueError) as error:
        raise TaskError(f"column {column.name!r} holds numbers in the training rows, and now: {error}") from error


def _check_objects(name: str, present: pd.Series[Any] | pd.Index[Any]) -> None:
    for value in present:
        if pd.api.types.is_list_like(value) or (hasattr(value, "__array__") and not isinstance(value, np.generic)):
            what = f"{type(value).__name__.removesuffix('s')}s"
            raise TaskError(f"column {name!r} holds {what}; expand them into one column a value, or drop it")
        if isinstance(value, (datetime.timedelta, np.timedelta64)):
            raise TaskError(
                f"column {name!r} holds durations; turn them into numbers: pd.to_timedelta(df[{name!r}]).dt.total_seconds()"
            )
        if isinstance(value, (datetime.date, datetime.time, np.datetime64, pd.Period)):
            what, example = {
                datetime.time: ("times of a day", "the minute of a day"),
                pd.Period: ("periods", "the year"),
            }.get(type(value), ("dates", "the day of a year"))
            raise TaskError(
                f"column {name!r} holds {what}; turn them into numbers, such as {example}, or drop it"
                + (_BY_TIME.format(name) if what != "times of a day" else "")
            )
        if isinstance(value, complex):
            raise TaskError(f"column {name!r} holds complex numbers; split it into real and imaginary parts")
