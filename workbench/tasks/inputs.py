"""Checks of raw inputs: they are converted to arrays, or rejected with the field, the value and the remedy."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse

from workbench.core.errors import TaskError
from workbench.core.text import counted

__all__ = ["array_of", "as_inputs", "materialise", "to_shape", "warn_of_channels_last"]

CHANNELS = (1, 3, 4)
"""Of a picture: grey, colours, colours with opacity."""


def array_of(values: Any, name: str) -> NDArray[Any]:
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
    X = array_of(values, "X")
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
            stacklevel=5,  # who called the maker of the task
        )


def to_shape(given: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """What to do about rows of another shape, as the end of a message; empty where nothing simple helps."""
    if len(given) == 3 and (given[2], *given[:2]) == wanted:
        return "; their channels come last: give X.transpose(0, 3, 1, 2)"
    if (1, *given) == wanted:
        return "; give X[:, None]"
    same = math.prod(given) == math.prod(wanted)
    return f"; give X.reshape({', '.join(map(str, (-1, *wanted)))})" if same else ""


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
            xs.append(array_of(x, "x"))
            ys.append(array_of(y, "y"))
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
