"""The Python call that does what the Train button would do."""

from __future__ import annotations

import html

import ipywidgets as widgets

from workbench.errors import ConfigError
from workbench.hyperparameters import Config
from workbench.widgets.parts import make

__all__ = ["CodeTab", "call"]


def call(config: Config, *, seeds: int = 1, name: str = "", device: str = "cpu") -> str:
    """The call as text that pastes into a cell; what is at its default is left out."""
    arguments = [repr(config)]
    if seeds != 1:
        arguments.append(f"seeds={seeds}")
    if name:
        arguments.append(f"name={name!r}")
    if device != "cpu":
        arguments.append(f"device={device!r}")
    return f"run = bench.start({', '.join(arguments)})"


class CodeTab:
    """Shows `call`, or why there is none."""

    def __init__(self) -> None:
        self.widget = make(widgets.HTML)
        self.text = ""

    def show(self, text: str) -> None:
        self.text = text
        self.widget.value = (
            '<div class="wb-hint">The same in Python, to paste into a cell after <code>import workbench as wb</code>.</div>'
            f'<pre class="wb-code">{html.escape(text)}</pre>'
        )

    def show_problem(self, error: ConfigError) -> None:
        self.text = ""
        self.widget.value = f'<div class="wb-error" role="note">{html.escape(str(error))}</div>'
