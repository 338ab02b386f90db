"""Weights of rows, in losses and metrics."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import TaskError, did_you_mean
from workbench.core.text import counted
from workbench.tasks.division import Division
from workbench.tasks.inputs import array_of
from workbench.tasks.row_identity import SPLITS
from workbench.tasks.split import is_name

__all__ = ["check_parts", "check_weights", "weights_digest", "weights_of_frame"]

REMEDY = "give one number from 0 on for each row, or a column of such numbers"


def check_weights(weights: Any, rows: int) -> NDArray[np.float64] | None:
    """Weights (rows,) float64, None for none. Raises: TaskError for another length, and weights that are negative, NaN, infinite
    or all zero."""
    if weights is None:
        return None
    if isinstance(weights, str):
        raise TaskError(f"weights={weights!r}: names a column, and arrays have none; give one number a row")
    values = array_of(weights, "weights")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or len(values) != rows:
        raise TaskError(f"weights has the shape {values.shape}, and there are {counted(rows, 'row')}; {REMEDY}")
    if values.dtype.kind not in "iufb":
        raise TaskError(f"weights has the type {values.dtype}; {REMEDY}")
    found = values.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(found) | (found < 0))
    if len(bad):
        raise TaskError(f"weights is {values[bad[0]]} in row {bad[0]}; {REMEDY}")
    if not found.any():
        raise TaskError(f"weights is 0 in every row; {REMEDY}")
    return found


def weights_of_frame(frame: pd.DataFrame, weights: Any, target: Any) -> tuple[pd.DataFrame, Any]:
    """The table without the column that weights= names, and the weights. Raises: TaskError for a column that there is not."""
    if not is_name(weights):
        return frame, weights
    names = [str(name) for name in frame.columns]
    if str(weights) not in names:
        raise TaskError(f"weights={weights!r}: there is no such column{did_you_mean(str(weights), names)}")
    targets = target if isinstance(target, (list, tuple, pd.Index)) else [target]
    if str(weights) in [str(name) for name in targets]:
        raise TaskError(f"weights={weights!r}: is the target; name a column of its own")
    place = names.index(str(weights))
    return frame.drop(columns=frame.columns[place]), frame.iloc[:, place]


def check_parts(weights: NDArray[np.float64], division: Division) -> None:
    """Raises: TaskError if the weights of a split, also of a fold, are all 0."""
    named = [
        (f"{name} row of fold {number}", rows)
        for number, fold in enumerate(division.folds, 1)
        for name, rows in zip(SPLITS, fold, strict=False)
    ]
    for name, rows in [*named, *((f"{name} row", rows) for name, rows in zip(SPLITS, division.parts, strict=True))]:
        if len(rows) and not weights[rows].any():
            raise TaskError(f"weights is 0 in every {name}; give some of them a weight above 0")


def weights_digest(weights: NDArray[np.float64] | None, keys: NDArray[np.uint64]) -> str:
    """What of the weights is part of a task's identity, "" without any. keys: of the rows, whose order does not count."""
    return "" if weights is None else hashlib.sha256(weights[np.lexsort((weights, keys))].tobytes()).hexdigest()
