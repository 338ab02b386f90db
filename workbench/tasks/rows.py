"""Rows of a split, ready for a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Rows", "take_rows"]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows ready for a model.

    x: (rows, *input_shape) float32. y: (rows,) int64 class indices, or (rows, outputs) float32 for regression.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)


def take_rows(X: Any, rows: NDArray[np.int64]) -> Any:
    """Some rows of a DataFrame or an array."""
    return X.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows]
