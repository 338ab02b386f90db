"""The tree of branches as a list whose lines can be clicked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import traitlets

from workbench.ui.kept import STATIC, KeptWidget

__all__ = ["TreeList"]


class TreeList(KeptWidget):
    """One line a trial; text is escaped.

    lines: one dict a trial: its number, `before` (the lines of the drawing), text, whether it is `shown` in the charts
    (bold), and whether it is in the trash (`gone`: pale, no click). pick: called with the trial that was clicked, on any thread.
    """

    _esm = STATIC / "tree.js"
    _css = STATIC / "tree.css"

    lines: Any = traitlets.List().tag(sync=True)

    def __init__(self, pick: Callable[[int], object], **traits: Any) -> None:
        super().__init__(**traits)
        self._pick = pick
        self.on_msg(self._receive)

    def _receive(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        if content.get("kind") == "pick":
            self._pick(int(content["trial"]))
