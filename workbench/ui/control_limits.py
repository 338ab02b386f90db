"""Which controls the interface shows, and over which ranges: `Workbench(task, controls=[...], ranges={...})`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.core.config import CHOICES, Config, Hyperparameter, declared
from workbench.core.domains import Choice, IntRange, Range, finite, listed
from workbench.core.errors import ConfigError, Problem, did_you_mean
from workbench.core.registry import MODELS, Registry
from workbench.training import resolve_loss

__all__ = ["ControlLimits", "control_limits", "used_by"]

EXAMPLE = "ranges={'learning_rate': (1e-4, 1)}"


@dataclass(frozen=True)
class ControlLimits:
    """names: the hyperparameters that have a control, None for all. ranges: what a control allows, where that is less than
    its declaration does; "off" (0 or None) stays possible where the declaration has it."""

    names: frozenset[str] | None = None
    ranges: Mapping[str, Range | IntRange] = field(default_factory=dict)

    def includes(self, name: str) -> bool:
        """Whether a hyperparameter has a control."""
        return self.names is None or name in self.names

    def narrowed(self, hyperparameter: Hyperparameter) -> Hyperparameter:
        """The declaration that its control is made from."""
        domain = self.ranges.get(hyperparameter.name)
        return hyperparameter if domain is None else replace(hyperparameter, domain=domain)

    def check_included(self, *names: str) -> None:
        """Raises: ConfigError for a hyperparameter that has no control."""
        problems = [
            Problem(name, None, f"{name} has no control here; add it to Workbench(..., controls=[...]) or use a call")
            for name in names
            if not self.includes(name)
        ]
        if problems:
            raise ConfigError(problems)


def control_limits(controls: object, ranges: object, start: Config, kind: str) -> ControlLimits:
    """Check which controls and ranges were asked for. start: what the controls begin with. kind: of the task.

    Raises: ConfigError naming each control and range that is wrong, its value and the remedy.
    """
    names = None if controls is None else _names(controls)
    problems: list[Problem] = []
    known = {name: one for model in MODELS for name, one in declared(model).items()}
    for name in names or ():
        if name not in known:
            problems.append(_unknown("controls", name, known))
    if names and not problems:
        visible = used_by(start, kind, {choice for choice in CHOICES if choice in names})
        for name in names:
            if name not in visible:
                problems.append(Problem("controls", name, _never_shown(name, known[name], start)))
    found: dict[str, Range | IntRange] = {}
    for name, given in _pairs(ranges).items():
        try:
            if name not in known:
                raise ConfigError([_unknown("ranges", name, known)])
            if names is not None and name not in names:
                message = (
                    f"ranges[{name!r}]={given!r}: {name} is not among the controls; add it to controls, or leave it out"
                )
                raise ConfigError([Problem("ranges", given, message)])
            found[name] = _range(known[name], given, start)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return ControlLimits(None if names is None else frozenset(names), found)


def used_by(start: Config, kind: str, choices: Collection[str]) -> set[str]:
    """The hyperparameters that are read by a configuration, or by it with another option of one of some choices."""
    seen: set[str] = set()
    changes: list[dict[str, Any]] = [{}]
    for choice in choices:
        registry = CHOICES[choice]
        changes += [{choice: option} for option in registry.suited_to(kind)]
    for change in changes:
        config = resolve_loss(start.replace(**change), kind)
        seen |= {name for name in declared(config.model) if config.uses(name)}
    return seen


def _names(given: object) -> list[str]:
    names = listed(given)
    if names is None or not all(isinstance(name, str) for name in names):
        message = "give a list of hyperparameters, such as controls=['learning_rate', 'l2'], or None for all"
    elif not names:
        message = "an empty list shows no control; name at least one, or give None for all"
    else:
        return list(dict.fromkeys(map(str, names)))
    raise ConfigError([Problem("controls", given, f"controls={given!r}: {message}")])


def _pairs(given: object) -> Mapping[Any, object]:
    if given is None or isinstance(given, Mapping):
        return given or {}
    message = f"ranges={given!r}: give (low, high) for each hyperparameter, such as {EXAMPLE}, or None"
    raise ConfigError([Problem("ranges", given, message)])


def _unknown(argument: str, name: object, known: Mapping[str, Hyperparameter]) -> Problem:
    return Problem(argument, name, f"{argument}: unknown hyperparameter {name!r}{did_you_mean(str(name), known)}")


def _never_shown(name: str, declaration: Hyperparameter, start: Config) -> str:
    """Why a control that was asked for could never be seen."""
    readers = [
        (field, entry.name)
        for field, registry in CHOICES.items()
        for entry in registry.values()
        if name in entry.uses or name in entry.parameters
    ]
    if not readers:
        return f"controls: {name!r} is read by nothing on this task; leave it out"
    choice, option = readers[0]
    now = getattr(start, choice)
    message = f"controls: {name!r} is read by {choice}={option!r}, not by {now!r}, which the controls begin with"
    return f"{message}; add {choice!r} to controls, or leave {name!r} out"


def _range(declaration: Hyperparameter, given: object, start: Config) -> Range | IntRange:
    """The range of a control. Raises: ConfigError naming the hyperparameter, what was given and the remedy."""
    name, domain = declaration.name, declaration.domain

    def wrong(message: str) -> ConfigError:
        return ConfigError([Problem("ranges", given, f"ranges[{name!r}]={given!r}: {message}")])

    if isinstance(domain, (Registry, Choice)):
        raise wrong(f"{name} is {declaration.description}, and has no range; leave it out")
    bounds = [] if isinstance(given, range) else listed(given) or []
    numbers = [number for one in bounds if (number := finite(one)) is not None]
    whole = isinstance(domain, IntRange)
    if len(bounds) != 2 or len(numbers) != 2 or (whole and any(number != int(number) for number in numbers)):
        kind = "whole numbers" if whole else "numbers"
        raise wrong(f"give two {kind}, (low, high), such as ({domain.low:g}, {domain.high:g})")
    low, high = numbers
    if not low < high:
        raise wrong(
            f"the lower bound must be below the upper; swap them, or take another range than {low:g} to {high:g}"
        )
    off = f"; {declaration.off} stays possible in addition" if declaration.zero or declaration.optional else ""
    if domain.scale != "linear" and low <= 0:
        raise wrong(f"{name} has a logarithmic scale, which begins above 0: try {domain.low:g}{off}")
    if low < domain.low or high > domain.high:
        raise wrong(f"{name} must be {domain.description}; stay within {domain.low:g} to {domain.high:g}")
    value = getattr(start, name, declaration.default)
    is_off = (declaration.zero and value == 0) or (declaration.optional and value is None)
    if not is_off and not low <= value <= high:
        widened = f"({min(low, value):g}, {max(high, value):g})"
        raise wrong(f"does not contain {value!r}, which the controls begin with; widen it to {widened}")
    if isinstance(domain, IntRange):
        return IntRange(int(low), int(high), scale=domain.scale)
    return type(domain)(low, high)
