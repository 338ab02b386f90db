"""The trash: trials that were deleted, may be restored, and are removed for good when it is emptied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, literal, select

from workbench.core.errors import LogError
from workbench.core.events import ENDED, TrialState
from workbench.log import findings, history, schema
from workbench.log.records import chunks, now

__all__ = ["REMOVED", "among", "deleted_at", "empty", "move_in", "move_out", "numbers", "trashed"]

REMOVED = "removed"
"""The kind of finding that counts trials which are no longer in the log."""


def trashed() -> Select[Any]:
    """The numbers of the trials in the trash, and of those removed from it, as a subquery."""
    return _moves_in(schema.trash_moves.c.trial)


def numbers(connection: Connection) -> list[int]:
    """The trials in the trash, ascending."""
    statement = select(schema.trials.c.id).where(schema.trials.c.id.in_(trashed())).order_by(schema.trials.c.id)
    return [int(trial) for trial in connection.execute(statement).scalars()]


def among(connection: Connection, trials: Sequence[int]) -> list[int]:
    """Which of some trials are in the trash, in their order."""
    inside = set(numbers(connection))
    return [trial for trial in trials if trial in inside]


def deleted_at(connection: Connection) -> dict[int, str]:
    """When each trial came into the trash, ISO 8601."""
    rows = connection.execute(_moves_in(schema.trash_moves.c.trial, schema.trash_moves.c.created))
    return {int(trial): created for trial, created in rows}


def move_in(connection: Connection, trials: Sequence[int]) -> None:
    """Put trials into the trash. Raises: LogError for one that is unknown, in the trash already, or going on."""
    trials = list(dict.fromkeys(int(trial) for trial in trials))
    states = history.states(connection, trials)
    for trial in among(connection, trials):
        raise LogError(f"trial {trial} is in the trash already; bench.trash shows what is there")
    for trial in trials:
        if states[trial] not in ENDED | {TrialState.INTERRUPTED}:
            raise LogError(f"trial {trial} is {states[trial]}; stop it first")
    _move(connection, trials, "deleted")


def move_out(connection: Connection, trials: Sequence[int] | None) -> list[int]:
    """Take trials, or all, out of the trash; returns which. Raises: LogError for one that is not in it."""
    inside = numbers(connection)
    if trials is None:
        wanted = inside
    else:
        wanted = list(dict.fromkeys(int(trial) for trial in trials))
        for trial in wanted:
            if trial not in inside:
                raise LogError(f"trial {trial} is not in the trash; bench.trash shows what is there")
    _move(connection, wanted, "restored")
    return wanted


def empty(connection: Connection, session: int) -> tuple[list[int], list[int]]:
    """Remove the trials in the trash from every table; returns which, and which were kept.

    Kept are those that a trial outside the trash, or another one that is kept, was made from. How many of the removed ones had
    looked at which validation split stays as a finding of the session.
    """
    inside = set(numbers(connection))
    table = schema.trials
    made = connection.execute(select(table.c.id, table.c.parent).where(table.c.parent.isnot(None)))
    parents = {int(trial): int(parent) for trial, parent in made}
    kept: set[int] = set()
    due = [parent for trial, parent in parents.items() if trial not in inside]
    while due:
        trial = due.pop()
        if trial in inside and trial not in kept:
            kept.add(trial)
            if trial in parents:
                due.append(parents[trial])
    removed = sorted(inside - kept)
    looks = Counter(task for wanted in chunks(removed) for task in connection.execute(_measured(wanted)).scalars())
    for task, count in looks.items():
        findings.add(connection, session, REMOVED, {"looked": count}, task)
    for wanted in chunks(removed[::-1]):  # the newest first: a parent goes after, or with, what was made from it
        known = select(table.c.id, table.c.search, table.c.suggestion, literal(now())).where(table.c.id.in_(wanted))
        columns = [schema.purged.c[name] for name in ("trial", "search", "suggestion", "created")]
        connection.execute(insert(schema.purged).from_select(columns, known))
        for part in (schema.edits, schema.adoptions, schema.events, schema.epochs, schema.ends):
            connection.execute(delete(part).where(part.c.trial.in_(wanted)))
        connection.execute(delete(table).where(table.c.id.in_(wanted)))
    return removed, sorted(kept)


def _measured(trials: Sequence[int]) -> Select[Any]:
    """The task of each of some trials that has an epoch."""
    told = select(schema.epochs.c.trial).where(schema.epochs.c.trial == schema.trials.c.id).exists()
    return select(schema.trials.c.task_fingerprint).where(schema.trials.c.id.in_(trials), told)


def _moves_in(*columns: Any) -> Select[Any]:
    table = schema.trash_moves
    last = select(func.max(table.c.id)).group_by(table.c.trial)
    return select(*columns).where(table.c.id.in_(last), table.c.action == "deleted")


def _move(connection: Connection, trials: Sequence[int], action: str) -> None:
    if trials:
        rows = [{"trial": trial, "action": action, "created": now()} for trial in trials]
        connection.execute(insert(schema.trash_moves), rows)
