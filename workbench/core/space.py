"""A search space: for some hyperparameters of `Config`, a domain to draw from; all others stay as in the base configuration."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.core.config import CHOICES, Config, Hyperparameter, declared
from workbench.core.domains import Choice, Domain, IntRange, LogRange, Range
from workbench.core.errors import ConfigError, Problem, did_you_mean

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

__all__ = ["GRID_LIMIT", "Space"]

GRID_LIMIT = 100_000
"""A grid with more points is rejected: it would never end."""
GRID_POINTS = 5

_DOMAINS = {kind.__name__: kind for kind in (Range, LogRange, IntRange, Choice)}


class Space(Mapping[str, Domain]):
    """Domains by hyperparameter name, in the order given. Immutable.

    space: `wb.Range`, `wb.LogRange`, `wb.IntRange`, `wb.Choice`, or a list of values for each name. base: the configuration that
    the space varies. Hyperparameters that a choice does not read (momentum under Adam) are left out of that trial.

    Raises: ConfigError naming the hyperparameter: unknown, a bound or option outside what it may be, or nothing to search.
    """

    def __init__(self, space: Mapping[str, Any], base: Config) -> None:
        problems: list[Problem] = []
        self.base = base
        self._domains: dict[str, Domain] = {}
        known = _declarations(space, base)
        for name, given in space.items():
            if name not in known:
                message = f"unknown hyperparameter {name!r}{did_you_mean(str(name), known)}"
                problems.append(Problem(str(name), given, message))
                continue
            try:
                self._domains[name] = _domain(known[name], given)
            except ConfigError as error:
                problems += [Problem(name, given, _named(name, problem.message)) for problem in error.problems]
        if not problems and all(len(_options(domain)) == 1 for domain in self._domains.values()):
            message = (
                "there is nothing to search: give at least one hyperparameter a range or two choices, such as "
                'space={"learning_rate": wb.LogRange(1e-4, 1e-1)}'
            )
            problems.append(Problem("space", dict(space), message))
        if problems:
            raise ConfigError(problems)
        # what is chosen decides what else counts, so choices are drawn first
        self._order = sorted(self._domains, key=lambda name: (name not in CHOICES, list(known).index(name)))

    def __getitem__(self, name: str) -> Domain:
        return self._domains[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._domains)

    def __len__(self) -> int:
        return len(self._domains)

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name!r}: {shown(domain)}" for name, domain in self.items()) + "}"

    # --- drawing ----------------------------------------------------------------------------------------------------

    def draw(self, trial: BaseTrial) -> Config:
        """One configuration, each value suggested by an optuna trial. Raises: ConfigError if the values contradict each other."""
        return self._resolve(lambda name: _suggested(trial, name, self[name]))

    def _resolve(self, value: Callable[[str], Any]) -> Config:
        values: dict[str, Any] = {}
        chosen = self.base
        for name in self._order:
            if name not in CHOICES and not chosen.uses(name):
                continue
            values[name] = value(name)
            if name in CHOICES:
                chosen = self.base.replace(**values)
        return self.base.replace(**values)

    def parameters(self, config: Config) -> dict[str, Any] | None:
        """The sampler's parameters that give `config`; None if it lies outside, or differs in what is not searched."""
        found = {}
        for name, domain in self.items():
            if not config.uses(name):
                continue
            try:
                found[name] = to_parameter(domain, domain.check(getattr(config, name, None)))
            except ConfigError:
                return None
        try:
            same = self.base.replace(**{name: getattr(config, name) for name in found})
        except ConfigError:
            return None
        return found if _configuration(same) == _configuration(config) else None

    # --- grids ------------------------------------------------------------------------------------------------------

    def grid_size(self, points: int = GRID_POINTS) -> int:
        """How many configurations `grid` gives at most; conditional hyperparameters make it fewer."""
        return math.prod(len(grid_values(domain, points)) for domain in self.values())

    def grid(self, points: int = GRID_POINTS) -> list[Config]:
        """All combinations, the last hyperparameter running fastest, as `itertools.product` does it.

        points: how many values a range is cut into, evenly on its scale. Combinations that differ only in what the chosen
        optimizer, schedule or model does not read are one; impossible ones are left out.
        Raises: ConfigError for more than `GRID_LIMIT` combinations.
        """
        if isinstance(points, bool) or not isinstance(points, int) or points < 2:
            raise ConfigError([Problem("points", points, f"points={points!r}: must be a whole number from 2")])
        size = self.grid_size(points)
        if size > GRID_LIMIT:
            message = (
                f"a grid of {size:,} points, and at most {GRID_LIMIT:,} are allowed; search fewer hyperparameters, lower "
                f"points={points}, or take strategy 'random' with as many trials as you have time for"
            )
            raise ConfigError([Problem("space", size, message)])
        found: dict[str, Config] = {}
        for combination in product(*(grid_values(domain, points) for domain in self.values())):
            values = dict(zip(self, combination, strict=True))
            try:
                config = self._resolve(values.__getitem__)
            except ConfigError:
                continue
            found.setdefault(config.model_dump_json(), config)
        return list(found.values())

    # --- changing and keeping ---------------------------------------------------------------------------------------

    def to_json(self) -> str:
        return json.dumps({name: _encoded(domain) for name, domain in self.items()}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, base: Config) -> Space:
        return cls({name: _decoded(record) for name, record in json.loads(text).items()}, base)


