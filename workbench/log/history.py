"""Where trials stand and what they went through: reads that are no DataFrames, for those who go on with a trial."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, ScalarSelect, Select, func, select

from workbench.core.errors import LogError
from workbench.core.events import TrialEnded, TrialState
from workbench.core.text import counted
from workbench.log import schema
from workbench.log.records import chunks

__all__ = [
    "changes",
    "check_known",
    "ends",
    "last_state",
    "members",
    "origin",
    "pairs",
    "script",
    "seats",
    "states",
    "together",
    "unfinished",
]


def check_known(connection: Connection, trials: Sequence[int]) -> None:
    """Raises: LogError for a number that is not in the log."""
    for wanted in chunks(trials):
        found = connection.execute(select(schema.trials.c.id).where(schema.trials.c.id.in_(wanted))).scalars()
        missing = set(wanted) - set(found)
        if missing:
            count = connection.execute(select(func.count()).select_from(schema.trials)).scalar_one()
            raise LogError(
                f"trial {min(missing)} is not in the log, which has {counted(count, 'trial')}; see bench.trials"
            )


def unfinished() -> Select[Any]:
    """The numbers of the trials without an end."""
    ends = schema.ends
    return select(schema.trials.c.id).where(~select(ends.c.trial).where(ends.c.trial == schema.trials.c.id).exists())


def last_state() -> ScalarSelect[Any]:
    """The state that a trial told last, NULL before it started; correlated with `trials`."""
    table = schema.events
    told = select(table.c.name).where(table.c.trial == schema.trials.c.id, table.c.kind == "state")
    return told.order_by(table.c.id.desc()).limit(1).correlate(schema.trials).scalar_subquery()


def states(connection: Connection, trials: Sequence[int]) -> dict[int, TrialState]:
    """Where trials stand. Raises: LogError for a number that is not in the log."""
    check_known(connection, trials)
    found: dict[int, TrialState] = {}
    for wanted in chunks(trials):
        statement = (
            select(schema.trials.c.id, schema.ends.c.state, last_state())
            .outerjoin(schema.ends, schema.ends.c.trial == schema.trials.c.id)
            .where(schema.trials.c.id.in_(wanted))
        )
        for trial, end, told in connection.execute(statement):
            found[int(trial)] = TrialState(end or told or TrialState.QUEUED)
    return found


def seats(connection: Connection, trials: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Series and offset that each trial took last; trials that never joined a cohort are left out."""
    table = schema.events
    found: dict[int, tuple[int, int]] = {}
    for wanted in chunks(trials):
        statement = (
            select(table.c.trial, table.c.name, table.c.epoch)
            .where(table.c.kind == "cohort", table.c.trial.in_(wanted))
            .order_by(table.c.id)
        )
        for trial, series, after in connection.execute(statement):
            if series:
                found[int(trial)] = (int(series), int(after))
            else:  # it left
                found.pop(int(trial), None)
    return found


def together(connection: Connection, trial: int) -> int:
    """The most rows that a cohort had, of those a trial was in: 1 if it has always trained alone."""
    table = schema.events
    statement = select(func.max(table.c.step)).where(table.c.kind == "cohort", table.c.trial == trial)
    most = int(connection.execute(statement).scalar() or 1)
    seat = seats(connection, [trial]).get(trial)
    return most if seat is None else max(most, len(members(connection, seat[0])))


def origin(connection: Connection, trial: int) -> tuple[int, int] | None:
    """The trial and epoch that a branch began from, wherever these are now; None for any other trial."""
    table = schema.events
    statement = select(table.c.name, table.c.epoch).where(table.c.kind == "branch", table.c.trial == trial)
    row = connection.execute(statement.order_by(table.c.id).limit(1)).first()
    return None if row is None else (int(row[0]), int(row[1]))


def members(connection: Connection, series: int) -> dict[int, int]:
    """The trials that joined a series last, ascending, each with its `after` (see `events.CohortJoined`)."""
    table = schema.events
    statement = select(table.c.trial).where(table.c.kind == "cohort", table.c.name == str(series)).distinct()
    ever = [int(trial) for trial in connection.execute(statement).scalars()]
    return {trial: after for trial, (last, after) in sorted(seats(connection, ever).items()) if last == series}


def ends(connection: Connection, trials: Sequence[int]) -> dict[int, TrialEnded]:
    """The end of each trial that has ended."""
    names = [field.name for field in fields(TrialEnded)]
    found: dict[int, TrialEnded] = {}
    for wanted in chunks(trials):
        statement = select(*(schema.ends.c[name] for name in names)).where(schema.ends.c.trial.in_(wanted))
        for row in connection.execute(statement):
            values: dict[str, Any] = {
                name: math.nan if value is None else value for name, value in row._mapping.items()
            }
            found[int(row.trial)] = TrialEnded(**{**values, "state": TrialState(row.state)})
    return found


def changes(connection: Connection, trial: int) -> list[tuple[int, str, float]]:
    """A trial's live changes in order: step, hyperparameter, new value."""
    table = schema.events
    statement = (
        select(table.c.step, table.c.name, table.c.new)
        .where(table.c.kind == "change", table.c.trial == trial)
        .order_by(table.c.id)
    )
    rows = connection.execute(statement)
    return [(int(step), str(name), math.nan if new is None else float(new)) for step, name, new in rows]


def script(connection: Connection, trial: int) -> tuple[list[tuple[int, str, float]], int | None]:
    """The changes that a trial was started with, to be made by themselves, and the step to stop after."""
    table = schema.events
    statement = select(table.c.message).where(table.c.kind == "script", table.c.trial == trial)
    message = connection.execute(statement.order_by(table.c.id.desc()).limit(1)).scalar()
    if message is None:
        return [], None
    told = json.loads(message)
    return [(int(step), str(name), float(value)) for step, name, value in told["changes"]], told["stop_after"]


def pairs(message: str) -> dict[str, tuple[Any, Any]]:
    """Old and new value by field, from the message of a branch."""
    return {field: (old, new) for field, (old, new) in json.loads(message).items()}
