"""What may be searched, as domains: what was given for a hyperparameter, checked by its declaration, and the values it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.core.config import CHOICES, HYPERPARAMETERS, Config, Hyperparameter
from workbench.core.domains import Choice, Domain, IntRange, LogRange, Range, ambiguous, listed
from workbench.core.errors import ConfigError, Problem

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

__all__ = [
    "Owner", "all_values", "decoded", "distribution", "domain_of", "drawn", "encoded", "from_parameter", "grid_values", "owners",
    "restricted", "shown", "suggested", "to_parameter",
]  # fmt: skip

_DOMAINS = {kind.__name__: kind for kind in (Range, LogRange, IntRange, Choice)}

Owner = tuple[str, str]
"""A choice with hyperparameters of its own: the field that makes it, and its name, such as ("model", "mine")."""


def owners(
    space: Mapping[str, Any], base: Config, compared: Mapping[str, Sequence[Any]]
) -> dict[str, dict[Owner, Domain]]:
    """The hyperparameters that the choices a search can make bring along: by name, the domain of each choice that has it.

    compared: further values of fields that are made in turn, as a comparison does.
    """
    found: dict[str, dict[Owner, Domain]] = {}
    for field, registry in CHOICES.items():
        given = space.get(field)
        options = given.options if isinstance(given, Choice) else listed(given) or []
        made = options or [getattr(base, field)]
        for name in dict.fromkeys([*(one for one in made if isinstance(one, str)), *compared.get(field, ())]):
            for own, domain in registry[name].parameters.items() if name in registry else ():
                found.setdefault(own, {})[field, name] = domain
    return found


def declaration(name: str, domain: Domain) -> Hyperparameter:
    """The declaration of a hyperparameter that a choice brings along."""
    return HYPERPARAMETERS.get(name) or Hyperparameter(name, domain, "", "", name=name, default=domain.start)


def domain_of(hyperparameter: Hyperparameter, given: Any) -> Domain:
    """What was given for a hyperparameter as a domain inside its own. Raises: ConfigError."""
    name = hyperparameter.name
    given = _as_domain(hyperparameter, given)
    if isinstance(given, Choice):
        options = [hyperparameter.check(option) for option in given.options]
        return Choice(list(dict.fromkeys(options)))
    if hyperparameter.options is not None:
        options_shown = ", ".join(map(repr, hyperparameter.options))
        raise ConfigError(
            [Problem(name, given, f"{name}={given!r}: is chosen by name; use wb.Choice({options_shown})")]
        )
    if isinstance(hyperparameter.domain, IntRange) and not isinstance(given, IntRange):
        message = f"{name}={given!r}: takes whole numbers; use wb.IntRange(low, high, scale='log')"
        raise ConfigError([Problem(name, given, message)])
    for bound in (given.low, given.high):
        hyperparameter.check(bound)
    return _plain(given)


def restricted(name: str, given: Any, domains: Mapping[Owner, Domain]) -> tuple[Domain, dict[Owner, Domain]]:
    """What was given for a hyperparameter that several choices declare with different domains: as a whole, and the part that
    each of them can take.

    Raises: ConfigError naming the choice that can take nothing of it, or the value that none of them takes.
    """
    whole = _as_domain(declaration(name, next(iter(domains.values()))), given)
    parts: dict[Owner, Domain] = {}
    for (field, choice), own in domains.items():
        part = _common(whole, own)
        if part is None:
            message = (
                f"{name}={shown(whole)}: {field} {choice!r} takes none of it, its own {name} must be {own.description}; "
                f"search its values too, or leave {choice!r} out"
            )
            raise ConfigError([Problem(name, given, message)])
        parts[field, choice] = part
    rules = "; ".join(f"{choice!r}: {own.description}" for (_, choice), own in domains.items())
    ends = whole.options if isinstance(whole, Choice) else (whole.low, whole.high)
    for value in ends:
        if not any(_takes(own, value) for own in domains.values()):
            message = (
                f"{name}={value!r}: no {' or '.join(dict.fromkeys(field for field, _ in domains))} takes it ({rules})"
            )
            raise ConfigError([Problem(name, value, message)])
    return whole if isinstance(whole, Choice) else _plain(whole), parts


def _as_domain(hyperparameter: Hyperparameter, given: Any) -> Domain:
    name = hyperparameter.name
    error = ambiguous(name, given) if hyperparameter.options is None else None
    if error is not None:
        raise error
    values = listed(given)
    if values is not None:
        given = Choice(values)
    if isinstance(given, (Range, IntRange, Choice)):
        return given
    example = "wb.Choice(...)" if hyperparameter.options is not None else "wb.LogRange(1e-4, 1e-1)"
    message = f"{name}={given!r}: must be a range or choices, such as {example} or a list; to hold it, set it in base"
    raise ConfigError([Problem(name, given, message)])


def _takes(domain: Domain, value: Any) -> bool:
    try:
        domain.check(value)
    except ConfigError:
        return False
    return True


def _common(given: Domain, own: Domain) -> Domain | None:
    """The values that two domains share, in the kind and on the scale of the first; None if there are none."""
    if isinstance(given, Choice):
        options = [own.check(option) for option in given.options if _takes(own, option)]
        return Choice(list(dict.fromkeys(options))) if options else None
    if isinstance(own, Choice):
        options = [option for option in own.options if _takes(given, option)]
        return Choice(options) if options else None
    low, high = max(given.low, own.low), min(given.high, own.high)
    whole = isinstance(given, IntRange) or isinstance(own, IntRange)
    low, high = (math.ceil(low), math.floor(high)) if whole else (low, high)
    if low >= high:
        return Choice([low]) if low == high else None
    if whole:
        scale = given.scale if isinstance(given, IntRange) else "log" if given.scale == "log" else "linear"
        return IntRange(int(low), int(high), scale=scale)
    return LogRange(low, high) if given.scale == "log" else Range(low, high)


def _plain(given: Range | IntRange) -> Range | IntRange:
    """A range with plain numbers as its bounds: the log keeps them as JSON, which has none of numpy's."""
    if all(type(bound) in (int, float) for bound in (given.low, given.high)):
        return given
    if isinstance(given, IntRange):
        return replace(given, low=int(given.low), high=int(given.high))
    return replace(given, low=float(given.low), high=float(given.high))


