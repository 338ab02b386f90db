"""A search space: for some hyperparameters of `Config`, a domain to draw from; all others stay as in the base configuration."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.core.config import CHOICES, HYPERPARAMETERS, Config, unread
from workbench.core.constraint import Constraint
from workbench.core.dimensions import (
    Owner,
    all_values,
    declaration,
    decoded,
    distribution,
    domain_of,
    drawn,
    encoded,
    grid_values,
    owners,
    restricted,
    shown,
    suggested,
    to_parameter,
)  # fmt: skip
from workbench.core.domains import Choice, Domain
from workbench.core.errors import ConfigError, Problem, did_you_mean

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

__all__ = ["GRID_LIMIT", "GRID_POINTS", "Space"]

GRID_LIMIT = 100_000
"""A grid with more points is rejected: it would never end."""
GRID_POINTS = 5


class _TooManyError(Exception):
    """More configurations than are to be listed."""


class Space(Mapping[str, Domain]):
    """Domains by hyperparameter name, in the order given. Immutable.

    space: `wb.Range`, `wb.LogRange`, `wb.IntRange`, `wb.Choice`, or a list of values for each name. base: the configuration that
    the space varies. where: `where(config) -> bool`, which configurations belong to the space; by default all. compared: further
    values of fields that spaces of one comparison have in their bases. Hyperparameters that a choice does not read (momentum
    under Adam) are left out of that trial. Where several models (or losses...) declare a hyperparameter of one name with
    different domains, each is searched in the part that it can take.

    Raises: ConfigError naming the hyperparameter: unknown, a bound or option outside what it may be, or nothing to search.
    """

    def __init__(
        self,
        space: Mapping[str, Any],
        base: Config,
        *,
        where: Constraint | None = None,
        compared: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        problems: list[Problem] = []
        self.base, self.where = base, where
        self._domains: dict[str, Domain] = {}
        self._parts: dict[str, dict[Owner, Domain]] = {}
        self._unread: dict[tuple[Any, ...], frozenset[str]] = {}
        own = owners(space, base, compared or {})
        known = {**HYPERPARAMETERS, **{name: declaration(name, next(iter(of.values()))) for name, of in own.items()}}
        for name, given in space.items():
            if name not in known:
                message = f"unknown hyperparameter {name!r}{did_you_mean(str(name), known)}"
                problems.append(Problem(str(name), given, message))
                continue
            try:
                if len(set(own.get(name, {}).values())) > 1:
                    self._domains[name], self._parts[name] = restricted(name, given, own[name])
                else:
                    self._domains[name] = domain_of(known[name], given)
            except ConfigError as error:
                problems += [Problem(name, given, _named(name, problem.message)) for problem in error.problems]
        if not problems and all(_is_single(domain) for domain in self._domains.values()):
            message = (
                "there is nothing to search: give at least one hyperparameter a range or two choices, such as "
                'space={"learning_rate": wb.LogRange(1e-4, 1e-1)}'
            )
            problems.append(Problem("space", dict(space), message))
        if problems:
            raise ConfigError(problems)
        # what is chosen decides what else counts, so choices are drawn first, the model before its activation
        self._order = sorted(self._domains, key=lambda name: (name not in CHOICES, list(known).index(name)))

    def __getitem__(self, name: str) -> Domain:
        return self._domains[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._domains)

    def __len__(self) -> int:
        return len(self._domains)

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name!r}: {shown(domain)}" for name, domain in self.items()) + "}"

    def _dimension(self, name: str, values: Mapping[str, Any]) -> tuple[str, Domain]:
        """The name and the domain of the parameter for a hyperparameter, where these values are chosen."""
        for (field, choice), part in self._parts.get(name, {}).items():
            if values.get(field, getattr(self.base, field)) == choice:
                return f"{name} of {choice}", part
        return name, self._domains[name]

    def _reads(self, name: str, values: Mapping[str, Any]) -> bool:
        """Whether a hyperparameter is read where these values are chosen."""
        choices = tuple(values.get(field, getattr(self.base, field)) for field in CHOICES)
        if choices not in self._unread:
            self._unread[choices] = unread(dict(zip(CHOICES, choices, strict=True)))
        return name not in self._unread[choices]

    # --- drawing ----------------------------------------------------------------------------------------------------

    def draw(self, trial: BaseTrial) -> Config:
        """One configuration, each value suggested by an optuna trial.

        Raises: ConfigError if the values contradict each other, or the constraint does not allow them.
        """
        return self._allowed(self._resolve(lambda name, domain: suggested(trial, name, domain)))

    def sample(self, generator: np.random.Generator) -> Config:
        """One configuration at random, evenly on the scales. Raises: as `draw`."""
        return self._allowed(self._resolve(lambda _, domain: drawn(domain, generator)))

    def _resolve(self, value: Callable[[str, Domain], Any]) -> Config:
        values: dict[str, Any] = {}
        for name in self._order:
            if self._reads(name, values):
                values[name] = value(*self._dimension(name, values))
        return self.base.replace(**values)

    def _allowed(self, config: Config) -> Config:
        if self.where is None or self.where.allows(config):
            return config
        message = f"where={self.where}: does not allow {config!r}; loosen it, or widen the space"
        raise ConfigError([Problem("where", self.where.text, message)])

    def parameters(self, config: Config) -> dict[str, Any] | None:
        """The sampler's parameters that give `config`; None if it lies outside, or differs in what is not searched."""
        found, values = {}, {}
        for name, label, domain in self._read_by(config):
            try:
                values[name] = domain.check(getattr(config, name, None))
                found[label] = to_parameter(domain, values[name])
            except ConfigError:
                return None
        try:
            same = self._allowed(self.base.replace(**values))
        except ConfigError:
            return None
        return found if _configuration(same) == _configuration(config) else None

    def distributions(self, config: Config) -> dict[str, BaseDistribution]:
        """The optuna distribution of each of `parameters(config)`."""
        return {label: distribution(domain) for _, label, domain in self._read_by(config)}

    def _read_by(self, config: Config) -> list[tuple[str, str, Domain]]:
        values = dict(config)
        return [(name, *self._dimension(name, values)) for name in self if config.uses(name)]

    # --- grids ------------------------------------------------------------------------------------------------------

    def grid_size(self, points: int = GRID_POINTS) -> int:
        """How many configurations `grid` gives at most; conditional hyperparameters and a constraint make it fewer."""
        return math.prod(len(grid_values(domain, points)) for domain in self.values())

    def grid(self, points: int = GRID_POINTS) -> list[Config]:
        """All combinations, the last hyperparameter running fastest, as `itertools.product` does it.

        points: how many values a range is cut into, evenly on its scale. Combinations that differ only in what the chosen
        optimizer, schedule or model does not read are one; impossible ones, and those that the constraint does not allow, are
        left out. Raises: ConfigError for more than `GRID_LIMIT` combinations.
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
        return self._combinations(lambda domain: grid_values(domain, points))

    def configurations(self, most: int) -> list[Config] | None:
        """All configurations of the space in the order of `grid`; None if there are more than `most`, or no end of them."""

        def values_of(domain: Domain) -> Sequence[Any]:
            values = all_values(domain)
            if values is None or len(values) > most:
                raise _TooManyError
            return values

        try:
            return self._combinations(values_of, most)
        except _TooManyError:
            return None

    def _combinations(self, values_of: Callable[[Domain], Sequence[Any]], most: float = math.inf) -> list[Config]:
        """All configurations of some values of each domain. Raises: _TooManyError for more than `most`."""
        found: list[tuple[tuple[int, ...], Config]] = []

        def extend(position: int, values: dict[str, Any], places: dict[str, int]) -> None:
            if position == len(self._order):
                try:
                    config = self._allowed(self.base.replace(**values))
                except ConfigError:
                    return
                found.append((tuple(places.get(name, 0) for name in self), config))
                if len(found) > most:
                    raise _TooManyError
                return
            name = self._order[position]
            if not self._reads(name, values):
                extend(position + 1, values, places)
                return
            for place, value in enumerate(values_of(self._dimension(name, values)[1])):
                extend(position + 1, {**values, name: value}, {**places, name: place})

        extend(0, {}, {})
        return [config for _, config in sorted(found, key=lambda entry: entry[0])]

    # --- keeping ----------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        return json.dumps({name: encoded(domain) for name, domain in self.items()}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, base: Config, **options: Any) -> Space:
        return cls({name: decoded(record) for name, record in json.loads(text).items()}, base, **options)


def _is_single(domain: Domain) -> bool:
    return isinstance(domain, Choice) and len(domain.options) == 1


def _named(name: str, message: str) -> str:
    return message if message.startswith(name) else f"{name}: {message}"


def _configuration(config: Config) -> dict[str, Any]:
    """What a result depends on besides the seed: the values that the choices read."""
    return {name: value for name, value in config.model_dump().items() if name != "seed" and config.uses(name)}
