"""New data for an old task: read as the first ones were, checked against them, and what is kept of them to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from workbench.core.errors import TaskError, did_you_mean
from workbench.tasks.frames import check_frame, is_number, read_csv
from workbench.tasks.inputs import as_inputs, materialise, to_shape
from workbench.tasks.row_identity import SPLITS
from workbench.tasks.schema import TaskSchema
from workbench.tasks.targets import as_targets

__all__ = ["Former", "Renewal", "Sample", "Source", "check_parts", "read_again", "sample_of"]

SAMPLED_ROWS, SAMPLED_VALUES = 5000, 2_000_000
"""Of the training rows so many are kept raw, and at most so many values, for a comparison with later data."""
MANY_FEATURES = 2000
"""Rows of more values than this are compared by their summaries, as pictures are."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Raw rows to compare the distributions of data with. inputs, targets: DataFrames of numbers and texts.

    Of pictures, and of rows of more than `MANY_FEATURES` values, the inputs are each row's mean (of a picture its
    brightness, and that of each channel) and standard deviation (its contrast).
    """

    inputs: pd.DataFrame
    targets: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Former:
    """The version of a task before this one, as far as the comparison needs it.

    fingerprint, sizes: of the former task. validation: this task's validation rows as the former's preprocessing gives
    them, (rows, *input_shape) float32. fresh: which of these rows are new, (rows,). arrivals: a sample of the new rows
    outside the test split. new: how many rows are new, by split. missing: how many of the former's rows are not in the data.
    """

    fingerprint: str
    sizes: Mapping[str, int]
    validation: Tensor
    fresh: NDArray[np.bool_]
    arrivals: Sample
    new: Mapping[str, int]
    missing: int


@dataclass(frozen=True, eq=False)
class Source:
    """What a task remembers of its making, so that a further version can be made.

    options: of the maker. targets: the names of a DataFrame's target columns. labels: of the classes, as they stood in the
    raw targets. known: keys by split of the task's rows, and of those of former versions. sample: of the training rows.
    version: 1 for a task that is no version of another.
    """

    options: Mapping[str, Any]
    targets: tuple[str, ...]
    labels: tuple[str, ...] | None
    known: Mapping[str, NDArray[np.uint64]]
    sample: Sample
    version: int = 1

    @property
    def field(self) -> str:
        """How messages call the targets."""
        return f"target {', '.join(map(repr, self.targets))}" if self.targets else "y"


@dataclass(frozen=True, eq=False)
class Renewal:
    """What a version is given instead of computing it: the rows of each split, the classes' raw labels, its former."""

    parts: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    labels: tuple[str, ...] | None
    former: Former | None
    known: Mapping[str, NDArray[np.uint64]]
    version: int


def read_again(
    schema: TaskSchema, source: Source, data: Any
) -> tuple[NDArray[np.float64] | pd.DataFrame, NDArray[Any]]:
    """New inputs, and targets as class indices (rows,) or numbers (rows, outputs), of the kind the task was made from.

    Raises: TaskError naming the column, shape, type or class that is another.
    """
    X, y = _frame(schema, source, data) if schema.columns is not None else _arrays(schema, data)
    _, targets, labels, _, _ = as_targets(y, len(X), schema.kind, source.field)
    if labels is not None:
        return X, _indices(schema, source, targets, labels)
    if targets.shape[1] != schema.output_size:
        message = f"{source.field} has {targets.shape[1]} columns, this task's has {schema.output_size}"
        raise TaskError(message)
    return X, targets


def check_parts(
    sizes: Sequence[int], shares: Sequence[float], classes: Sequence[str] | None, trained: NDArray[Any]
) -> None:
    """Raises: TaskError if a split that is asked for gets no row, or a class no training row. trained: training targets."""
    for name, size, share in zip(SPLITS, sizes, shares, strict=True):
        if share > 0 and not size:
            raise TaskError(f"the new data leaves no {name} row; give more rows (earlier rows keep their split)")
    if classes is not None:
        lacking = np.flatnonzero(np.bincount(trained, minlength=len(classes)) == 0)
        if len(lacking):
            message = f"the new data leaves no training row of class {classes[lacking[0]]!r}"
            raise TaskError(f"{message}; give more rows of it (earlier rows keep their split)")


