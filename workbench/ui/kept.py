"""Widgets with a front end of their own that stay in touch with the kernel on a slow page."""

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
    """An anywidget that hears of the kernel however long its page takes to load it.

    anywidget waits two seconds for a model's module and drops all later messages to the model if that was not enough. The front
    end looks after the models in `kept` (frontend/src/keep.ts): itself, and other anywidgets that are named to `keep`.
    """

    kept: Any = traitlets.Tuple().tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        own = uuid4().hex
        super().__init__(model_id=own, kept=(own,), **traits)

    def keep(self, other: anywidget.AnyWidget) -> None:
        """Look after another one as well, whose front end does not do it."""
        self.kept = (*self.kept, other.model_id)
