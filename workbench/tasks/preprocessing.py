"""What is fitted on the training split and then applied to every row: imputing, encoding, clipping, scaling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from workbench.errors import TaskError

__all__ = ["Preprocessing"]


class Preprocessing:
    """Raw rows to tensors. Everything it knows comes from `fit` on the training rows.

    Order: missing values and text columns (DataFrames), clipping, the user's transformer, standardising.
    clip: numeric inputs are held within the mean ± clip standard deviations of the training rows, which takes the force out
    of outliers; None for no clipping. transform: a scikit-learn transformer, cloned. standardize: to mean 0 and deviation 1,
    a feature at a time, or with one mean and deviation over all pixels for images. A constant feature becomes 0.
    """

    def __init__(self, *, standardize: bool, clip: float | None, transform: Any, image: bool) -> None:
        if clip is not None and not (isinstance(clip, (int, float)) and 0 < clip < np.inf):
            raise TaskError(f"clip={clip!r}: must be a number of standard deviations above 0, such as 3, or None")
        if transform is not None and not (hasattr(transform, "fit") and hasattr(transform, "transform")):
            raise TaskError(f"transform={transform!r}: must be a scikit-learn transformer (fit and transform)")
        self.standardize, self.clip, self.image = standardize, clip, image
        self._transform = None if transform is None else clone(transform)
        self._columns: ColumnTransformer | None = None
        self.feature_names: tuple[str, ...] | None = None

    def fit(self, rows: NDArray[np.float64] | pd.DataFrame) -> None:
        """Learn from the training rows alone."""
        if isinstance(rows, pd.DataFrame):
            self._columns = _column_encoder(rows).fit(_plain(rows))
            self.feature_names = tuple(str(name) for name in self._columns.get_feature_names_out())
        X = self._numbers(rows)
        if self.clip is not None:
            middle, spread = X.mean(0), X.std(0)
            self._low, self._high = middle - self.clip * spread, middle + self.clip * spread
            X = np.clip(X, self._low, self._high)
        if self._transform is not None:
            shape = X.shape
            try:
                X = np.asarray(self._transform.fit_transform(X.reshape(len(X), -1)), dtype=np.float64)
            except Exception as error:
                raise TaskError(f"transform {self._transform!r} cannot be fitted: {error}") from error
            # a transformer that keeps the number of values keeps the shape: pixels stay an image
            self._shape = shape[1:] if X.size == np.prod(shape) else X.shape[1:]
            X = X.reshape(-1, *self._shape)
        axes = None if self.image else 0
        spread = X.std(axes)
        self._mean = X.mean(axes) if self.standardize else np.zeros_like(spread)
        # rounding leaves a constant feature a deviation just above 0, which must not be divided by
        constant = spread <= 1e-12 * np.abs(X).max(axes)
        self._scale = np.where(constant, 1.0, spread) if self.standardize else np.ones_like(spread)

    def apply(self, rows: NDArray[np.float64] | pd.DataFrame) -> torch.Tensor:
        """Rows as (rows, *input_shape) float32; computed in float64."""
        X = self._numbers(rows)
        if self.clip is not None:
            X = np.clip(X, self._low, self._high)
        if self._transform is not None:
            X = np.asarray(self._transform.transform(X.reshape(len(X), -1)), dtype=np.float64).reshape(-1, *self._shape)
        return torch.from_numpy(((X - self._mean) / self._scale).astype(np.float32))

    def _numbers(self, rows: NDArray[np.float64] | pd.DataFrame) -> NDArray[np.float64]:
        if isinstance(rows, pd.DataFrame):
            assert self._columns is not None
            return np.asarray(self._columns.transform(_plain(rows)), dtype=np.float64)
        return rows


def _column_encoder(frame: pd.DataFrame) -> ColumnTransformer:
    numeric = [name for name in frame if pd.api.types.is_numeric_dtype(frame[name]) and frame[name].dtype != bool]
    other = [name for name in frame if name not in numeric]
    for name in frame:
        if frame[name].isna().all():
            raise TaskError(f"column {name!r} has no value in the training split; drop it")
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer(
        [
            ("numeric", SimpleImputer(strategy="median"), numeric),
            ("text", make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot), other),
        ],
        verbose_feature_names_out=False,
    )


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns in the types scikit-learn takes: float64 with NaN, and objects with NaN for what is missing."""
    plain = {}
    for name in frame:
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column) and column.dtype != bool:
            plain[name] = column.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            missing = column.isna().to_numpy()
            text = np.array([str(value) for value in column], dtype=object)
            text[missing] = np.nan
            plain[name] = text
    return pd.DataFrame(plain, index=frame.index)
