"""Checks of raw inputs: they are converted to arrays, or rejected with the field, the value and the remedy."""

from __future__ import annotations

import keyword
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse

from workbench.core.errors import TaskError, did_you_mean
from workbench.core.text import counted
from workbench.core.warn import callers_level

__all__ = ["NUMBERS", "TOKENS", "NamedArrays", "array_of", "as_inputs", "to_shape", "warn_of_channels", "warn_of_order"]

NUMBERS, TOKENS = "numbers", "tokens"
"""The kinds of input: standardized, or passed on as whole numbers."""

CHANNELS = (1, 3, 4)
"""Of a picture: grey, colours, colours with opacity."""

PIECE = 2**20
"""Values that are checked at once."""


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


@dataclass(frozen=True, eq=False)
class NamedArrays:
    """Several inputs of the same rows, by name. Indexing takes rows, as indexing an array does."""

    parts: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def __getitem__(self, rows: Any) -> NamedArrays:
        return NamedArrays({name: part[rows] for name, part in self.parts.items()})

    @property
    def shape(self) -> dict[str, tuple[int, ...]]:
        """The shape of a row, by name."""
        return {name: part.shape[1:] for name, part in self.parts.items()}


def as_inputs(values: Any, inputs: Any = NUMBERS) -> NDArray[Any] | NamedArrays:
    """X as (rows, ...) in its own type, or several such inputs by name.

    inputs: "numbers", or "tokens" for whole numbers that are kept as they are, as int64; by name for several inputs, of which
    those that are not named are numbers. Raises: TaskError for what cannot be used.
    """
    if not isinstance(values, Mapping):
        kind = _kind(inputs, "inputs")
        return _tokens(values, "X") if kind == TOKENS else _numbers(values, "X")
    if not values:
        raise TaskError(
            "X={}: there is no input in it; give arrays by name, such as X={'image': images, 'table': table}"
        )
    for name in values:
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name == "self":
            raise TaskError(
                f"X has an input named {name!r}: the model is called with the inputs as keyword arguments, so a name must be an "
                "identifier, such as 'image'"
            )
    if not isinstance(inputs, Mapping):
        kinds = dict.fromkeys(values, _kind(inputs, "inputs"))
    else:
        for name in inputs:
            if name not in values:
                raise TaskError(f"inputs={dict(inputs)!r}: X has no input {name!r}{did_you_mean(str(name), values)}")
        kinds = {name: _kind(inputs.get(name, NUMBERS), f"inputs[{name!r}]") for name in values}
    makers = {NUMBERS: _numbers, TOKENS: _tokens}
    parts = {name: makers[kinds[name]](part, f"X[{name!r}]") for name, part in values.items()}
    lengths = {name: len(part) for name, part in parts.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name!r} has {counted(length, 'row')}" for name, length in lengths.items())
        raise TaskError(f"the inputs of X have different lengths: {shown}; each needs one row for each example")
    return NamedArrays(parts)


def _kind(kind: Any, field: str) -> str:
    """Raises: TaskError unless it is a kind of input."""
    if isinstance(kind, str) and kind in (NUMBERS, TOKENS):
        return kind
    if isinstance(kind, Mapping):
        raise TaskError(
            f"{field}={dict(kind)!r}: names several inputs, and X is only one; give X as a dict of arrays too"
        )
    known = (NUMBERS, TOKENS)
    raise TaskError(f"{field}={kind!r}: must be 'numbers' or 'tokens'{did_you_mean(str(kind), known)}")


def _real(values: Any, name: str) -> NDArray[Any]:
    """Real numbers (rows, ...) in their own type. Raises: TaskError for anything else."""
    X = array_of(values, name)
    if X.dtype == object:
        try:
            X = np.where(pd.isna(X), np.nan, X).astype(float)
        except (TypeError, ValueError, OverflowError):
            raise TaskError(
                f"{name} holds values that are not numbers (text, lists or mixed types); use Task.from_frame, which encodes "
                "text columns, or convert them first"
            ) from None
    if X.dtype.kind == "c":
        raise TaskError(f"{name} has the type {X.dtype}; give real and imaginary parts as features of their own")
    if X.dtype.kind not in "buif":
        raise TaskError(f"{name} has the type {X.dtype}; it must hold numbers (Task.from_frame takes text columns)")
    if X.size == 0:
        raise TaskError(f"{name} has the shape {X.shape}: there is no data in it")
    if X.ndim < 2:
        raise TaskError(
            f"{name} has the shape {X.shape}; it needs one row per example: use X.reshape(-1, 1) for one feature"
        )
    return X


