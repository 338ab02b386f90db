"""The trial log: append-only events of every attempt, manual or automated, in a transactional database."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd
import psutil
from sqlalchemy import Connection, CursorResult, Table, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from workbench.errors import LogError
from workbench.events import EpochEnd, Event, KnobChanged, Remark, StateChanged, StepProgress, TrialEnded, TrialState
from workbench.log import frames, schema
from workbench.log.database import explain, make_engine, shown_url, where

__all__ = ["NewTrial", "TrialLog"]

EPOCH_FIELDS = tuple(field.name for field in dataclasses.fields(EpochEnd))
ID_CHUNK = 500
"""Trial numbers in one SQL condition; databases limit their count."""


@dataclass(frozen=True)
class NewTrial:
    """What is known of a trial before it starts.

    config: every hyperparameter by name, as JSON values. source: who asked for it (manual, replicate, random...).
    parent, parent_epoch: the trial it was made from. search, suggestion: the search that asked for it, and which of its
    settings it is. setting: what the seeds of one setting share (`Config.setting`). builder_source: source text of the
    user's model builder.
    """

    config: Mapping[str, Any]
    task: str
    task_fingerprint: str
    metric: str
    source: str = "manual"
    name: str = ""
    note: str = ""
    tags: Sequence[str] = ()
    parent: int | None = None
    parent_epoch: int | None = None
    device: str = "cpu"
    cohort: int | None = None
    builder_source: str | None = None
    search: int | None = None
    suggestion: int | None = None
    setting: str | None = None


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
                schema.migrate(connection, self._name)
                self._session = self._register(connection)
        except BaseException:
            self._engine.dispose()
            raise

    @classmethod
    def open(cls, target: str | os.PathLike[str] | None) -> TrialLog:
        """Open or create a log.

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

    def __repr__(self) -> str:
        return f"<TrialLog {self.url}>"

    # --- writing ----------------------------------------------------------------------------------------------------

    def next_cohort(self) -> int:
        """A number for trials that train together, never given twice."""
        with self._write() as connection:
            return _inserted(connection.execute(insert(schema.cohorts).values(created=_now())))

    def create_search(
        self, strategy: str, settings: Mapping[str, Any], *, task_fingerprint: str, continues: int | None = None
    ) -> int:
        """Enter a search; returns its number. settings: JSON values that tell how to do it again."""
        values = {
            "session": self._session,
            "created": _now(),
            "task_fingerprint": task_fingerprint,
            "strategy": strategy,
            "continues": continues,
            "settings": json.dumps(dict(settings), ensure_ascii=False),
        }
        with self._write() as connection:
            return _inserted(connection.execute(insert(schema.searches).values(values)))

    def create(self, trials: Sequence[NewTrial]) -> list[int]:
        """Enter trials as queued, in one transaction. Returns their numbers, in order."""
        if not trials:
            return []
        rows = [
            {
                **{field.name: getattr(trial, field.name) for field in dataclasses.fields(trial)},
                "config": json.dumps(dict(trial.config), ensure_ascii=False),
                "tags": json.dumps(list(trial.tags), ensure_ascii=False),
                "session": self._session,
                "created": _now(),
            }
            for trial in trials
        ]
        statement = insert(schema.trials).returning(schema.trials.c.id, sort_by_parameter_order=True)
        with self._write() as connection:
            return [int(number) for (number,) in connection.execute(statement, rows)]

    def append(self, events: Iterable[Event]) -> None:
        """Write what happened, in one transaction: when this returns, it is kept.

        Step progress is not kept. Raises: LogError if a trial is unknown or has ended, or the database cannot be written;
        nothing of `events` is written then.
        """
        rows = _rows(events)
        if not rows:
            return
        with self._write() as connection:
            if connection.dialect.name != "sqlite":  # where no trigger refuses it
                self._refuse_ended(connection, {row["trial"] for group in rows.values() for row in group})
            for table, group in rows.items():
                if table is schema.ends:
                    for row in group:
                        row.update(self._last_epoch(connection, row["trial"]))
                connection.execute(insert(table), group)

    def annotate(
        self, trial: int, *, name: str | None = None, note: str | None = None, tags: Sequence[str] | None = None
    ) -> None:
        """Give a trial another name, note or tags; what is None stays. Raises: LogError for an unknown trial."""
        encoded = None if tags is None else json.dumps(list(tags), ensure_ascii=False)
        given = {"name": name, "note": note, "tags": encoded}
        rows = [
            {"trial": trial, "field": field, "value": value, "created": _now()}
            for field, value in given.items()
            if value is not None
        ]
        if rows:
            with self._write() as connection:
                self._check_known(connection, [trial])
                connection.execute(insert(schema.edits), rows)

    # --- reading ----------------------------------------------------------------------------------------------------

    def trials(self, *, task_fingerprint: str | None = None, last: int | None = None) -> pd.DataFrame:
        """One row a trial: what it is, its hyperparameters, what came of it. Ordered by number.

        task_fingerprint: only those on this task. last: only so many, the newest.
        """
        with self._read() as connection:
            return frames.trials(connection, task_fingerprint, last)

    def count(self, task_fingerprint: str) -> int:
        """How many trials there are on a task."""
        statement = select(func.count()).where(schema.trials.c.task_fingerprint == task_fingerprint)
        with self._read() as connection:
            return int(connection.execute(statement).scalar_one())

    def best(self, task_fingerprint: str, metric: str, better: str) -> dict[str, Any] | None:
        """Trial, best_val_metric and best_epoch of the best ended trial of a task, None when there is none."""
        with self._read() as connection:
            return frames.best(connection, task_fingerprint, metric, better)

    def curves(self, *trials: int) -> pd.DataFrame:
        """One row an epoch of the given trials, or of all. Raises: LogError for an unknown trial."""
        return self._joined(frames.curves, trials)

    def events(self, *trials: int) -> pd.DataFrame:
        """State changes, live changes and remarks of the given trials, or of all. Raises: LogError for an unknown trial."""
        return self._joined(frames.events, trials)

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
        """One row an ended trial of a task that was not cut off: trial, setting, score (best validation metric)."""
        with self._read() as connection:
            return frames.scores(connection, task_fingerprint, metric)

    def searches(self) -> pd.DataFrame:
        """One row a search: number, strategy, settings, trials started."""
        with self._read() as connection:
            return frames.searches(connection)

    def suggestions(self, search: int) -> int:
        """How many settings of a search have been started."""
        table = schema.trials
        with self._read() as connection:
            last = connection.execute(select(func.max(table.c.suggestion)).where(table.c.search == search)).scalar()
            return 0 if last is None else int(last) + 1

    def builder_source(self, trial: int) -> str | None:
        """The source text of the user's model builder, None for a built-in model. Raises: LogError if unknown."""
        text = self._field(trial, "builder_source")
        return None if text is None else str(text)

    def state(self, trial: int) -> TrialState:
        """Where a trial stands. Raises: LogError for an unknown trial."""
        with self._read() as connection:
            self._check_known(connection, [trial])
            end = connection.execute(select(schema.ends.c.state).where(schema.ends.c.trial == trial)).scalar()
            return TrialState(end or frames.open_states(connection, [trial]).get(trial, TrialState.QUEUED))

    def traceback(self, trial: int) -> str:
        """The Python traceback of a failed trial, "" for any other. Raises: LogError for an unknown trial."""
        with self._read() as connection:
            self._check_known(connection, [trial])
            return (
                connection.execute(select(schema.ends.c.traceback).where(schema.ends.c.trial == trial)).scalar() or ""
            )

    # ----------------------------------------------------------------------------------------------------------------

    def _joined(self, read: Any, trials: Sequence[int]) -> pd.DataFrame:
        with self._read() as connection:
            self._check_known(connection, trials)
            if not trials:
                return read(connection, None)
            parts = [read(connection, trials[i : i + ID_CHUNK]) for i in range(0, len(trials), ID_CHUNK)]
            return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)

    def _field(self, trial: int, column: str) -> Any:
        with self._read() as connection:
            self._check_known(connection, [trial])
            return connection.execute(select(schema.trials.c[column]).where(schema.trials.c.id == trial)).scalar_one()

    def _check_known(self, connection: Connection, trials: Sequence[int]) -> None:
        for start in range(0, len(trials), ID_CHUNK):
            wanted = [int(trial) for trial in trials[start : start + ID_CHUNK]]
            found = connection.execute(select(schema.trials.c.id).where(schema.trials.c.id.in_(wanted))).scalars()
            missing = set(wanted) - set(found)
            if missing:
                count = connection.execute(select(func.count()).select_from(schema.trials)).scalar_one()
                raise LogError(f"trial {min(missing)} is not in the log, which has {count} trials; see bench.trials")

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

    def _register(self, connection: Connection) -> int:
        process = psutil.Process()
        values = {
            "host": socket.gethostname(),
            "pid": process.pid,
            "process_started": process.create_time(),
            "created": _now(),
            "versions": json.dumps({package: _version(package) for package in ("tuning-workbench", "torch")}),
        }
        return _inserted(connection.execute(insert(schema.sessions).values(values)))

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
            raise explain(error, self._name) from None


