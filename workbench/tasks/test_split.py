"""The store of the test splits, outside the tasks.

No attribute of a `Task` leads here, so neither training, nor search, nor a slip of the hand can look at test rows. What
opens the seal, once and on the record, is a feature of its own; nothing else may import this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import torch

from workbench.core.errors import TaskError
from workbench.tasks.rows import InputRows, Inputs
from workbench.tasks.split_rows import Rows

__all__ = ["keep", "open_by_fold", "open_seal"]

_VAULT: WeakKeyDictionary[object, Rows] = WeakKeyDictionary()
_BY_FOLD: WeakKeyDictionary[object, Callable[[], Sequence[Inputs]]] = WeakKeyDictionary()


def keep(task: object, test: Rows, by_fold: Callable[[], Sequence[Inputs]] | None = None) -> None:
    """Put a task's test split away. by_fold: of a cross-validation, makes its inputs by the preprocessing of each fold."""
    _VAULT[task] = test
    if by_fold is not None:
        _BY_FOLD[task] = by_fold


def open_seal(task: object) -> Rows:
    """A task's test split. Raises: TaskError if the task was made without one, or was copied or unpickled."""
    if task not in _VAULT:
        raise TaskError(
            f"{task!r} has no test split: it was made without one (split=) or is a copy; make it again from its data"
        )
    return _VAULT[task]


def open_by_fold(task: object) -> list[Inputs]:
    """The inputs of the test split of a cross-validation, as each fold's preprocessing gives them, in the order of the folds.

    Raises: TaskError as `open_seal`, and if the data were changed in place since the task was made.
    """
    sealed = open_seal(task)
    found = list(_BY_FOLD[task]())
    if not _equal(found[0], sealed.x):  # which was made by the preprocessing of the first fold
        raise TaskError(f"the data of {task!r} were changed in place since the task was made; make it again, of a copy")
    return found


def _equal(first: Inputs, second: Inputs) -> bool:
    if isinstance(first, InputRows) and isinstance(second, InputRows):
        return all(torch.equal(part, second.parts[name]) for name, part in first.parts.items())
    return isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor) and torch.equal(first, second)
