"""The Python call that does the same as the button, and the script that reproduces a trial."""

from __future__ import annotations

import html

import ipywidgets as widgets

from workbench.core.config import Config
from workbench.core.errors import ConfigError
from workbench.ui.parts import make

__all__ = ["CodeTab", "start_call"]


def start_call(config: Config, *, seeds: int = 1, name: str = "", device: str = "cpu") -> str:
    """The call of `bench.start` as text to paste into a cell, without arguments at their default."""
    arguments = [repr(config)]
    if seeds != 1:
        arguments.append(f"seeds={seeds}")
    if name:
        arguments.append(f"name={name!r}")
    if device != "cpu":
        arguments.append(f"device={device!r}")
    return f"run = bench.start({', '.join(arguments)})"


class CodeTab:
    """Shows the calls that the buttons would make, or why there is none; below them the script of a trial."""

    def __init__(self) -> None:
        self.widget = make(widgets.HTML)
        self.text = ""
        self._call = self._script = ""

    def show(self, text: str) -> None:
        self.text = text
        self._call = (
            '<div class="wb-hint">The same in Python, to paste into a cell after <code>import workbench as wb</code>.</div>'
            f"{_code(text)}"
        )
        self._draw()

    def show_problem(self, error: ConfigError) -> None:
        self.text = ""
        self._call = _problem(error)
        self._draw()

    def show_script(self, trial: int | None, script: str | Exception = "") -> None:
        """Below the calls, the script that reproduces a trial, or why there is none; None for no trial."""
        self._script = ""
        if trial is not None:
            body = _problem(script) if isinstance(script, Exception) else _code(script.rstrip())
            self._script = (
                f'<div class="wb-heading">Reproduce trial {trial}</div>'
                '<div class="wb-hint">A complete script, to run on its own.</div>' + body
            )
        self._draw()

    def _draw(self) -> None:
        self.widget.value = self._call + self._script


def _code(text: str) -> str:
    return f'<pre class="wb-code">{html.escape(text)}</pre>'


def _problem(error: Exception) -> str:
    return f'<div class="wb-error" role="note">{html.escape(str(error))}</div>'