def _rows(events: Iterable[Event]) -> dict[Table, list[dict[str, Any]]]:
    """Rows by table, the ends last, since nothing may follow them."""
    rows: dict[Table, list[dict[str, Any]]] = {schema.epochs: [], schema.events: [], schema.ends: []}
    for event in events:
        match event:
            case EpochEnd():
                rows[schema.epochs].append({name: getattr(event, name) for name in EPOCH_FIELDS})
            case TrialEnded():
                rows[schema.ends].append({**dataclasses.asdict(event), "state": str(event.state), "created": _now()})
            case StateChanged(trial, state, step):
                rows[schema.events].append(_event(trial, "state", step=step, name=str(state)))
            case KnobChanged(trial, epoch, step, name, old, new):
                rows[schema.events].append(_event(trial, "change", epoch=epoch, step=step, name=name, old=old, new=new))
            case Remark(trial, message):
                rows[schema.events].append(_event(trial, "remark", message=message))
            case StepProgress():
                pass
    return {table: group for table, group in rows.items() if group}


def _event(trial: int, kind: str, **values: Any) -> dict[str, Any]:
    blank = {"epoch": None, "step": None, "name": "", "old": None, "new": None, "message": ""}
    return {"trial": trial, "kind": kind, **blank, **values, "created": _now()}


def _inserted(result: CursorResult[Any]) -> int:
    """The number a new row was given."""
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
