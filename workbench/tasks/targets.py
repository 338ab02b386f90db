"""Checks of raw targets: what they ask for, and class indices or numbers of them."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import TaskError, did_you_mean
from workbench.core.kinds import KINDS
from workbench.core.text import counted
from workbench.tasks.inputs import array_of

__all__ = ["Label", "Targets", "amounts_named", "as_targets", "kind_of", "rule_of"]

Label = str | int | float | bool
MANY_VALUES = 20
"""Whole numbers with more different values than this are amounts, unless they look like the numbers of classes."""
EVEN = 4
"""Numbers of classes occur about equally often: the rarest no less than the mean divided by this."""


VOID, MOST_CLASSES = (255, -100, -1), 254
"""Values that mean "no label" in data sets of segmentation, and in PyTorch, and the number of classes next to which they do."""
NEEDS = {
    "multilabel": "several labels are columns of 0 and 1; scikit-learn's MultiLabelBinarizer makes these of lists of labels, and "
    "for one label a row use kind='classification'",
    "count": "counts are whole numbers from 0 on; for labels use kind='classification'",
    **dict.fromkeys(("regression", "auto"), "a regression needs numbers; for labels use kind='classification'"),
}
"""What targets that are no numbers lack, by kind."""
SEVERAL = "several targets are numbers, or labels of 0 and 1; for classes make one task for each column"


class Targets(NamedTuple):
    """y, checked. kind: what it asks for. values: class indices (rows,) int64, or (rows, *positions) of a dense task; else
    numbers (rows, outputs) float64. classes: the labels as text, None for numbers. labels: the same as y has them: whole
    numbers, numbers, booleans or text. flat: whether y is (rows,), and not (rows, outputs)."""

    kind: str
    values: NDArray[Any]
    classes: tuple[str, ...] | None
    labels: tuple[Label, ...] | None
    flat: bool


def kind_of(y: NDArray[Any], kind: str) -> str:
    """What the targets ask for, a name in `core.kinds`. "auto" takes text, booleans and few different whole numbers for classes,
    several columns of 0 and 1 for labels, whole numbers with three axes or more for a dense task, and all else for numbers.

    Few: at most `MANY_VALUES` different ones, or the numbers 0 to K - 1 (or 1 to K) that occur about equally often.
    """
    if isinstance(kind, str) and kind in KINDS:
        return kind
    if not isinstance(kind, str) or kind != "auto":
        names = ("auto", *KINDS)
        raise TaskError(f"kind={kind!r}: must be one of {', '.join(names)}{did_you_mean(str(kind), names)}")
    if y.ndim > 2:
        return "dense" if y.dtype.kind in "iub" else "regression"
    if y.ndim == 2 and y.shape[1] > 1:
        return "multilabel" if _is_zero_one(y) and not _is_one_hot(y) else "regression"
    if y.dtype.kind not in "iuf":
        return "classification"
    values, counts = np.unique(y[np.isfinite(y)] if y.dtype.kind == "f" else y, return_counts=True)
    if not bool(np.all(values == np.round(values))):
        return "regression"
    numbered = values[0] in (0, 1) and values[-1] - values[0] == len(values) - 1
    even = len(values) <= len(y) / MANY_VALUES and counts.min() >= counts.mean() / EVEN
    return "classification" if len(values) <= MANY_VALUES or (numbered and even) else "regression"


def _is_zero_one(y: NDArray[Any]) -> bool:
    return y.dtype.kind == "b" or (y.dtype.kind in "iuf" and bool(np.isin(y, (0, 1)).all()))


def _is_one_hot(y: NDArray[Any]) -> bool:
    return bool((y.astype(float).sum(1) == 1).all())


def rule_of(targets: NDArray[Any], kind: str, classes: tuple[str, ...] | None) -> str:
    """Why "auto" decided for this kind, and how to say otherwise."""
    if kind == "dense":
        return f"y has {targets.ndim} axes of whole numbers; otherwise give kind='regression'"
    if kind == "classification":
        found = f"y has {len(classes or ())} different labels"
        numbers = all(_is_number(label) for label in classes or ())
        return f"{found}; for amounts give kind='regression' or 'count'" if numbers else found
    if kind == "multilabel":
        return "y has several columns of 0 and 1; for numbers give kind='regression'"
    if targets.shape[1] > 1:
        return "y has several columns"
    values = np.unique(targets)
    if (values != np.round(values)).any():
        return "y has fractions"
    return f"y has {len(values)} different whole numbers; for labels give kind='classification', for events 'count'"


@contextmanager
def amounts_named(labels: tuple[str, ...] | None) -> Iterator[None]:
    """Errors about rare or too many classes name kind='regression', where the labels are numbers."""
    try:
        yield
    except TaskError as error:
        if "class" in str(error) and labels and all(_is_number(label) for label in labels):
            raise TaskError(f"{error}; if y holds amounts and not labels, give kind='regression'") from None
        raise


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def as_targets(values: Any, rows: int, kind: str, field: str = "y") -> Targets:
    """y checked: its kind, class indices int64 or numbers (rows, outputs) float64, and the classes' labels.

    field: how messages call y. Raises: TaskError for missing or infinite targets, another length than X, or one class.
    """
    y = array_of(values, field)
    flat = y.ndim == 1
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 0 or len(y) != rows:
        if y.ndim == 0:
            given = y.item()
            plain = given is None or isinstance(given, (int, float, str))
            shown = f"{field}={given!r}" if plain else f"{field} is a {type(given).__name__}"
            raise TaskError(f"{shown}: give an array or a list with one target for each row of X")
        count = counted(len(y), "row")
        raise TaskError(f"X has {counted(rows, 'row')} and {field} has {count}: give one target for each row")
    if not isinstance(kind, str):
        raise TaskError(f"kind={kind!r}: must be one of auto, {', '.join(KINDS)}")
    _check_values(y, field, dense=kind == "dense" or (kind == "auto" and y.ndim > 2 and y.dtype.kind in "iub"))
    found = kind_of(y, kind)
    if found == "dense":
        return Targets(found, *_positions(y, field), flat)
    if found == "multilabel":
        return Targets(found, _labels(y, field), None, None, flat)
    if found == "count":
        return Targets(found, _counts(y, field), None, None, flat)
    if found == "regression":
        return Targets(found, _numbers(y, kind, field), None, None, flat)
    return Targets(found, *_classes(y, field), flat)


def _positions(y: NDArray[Any], field: str) -> tuple[NDArray[np.int64], tuple[str, ...], tuple[Label, ...]]:
    """The class indices (rows, *positions), and the labels as text and as y has them."""
    if y.ndim < 2 or y.dtype.kind not in "iub":
        raise TaskError(
            f"{field} has the shape {y.shape} and the type {y.dtype}: a dense task needs a whole number for each position of a "
            "row, such as (rows, height, width); for one label a row use kind='classification'"
        )
    _check_void(y, field)
    indices, classes, labels = _classes(y.reshape(-1), field)
    return indices.reshape(y.shape), classes, labels


def _check_void(y: NDArray[Any], field: str) -> None:
    """Raises: TaskError for a value that other libraries leave out of losses and metrics, next to classes counted from 0."""
    present = np.unique(y).tolist()
    for void in VOID:
        others = [value for value in present if value != void]
        if void in present and len(others) > 1 and others[0] >= 0 and others[-1] < MOST_CLASSES:
            own, count = others[-1] + 1, counted(int((y == void).sum()), "position")
            raise TaskError(
                f"{field} has the value {void} at {count}, which often means that a position has no label; here every position "
                f"has a class. Make it a class, {field} = np.where({field} == {void}, {own}, {field}), without a weight in the "
                f"loss, wb.Config(class_weight={{'{own}': 0}}); metrics count it"
            )


def _labels(y: NDArray[Any], field: str) -> NDArray[np.float64]:
    if y.dtype.kind not in "biuf":
        plain = all(isinstance(value, (bool, np.bool_)) for value in y.flat)
        y = y.astype(bool) if plain else _numbers(y, "multilabel", field)
    y = y.reshape(len(y), -1)
    if not _is_zero_one(y):
        odd = (y[~np.isin(y, (0, 1))] if y.dtype.kind in "iuf" else y).flat[0].item()
        raise TaskError(f"{field} has the value {odd!r}: a multilabel task needs 0 or 1 for each label of a row")
    values = y.astype(np.float64)
    constant = (values == values[0]).all(0)
    if constant.all():
        raise TaskError(
            f"{field}: every label is the same in all rows: there is nothing to learn; give labels that differ"
        )
    return values


def _counts(y: NDArray[Any], field: str) -> NDArray[np.float64]:
    numbers = _numbers(y, "count", field)
    odd = numbers[(numbers < 0) | (numbers != np.round(numbers))]
    if len(odd):
        raise TaskError(
            f"{field} has the value {odd[0]:g}: counts are whole numbers from 0 on; use kind='regression' for other numbers"
        )
    return numbers


def _check_values(y: NDArray[Any], field: str, dense: bool) -> None:
    if (y.ndim > 2 and not dense) or y.size == 0:
        raise TaskError(
            f"{field} has the shape {y.shape}; give one target a row, (rows, outputs) for a regression, or "
            "whole numbers (rows, *positions) for kind='dense'"
        )
    if y.dtype.kind == "m":
        raise TaskError(f"{field} holds durations; turn them into numbers: a pandas column has .dt.total_seconds()")
    if y.dtype.kind == "M":
        raise TaskError(f"{field} holds dates; turn them into numbers, such as days since a first one, or into labels")
    if y.dtype.kind == "S":
        raise TaskError(f"{field} holds bytes, such as {bytes(y.flat[0])!r}; give text: {field}.astype(str)")
    if y.dtype.kind in "cV":
        raise TaskError(f"{field} has the type {y.dtype}; it must hold labels or real numbers")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        count = int((~np.isfinite(y)).sum())
        raise TaskError(f"{field} has {counted(count, 'NaN or infinite value')}; remove those rows")
    if y.dtype == object:
        odd = next((value for value in y.flat if isinstance(value, (list, tuple, dict, set, np.ndarray))), None)
        if odd is not None:
            raise TaskError(f"{field} holds {type(odd).__name__}s, such as {odd!r}; give one target a row")
        strange = next(
            (value for value in y.flat if isinstance(value, (bytes, pd.Period, datetime.date, datetime.time))), None
        )
        if isinstance(strange, bytes):
            raise TaskError(
                f"{field} holds bytes, such as {strange!r}; give text: [label.decode() for label in {field}]"
            )
        if strange is not None and strange is not pd.NaT:
            what = (
                "periods"
                if isinstance(strange, pd.Period)
                else "dates"
                if isinstance(strange, datetime.date)
                else "times of a day"
            )
            raise TaskError(
                f"{field} holds {what}, such as {str(strange)!r}; turn them into numbers, or into text for labels"
            )
        missing = int(pd.isna(pd.Series(list(y.flat), dtype=object)).sum())
        if missing:
            raise TaskError(f"{field} has {counted(missing, 'missing value')}; remove those rows")


def _numbers(y: NDArray[Any], kind: str, field: str) -> NDArray[np.float64]:
    try:
        numbers = y.astype(np.float64) if y.dtype.kind in "buifO" else None
    except (TypeError, ValueError, OverflowError):
        numbers = None
    if numbers is None:
        needed = NEEDS[kind] if y.ndim == 1 or kind == "multilabel" else SEVERAL
        raise TaskError(f"{field} has the type {y.dtype}: {needed}")
    numbers = numbers.reshape(len(y), -1)
    if kind == "auto" and bool(np.isin(numbers, (0, 1)).all()) and bool((numbers.sum(1) == 1).all()):
        raise TaskError(
            f"{field} has the shape {y.shape} and looks one-hot: use {field}.argmax(axis=1) for classes, or say "
            "kind='multilabel' for labels, or kind='regression' for numbers"
        )
    constant = (numbers == numbers[0]).all(0)
    if constant.any():
        column = int(constant.argmax())
        which = f"{field}, column {column}," if len(constant) > 1 else field
        raise TaskError(
            f"{which} is {numbers[0, column]:g} in every row: there is nothing to learn; give targets that differ"
        )
    return numbers


def _classes(y: NDArray[Any], field: str) -> tuple[NDArray[np.int64], tuple[str, ...], tuple[Label, ...]]:
    """The class indices (rows,), and the labels as text and as y has them."""
    if y.ndim > 1:
        raise TaskError(
            f"{field} has the shape {y.shape}: classes need one label a row; use {field}.argmax(axis=1) for one-hot"
        )
    if y.dtype == object and len({type(label) for label in y}) > 1:
        # mixed types have no order of their own, or a wrong one: False == 0
        y = np.array([str(label) for label in y], dtype=object)
    try:
        labels, indices = np.unique(y, return_inverse=True)
    except TypeError:
        raise TaskError(f"{field} holds {type(y[0]).__name__}s, which have no order; give text or numbers") from None
    found = labels.tolist()
    if len(found) < 2:
        raise TaskError(f"{field} has only one class, {str(found[0])!r}; a classification needs at least two")
    own = found
    if all(isinstance(label, float) and label.is_integer() for label in found):
        found = [int(label) for label in found]
    classes = tuple(str(label) for label in found)
    plain = type(own[0]) in (str, int, float, bool)  # of anything else, such as a Decimal, a file keeps the text
    return indices.astype(np.int64), classes, tuple(own) if plain else classes