# --- the values of a domain -----------------------------------------------------------------------------------------------


def grid_values(domain: Domain, points: int) -> list[Any]:
    """The values a grid takes of a domain."""
    if isinstance(domain, Choice):
        return list(domain.options)
    if isinstance(domain, IntRange):
        if _by_exponent(domain):
            return [2**e for e in range(domain.low.bit_length() - 1, domain.high.bit_length())]
        space = np.geomspace if domain.scale != "linear" else np.linspace
        count = min(points, domain.high - domain.low + 1)
        return sorted({round(value) for value in space(domain.low, domain.high, count)})
    space = np.geomspace if domain.scale == "log" else np.linspace
    # short numbers in tables; the ends stay what they are
    inner = [float(f"{value:.6g}") for value in space(domain.low, domain.high, points)[1:-1]]
    return [float(domain.low), *inner, float(domain.high)]


def all_values(domain: Domain) -> Sequence[Any] | None:
    """Every value that a domain has; None for a range of real numbers."""
    if isinstance(domain, Choice):
        return domain.options
    if isinstance(domain, IntRange):
        return grid_values(domain, 2) if _by_exponent(domain) else range(domain.low, domain.high + 1)
    return None


def drawn(domain: Domain, generator: np.random.Generator) -> Any:
    """A value out of a domain at random, evenly on its scale."""
    values = all_values(domain)
    if values is not None and (isinstance(domain, Choice) or domain.scale != "log"):
        return values[int(generator.integers(len(values)))]
    assert isinstance(domain, (Range, IntRange))
    if domain.scale == "linear":
        return float(generator.uniform(domain.low, domain.high))
    value = math.exp(generator.uniform(math.log(domain.low), math.log(domain.high)))
    value = min(max(value, domain.low), domain.high)
    return round(value) if isinstance(domain, IntRange) else value


