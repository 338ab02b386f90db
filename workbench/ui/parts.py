"""Building widgets with few messages to the page.

A burst of more than 1,000 messages (sometimes 500) overruns the socket between kernel and server, which then drops the rest:
the page shows "model not found". An ipywidget costs three messages, for itself, its layout and its style, and one more for
each class that is added later. Therefore widgets share styles and two layouts (shown and hidden), get their classes when they
are made, and are made when they are first needed.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets

from workbench.core.errors import WorkbenchError

__all__ = ["button", "error_text", "labelled", "listed", "make", "message", "number_of", "offer", "show"]

_shared: dict[tuple[type, str], Any] = {}


def make(kind: type, *arguments: Any, classes: str = "", hidden: bool = False, **options: Any) -> Any:
    """A widget of a kind with CSS classes (separated by spaces). Layout and style are shared unless given: do not change them.

    hidden: until `show`.
    """
    options.setdefault("layout", _common(widgets.Layout, "none" if hidden else ""))
    style = kind.class_traits().get("style")  # type: ignore[attr-defined]
    if style is not None:
        options.setdefault("style", _common(style.klass))
    if classes:
        options["_dom_classes"] = tuple(classes.split())
    return kind(*arguments, **options)


def show(widget: Any, visible: bool) -> None:
    """Show or hide a widget made by `make`."""
    layout = _common(widgets.Layout) if visible else _common(widgets.Layout, "none")
    if widget.layout is not layout:
        widget.layout = layout


def _common(kind: type, display: str = "") -> Any:
    widget = _shared.get((kind, display))
    if widget is None or widget.comm is None:  # closed, as by `Widget.close_all()`
        widget = _shared[kind, display] = kind(display=display) if display else kind()
    return widget


def button(description: str = "", icon: str = "", tooltip: str = "", **options: Any) -> Any:
    """A button; options: as of `make`, such as `classes` and `disabled`."""
    return make(widgets.Button, description=description, icon=icon, tooltip=tooltip, **options)


def message(text: str, kind: str = "error") -> str:
    """A message as HTML, its text escaped; "" for no text. kind: "error", "note" or "hint"."""
    role = "alert" if kind == "error" else "status"
    return f'<div class="wb-{kind}" role="{role}">{html.escape(text)}</div>' if text else ""


def labelled(label: str, control: widgets.Widget) -> Any:
    """A control with a short word before it."""
    return make(widgets.Box, [make(widgets.HTML, f"<span>{label}</span>"), control], classes="wb-labelled")


def offer(menu: widgets.Dropdown, options: Sequence[tuple[str, Any]]) -> None:
    """Give a menu other options, (label, value). Its value stays if it is still among them, else it is the first."""
    if list(menu.options) != list(options):
        values, before = [value for _, value in options], menu.value
        menu.options = list(options)
        menu.value = before if before in values else values[0] if values else None


def listed(trials: Sequence[int]) -> str:
    """Trials by number: "trial 7", "trials 7, 8"; of many, how many."""
    if len(trials) > 8:
        return f"{len(trials)} trials"
    return f"trial{'s' * (len(trials) != 1)} {', '.join(map(str, trials))}"


def number_of(text: str) -> Any:
    """The number in a text field as int or float; text that is no number stays text, which the check rejects."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def error_text(error: BaseException) -> str:
    """The message of an error; of an unexpected one also its class, and where its traceback is."""
    if isinstance(error, WorkbenchError):
        return str(error)
    return f"{type(error).__name__}: {error} (unexpected; %tb in a cell shows its traceback)"
