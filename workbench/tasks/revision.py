"""New data for an old task: read as the first ones were, checked against them, and what is kept of them to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import TaskError, did_you_mean
from workbench.core.text import counted
from workbench.tasks.datasets import materialise
from workbench.tasks.division import Division, divide
from workbench.tasks.frames import as_frame, check_frame, is_number, read_csv
from workbench.tasks.given_rows import given_parts
from workbench.tasks.inputs import NamedArrays, to_shape
from workbench.tasks.named_preprocessing import RawInputs
from workbench.tasks.row_identity import SPLITS, place, row_keys, text_keys
from workbench.tasks.rows import Inputs
from workbench.tasks.schema import TaskSchema
from workbench.tasks.split import Split, row_values
from workbench.tasks.split_rows import take_rows
from workbench.tasks.targets import as_targets
from workbench.tasks.time_order import TimeOrder

if TYPE_CHECKING:
    from workbench.tasks.task import Task

__all__ = ["Former", "Renewal", "Sample", "Source", "renew", "sample_of", "sampled_targets"]

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
    them, see `Split.x`. fresh: which of these rows are new, (rows,). arrivals: a sample of the new rows
    outside the test split. new: how many rows are new, by split. missing: how many of the former's rows are not in the data.
    """

    fingerprint: str
    sizes: Mapping[str, int]
    validation: Inputs
    fresh: NDArray[np.bool_]
    arrivals: Sample
    new: Mapping[str, int]
    missing: int


@dataclass(frozen=True, eq=False)
class Source:
    """What a task remembers of its making, so that a further version can be made.

    options: of the maker. targets: the names of a DataFrame's target columns. labels: of the classes, as they stood in the
    raw targets. known: keys by split of the task's rows, and of those of former versions; groups: of their groups, and edges:
    the first and last time of each split, of splits that have these. sample: of the training rows. version: 1 for a task that
    is no version of another.
    """

    options: Mapping[str, Any]
    targets: tuple[str, ...]
    labels: tuple[str, ...] | None
    known: Mapping[str, NDArray[np.uint64]]
    sample: Sample
    groups: Mapping[str, NDArray[np.uint64]] | None = None
    edges: Sequence[tuple[Any, Any]] = ()
    version: int = 1

    @property
    def split(self) -> Split:
        found: Split = self.options["split"]
        return found

    @property
    def field(self) -> str:
        """How messages call the targets."""
        return f"target {', '.join(map(repr, self.targets))}" if self.targets else "y"


@dataclass(frozen=True, eq=False)
class Renewal:
    """What a version is given instead of computing it: the rows of each split, the classes' raw labels, its former, and what is
    known of former rows and groups (see `Source`)."""

    division: Division
    labels: tuple[str, ...] | None
    former: Former | None
    known: Mapping[str, NDArray[np.uint64]]
    groups: Mapping[str, NDArray[np.uint64]] | None
    edges: Sequence[tuple[Any, Any]]
    version: int


def renew(task: Task, source: Source, new_data: Any) -> tuple[RawInputs, NDArray[Any], Renewal]:
    """Inputs, targets and division of a further version of a task. Raises: TaskError, see `Task.version`."""
    X, targets, by = _read_again(task.schema, source, new_data)
    strata = task.classes if task.kind == "classification" else None
    keys = row_keys(X, targets, source.labels if strata else None)
    seed, labels = source.options["seed"], targets if strata else None
    places, fresh = _placed_again(source, keys, by, labels, seed)
    if not fresh.any():
        raise TaskError(f"the new data has no new row: all {len(keys)} were in {task.name!r} before")
    needed = (True, not source.split.count, task.sizes["test"] > 0)
    _check_parts([int((places == index).sum()) for index in range(3)], needed, strata, targets[places == 0])
    division = divide(source.split, keys, labels, strata, seed, by, places, targets)
    unsealed = np.flatnonzero(fresh & np.isin(places, (0, 1)))
    kept = sampled_targets(targets, task.kind, task.classes)
    arrivals = sample_of(X, kept, unsealed, strata, task.feature_names, source.targets, seed)
    former = Former(
        fingerprint=task.fingerprint,
        sizes=dict(task.sizes),
        validation=task.schema.store(take_rows(X, division.validation)),
        fresh=fresh[division.validation],
        arrivals=arrivals,
        new={name: int(fresh[part].sum()) for name, part in zip(SPLITS, division.parts, strict=True)},
        missing=sum(int((~np.isin(own, keys)).sum()) for own in task.row_keys.values()),
    )
    return (
        X,
        targets,
        Renewal(division, source.labels, former, source.known, source.groups, source.edges, source.version + 1),
    )


