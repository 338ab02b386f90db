"""Rows of a split, ready for a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from workbench.tasks.rows import Inputs

__all__ = ["Rows", "take_rows"]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows ready for a model.

    x: (rows, *input_shape) float32, int64 for tokens, or `InputRows`, of which batches of such tensors are made. y: as losses
    see them, (rows,) int64 class indices, (rows, *positions) of a dense task, or (rows, outputs) float32.
    target: the same in the target's own unit, float64 where y is float32. weight: (rows,) float64, None for equal ones.
    group: (rows,) int64, the group of each row, None where rows stand alone.
    """

    x: Inputs
    y: Tensor
    target: Tensor
    weight: Tensor | None = None
    group: Tensor | None = None

    def part(self, chosen: Any) -> Rows:
        """Some of the rows. chosen: row numbers or a mask."""
        weight, group = (None if values is None else values[chosen] for values in (self.weight, self.group))
        return Rows(self.x[chosen], self.y[chosen], self.target[chosen], weight, group)

    def __len__(self) -> int:
        return len(self.x)


def take_rows(X: Any, rows: NDArray[np.int64]) -> Any:
    """Some rows of a DataFrame, an array or several arrays."""
    return X.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows]