def sample_of(
    X: NDArray[np.float64] | pd.DataFrame,
    targets: NDArray[Any],
    rows: NDArray[np.int64],
    classes: Sequence[str] | None,
    feature_names: Sequence[str] | None,
    target_names: Sequence[str],
    seed: int,
) -> Sample:
    """A sample of some rows, drawn with a seed; copies, so that nothing leads to the others."""
    values = max(1, int(np.prod(X.shape[1:])))
    count = min(SAMPLED_ROWS, max(200, SAMPLED_VALUES // values))
    if len(rows) > count:
        rows = np.sort(np.random.default_rng(seed).choice(rows, count, replace=False))
    outputs = pd.DataFrame({"class": np.array(classes, dtype=object)[targets[rows]]} if classes else targets[rows])
    if len(target_names) == outputs.shape[1]:
        outputs.columns = pd.Index([str(name) for name in target_names])
    elif classes is None:
        outputs.columns = pd.Index(["y"] if outputs.shape[1] == 1 else [f"y {n}" for n in range(outputs.shape[1])])
    if isinstance(X, pd.DataFrame):
        return Sample(X.iloc[rows].reset_index(drop=True), outputs)
    picked = X[rows]
    if X.ndim == 4 or values > MANY_FEATURES:
        return Sample(_summaries(picked), outputs)
    flat = picked.reshape(len(picked), values)
    names = feature_names if feature_names is not None and len(feature_names) == flat.shape[1] else None
    return Sample(pd.DataFrame(flat, columns=list(names or [f"feature {n}" for n in range(flat.shape[1])])), outputs)


# ----------------------------------------------------------------------------------------------------------------------


def _frame(schema: TaskSchema, source: Source, data: Any) -> tuple[pd.DataFrame, Any]:
    assert schema.columns is not None
    targets = list(source.targets)
    if isinstance(data, (str, Path)):
        data = read_csv(data, targets)
    if not isinstance(data, pd.DataFrame):
        raise TaskError(
            f"new_data is a {type(data).__name__}: this task was made from a table; give a DataFrame, or the path of a CSV "
            f"file, with the columns {', '.join([*schema.columns, *targets])}"
        )
    names, known = [str(name) for name in data.columns], [*schema.columns, *targets]
    for name in known:
        if name not in names:
            what = "target column" if name in targets else "column"
            raise TaskError(
                f"the {what} {name!r} is missing in the new data{did_you_mean(name, set(names) - set(known))}"
            )
    for name in names:
        if name not in known:
            raise TaskError(f"the new data has a column {name!r} that this task does not know; drop it")
    inputs, outputs = check_frame(data, targets)
    inputs = inputs[list(schema.columns)]
    for name in inputs:
        was, is_now = is_number(source.sample.inputs[name]), is_number(inputs[name])
        if was != is_now:
            kinds = {True: "numbers", False: "text"}
            example = inputs[name].dropna().head(1).tolist()
            shown = f", such as {example[0]!r}" if example else ""
            raise TaskError(
                f"column {name!r} holds {kinds[is_now]} in the new data{shown}; this task's holds {kinds[was]}: convert it"
            )
    return inputs, outputs


def _arrays(schema: TaskSchema, data: Any) -> tuple[NDArray[np.float64], Any]:
    table = isinstance(data, (pd.DataFrame, pd.Series, str, Path))
    if isinstance(data, tuple) and len(data) == 2:
        X, y = data
    elif not table and not hasattr(data, "ndim") and hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        X, y = materialise(data)
    else:
        raise TaskError(
            f"new_data is a {type(data).__name__}: this task was made from arrays; give a pair (X, y), or a torch data set "
            "of such pairs"
        )
    inputs = as_inputs(X)
    if inputs.shape[1:] != schema.raw_shape:
        remedy = to_shape(inputs.shape[1:], schema.raw_shape)
        raise TaskError(f"the new rows have the shape {inputs.shape[1:]}, this task's have {schema.raw_shape}{remedy}")
    return inputs, y


def _indices(
    schema: TaskSchema, source: Source, targets: NDArray[np.int64], labels: Sequence[str]
) -> NDArray[np.int64]:
    """Class indices of the task for new targets, whose labels are its raw ones or its classes' names."""
    assert schema.classes is not None
    assert source.labels is not None
    known = source.labels if set(labels) <= set(source.labels) else schema.classes
    for label in labels:
        if label not in known:
            raise TaskError(
                f"{source.field} has the class {label!r}, which this task does not know{did_you_mean(label, known)}; a new "
                "class is a new task"
            )
    for label, name in zip(known, schema.classes, strict=True):
        if label not in labels:
            raise TaskError(f"{source.field} has no row of class {name!r}, which this task has; add some")
    return np.array([known.index(label) for label in labels], np.int64)[targets]


def _summaries(rows: NDArray[np.float64]) -> pd.DataFrame:
    """Of each row its mean and deviation, of a picture of several channels each one's mean too."""
    image = rows.ndim == 4
    flat = rows.reshape(len(rows), int(np.prod(rows.shape[1:])))
    found = {"brightness" if image else "mean": flat.mean(1), "contrast" if image else "deviation": flat.std(1)}
    if image and rows.shape[1] > 1:
        found |= {f"brightness of channel {n}": rows[:, n].mean((1, 2)) for n in range(rows.shape[1])}
    return pd.DataFrame(found)
