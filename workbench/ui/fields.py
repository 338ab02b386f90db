"""One control for one hyperparameter, drawn from its declaration."""

from __future__ import annotations

import html
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from workbench.core.config import Hyperparameter
from workbench.core.domains import Choice, Domain, IntRange
from workbench.core.registry import Registry, Scoped
from workbench.ui.domain_field import DomainEditor, make_editor
from workbench.ui.parts import make, number_of, show

__all__ = ["ChoiceField", "Field", "NumberField", "Throttle", "make_field", "shown"]

NONE = ""
"""Stands for None in a drop-down of ipywidgets, to which None is that nothing is chosen."""
MOST_TICKS = 7
"""Steps between the labels under a slider."""
WIDE = 1_000_000
"""A range with more whole numbers than this (a seed) gets a number field and no slider."""


def shown(value: object) -> str:
    """A number as text for a number field: short, and equal to the number when it is read back."""
    if isinstance(value, float):
        return repr(int(value)) if value == int(value) and abs(value) < 1e6 else repr(value)
    return "" if value is None else str(value)


class Field(Scoped):
    """A labelled control, and below it the message of its problem. Subclasses define `parts`, `value` and `set_value`.

    The control is made when it is first shown; until then the field has its default.
    """

    def __init__(self, hyperparameter: Hyperparameter, changed: Callable[[str], None], kind: str) -> None:
        self.declaration, self.kind = hyperparameter, kind
        self.name = hyperparameter.name
        self._changed = changed
        self._quiet = False
        self.editor: DomainEditor | None = None
        self._message: Any = None
        self._problem = self._note_text = ""
        self._parts: list[widgets.Widget] = []
        self.widget = make(widgets.Box, [], classes=f"wb-field wb-field-{self.name}")
        tip = hyperparameter.meaning + (f" Unit: {hyperparameter.unit}." if hyperparameter.unit else "")
        if hyperparameter.options is None:
            tip += f" Allowed: {hyperparameter.description}."
        self.tip = tip

    def build(self) -> None:
        """Make the control, if it is not there yet."""
        if self._parts:
            return
        hyperparameter = self.declaration
        badge = (
            '<span class="wb-live" title="Changes take effect in the running trial">live</span>'
            if hyperparameter.live
            else ""
        )
        label = html.escape(self.name.replace("_", " "))
        self._parts = self.parts()
        scale = "".join(f' data-{key}="{html.escape(text)}"' for key, text in self.scale().items())
        self.label = make(
            widgets.HTML,
            f'<span class="wb-label" title="{html.escape(self.tip)}"{scale}>{label} '
            f'<i class="wb-symbol">{html.escape(hyperparameter.symbol)}</i>{badge}</span>{self.ticks()}',
        )
        self.toggle = make(
            widgets.ToggleButton,
            False,
            icon="search",
            tooltip=f"Search {self.name.replace('_', ' ')} instead of using one value",
            classes="wb-toggle",
        )
        self.toggle.observe(self._scoped(self._toggled), "value")
        self.load(self.declaration.default)
        self.widget.children = (self.label, *self._parts, self.toggle)

    @property
    def message(self) -> Any:
        """The message under the control; made when it is first needed."""
        if self._message is None:
            self.build()
            self._message = make(widgets.HTML, classes="wb-problem")
            self.widget.children = (*self.widget.children, self._message)
        return self._message

    def parts(self) -> list[widgets.Widget]:
        """Make the widgets between label and button."""
        raise NotImplementedError

    def value(self) -> Any:
        """The value in the control, not yet checked; text that is no number stays text."""
        raise NotImplementedError

    def set_value(self, value: Any) -> None:
        """Show a value in the control."""
        raise NotImplementedError

    def scale(self) -> dict[str, str]:
        """How the page reads the value of the slider out (frontend/src/names.ts); empty without a slider."""
        return {}

    def ticks(self) -> str:
        """The scale under the slider as HTML; empty without a slider."""
        return ""

    def write(self, text: str) -> None:
        """Put text into the control as if it had been typed; only for numbers."""
        raise NotImplementedError

    def menu(self) -> list[tuple[str, Any]] | None:
        """Labels and values of a choice, None for a number."""
        return None

    @property
    def searched(self) -> bool:
        """Whether a range or a set of choices is searched instead of one value."""
        return bool(self._parts and self.toggle.value)

    def domain(self) -> Domain:
        """The domain to search. Raises: ConfigError naming field, value and rule."""
        assert self.editor is not None
        return self.editor.read()

    def search(self, domain: Domain) -> None:
        """Switch to searching this domain."""
        self.build()
        self.toggle.value = True
        assert self.editor is not None
        self.editor.load(domain)

    def leave_search(self) -> None:
        """Use one value again."""
        if self.searched:
            self.toggle.value = False

    def _toggled(self, _: object) -> None:
        if self.searched and self.editor is None:
            self.editor = make_editor(self.declaration, self.menu(), self.raw, shown, self._notify)
        middle = [self.editor.widget] if self.searched and self.editor is not None else self._parts
        last = [] if self._message is None else [self._message]
        self.widget.children = (self.label, *middle, self.toggle, *last)
        self.show_problem("")
        self._notify()

    @property
    def raw(self) -> Any:
        """The value of the field, not yet checked."""
        return self.value() if self._parts else self.declaration.default

    def load(self, value: Any) -> None:
        """Show a value, without a call of `changed`."""
        if self._parts or value != self.declaration.default:
            self.build()
            self._quiet = True
            try:
                self.set_value(value)
            finally:
                self._quiet = False

    def check(self) -> Any:
        """The value. Raises: ConfigError naming field, value and rule."""
        return self.declaration.check(self.raw)

    def show_problem(self, message: str) -> None:
        """Show the message of an error under the control; "" removes it."""
        self._problem = message
        self._write()

    def show_note(self, message: str) -> None:
        """Show below the control why its value has no effect, while there is no error; "" removes it."""
        if message != self._note_text:
            self._note_text = message
            self._write()

    def _write(self) -> None:
        text, role = (self._problem, "alert") if self._problem else (self._note_text, "note")
        if text or self._message is not None:
            self.message.value = f'<span role="{role}">{html.escape(text)}</span>' if text else ""

    def show(self, visible: bool) -> None:
        if visible:
            self.build()
        show(self.widget, visible)

    def mark(self, changed: bool) -> None:
        """Mark the label of a value that differs from what the controls began with."""
        if changed != ("wb-changed" in self.widget._dom_classes):
            (self.widget.add_class if changed else self.widget.remove_class)("wb-changed")

    def _notify(self, *_: object) -> None:
        if not self._quiet:
            self._changed(self.name)


