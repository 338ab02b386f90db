"""The journal of a search: entries that are added in order and read back in order."""

from __future__ import annotations

import json
from collections.abc import Iterable

from sqlalchemy import Connection, insert, select

from workbench.core.errors import LogError
from workbench.core.events import EpochEnd, Event, TrialEnded
from workbench.log import schema
from workbench.log.records import SearchStep, now

__all__ = ["add", "moment", "steps"]


def add(connection: Connection, step: SearchStep) -> None:
    """Raises: LogError for an unknown search."""
    if connection.execute(select(schema.searches.c.id).where(schema.searches.c.id == step.search)).first() is None:
        raise LogError(f"search {step.search} is not in the log; see bench.searches")
    data = json.dumps(dict(step.data), ensure_ascii=False)
    values = {"search": step.search, "kind": step.kind, "data": data, "created": now()}
    connection.execute(insert(schema.search_steps).values(values))


def steps(connection: Connection, search: int) -> list[SearchStep]:
    table = schema.search_steps
    statement = select(table.c.kind, table.c.data, table.c.created).where(table.c.search == search).order_by(table.c.id)
    return [
        SearchStep(search, kind, json.loads(data), created) for kind, data, created in connection.execute(statement)
    ]


def moment(search: int, events: Iterable[Event]) -> SearchStep | None:
    """The entry of events that a search heard together; None when no epoch and no trial ended in them."""
    told: dict[str, list[int]] = {"epochs": [], "ends": []}
    for event in events:
        if isinstance(event, EpochEnd):
            told["epochs"].append(event.trial)
        elif isinstance(event, TrialEnded):
            told["ends"].append(event.trial)
    return SearchStep(search, "moment", told) if any(told.values()) else None
