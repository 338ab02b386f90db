"""Torch data sets, read once into memory: after an estimate of their size, in their own types."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.core.errors import TaskError
from workbench.core.memory import free_memory, out_of_memory
from workbench.core.warn import callers_level
from workbench.tasks.inputs import array_of

__all__ = ["materialise"]

READ_TWICE = 4
"""Items that are read once more at the start, to find out whether an item differs each time."""


def materialise(dataset: Any) -> tuple[Any, NDArray[Any]]:
    """All items of a map-style torch data set: X (rows, ...), or a dict of them for items with several inputs, and y.

    Warns (UserWarning) of a data set that returns another item at each read. Raises: TaskError naming the item that fails or
    differs, or before the first one is kept, if all do not fit into the memory that is free.
    """
    iterable = isinstance(dataset, torch.utils.data.IterableDataset)
    single = getattr(dataset, "ndim", 1) == 0  # a number in an array only seems to have items
    if iterable or single or not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise TaskError(
            f"dataset: a {type(dataset).__name__} has no length or cannot be indexed; a map-style data set is needed: "
            "collect an iterable one into a list of (x, y) first"
        )
    count = len(dataset)
    if not count:
        raise TaskError("the data set is empty: its length is 0")
    first = _item(dataset, 0, count)
    _check_memory(first, count)
    _check_repeatable(dataset, first, count)
    try:
        read = {name: np.empty((count, *part.shape), part.dtype) for name, part in first.items()}
        for index in range(count):
            for name, part in _item(dataset, index, count).items():
                if name not in read or part.shape != first[name].shape:
                    raise _differs(index, name, part, first)
                if part.dtype != read[name].dtype:
                    read[name] = _widened(read[name], part.dtype, index, name)
                read[name][index] = part
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise TaskError(_too_large(first, count)) from error
    y = read.pop("y")
    return (read["x"] if "x" in read else {name.removeprefix("x "): part for name, part in read.items()}), y


def _item(dataset: Any, index: int, count: int) -> dict[str, NDArray[Any]]:
    """The arrays of an item: "y", and "x" or, of several inputs, "x " with their names."""
    try:
        x, y = dataset[index]
        named = {f"x {name}": part for name, part in x.items()} if isinstance(x, Mapping) else {"x": x}
        return {name: array_of(part, name) for name, part in {**named, "y": y}.items()}
    except Exception as error:
        if out_of_memory(error):
            message = f"memory ran out at item {index} of {count:,} of the data set ({type(error).__name__}: {error}); "
            raise TaskError(f"{message}use fewer or smaller items") from error
        raise TaskError(
            f"item {index} of the data set cannot be read: {type(error).__name__}: {error}; "
            "each item must be a pair (x, y)"
        ) from error


def _differs(index: int, name: str, part: NDArray[Any], first: Mapping[str, NDArray[Any]]) -> TaskError:
    if name not in first:
        known = ", ".join(first)
        return TaskError(f"item {index} of the data set has an input {name!r}, item 0 has {known}; make them equal")
    return TaskError(
        f"item {index} of the data set has an {name} of shape {part.shape}, item 0 has {first[name].shape}; make them equal"
    )


def _widened(values: NDArray[Any], dtype: np.dtype[Any], index: int, name: str) -> NDArray[Any]:
    """The values in a type that takes these too."""
    try:
        return values.astype(np.result_type(values.dtype, dtype))
    except TypeError:
        raise TaskError(
            f"item {index} of the data set has an {name} of the type {dtype}, those before {values.dtype}; make them equal"
        ) from None


def _check_memory(first: Mapping[str, NDArray[Any]], count: int) -> None:
    if count * _size(first) > free_memory():
        raise TaskError(_too_large(first, count))


def _too_large(first: Mapping[str, NDArray[Any]], count: int) -> str:
    need, free = count * _size(first) / 2**30, free_memory() / 2**30
    types = ", ".join(f"{name} {part.shape} {part.dtype}" for name, part in first.items())
    return (
        f"the data set has {count:,} items ({types}), for which some {need:.2g} GiB of memory are needed, and {free:.2g} GiB are "
        "free; give fewer items (torch.utils.data.Subset), smaller ones, or a smaller type, such as uint8 for images"
    )


def _size(first: Mapping[str, NDArray[Any]]) -> int:
    """The bytes of an item in memory at the peak: as read, and as the splits store it, images of uint8 as they are and all other
    numbers in 4 bytes at least."""
    return sum(
        part.nbytes + (part.nbytes if part.dtype == np.uint8 else max(part.nbytes, 4 * part.size))
        for part in first.values()
    )


def _check_repeatable(dataset: Any, first: Mapping[str, NDArray[Any]], count: int) -> None:
    """Warn if an item differs when it is read again. An augmentation by chance may leave one as it is, hence several."""
    for index in sorted({0, *np.linspace(0, count - 1, READ_TWICE).astype(int).tolist()}):
        before = first if index == 0 else _item(dataset, index, count)
        if not _equal(before, _item(dataset, index, count)):
            warnings.warn(
                f"item {index} of the data set differs when it is read again, so it is drawn at random, as augmentation is; the "
                "data set is read once, and each row keeps one draw in all epochs, in validation and test rows too. Give a data "
                "set without augmentation",
                UserWarning,
                stacklevel=callers_level(),
            )
            return


def _equal(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    return one.keys() == other.keys() and all(_same(part, other[name]) for name, part in one.items())


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    floats = one.dtype.kind == "f" and other.dtype.kind == "f"
    return np.array_equal(one, other, equal_nan=True) if floats else np.array_equal(one, other)
