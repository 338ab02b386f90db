"""Data sets, their splits and what is fitted on them.

The names are loaded on first use, so that importing the package loads no scikit-learn.
"""

from typing import TYPE_CHECKING

import lazy_loader  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from workbench.tasks.schema import TaskSchema as TaskSchema
    from workbench.tasks.split import Split as Split
    from workbench.tasks.split_rows import Rows as Rows
    from workbench.tasks.task import Baseline as Baseline
    from workbench.tasks.task import Task as Task

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"schema": ["TaskSchema"], "split": ["Split"], "split_rows": ["Rows"], "task": ["Baseline", "Task"]},
)
