"""Keyboard and accessible names of the workbench: the part that lives in the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workbench.ui.kept import STATIC, KeptWidget

__all__ = ["Access"]


class Access(KeptWidget):
    """Keeps the keys that are pressed in the widget around it from the notebook's shortcuts, has shortcuts of its own, and
    names the controls for screen readers (frontend/src/access.ts).

    enter: called with a field and its text when Enter is pressed in a field of the controls, on any thread; the field is a
    hyperparameter, "name" or "seeds".
    """

    _esm = STATIC / "access.js"
    _css = STATIC / "access.css"

    def __init__(self, enter: Callable[[str, str], object], **traits: Any) -> None:
        super().__init__(**traits)
        self._enter = enter
        self.on_msg(self._receive)

    def _receive(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        if content.get("kind") == "enter":
            self._enter(str(content["field"]), str(content["text"]))
