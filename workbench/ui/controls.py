"""The controls: one for each declared hyperparameter; those that the current choices do not use are hidden."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Any

import ipywidgets as widgets

from workbench.core.config import CHOICES, HYPERPARAMETERS, Config, Hyperparameter, declared
from workbench.core.domains import Domain
from workbench.core.errors import ConfigError, Problem
from workbench.core.registry import Scoped
from workbench.core.text import counted
from workbench.training import preview, resolve_loss, without_effect
from workbench.ui.control_limits import ControlLimits
from workbench.ui.fields import Field, Throttle, make_field, shown
from workbench.ui.parts import make
from workbench.ui.section import Section

__all__ = ["Controls", "schedule_picture"]


class Controls(Scoped):
    """All hyperparameters as controls, or those that `limits` includes; the others keep the values that are loaded.

    kind: of the task; the menu of losses depends on it. changed: called after each change by the user. live: called with name
    and value when a live hyperparameter has changed, at most ten times a second. start: what they begin with, by default the
    defaults of `Config`.
    """

    def __init__(
        self,
        kind: str,
        *,
        changed: Callable[[], None],
        live: Callable[[str, float], None],
        limits: ControlLimits | None = None,
        start: Config | None = None,
    ) -> None:
        self._kind, self.limits = kind, limits or ControlLimits()
        self._start = start or Config()
        self._changed = changed
        self._live: dict[str, Throttle] = {}
        self._send_live = live
        self._fields: dict[str, Field] = {}
        self.sections: dict[str, Section] = {}
        self._loading = False
        self.preview = make(widgets.HTML, classes="wb-preview")
        self.widget = make(widgets.VBox, [], classes="wb-controls")
        for hyperparameter in sorted(HYPERPARAMETERS.values(), key=lambda one: one.essential or 99):
            self._add(hyperparameter)
        self.sections["schedule"].end_with(self.preview)
        self.load(self._start)

    def read(self) -> Config:
        """The configuration in the controls. Raises: ConfigError, after showing each message under its control."""
        self.clear_problems()
        values: dict[str, Any] = {}
        problems: list[Problem] = []
        visible = self._visible()
        for name in {**HYPERPARAMETERS, **declared(self._model)}:
            try:
                values[name] = self._fields[name].check()
            except ConfigError as error:
                if name in visible:  # hidden ones keep their default
                    problems += error.problems
        try:
            config = Config(**values)
            if not problems:
                return config
        except ConfigError as error:
            known = {problem.field for problem in problems}
            problems += [problem for problem in error.problems if problem.field not in known]
        raise self._shown(problems)

    def space(self) -> dict[str, Domain]:
        """The domains of the visible hyperparameters that are searched. Raises: ConfigError, after showing it."""
        found: dict[str, Domain] = {}
        problems: list[Problem] = []
        visible = self._visible()
        for name, field in self._fields.items():
            if field.searched and name in visible:
                try:
                    found[name] = field.domain()
                except ConfigError as error:
                    problems += error.problems
        if problems:
            raise self._shown(problems)
        return found

    def load(self, config: Config, leave: Collection[str] | None = None) -> None:
        """Show a configuration. leave: the hyperparameters that are searched no longer, by default all."""
        self.clear_problems()
        self._loading = True
        try:
            self._fields["model"].load(config.model)
            self._refresh()
            for name, value in config.model_dump().items():
                self._fields[name].load(value)
                if leave is None or name in leave:
                    self._fields[name].leave_search()
        finally:
            self._loading = False
        self._refresh()

    def _shown(self, problems: list[Problem]) -> ConfigError:
        error = ConfigError(problems)
        self.show(error)
        return error

    def show(self, error: ConfigError) -> list[Problem]:
        """Show each problem under its control. Returns those that belong to no control."""
        others = []
        for problem in error.problems:
            field = self._fields.get(problem.field)
            if field is None or not self.limits.includes(problem.field):
                others.append(problem)
            else:
                self._section(field).open()
                field.show_problem(problem.message)
                field.show(True)
        return others

    def clear_problems(self) -> None:
        for field in self._fields.values():
            field.show_problem("")

    def field(self, name: str) -> Field:
        """The control of a hyperparameter. Raises: ConfigError if it has none here."""
        self.limits.check_included(name)
        field = self._fields[name]
        self._section(field).open()
        field.build()
        return field

    def reset(self, name: str) -> None:
        """Give a control the value that it began with."""
        field = self._fields[name]
        if self.limits.includes(name) and not field.searched:
            field.load(self._start.model_dump().get(name, field.declaration.default))
            self._touched(name)

    # ----------------------------------------------------------------------------------------------------------------

    def _add(self, hyperparameter: Hyperparameter) -> None:
        """Put the control of a hyperparameter at the end of its section."""
        name = "essentials" if hyperparameter.essential else hyperparameter.group
        section = self.sections.get(name)
        if section is None:
            # of a few controls that were asked for, none is hidden
            folds = name != "essentials" and self.limits.names is None
            section = Section(name.capitalize(), self._scoped(self._turned), folds=folds)
            self.sections[name] = section
            self.widget.children = (*self.widget.children, section.widget)
        narrowed = self.limits.narrowed(hyperparameter)
        field = self._fields[hyperparameter.name] = make_field(narrowed, self._scoped(self._touched), self._kind)
        section.add(field)

    def _section(self, field: Field) -> Section:
        return next(one for one in self.sections.values() if field in one.fields)

    def _turned(self, _: object) -> None:
        """A heading was clicked."""
        if not self._loading:
            self._refresh()

    def _changed_fields(self) -> set[str]:
        """The fields whose value is another than the controls began with."""
        start = self._start.model_dump()
        automatic = resolve_loss(self._start, self._kind).loss
        return {
            name
            for name, field in self._fields.items()
            if field.raw != start.get(name, field.declaration.default) and (name, field.raw) != ("loss", automatic)
        }

    @property
    def _model(self) -> str:
        return str(self._fields["model"].raw)

    def _touched(self, name: str) -> None:
        if self._loading:
            return
        field = self._fields[name]
        field.show_problem("")
        self._refresh()
        if field.declaration.live and not field.searched:
            try:
                value = field.check()
            except ConfigError as error:
                self.show(error)
            else:
                self._live.setdefault(name, Throttle(lambda value: self._send_live(name, value)))(value)
        self._changed()

    def _visible(self) -> set[str]:
        choices = {
            name: f.raw
            for name, f in self._fields.items()
            if f.declaration.options is not None and name in HYPERPARAMETERS
        }
        choices |= {"batch_norm": False}  # contradicts no choice, and no other field depends on it
        seen: set[str] = set()
        for changes in [{}, *self._searched_choices()]:
            config = resolve_loss(Config(**{**choices, **changes}), self._kind)
            seen |= {name for name in declared(config.model) if config.uses(name)}
        return seen

    def _searched_choices(self) -> Iterator[dict[str, Any]]:
        """Each option that a searched choice may take: a field used by any of them is visible."""
        for name in CHOICES:
            field = self._fields[name]
            if field.searched:
                with suppress(ConfigError):
                    yield from ({name: option} for option in field.domain().options)  # type: ignore[union-attr]

    def _refresh(self) -> None:
        """Show the controls that the current choices use, and the picture of the schedule."""
        for name, hyperparameter in declared(self._model).items():
            if name not in self._fields:
                self._add(hyperparameter)
        visible = {name for name in self._visible() if self.limits.includes(name)}
        changed = self._changed_fields()
        for section in self.sections.values():
            section.update(visible, changed)
        values = {}
        for name in {*HYPERPARAMETERS, *declared(self._model)}:
            try:
                values[name] = self._fields[name].check()
            except ConfigError:
                continue
        notes: dict[str, str] = {}
        try:
            config = Config(**values)
            self.preview.value = schedule_picture(config)
            for problem in without_effect(resolve_loss(config, self._kind)):
                notes.setdefault(problem.field, problem.message)
        except ConfigError:
            self.preview.value = '<div class="wb-nopreview"></div>'
        for name, field in self._fields.items():
            # one that is searched has other values, and a hidden one is read by nothing: it is reset when it is shown again
            field.show_note("" if field.searched or name not in visible else notes.get(name, ""))


def schedule_picture(config: Config) -> str:
    """The learning rate over the epochs as a small inline SVG, with its largest and smallest value."""
    epochs, rates = preview(config, 120)
    top, bottom = max(rates), min(rates)
    left, right, high, low = 4, 216, 6, 50

    def height(rate: float) -> float:
        return low - (low - high) * ((rate - bottom) / (top - bottom) if top > bottom else 0.5)

    def number(rate: float) -> str:
        return shown(float(f"{rate:.2g}"))

    points = " ".join(
        f"{left + (right - left) * epoch / config.epochs:.1f},{height(rate):.1f}"
        for epoch, rate in zip(epochs, rates, strict=True)
    )
    course = f"{number(rates[0])} to {number(rates[-1])}, highest {number(top)}" if top > bottom else number(top)
    label = html.escape(f"learning rate η over {counted(config.epochs, 'epoch')}: {course}")
    return (
        f'<svg viewBox="0 0 220 56" role="img" aria-label="{label}" preserveAspectRatio="none">'
        '<line x1="4" y1="52" x2="216" y2="52" stroke="currentColor" opacity=".3"/>'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.6" '
        f'vector-effect="non-scaling-stroke"/></svg><div class="wb-caption">{label}</div>'
    )
