"""The trial log: append-only events of every attempt, manual or automated, in a transactional database."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
from sqlalchemy import Connection, CursorResult, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from workbench.core.direction import Better
from workbench.core.errors import LogError
from workbench.core.events import Event, TrialEnded, TrialState
from workbench.log import findings, heartbeat, history, journal, queries, schema, trash
from workbench.log.database import backup, checkpoint_wal, explain, make_engine, shown_url, where
from workbench.log.findings import Check, Finding
from workbench.log.records import ID_CHUNK, NewTrial, SearchStep, event_rows, now, trial_row, waves
from workbench.log.rules import create_or_check

__all__ = ["TrialLog"]


class TrialLog:
    """Every attempt, kept. Made by `TrialLog.open`; may be used from several threads and processes at once."""

    def __init__(self, target: str | os.PathLike[str] | None) -> None:
        self._name = where(target)
        self._engine = make_engine(target)
        self._writing = self._engine.execution_options(writes=True)
        # in memory all threads share one connection, so they take turns; a file has a connection each
        self._turn = threading.RLock()
        self._shared = target is None
        try:
            with self._write() as connection:
                create_or_check(connection, self._name)
                self._session = heartbeat.register(connection)
            self.mark_interrupted()
        except BaseException:
            self._engine.dispose()
            raise

    @classmethod
    def open(cls, target: str | os.PathLike[str] | None) -> TrialLog:
        """Open or create a log, and tell the trials of processes that died as interrupted.

        target: a path (SQLite), an SQLAlchemy URL, or None for a log in memory. Raises: LogError naming the path and the
        remedy: missing or read-only folder, a file that is no database, a database of something else, a newer schema.
        """
        return cls(target)

    @property
    def url(self) -> str:
        """Where the log is; a password is shown as ***."""
        return shown_url(self._engine.url)

    def close(self) -> None:
        """Give the database's connections back."""
        self._engine.dispose()

    def run_ended(self) -> None:
        """Bring the database file up to date after a run, so that a copy without its `-wal` file holds the run."""
        if not self._shared:
            checkpoint_wal(self._engine)

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the log, as it is now, to a new SQLite file; trials may train meanwhile.

        path: of the copy. Raises: LogError if the file exists or cannot be written, or the log is on a PostgreSQL server.
        """
        with self._turn:
            backup(self._engine, path, self._name)

    def __repr__(self) -> str:
        return f"<TrialLog {self.url}>"

    # --- writing ----------------------------------------------------------------------------------------------------

    def next_cohort(self) -> int:
        """A number for trials that train together, never given twice."""
        with self._write() as connection:
            return _inserted(connection.execute(insert(schema.cohorts).values(created=now())))

    def create_search(
        self, strategy: str, options: Mapping[str, Any], *, task_fingerprint: str, continues: int | None = None
    ) -> int:
        """Enter a search; returns its number. options: JSON values that tell how to do it again."""
        values = {
            "session": self._session,
            "created": now(),
            "task_fingerprint": task_fingerprint,
            "strategy": strategy,
            "continues": continues,
            "options": json.dumps(dict(options), ensure_ascii=False),
        }
        with self._write() as connection:
            return _inserted(connection.execute(insert(schema.searches).values(values)))

    def create(
        self,
        trials: Sequence[NewTrial],
        *,
        step: SearchStep | None = None,
        events: Callable[[Sequence[int]], Sequence[Event]] = lambda numbers: (),
    ) -> list[int]:
        """Enter trials as queued, in one transaction. Returns their numbers, which ascend in the order given.

        events: what is to be said of them from the start, by their numbers. step: an entry for a search's journal, made in
        the same transaction with the numbers as `data["trials"]`.
        Raises: ValueError for a replicate that does not come after what it replicates.
        """
        if not trials and step is None:
            return []
        parts = list(waves(trials))
        statement = insert(schema.trials).returning(schema.trials.c.id, sort_by_parameter_order=True)
        numbers: list[int] = []
        with self._write() as connection:
            heartbeat.renew(connection, self._session)  # the owner of new trials has a lease by the database's clock
            for part in parts:
                rows = [trial_row(trial, numbers, self._session) for trial in part]
                numbers += [int(number) for (number,) in connection.execute(statement, rows)] if rows else []
            if step is not None:
                journal.add(connection, step._replace(data={**step.data, "trials": numbers}))
            for table, group in event_rows(events(numbers)).items():
                connection.execute(insert(table), group)
        return numbers

    def append(self, events: Iterable[Event], *, search: int | None = None) -> None:
        """Write what happened, in one transaction: when this returns, it is kept.

        Step progress is not kept. search: whose journal gets an entry "moment" of the epochs and ends among the events.
        Raises: LogError if a trial is unknown or has ended, or the database cannot be written; nothing of `events` is
        written then.
        """
        events = list(events)
        rows = event_rows(events)
        if not rows:
            return
        step = None if search is None else journal.moment(search, events)
        with self._write() as connection:
            if connection.dialect.name != "sqlite":  # where no trigger refuses it
                self._refuse_ended(connection, {row["trial"] for group in rows.values() for row in group})
            for table, group in rows.items():
                if table is schema.ends:
                    for row in group:
                        row.update(self._last_epoch(connection, row["trial"]))
                connection.execute(insert(table), group)
            if step is not None:
                journal.add(connection, step)

    def add_step(self, step: SearchStep) -> None:
        """Add an entry to the journal of a search. Raises: LogError for an unknown search."""
        with self._write() as connection:
            journal.add(connection, step)

    def add_finding(
        self, kind: str, data: Mapping[str, Any], *, task_fingerprint: str, check: Check = lambda earlier: None
    ) -> int:
        """Add what was found out after the training; returns its number. data: JSON values.

        check: called with the log's earlier findings of the kind, of whatever task, in the same transaction; nothing is
        added when it raises.
        """
        with self._write() as connection:
            heartbeat.take_turn(connection)
            check(findings.read(connection, kind, None))
            return findings.add(connection, self._session, kind, data, task_fingerprint)

    def annotate(
        self, trial: int, *, name: str | None = None, note: str | None = None, tags: Sequence[str] | None = None
    ) -> None:
        """Give a trial another name, note or tags; what is None stays. Raises: LogError for an unknown trial."""
        encoded = None if tags is None else json.dumps(list(tags), ensure_ascii=False)
        given = {"name": name, "note": note, "tags": encoded}
        rows = [
            {"trial": trial, "field": field, "value": value, "created": now()}
            for field, value in given.items()
            if value is not None
        ]
        if rows:
            with self._write() as connection:
                history.check_known(connection, [trial])
                connection.execute(insert(schema.edits), rows)

    # --- who goes on with a trial -----------------------------------------------------------------------------------

    def renew_lease(self) -> None:
        """Tell other machines that this process is alive; one that has not for LEASE_SECONDS is taken for gone."""
        with self._write() as connection:
            heartbeat.renew(connection, self._session)

    def mark_interrupted(self, going: Collection[int] = ()) -> list[int]:
        """Tell unfinished trials whose owner is gone as interrupted. Returns their numbers, ascending.

        going: which of the trials this object created or adopted are going on; its other ones count as left behind.
        """
        with self._read() as connection:
            found = heartbeat.left_behind(connection, self._session, going)
        if not found:
            return []  # the usual case takes no lock
        with self._write() as connection:
            heartbeat.take_turn(connection)
            found = heartbeat.left_behind(connection, self._session, going)
            heartbeat.mark(connection, found)
        return found

    def adopt(self, trials: Sequence[int], searches: Sequence[int] = ()) -> None:
        """Make interrupted trials, queued again, and unfinished searches those of this session.

        Raises: LogError for a trial that is unknown, in the trash, or not interrupted any more since another kernel goes on
        with it; nothing is adopted then.
        """
        with self._write() as connection:
            heartbeat.adopt(connection, trials, self._session, searches)

    # --- the trash ----------------------------------------------------------------------------------------------------

    def delete(self, trials: Sequence[int]) -> None:
        """Put trials into the trash. Raises: LogError, with none moved, if one is unknown, in the trash or going on."""
        with self._write() as connection:
            heartbeat.take_turn(connection)
            trash.move_in(connection, trials)

    def restore(self, trials: Sequence[int] | None = None) -> list[int]:
        """Take trials, by default all, out of the trash; returns which. Raises: LogError if one is not in it."""
        with self._write() as connection:
            heartbeat.take_turn(connection)
            return trash.move_out(connection, trials)

    def empty_trash(self) -> tuple[list[int], list[int]]:
        """Remove the trials in the trash for good. Returns those removed and those kept, from which others were made."""
        with self._write() as connection:
            heartbeat.take_turn(connection)
            return trash.empty(connection, self._session)

    def trash(self) -> pd.DataFrame:
        """The trials in the trash: the columns of `trials`, and `deleted`, when that was."""
        with self._read() as connection:
            return queries.trashed(connection)

    def outside_trash(self, trials: Iterable[int]) -> set[int]:
        """Which of some trials are in the log, neither in the trash nor removed from it."""
        with self._read() as connection:
            return queries.outside_trash(connection, sorted(set(trials)))

    # --- reading ----------------------------------------------------------------------------------------------------

    def trials(self, *, task_fingerprint: str | None = None, last: int | None = None) -> pd.DataFrame:
        """One row a trial outside the trash: what it is, its hyperparameters, what came of it. Ordered by number.

        task_fingerprint: only those on this task. last: only so many, the newest.
        """
        with self._read() as connection:
            return queries.trials(connection, task_fingerprint, last)

    def count(self, task_fingerprint: str) -> int:
        """How many trials there are on a task, without those in the trash."""
        with self._read() as connection:
            return queries.count(connection, task_fingerprint)

    def looked(self, task_fingerprint: str) -> int:
        """How many trials have been measured on a task's validation split, those in the trash and removed from it included."""
        with self._read() as connection:
            return queries.looked(connection, task_fingerprint)

    def best(self, task_fingerprint: str, metric: str, better: Better) -> dict[str, Any] | None:
        """Trial, best_val_metric and best_epoch of the best ended attempt at a task, None when there is none."""
        with self._read() as connection:
            return queries.best(connection, task_fingerprint, metric, better)

    def curves(self, *trials: int) -> pd.DataFrame:
        """One row an epoch of the given trials, or of all outside the trash. Raises: LogError for an unknown trial."""
        return self._joined(queries.curves, trials)

    def events(self, *trials: int) -> pd.DataFrame:
        """State changes, live changes, branches and messages of the given trials, or of all outside the trash.

        Raises: LogError for an unknown trial.
        """
        return self._joined(queries.events, trials)

    def branches(self, task_fingerprint: str | None = None) -> pd.DataFrame:
        """One row a branch outside the trash: trial, parent, epoch, changes ((old, new) by field)."""
        with self._read() as connection:
            return queries.branches(connection, task_fingerprint)

    def seats(self, *trials: int) -> dict[int, tuple[int, int]]:
        """The (series, after) of the cohort each trial joined last; those that joined none are left out."""
        with self._read() as connection:
            return history.seats(connection, trials)

    def changes(self, trial: int) -> list[tuple[int, str, float]]:
        """A trial's live changes in order: step, hyperparameter, new value. Raises: LogError for an unknown trial."""
        with self._read() as connection:
            history.check_known(connection, [trial])
            return history.changes(connection, trial)

    def script(self, trial: int) -> tuple[list[tuple[int, str, float]], int | None]:
        """The live changes that a trial was started with, and the step to stop after, None for none."""
        with self._read() as connection:
            return history.script(connection, trial)

    def members(self, series: int) -> dict[int, int]:
        """The trials that joined a series of checkpoints last, each with its `after` (see `events.CohortJoined`)."""
        with self._read() as connection:
            return history.members(connection, series)

    def ends(self, *trials: int) -> dict[int, TrialEnded]:
        """The end of each of some trials that has ended."""
        with self._read() as connection:
            return history.ends(connection, trials)

    def unfinished(self, task_fingerprint: str, going: Collection[int] = ()) -> list[int]:
        """The searches that can be resumed, ascending. going: those of this session that go on."""
        with self._read() as connection:
            return heartbeat.unfinished_searches(connection, self._session, task_fingerprint, going)

    def together(self, trial: int) -> int:
        """The most rows that a cohort had, of those a trial was in: 1 if it has always trained alone."""
        with self._read() as connection:
            return history.together(connection, trial)

    def origin(self, trial: int) -> tuple[int, int] | None:
        """The trial and epoch that a branch began from, be they in the trash or not; None for any other trial."""
        with self._read() as connection:
            return history.origin(connection, trial)

    @property
    def identity(self) -> str:
        """A short name of the log, which no other log has."""
        with self._read() as connection:
            return heartbeat.identity(connection)

    def made_on(self, trial: int) -> list[dict[str, str]]:
        """What the last bits of a trial's result depend on (see `heartbeat.made_here`), for each process that has had it."""
        with self._read() as connection:
            history.check_known(connection, [trial])
            return heartbeat.made_on(connection, trial)

    def task_fingerprint(self, trial: int) -> str:
        """Of the data a trial was trained on. Raises: LogError for an unknown trial."""
        return str(self._field(trial, "task_fingerprint"))

    def metric(self, trial: int) -> str:
        """What a trial's validation metric is: a name in the metrics table. Raises: LogError for an unknown trial."""
        return str(self._field(trial, "metric"))

    def device(self, trial: int) -> str:
        """Where a trial was trained. Raises: LogError for an unknown trial."""
        return str(self._field(trial, "device"))

    def interrupted(self, task_fingerprint: str | None = None) -> list[int]:
        """The trials that can be resumed, ascending: shown as interrupted, not in the trash."""
        with self._read() as connection:
            return heartbeat.interrupted(connection, task_fingerprint)

    def config(self, trial: int) -> dict[str, Any]:
        """The hyperparameters a trial started with. Raises: LogError for an unknown trial."""
        return dict(json.loads(self._field(trial, "config")))

    def configs(self, trials: Sequence[int]) -> dict[int, dict[str, Any]]:
        """The hyperparameters that some trials started with, by trial; unknown numbers are left out."""
        found: dict[int, dict[str, Any]] = {}
        with self._read() as connection:
            for start in range(0, len(trials), ID_CHUNK):
                wanted = [int(trial) for trial in trials[start : start + ID_CHUNK]]
                rows = connection.execute(
                    select(schema.trials.c.id, schema.trials.c.config).where(schema.trials.c.id.in_(wanted))
                )
                found |= {int(trial): json.loads(config) for trial, config in rows}
        return found

    def scores(self, task_fingerprint: str, metric: str) -> pd.DataFrame:
        """One row an ended attempt at a task that was not cut off: trial, configuration, seed, score (best validation metric).

        An altered trial is a configuration of its own.
        """
        with self._read() as connection:
            return queries.scores(connection, task_fingerprint, metric)

    def cut_off(self, task_fingerprint: str, metric: str) -> int:
        """How many ended attempts at a task have no score: they were stopped, pruned, failed or diverged."""
        with self._read() as connection:
            return queries.cut_off(connection, task_fingerprint, metric)

    def altered(self) -> set[int]:
        """The trials that were not trained by one configuration throughout: branches, and those with live changes."""
        with self._read() as connection:
            return queries.altered(connection)

    def searches(self) -> pd.DataFrame:
        """One row a search: number, strategy, options, trials outside the trash."""
        with self._read() as connection:
            return queries.searches(connection)

    def suggestions(self, search: int) -> int:
        """How many configurations of a search have been started, those of removed trials included."""
        counts = []
        with self._read() as connection:
            for table in (schema.trials, schema.purged):
                statement = select(func.max(table.c.suggestion)).where(table.c.search == search)
                last = connection.execute(statement).scalar()
                counts.append(0 if last is None else int(last) + 1)
        return max(counts)

    def findings(self, kind: str | None = None, task_fingerprint: str | None = None) -> list[Finding]:
        """What was found out after the training, in order; None: of every kind, on every task."""
        with self._read() as connection:
            return findings.read(connection, kind, task_fingerprint)

    def steps(self, search: int) -> list[SearchStep]:
        """The journal of a search, in order; empty for an unknown one."""
        with self._read() as connection:
            return journal.steps(connection, search)

    def builder(self, trial: int) -> str | None:
        """The identity of the builder that a trial's model was made by; None for a built-in one. Raises LogError if unknown."""
        text = self._field(trial, "builder")
        return None if text is None else str(text)

    def builders(self, trials: Sequence[int]) -> dict[int, str | None]:
        """The identities of builders by trial, as in `builder`; unknown numbers are left out."""
        found: dict[int, str | None] = {}
        with self._read() as connection:
            for start in range(0, len(trials), ID_CHUNK):
                wanted = [int(trial) for trial in trials[start : start + ID_CHUNK]]
                statement = select(schema.trials.c.id, schema.trials.c.builder).where(schema.trials.c.id.in_(wanted))
                found |= {int(trial): builder for trial, builder in connection.execute(statement)}
        return found

    def builder_source(self, trial: int) -> str | None:
        """The source text of the user's model builder, None for a built-in model. Raises: LogError if unknown."""
        text = self._field(trial, "builder_source")
        return None if text is None else str(text)

    def state(self, trial: int) -> TrialState:
        """Where a trial stands. Raises: LogError for an unknown trial."""
        with self._read() as connection:
            return history.states(connection, [trial])[trial]

    def traceback(self, trial: int) -> str:
        """The Python traceback of a failed trial, "" for any other. Raises: LogError for an unknown trial."""
        with self._read() as connection:
            history.check_known(connection, [trial])
            return (
                connection.execute(select(schema.ends.c.traceback).where(schema.ends.c.trial == trial)).scalar() or ""
            )

    # ----------------------------------------------------------------------------------------------------------------

    def _joined(self, read: Any, trials: Sequence[int]) -> pd.DataFrame:
        with self._read() as connection:
            history.check_known(connection, trials)
            if not trials:
                return read(connection, None)
            parts = [read(connection, trials[i : i + ID_CHUNK]) for i in range(0, len(trials), ID_CHUNK)]
            return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)

    def _field(self, trial: int, column: str) -> Any:
        trial = int(trial)  # a number out of a table is one of numpy's
        with self._read() as connection:
            history.check_known(connection, [trial])
            return connection.execute(select(schema.trials.c[column]).where(schema.trials.c.id == trial)).scalar_one()

    def _refuse_ended(self, connection: Connection, trials: set[int]) -> None:
        ended = connection.execute(select(schema.ends.c.trial).where(schema.ends.c.trial.in_(trials))).scalars().all()
        if ended:
            raise LogError(f"trial {ended[0]} has ended, and an ended trial takes no more events")

    def _last_epoch(self, connection: Connection, trial: int) -> dict[str, Any]:
        """The numbers at a trial's end, from its last epoch: written with the end, so that tables need not look for them."""
        columns = (schema.epochs.c.train_loss, schema.epochs.c.val_loss, schema.epochs.c.val_metric)
        statement = (
            select(*columns).where(schema.epochs.c.trial == trial).order_by(schema.epochs.c.epoch.desc()).limit(1)
        )
        row = connection.execute(statement).first()
        return dict(row._mapping) if row else {"train_loss": None, "val_loss": None, "val_metric": None}

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._turn, self._explained(), self._writing.begin() as connection:
            yield connection

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        if self._shared:
            with self._turn, self._explained(), self._engine.begin() as connection:
                yield connection
        else:
            with self._explained(), self._engine.begin() as connection:
                yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            explained = explain(error, self._name, self._engine.url.password)
            try:
                raise explained
            finally:
                explained.__context__ = None  # the driver's error may hold the password of the URL


def _inserted(result: CursorResult[Any]) -> int:
    """The number a new row was given."""
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])
