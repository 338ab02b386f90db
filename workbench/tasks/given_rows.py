"""Splits whose rows the user names one by one, by number, mask or word."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import TaskError, did_you_mean
from workbench.core.text import counted
from workbench.tasks.row_identity import SPLITS
from workbench.tasks.split import Split, row_values

__all__ = ["given_parts"]


def given_parts(split: Split, rows: int, by: Any) -> NDArray[np.int64]:
    """The split of each row as an index into `SPLITS`, -1 for one that is not used.

    by: one word a row, where `split` has no row numbers. Raises: TaskError for rows in two splits, out of range or none.
    """
    if split.rows is None:
        return _of_words(row_values(by, rows, split.field), split.field)
    places = np.full(rows, -1)
    for index, (name, given) in enumerate(zip(SPLITS, split.rows, strict=True)):
        if given is None:
            continue
        numbers = _numbers(given, rows, name)
        taken = numbers[places[numbers] >= 0]
        if len(taken):
            other = SPLITS[places[taken[0]]]
            raise TaskError(
                f"{name}= and {other}= share {counted(len(taken), 'row')}, first row {taken[0]}; each row belongs to one split"
            )
        places[numbers] = index
    return places


def _numbers(given: Any, rows: int, name: str) -> NDArray[np.int64]:
    """Row numbers, of numbers or a mask."""
    if hasattr(given, "detach"):
        given = given.detach().cpu().numpy()
    if isinstance(given, slice):
        given = range(rows)[given]
    found = np.asarray(given)
    if found.ndim != 1:
        raise TaskError(
            f"{name}= has the shape {found.shape}; give row numbers (one dimension), or a mask with one value a row"
        )
    if found.dtype == bool:
        if len(found) != rows:
            raise TaskError(
                f"{name}= is a mask of {counted(len(found), 'value')} and the data has {counted(rows, 'row')}: give one a row"
            )
        found = np.flatnonzero(found)
    if not len(found):
        raise TaskError(f"{name}= names no row; give at least one" + (", or leave it out" if name == "test" else ""))
    if found.dtype.kind not in "iu":
        raise TaskError(
            f"{name}= has the type {found.dtype}; give row numbers (whole numbers from 0), or a mask of True and False"
        )
    outside = found[(found < 0) | (found >= rows)]
    if len(outside):
        raise TaskError(
            f"{name}= has the row number {outside[0]}: out of range, the data has rows 0 to {rows - 1}; give numbers by "
            "position, not labels of an index"
        )
    numbers: NDArray[np.int64] = found.astype(np.int64)
    unique, counts = np.unique(numbers, return_counts=True)
    if len(unique) < len(numbers):
        is_mask = len(numbers) == rows and unique.tolist() == [0, 1]
        remedy = f"if it is a mask of 0 and 1, give {name}.astype(bool)" if is_mask else "give each row once"
        raise TaskError(f"{name}= names row {unique[counts.argmax()]} {counts.max()} times; {remedy}")
    return numbers


def _of_words(words: NDArray[Any], field: str) -> NDArray[np.int64]:
    for word in dict.fromkeys(words.tolist()):
        if word not in SPLITS:
            hint = did_you_mean(str(word), SPLITS)
            raise TaskError(f"{field} has the value {word!r}: each must be one of {', '.join(map(repr, SPLITS))}{hint}")
    places = np.full(len(words), -1)
    for index, name in enumerate(SPLITS):
        places[words == name] = index
    return places
