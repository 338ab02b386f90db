"""Which rows train, validate and test, as a `Split` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import TaskError
from workbench.core.text import counted
from workbench.tasks.folds import folds_of
from workbench.tasks.given_rows import given_parts
from workbench.tasks.row_identity import SPLITS, drawn, occurrence, text_keys
from workbench.tasks.split import Split, row_values
from workbench.tasks.time_order import TimeOrder

__all__ = ["Division", "divide"]

Rows = NDArray[np.int64]
DRAWS = 64
"""Of so many draws of the groups, the one that comes nearest to the shares, of rows and of each class, is taken."""


@dataclass(frozen=True, eq=False)
class Division:
    """Row numbers of each split, in an order that depends on the rows alone. Of `folds`, (train, validation) of each.

    train, validation: those of the first fold, if there are folds. groups: a key of each row's group. order: its place in time.
    """

    train: Rows
    validation: Rows
    test: Rows
    folds: tuple[tuple[Rows, Rows], ...] = ()
    groups: NDArray[np.uint64] | None = field(default=None, repr=False)
    order: TimeOrder | None = field(default=None, repr=False)

    @property
    def parts(self) -> tuple[Rows, Rows, Rows]:
        return self.train, self.validation, self.test

    @property
    def all_parts(self) -> list[Rows]:
        """The rows of each split and fold, which say how the data are divided."""
        return [*(part for fold in self.folds for part in fold), *self.parts]

    def known(self, keys: NDArray[np.uint64]) -> dict[str, NDArray[np.uint64]]:
        """The keys of the rows by split; under folds, those of all but the test rows are together."""
        if self.folds:
            return {"train": keys[self.open_rows], "validation": keys[:0], "test": keys[self.test]}
        return {name: keys[part] for name, part in zip(SPLITS, self.parts, strict=True)}

    def known_groups(self, former: Mapping[str, NDArray[np.uint64]] | None) -> dict[str, NDArray[np.uint64]] | None:
        """The keys of the groups by split, with those of former versions."""
        if self.groups is None:
            return None
        found = self.known(self.groups)
        return {
            name: np.unique(np.concatenate([own, *([former[name]] if former else [])])) for name, own in found.items()
        }

    def edges(self) -> list[tuple[Any, Any]]:
        """The first and last time of each split, of rows in an order of time."""
        if self.order is None:
            return []
        empty = self.test[:0]
        return self.order.edges([self.open_rows, empty, self.test] if self.folds else self.parts)

    @property
    def open_rows(self) -> Rows:
        """All rows that are used but the test rows."""
        pieces = [part for fold in self.folds for part in fold] or [self.train, self.validation]
        return np.unique(np.concatenate(pieces))


def divide(
    split: Split,
    keys: NDArray[np.uint64],
    labels: NDArray[np.int64] | None,
    classes: Sequence[str] | None,
    seed: int,
    by: Any = None,
    known: NDArray[np.int64] | None = None,
    targets: NDArray[Any] | None = None,
) -> Division:
    """The rows of each split, disjoint. The same rows in another order are divided in the same way (rows given by number, and
    the folds of a splitter, excepted).

    keys: of the rows, see `row_keys`. labels: class indices, `classes` their names; None for numbers. by: a group, time or word
    a row. known: the split of each row, as an index into `SPLITS` and -1 for not used, if it is decided already. targets: of the
    rows, class indices or numbers, which a splitter is given as its y, by default the labels.
    Raises: TaskError when a split would be empty or lack a class, naming field, value and remedy.
    """
    rows = len(keys)
    groups = order = None
    strata = labels if split.stratify else None
    if split.method == "grouped":
        groups = text_keys(row_values(by, rows, split.field), "group")
    elif split.method == "ordered":
        order = TimeOrder.of(row_values(by, rows, split.field), split.field, split.gap, keys)
    if known is not None:
        places = known
    elif split.method == "given":
        places = given_parts(split, rows, by)
    elif split.count and not split.shares[2]:
        places = np.zeros(rows, np.int64)
    elif order is not None:
        places = order.divided(split.shares)
    elif groups is not None:
        places = _grouped(groups, split, labels, seed)
    else:
        places = _random(keys, split.shares, strata, classes if split.stratify else None, seed)
    canonical = np.lexsort((occurrence(keys), drawn(keys, "order")))
    in_order = canonical if order is None else order.sorted(canonical)
    parts = [in_order[places[in_order] == index] for index in range(len(SPLITS))]
    folds: tuple[tuple[Rows, Rows], ...] = ()
    if split.count:
        rest = parts[0]
        folds = folds_of(
            split, rest, keys, labels if split.stratify or groups is not None else None, classes, groups, order, seed,
            labels if targets is None else targets,
        )  # fmt: skip
        _check_folds(folds, labels, classes)
        parts = [*folds[0], parts[2]]
    else:
        _check_parts(split, parts, labels, classes)
    return Division(parts[0], parts[1], parts[2], folds, groups, order)


# --- random -----------------------------------------------------------------------------------------------------------


def _random(
    keys: NDArray[np.uint64],
    shares: tuple[float, float, float],
    labels: NDArray[np.int64] | None,
    classes: Sequence[str] | None,
    seed: int,
) -> NDArray[np.int64]:
    """The split of each row: equal shares of every class by largest remainders, copies of a row together where they can be."""
    rows = len(keys)
    sizes = _sizes(rows, shares)
    strata = np.zeros(rows, np.int64) if labels is None else labels
    counts = np.bincount(strata)
    if labels is not None and classes is not None:
        _check_classes(counts, sizes, classes, folds=shares[1] == 0)
    parts = sum(size > 0 for size in sizes)
    test = _apportioned(counts, sizes[2], parts - 1) if sizes[2] else np.zeros_like(counts)
    validation = _apportioned(counts - test, sizes[1], 1) if sizes[1] else np.zeros_like(counts)
    wanted = np.stack([counts - test - validation, validation, test], 1)
    hashed, copy = drawn(keys, f"seed {seed}"), occurrence(keys)
    places = np.empty(rows, np.int64)
    for label in np.flatnonzero(counts):
        own = np.flatnonzero(strata == label)
        own = own[np.lexsort((copy[own], hashed[own]))]
        ends = np.cumsum(wanted[label])
        starts = np.flatnonzero(np.r_[True, hashed[own][1:] != hashed[own][:-1]])
        copies = np.diff(np.r_[starts, len(own)])
        together = np.repeat(np.searchsorted(ends, starts + copies / 2), copies)
        # many copies of few rows cannot stay together and be divided by the shares: they go one by one
        few = np.bincount(together, minlength=3) < wanted[label] / 2
        alone = np.searchsorted(ends, np.arange(len(own)) + 0.5)
        places[own] = alone if few.any() else together
    return places


def _sizes(rows: int, shares: tuple[float, float, float]) -> tuple[int, int, int]:
    """Rows in each split: shares rounded down, the last taking what is left over, none of those asked for empty."""
    validation = max(int(shares[1] > 0), int(rows * shares[1] + 1e-9))
    train = int(rows * shares[0] + 1e-9) if shares[2] > 0 else rows - validation
    test = rows - train - validation
    if train < 1 or test < (shares[2] > 0):
        raise TaskError(f"X has {counted(rows, 'row')}: too few to divide into training, validation and test rows")
    return train, validation, test


def _apportioned(counts: NDArray[np.int64], size: int, least: int) -> NDArray[np.int64]:
    """How many rows of each class go into a part of `size` rows: by largest remainders, at least one of each, and at least
    `least` left (if there are so many classes and rows at all)."""
    exact = counts * size / counts.sum()
    found: NDArray[np.int64] = np.floor(exact + 1e-9).astype(np.int64)
    found[np.argsort(found - exact, kind="stable")[: size - found.sum()]] += 1
    if (counts > 0).sum() <= size:
        while (lacking := (found < 1) & (counts > 0)).any():
            found[found.argmax()] -= 1
            found[lacking.argmax()] += 1
    if counts.sum() - size >= least * (counts > 0).sum():
        while (lacking := (counts - found < least) & (counts > least)).any():
            found[lacking.argmax()] -= 1
            found[(counts - found).argmax()] += 1
    return found


def _check_classes(
    counts: NDArray[np.int64], sizes: tuple[int, int, int], classes: Sequence[str], *, folds: bool
) -> None:
    """Raises: TaskError if a class is too rare, or a split smaller than the number of classes."""
    parts = sum(size > 0 for size in sizes)
    if counts.min() < parts and not folds:
        raise TaskError(
            f"class {classes[int(counts.argmin())]!r} has {counted(int(counts.min()), 'row')}: too few for one in each of "
            f"the {parts} splits; add rows, merge it with another class or drop it"
            + (", or go without a test set: split=(0.8, 0.2, 0)" if counts.min() > 1 else "")
        )
    if min(size for size in sizes if size) < len(counts) and not folds:
        raise TaskError(
            f"y has {len(counts)} classes, too many for splits of {sizes[0]} training, {sizes[1]} validation and "
            f"{sizes[2]} test rows; add rows, merge classes, or change split="
        )


# --- grouped ----------------------------------------------------------------------------------------------------------


def _grouped(
    groups: NDArray[np.uint64], split: Split, labels: NDArray[np.int64] | None, seed: int
) -> NDArray[np.int64]:
    """The split of each row, all of a group the same: of several draws, the one nearest to the shares of rows and classes."""
    unique, where = np.unique(groups, return_inverse=True)
    shares = np.array(split.shares)
    asked = np.flatnonzero(shares > 0)
    if len(unique) < len(asked):
        names = " and ".join(", ".join(("training", "validation", "test")[index] for index in asked).rsplit(", ", 1))
        raise TaskError(
            f"{split.field} has {counted(len(unique), 'group')}: too few for {names} rows, which need a group each; give more "
            "groups" + (" or fewer splits, such as test=0" if len(asked) == 3 else "")
        )
    strata = np.zeros(len(groups), np.int64) if labels is None else labels
    table = np.zeros((len(unique), int(strata.max()) + 1))
    np.add.at(table, (where, strata), 1)
    sizes, total = table.sum(1), table.sum(0)
    best, least = None, np.inf
    draws = DRAWS if len(unique) <= 5000 else 4
    for draw in range(draws):
        order = np.argsort(drawn(unique, f"seed {seed}, draw {draw}" if draw else f"seed {seed}"), kind="stable")
        middle = np.cumsum(sizes[order]) - sizes[order] / 2
        places = np.empty(len(unique), np.int64)
        places[order] = np.searchsorted(np.cumsum(shares[:2]) * len(groups), middle)
        distance = _distance(places, table, total, shares, asked)
        if distance < least:
            best, least = places, distance
    if best is None or least >= EMPTY:
        best = _by_size(sizes, shares, asked)
    found: NDArray[np.int64] = best[where]
    return found


EMPTY, LACKING = 1e6, 1e3


def _distance(
    places: NDArray[np.int64], table: NDArray[Any], total: NDArray[Any], shares: NDArray[Any], asked: Rows
) -> float:
    """How far the splits are from their shares of rows and classes; more for a class that trains nowhere, and an empty split."""
    held = np.zeros((3, table.shape[1]))
    np.add.at(held, places, table)
    far = np.abs(held / np.maximum(total, 1) - shares[:, None]).sum(0).mean()
    size = np.abs(held.sum(1) / total.sum() - shares).sum()
    empty = (held.sum(1)[asked] == 0).sum() * EMPTY
    lacking = ((held[0] == 0) & (total > 0)).sum() * LACKING + (held[asked] == 0).sum()
    return float(far + size + empty + lacking)


def _by_size(sizes: NDArray[Any], shares: NDArray[Any], asked: Rows) -> NDArray[np.int64]:
    """Groups to splits, the largest first, each to the split that lacks most, so that none is empty."""
    places = np.empty(len(sizes), np.int64)
    lacks = shares * sizes.sum()
    empty = set(asked.tolist())
    order = np.argsort(-sizes, kind="stable")
    for turn, group in enumerate(order):
        among = sorted(empty) if len(order) - turn == len(empty) else asked.tolist()
        place = max(among, key=lambda index: lacks[index])
        places[group], lacks[place] = place, lacks[place] - sizes[group]
        empty.discard(place)
    return places


# --- checks -----------------------------------------------------------------------------------------------------------


def _check_parts(
    split: Split, parts: Sequence[Rows], labels: NDArray[np.int64] | None, classes: Sequence[str] | None
) -> None:
    """Raises: TaskError for an empty split, and a class without a training row."""
    asked = (True, True, split.shares[2] > 0)
    for name, part, needed in zip(("training", "validation", "test"), parts, asked, strict=True):
        if needed and not len(part):
            raise TaskError(f"split={split!r}: leaves no {name} row; {_remedy(split)}")
    if labels is not None and classes is not None:
        lacking = np.flatnonzero(np.bincount(labels[parts[0]], minlength=len(classes)) == 0)
        if len(lacking):
            rows = counted(int((labels == lacking[0]).sum()), "row")
            raise TaskError(
                f"split={split!r}: leaves no training row of class {classes[lacking[0]]!r}, which has {rows}; "
                f"{_remedy(split)}, merge the class with another one, or drop it"
            )


def _remedy(split: Split) -> str:
    remedies = {"grouped": "give more groups, another seed=", "ordered": "change the shares or the gap"}
    return remedies.get(split.method, "give rows to each split")


def _check_folds(
    folds: Sequence[tuple[Rows, Rows]], labels: NDArray[np.int64] | None, classes: Sequence[str] | None
) -> None:
    """Raises: TaskError for a fold that lacks rows, or a class among its training or its validation rows."""
    for number, fold in enumerate(folds, 1):
        for name, part in zip(("training", "validation"), fold, strict=True):
            if not len(part):
                raise TaskError(
                    f"fold {number} of {len(folds)} has no {name} row; give more rows, or fewer folds (count=)"
                )
            if labels is None or classes is None:
                continue
            lacking = np.flatnonzero(np.bincount(labels[part], minlength=len(classes)) == 0)
            if len(lacking):
                rows = counted(int((labels == lacking[0]).sum()), "row")
                raise TaskError(
                    f"fold {number} of {len(folds)} has no {name} row of class {classes[lacking[0]]!r}, which has {rows} in the "
                    "data; use fewer folds (count=), merge the class with another one, or drop it"
                )
