"""The folds of a cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import TaskError
from workbench.core.text import counted
from workbench.tasks.row_identity import drawn, occurrence
from workbench.tasks.split import MOST_FOLDS, Split
from workbench.tasks.time_order import TimeOrder

__all__ = ["folds_of"]

Rows = NDArray[np.int64]
MANY_COPIES = 1.5
"""Copies of a row stay in one fold, unless the largest fold would then be larger than this share of an equal one."""


def folds_of(
    split: Split,
    rows: Rows,
    keys: NDArray[np.uint64],
    labels: NDArray[np.int64] | None,
    classes: Sequence[str] | None,
    groups: NDArray[np.uint64] | None,
    order: TimeOrder | None,
    seed: int,
    targets: NDArray[Any] | None = None,
) -> tuple[tuple[Rows, Rows], ...]:
    """The training and validation rows of each fold, in the order of `rows`.

    rows: all but the test rows. keys, labels, groups: of all rows of the data. labels: None where classes do not matter;
    classes: their names. targets: of all rows, the y of a splitter.
    Raises: TaskError for fewer groups or rows than folds, and what a splitter raises.
    """
    if split.splitter is not None:
        return _of_splitter(split, np.sort(rows), targets, groups)
    if len(rows) < split.count:
        raise TaskError(f"count={split.count}: more folds than the {counted(len(rows), 'row')} outside the test set")
    if order is not None:
        return tuple(order.folds(rows, split.count))
    strata = np.zeros(len(rows), np.int64) if labels is None else labels[rows]
    if groups is not None:
        places = _of_groups(split, groups[rows], strata, seed)
    else:
        _check_rare(strata, None if labels is None else classes, split.count)
        places = _dealt(keys[rows], strata, split.count, seed)
    return tuple((rows[places != fold], rows[places == fold]) for fold in range(split.count))


def _check_rare(strata: NDArray[np.int64], classes: Sequence[str] | None, count: int) -> None:
    counts = np.bincount(strata)
    rarest = int(np.where(counts > 0, counts, len(strata) + 1).argmin())
    least = int(counts[rarest])
    if classes is not None and least < count:
        fewer = f"use at most {least} folds, " if least > 1 else ""
        raise TaskError(
            f"count={count}: class {classes[rarest]!r} has {counted(least, 'row')} outside the test set, too few for one in each "
            f"fold; {fewer}merge the class with another one, or drop it"
        )


def _dealt(keys: NDArray[np.uint64], strata: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """The fold of each row: the rows of each class in a drawn order, dealt out in turn, copies of a row together."""
    hashed, copy = drawn(keys, f"folds, seed {seed}"), occurrence(keys)
    order = np.lexsort((copy, hashed, strata))
    new = np.r_[True, hashed[order][1:] != hashed[order][:-1]] | np.r_[True, strata[order][1:] != strata[order][:-1]]
    places = np.empty(len(keys), np.int64)
    places[order] = (np.cumsum(new) - 1) % count
    table = np.zeros((count, int(strata.max()) + 1))
    np.add.at(table, (places, strata), 1)
    fair = np.maximum(1, np.bincount(strata) / count)
    if (table > MANY_COPIES * fair + 1).any() or ((table == 0) & (np.bincount(strata) > 0)).any():
        places[order] = np.arange(len(keys)) % count
    return places


def _of_groups(split: Split, groups: NDArray[np.uint64], strata: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The fold of each row, all of a group the same: the largest group first, each to the fold that lacks most of its classes.

    Of one class this is scikit-learn's `GroupKFold`.
    """
    unique, where = np.unique(groups, return_inverse=True)
    if len(unique) < split.count:
        raise TaskError(
            f"{split.field} has {counted(len(unique), 'group')} outside the test set, fewer than count={split.count} folds; use "
            f"at most {max(2, len(unique))} folds, or give more groups"
        )
    table = np.zeros((len(unique), int(strata.max()) + 1))
    np.add.at(table, (where, strata), 1)
    total = np.maximum(1, table.sum(0))
    held = np.zeros((split.count, table.shape[1]))
    places = np.empty(len(unique), np.int64)
    order = np.lexsort((drawn(unique, f"folds, seed {seed}"), -table.sum(1)))
    for turn, group in enumerate(order):
        # what the squared shares of the classes would grow by, then the number of rows
        grown = ((2 * held + table[group]) * table[group] / total**2).sum(1)
        empty = held.sum(1) == 0
        if len(order) - turn <= empty.sum():
            grown = np.where(empty, grown, np.inf)
        place = int(np.lexsort((held.sum(1), np.round(grown, 12)))[0])
        places[group] = place
        held[place] += table[group]
    found: NDArray[np.int64] = places[where]
    return found


def _of_splitter(
    split: Split, rows: Rows, targets: NDArray[Any] | None, groups: NDArray[np.uint64] | None
) -> tuple[tuple[Rows, Rows], ...]:
    """The folds of a scikit-learn splitter, checked."""
    name = f"splitter={split.splitter!r}"
    y = None if targets is None else targets[rows]
    y = y[:, 0] if y is not None and y.ndim == 2 and y.shape[1] == 1 else y
    codes = None if groups is None else np.unique(groups[rows], return_inverse=True)[1]

    def once() -> list[tuple[NDArray[Any], NDArray[Any]]]:
        return [(np.asarray(a), np.asarray(b)) for a, b in split.splitter.split(np.zeros((len(rows), 1)), y, codes)]

    try:
        found, again = once(), once()
    except Exception as error:
        raise TaskError(f"{name}: {type(error).__name__}: {error}") from error
    if not all(_same(a, b) and _same(c, d) for (a, c), (b, d) in zip(found, again, strict=True)):
        raise TaskError(f"{name}: divides the rows differently each time; give it a random_state, such as 0")
    if not 2 <= len(found) <= MOST_FOLDS:
        raise TaskError(f"{name}: makes {counted(len(found), 'fold')}; give one that makes 2 to {MOST_FOLDS}")
    for number, (train, validation) in enumerate(found, 1):
        both = np.intersect1d(train, validation)
        if len(both):
            raise TaskError(f"{name}: fold {number} validates on {counted(len(both), 'row')} that it trains on")
    return tuple((rows[train], rows[validation]) for train, validation in found)


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.shape == other.shape and bool((one == other).all())
