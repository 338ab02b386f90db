"""The folds of a task: rows and fitted preprocessing of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.core.errors import TaskError
from workbench.tasks.row_identity import SPLITS
from workbench.tasks.rows import InputRows, Inputs, ready, shape_of
from workbench.tasks.schema import TaskSchema
from workbench.tasks.split_rows import Rows
from workbench.tasks.target_scale import TargetScale

__all__ = ["Fold", "Folds", "folds_of_task"]

Part = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class Fold:
    """One fold: what training asks of a task. train, validation: its rows, as its own preprocessing in `schema` gives them.
    row_numbers: of these, where they stood in the data, from 0."""

    schema: TaskSchema
    train: Rows
    validation: Rows
    row_numbers: dict[str, Part]

    folds: None = None

    @property
    def name(self) -> str:
        return self.schema.name

    @property
    def kind(self) -> str:
        return self.schema.kind

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.schema.metrics

    @property
    def monitor(self) -> str:
        return self.schema.monitor

    @property
    def target(self) -> TargetScale:
        return self.schema.target

    @property
    def positions(self) -> tuple[int, ...]:
        return self.schema.positions

    @property
    def input_shape(self) -> Any:
        return self.schema.input_shape

    @property
    def inputs(self) -> str | dict[str, str]:
        return self.schema.inputs

    @property
    def categories(self) -> dict[str, int]:
        return self.schema.categories

    @property
    def output_size(self) -> int:
        return self.schema.output_size

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.schema.output_shape

    @property
    def metric(self) -> str:
        return self.schema.metric

    @property
    def target_names(self) -> tuple[str, ...] | None:
        return self.schema.target_names

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        return self.schema.feature_names

    @property
    def classes(self) -> tuple[str, ...] | None:
        return self.schema.classes

    def __repr__(self) -> str:
        return f"<Fold of {self.name!r}: {len(self.train)} training and {len(self.validation)} validation rows>"


@dataclass(frozen=True, eq=False)
class Folds:
    """All folds of a task. train, validation: the rows of all of them end to end, of which those of each fold are views."""

    members: tuple[Fold, ...]
    train: Rows
    validation: Rows

    def __len__(self) -> int:
        return len(self.members)

    @property
    def least(self) -> int:
        """The number of validation rows of the smallest fold."""
        return min(len(one.validation) for one in self.members)

    @property
    def ratio(self) -> float:
        """Validation rows by training rows, the mean over the folds."""
        return sum(len(one.validation) / len(one.train) for one in self.members) / len(self.members)


def folds_of_task(
    schema: TaskSchema,
    parts: Sequence[tuple[Part, Part]],
    fitted: Callable[[Part], tuple[Any, TargetScale]],
    rows_of: Callable[[Part, Any, TargetScale], Rows],
) -> Folds:
    """The folds, each with what is fitted on its own training rows.

    schema: of the first fold. fitted: preprocessing and target transformation by training rows. rows_of: makes rows with them.
    Raises: TaskError if a transform= gives other shapes in another fold.
    """
    made = []
    for number, (train, validation) in enumerate(parts, 1):
        preprocessing, target = fitted(train)
        both = rows_of(train, preprocessing, target), rows_of(validation, preprocessing, target)
        shape = shape_of(both[0].x)
        if shape != schema.input_shape:
            raise TaskError(
                f"transform={preprocessing.unfitted!r}: gives inputs of the shape {shape} in fold {number} and "
                f"{schema.input_shape} in fold 1; choose one whose number of features does not depend on the rows"
            )
        made.append((replace(schema, preprocessing=preprocessing, target=target), *both))
    train_rows = _joined([one[1] for one in made])
    validation_rows = _joined([one[2] for one in made])
    members, starts = [], [0, 0]
    for (own, *pair), numbers in zip(made, parts, strict=True):
        ends = [start + len(rows) for start, rows in zip(starts, pair, strict=True)]
        members.append(
            Fold(
                own, train_rows.part(slice(starts[0], ends[0])), validation_rows.part(slice(starts[1], ends[1])),
                dict(zip(SPLITS[:2], numbers, strict=True)),
            )
        )  # fmt: skip
        starts = ends
    return Folds(tuple(members), train_rows, validation_rows)


def _end_to_end(inputs: Sequence[Inputs]) -> Inputs:
    """Inputs of several folds. Each has a scale of its own, so they are stored scaled."""
    batches = [ready(x) for x in inputs]
    named = [one for one in batches if isinstance(one, dict)]
    if not named:
        return torch.cat([one for one in batches if isinstance(one, Tensor)])
    return InputRows({name: torch.cat([one[name] for one in named]) for name in named[0]}, {})


def _joined(rows: Sequence[Rows]) -> Rows:
    def cat(values: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(values))

    weights = [one.weight for one in rows if one.weight is not None]
    whole = _end_to_end([one.x for one in rows]), cat([one.y for one in rows]), cat([one.target for one in rows])
    return Rows(*whole, cat(weights) if weights else None)
