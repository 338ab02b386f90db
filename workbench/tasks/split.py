"""Training, validation and test rows: how they are divided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torch import Tensor

from workbench.core.errors import TaskError
from workbench.core.text import counted

__all__ = ["Split", "check_shares", "divide", "take_rows"]


@dataclass(frozen=True, eq=False)
class Split:
    """Rows ready for a model.

    x: (rows, *input_shape) float32. y: as losses see them, (rows,) int64 class indices, (rows, *positions) of a dense task, or
    (rows, outputs) float32. target: the same in the target's own unit, float64 where y is float32.
    """

    x: Tensor
    y: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.x)


def take_rows(X: Any, rows: NDArray[np.int64]) -> Any:
    """Some rows of a DataFrame or an array."""
    return X.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows]


def check_shares(split: Sequence[float]) -> tuple[float, float, float]:
    """The shares of training, validation and test rows. Raises: TaskError unless they are three and sum to 1."""
    try:
        shares = tuple(float(share) for share in split)
    except (TypeError, ValueError):
        shares = ()
    fine = len(shares) == 3 and all(0 <= share < 1 for share in shares) and math.isclose(sum(shares), 1, abs_tol=1e-6)
    if not fine or shares[0] == 0 or shares[1] == 0:
        raise TaskError(
            f"split={split!r}: must be three shares (training, validation, test) that sum to 1, the first two above 0; "
            "try (0.6, 0.2, 0.2), or (0.8, 0.2, 0) to go without a test set"
        )
    return shares[0], shares[1], shares[2]


def divide(
    rows: int,
    shares: tuple[float, float, float],
    targets: NDArray[Any],
    seed: int,
    classes: Sequence[str] | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers of the training, validation and test split: disjoint, together all rows, in shuffled order.

    targets: class indices, to give each split the same share of every class. classes: their names; None to divide at random.
    Raises: TaskError when there are too few rows, or a class has fewer rows than there are splits.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 2**32:
        raise TaskError(f"seed={seed!r}: must be a whole number from 0 to {2**32 - 1}")
    sizes = _sizes(rows, shares)
    labels = None
    if classes is not None:
        labels = targets
        _check_classes(labels, sizes, classes)
    order = np.arange(rows)
    rest, test = order, order[:0]
    if sizes[2]:
        rest, test = _halve(order, sizes[2], labels, seed, least=2)
    train, validation = _halve(rest, sizes[1], labels, seed, least=1)
    return train, validation, test


def _halve(
    rows: NDArray[np.int64], second: int, labels: NDArray[Any] | None, seed: int, *, least: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows in two parts, the second of the given size.

    Of each class at least `least` rows are in the first part and one is in the second. Scikit-learn keeps the shares of
    the classes up to rounding, which may leave out a rare class; it is then traded in.
    """
    stratify = None if labels is None else labels[rows]
    first_rows, second_rows = train_test_split(rows, test_size=second, random_state=int(seed), stratify=stratify)
    if labels is not None:
        _trade(first_rows, second_rows, labels, least, 1)
        _trade(second_rows, first_rows, labels, 1, least)
    return first_rows, second_rows


def _trade(giver: NDArray[np.int64], taker: NDArray[np.int64], labels: NDArray[Any], keep: int, need: int) -> None:
    """Swap rows between the parts, in place, until the taker has `need` rows of each class.

    Such a swap exists: the sizes were checked, so a part that lacks one class has too much of another.
    """
    classes = int(labels.max()) + 1
    while True:
        has = np.bincount(labels[taker], minlength=classes)
        if has.min() >= need:
            return
        wanted, spare = has.argmin(), has.argmax()
        give = np.flatnonzero(labels[giver] == wanted)[keep:][0]
        take = np.flatnonzero(labels[taker] == spare)[0]
        giver[give], taker[take] = taker[take], giver[give]


def _check_classes(labels: NDArray[Any], sizes: tuple[int, int, int], classes: Sequence[str]) -> None:
    """Raises: TaskError if a class is too rare, or a split smaller than the number of classes."""
    values, counts = np.unique(labels, return_counts=True)
    parts = sum(size > 0 for size in sizes)
    if counts.min() < parts:
        raise TaskError(
            f"class {classes[values[counts.argmin()]]!r} has {counted(int(counts.min()), 'row')}: too few for one in each of "
            f"the {parts} splits; add rows, merge it with another class or drop it"
            + (", or go without a test set: split=(0.8, 0.2, 0)" if counts.min() > 1 else "")
        )
    if min(size for size in sizes if size) < len(values):
        raise TaskError(
            f"y has {len(values)} classes, too many for splits of {sizes[0]} training, {sizes[1]} validation and "
            f"{sizes[2]} test rows; add rows, merge classes, or change split="
        )


def _sizes(rows: int, shares: tuple[float, float, float]) -> tuple[int, int, int]:
    """Rows in each split: shares rounded down, the last taking what is left over, none of those asked for empty."""
    validation = max(1, int(rows * shares[1] + 1e-9))
    train = int(rows * shares[0] + 1e-9) if shares[2] > 0 else rows - validation
    test = rows - train - validation
    if train < 1 or test < (shares[2] > 0):
        raise TaskError(f"X has {counted(rows, 'row')}: too few to divide into training, validation and test rows")
    return train, validation, test
