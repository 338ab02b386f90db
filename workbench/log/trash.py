"""The trash: trials that were deleted, may be restored, and are removed for good when it is emptied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Select, delete, insert, literal, select

from workbench.core.errors import LogError
from workbench.core.events import ENDED, TrialState
from workbench.log import findings, queries, schema
from workbench.log.conditions import outside_trash, states, trashed
from workbench.log.database import Database
from workbench.log.records import REFIT, chunks, now

__all__ = ["REMOVED", "Trash"]

REMOVED = "removed"
"""The kind of finding that counts trials which are no longer in the log."""


class Trash:
    """Trials that are hidden from all tables until they are restored or removed. session: the one that writes."""

    def __init__(self, database: Database, session: int) -> None:
        self._database = database
        self._session = session

    def delete(self, trials: Sequence[int]) -> None:
        """Move trials to the trash. Raises: LogError, with none moved, if one is unknown, in the trash or unfinished."""
        trials = list(dict.fromkeys(int(trial) for trial in trials))
        with self._database.write(exclusive=True) as connection:
            found = states(connection, trials)
            inside = set(_numbers(connection))
            for trial in trials:
                if trial in inside:
                    raise LogError(f"trial {trial} is in the trash already; bench.trash shows what is there")
                if found[trial] not in ENDED | {TrialState.INTERRUPTED}:
                    raise LogError(f"trial {trial} is {found[trial]}; stop it first")
            _move(connection, trials, "deleted")

    def restore(self, trials: Sequence[int] | None = None) -> list[int]:
        """Take trials, by default all, out of the trash; returns which. Raises: LogError if one is not in it."""
        with self._database.write(exclusive=True) as connection:
            inside = _numbers(connection)
            wanted = inside if trials is None else list(dict.fromkeys(int(trial) for trial in trials))
            for trial in wanted:
                if trial not in inside:
                    raise LogError(f"trial {trial} is not in the trash; bench.trash shows what is there")
            _move(connection, wanted, "restored")
            return wanted

    def empty(self) -> tuple[list[int], list[int]]:
        """Remove the trials in the trash from every table; returns those removed and those kept, ascending.

        Kept are those that a trial outside the trash, or another one that is kept, was made from. How many of the removed ones
        were measured, by task, stays as a finding.
        """
        with self._database.write(exclusive=True) as connection:
            inside = set(_numbers(connection))
            kept = _needed(connection, inside)
            removed = sorted(inside - kept)
            tasks = (connection.execute(_measured(some)).scalars() for some in chunks(removed))
            for task, count in Counter(task for some in tasks for task in some).items():
                findings.add(connection, self._session, REMOVED, {"measured": count}, task)
            _remove(connection, removed)
            return removed, sorted(kept)

    def trials(self) -> pd.DataFrame:
        """The trials in the trash: the columns of `TrialLog.trials`, and `deleted`, the time of deletion."""
        with self._database.read() as connection:
            return queries.deleted(connection)

    def outside(self, trials: Iterable[int]) -> set[int]:
        """Which of some trials are in the log, neither in the trash nor removed from it."""
        column = schema.trials.c.id
        with self._database.read() as connection:
            wanted = [select(column).where(column.in_(some), outside_trash()) for some in chunks(sorted(set(trials)))]
            return {int(trial) for statement in wanted for trial in connection.execute(statement).scalars()}


def _numbers(connection: Connection) -> list[int]:
    """The trials in the trash, ascending."""
    statement = select(schema.trials.c.id).where(schema.trials.c.id.in_(trashed())).order_by(schema.trials.c.id)
    return [int(trial) for trial in connection.execute(statement).scalars()]


def _needed(connection: Connection, inside: set[int]) -> set[int]:
    """Those of the trash that a trial outside it, or another one that is needed, was made from."""
    table = schema.trials
    made = connection.execute(select(table.c.id, table.c.parent).where(table.c.parent.isnot(None)))
    parents = {int(trial): int(parent) for trial, parent in made}
    needed: set[int] = set()
    due = [parent for trial, parent in parents.items() if trial not in inside]
    while due:
        trial = due.pop()
        if trial in inside and trial not in needed:
            needed.add(trial)
            if trial in parents:
                due.append(parents[trial])
    return needed


def _measured(trials: Sequence[int]) -> Select[Any]:
    """The task of each of some trials that was measured on its validation rows: it has an epoch, and is no refit."""
    measured = select(schema.epochs.c.trial).where(schema.epochs.c.trial == schema.trials.c.id).exists()
    own = schema.trials.c.id.in_(trials), schema.trials.c.source != REFIT
    return select(schema.trials.c.task_fingerprint).where(*own, measured)


def _remove(connection: Connection, trials: Sequence[int]) -> None:
    """Delete the rows of trials, ascending, from every table but `purged`, in which they are entered."""
    table = schema.trials
    for some in chunks(trials[::-1]):  # the newest first: a parent goes after, or with, what was made from it
        known = select(table.c.id, table.c.search, table.c.suggestion, literal(now())).where(table.c.id.in_(some))
        columns = [schema.purged.c[name] for name in ("trial", "search", "suggestion", "created")]
        connection.execute(insert(schema.purged).from_select(columns, known))
        for part in (schema.edits, schema.adoptions, schema.events, schema.epochs, schema.ends):
            connection.execute(delete(part).where(part.c.trial.in_(some)))
        connection.execute(delete(table).where(table.c.id.in_(some)))


def _move(connection: Connection, trials: Sequence[int], action: str) -> None:
    if trials:
        rows = [{"trial": trial, "action": action, "created": now()} for trial in trials]
        connection.execute(insert(schema.trash_moves), rows)
