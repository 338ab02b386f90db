"""The layers tab: weights and outputs layer by layer, and the decision boundary. It shows what it is given."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass

import ipywidgets as widgets

from workbench.ui.parts import labelled, make, show
from workbench.ui.pictures import DescribedImage

__all__ = ["LayersPanel", "Picture"]

HINT = "Train a model, or select a trial in the table: its weights and activations are shown here, while it trains too."


@dataclass(frozen=True)
class Picture:
    """What the tab shows. caption: whose layers, and when. layers: HTML. raster: a PNG of the plane, None without one.

    frame: the points and axes over the plane, HTML. epoch: shown. epochs: of an ended trial, first and last, to choose from.
    """

    caption: str
    layers: str
    raster: bytes | None = None
    frame: str = ""
    epochs: tuple[int, int] | None = None
    epoch: int | None = None


class LayersPanel:
    """look: called with the epoch that is asked for, None for the best."""

    def __init__(self, look: Callable[[int | None], None]) -> None:
        self._look = look
        self._quiet = False
        self.caption = make(widgets.HTML, classes="wb-layers-caption")
        self.epoch = make(
            widgets.IntSlider, 1, min=1, max=1, continuous_update=False, tooltip="Weights after this epoch"
        )
        self.epoch.observe(self._ask, "value")
        self.best = make(widgets.Button, description="Best", tooltip="The epoch that the monitor selects")
        self.best.on_click(lambda _: self._look(None))
        self._past = make(widgets.Box, [labelled("epoch", self.epoch), self.best], classes="wb-options", hidden=True)
        bar = make(widgets.Box, [self.caption, self._past], classes="wb-toprow")
        self.raster = make(DescribedImage, tooltip="Decision boundary", classes="wb-plane-raster")
        self.frame = make(widgets.HTML, classes="wb-plane-over")
        self._plane = make(widgets.Box, [self.raster, self.frame], classes="wb-plane", hidden=True)
        self.layers = make(widgets.HTML, classes="wb-layer-list")
        self._both = make(widgets.Box, [self._plane, self.layers], classes="wb-layers-both", hidden=True)
        self.widget = make(widgets.VBox, [bar, self._both], classes="wb-layers")
        self._busy = ""
        self.show_problem(HINT)

    def show(self, picture: Picture) -> None:
        """Draw; what has not changed is not sent again."""
        self._busy = ""
        self.caption.value = f"<span>{html.escape(picture.caption)}</span>"
        self.layers.value = picture.layers
        if picture.raster is not None:
            self.frame.value = picture.frame
            self.raster.value = picture.raster
        show(self._plane, picture.raster is not None)
        self._offer(picture)
        show(self._both, True)

    def show_problem(self, text: str) -> None:
        """Nothing to show, and why."""
        self._busy = ""
        show(self._both, False)
        show(self._past, False)
        self._say(text)

    @property
    def busy(self) -> str:
        """What is being waited for, "" for nothing. The picture stays meanwhile."""
        return self._busy

    @busy.setter
    def busy(self, text: str) -> None:
        self._busy = text
        self._say(text)

    # ----------------------------------------------------------------------------------------------------------------

    def _offer(self, picture: Picture) -> None:
        epochs = picture.epochs or (picture.epoch and (1, picture.epoch))
        if epochs:
            first, last = epochs
            self._quiet = True
            try:
                if (self.epoch.min, self.epoch.max) != (first, last):
                    # in an order in which the least never passes the most
                    self.epoch.max = max(last, self.epoch.max)
                    self.epoch.min, self.epoch.max = first, last
                self.epoch.value = last if picture.epoch is None else picture.epoch
            finally:
                self._quiet = False
        # there while it trains too, so that nothing jumps when it ends
        self.epoch.disabled = self.best.disabled = picture.epochs is None
        show(self._past, True)

    def _ask(self, change: dict[str, int]) -> None:
        if not self._quiet:
            self._look(change["new"])

    def _say(self, text: str) -> None:
        self.caption.value = f'<span class="wb-hint" role="note">{html.escape(text)}</span>'
