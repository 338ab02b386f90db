"""Tabs whose parts are made when they are first shown: a display sends few messages (see parts.py)."""

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
    """A place for a part that `build` makes at the first look. widget: the place."""

    def __init__(self, build: Callable[[], P]) -> None:
        self._build = build
        self._part: P | None = None
        self.widget = make(widgets.VBox, [])

    @property
    def made(self) -> bool:
        """Whether the part is there."""
        return self._part is not None

    @property
    def part(self) -> P:
        """The part, made now if it is not there yet."""
        if self._part is None:
            self._part = self._build()
            self.widget.children = (self._part.widget,)
        return self._part
