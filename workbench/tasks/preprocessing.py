"""What is fitted on the training split and then applied to every row: imputing, encoding, clipping, scaling."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone
from torch import Tensor

from workbench.core.domains import finite
from workbench.core.errors import TaskError
from workbench.tasks.columns import CATEGORIES, Columns
from workbench.tasks.estimators import from_tensor, to_tensor
from workbench.tasks.rows import ONLY, InputRows, Inputs, InputScale

__all__ = ["Preprocessing"]

SETTINGS = (
    "standardize",
    "clip",
    "tokens",
    "feature_names",
    "vocabulary",
    "_mean",
    "_scale",
    "_low",
    "_high",
    "_shape",
)
"""What is kept of one in a file; the columns and the user's transformer are stored in a form of their own."""

PIECE = 2**20
"""Values that are computed on at once, in float64."""

WIDE = 256
"""Rows of uint8 with so many values, or of two axes and more, are taken for images, and stay uint8 until the batch."""


class Preprocessing:
    """Raw rows to tensors. Everything it knows comes from `fit` on the training rows.

    Order: missing values and text columns (DataFrames), clipping, the user's transformer, standardising.
    clip: numeric inputs are held within the mean ± clip standard deviations of the training rows, which takes the force
    out of outliers (encoded columns are left alone); None for no clipping. transform: a scikit-learn transformer or
    pipeline, cloned, given (rows, features) and the training targets. standardize: to mean 0 and deviation 1. Clipping
    and standardising go a feature at a time; of sequences (rows, time, channels) a channel at a time over rows and time; of
    images (rows, channels, height, width), and whatever has more axes, a channel at a time over rows and positions. A constant
    feature becomes 0. A transformer that keeps the number of values keeps the shape: its pixels stay an image.
    tokens: whole numbers stay as they are, int64. categories: see `Columns`.

    vocabulary: of tokens, the largest one of the data plus 1. feature_names: of a table's inputs.
    """

    def __init__(
        self,
        *,
        standardize: bool = True,
        clip: float | None = None,
        transform: Any = None,
        tokens: bool = False,
        categories: str = CATEGORIES[0],
    ) -> None:
        if clip is not None and (isinstance(clip, np.bool_) or (finite(clip) or 0) <= 0):
            raise TaskError(f"clip={clip!r}: must be a number of standard deviations above 0, such as 3, or None")
        if not isinstance(standardize, (bool, np.bool_)):
            raise TaskError(f"standardize={standardize!r}: must be True or False")
        for option, value in (("clip", clip), ("transform", transform)):
            if tokens and value is not None:
                raise TaskError(f"{option}={value!r}: tokens are passed on as they are; leave {option}= out")
        self.standardize, self.clip = bool(standardize), None if clip is None else float(clip)
        self.tokens, self.vocabulary = tokens, 0
        self._transform = _cloned(transform)
        self._columns = Columns(categories)
        self.feature_names: tuple[str, ...] | None = None
        self._mean: Any = None
        self._scale: Any = None
        self._low: Any = None
        self._high: Any = None
        self._shape: tuple[int, ...] = ()

    def fit(
        self,
        X: NDArray[Any] | pd.DataFrame,
        targets: NDArray[Any],
        rows: NDArray[np.int64],
        seen: NDArray[np.int64] | None = None,
    ) -> None:
        """Learn from the training rows alone, of all the data with their targets.

        seen: numbers of the rows whose categories count as known too, so that all folds of a cross-validation have the same
        inputs. Raises: TaskError if the transformer fails.
        """
        if self.tokens:
            # no statistic of the data but the size that an embedding needs to take all of them
            self.vocabulary = int(X.max()) + 1
            return
        trained = targets[rows]
        if isinstance(X, pd.DataFrame):
            table = X.iloc[rows]
            self._columns.fit(table, None if seen is None else X.iloc[seen])
            self.feature_names = self._columns.names
            X, rows = self._numbers(self._columns.apply(table)), np.arange(len(table))
        axes = _shared_axes(X.ndim)
        if self.clip is not None:
            middle, spread, _, _ = _statistics(_float64(X, rows), axes)
            spread[self._encoded(X.shape[1:])] = np.inf
            self._low, self._high = middle - self.clip * spread, middle + self.clip * spread
        if self._transform is not None:
            values = np.concatenate(list(self._clipped(X, rows)))
            try:
                self._transform.fit(
                    values.reshape(len(values), -1), trained.ravel() if trained.size == len(rows) else trained
                )
            except Exception as error:
                message = f"transform={self._transform!r}: cannot be fitted to the training rows: {error}"
                raise TaskError(message) from error
            found = self._transformed(values)
            kept = found.shape[1] == math.prod(X.shape[1:])
            self._shape = X.shape[1:] if kept else found.shape[1:]
            self.feature_names = _names_after(self._transform, self.feature_names, found.shape[1])
            values = found.reshape(-1, *self._shape)
            statistics = _statistics([values], _shared_axes(values.ndim))
        else:
            statistics = _statistics(self._clipped(X, rows), axes)
        mean, spread, least, largest = statistics
        if self.standardize and np.any(np.isinf(spread) & np.isfinite(largest)):
            column = int((np.isinf(spread) & np.isfinite(largest)).ravel().argmax())
            name = column if self.feature_names is None else repr(self.feature_names[column])
            raise TaskError(
                f"input {name} has values up to {largest.ravel()[column]:.3g}, whose deviation no float64 holds; divide it, or "
                "take its logarithm"
            )
        # rounding leaves a constant feature a deviation just above 0, which must not be divided by, and another mean
        constant = spread <= 1e-12 * largest
        self._mean = np.where(constant, least, mean) if self.standardize else np.zeros_like(mean)
        self._scale = np.where(constant, 1.0, spread) if self.standardize else np.ones_like(spread)

    def store(
        self, X: NDArray[Any] | pd.DataFrame, rows: NDArray[np.int64] | None = None, *, warn: bool = False
    ) -> Inputs:
        """Some rows, or all, as a split keeps them: a tensor (rows, *input_shape), float32 or int64 (tokens), or `InputRows`
        (images of uint8 that are only standardized, and tables with codes). Raises: TaskError, as `apply`."""
        if self.tokens:
            return torch.from_numpy(np.ascontiguousarray(X if rows is None else X[rows], dtype=np.int64))
        if isinstance(X, pd.DataFrame):
            numbers = self._columns.apply(X if rows is None else X.iloc[rows], warn=warn)
            values = self._float32(self._numbers(numbers), None)
            if not self._columns.codes:
                return values
            count = len(self._columns.numeric)
            parts = {"numbers": values} if count else {}
            return InputRows({**parts, "codes": torch.from_numpy(numbers[:, count:].astype(np.int64))}, {})
        if X.dtype == np.uint8 and self._only_scales and (X.ndim > 2 or X.shape[1] >= WIDE):
            kept = torch.from_numpy(np.ascontiguousarray(X if rows is None else X[rows]))
            return InputRows(
                {ONLY: kept}, {ONLY: InputScale(torch.from_numpy(self._mean), torch.from_numpy(self._scale))}
            )
        return self._float32(X, rows)

    @property
    def standardisation(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Mean and deviation, where rows of numbers are standardised and nothing else; None where more is done to them."""
        if not self._only_scales or self.tokens or self._columns.codes:
            return None
        return self._mean, self._scale

    @property
    def scale(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and deviation of the numbers; 0 and 1 without standardizing."""
        return self._mean, self._scale

    @property
    def numeric(self) -> tuple[str, ...]:
        """The columns of a table that are numbers, in the order of the inputs."""
        return self._columns.numeric

    def texts_of(self, codes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The categories of codes (rows, coded columns) by column; None for an unknown one."""
        known = self._columns.known().items()
        return {name: np.array([None, *texts], dtype=object)[codes[:, at]] for at, (name, texts) in enumerate(known)}

    @property
    def inputs(self) -> str | dict[str, str]:
        """What a model is given: "numbers" or "tokens"; by name where it is given several inputs."""
        if not self._columns.codes:
            return "tokens" if self.tokens else "numbers"
        return ({"numbers": "numbers"} if self._columns.numeric else {}) | {"codes": "tokens"}

    @property
    def categories(self) -> dict[str, int]:
        """How many codes there are, 0 included: of each coded column, or of "tokens"."""
        if self.tokens:
            return {"tokens": self.vocabulary}
        return {name: len(known) + 1 for name, known in self._columns.known().items()} if self._columns.codes else {}

    @property
    def unfitted(self) -> Any:
        """The transformer as it was given, before the fit; None without one."""
        return _cloned(self._transform)

    def describe(self, shape: tuple[int, ...]) -> str:
        """How rows of this shape are scaled, in words."""
        if self.tokens:
            return f"tokens, kept as they are, below {self.vocabulary:,}"
        if not self.standardize:
            return "not standardized"
        per = {1: "per feature", 2: "per channel, over rows and time"}.get(
            len(shape), "per channel, over rows and pixels"
        )
        return f"standardized {per}"

    def to_state(self) -> dict[str, Any]:
        """What was fitted, as plain values and tensors. Raises: CheckpointError for a transformer that cannot be saved."""
        state = {name: getattr(self, name) for name in SETTINGS}
        state = {name: torch.from_numpy(np.array(v)) if isinstance(v, np.ndarray) else v for name, v in state.items()}
        state["_columns"] = self._columns.to_state() if self._columns.names else None
        transform = None if self._transform is None else to_tensor(self._transform, f"transform={self._transform!r}")
        return {**state, "_transform": transform}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], trusted: Sequence[str] = ()) -> Preprocessing:
        """What `to_state` described. Raises: CheckpointError naming what in the transformer is not `trusted`."""
        fitted = cls()
        for name in SETTINGS:
            value = state[name]
            setattr(fitted, name, value.numpy() if isinstance(value, Tensor) else value)
        if state["_columns"] is not None:
            fitted._columns = Columns.from_state(state["_columns"], trusted)
        if state["_transform"] is not None:
            fitted._transform = from_tensor(state["_transform"], trusted, "transform=")
        return fitted

    # ------------------------------------------------------------------------------------------------------------------

    @property
    def _only_scales(self) -> bool:
        return self._transform is None and self.clip is None

    def _numbers(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of a table's columns, those that are scaled: all but the codes."""
        return table[:, : len(self._columns.numeric)] if self._columns.codes else table

    def _encoded(self, shape: tuple[int, ...]) -> slice:
        """The inputs that stand for categories, which are not clipped; numeric columns stand first."""
        return slice(len(self._columns.numeric), None) if self._columns.names else slice(0, 0)

    def _clipped(self, X: NDArray[Any], rows: NDArray[np.int64] | None) -> Iterator[NDArray[np.float64]]:
        for piece in _float64(X, rows):
            yield piece if self.clip is None else np.clip(piece, self._low, self._high)

    def _float32(self, X: NDArray[Any], rows: NDArray[np.int64] | None) -> Tensor:
        """Clipped, transformed and standardized; computed in float64, a piece at a time."""
        count = len(X) if rows is None else len(rows)
        shape = X.shape[1:] if self._transform is None else self._shape
        found = torch.empty(count, *shape)
        start = 0
        parts = self._clipped(X, rows)
        # a transformer may look at all rows that it is given
        for piece in parts if self._transform is None else [np.concatenate(list(parts))]:
            values = piece if self._transform is None else self._transformed(piece).reshape(-1, *self._shape)
            values = (values - self._mean) / self._scale
            self._check_finite(values, start)
            found[start : start + len(values)] = torch.from_numpy(values)
            start += len(values)
        return found

    def _check_finite(self, values: NDArray[np.float64], start: int) -> None:
        """Raises: TaskError naming the first value that no float32 holds. start: the row number of the first row."""
        flat = values.reshape(len(values), math.prod(values.shape[1:]))
        bad = ~(np.abs(flat) <= np.finfo(np.float32).max)
        if bad.any():
            row, column = (int(place[0]) for place in np.nonzero(bad))
            name = column if self.feature_names is None else repr(self.feature_names[column])
            raise TaskError(
                f"input {name} is {flat[row, column]} in row {start + row} after preprocessing, which no float32 can hold; "
                "look for infinite or huge values in the data"
                + (", or in what transform= makes of them" * (self._transform is not None))
            )

    def _transformed(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """(rows, values) as the user's transformer gives them."""
        try:
            values = self._transform.transform(X.reshape(len(X), -1))
            values = np.asarray(values.toarray() if sparse.issparse(values) else values, dtype=np.float64)
        except Exception as error:
            raise TaskError(f"transform={self._transform!r}: {type(error).__name__}: {error}") from error
        if values.ndim != 2 or len(values) != len(X) or values.shape[1] == 0:
            raise TaskError(
                f"transform={self._transform!r}: gives the shape {values.shape} for {len(X)} rows; it must give one "
                "row of features for each"
            )
        return values


def _shared_axes(axes: int) -> tuple[int, ...]:
    """The axes over which values share a mean and a deviation, of (rows, features), (rows, time, channels) or (rows, channels,
    positions...)."""
    return {2: (0,), 3: (0, 1)}.get(axes, (0, *range(2, axes)))


def _float64(X: NDArray[Any], rows: NDArray[np.int64] | None) -> Iterator[NDArray[np.float64]]:
    """Some rows, or all, in pieces: what is computed on them never takes the memory of all of them."""
    count = len(X) if rows is None else len(rows)
    step = max(1, PIECE // max(1, math.prod(X.shape[1:])))
    for start in range(0, count, step):
        piece = slice(start, start + step)
        yield np.asarray(X[piece if rows is None else rows[piece]], dtype=np.float64)


def _statistics(
    parts: Iterator[NDArray[np.float64]] | list[NDArray[np.float64]], axes: tuple[int, ...]
) -> tuple[NDArray[np.float64], ...]:
    """Mean, deviation, smallest value and largest magnitude over some axes; each broadcasts over a row.

    Pieces are put together as by Chan, Golub and LeVeque (1983), which keeps the digits that a sum of squares loses.
    """
    found: tuple[NDArray[np.float64], ...] = ()
    count = 0
    for part in parts:
        number = math.prod(part.shape[axis] for axis in axes)
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at the result
            own = part.mean(axes, keepdims=True)[0], part.std(axes, keepdims=True)[0]
        ends = part.min(axes, keepdims=True)[0], np.abs(part).max(axes, keepdims=True)[0]
        if found:
            mean, deviation, least, largest = found
            share = number / (count + number)
            change = own[0] - mean
            variance = (1 - share) * deviation**2 + share * own[1] ** 2 + change**2 * share * (1 - share)
            own = mean + change * share, np.sqrt(variance)
            ends = np.minimum(least, ends[0]), np.maximum(largest, ends[1])
        found, count = (*own, *ends), count + number
    return found


def _cloned(transform: Any) -> Any:
    if transform is None:
        return None
    if isinstance(transform, type) or not (hasattr(transform, "fit") and hasattr(transform, "transform")):
        raise TaskError(
            f"transform={transform!r}: must be a scikit-learn transformer with fit and transform, such as PCA(10)"
        )
    try:
        return clone(transform)
    except (TypeError, RuntimeError) as error:
        raise TaskError(f"transform={transform!r}: scikit-learn cannot clone it: {error}") from error


def _names_after(transform: Any, names: tuple[str, ...] | None, count: int) -> tuple[str, ...] | None:
    """The features' names after the user's transformer, if it gives them."""
    if names is None:
        return None
    try:
        found = tuple(str(name) for name in transform.get_feature_names_out(np.array(names, dtype=object)))
    except (AttributeError, TypeError, ValueError):
        found = ()
    return found if len(found) == count else tuple(f"feature {index}" for index in range(count))
