"""The searches of a log, and the journal of each: entries that are added in order and read back in order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from sqlalchemy import Connection, func, insert, select

from workbench.core.errors import LogError
from workbench.core.events import EpochEnd, Event, TrialEnded
from workbench.log import schema
from workbench.log.conditions import outside_trash
from workbench.log.database import Database
from workbench.log.records import SearchStep, now

__all__ = ["Searches", "add_step", "moment", "steps"]


class Searches:
    """Searches and their journals. session: the one that writes."""

    def __init__(self, database: Database, session: int) -> None:
        self._database = database
        self._session = session

    def create(
        self, strategy: str, options: Mapping[str, Any], *, task_fingerprint: str, continues: int | None = None
    ) -> int:
        """Record a new search; returns its number. options: JSON values with which the search can be repeated."""
        values = {
            "session": self._session,
            "created": now(),
            "task_fingerprint": task_fingerprint,
            "strategy": strategy,
            "continues": continues,
            "options": json.dumps(dict(options), ensure_ascii=False),
        }
        statement = insert(schema.searches).values(values).returning(schema.searches.c.id)
        with self._database.write() as connection:
            return int(connection.execute(statement).scalar_one())

    def table(self) -> pd.DataFrame:
        """One row a search: number, strategy, options, how many trials of it are outside the trash, and why it ended early or has
        no result ("" otherwise)."""
        columns = ("id", "strategy", "continues", "options", "created", "task_fingerprint")
        searches = select(*(schema.searches.c[name] for name in columns)).order_by(schema.searches.c.id)
        trials = select(schema.trials.c.search, func.count()).where(schema.trials.c.search.isnot(None), outside_trash())
        with self._database.read() as connection:
            rows = connection.execute(searches).all()
            counts = {int(search): int(n) for search, n in connection.execute(trials.group_by(schema.trials.c.search))}
            ended = select(schema.search_steps.c.search, schema.search_steps.c.data)
            found = connection.execute(ended.where(schema.search_steps.c.kind == "ending"))
            endings = {int(search): json.loads(data)["reason"] for search, data in found}
        frame = pd.DataFrame(rows, columns=["search", *columns[1:]]).astype({"continues": "Int64"})
        options = pd.DataFrame([json.loads(text) for text in frame.pop("options")], index=frame.index)
        frame.insert(3, "trials", [counts.get(int(search), 0) for search in frame["search"]])
        frame.insert(4, "ending", [endings.get(int(search), "") for search in frame["search"]])
        frame["created"] = pd.to_datetime(frame["created"], format="ISO8601", utc=True)
        return pd.concat([frame, options], axis=1)

    def suggestions(self, search: int) -> int:
        """How many configurations of a search have been started, those of removed trials included."""
        counts = [0]
        with self._database.read() as connection:
            for table in (schema.trials, schema.purged):
                statement = select(func.max(table.c.suggestion) + 1).where(table.c.search == search)
                counts.append(connection.execute(statement).scalar() or 0)
        return max(counts)

    def trials(self, search: int) -> list[int]:
        """The trials of a search, those in the trash included."""
        statement = select(schema.trials.c.id).where(schema.trials.c.search == search).order_by(schema.trials.c.id)
        with self._database.read() as connection:
            return [int(trial) for (trial,) in connection.execute(statement)]

    def add_step(self, step: SearchStep) -> None:
        """Add an entry to the journal of a search. Raises: LogError for an unknown search."""
        with self._database.write() as connection:
            add_step(connection, step)

    def steps(self, search: int) -> list[SearchStep]:
        """The journal of a search, in order; empty for an unknown one."""
        with self._database.read() as connection:
            return steps(connection, search)


def add_step(connection: Connection, step: SearchStep) -> None:
    """Add an entry to the journal of a search. Raises: LogError for an unknown search."""
    if connection.execute(select(schema.searches.c.id).where(schema.searches.c.id == step.search)).first() is None:
        raise LogError(f"search {step.search} is not in the log; see bench.searches")
    data = json.dumps(dict(step.data), ensure_ascii=False)
    values = {"search": step.search, "kind": step.kind, "data": data, "created": now()}
    connection.execute(insert(schema.search_steps).values(values))


def steps(connection: Connection, search: int) -> list[SearchStep]:
    """The journal of a search, in order."""
    table = schema.search_steps
    statement = select(table.c.kind, table.c.data, table.c.created).where(table.c.search == search).order_by(table.c.id)
    return [
        SearchStep(search, kind, json.loads(data), created) for kind, data, created in connection.execute(statement)
    ]


def moment(search: int, events: Iterable[Event]) -> SearchStep | None:
    """The entry for events that reach a search together; None when no epoch and no trial ended in them."""
    trials: dict[str, list[int]] = {"epochs": [], "ends": []}
    for event in events:
        if isinstance(event, EpochEnd):
            trials["epochs"].append(event.trial)
        elif isinstance(event, TrialEnded):
            trials["ends"].append(event.trial)
    return SearchStep(search, "moment", trials) if any(trials.values()) else None
