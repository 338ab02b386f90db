"""The learning-rate range test in the user interface: start it, watch it, use what it says."""

from __future__ import annotations

import html
from collections.abc import Callable

import ipywidgets as widgets

from workbench.ui.parts import make, show

__all__ = ["RangePanel"]

HINT = (
    "Trains many learning rates for a moment each, beside whatever else trains; nothing of it is entered into the log."
)


class RangePanel:
    """Idle, under way, with a result, or with a problem. Each part keeps its place, so that nothing jumps.

    start, stop: called by the button, which starts a test or stops the one under way. use: called with the suggested rate.
    All may be called on any thread and must only enqueue.
    """

    def __init__(self, start: Callable[[], None], use: Callable[[float], None], stop: Callable[[], None]) -> None:
        self._start, self._use, self._stop = start, use, stop
        self._going = False
        self._rate: float | None = None
        self.button = make(widgets.Button, classes="wb-wide")
        self.button.on_click(lambda _: self._stop() if self._going else self._start())
        self.take = make(
            widgets.Button, description="Use it", icon="check", disabled=True,
            tooltip="Put the suggested learning rate into the controls",
        )  # fmt: skip
        self.take.on_click(lambda _: self._rate is not None and self._use(self._rate))
        self.progress = make(widgets.FloatProgress, 0.0, min=0.0, max=1.0, classes="wb-progress")
        self.words = make(widgets.HTML, classes="wb-range-words")
        self.picture = make(widgets.Image, format="png", classes="wb-picture", hidden=True)
        buttons = make(widgets.Box, [self.button, self.take], classes="wb-buttons")
        row = make(widgets.Box, [buttons, self.words], classes="wb-search-row")
        heading = make(widgets.HTML, '<div class="wb-heading">Learning-rate range test</div>')
        self.widget = make(widgets.VBox, [heading, row, self.progress, self.picture], classes="wb-search")
        self.show_idle()

    @property
    def rate(self) -> float | None:
        """The suggestion on show."""
        return self._rate

    def show_idle(self) -> None:
        """Before the first test."""
        self._turn(going=False, progress=0.0)
        self._say("hint", HINT)

    def show_running(self, progress: float) -> None:
        """A test is under way. progress: 0 to 1. The picture of the one before stays until this one has its own."""
        self._rate = None
        self._turn(going=True, progress=progress)
        self._say("hint", f"Testing learning rates: {progress:.0%} done.")

    def show(self, suggestion: float | None, reason: str, png: bytes) -> None:
        """A test has ended. suggestion: None if no rate helped."""
        self._rate = suggestion
        self._turn(going=False, progress=1.0)
        self._say("verdict" if suggestion is None else "good", reason)
        self.picture.value = png
        show(self.picture, True)

    def show_problem(self, text: str) -> None:
        """Why there is no test, or none that came to its end."""
        self._rate = None
        self._turn(going=False, progress=0.0)
        self._say("error", text, role="alert")

    def _turn(self, *, going: bool, progress: float) -> None:
        self._going = going
        self.button.description, self.button.icon = ("Stop", "stop") if going else ("Range test", "line-chart")
        self.button.tooltip = (
            "End the test with what it has" if going else "Find a learning rate for the configuration in the controls"
        )
        self.take.disabled = self._rate is None
        self.progress.value = progress

    def _say(self, kind: str, text: str, role: str = "status") -> None:
        self.words.value = f'<div class="wb-{kind}" role="{role}">{html.escape(text)}</div>'