def _read_again(schema: TaskSchema, source: Source, data: Any) -> tuple[RawInputs, NDArray[Any], Any]:
    """New inputs, targets as class indices (rows,) or numbers (rows, outputs), and what the split divides by, None for nothing.

    Raises: TaskError naming the column, shape, type or class that is another.
    """
    data, by = _apart(schema, source.split, data)
    if schema.columns is not None:
        X, y, by = _frame(schema, source, data, by)
    else:
        X, y = _arrays(schema, data)
    _, targets, labels, _, _ = as_targets(y, len(X), schema.kind, source.field)
    if labels is not None and schema.kind != "multilabel":
        return X, _indices(schema, source, targets, labels), by
    if targets.shape[1] != schema.output_size:
        message = f"{source.field} has {targets.shape[1]} columns, this task's has {schema.output_size}"
        raise TaskError(message)
    return X, targets, by


def _placed_again(
    source: Source, keys: NDArray[np.uint64], by: Any, strata: NDArray[np.int64] | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The split of each row (rows,), as an index into `SPLITS` and -1 for one that is not used, and which rows are new.

    Known rows, and the rows of known groups, go where they were; new rows as the split says. Under folds index 0 is all but the
    test rows. Raises: TaskError for a word that contradicts where a row was.
    """
    split = source.split
    shares = split.shares if split.method != "given" else (1.0, 0.0, 0.0)
    stratify = strata if split.stratify and split.method == "random" else None
    found, new = place(keys, source.known, shares, stratify, seed)
    if split.method == "grouped":
        assert source.groups is not None
        groups = text_keys(row_values(by, len(keys), split.field), "group")
        return place(groups, source.groups, shares, None, seed)[0], new
    if split.method == "ordered":
        order = TimeOrder.of(row_values(by, len(keys), split.field), split.field, split.gap, keys)
        return np.where(new, order.placed(source.edges), found), new
    if split.method == "given":
        wanted = given_parts(Split.given(split.column or "rows"), len(keys), by)
        moved = ~new & (wanted != found)
        if moved.any():
            row = int(moved.argmax())
            raise TaskError(
                f"{counted(int(moved.sum()), 'row')} of the new data would change the split, first row {row} from "
                f"{SPLITS[found[row]]} to {SPLITS[wanted[row]]}; rows that were in the data before keep their split"
            )
        return wanted, new
    return found, new


def _check_parts(
    sizes: Sequence[int], needed: Sequence[bool], classes: Sequence[str] | None, trained: NDArray[Any]
) -> None:
    """Raises: TaskError if a split that is needed gets no row, or a class no training row. trained: training targets."""
    for name, size, wanted in zip(SPLITS, sizes, needed, strict=True):
        if wanted and not size:
            raise TaskError(f"the new data leaves no {name} row; give more rows (earlier rows keep their split)")
    if classes is not None:
        lacking = np.flatnonzero(np.bincount(trained, minlength=len(classes)) == 0)
        if len(lacking):
            message = f"the new data leaves no training row of class {classes[lacking[0]]!r}"
            raise TaskError(f"{message}; give more rows of it (earlier rows keep their split)")


def sampled_targets(targets: NDArray[Any], kind: str, classes: tuple[str, ...] | None) -> NDArray[Any]:
    """Targets as a sample keeps them: of a dense task, each row's share of each class (rows, classes)."""
    if kind != "dense" or classes is None:
        return targets
    flat = targets.reshape(len(targets), -1)
    return np.stack([(flat == index).mean(1) for index in range(len(classes))], axis=1)


def sample_of(
    X: RawInputs,
    targets: NDArray[Any],
    rows: NDArray[np.int64],
    classes: Sequence[str] | None,
    feature_names: Sequence[str] | None,
    target_names: Sequence[str],
    seed: int,
) -> Sample:
    """A sample of some rows, drawn with a seed; copies, so that nothing leads to the others."""
    parts = {"": X} if not isinstance(X, NamedArrays) else X.parts
    values = max(1, sum(int(np.prod(part.shape[1:])) for part in parts.values()))
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
    inputs = [_picked(part[rows], feature_names, f"{name} " if name else "") for name, part in parts.items()]
    return Sample(pd.concat(inputs, axis=1), outputs)


# ----------------------------------------------------------------------------------------------------------------------


def _apart(schema: TaskSchema, split: Split, data: Any) -> tuple[Any, Any]:
    """New data, and the values that its rows are divided by where these are not a column, as the last element of a tuple."""
    if split.method == "random" or split.column is not None:
        return data, None
    table = schema.columns is not None
    whole = 1 if table else 2
    if isinstance(data, tuple) and len(data) == whole + 1:
        return (data[0] if table else data[:whole]), data[whole]
    what = {"grouped": "its group", "ordered": "its time"}.get(split.method, "its split (train, validation or test)")
    given = "(frame, values)" if table else "(X, y, values)"
    raise TaskError(
        f"new_data: this task's rows were divided by values of their own; give {given} with {what} for each row"
    )


def _frame(schema: TaskSchema, source: Source, data: Any, by: Any) -> tuple[pd.DataFrame, Any, Any]:
    assert schema.columns is not None
    targets = list(source.targets)
    apart = [] if source.split.column is None or source.split.column in schema.columns else [source.split.column]
    if isinstance(data, (str, Path)):
        data = read_csv(data, targets)
    data = as_frame(data)
    if not isinstance(data, pd.DataFrame):
        raise TaskError(
            f"new_data is a {type(data).__name__}: this task was made from a table; give a DataFrame, or the path of a CSV "
            f"file, with the columns {', '.join([*schema.columns, *targets, *apart])}"
        )
    names, known = [str(name) for name in data.columns], [*schema.columns, *targets, *apart]
    for name in known:
        if name not in names:
            what = "target column" if name in targets else "column"
            raise TaskError(
                f"the {what} {name!r} is missing in the new data{did_you_mean(name, set(names) - set(known))}"
            )
    for name in names:
        if name not in known:
            raise TaskError(f"the new data has a column {name!r} that this task does not know; drop it")
    by = by if source.split.column is None else source.split.values_of(data)
    data = data.set_axis(names, axis=1)
    inputs, outputs = check_frame(data.drop(columns=apart), targets)
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
    return inputs, outputs, by


def _picked(rows: NDArray[Any], feature_names: Sequence[str] | None, prefix: str) -> pd.DataFrame:
    """Rows of one input as numbers to compare, or their summaries."""
    rows = rows.astype(np.float64)
    values = int(np.prod(rows.shape[1:]))
    if rows.ndim == 4 or values > MANY_FEATURES:
        return _summaries(rows).add_prefix(prefix)
    flat = rows.reshape(len(rows), values)
    names = feature_names if feature_names is not None and len(feature_names) == values else None
    return pd.DataFrame(flat, columns=list(names or [f"{prefix}feature {n}" for n in range(values)]))


def _arrays(schema: TaskSchema, data: Any) -> tuple[NDArray[Any] | NamedArrays, Any]:
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
    inputs = schema.raw(X)
    shape = inputs.shape if isinstance(inputs, NamedArrays) else inputs.shape[1:]
    if shape != schema.raw_shape:
        remedy = "" if isinstance(shape, dict) else to_shape(shape, schema.raw_shape)
        raise TaskError(f"the new rows have the shape {shape}, this task's have {schema.raw_shape}{remedy}")
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
                f"{source.field} has the class {label!r}, which this task does not know (a new class is a new task)"
                f"{did_you_mean(label, known)}"
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
