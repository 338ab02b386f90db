"""Parts that are made when they are first shown, so that a display sends few messages (see parts.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import ipywidgets as widgets

from workbench.ui.parts import make

__all__ = ["Late"]


class Part(Protocol):
    """Anything with a widget."""

    @property
    def widget(self) -> Any: ...


P = TypeVar("P", bound=Part)


class Late(Generic[P]):
    """A part that `build` makes when it is first needed. widget: an empty box until then."""

    def __init__(self, build: Callable[[], P]) -> None:
        self._build = build
        self._part: P | None = None
        self.widget = make(widgets.VBox, [])

    @property
    def made(self) -> bool:
        """Whether the part has been made."""
        return self._part is not None

    @property
    def part(self) -> P:
        """The part; made now if it has not been."""
        if self._part is None:
            self._part = self._build()
            self.widget.children = (self._part.widget,)
        return self._part
