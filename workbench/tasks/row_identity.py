"""Which data are the same, which raw rows are the same ones, and into which split each goes when data grow or are renewed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.tasks.frames import is_number
from workbench.tasks.inputs import NamedArrays
from workbench.tasks.named_preprocessing import RawInputs

__all__ = ["SPLITS", "drawn", "fingerprint_of", "known_after", "occurrence", "place", "row_keys", "text_keys"]

SPLITS = ("train", "validation", "test")

PIECE = 2**15
"""Values that are hashed at once: they stay in the processor's cache."""

EXACT, TINY = 2.0**24, 2.0**-100
"""Numbers of a magnitude between these are distinguished as float32 does, others to the last bit."""


def fingerprint_of(X: RawInputs, settings: tuple[Any, ...], parts: Sequence[NDArray[np.uint64]]) -> str:
    """A digest of the raw data, how they are divided, and of all else that decides what a model is shown.

    parts: the keys of the rows of each split, and of each fold; the order of the rows does not count.
    """
    digest = hashlib.sha256(repr(settings).encode())
    if isinstance(X, pd.DataFrame):
        digest.update(repr([(str(name), str(dtype)) for name, dtype in X.dtypes.items()]).encode())
    else:
        digest.update(repr(X.shape if isinstance(X, NamedArrays) else X.shape[1:]).encode())
    for part in parts:
        digest.update(np.sort(part).tobytes() + b"/")
    return digest.hexdigest()[:32]


def row_keys(X: RawInputs, targets: NDArray[Any], classes: Sequence[str] | None = None) -> NDArray[np.uint64]:
    """A 64-bit key of each raw row with its target, (rows,): equal rows have equal keys, whatever data set they stand in.

    X: (rows, ...) numbers, or a DataFrame, whose columns count by name and not by place. targets: class indices (rows,)
    with the `classes` they stand for, or numbers (rows, outputs). Numbers count as float32 has them (beyond 2**24
    and next to 0, to the last bit), so that
    a row is known again after a CSV file or a float32 array; all missing values of a column are the same.
    """
    if isinstance(X, pd.DataFrame):
        parts = (_numbers(X[[name]], _salts([name])) if is_number(X[name]) else _texts(X[name]) for name in X)
        keys = sum(parts, np.zeros(len(X), np.uint64))
    else:
        keys = np.zeros(len(X), np.uint64)
        for name, part in X.parts.items() if isinstance(X, NamedArrays) else [("", X)]:
            size = math.prod(part.shape[1:])
            salts = _salts([f"{name} {index}" for index in range(size)] if name else range(size))
            found = [_numbers(rows.reshape(len(rows), size), salts) for rows in _pieces(part)]
            keys += np.concatenate(found) if found else np.uint64(0)
    if classes is not None:
        labels = np.array([_digest(f"class {label}") for label in classes], np.uint64)
        keys = keys + labels[targets]
    else:
        numbers = targets.reshape(len(targets), -1)
        keys = keys + _numbers(numbers, _salts([f"target {index}" for index in range(numbers.shape[1])]))
    return _mixed(keys)


