"""A section of the controls: a heading, and below it the fields that are shown while it is open."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from workbench.core.text import counted
from workbench.ui.fields import Field
from workbench.ui.parts import make, show

__all__ = ["Section"]


class Section:
    """Fields under a heading that folds them.

    title: of the heading. turned: called when the heading is clicked. folds: whether it can be folded; it then begins so.
    Its fields are made when they are first shown.
    """

    def __init__(self, title: str, turned: Callable[[object], None], *, folds: bool) -> None:
        self.title, self.fields = title, list[Field]()
        self._folds = folds
        self.heading = make(widgets.ToggleButton, not folds, description=title, classes="wb-heading")
        self.heading.observe(turned, "value")
        if not folds:
            self.heading = make(widgets.HTML, f"<div>{title}</div>", classes="wb-heading")
        self._last: list[widgets.Widget] = []
        self.widget = make(widgets.VBox, [self.heading], classes="wb-section")

    @property
    def is_open(self) -> bool:
        """Whether its fields are shown."""
        return not self._folds or bool(self.heading.value)

    def open(self) -> None:
        """Show the fields."""
        if self._folds:
            self.heading.value = True

    def add(self, field: Field) -> None:
        """Put a field at the end, before what `end_with` added."""
        self.fields.append(field)
        self.widget.children = (self.heading, *(field.widget for field in self.fields), *self._last)

    def end_with(self, widget: widgets.Widget) -> None:
        """Put a widget at the very end; it is shown while the section is open."""
        self._last = [widget]
        self.widget.children = (*self.widget.children, widget)

    def update(self, visible: set[str], changed: set[str]) -> None:
        """Show the fields among `visible` if it is open, and say in the heading what is hidden while it is not.

        changed: fields that differ from what the controls began with.
        """
        own = [field for field in self.fields if field.name in visible]
        show(self.widget, bool(own))
        is_open = self.is_open
        for field in self.fields:
            field.show(is_open and field.name in visible)
            field.mark(field.name in changed)
        for widget in self._last:
            show(widget, is_open)
        if self._folds:
            searched = sum(field.searched for field in own)
            differ = sum(field.name in changed for field in own if not field.searched)
            notes = [f"{differ} changed"] * bool(differ) + [f"{searched} searched"] * bool(searched)
            # a problem in a folded section opens it (see `Controls.show`), so the heading need not tell of it
            self.heading.description = " · ".join([self.title, *notes])
            self.heading.icon = "caret-down" if is_open else "caret-right"
            self.heading.tooltip = f"{'Hide' if is_open else 'Show'} {counted(len(own), 'hyperparameter')}"
