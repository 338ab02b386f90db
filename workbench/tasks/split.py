"""`Split`: how a task's rows are divided into training, validation and test rows, as the user describes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import TaskError, did_you_mean
from workbench.core.text import counted

__all__ = ["Split", "as_split", "by_row", "check_seed", "check_shares", "is_name", "row_values", "span"]

Method = Literal["random", "grouped", "ordered", "given"]
TIME = (pd.Timedelta, np.timedelta64)
VALUES = {"grouped": "groups", "ordered": "order", "given": "rows"}
"""What a split divides by, as its arguments are called."""


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """How rows are divided: made by `random`, `grouped`, `ordered`, `given` or `folds`, and passed to a task as `split=`.

    Shares are of the rows: training, validation and test rows; 0 test rows go without a test set. Groups, an order or the
    rows of each split are given as the name of a column (of a table), or as one value a row, in the order of the data. A
    column that is named here is not an input of the model, unless keep_column=True.

    Attributes, for reading: method, shares, by (groups, order or words), rows (given by number or mask), gap, count (of folds,
    0 for none), splitter, stratify, keep_column.
    """

    method: Method
    shares: tuple[float, float, float]
    by: Any = None
    rows: tuple[Any, Any, Any] | None = None
    gap: Any = 0
    count: int = 0
    splitter: Any = None
    stratify: bool = True
    keep_column: bool = False

    @classmethod
    def random(cls, train: float = 0.6, validation: float = 0.2, test: float = 0.2, *, stratify: bool = True) -> Split:
        """Rows drawn by the task's seed, whatever their order; equal rows stay together. split=(0.6, 0.2, 0.2) is the same.

        stratify: whether each split has the same share of every class. Raises: TaskError unless the shares sum to 1.
        """
        return cls("random", check_shares((train, validation, test)), stratify=_flag("stratify", stratify))

    @classmethod
    def grouped(
        cls, groups: Any, train: float = 0.6, validation: float = 0.2, test: float = 0.2, *, keep_column: bool = False
    ) -> Split:
        """All rows of a group in one split: patients, users, devices, documents. Groups are drawn by the task's seed.

        groups: a column's name, or one value a row. The shares of rows are as near as the groups' sizes allow.
        """
        shares = check_shares((train, validation, test))
        return cls("grouped", shares, _given("groups", groups), keep_column=_flag("keep_column", keep_column))

    @classmethod
    def ordered(
        cls, order: Any, train: float = 0.6, validation: float = 0.2, test: float = 0.2, *, gap: Any = 0,
        keep_column: bool = False,
    ) -> Split:  # fmt: skip
        """The first rows train, later ones validate, the last ones test. Rows of the same time stay together.

        order: a column's name, or one date or number a row; text is read as dates in ISO 8601, such as "2024-03-31". gap: rows
        left out before the validation and before the test rows, as a number of rows, or as a time (a Timedelta or text such as
        "7D") for dates.
        """
        shares = check_shares((train, validation, test))
        keep = _flag("keep_column", keep_column)
        return cls("ordered", shares, _given("order", order), gap=_gap(gap), keep_column=keep)

    @classmethod
    def given(
        cls, rows: Any = None, *, train: Any = None, validation: Any = None, test: Any = None, keep_column: bool = False
    ) -> Split:
        """Rows that are named one by one: either `rows`, a column's name or one of the words "train", "validation" and "test" a
        row, or `train`, `validation` and perhaps `test`: row numbers from 0, or boolean masks. Rows that are not named are not
        used."""
        if (rows is None) == (train is None and validation is None and test is None):
            raise TaskError(
                "Split.given: give either rows (a column, or one of the words train, validation and test a row), or train= and "
                "validation= (row numbers or masks), with test= for a test set"
            )
        unused = (math.nan, math.nan, math.nan)
        if rows is not None:
            return cls("given", unused, _given("rows", rows), keep_column=_flag("keep_column", keep_column))
        if train is None or validation is None:
            raise TaskError("Split.given: train= and validation= are both needed; test= may be left out")
        return cls("given", unused, rows=(train, validation, test))

    @classmethod
    def folds(
        cls, count: int = 5, *, test: float = 0.2, groups: Any = None, order: Any = None, gap: Any = 0, splitter: Any = None,
        stratify: bool = True, keep_column: bool = False,
    ) -> Split:  # fmt: skip
        """Cross-validation: each fold validates on other rows, and the score of a trial is the mean over the folds.

        count: folds. test: share of the test rows, set apart first. groups: kept together (a column's name, or one value a row).
        order: folds go forward in time; each trains on all rows before those it validates on, less the gap. splitter: a
        scikit-learn splitter that divides all but the test rows, in the order of the data, in place of `count`.
        """
        if groups is not None and order is not None:
            raise TaskError("Split.folds: groups and order exclude each other; give one of them")
        if splitter is not None and not (hasattr(splitter, "split") and hasattr(splitter, "get_n_splits")):
            raise TaskError(
                f"splitter={splitter!r}: must be a scikit-learn splitter, such as RepeatedKFold(random_state=0)"
            )
        if splitter is not None and order is not None:
            raise TaskError(
                "Split.folds: splitter and order exclude each other; order= alone goes forward in time, as TimeSeriesSplit does"
            )
        whole = isinstance(count, Integral) and not isinstance(count, bool)
        if not whole or not 2 <= count <= MOST_FOLDS:
            raise TaskError(f"count={count!r}: must be a whole number of folds from 2 to {MOST_FOLDS}, such as 5")
        share = test if isinstance(test, Real) and not isinstance(test, bool) else math.nan
        if not 0 <= share < 1:
            raise TaskError(f"test={test!r}: must be the share of the test rows, from 0 to below 1, such as 0.2")
        method: Method = "grouped" if groups is not None else "ordered" if order is not None else "random"
        by = None if method == "random" else _given(VALUES[method], groups if order is None else order)
        return cls(
            method, (1 - float(share), 0.0, float(share)), by, gap=_gap(gap), count=int(count), splitter=splitter,
            stratify=_flag("stratify", stratify), keep_column=_flag("keep_column", keep_column),
        )  # fmt: skip

    @property
    def column(self) -> str | None:
        """The column that rows are divided by, None without one."""
        return str(self.by) if is_name(self.by) else None

    @property
    def field(self) -> str:
        """How messages call what rows are divided by: "groups='patient'", or "groups"."""
        name = VALUES.get(self.method, "rows")
        return name if self.column is None else f"{name}={self.column!r}"

    def values_of(self, frame: pd.DataFrame) -> Any:
        """What the rows of a table are divided by. Raises: TaskError if there is no such column."""
        if self.column is None:
            return self.by
        names = [str(name) for name in frame.columns]
        if self.column not in names:
            raise TaskError(f"{self.field}: there is no such column{did_you_mean(self.column, names)}")
        return frame.iloc[:, names.index(self.column)]

    def without_column(self, frame: pd.DataFrame, target: str | Sequence[str]) -> pd.DataFrame:
        """A table less the column that its rows are divided by, unless it is kept. Raises: TaskError for a target column."""
        targets = target if isinstance(target, (list, tuple, pd.Index)) else [target]
        if self.column is None:
            return frame
        if self.column in [str(name) for name in targets]:
            raise TaskError(f"{self.field}: is the target column; name a column that is known before the target is")
        kept = [self.keep_column or str(name) != self.column for name in frame.columns]
        return frame.loc[:, kept]

    def without_values(self) -> Split:
        """The same description without values of rows, among which are those of the test rows."""
        return replace(self, by=self.by if self.column is not None else None, rows=None)

    def source(self) -> tuple[str, tuple[str, ...]]:
        """A Python expression, and the variables that it takes values of rows from."""
        needs: list[str] = []

        def value(name: str, given: Any) -> str:
            if is_name(given):
                return repr(given)
            needs.append(name)
            return name

        arguments: list[str] = []
        if self.count:
            arguments += [str(self.count), f"test={self.shares[2]:g}"]
            arguments += [] if self.by is None else [f"{VALUES[self.method]}={value(VALUES[self.method], self.by)}"]
            arguments += [] if self.splitter is None else [f"splitter={self.splitter!r}"]
        elif self.rows is not None:
            named = zip(("train", "validation", "test"), self.rows, strict=True)
            arguments += [f"{name}={value(f'{name}_rows', given)}" for name, given in named if given is not None]
        else:
            arguments += [] if self.by is None else [value(VALUES[self.method], self.by)]
            arguments += [] if self.method == "given" else [f"{share:g}" for share in self.shares]
        arguments += [] if self.gap == 0 else [f"gap={(span(self.gap) if isinstance(self.gap, TIME) else self.gap)!r}"]
        arguments += [] if self.stratify else ["stratify=False"]
        arguments += ["keep_column=True"] if self.keep_column else []
        return f"wb.Split.{'folds' if self.count else self.method}({', '.join(arguments)})", tuple(needs)

    def __repr__(self) -> str:
        return self.source()[0].removeprefix("wb.")

    def __str__(self) -> str:
        """In words: "grouped by 'patient'"."""
        by = "" if self.column is None else f" by {self.column!r}"
        if self.count:
            how = {"random": "", "grouped": f", grouped{by or ' by groups'}", "ordered": f", ordered{by or ' in time'}"}
            if self.splitter is not None:
                return f"folds of {type(self.splitter).__name__}{how[self.method]}"
            plain = ", random" + (", same class shares" if self.stratify else "")
            return f"{self.count} folds{how[self.method] or plain}"
        if self.method == "random":
            return "random"
        gap = "" if self.gap == 0 else f", gap {_in_words(self.gap)}"
        return f"{self.method}{by}{gap}"


MOST_FOLDS = 50


def as_split(split: Any) -> Split:
    """What was passed as `split=`. Raises: TaskError for anything but a `Split` or three shares that sum to 1."""
    return split if isinstance(split, Split) else Split("random", check_shares(split))


def by_row(split: Any) -> dict[str, Any]:
    """What a split has for each row, by name; empty for shares."""
    if not isinstance(split, Split):
        return {}
    return {split.field: split.by, **dict(zip(("train", "validation", "test"), split.rows or (), strict=False))}


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
            "try (0.6, 0.2, 0.2), or (0.8, 0.2, 0) to go without a test set; wb.Split has groups, time order, given rows "
            "and folds"
        )
    return shares[0], shares[1], shares[2]


def check_seed(seed: Any) -> int:
    """The seed of a division. Raises: TaskError for anything but a whole number of 32 bits."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 2**32:
        raise TaskError(f"seed={seed!r}: must be a whole number from 0 to {2**32 - 1}")
    return int(seed)


# ----------------------------------------------------------------------------------------------------------------------


def is_name(given: Any) -> bool:
    """Whether it names a column, and is not one value a row."""
    return isinstance(given, str) or (isinstance(given, Integral) and not isinstance(given, bool))


def _given(name: str, values: Any) -> Any:
    if values is None:
        raise TaskError(f"{name}=None: give a column's name, or one value a row")
    return values


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TaskError(f"{name}={value!r}: must be True or False")
    return bool(value)


def _gap(gap: Any) -> Any:
    """A gap as a number of rows or a `Timedelta`. Raises: TaskError for anything else, or one below 0."""
    found: Any = None
    if isinstance(gap, Integral) and not isinstance(gap, (bool, np.timedelta64)):
        found = int(gap)
    elif isinstance(gap, np.timedelta64) or not isinstance(gap, (Real, bool)):
        try:
            found = pd.Timedelta(gap)
        except (TypeError, ValueError):
            found = None
    if found is None or found is pd.NaT or found < type(found)(0):
        raise TaskError(f"gap={gap!r}: must be a number of rows from 0, or a time such as pd.Timedelta('7D') for dates")
    return 0 if found == type(found)(0) else found


def _in_words(gap: Any) -> str:
    return span(gap) if isinstance(gap, TIME) else counted(gap, "row")


def span(time: Any) -> str:
    """A length of time as text that `pd.Timedelta` reads: "30 days", "1 day 12 hours"."""
    delta = pd.Timedelta(time)
    parts = delta.components._asdict()
    return " ".join(f"{value} {unit if value != 1 else unit[:-1]}" for unit, value in parts.items() if value)


def row_values(values: Any, rows: int, field: str) -> NDArray[Any]:
    """One value a row (rows,), none of them missing. Raises: TaskError naming the field, and the number that is wrong."""
    if isinstance(values, (pd.Series, pd.Index)):
        values = values.to_numpy()
    elif hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    try:
        array = np.asarray(values)
    except ValueError:
        raise TaskError(f"{field}: its values have different lengths; give one value a row") from None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or len(array) != rows:
        given = f"the shape {array.shape}" if array.ndim != 1 else counted(len(array), "value")
        raise TaskError(f"{field} has {given} and the data has {counted(rows, 'row')}: give one value a row")
    missing = int(pd.isna(array).sum())
    if missing:
        raise TaskError(
            f"{field} has {counted(missing, 'missing value')}, first in row {int(pd.isna(array).argmax())}; fill them in or "
            "drop these rows"
        )
    return array