def place(
    keys: NDArray[np.uint64],
    known: Mapping[str, NDArray[np.uint64]],
    shares: Sequence[float],
    strata: NDArray[np.int64] | None,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The split of each row (rows,), as an index into `SPLITS`, and which rows are new.

    known: the keys of earlier rows by split. A row that is known goes where it was, and so does each copy of it. Where
    earlier copies stood in several splits, the copies go as they were, test rows first, and further ones the same round
    again. The new rows are divided by `shares`, those of each class (`strata`) by themselves, so that with the known ones
    the shares come out as near as they can; copies stay together. It depends on the keys and the seed alone, not on the
    order of the rows.
    """
    before = np.concatenate([known[name] for name in reversed(SPLITS)])
    splits = np.repeat([2, 1, 0], [len(known[name]) for name in reversed(SPLITS)])
    order = np.argsort(before, kind="stable")
    values, first, counts = np.unique(before[order], return_index=True, return_counts=True)
    places = np.searchsorted(values, keys)
    places[places == len(values)] = 0
    new = values[places] != keys if len(values) else np.ones(len(keys), bool)
    found = np.full(len(keys), -1)
    old = ~new
    found[old] = splits[order][first[places[old]] + occurrence(keys[old]) % counts[places[old]]]
    groups = np.zeros(len(keys), np.int64) if strata is None else strata
    salt = np.uint64(_digest(f"seed {seed}"))
    for group in np.unique(groups[new]):
        rows = np.flatnonzero(new & (groups == group))
        have = np.bincount(found[old & (groups == group)], minlength=3)
        unique, where, copies = np.unique(keys[rows], return_inverse=True, return_counts=True)
        drawn = np.argsort(_mixed(unique ^ salt), kind="stable")
        middle = np.cumsum(copies[drawn]) - copies[drawn] / 2
        target = np.empty(len(unique), np.int64)
        target[drawn] = np.searchsorted(np.cumsum(_apportioned(len(rows), have, shares)), middle, side="right")
        found[rows] = target[where]
    return found, new


def known_after(
    own: Mapping[str, NDArray[np.uint64]], former: Mapping[str, NDArray[np.uint64]] | None
) -> dict[str, NDArray[np.uint64]]:
    """The keys by split of a version's own rows, with those of former versions that are no longer in the data."""
    if former is None:
        return dict(own)
    present = np.concatenate([own[name] for name in SPLITS])
    return {name: np.concatenate([own[name], former[name][~np.isin(former[name], present)]]) for name in SPLITS}


def drawn(keys: NDArray[np.uint64], text: str) -> NDArray[np.uint64]:
    """A pseudorandom number of each key (rows,), by which to draw: equal keys have equal ones, another text gives others."""
    return _mixed(keys ^ np.uint64(_digest(text)))


def _pieces(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    step = max(1, PIECE // max(1, math.prod(values.shape[1:])))
    for start in range(0, len(values), step):
        yield values[start : start + step]


def text_keys(values: NDArray[Any], what: str) -> NDArray[np.uint64]:
    """A 64-bit key of each value (rows,), such as a group's name: 7, 7.0 and a float32 of it have the same."""
    codes, unique = pd.factorize(values)
    texts = [
        str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in unique.tolist()
    ]
    keys: NDArray[np.uint64] = np.array([_digest(f"{what} {text}") for text in texts], np.uint64)[codes]
    return keys


def occurrence(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """How many equal keys stand before each one."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(keys) else np.zeros(0, np.int64)
    sizes = np.diff(np.r_[starts, len(keys)])
    count = np.empty(len(keys), np.int64)
    count[order] = np.arange(len(keys)) - np.repeat(starts, sizes)
    return count


# ----------------------------------------------------------------------------------------------------------------------


def _apportioned(rows: int, have: NDArray[np.int64], shares: Sequence[float]) -> NDArray[np.int64]:
    """How many new rows each split gets in addition to its own, by largest remainders."""
    wanted = np.maximum(0, np.asarray(shares) * (rows + have.sum()) - have)
    wanted = wanted * rows / wanted.sum()
    whole: NDArray[np.int64] = np.floor(wanted + 1e-9).astype(np.int64)
    rest = np.argsort(whole - wanted, kind="stable")[: rows - whole.sum()]
    whole[rest] += 1
    return whole


def _numbers(values: NDArray[Any] | pd.DataFrame, salts: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Keys (rows,) of numbers (rows, columns)."""
    if isinstance(values, pd.DataFrame):
        values = np.stack([values[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in values], axis=1)
    exact = np.asarray(values, np.float64)
    size = np.abs(exact)
    numbers = np.clip(exact, -EXACT, EXACT).astype(np.float32) + 0.0  # -0.0 becomes 0.0
    numbers = numbers.astype(np.float64)
    np.copyto(numbers, exact, where=~(size < EXACT) | (size < TINY) & (size > 0))
    np.copyto(numbers, np.nan, where=np.isnan(exact))  # one of the many
    bits = numbers.view(np.uint64)
    beyond = _is_beyond_float64(values)
    if beyond.any():
        np.copyto(bits, np.asarray(values).astype(np.uint64), where=beyond)
    keys: NDArray[np.uint64] = _mixed(bits ^ salts).sum(axis=1, dtype=np.uint64)
    return keys


def _is_beyond_float64(values: NDArray[Any] | pd.DataFrame) -> NDArray[np.bool_]:
    """Which whole numbers float64 may round, such as hashes of 64 bits."""
    if isinstance(values, pd.DataFrame) or values.dtype.kind not in "iu" or values.dtype.itemsize < 8:
        return np.zeros(1, bool)
    found: NDArray[np.bool_] = (values > 2**53) | (values < -(2**53)) if values.dtype.kind == "i" else values > 2**53
    return found


def _texts(column: pd.Series[Any]) -> NDArray[np.uint64]:
    """Keys (rows,) of the texts of a column."""
    codes, values = pd.factorize(column)
    known = np.array([_digest(f"text {value}") for value in values] + [_digest("missing")], np.uint64)
    return _mixed(known[codes] ^ _salts([column.name]))  # a missing value has the code -1, the last


def _salts(names: Sequence[Any] | range) -> NDArray[np.uint64]:
    return np.array([_digest(f"column {name}") for name in names], np.uint64)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mixed(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of a key depends on every other: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    keys = keys ^ (keys >> np.uint64(30))
    keys *= np.uint64(0xBF58476D1CE4E5B9)
    keys ^= keys >> np.uint64(27)
    keys *= np.uint64(0x94D049BB133111EB)
    keys ^= keys >> np.uint64(31)
    return keys
