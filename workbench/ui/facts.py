"""What the data set is, in a few lines."""

from __future__ import annotations

import html
from typing import Any, Protocol

import ipywidgets as widgets
import pandas as pd

from workbench.ui.parts import make

__all__ = ["Facts", "TaskFacts"]


class TaskFacts(Protocol):
    """What the user interface asks of a task."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Any: ...
    @property
    def schema(self) -> Any: ...
    def summary(self) -> pd.DataFrame: ...


class Facts:
    """The task's summary, escaped."""

    def __init__(self, task: TaskFacts) -> None:
        rows = "".join(
            f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(str(value))}</td></tr>"
            for name, value in task.summary()["value"].items()
        )
        self.widget = make(
            widgets.HTML, f'<table class="wb-facts"><caption>{html.escape(task.name)}</caption>{rows}</table>'
        )
