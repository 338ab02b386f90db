"""Whether a space has a configuration that a task can train, before its search begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from workbench.core.config import Config
from workbench.core.constraint import ConstraintError
from workbench.core.errors import ConfigError, ModelError, Problem
from workbench.core.space import Space
from workbench.core.text import counted
from workbench.methods.search.arm import FINITE, REJECTIONS

__all__ = ["check_space"]

BUILT = 30
"""At most so many models are built to find one that can be: the rest is left to the search."""


def check_space(
    space: Space, check: Callable[[Config], Config], build: Callable[[Config], object], seed: int = 0
) -> None:
    """Check that one of the configurations of a space can be trained, and its model built.

    All of them are looked at, or `REJECTIONS` random ones of very many. check: the checks that need no model. build: builds it.
    Raises: ConfigError naming the hyperparameter of which no value can be used, its values and the reason; ModelError if no
    model can be built.
    """
    found: list[Problem] = []
    unbuilt: list[ConfigError | ModelError] = []
    try:
        for config in _candidates(space, np.random.default_rng(seed), found):
            try:
                checked = check(config)
            except ConfigError as error:
                found += error.problems
                continue
            try:
                build(checked)
            except (ConfigError, ModelError) as error:
                unbuilt.append(error)
                if len(unbuilt) < BUILT:
                    continue
                break
            return
    except ConstraintError as error:
        raise ConfigError([Problem("where", str(space.where), str(error))]) from error
    if unbuilt:
        raise unbuilt[-1]
    raise ConfigError([_reason(space, found)])


def _candidates(space: Space, generator: np.random.Generator, found: list[Problem]) -> Iterator[Config]:
    """Configurations in random order. found: gets what makes others impossible."""
    listed = space.configurations(FINITE)
    if listed:
        yield from (listed[place] for place in generator.permutation(len(listed)))
        return
    for _ in range(REJECTIONS):
        try:
            config = space.sample(generator)
        except ConfigError as error:
            found += error.problems
            continue
        yield config


def _reason(space: Space, found: list[Problem]) -> Problem:
    """Why no configuration can be used: the hyperparameter with its values, or the constraint."""
    fields = [problem.field for problem in found]
    field = max(dict.fromkeys(fields), key=lambda name: (name in space, fields.count(name)))
    first = next(problem for problem in found if problem.field == field)
    if field == "where":
        message = f"where={space.where}: none of {counted(len(found), 'configuration')} that were drawn satisfies it; "
        return Problem(field, first.value, f"{message}loosen it, or widen the space")
    if field not in space:
        return first
    values: list[Any] = []
    for problem in found:
        if problem.field == field and problem.value not in values:
            values.append(problem.value)
    shown = ", ".join(map(repr, values[:5])) + (", ..." if len(values) > 5 else "")
    return Problem(field, values, f"{field}: no value of the space can be used, of {shown}: {first.message}")
