"""Checks of raw data: it is converted to arrays, or rejected with the field, the value and the remedy."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse

from workbench.core.errors import TaskError, did_you_mean
from workbench.core.text import counted

__all__ = [
    "Kind", "Label", "Targets", "as_inputs", "as_targets", "kind_of", "materialise", "rule_of", "to_shape",
    "warn_of_channels_last",
]  # fmt: skip

Kind = Literal["classification", "regression"]
Label = str | int | float | bool
MANY_VALUES = 20
"""Whole numbers with more different values than this, and than a twentieth of the rows, are amounts and not labels."""
CHANNELS = (1, 3, 4)
"""Of a picture: grey, colours, colours with opacity."""


class Targets(NamedTuple):
    """y, checked. kind: what it asks for. values: class indices (rows,) int64, or numbers (rows, outputs) float64. classes: the
    labels as text, None for numbers. labels: the same as y has them: whole numbers, numbers, booleans or text. flat: whether y
    is (rows,), and not (rows, outputs)."""

    kind: Kind
    values: NDArray[Any]
    classes: tuple[str, ...] | None
    labels: tuple[Label, ...] | None
    flat: bool


def _array(values: Any, name: str) -> NDArray[Any]:
    """What is given as an array; objects that are plain numbers become numbers."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.to_dense() if values.layout != torch.strided else values
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    if sparse.issparse(values):
        values = values.toarray()
    if isinstance(values, (pd.Series, pd.DataFrame, pd.Index)):
        values = values.to_numpy()
    if isinstance(values, np.ma.MaskedArray):
        if values.mask.any():
            raise TaskError(f"{name} has {int(values.mask.sum())} masked values; remove those rows or fill them in")
        values = values.data
    try:
        array = np.asarray(values)
    except ValueError:
        raise TaskError(f"{name}: its rows have different lengths; every row needs the same number of values") from None
    if array.dtype == object and array.ndim == 1:
        array = pd.Series(array).infer_objects().to_numpy()
    return array


def as_inputs(values: Any) -> NDArray[np.float64]:
    """X as (rows, features...) float64. Raises: TaskError for empty, non-numeric, NaN or infinite inputs."""
    X = _array(values, "X")
    if X.dtype == object:
        try:
            X = X.astype(float)
        except (TypeError, ValueError, OverflowError):
            raise TaskError(
                "X holds values that are not numbers (text, lists or mixed types); use Task.from_frame, which encodes "
                "text columns, or convert them first"
            ) from None
    if X.dtype.kind == "c":
        raise TaskError(f"X has the type {X.dtype}; give real and imaginary parts as features of their own")
    if X.dtype.kind not in "buif":
        raise TaskError(f"X has the type {X.dtype}; it must hold numbers (Task.from_frame takes text columns)")
    if X.size == 0:
        raise TaskError(f"X has the shape {X.shape}: there is no data in it")
    if X.ndim < 2:
        raise TaskError(
            f"X has the shape {X.shape}; it needs one row per example: use X.reshape(-1, 1) for one feature"
        )
    X = X.astype(np.float64)
    bad = ~np.isfinite(X).reshape(len(X), -1)
    if bad.any():
        column = int(bad.any(0).argmax())
        what = "NaN" if np.isnan(X.reshape(len(X), -1)[:, column]).any() else "infinite"
        count = int(bad.sum())
        raise TaskError(
            f"X has {counted(count, 'NaN or infinite value')}, first in column {column} ({what}); "
            "remove those rows, or use Task.from_frame, which fills in missing values"
        )
    return X


def warn_of_channels_last(shape: tuple[int, ...]) -> None:
    """Warns (UserWarning) of pictures (rows, height, width, channels), which would be taken for ones of many channels."""
    if len(shape) == 4 and min(shape[1:3]) > max(CHANNELS) and shape[3] in CHANNELS:
        warnings.warn(
            f"X has the shape {shape} and is taken for pictures (rows, channels, height, width), of {shape[1]} channels with "
            f"{shape[2]} x {shape[3]} pixels; if the channels come last, give X.transpose(0, 3, 1, 2)",
            UserWarning,
            stacklevel=4,  # who called the maker of the task
        )


