"""The arguments of `bench.search` and `bench.compare` as one value: checked, recorded in the log, and read from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import pandas as pd

from workbench.core.config import Config
from workbench.core.constraint import Constraint
from workbench.core.dimensions import decoded
from workbench.core.errors import ConfigError, LogError, Problem, RunError
from workbench.core.space import Space
from workbench.methods.comparison.reads import Reads
from workbench.methods.search.arm import Arm, Result
from workbench.methods.search.protocol import Budget
from workbench.methods.search.strategies import PRUNERS, STRATEGIES, pruning, strategy
from workbench.runs.arguments import search_numbers
from workbench.runs.session import Session
from workbench.training.losses import resolve_loss

__all__ = ["TRIALS", "SearchRequest", "continued"]

TRIALS = 64
"""Configurations that a search tries if no budget is given."""


@dataclass(frozen=True)
class SearchRequest:
    """The arguments of `bench.search`; see there. field, values, finals: of a fair comparison, see `bench.compare`."""

    strategy: Any
    space: Mapping[str, Any]
    base: Config
    trials: int | None = None
    seconds: float | None = None
    no_improvement: int | None = None
    pruner: Any = None
    seeds: int = 1
    seed: int = 0
    points: int = 5
    cohort: int | None = None
    continues: int | None = None
    name: str = ""
    note: str = ""
    tags: tuple[str, ...] = ()
    device: str = "cpu"
    where: Any = None
    field: str | None = None
    values: tuple[Any, ...] = ()
    finals: int = 0

    def checked(self, session: Session) -> SearchRequest:
        """The same, each value checked, its space apart (see `check_space`). Raises: ConfigError naming
        the argument."""
        numbers = search_numbers({field.name: getattr(self, field.name) for field in fields(self)})
        where = self.where if self.where is None or isinstance(self.where, Constraint) else Constraint(self.where)
        return replace(self, base=resolve_loss(self.base, session.task.kind), where=where, **numbers)

    def spaces(self) -> list[Space]:
        """The space of a search; those of a comparison, one for each value. Raises: ConfigError naming the hyperparameter."""
        if self.field is None:
            return [self._space(self.base)]
        return [self._space(self.base.replace(**{self.field: value})) for value in self.values]

    def _space(self, base: Config) -> Space:
        compared = {} if self.field is None else {self.field: self.values}
        return Space(self.space, base, where=self.where, compared=compared)

    @property
    def budget(self) -> Budget:
        unlimited = self.trials is None and self.seconds is None and self.no_improvement is None
        count = TRIALS if unlimited and strategy(self.strategy).sampler is not None else self.trials
        return Budget(count, self.seconds, self.no_improvement)

    @property
    def label(self) -> str:
        """The name of the strategy in the log."""
        return strategy(self.strategy).name if self.field is None else f"compare {self.field}"

    def options(self) -> dict[str, Any]:
        """The entries of `bench.searches`, from which `continues=` reads the arguments."""
        own_pruner = pruning(self.pruner)
        space = self._space(self.base)
        compared = (
            {} if self.field is None else {"compare": self.field, "values": list(self.values), "finals": self.finals}
        )
        if self.field is not None:
            compared["nuisance"] = {name: repr(domain) for name, domain in space.items()}
        return {
            "space": None if self.field is not None else json.loads(space.to_json()),
            "base": self.base.model_dump(),
            "budget_trials": self.budget.trials,
            "budget_seconds": self.seconds,
            "no_improvement": self.no_improvement,
            "pruner": None if own_pruner is None else own_pruner.name,
            "seeds": self.seeds,
            "seed": self.seed,
            "points": self.points,
            "where": None if self.where is None else self.where.text,
            **compared,
        }

    def record(self) -> dict[str, Any]:
        """The whole request as JSON values, from which the same search can be rebuilt.

        A sampler, pruner or constraint of the user cannot be stored; its entry is "own", or the text of the constraint.
        """
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        own = {name: "own" for name in ("strategy", "pruner") if not isinstance(plain[name], (str, type(None)))}
        space = json.loads(self._space(self.base).to_json())
        where = None if self.where is None else self.where.text
        return {**plain, **own, "base": self.base.model_dump(), "space": space, "where": where}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> SearchRequest:
        """Rebuild a request from its record. Raises: RunError if it used a sampler, pruner or constraint of the user."""
        for name in ("strategy", "pruner"):
            if record[name] == "own":
                kind = "sampler" if name == "strategy" else "pruner"
                message = f"it used a {kind} object of yours, which a log cannot store"
                raise RunError(f"{message}; continue it with bench.search(continues=..., {name}=...)")
        if record["where"] is not None:
            message = f"it had the constraint where={record['where']}, which a log stores as text only"
            raise RunError(f"{message}; continue it with bench.search(continues=..., where=...)")
        base = Config(**record["base"])
        space = {name: decoded(domain) for name, domain in record["space"].items()}
        tuples = {name: tuple(record[name]) for name in ("tags", "values")}
        return cls(**{**record, **tuples, "base": base, "space": space})

    def arms(
        self, session: Session, results: Sequence[Result], done: int, tried: Sequence[Config], drawn: int
    ) -> list[Arm]:
        """The sources of its configurations, one or one for each value that is compared, which have learned from `results`.

        done: configurations that were drawn before, by the searches that it continues; drawn: those of them that were drawn
        from the same space in the same way. tried: those that were trained.
        """
        way, pruner = strategy(self.strategy), pruning(self.pruner)
        better, points = Reads.of(session).better, self.points
        spaces = self.spaces()
        limit = self.trials // len(spaces) if self.field is not None and self.trials is not None else None
        arms = [
            Arm(
                space, way, better=better, seed=self.seed, pruner=pruner, points=points, tried=tried, limit=limit,
                done=done if way.learns else drawn,
            )
            for space in spaces
        ]  # fmt: skip
        for arm in arms:
            arm.learn(results)
        return arms


def continued(session: Session, number: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an earlier search, replaced by those that are given.

    Raises: LogError for an unknown number; ConfigError if it used a sampler or pruner object, which has to be given again.
    """
    frame = session.log.searches.table()
    rows = frame[frame["search"] == number]
    if rows.empty:
        raise LogError(f"search {number} is not in the log; see bench.searches")
    row = rows.iloc[0]
    session.recall.check_task(f"search {number}", row["task_fingerprint"])
    if row["space"] is None:
        raise LogError(f"search {number} is a comparison, which cannot be continued; start a new one")
    base = given.get("base") or Config(**row["base"])
    space = given.get("space") or {name: decoded(domain) for name, domain in row["space"].items()}
    kept = {name: row[name] for name in ("strategy", "pruner", "seeds", "seed", "points")}
    kept = {name: int(v) if name in ("seeds", "seed", "points") else v for name, v in kept.items()}
    kept["pruner"] = kept["pruner"] if isinstance(kept["pruner"], str) else None
    if isinstance(row["where"], str) and "where" not in given:
        message = f"search {number} had the constraint where={row['where']}, which a log stores as text only"
        remedy = f"give it again: bench.search(continues={number}, where=...), or where=None to drop it"
        raise ConfigError([Problem("where", row["where"], f"{message}; {remedy}")])
    for argument, what, known in (("strategy", "sampler", STRATEGIES), ("pruner", "pruner", PRUNERS)):
        name = kept[argument]
        if argument not in given and name is not None and name not in known:
            message = f"search {number} used a {what} object of yours ({name}), which a log cannot store"
            remedy = f"give it again: bench.search({argument}=..., continues={number})"
            raise ConfigError([Problem(argument, name, f"{message}; {remedy}")])
    return {**kept, **given, "base": base, "space": space, "continues": _root(frame, number)}


def _root(frame: pd.DataFrame, number: int) -> int:
    """The first of a chain of searches that continue each other: all their trials carry its number."""
    continues = dict(zip(frame["search"], frame["continues"], strict=True))
    while not pd.isna(continues[number]):
        number = int(continues[number])
    return number
