"""The trial log: append-only events of every trial, manual or automated, in a transactional database."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Table, insert, select

from workbench.core.events import Event, TrialState
from workbench.log import findings, queries, schema
from workbench.log.conditions import check_known, states
from workbench.log.database import Database
from workbench.log.findings import Check, Finding
from workbench.log.history import History
from workbench.log.ownership import Ownership, log_identity, renew
from workbench.log.records import (
    NewTrial,
    SearchStep,
    TrialRecord,
    at_validation,
    chunks,
    event_rows,
    now,
    read_config,
    trial_row,
    waves,
)
from workbench.log.results import Results
from workbench.log.rules import create_or_check
from workbench.log.searches import Searches, add_step, moment
from workbench.log.trash import Trash

__all__ = ["TrialLog"]


class TrialLog:
    """All trials, kept. Made by `TrialLog.open`; may be used from several threads and processes at once.

    results: the scores of a task's trials. history: what trials went through. searches: searches and their journals.
    ownership: which session an unfinished trial belongs to. trash: deleted trials. database: its transactions.
    """

    def __init__(self, target: str | os.PathLike[str] | None) -> None:
        self.database = Database(target)
        try:
            with self.database.write() as connection:
                create_or_check(connection, self.database.name)
            self.ownership = Ownership(self.database)
            self._session = self.ownership.session
            self.results = Results(self.database)
            self.history = History(self.database)
            self.searches = Searches(self.database, self._session)
            self.trash = Trash(self.database, self._session)
            self.ownership.mark_interrupted()
        except BaseException:
            self.database.close()
            raise

    @classmethod
    def open(cls, target: str | os.PathLike[str] | None) -> TrialLog:
        """Open or create a log, and record the trials of processes that died as interrupted.

        target: a path (SQLite), an SQLAlchemy URL, or None for a log in memory. Raises: LogError naming the path and the
        remedy: missing or read-only folder, a file that is no database, a database of something else, another schema.
        """
        return cls(target)

    @property
    def url(self) -> str:
        """Where the log is; a password is shown as ***."""
        return self.database.url

    @property
    def identity(self) -> str:
        """A short name of the log, which no other log has."""
        with self.database.read() as connection:
            return log_identity(connection)

    def close(self) -> None:
        """Close the database's connections."""
        self.database.close()

    def run_ended(self) -> None:
        """Bring the database file up to date after a run, so that a copy without its `-wal` file holds the run."""
        self.database.checkpoint_wal()

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the log, as it is now, to a new SQLite file; trials may train meanwhile.

        path: of the copy. Raises: LogError if the file exists or cannot be written, or the log is on a PostgreSQL server.
        """
        self.database.backup(path)

    def __repr__(self) -> str:
        return f"<TrialLog {self.url}>"

    # --- writing ----------------------------------------------------------------------------------------------------

    def next_cohort(self) -> int:
        """A number for trials that train together, never given twice."""
        statement = insert(schema.cohorts).values(created=now()).returning(schema.cohorts.c.id)
        with self.database.write() as connection:
            return int(connection.execute(statement).scalar_one())

    def create(
        self,
        trials: Sequence[NewTrial],
        *,
        step: SearchStep | None = None,
        events: Callable[[Sequence[int]], Sequence[Event]] = lambda numbers: (),
    ) -> list[int]:
        """Record new trials as queued, in one transaction. Returns their numbers, which ascend in the order given.

        events: the first events of the trials, by their numbers; the end too of one that cannot
        be trained. step: an entry for a search's journal, made in the same
        transaction with the numbers as `data["trials"]`. Raises: ValueError for a replicate that does not come after what it
        replicates.
        """
        if not trials and step is None:
            return []
        parts = list(waves(trials))
        statement = insert(schema.trials).returning(schema.trials.c.id, sort_by_parameter_order=True)
        numbers: list[int] = []
        with self.database.write() as connection:
            renew(connection, self._session)  # the owner of new trials has a lease by the database's clock
            for part in parts:
                rows = [trial_row(trial, numbers, self._session) for trial in part]
                numbers += [int(number) for (number,) in connection.execute(statement, rows)] if rows else []
            if step is not None:
                add_step(connection, step._replace(data={**step.data, "trials": numbers}))
            _insert(connection, event_rows(events(numbers)))
        return numbers

    def append(self, events: Iterable[Event], *, search: int | None = None) -> None:
        """Write events in one transaction: when this returns, they are kept.

        Step progress is not kept. search: the search whose journal gets an entry "moment" of the epochs and ends among the
        events. Raises: LogError if a trial is unknown or has ended, or the database cannot be written; nothing of `events` is
        written then.
        """
        events = list(events)
        rows = event_rows(events)
        if not rows:
            return
        step = None if search is None else moment(search, events)
        with self.database.write() as connection:
            _insert(connection, rows)
            if step is not None:
                add_step(connection, step)

    def annotate(
        self, trial: int, *, name: str | None = None, note: str | None = None, tags: Sequence[str] | None = None
    ) -> None:
        """Give a trial another name, note or tags; what is None stays. Raises: LogError for an unknown trial."""
        encoded = None if tags is None else json.dumps(list(tags), ensure_ascii=False)
        values = {"name": name, "note": note, "tags": encoded}
        rows = [
            {"trial": trial, "field": field, "value": value, "created": now()}
            for field, value in values.items()
            if value is not None
        ]
        if rows:
            with self.database.write() as connection:
                check_known(connection, [trial])
                connection.execute(insert(schema.edits), rows)

    def add_finding(
        self, kind: str, data: Mapping[str, Any], *, task_fingerprint: str, check: Check = lambda earlier: None
    ) -> int:
        """Add a result that was found after the training; returns its number. data: JSON values.

        check: called with the log's earlier findings of the kind, of all tasks, in the same transaction; nothing is added
        when it raises.
        """
        with self.database.write(exclusive=True) as connection:
            check(findings.read(connection, kind, None))
            return findings.add(connection, self._session, kind, data, task_fingerprint)

    # --- reading ----------------------------------------------------------------------------------------------------

    def trials(self, *, task_fingerprint: str | None = None, last: int | None = None) -> pd.DataFrame:
        """One row a trial outside the trash: what it is, its hyperparameters, its results. Ordered by number.

        task_fingerprint: only those on this task. last: only so many, the newest.
        """
        with self.database.read() as connection:
            return queries.trials(connection, task_fingerprint, last)

    def curves(self, *trials: int) -> pd.DataFrame:
        """One row an epoch of the given trials, or of all outside the trash. Raises: LogError for an unknown trial."""
        with self.database.read() as connection:
            return queries.curves(connection, trials)

    def events(self, *trials: int) -> pd.DataFrame:
        """State changes, live changes, branches and messages of the given trials, or of all outside the trash.

        Raises: LogError for an unknown trial.
        """
        with self.database.read() as connection:
            return queries.events(connection, trials)

    def findings(self, kind: str | None = None, task_fingerprint: str | None = None) -> list[Finding]:
        """Results that were found after the training, in order. None: of every kind, on every task."""
        with self.database.read() as connection:
            return findings.read(connection, kind, task_fingerprint)

    def record(self, trial: int) -> TrialRecord:
        """What was recorded when a trial was created. Raises: LogError for an unknown trial."""
        trial = int(trial)  # a number out of a table is one of numpy's
        with self.database.read() as connection:
            check_known(connection, [trial])
            return _records(connection, [trial])[trial]

    def records(self, trials: Sequence[int]) -> dict[int, TrialRecord]:
        """What was recorded when each of some trials was created, by number; unknown numbers are left out."""
        with self.database.read() as connection:
            return _records(connection, trials)

    def builder_source(self, trial: int) -> str | None:
        """The source text of the user's model builder, None for a built-in model. Raises: LogError if unknown."""
        column = schema.trials.c.builder_source
        with self.database.read() as connection:
            check_known(connection, [trial])
            source = connection.execute(select(column).where(schema.trials.c.id == int(trial))).scalar_one()
        return None if source is None else str(source)

    def state(self, trial: int) -> TrialState:
        """The state of a trial. Raises: LogError for an unknown trial."""
        with self.database.read() as connection:
            return states(connection, [trial])[trial]

    def traceback(self, trial: int) -> str:
        """The Python traceback of a failed trial, "" for any other. Raises: LogError for an unknown trial."""
        statement = select(schema.ends.c.traceback).where(schema.ends.c.trial == int(trial))
        with self.database.read() as connection:
            check_known(connection, [trial])
            return connection.execute(statement).scalar() or ""


