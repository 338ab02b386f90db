"""What is fitted on the training split and then applied to every row: imputing, encoding, clipping, scaling."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from workbench.core.domains import finite
from workbench.core.errors import TaskError
from workbench.tasks.estimators import from_tensor, to_tensor
from workbench.tasks.frames import is_number

__all__ = ["Preprocessing"]

SETTINGS = ("standardize", "clip", "image", "_numeric", "feature_names")
ARRAYS = ("_mean", "_scale", "_low", "_high")
"""What `fit` finds, in float64; the last two with clip= only."""

SHOWN = 6
"""So many known values of a column are listed one by one."""

WHOLE = re.compile(r"-?\d+\.0")


class Preprocessing:
    """Raw rows to tensors. Everything it knows comes from `fit` on the training rows.

    Order: missing values and text columns (DataFrames), clipping, the user's transformer, standardising.
    clip: numeric inputs are held within the mean ± clip standard deviations of the training rows, which takes the force
    out of outliers (one-hot columns are left alone); None for no clipping. transform: a scikit-learn transformer or
    pipeline, cloned, given (rows, features) and the training targets. standardize: to mean 0 and deviation 1. Clipping
    and standardising go a feature at a time, or with one mean and deviation over all pixels for images. A constant
    feature becomes 0. A transformer that keeps the number of values keeps the shape: its pixels stay an image.
    """

    def __init__(self, *, standardize: bool, clip: float | None, transform: Any, image: bool) -> None:
        if clip is not None and (isinstance(clip, np.bool_) or (finite(clip) or 0) <= 0):
            raise TaskError(f"clip={clip!r}: must be a number of standard deviations above 0, such as 3, or None")
        if not isinstance(standardize, (bool, np.bool_)):
            raise TaskError(f"standardize={standardize!r}: must be True or False")
        self.standardize, self.clip, self.image = bool(standardize), None if clip is None else float(clip), image
        self._transform = _cloned(transform)
        self._columns: ColumnTransformer | None = None
        self._numeric: tuple[str, ...] = ()
        self.feature_names: tuple[str, ...] | None = None

    def fit(
        self, rows: NDArray[np.float64] | pd.DataFrame, targets: NDArray[Any], seen: pd.DataFrame | None = None
    ) -> None:
        """Learn from the training rows alone. Raises: TaskError if the transformer fails on them.

        seen: rows whose categories count as known too, so that all folds of a cross-validation have the same inputs.
        """
        if isinstance(rows, pd.DataFrame):
            self._numeric = tuple(name for name in rows if is_number(rows[name]))
            encoder = _column_encoder(rows, self._numeric, None if seen is None else self._plain(seen))
            self._columns = encoder.fit(self._plain(rows))
            self.feature_names = tuple(str(name) for name in self._columns.get_feature_names_out())
        X = self._numbers(rows)
        over = None if self.image else 0
        if self.clip is not None:
            middle, spread = X.mean(over), X.std(over)
            if self._columns is not None:  # numeric columns stand first
                spread[len(self._numeric) :] = np.inf
            self._low, self._high = middle - self.clip * spread, middle + self.clip * spread
            X = np.clip(X, self._low, self._high)
        if self._transform is not None:
            try:
                self._transform.fit(X.reshape(len(X), -1), targets.ravel() if targets.size == len(X) else targets)
            except Exception as error:
                message = f"transform={self._transform!r}: cannot be fitted to the training rows: {error}"
                raise TaskError(message) from error
            values = self._transformed(X)
            kept = values.shape[1] == math.prod(X.shape[1:])
            self._shape = X.shape[1:] if kept else values.shape[1:]
            X = values.reshape(-1, *self._shape)
            over = over if kept else 0
            self.feature_names = _names_after(self._transform, self.feature_names, values.shape[1])
        mean, spread = X.mean(over), X.std(over)
        # rounding leaves a constant feature a deviation just above 0, which must not be divided by, and another mean
        constant = spread <= 1e-12 * np.abs(X).max(over)
        self._mean = np.where(constant, X.min(over), mean) if self.standardize else np.zeros_like(mean)
        self._scale = np.where(constant, 1.0, spread) if self.standardize else np.ones_like(spread)

    def apply(self, rows: NDArray[np.float64] | pd.DataFrame, *, warn: bool = False) -> torch.Tensor:
        """Rows as (rows, *input_shape) float32; computed in float64.

        warn: with a UserWarning for each one-hot encoded column of which the training rows knew no value that is given.
        Raises: TaskError if a value cannot be turned into a finite float32, naming the first one.
        """
        X = self._numbers(rows, warn)
        if self.clip is not None:
            X = np.clip(X, self._low, self._high)
        if self._transform is not None:
            X = self._transformed(X).reshape(-1, *self._shape)
        X = (X - self._mean) / self._scale
        flat = X.reshape(len(X), -1)
        bad = ~(np.abs(flat) <= np.finfo(np.float32).max)
        if bad.any():
            row, column = (int(place[0]) for place in np.nonzero(bad))
            transformed = self._transform is not None
            name = column if self.feature_names is None else repr(self.feature_names[column])
            raise TaskError(
                f"input {name} is {flat[row, column]} in row {row} after preprocessing, which no float32 can hold; "
                "look for infinite or huge values in the data" + (", or in what transform= makes of them" * transformed)
            )
        return torch.from_numpy(X.astype(np.float32))

    @property
    def standardisation(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Mean and deviation, where rows of numbers are standardised and nothing else; None where more is done to them."""
        return (self._mean, self._scale) if self._transform is None and self.clip is None else None

    @property
    def unfitted(self) -> Any:
        """The transformer as it was given, before the fit; None without one."""
        return _cloned(self._transform)

    def to_state(self) -> dict[str, Any]:
        """What was fitted, as plain values and tensors. Raises: CheckpointError for a transformer that cannot be saved."""
        state = {name: getattr(self, name) for name in SETTINGS}
        state |= {name: torch.from_numpy(np.array(getattr(self, name))) for name in ARRAYS if hasattr(self, name)}
        if self._columns is not None:
            state["_columns"] = to_tensor(self._columns, "the encoding of the columns")
        if self._transform is not None:
            state["_shape"] = tuple(self._shape)
            state["_transform"] = to_tensor(self._transform, f"transform={self._transform!r}")
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Any], trusted: Sequence[str] = ()) -> Preprocessing:
        """What `to_state` described. Raises: CheckpointError naming what in the transformer is not `trusted`."""
        fitted = cls(standardize=state["standardize"], clip=state["clip"], transform=None, image=state["image"])
        fitted._numeric = state["_numeric"]
        fitted.feature_names = state["feature_names"]
        for name in ARRAYS[: 2 if fitted.clip is None else 4]:
            setattr(fitted, name, state[name].numpy())
        if "_columns" in state:
            fitted._columns = from_tensor(state["_columns"], trusted, "the encoding of the columns")
        if "_transform" in state:
            fitted._shape = state["_shape"]
            fitted._transform = from_tensor(state["_transform"], trusted, "transform=")
        return fitted

    def _numbers(self, rows: NDArray[np.float64] | pd.DataFrame, warn: bool = False) -> NDArray[np.float64]:
        if isinstance(rows, pd.DataFrame):
            assert self._columns is not None
            plain = self._plain(rows)
            for name, known in self._categories().items():
                plain[name] = _matched(rows[name], plain[name], known, warn)
            return np.asarray(self._columns.transform(plain), dtype=np.float64)
        return rows

    def _categories(self) -> dict[str, list[str]]:
        """The texts that are known of each one-hot encoded column."""
        assert self._columns is not None
        for part, encoder, columns in self._columns.transformers_:
            if part == "text" and len(columns):
                return dict(zip(columns, (list(known) for known in encoder[-1].categories_), strict=True))
        return {}

    def _plain(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Columns in the types scikit-learn takes, as the training rows decided: float64 with NaN, or text with NaN."""
        plain = {}
        for name in frame:
            column = frame[name]
            if name in self._numeric:
                try:
                    values = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
                except (TypeError, ValueError) as error:
                    raise TaskError(f"column {name!r} holds numbers in the training rows, and now: {error}") from error
                if np.isinf(values).any():
                    raise TaskError(f"column {name!r} has infinite values; replace them by NaN to have them filled in")
                plain[name] = values
            else:
                text = np.array([str(value) for value in column], dtype=object)
                text[column.isna().to_numpy()] = np.nan
                plain[name] = text
        return pd.DataFrame(plain, index=frame.index)

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


def _matched(given: pd.Series[Any], text: pd.Series[Any], known: Sequence[str], warn: bool) -> NDArray[Any]:
    """The texts of a column's values, those of numbers and booleans as the training rows write the same value: a column of
    whole numbers is one of floats as soon as one is missing, and True may come back from a file as 1."""
    found: NDArray[Any] = text.to_numpy(dtype=object, copy=True)
    texts = set(known)
    present = np.flatnonzero(given.notna().to_numpy())
    strange = [row for row in present if found[row] not in texts]
    if not strange:
        return found
    plain = [_plain_text(category) for category in known]
    same = {one: category for one, category in zip(plain, known, strict=True) if plain.count(one) == 1}
    values = given.to_numpy(dtype=object)
    unknown = 0
    for row in strange:
        category = None if isinstance(values[row], str) else same.get(_plain_text(found[row]))
        unknown += category is None
        found[row] = found[row] if category is None else category
    if warn and unknown == len(present):
        shown = ", ".join(map(repr, known[:SHOWN])) + (f" and {len(known) - SHOWN} more" if len(known) > SHOWN else "")
        warnings.warn(
            f"column {given.name!r}: none of its values, such as {found[strange[0]]!r}, was in the training rows, so that the "
            f"model knows nothing of this column; it expects {shown}",
            UserWarning,
            stacklevel=5,  # who called the schema
        )
    return found


def _plain_text(text: str) -> str:
    """One text for equal numbers and booleans: "10.0" is "10", "True" is "1"."""
    if text in ("True", "False"):
        return str(int(text == "True"))
    return str(int(float(text))) if WHOLE.fullmatch(text) else text


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


def _column_encoder(
    frame: pd.DataFrame, numeric: tuple[str, ...], seen: pd.DataFrame | None = None
) -> ColumnTransformer:
    other = [name for name in frame if name not in numeric]
    for name in frame:
        if frame[name].isna().all():
            raise TaskError(f"column {name!r} has no value in the training split; drop it")
    known: Any = "auto" if seen is None else [np.sort(seen[name].dropna().unique()) for name in other]
    one_hot = OneHotEncoder(categories=known, handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer(
        [
            ("numeric", SimpleImputer(strategy="median"), list(numeric)),
            ("text", make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot), other),
        ],
        verbose_feature_names_out=False,
    )