def to_shape(given: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """What to do about rows of another shape, as the end of a message; empty where nothing simple helps."""
    if len(given) == 3 and (given[2], *given[:2]) == wanted:
        return "; their channels come last: give X.transpose(0, 3, 1, 2)"
    if (1, *given) == wanted:
        return "; give X[:, None]"
    same = math.prod(given) == math.prod(wanted)
    return f"; give X.reshape({', '.join(map(str, (-1, *wanted)))})" if same else ""


def kind_of(y: NDArray[Any], kind: str) -> Kind:
    """What the targets ask for. "auto": text, booleans and few different whole numbers are classes, all else numbers.

    Few: at most `MANY_VALUES` different ones, or at most one in twenty rows. Several columns are always numbers.
    """
    if isinstance(kind, str) and kind in ("classification", "regression"):
        return kind  # type: ignore[return-value]
    if not isinstance(kind, str) or kind != "auto":
        names = ("auto", "classification", "regression")
        raise TaskError(f"kind={kind!r}: must be one of {', '.join(names)}{did_you_mean(str(kind), names)}")
    if y.ndim == 2 and y.shape[1] > 1:
        return "regression"
    if y.dtype.kind not in "iuf":
        return "classification"
    values = np.unique(y[np.isfinite(y)] if y.dtype.kind == "f" else y)
    whole = bool(np.all(values == np.round(values)))
    return "classification" if whole and not (len(values) > MANY_VALUES and len(values) > len(y) / 20) else "regression"


def rule_of(targets: NDArray[Any], kind: Kind, classes: tuple[str, ...] | None) -> str:
    """Why "auto" decided for this kind."""
    if kind == "classification":
        return f"y has {len(classes or ())} different labels"
    if targets.shape[1] > 1:
        return "y has several columns"
    values = np.unique(targets)
    fractions = bool((values != np.round(values)).any())
    return "y has fractions" if fractions else f"y has {len(values)} different numbers"


def as_targets(values: Any, rows: int, kind: str, field: str = "y") -> Targets:
    """y checked: its kind, class indices (rows,) int64 or numbers (rows, outputs) float64, and the classes' labels.

    field: how messages call y. Raises: TaskError for missing or infinite targets, another length than X, or one class.
    """
    y = _array(values, field)
    flat = y.ndim == 1
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 0 or len(y) != rows:
        count = "one value" if y.ndim == 0 else counted(len(y), "row")
        raise TaskError(f"X has {counted(rows, 'row')} and {field} has {count}: give one target for each row")
    _check_values(y, field)
    found = kind_of(y, kind)
    if found == "regression":
        return Targets(found, _numbers(y, kind, field), None, None, flat)
    return Targets(found, *_classes(y, field), flat)


def _check_values(y: NDArray[Any], field: str) -> None:
    if y.ndim > 2 or y.size == 0:
        raise TaskError(f"{field} has the shape {y.shape}; give one target a row, or (rows, outputs) for a regression")
    if y.dtype.kind == "m":
        raise TaskError(f"{field} holds durations; turn them into numbers: a pandas column has .dt.total_seconds()")
    if y.dtype.kind == "M":
        raise TaskError(f"{field} holds dates; turn them into numbers, such as days since a first one, or into labels")
    if y.dtype.kind in "cV":
        raise TaskError(f"{field} has the type {y.dtype}; it must hold labels or real numbers")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        count = int((~np.isfinite(y)).sum())
        raise TaskError(f"{field} has {counted(count, 'NaN or infinite value')}; remove those rows")
    if y.dtype == object:
        odd = next((value for value in y.flat if isinstance(value, (list, tuple, dict, set, np.ndarray))), None)
        if odd is not None:
            raise TaskError(f"{field} holds {type(odd).__name__}s, such as {odd!r}; give one target a row")
        missing = int(pd.isna(pd.Series(list(y.flat), dtype=object)).sum())
        if missing:
            raise TaskError(f"{field} has {counted(missing, 'missing value')}; remove those rows")


def _numbers(y: NDArray[Any], kind: str, field: str) -> NDArray[np.float64]:
    try:
        numbers = y.astype(np.float64) if y.dtype.kind in "buifO" else None
    except (TypeError, ValueError, OverflowError):
        numbers = None
    if numbers is None:
        raise TaskError(
            f"{field} has the type {y.dtype}: a regression needs numbers; for labels use kind='classification'"
        )
    numbers = numbers.reshape(len(y), -1)
    if kind == "auto" and bool(np.isin(numbers, (0, 1)).all()) and bool((numbers.sum(1) == 1).all()):
        raise TaskError(
            f"{field} has the shape {y.shape} and looks one-hot: use {field}.argmax(axis=1) for classes, or say "
            "kind='regression' if it is meant as numbers"
        )
    constant = (numbers == numbers[0]).all(0)
    if constant.any():
        column = int(constant.argmax())
        which = f"{field}, column {column}," if len(constant) > 1 else field
        raise TaskError(
            f"{which} is {numbers[0, column]:g} in every row: there is nothing to learn; give targets that differ"
        )
    return numbers


def _classes(y: NDArray[Any], field: str) -> tuple[NDArray[np.int64], tuple[str, ...], tuple[Label, ...]]:
    """The class indices (rows,), and the labels as text and as y has them."""
    if y.ndim > 1:
        raise TaskError(
            f"{field} has the shape {y.shape}: classes need one label a row; use {field}.argmax(axis=1) for one-hot"
        )
    if y.dtype == object and len({type(label) for label in y}) > 1:
        # mixed types have no order of their own, or a wrong one: False == 0
        y = np.array([str(label) for label in y], dtype=object)
    try:
        labels, indices = np.unique(y, return_inverse=True)
    except TypeError:
        raise TaskError(f"{field} holds {type(y[0]).__name__}s, which have no order; give text or numbers") from None
    found = labels.tolist()
    if len(found) < 2:
        raise TaskError(f"{field} has only one class, {str(found[0])!r}; a classification needs at least two")
    own = found
    if all(isinstance(label, float) and label.is_integer() for label in found):
        found = [int(label) for label in found]
    classes = tuple(str(label) for label in found)
    plain = type(own[0]) in (str, int, float, bool)  # of anything else, such as a Decimal, a file keeps the text
    return indices.astype(np.int64), classes, tuple(own) if plain else classes


def materialise(dataset: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """All items of a map-style torch data set, stacked. Raises: TaskError naming the item that fails or differs."""
    iterable = isinstance(dataset, torch.utils.data.IterableDataset)
    single = getattr(dataset, "ndim", 1) == 0  # a number in an array only seems to have items
    if iterable or single or not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise TaskError(
            f"dataset: a {type(dataset).__name__} has no length or cannot be indexed; a map-style data set is needed: "
            "collect an iterable one into a list of (x, y) first"
        )
    xs: list[NDArray[Any]] = []
    ys: list[NDArray[Any]] = []
    for index in range(len(dataset)):
        try:
            x, y = dataset[index]
            xs.append(_array(x, "x"))
            ys.append(_array(y, "y"))
        except Exception as error:
            raise TaskError(
                f"item {index} of the data set cannot be read: {type(error).__name__}: {error}; "
                "each item must be a pair (x, y)"
            ) from error
        for part, arrays in (("x", xs), ("y", ys)):
            if arrays[-1].shape != arrays[0].shape:
                raise TaskError(
                    f"item {index} of the data set has an {part} of shape {arrays[-1].shape}, item 0 has "
                    f"{arrays[0].shape}; make them equal"
                )
    if not xs:
        raise TaskError("the data set is empty: its length is 0")
    return np.stack(xs), np.stack(ys)
