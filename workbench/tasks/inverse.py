"""Prepared inputs as the data had them, for people to look at: standardization and one-hot columns are turned back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from workbench.tasks.schema import TaskSchema

__all__ = ["OriginalInputs", "original_inputs"]

DIGITS = 1e-5
"""Values are rounded to this share of their column's deviation: float32 inputs hold no more."""


@dataclass(frozen=True, eq=False)
class OriginalInputs:
    """values: (rows, *input_shape) float64. table: of rows of numbers the same as columns, one-hot columns as their text; None
    for pictures and sequences. exact: whether they are in the units of the data; if not, they are as the model takes them
    (after clip= or transform=, which cannot be undone)."""

    values: NDArray[np.float64]
    table: pd.DataFrame | None
    exact: bool


def original_inputs(schema: TaskSchema, x: Any) -> OriginalInputs | None:
    """A model's inputs (rows, *input_shape) in the units of the data, as far as preprocessing can be undone.

    Missing values are as they were filled in; a category that the training rows do not have is None. Returns None for
    inputs that are no single tensor.
    """
    if not isinstance(x, Tensor):
        return None
    values: NDArray[np.float64] = x.detach().cpu().double().numpy()
    scaling = schema.preprocessing.standardisation
    if not x.is_floating_point():
        exact = True  # as the data have them: the model's own scaling comes later
    elif scaling is not None:
        mean, scale = (np.asarray(part, np.float64) for part in scaling)
        step = 10.0 ** np.floor(np.log10(np.maximum(np.abs(scale), 1e-300) * DIGITS))
        values, exact = np.round((values * scale + mean) / step) * step, True
    else:
        exact = False
    table = _table(schema, values, exact) if values.ndim == 2 else None
    return OriginalInputs(values, table, exact)


def _table(schema: TaskSchema, values: NDArray[np.float64], exact: bool) -> pd.DataFrame:
    known = schema.feature_names
    names = list(known) if known and len(known) == values.shape[1] else [f"feature {n}" for n in range(values.shape[1])]
    frame = pd.DataFrame(values, columns=names)
    # the division by the step leaves 5.1000000000000005
    frame = frame.map(lambda value: float(f"{value:.12g}"))
    return _without_one_hot(frame, schema.columns) if exact and schema.columns is not None else frame


def _without_one_hot(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Columns such as city_north and city_south as one column city; left as they are if they are not one-hot."""
    groups: dict[str, list[str]] = {}
    for name in frame:
        owners = [column for column in columns if str(name).startswith(f"{column}_")]
        if name not in columns and owners:
            groups.setdefault(max(owners, key=len), []).append(str(name))
    found: dict[str, Any] = {}
    for column in columns:
        if column in frame:
            found[column] = frame[column]
        elif column in groups:
            parts = frame[groups[column]].round(3)
            if not (parts.isin([0.0, 1.0]).all().all() and (parts.sum(axis=1) <= 1).all()):
                return frame
            texts = np.array([name[len(column) + 1 :] for name in groups[column]], dtype=object)
            some = parts.to_numpy()
            found[column] = np.where(some.any(1), texts[some.argmax(1)], None)
        else:
            return frame
    return pd.DataFrame(found, index=frame.index)
