"""Validation and test data that come apart from the training data: one task is made of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import union_categoricals

from workbench.core.errors import TaskError
from workbench.tasks.datasets import materialise
from workbench.tasks.frames import as_frame
from workbench.tasks.inputs import NamedArrays, array_of, as_inputs, to_shape
from workbench.tasks.split import Split, as_split

__all__ = ["joined_arrays", "joined_datasets", "joined_frames", "split_of"]


def joined_arrays(
    X: Any, y: Any, separate: Mapping[str, Any], kinds: Any
) -> tuple[NDArray[Any] | NamedArrays, NDArray[Any], dict[str, int]]:
    """All inputs and targets end to end, and the number of rows of each part; training rows come first.

    separate: pairs (X, y) by option, None for one that is not given. kinds: the option `inputs` of the task. Raises: TaskError
    for another shape or length.
    """
    inputs, targets = [as_inputs(X, kinds)], [array_of(y, "y")]
    sizes = {"train": len(inputs[0])}
    for name, data in separate.items():
        if data is None:
            continue
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            raise TaskError(f"{name} is a {type(data).__name__}: give a pair (X, y), as the training data are")
        more, labels = as_inputs(data[0], kinds), array_of(data[1], f"y of {name}")
        _check_shapes(inputs[0], targets[0], more, labels, name)
        inputs.append(more)
        targets.append(labels.reshape(len(labels), *targets[0].shape[1:]))
        sizes[name] = len(more)
    if targets[0].ndim == 0 or len(targets[0]) != len(inputs[0]):
        return inputs[0], targets[0], sizes  # the check of the targets says so
    return _end_to_end(inputs), np.concatenate(targets), sizes


def _end_to_end(inputs: Sequence[Any]) -> Any:
    """The rows of several inputs; those of the only one are not copied."""
    if len(inputs) == 1:
        return inputs[0]
    if isinstance(inputs[0], NamedArrays):
        parts = {name: np.concatenate([one.parts[name] for one in inputs]) for name in inputs[0].parts}
        return NamedArrays(parts)
    return np.concatenate(inputs)


def joined_datasets(
    dataset: Any, separate: Mapping[str, Any], kinds: Any
) -> tuple[NDArray[Any] | NamedArrays, NDArray[Any], dict[str, int]]:
    """As `joined_arrays`, of map-style torch data sets of pairs (x, y)."""
    read = {name: None if data is None else materialise(data) for name, data in separate.items()}
    return joined_arrays(*materialise(dataset), read, kinds)


def joined_frames(frame: pd.DataFrame, separate: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, int]]:
    """All rows of several tables with the same columns, and the number of rows of each. Raises: TaskError naming a column."""
    frames, sizes = [frame], {"train": len(frame)}
    for name, data in separate.items():
        if data is None:
            continue
        data = as_frame(data)
        if not isinstance(data, pd.DataFrame):
            raise TaskError(
                f"{name} is a {type(data).__name__}: give a DataFrame with the columns of the training data"
            )
        own, known = [str(column) for column in data.columns], [str(column) for column in frame.columns]
        lacking, more = [c for c in known if c not in own], [c for c in own if c not in known]
        if lacking or more:
            which = (
                f"lacks the column {lacking[0]!r}"
                if lacking
                else f"has a column {more[0]!r} that the training data lack"
            )
            raise TaskError(f"{name} {which}; give the same columns in all data")
        if not len(data):
            raise TaskError(f"{name} has no rows; give at least one, or leave it out")
        frames.append(data.set_axis(own, axis=1)[known].set_axis(frame.columns, axis=1))
        sizes[name] = len(data)
    return frame if len(frames) == 1 else _concatenated(frames), sizes


def split_of(options: Mapping[str, Any], sizes: Mapping[str, int]) -> Split:
    """The split of a task by its options, or of data of which some came apart. sizes: rows by part; the training data come first.

    Raises: TaskError for a split that contradicts the parts.
    """
    if set(sizes) == {"train"}:
        return as_split(options.get("split", (0.6, 0.2, 0.2)))
    if "validation" not in sizes:
        raise TaskError(
            "test= is given without validation=: give both (divide the training data first), so that it is known what "
            "validates"
        )
    if "split" in options:
        raise TaskError(
            f"split={options['split']!r} and validation= exclude each other: the rows are divided already; leave split= out"
        )
    ends = np.cumsum(list(sizes.values()))
    rows = dict(zip(sizes, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
    return Split.given(train=rows["train"], validation=rows["validation"], test=rows.get("test"))


def _concatenated(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of several tables; columns of categories stay such."""
    whole = pd.concat(frames, ignore_index=True)
    for name in whole.columns:
        columns = [frame[name] for frame in frames]
        if all(isinstance(column.dtype, pd.CategoricalDtype) for column in columns) and whole[name].dtype == object:
            whole[name] = union_categoricals(columns, ignore_order=True)
    return whole


def _check_shapes(
    X: NDArray[Any] | NamedArrays, y: NDArray[Any], more: NDArray[Any] | NamedArrays, labels: NDArray[Any], name: str
) -> None:
    known, own = (one.shape if isinstance(one, NamedArrays) else one.shape[1:] for one in (X, more))
    if own != known:
        remedy = "" if isinstance(own, dict) or isinstance(known, dict) else to_shape(own, known)
        raise TaskError(f"{name}: its rows have the shape {own}, those of the training data {known}{remedy}")
    for (field, dtype), own_dtype in zip(_types(X).items(), _types(more).values(), strict=True):
        if np.uint8 in (dtype, own_dtype) and "f" in (dtype.kind, own_dtype.kind):
            raise TaskError(
                f"{name}: {field} has the type {own_dtype}, that of the training data {dtype}: one may be from 0 to 255 and the "
                "other from 0 to 1; make them alike"
            )
    if labels.ndim == 0 or len(labels) != len(more):
        count = 1 if labels.ndim == 0 else len(labels)
        raise TaskError(f"{name}: X has {len(more)} rows and y has {count}: give one target for each row")
    if labels[0].size != (y[0].size if y.ndim else 1):
        raise TaskError(f"{name}: y has the shape {labels.shape}, that of the training data {y.shape}; make them alike")
    text = {"U", "S", "O"}
    if (labels.dtype.kind in text) != (y.dtype.kind in text):
        raise TaskError(f"{name}: y has the type {labels.dtype}, that of the training data {y.dtype}; make them alike")


def _types(X: NDArray[Any] | NamedArrays) -> dict[str, np.dtype[Any]]:
    """The type of each input, by its name in messages."""
    if isinstance(X, NamedArrays):
        return {f"X[{name!r}]": part.dtype for name, part in sorted(X.parts.items())}
    return {"X": X.dtype}