def _records(connection: Connection, trials: Sequence[int]) -> dict[int, TrialRecord]:
    table = schema.trials
    columns = (table.c.id, table.c.config, *(table.c[name] for name in TrialRecord._fields[1:]))
    rows = (row for some in chunks(trials) for row in connection.execute(select(*columns).where(table.c.id.in_(some))))
    return {int(trial): TrialRecord(read_config(config), *values) for trial, config, *values in rows}


def _insert(connection: Connection, rows: Mapping[Table, list[dict[str, Any]]]) -> None:
    """Insert the rows of events; an end gets the results of the epochs before it."""
    for table, group in rows.items():
        if table is schema.ends:
            for row in group:
                row.update(_last_epoch(connection, row["trial"], row["best_epoch"]))
        connection.execute(insert(table), group)


def _last_epoch(connection: Connection, trial: int, best_epoch: int) -> dict[str, Any]:
    """The results of a trial's last epoch and the metrics at the best one: written with the end, so that tables need not look
    for them."""
    table, names = schema.epochs, ("train_loss", "val_loss", "val_metric")
    statement = select(*(table.c[name] for name in names)).where(table.c.trial == trial)
    row = connection.execute(statement.order_by(table.c.epoch.desc()).limit(1)).first()
    best = select(table.c.metrics).where(table.c.trial == trial, table.c.epoch == best_epoch)
    metrics = at_validation(connection.execute(best).scalar() or "{}")
    return {**(dict(row._mapping) if row else dict.fromkeys(names)), "metrics": json.dumps(metrics)}
