"""The best trial so far in one line of the run panel, and what one does with it next."""

from __future__ import annotations

import html
from collections.abc import Callable

import ipywidgets as widgets

from workbench.ui.parts import button, make, show

__all__ = ["BestBar"]


class BestBar:
    """ "Best so far: trial 30, accuracy 0.9805 at epoch 17" with buttons; hidden while no trial has ended with a score.

    load, more_seeds, diagnose: called with the trial by the buttons; they must only enqueue. `trial` is the one on show.
    """

    def __init__(
        self,
        load: Callable[[int], object],
        more_seeds: Callable[[int], object],
        diagnose: Callable[[int], object],
    ) -> None:
        self.trial: int | None = None
        self.text = make(widgets.HTML, classes="wb-best-text")
        self.load = button("Load", "sliders", "Put its configuration into the controls")
        self.more_seeds = button(
            "More seeds", "random", "Train its configuration with 4 more seeds: does its score repeat?"
        )
        self.diagnose = button("Diagnose", "stethoscope", "What limits this trial, and what to try")
        for control, act in ((self.load, load), (self.more_seeds, more_seeds), (self.diagnose, diagnose)):
            control.on_click(lambda _, act=act: None if self.trial is None else act(self.trial))
        row = [self.text, self.load, self.more_seeds, self.diagnose]
        self.widget = make(widgets.Box, row, classes="wb-best", hidden=True)

    def update(self, trial: int | None, score: str) -> None:
        """Show the best trial, None for none. score: its score in words."""
        self.trial = trial
        if trial is not None:
            self.text.value = f"<div>Best so far: <b>trial {trial}</b>, {html.escape(score)}</div>"
        show(self.widget, trial is not None)
