"""The learning-rate range test in the user interface: start it, watch it, use what it says."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import ipywidgets as widgets

from workbench.core.config import Config
from workbench.ui.bench import Bench
from workbench.ui.parts import make, show
from workbench.ui.pictures import DescribedImage
from workbench.ui.presenter import Presenter
from workbench.ui.tab import TabBody

if TYPE_CHECKING:
    from workbench.methods.range_test.range_test import RangeTest

__all__ = ["RangeBench", "RangePanel", "RangePart"]

HINT = "Trains many learning rates for a moment each, parallel to other runs. Nothing of it is recorded in the log."


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
        self.picture = make(DescribedImage, tooltip="Loss against learning rate", classes="wb-picture", hidden=True)
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
        """Why there is no test, or why it did not finish."""
        self._rate = None
        self._turn(going=False, progress=0.0)
        self._say("error", text, role="alert")

    def _turn(self, *, going: bool, progress: float) -> None:
        self._going = going
        self.button.description, self.button.icon = ("Stop", "stop") if going else ("Range test", "line-chart")
        self.button.tooltip = (
            "End the test with the results so far"
            if going
            else "Find a learning rate for the configuration in the controls"
        )
        self.take.disabled = self._rate is None
        self.progress.value = progress

    def _say(self, kind: str, text: str, role: str = "status") -> None:
        self.words.value = f'<div class="wb-{kind}" role="{role}">{html.escape(text)}</div>'


class RangeBench(Bench, Protocol):
    """What the part asks of a workbench."""

    def lr_range_test(self, config: Config, *, device: str) -> RangeTest: ...


class RangePart(TabBody):
    """The panel with what its buttons do: a part of the search tab."""

    def __init__(self, presenter: Presenter, bench: RangeBench) -> None:
        self._presenter, self._bench = presenter, bench
        self._test: RangeTest | None = None  # the range test under way
        view, ask = presenter.shown, presenter.dispatch.ask
        self.panel = RangePanel(
            lambda: ask(self._start, show=self.panel.show_problem),
            lambda rate: ask(lambda: view.put(learning_rate=rate), show=self.panel.show_problem),
            self.stop,
        )
        super().__init__(self.panel.widget)

    def begin(self, config: Config, device: str) -> None:
        """Find a learning rate for a configuration, parallel to other runs. Raises: ConfigError, ModelError."""
        if self._test is None:
            self._test = self._bench.lr_range_test(config, device=device)
            self.panel.show_running(0.0)

    def stop(self) -> None:
        """End the range test under way with what it has: that is a command to the test, which nothing has to wait for."""
        test = self._test
        if test is not None:
            test.stop()

    def tick(self, *, in_front: bool) -> None:
        test, panel, dispatch = self._test, self.panel, self._presenter.dispatch
        if test is None:
            return
        if not test.done:
            panel.show_running(round(test.progress, 2))
            return
        self._test = None

        def then(png: bytes | None, error: Exception | None) -> None:
            if error is not None or png is None:
                dispatch.fail(panel.show_problem, error or RuntimeError("no picture"))
            else:
                panel.show(test.suggestion, test.reason, png)

        dispatch.background.submit("range-test", lambda: test.figure()._repr_png_(), then)

    def _start(self) -> None:
        view = self._presenter.shown
        self.begin(view.controls.read(), view.panel.device.value)
