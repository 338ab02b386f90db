"""Building widgets with few messages to the page.

A burst of more than 1,000 messages (500 on a bad day) overruns the socket between kernel and server, which then drops the rest:
the page says "model not found". An ipywidget costs three messages, for itself, its layout and its style, and one more for each
class that is added later. So widgets whose layout and style nobody changes share one of each, and classes come at birth.
"""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

__all__ = ["labelled", "make", "number_of"]

_shared: dict[type, Any] = {}


def make(kind: type, *arguments: Any, classes: str = "", **options: Any) -> Any:
    """A widget of a kind with CSS classes (separated by spaces). Its layout and style are shared unless given: hands off."""
    options.setdefault("layout", _common(widgets.Layout))
    style = kind.class_traits().get("style")  # type: ignore[attr-defined]
    if style is not None:
        options.setdefault("style", _common(style.klass))
    if classes:
        options["_dom_classes"] = tuple(classes.split())
    return kind(*arguments, **options)


def _common(kind: type) -> Any:
    widget = _shared.get(kind)
    if widget is None or widget.comm is None:  # closed, as by `Widget.close_all()`
        widget = _shared[kind] = kind()
    return widget


def labelled(label: str, control: widgets.Widget) -> Any:
    """A control with a short word before it."""
    return make(widgets.Box, [make(widgets.HTML, f"<span>{label}</span>"), control], classes="wb-labelled")


def number_of(text: str) -> Any:
    """What a number field says: an int or a float, else the text itself, for the check to complain of."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
