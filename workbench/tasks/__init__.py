"""Data sets, their splits and what is fitted on them."""

from workbench.tasks.rows import Rows
from workbench.tasks.schema import TaskSchema
from workbench.tasks.split import Split
from workbench.tasks.task import Baseline, Task

__all__ = ["Baseline", "Rows", "Split", "Task", "TaskSchema"]