def shown(domain: Domain) -> str:
    """A domain as code."""
    if isinstance(domain, Choice):
        return f"wb.Choice({', '.join(map(repr, domain.options))})"
    scale = f", scale={domain.scale!r}" if isinstance(domain, IntRange) and domain.scale != "linear" else ""
    return f"wb.{type(domain).__name__}({domain.low!r}, {domain.high!r}{scale})"


def distribution(domain: Domain) -> BaseDistribution:
    """The optuna distribution of a domain. A range of powers of two is searched by its exponent."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.options)
    if isinstance(domain, Range):
        return FloatDistribution(domain.low, domain.high, log=domain.scale == "log")
    if _by_exponent(domain):
        return IntDistribution(domain.low.bit_length() - 1, domain.high.bit_length() - 1)
    return IntDistribution(domain.low, domain.high, log=domain.scale != "linear")


def _suggested(trial: BaseTrial, name: str, domain: Domain) -> Any:
    """A value out of a domain as the trial's sampler suggests it."""
    if isinstance(domain, Choice):
        return trial.suggest_categorical(name, domain.options)
    if isinstance(domain, Range):
        return trial.suggest_float(name, domain.low, domain.high, log=domain.scale == "log")
    if _by_exponent(domain):
        return 2 ** trial.suggest_int(name, domain.low.bit_length() - 1, domain.high.bit_length() - 1)
    return trial.suggest_int(name, domain.low, domain.high, log=domain.scale != "linear")


def to_parameter(domain: Domain, value: Any) -> Any:
    """The sampler's parameter for a value. Raises: ConfigError for a number between two powers of two."""
    if isinstance(domain, IntRange) and _by_exponent(domain):
        if value & (value - 1):
            raise ConfigError([Problem("value", value, f"{value} is no power of two")])
        return value.bit_length() - 1
    return value


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


def _by_exponent(domain: IntRange) -> bool:
    return domain.scale == "power2" and not (domain.low & (domain.low - 1) or domain.high & (domain.high - 1))


def _options(domain: Domain) -> tuple[Any, ...]:
    return domain.options if isinstance(domain, Choice) else (domain.low, domain.high)


def _declarations(space: Mapping[str, Any], base: Config) -> dict[str, Hyperparameter]:
    """Every hyperparameter that may be searched: the built-in ones, and those of each model that may be drawn."""
    models = space.get("model", [base.model])
    names = models.options if isinstance(models, Choice) else models if isinstance(models, (list, tuple)) else []
    known: dict[str, Hyperparameter] = {}
    for model in [base.model, *(name for name in names if name in CHOICES["model"])]:
        known |= declared(model)
    for field, registry in CHOICES.items():
        drawn = space.get(field, [])
        for name in drawn.options if isinstance(drawn, Choice) else drawn if isinstance(drawn, (list, tuple)) else []:
            if name in registry:
                known |= {
                    own: Hyperparameter(own, domain, "", "", name=own, default=domain.start)
                    for own, domain in registry[name].parameters.items()
                    if own not in known
                }
    return known


def _domain(hyperparameter: Hyperparameter, given: Any) -> Domain:
    """What was given for a hyperparameter as a domain inside its own. Raises: ConfigError."""
    name = hyperparameter.name
    if isinstance(given, (list, tuple)):
        given = Choice(*given)
    if not isinstance(given, (Range, IntRange, Choice)):
        example = "wb.Choice(...)" if hyperparameter.options is not None else "wb.LogRange(1e-4, 1e-1)"
        message = (
            f"{name}={given!r}: must be a range or choices, such as {example} or a list; to hold it, set it in base"
        )
        raise ConfigError([Problem(name, given, message)])
    if isinstance(given, Choice):
        options = [hyperparameter.check(option) for option in given.options]
        return Choice(*dict.fromkeys(options))
    if hyperparameter.options is not None:
        listed = ", ".join(map(repr, hyperparameter.options))
        raise ConfigError([Problem(name, given, f"{name}={given!r}: is chosen by name; use wb.Choice({listed})")])
    if isinstance(hyperparameter.domain, IntRange) and not isinstance(given, IntRange):
        message = f"{name}={given!r}: takes whole numbers; use wb.IntRange(low, high, scale='log')"
        raise ConfigError([Problem(name, given, message)])
    for bound in (given.low, given.high):
        hyperparameter.check(bound)
    return _plain(given)


def _plain(given: Range | IntRange) -> Range | IntRange:
    """A range with plain numbers as its bounds: the log keeps them as JSON, which has none of numpy's."""
    if all(type(bound) in (int, float) for bound in (given.low, given.high)):
        return given
    if isinstance(given, IntRange):
        return replace(given, low=int(given.low), high=int(given.high))
    return replace(given, low=float(given.low), high=float(given.high))


def _named(name: str, message: str) -> str:
    return message if message.startswith(name) else f"{name}: {message}"


def _configuration(config: Config) -> dict[str, Any]:
    """What a result depends on besides the seed: the values that the choices read."""
    return {name: value for name, value in config.model_dump().items() if name != "seed" and config.uses(name)}


def _encoded(domain: Domain) -> dict[str, Any]:
    kind = type(domain).__name__
    if isinstance(domain, Choice):
        return {"kind": kind, "options": list(domain.options)}
    scale = {"scale": domain.scale} if isinstance(domain, IntRange) else {}
    return {"kind": kind, "low": domain.low, "high": domain.high, **scale}


def _decoded(record: Mapping[str, Any]) -> Domain:
    values = dict(record)
    kind = _DOMAINS[values.pop("kind")]
    return Choice(*values["options"]) if kind is Choice else kind(**values)
