"""A task whose training rows are the training and validation rows of another one, for a final training.

The raw rows are kept outside of the tasks, as the test splits are (`test_split`), so that no attribute of a `Task` leads to
them. They are the arrays or the table that the task was made from, not a copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import TaskError
from workbench.tasks.division import Division
from workbench.tasks.revision import Renewal
from workbench.tasks.row_identity import SPLITS, row_keys

if TYPE_CHECKING:
    from workbench.tasks.task import Task

__all__ = ["keep_raw", "merged"]

Raw = tuple[Any, NDArray[Any], Division, NDArray[np.float64] | None]

_RAW: WeakKeyDictionary[object, Raw] = WeakKeyDictionary()


def keep_raw(
    task: object, X: Any, targets: NDArray[Any], division: Division, weights: NDArray[np.float64] | None
) -> None:
    """Keep what a task was made from. division: its rows by split. weights: of the rows."""
    _RAW[task] = (X, targets, division, weights)


def merged(task: Task) -> Task:
    """The same task with all rows outside its test split as training rows, and without validation rows.

    Preprocessing and the scale of the targets are fitted to those rows; the test rows are the same ones. Its fingerprint is
    another one.
    Raises: TaskError for a copied or unpickled task, and if the data were changed in place since the task was made.
    """
    if task not in _RAW:
        raise TaskError(f"{task!r} is a copy without its raw rows; make it again from its data")
    X, targets, division, weights = _RAW[task]
    source = task._source
    keys = row_keys(X, targets, source.labels if task.kind == "classification" else None)
    if any(not np.array_equal(keys[division.parts[at]], task.row_keys[name]) for at, name in enumerate(SPLITS)):
        raise TaskError(
            f"the data of {task.name!r} were changed in place since the task was made; make the task again, of a copy"
        )
    rows = division.open_rows if division.folds else np.concatenate(division.parts[:2])
    whole = Division(rows, division.test[:0], division.test, groups=division.groups, order=division.order)
    renewal = Renewal(whole, source.labels, task.former, source.known, source.groups, source.edges, source.version)
    return type(task)(X, targets, **source.options, weights=weights, renewal=renewal)