def _numbers(values: Any, name: str) -> NDArray[Any]:
    """Numbers (rows, ...). Raises: TaskError for empty, non-numeric, NaN or infinite ones."""
    X = _real(values, name)
    if X.dtype.kind != "f":
        return X
    if X.dtype.itemsize > 8:
        X = X.astype(np.float64)
    bad, missing, count = np.zeros(math.prod(X.shape[1:]), bool), np.zeros(math.prod(X.shape[1:]), bool), 0
    step = max(1, PIECE // max(1, math.prod(X.shape[1:])))
    for start in range(0, len(X), step):
        piece = X[start : start + step].reshape(-1, len(bad))
        wrong = ~np.isfinite(piece)
        if wrong.any():
            bad, missing, count = bad | wrong.any(0), missing | np.isnan(piece).any(0), count + int(wrong.sum())
    if count:
        column = int(bad.argmax())
        what = "NaN" if missing[column] else "infinite"
        raise TaskError(
            f"{name} has {counted(count, 'NaN or infinite value')}, first in column {column} ({what}); "
            "remove those rows, or use Task.from_frame, which fills in missing values"
        )
    return X


def _tokens(values: Any, name: str) -> NDArray[np.int64]:
    """Whole numbers from 0 on, (rows, length) int64, exactly as they are. Raises: TaskError for all else."""
    X = array_of(values, name)
    if X.dtype == object and X.size and all(isinstance(value, (int, np.integer)) for value in X.flat):
        X = np.array([int(value) for value in X.flat], dtype=object).reshape(X.shape)
        largest = max(X.flat)
        X = X.astype(np.int64) if largest < 2**63 and min(X.flat) >= -(2**63) else X
    remedy = "tokens are whole numbers from 0 on, such as the ids of a vocabulary"
    if X.size == 0 or X.ndim < 2:
        raise TaskError(f"{name} has the shape {X.shape}; tokens need one row per example: (rows, length)")
    if X.dtype.kind not in "iu":
        convert = f"convert them: {name}.astype('int64')" if X.dtype.kind == "f" else "encode them first"
        raise TaskError(f"{name} has the type {X.dtype}: {remedy}; {convert}, or leave out inputs='tokens'")
    lowest, largest = int(X.min()), int(X.max())
    if lowest < 0:
        raise TaskError(
            f"{name} has a token {lowest} below 0: {remedy}; give padding an id of its own, such as 0, and add 1 to the others"
        )
    if largest >= 2**63:
        raise TaskError(f"{name} has a token {largest}, which no int64 holds: {remedy}; number the tokens from 0 on")
    return X.astype(np.int64, copy=False)


def warn_of_order(X: Any, **others: Any) -> None:
    """Warns (UserWarning) of values a row whose index has the labels of the table's in another order.

    X: a DataFrame or Series, anything else is left alone. others: Series and DataFrames by the name of their argument.
    """
    for name, values in others.items():
        if not isinstance(X, (pd.DataFrame, pd.Series)) or not isinstance(values, (pd.DataFrame, pd.Series)):
            continue
        own, other = X.index, values.index
        if len(own) == len(other) and not own.equals(other) and own.is_unique and own.isin(other).all():
            warnings.warn(
                f"the rows of {name} have the index of the data in another order; rows belong together by their position here, "
                f"not by their index: give {name}.loc[data.index] if that is meant",
                UserWarning,
                stacklevel=callers_level(),
            )


def warn_of_channels(shape: tuple[int, ...]) -> None:
    """Warns (UserWarning) of an array whose channels seem to stand on another axis than the one they are taken from: pictures
    (rows, height, width, channels), and sequences (rows, channels, time)."""
    if len(shape) == 4 and min(shape[1:3]) > max(CHANNELS) and shape[3] in CHANNELS:
        taken = f"pictures (rows, channels, height, width), of {shape[1]} channels with {shape[2]} x {shape[3]} pixels"
        remedy = "if the channels come last, give X.transpose(0, 3, 1, 2)"
    elif len(shape) == 3 and shape[1] <= max(CHANNELS) < shape[2]:
        taken = f"sequences (rows, time, channels), of {counted(shape[1], 'time step')} with {shape[2]} channels"
        remedy = (
            "if the channels come first, give X.transpose(0, 2, 1), and move them back in the model where it needs that"
        )
    else:
        return
    warnings.warn(
        f"X has the shape {shape} and is taken for {taken}; {remedy}",
        UserWarning,
        stacklevel=callers_level(),
    )


def to_shape(given: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """What to do about rows of another shape, as the end of a message; empty where nothing simple helps."""
    if len(given) == 3 and (given[2], *given[:2]) == wanted:
        return "; their channels come last: give X.transpose(0, 3, 1, 2)"
    if (1, *given) == wanted:
        return "; give X[:, None]"
    same = math.prod(given) == math.prod(wanted)
    return f"; give X.reshape({', '.join(map(str, (-1, *wanted)))})" if same else ""
