"""Checks of raw data: what comes in is turned into arrays, or refused with the field, the value and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse

from workbench.errors import TaskError, did_you_mean

__all__ = ["Kind", "as_inputs", "as_targets", "check_frame", "kind_of", "materialise"]

Kind = Literal["classification", "regression"]
MANY_VALUES = 20
"""Whole numbers with more different values than this, in more than a twentieth of the rows, are amounts and not labels."""


def _array(values: Any, name: str) -> NDArray[Any]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    if sparse.issparse(values):
        values = values.toarray()
    if isinstance(values, (pd.Series, pd.DataFrame)):
        values = values.to_numpy()
    try:
        return np.asarray(values)
    except ValueError:
        raise TaskError(f"{name}: its rows have different lengths; every row needs the same number of values") from None


def as_inputs(values: Any) -> NDArray[np.float64]:
    """X as (rows, features...) float64. Raises: TaskError for empty, non-numeric, NaN or infinite inputs."""
    X = _array(values, "X")
    if X.dtype == object:
        try:
            X = X.astype(float)
        except (TypeError, ValueError):
            raise TaskError(
                "X holds values that are not numbers (text, lists or mixed types); use Task.from_frame, which encodes "
                "text columns, or convert them first"
            ) from None
    if X.dtype.kind not in "buif":
        raise TaskError(f"X has the type {X.dtype}; it must hold numbers (Task.from_frame takes text columns)")
    if X.ndim == 1 and X.size:
        raise TaskError(
            f"X has the shape {X.shape}; it needs one row per example: use X.reshape(-1, 1) for one feature"
        )
    if X.size == 0:
        raise TaskError(f"X has the shape {X.shape}: there is no data in it")
    X = X.astype(np.float64)
    bad = ~np.isfinite(X).reshape(len(X), -1)
    if bad.any():
        column = int(bad.any(0).argmax())
        what = "NaN" if np.isnan(X.reshape(len(X), -1)[:, column]).any() else "infinite"
        raise TaskError(
            f"X has {int(bad.sum())} values that are NaN or infinite, first in column {column} ({what}); remove those rows, "
            "or use Task.from_frame, which fills in missing values"
        )
    return X


def kind_of(y: NDArray[Any], kind: str) -> Kind:
    """What the targets ask for. "auto": text, booleans and few different whole numbers are classes, all else numbers."""
    if kind in ("classification", "regression"):
        return kind  # type: ignore[return-value]
    if kind != "auto":
        names = ("auto", "classification", "regression")
        raise TaskError(f"kind={kind!r}: must be one of {', '.join(names)}{did_you_mean(str(kind), names)}")
    if y.ndim == 2 and y.shape[1] > 1:
        return "regression"
    if y.dtype.kind not in "iuf":
        return "classification"
    values = np.unique(y[np.isfinite(y)] if y.dtype.kind == "f" else y)
    whole = bool(np.all(values == np.round(values)))
    return "classification" if whole and not (len(values) > MANY_VALUES and len(values) > len(y) / 20) else "regression"


def as_targets(values: Any, rows: int, kind: str) -> tuple[Kind, NDArray[Any], tuple[str, ...] | None]:
    """y checked: its kind, class indices (rows,) int64 or numbers (rows, outputs) float64, and the classes' names.

    Raises: TaskError for missing or infinite targets, another length than X, or a single class.
    """
    y = _array(values, "y")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 0 or len(y) != rows:
        count = "one value" if y.ndim == 0 else f"{len(y)} rows"
        raise TaskError(f"X has {rows} rows and y has {count}: give one target for each row")
    found = kind_of(y, kind)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise TaskError(f"y has {int((~np.isfinite(y)).sum())} values that are NaN or infinite; remove those rows")
    if y.dtype == object and pd.isna(pd.Series(list(y))).any():
        raise TaskError(f"y has {int(pd.isna(pd.Series(list(y))).sum())} missing values; remove those rows")
    if found == "regression":
        if y.dtype.kind not in "buif":
            raise TaskError(
                f"y has the type {y.dtype}: a regression needs numbers; for labels use kind='classification'"
            )
        numbers = y.astype(np.float64)
        if np.all(numbers == numbers[0]):
            raise TaskError(f"y is {numbers.flat[0]:g} in every row: there is nothing to learn")
        return found, numbers.reshape(rows, -1), None
    if y.ndim > 1:
        raise TaskError(
            f"y has the shape {y.shape}: classes need one label a row; use y.argmax(axis=1) for one-hot rows"
        )
    try:
        classes, indices = np.unique(y, return_inverse=True)
    except TypeError:  # labels of mixed types have no order of their own
        indices, classes = pd.factorize(pd.Series(list(y)).astype(str), sort=True)
    if len(classes) < 2:
        raise TaskError(f"y has only one class, {classes[0]!s}; a classification needs at least two")
    whole = classes.dtype.kind == "f" and np.all(classes == np.round(classes))
    names = tuple(str(int(label) if whole else label) for label in classes.tolist())
    return found, indices.astype(np.int64), names


def check_frame(frame: pd.DataFrame, target: str | Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame | pd.Series[Any]]:
    """A DataFrame divided into inputs and target(s). Raises: TaskError naming the column."""
    if not isinstance(frame, pd.DataFrame):
        raise TaskError(f"from_frame needs a DataFrame, got {type(frame).__name__}; use Task.from_arrays(X, y)")
    columns = [str(column) for column in frame.columns]
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise TaskError(f"the column {twice!r} stands in the data twice; rename one")
    frame = frame.set_axis(columns, axis=1)
    targets = [target] if isinstance(target, str) else list(target)
    for name in targets:
        if name not in columns:
            raise TaskError(f"target={name!r}: there is no such column{did_you_mean(name, columns)}")
    inputs = frame.drop(columns=targets)
    if frame.empty or inputs.shape[1] == 0:
        raise TaskError(
            f"the data has {len(frame)} rows and {inputs.shape[1]} input columns: there is nothing to learn from"
        )
    for name in inputs:
        _check_column(name, inputs[name])
    return inputs, frame[targets[0]] if len(targets) == 1 else frame[targets]


def _check_column(name: str, column: pd.Series[Any]) -> None:
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        raise TaskError(
            f"column {name!r} holds dates; turn them into numbers, such as df[{name!r}].dt.dayofyear, or drop it"
        )
    if pd.api.types.is_complex_dtype(column):
        raise TaskError(f"column {name!r} holds complex numbers; split it into real and imaginary parts")
    if pd.api.types.is_numeric_dtype(column):
        infinite = int(np.isinf(column.to_numpy(dtype=float, na_value=np.nan)).sum())
        if infinite:
            raise TaskError(
                f"column {name!r} has {infinite} infinite values; replace them by NaN to have them filled in"
            )
        return
    odd = next((value for value in column if isinstance(value, (list, tuple, dict, set, np.ndarray))), None)
    if odd is not None:
        raise TaskError(f"column {name!r} holds {type(odd).__name__}s; expand them into one column a value, or drop it")


def materialise(dataset: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """All items of a map-style torch data set, stacked. Raises: TaskError naming the item that fails or does not fit."""
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise TaskError(
            f"{type(dataset).__name__} has no length or cannot be indexed; a map-style data set is needed: "
            "collect an iterable one into a list of (x, y) first"
        )
    xs: list[NDArray[Any]] = []
    ys: list[Any] = []
    for index in range(len(dataset)):
        try:
            x, y = dataset[index]
        except Exception as error:
            raise TaskError(
                f"item {index} of the data set cannot be read: {type(error).__name__}: {error}; "
                "each item must be a pair (x, y)"
            ) from error
        xs.append(np.asarray(x))
        ys.append(
            y.item()
            if isinstance(y, torch.Tensor) and y.dim() == 0
            else np.asarray(y)
            if isinstance(y, torch.Tensor)
            else y
        )
        if xs[-1].shape != xs[0].shape:
            raise TaskError(
                f"item {index} of the data set has the shape {xs[-1].shape}, item 0 has {xs[0].shape}; make them equal"
            )
    if not xs:
        raise TaskError("the data set is empty")
    return np.stack(xs), np.asarray(ys)
