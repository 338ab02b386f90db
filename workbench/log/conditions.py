"""SQL conditions and subqueries that several reads share: the trash, unfinished trials, the state of a trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, Select, func, select

from workbench.core.errors import LogError
from workbench.core.events import TrialState
from workbench.core.text import counted
from workbench.log import schema
from workbench.log.records import chunks

__all__ = ["check_known", "last_state", "outside_trash", "states", "trash_moves", "trashed", "unfinished"]


def trash_moves(*columns: Any) -> Select[Any]:
    """Columns of the moves by which trials are in the trash, or were removed from it: the last one of each trial."""
    table = schema.trash_moves
    last = select(func.max(table.c.id)).group_by(table.c.trial)
    return select(*columns).where(table.c.id.in_(last), table.c.action == "deleted")


def trashed() -> Select[Any]:
    """The numbers of the trials in the trash, and of those removed from it."""
    return trash_moves(schema.trash_moves.c.trial)


def outside_trash() -> ColumnElement[bool]:
    """Whether a row of `trials` is outside the trash."""
    return schema.trials.c.id.not_in(trashed())


def unfinished() -> Select[Any]:
    """The numbers of the trials without an end."""
    ends = schema.ends
    return select(schema.trials.c.id).where(~select(ends.c.trial).where(ends.c.trial == schema.trials.c.id).exists())


def last_state() -> ScalarSelect[Any]:
    """The last state among a trial's events, NULL before it started; correlated with `trials`."""
    table = schema.events
    states = select(table.c.name).where(table.c.trial == schema.trials.c.id, table.c.kind == "state")
    return states.order_by(table.c.id.desc()).limit(1).correlate(schema.trials).scalar_subquery()


def check_known(connection: Connection, trials: Sequence[int]) -> None:
    """Raise LogError for a number that is not in the log."""
    for some in chunks(trials):
        found = connection.execute(select(schema.trials.c.id).where(schema.trials.c.id.in_(some))).scalars()
        missing = set(some) - set(found)
        if missing:
            count = connection.execute(select(func.count()).select_from(schema.trials)).scalar_one()
            raise LogError(
                f"trial {min(missing)} is not in the log, which has {counted(count, 'trial')}; see bench.trials"
            )


def states(connection: Connection, trials: Sequence[int]) -> dict[int, TrialState]:
    """The state of each trial. Raises: LogError for a number that is not in the log."""
    check_known(connection, trials)
    found: dict[int, TrialState] = {}
    for some in chunks(trials):
        statement = (
            select(schema.trials.c.id, schema.ends.c.state, last_state())
            .outerjoin(schema.ends, schema.ends.c.trial == schema.trials.c.id)
            .where(schema.trials.c.id.in_(some))
        )
        for trial, end, last in connection.execute(statement):
            found[int(trial)] = TrialState(end or last or TrialState.QUEUED)
    return found
