"""What the data set is, in a few lines."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import ipywidgets as widgets

from workbench.ui.parts import make

if TYPE_CHECKING:
    from workbench.tasks import Task

__all__ = ["Facts"]


class Facts:
    """The task's summary, escaped."""

    def __init__(self, task: Task) -> None:
        rows = "".join(
            f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(str(value))}</td></tr>"
            for name, value in task.summary()["value"].items()
        )
        self.widget = make(
            widgets.HTML, f'<table class="wb-facts"><caption>{html.escape(task.name)}</caption>{rows}</table>'
        )
