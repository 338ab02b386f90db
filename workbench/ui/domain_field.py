"""The editor of a search domain, which replaces a control while its hyperparameter is searched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from workbench.core.config import Hyperparameter
from workbench.core.domains import Choice, Domain, IntRange, LogRange, Range
from workbench.core.errors import ConfigError, Problem
from workbench.ui.parts import make, number_of

__all__ = ["ChoiceDomain", "DomainEditor", "RangeDomain", "make_editor"]


class DomainEditor:
    """Shows and reads a domain. `widget` replaces the control."""

    widget: widgets.Widget

    def read(self) -> Domain:
        """The domain. Raises: ConfigError naming the hyperparameter, the value and the rule."""
        raise NotImplementedError

    def load(self, domain: Domain) -> None:
        """Show a domain."""
        raise NotImplementedError


class RangeDomain(DomainEditor):
    """Two number fields, from and to, on the hyperparameter's own scale."""

    def __init__(
        self, hyperparameter: Hyperparameter, value: Any, show: Callable[[Any], str], changed: Callable[..., None]
    ) -> None:
        self._declared, self._show = hyperparameter, show
        assert isinstance(hyperparameter.domain, (Range, IntRange))
        low, high = _around(hyperparameter.domain, value)
        name = hyperparameter.name.replace("_", " ")
        spread = {"log": " (logarithmic)", "power2": " (powers of two)", "linear": ""}[hyperparameter.domain.scale]
        fields = [
            make(
                widgets.Text, show(bound), continuous_update=False, tooltip=f"{name}: {end} of the searched range",
                classes="wb-number",
            )
            for bound, end in ((low, f"low end{spread}"), (high, f"high end{spread}"))
        ]  # fmt: skip
        self.low, self.high = fields
        for field in fields:
            field.observe(changed, "value")
        between = make(widgets.HTML, "<span>to</span>", classes="wb-to")
        self.widget = make(widgets.Box, [self.low, between, self.high], classes="wb-input wb-range")

    def read(self) -> Domain:
        kind = type(self._declared.domain)
        bounds = [number_of(field.value) for field in (self.low, self.high)]
        for bound in bounds:
            self._declared.check(bound)
        try:
            if kind is IntRange:
                assert isinstance(self._declared.domain, IntRange)
                return IntRange(int(bounds[0]), int(bounds[1]), scale=self._declared.domain.scale)
            return LogRange(*bounds) if kind is LogRange else Range(*bounds)
        except ConfigError as error:
            name = self._declared.name
            raise ConfigError([Problem(name, p.value, f"{name}: {p.message}") for p in error.problems]) from None

    def load(self, domain: Domain) -> None:
        assert isinstance(domain, (Range, IntRange))
        self.low.value, self.high.value = self._show(domain.low), self._show(domain.high)


class ChoiceDomain(DomainEditor):
    """A check box for each option."""

    def __init__(
        self, hyperparameter: Hyperparameter, menu: list[tuple[str, Any]], changed: Callable[..., None]
    ) -> None:
        self._declared = hyperparameter
        self.boxes = {
            value: make(widgets.Checkbox, True, description=label, indent=False, classes="wb-option")
            for label, value in menu
        }
        for box in self.boxes.values():
            box.observe(changed, "value")
        self.widget = make(widgets.Box, list(self.boxes.values()), classes="wb-input wb-options-list")

    def read(self) -> Domain:
        chosen = [value for value, box in self.boxes.items() if box.value]
        name = self._declared.name
        if not chosen:
            raise ConfigError(
                [Problem(name, chosen, f"{name}: tick at least one option to search, or switch searching off")]
            )
        return Choice(chosen)

    def load(self, domain: Domain) -> None:
        assert isinstance(domain, Choice)
        for value, box in self.boxes.items():
            box.value = value in domain.options


def make_editor(
    hyperparameter: Hyperparameter,
    menu: list[tuple[str, Any]] | None,
    value: Any,
    show: Callable[[Any], str],
    changed: Callable[..., None],
) -> DomainEditor:
    """The editor for a declaration. menu: labels and values of a choice, None for a number."""
    if menu is None:
        return RangeDomain(hyperparameter, value, show, changed)
    return ChoiceDomain(hyperparameter, [(text, option) for text, option in menu if option != "auto"], changed)


def _around(domain: Range | IntRange, value: Any) -> tuple[Any, Any]:
    """The first range shown: a decade to either side on a logarithmic scale, else the whole domain."""
    if domain.scale == "linear":
        wide = isinstance(domain, IntRange) and domain.high - domain.low > 1000
        return (domain.low, domain.low + 1000) if wide else (domain.low, domain.high)
    number = value if isinstance(value, (int, float)) and domain.low <= value <= domain.high else domain.start
    factor = 4 if isinstance(domain, IntRange) else 10
    low, high = max(number / factor, domain.low), min(number * factor, domain.high)
    if isinstance(domain, IntRange):
        return max(domain.low, round(low)), min(domain.high, max(round(high), round(low) + 1))
    return float(f"{low:.3g}"), float(f"{high:.3g}")