class NumberField(Field):
    """A slider and a number field with the same value; the number field decides. An optional hyperparameter has a switch."""

    def parts(self) -> list[widgets.Widget]:
        default = self.declaration.default
        self.text = make(
            widgets.Text,
            value=shown(default),
            placeholder=self.declaration.off if self.declaration.optional else "",
            disabled=default is None,
            continuous_update=False,
            tooltip=self.tip,
            classes="wb-number",
        )
        self.text.observe(self._scoped(self._text_changed), "value")
        self.slider = self._make_slider()
        if not isinstance(self.slider, widgets.HTML):
            self.widget.add_class("wb-track")
        self.slider.observe(self._scoped(self._slider_moved), "value")
        self.switch: widgets.Checkbox | None = None
        row = [self.slider, self.text]
        if self.declaration.optional:
            self.switch = make(
                widgets.Checkbox, False, indent=False, tooltip=f"{self.name}: off or on", classes="wb-switch"
            )
            self.switch.observe(self._scoped(self._switched), "value")
            row = [self.switch, *row]
        return [make(widgets.Box, row, classes="wb-input")]

    def _make_slider(self) -> widgets.Widget:
        domain = self.declaration.domain
        options: dict[str, Any] = {"readout": False, "continuous_update": True, "tooltip": self.tip}
        assert not isinstance(domain, (Registry, Choice))
        if isinstance(domain, IntRange) and domain.high - domain.low > WIDE:
            return make(widgets.HTML)
        if domain.scale == "linear":
            if isinstance(domain, IntRange):
                return make(widgets.IntSlider, domain.start, domain.low, domain.high, **options)
            step = 10 ** math.floor(math.log10((domain.high - domain.low) / 80)) / 10
            return make(widgets.FloatSlider, domain.start, min=domain.low, max=domain.high, step=step, **options)
        base, step = (2, 1) if domain.scale == "power2" else (10, 0.05)
        low, high = math.log(domain.low, base), math.log(domain.high, base)
        low = math.floor(low) if domain.scale == "power2" else low
        self._zero_below = low - step / 2
        if self.declaration.zero:
            low -= 4 * step  # the left end means 0
        return make(widgets.FloatLogSlider, base**low, base=base, min=low, max=high, step=step, **options)

    def scale(self) -> dict[str, str]:
        domain = self.declaration.domain
        assert not isinstance(domain, (Registry, Choice))
        if isinstance(self.slider, widgets.HTML):
            return {}
        low = 0 if self.declaration.zero else domain.low
        found = {"low": shown(low), "high": shown(domain.high), "unit": self.declaration.unit}
        if isinstance(domain, IntRange):
            found["whole"] = ""
        if isinstance(self.slider, widgets.FloatLogSlider):
            found["base"] = f"{self.slider.base:g}"
            if self.declaration.zero:
                found["zero"] = repr(self._zero_below)
        return found

    def ticks(self) -> str:
        slider = self.slider
        if isinstance(slider, widgets.HTML):
            return ""
        if isinstance(slider, widgets.FloatLogSlider):
            first, last = math.ceil(slider.min - 1e-9), math.floor(slider.max + 1e-9)
            every = -(-(last - first) // MOST_TICKS) or 1
            # counted from the upper end, where 1 and 10 are
            marks = [(exponent, slider.base**exponent) for exponent in range(last, first - 1, -every)]
        else:
            marks = [(value, value) for value in (slider.min, (slider.min + slider.max) / 2, slider.max)]
        return '<span class="wb-ticks" aria-hidden="true">{}</span>'.format(
            "".join(
                f'<i style="left:{100 * (place - slider.min) / (slider.max - slider.min):.1f}%">{_short(value)}</i>'
                for place, value in marks
            )
        )

    def write(self, text: str) -> None:
        self.text.value = text

    def value(self) -> Any:
        if self.switch is not None and not self.switch.value:
            return None
        return number_of(self.text.value.strip())

    def set_value(self, value: Any) -> None:
        if self.switch is not None:
            self.switch.value = value is not None
            self.text.disabled = self.slider.disabled = value is None
        self.text.value = shown(value)
        self._move_slider(value)

    def _move_slider(self, value: Any) -> None:
        slider = self.slider
        if isinstance(slider, widgets.HTML) or not isinstance(value, (int, float)) or value != value:
            return
        low, high = slider.min, slider.max
        if isinstance(slider, widgets.FloatLogSlider):
            low, high = slider.base**low, slider.base**high
        position = min(max(value, low), high)
        slider.value = int(position) if isinstance(slider, widgets.IntSlider) else position

    def _slider_value(self) -> Any:
        value = self.slider.value
        domain = self.declaration.domain
        if self.declaration.zero and value < self.slider.base**self._zero_below:
            return 0.0
        if isinstance(domain, IntRange):
            return min(max(round(value), domain.low), domain.high)
        assert not isinstance(domain, (Registry, Choice))
        return min(max(float(f"{value:.3g}"), domain.low), domain.high)

    def _slider_moved(self, _: object) -> None:
        if self._quiet or self._is_echo():
            return
        self._quiet = True
        self.text.value = shown(self._slider_value())
        self._quiet = False
        self._notify()

    def _is_echo(self) -> bool:
        """Whether the slider only moved to its step nearest to a typed value: the page then reports a move."""
        value, slider = self.raw, self.slider
        if not isinstance(value, (int, float)) or value != value:
            return False
        there = slider.value
        if isinstance(slider, widgets.FloatLogSlider):
            value, there = (math.log(one, slider.base) if one > 0 else -math.inf for one in (value, there))
        return bool(abs(min(max(value, slider.min), slider.max) - there) < 0.75 * slider.step)

    def _text_changed(self, _: object) -> None:
        if self._quiet:
            return
        self._quiet = True
        self._move_slider(self.raw)
        self._quiet = False
        self._notify()

    def _switched(self, _: object) -> None:
        if self._quiet or self.switch is None:
            return
        domain = self.declaration.domain
        assert not isinstance(domain, Registry)
        self.load(domain.start if self.switch.value else None)
        self._notify()


def _short(value: float) -> str:
    """A number under a slider: 1e-6, 0.001, 2048, 100k."""
    if value >= 10_000:
        return f"{value / 1000:.4g}k"
    return f"{value:.4g}".replace("e-0", "e-")


class ChoiceField(Field):
    """A drop-down, or a check box for off and on."""

    def parts(self) -> list[widgets.Widget]:
        options = self.declaration.options or ()
        if set(options) == {False, True}:
            self.control: widgets.Widget = make(
                widgets.Checkbox, self.declaration.default, indent=False, tooltip=self.tip
            )
        else:
            self.control = make(
                widgets.Dropdown, options=self._options(), value=_of_menu(self.declaration.default), tooltip=self.tip
            )
        self.control.observe(self._scoped(self._notify), "value")
        box = make(widgets.Box, [self.control], classes="wb-input")
        return [box]

    def menu(self) -> list[tuple[str, Any]]:
        """Labels and values; of a table, those for the kind of task."""
        domain = self.declaration.domain
        if not isinstance(domain, Registry):
            off = self.declaration.off
            return [(off if option is None else str(option), option) for option in self.declaration.options or ()]
        names = domain.suited_to(self.kind)
        auto = [("Automatic", "auto")] if self.declaration.auto else []
        return [*auto, *((domain[name].label, name) for name in names)]

    def _options(self) -> list[tuple[str, Any]]:
        return [(label, _of_menu(value)) for label, value in self.menu()]

    def value(self) -> Any:
        return None if self.control.value == NONE else self.control.value

    def set_value(self, value: Any) -> None:
        if self.declaration.mapping and value not in (self.declaration.options or ()):
            self.control.options = [*self._options(), (str(value), value)]
        self.control.value = _of_menu(value)


def _of_menu(value: Any) -> Any:
    return NONE if value is None else value


def make_field(hyperparameter: Hyperparameter, changed: Callable[[str], None], kind: str) -> Field:
    """The control for a declaration, on a task of a kind."""
    return (NumberField if hyperparameter.options is None else ChoiceField)(hyperparameter, changed, kind)


class Throttle:
    """Sends values on, at most one every `seconds`, and always the last one; for a slider that is dragged."""

    def __init__(self, send: Callable[[Any], None], seconds: float = 0.1) -> None:
        self._send, self._seconds = send, seconds
        self._lock = threading.Lock()
        self._sent = -math.inf
        self._waiting: list[Any] = []
        self._timer: threading.Timer | None = None

    def __call__(self, value: Any) -> None:
        with self._lock:
            self._waiting = [value]
            if self._timer is not None:
                return
            delay = self._sent + self._seconds - time.monotonic()
            if delay > 0:
                self._timer = threading.Timer(delay, self._fire)
                self._timer.daemon = True
                self._timer.start()
                return
        self._fire()

    def _fire(self) -> None:
        with self._lock:
            self._timer = None
            self._sent = time.monotonic()
            values, self._waiting = self._waiting, []
        for value in values:
            self._send(value)
