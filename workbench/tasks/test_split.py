"""The store of the test splits, outside the tasks.

No attribute of a `Task` leads here, so neither training, nor search, nor a slip of the hand can look at test rows. What
opens the seal, once and on the record, is a feature of its own; nothing else may import this module.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from workbench.core.errors import TaskError
from workbench.tasks.rows import Rows

__all__ = ["keep", "open_seal"]

_VAULT: WeakKeyDictionary[object, Rows] = WeakKeyDictionary()


def keep(task: object, test: Rows) -> None:
    """Put a task's test split away."""
    _VAULT[task] = test


def open_seal(task: object) -> Rows:
    """A task's test split. Raises: TaskError if the task was made without one, or was copied or unpickled."""
    if task not in _VAULT:
        raise TaskError(
            f"{task!r} has no test split: it was made without one (split=) or is a copy; make it again from its data"
        )
    return _VAULT[task]
