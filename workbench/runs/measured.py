"""The models of a trial with the rows that each was measured on: one, or one for each fold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.runs.restore import Recall
from workbench.tasks.split_rows import Rows

if TYPE_CHECKING:
    from workbench.runs.trained_model import TrainedModel

__all__ = ["Measured", "measured"]


class Measured(NamedTuple):
    """A model and rows as its own preprocessing gives them. numbers: of the rows in the data. fold: from 1, or None."""

    model: TrainedModel
    rows: Rows
    numbers: NDArray[np.int64]
    fold: int | None


def measured(
    recall: Recall, trial: int, epoch: int | None = None, *, fold: int | None = None, split: str = "validation"
) -> Iterator[Measured]:
    """A trial's model after an epoch, by default its best, with the rows of a split.

    Of a cross-validated trial the models of all folds, each with its fold's rows: the validation rows of a fold are those that
    its model did not train on. fold: the one with this number only. Raises: as `Recall.model`.
    """
    folds = recall.task.folds
    if folds is None:
        model = recall.model(trial, epoch, fold)
        yield Measured(model, getattr(recall.task, split), recall.task.row_numbers[split], None)
        return
    for number in range(1, len(folds) + 1) if fold is None else [fold]:
        model, own = recall.model(trial, epoch, number), folds.members[number - 1]
        yield Measured(model, getattr(own, split), own.row_numbers[split], number)