def _by_exponent(domain: IntRange) -> bool:
    return domain.scale == "power2" and not (domain.low & (domain.low - 1) or domain.high & (domain.high - 1))


# --- as optuna has them ---------------------------------------------------------------------------------------------------


def distribution(domain: Domain) -> BaseDistribution:
    """The optuna distribution of a domain, as `suggested` makes it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Choice):
        return CategoricalDistribution(_categories(domain))
    if isinstance(domain, Range):
        return FloatDistribution(domain.low, domain.high, log=domain.scale == "log")
    if _by_exponent(domain):
        return IntDistribution(domain.low.bit_length() - 1, domain.high.bit_length() - 1)
    return IntDistribution(domain.low, domain.high, log=domain.scale != "linear")


def suggested(trial: BaseTrial, name: str, domain: Domain) -> Any:
    """A value out of a domain as the trial's sampler suggests it."""
    if isinstance(domain, Choice):
        return from_parameter(domain, trial.suggest_categorical(name, _categories(domain)))
    if isinstance(domain, Range):
        return trial.suggest_float(name, domain.low, domain.high, log=domain.scale == "log")
    if _by_exponent(domain):
        low, high = domain.low.bit_length() - 1, domain.high.bit_length() - 1
        return from_parameter(domain, trial.suggest_int(name, low, high))
    return trial.suggest_int(name, domain.low, domain.high, log=domain.scale != "linear")


def _categories(domain: Choice) -> list[Any]:
    """The options as optuna takes them: a tuple, which its storages do not, as text."""
    return [repr(option) if isinstance(option, tuple) else option for option in domain.options]


def to_parameter(domain: Domain, value: Any) -> Any:
    """The sampler's parameter for a value. Raises: ConfigError for a number between two powers of two."""
    if isinstance(domain, IntRange) and _by_exponent(domain):
        if value & (value - 1):
            raise ConfigError([Problem("value", value, f"{value} is no power of two")])
        return value.bit_length() - 1
    return repr(value) if isinstance(value, tuple) else value


def from_parameter(domain: Domain, parameter: Any) -> Any:
    """The value for a sampler's parameter, the inverse of `to_parameter`."""
    if isinstance(domain, IntRange) and _by_exponent(domain):
        return 2**parameter
    if isinstance(domain, Choice):
        return {repr(option): option for option in domain.options if isinstance(option, tuple)}.get(
            parameter, parameter
        )
    return parameter


# --- as text --------------------------------------------------------------------------------------------------------------


def shown(domain: Domain) -> str:
    """A domain as code."""
    if isinstance(domain, Choice):
        options = domain.options
        # one tuple, or list, by itself would be taken for all options
        lone = len(options) == 1 and isinstance(options[0], tuple)
        return f"wb.Choice([{options[0]!r}])" if lone else f"wb.Choice({', '.join(map(repr, options))})"
    scale = f", scale={domain.scale!r}" if isinstance(domain, IntRange) and domain.scale != "linear" else ""
    return f"wb.{type(domain).__name__}({domain.low!r}, {domain.high!r}{scale})"


def encoded(domain: Domain) -> dict[str, Any]:
    """A domain as JSON values."""
    kind = type(domain).__name__
    if isinstance(domain, Choice):
        return {"kind": kind, "options": list(domain.options)}
    scale = {"scale": domain.scale} if isinstance(domain, IntRange) else {}
    return {"kind": kind, "low": domain.low, "high": domain.high, **scale}


def decoded(record: Mapping[str, Any]) -> Domain:
    """A domain out of what `encoded` gave."""
    values = dict(record)
    kind = _DOMAINS[values.pop("kind")]
    return Choice(values["options"]) if kind is Choice else kind(**values)
