"""Widgets with their own front end that do not lose messages on a slow page."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import anywidget
import traitlets

__all__ = ["STATIC", "KeptWidget"]

STATIC = Path(__file__).parent / "static"
"""The built front end."""


class KeptWidget(anywidget.AnyWidget):
    """An anywidget that receives its messages however long its page takes to load it.

    anywidget waits two seconds for a model's module, and if it takes longer drops all later messages to the model. The front
    end keeps the models in `kept` alive (frontend/src/keep.ts): itself, and other anywidgets passed to `keep`.
    """

    kept: Any = traitlets.Tuple().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        own = uuid4().hex
        super().__init__(model_id=own, kept=(own,), **traits)

    def keep(self, other: anywidget.AnyWidget) -> None:
        """Keep another anywidget alive, whose own front end does not."""
        self.kept = (*self.kept, other.model_id)
