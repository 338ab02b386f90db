"""The owners of unfinished trials: sessions, their leases, and trials and searches that change owner.

The owner of a trial is the session that adopted it last, else the one that created it. A trial whose owner is gone was
interrupted: it can be adopted and resumed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
import time
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import ColumnElement, Connection, Float, Select, cast, extract, func, insert, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from workbench.core.errors import LogError
from workbench.core.events import ENDED, TrialState
from workbench.log import schema
from workbench.log.conditions import check_known, last_state, outside_trash, states, trashed, unfinished
from workbench.log.database import Database
from workbench.log.records import SearchStep, chunks, event_row, now
from workbench.log.searches import add_step, steps

__all__ = ["LEASE_SECONDS", "Ownership", "environment", "log_identity", "machine", "renew"]

LEASE_SECONDS = 90
"""A session on another machine that has not renewed its lease for so long counts as gone."""
START_TOLERANCE = 1.0
"""Seconds by which two readings of one process's start may differ."""
SESSION = [schema.sessions.c[name] for name in ("host", "pid", "process_started", "machine", "created")]


class Ownership:
    """Registers this process as a session of a log, and decides whose an unfinished trial or search is."""

    def __init__(self, database: Database) -> None:
        self._database = database
        process = psutil.Process()
        values = {
            "host": socket.gethostname(),
            "pid": process.pid,
            "process_started": process.create_time(),
            "created": now(),
            "versions": json.dumps(environment()),
            "machine": machine(),
        }
        statement = insert(schema.sessions).values(values).returning(schema.sessions.c.id)
        with database.write() as connection:
            self.session = int(connection.execute(statement).scalar_one())
            renew(connection, self.session)

    def renew_lease(self) -> None:
        """Record that this process is alive; without it, other machines count it as gone after LEASE_SECONDS."""
        with self._database.write() as connection:
            renew(connection, self.session)

    def mark_interrupted(self, active: Collection[int] = ()) -> list[int]:
        """Record unfinished trials whose owner is gone as interrupted. Returns their numbers, ascending.

        active: the trials of this session that still run; its other ones count as abandoned.
        """
        with self._database.read() as connection:
            found = self._abandoned(connection, active)
        if not found:
            return []  # the usual case takes no lock
        with self._database.write(exclusive=True) as connection:
            found = self._abandoned(connection, active)
            _mark(connection, found)
        return found

    def interrupted(self, task_fingerprint: str | None = None) -> list[int]:
        """The trials that can be resumed, ascending: in the state interrupted, without an end, not in the trash."""
        table = schema.trials
        statement = select(table.c.id).where(
            table.c.id.in_(unfinished()), last_state() == str(TrialState.INTERRUPTED), outside_trash()
        )
        if task_fingerprint is not None:
            statement = statement.where(table.c.task_fingerprint == task_fingerprint)
        with self._database.read() as connection:
            return [int(trial) for trial in connection.execute(statement.order_by(table.c.id)).scalars()]

    def unfinished_searches(self, task_fingerprint: str, active: Collection[int] = ()) -> list[int]:
        """The searches that can be resumed, ascending. active: those of this session that still run."""
        with self._database.read() as connection:
            return self._unfinished_searches(connection, active, schema.searches.c.task_fingerprint == task_fingerprint)

    def adopt(self, trials: Sequence[int], searches: Sequence[int] = ()) -> None:
        """Make interrupted trials, queued again, and unfinished searches those of this session.

        Raises: LogError for a trial that is unknown, in the trash, or no longer interrupted because another kernel continues
        it; nothing is adopted then.
        """
        with self._database.write(exclusive=True) as connection:
            for search in searches:
                self._adopt_search(connection, search)
            self._adopt_trials(connection, list(dict.fromkeys(int(trial) for trial in trials)))

    def environments(self, trial: int) -> list[dict[str, str]]:
        """The `environment()` of each session that has owned a trial. Raises: LogError for an unknown trial."""
        sessions, adoptions, trials = schema.sessions, schema.adoptions, schema.trials
        owners = select(trials.c.session).where(trials.c.id == trial)
        owners_later = select(adoptions.c.session).where(adoptions.c.trial == trial)
        statement = select(sessions.c.versions).where(sessions.c.id.in_(owners) | sessions.c.id.in_(owners_later))
        with self._database.read() as connection:
            check_known(connection, [trial])
            return [dict(json.loads(versions)) for versions in connection.execute(statement).scalars()]

    def _abandoned(self, connection: Connection, active: Collection[int]) -> list[int]:
        """Unfinished trials whose owner is gone and which are not interrupted yet, ascending."""
        trials = [row for row in connection.execute(_unfinished_trials()) if row.state != str(TrialState.INTERRUPTED)]
        if not trials:
            return []
        clock = _time(connection)
        alive = {row.session: _is_alive(row) for row in trials if row.session != self.session}
        return [
            int(row.trial)
            for row in trials
            if (row.trial not in active if row.session == self.session else _is_gone(row, alive[row.session], clock))
        ]

    def _unfinished_searches(
        self, connection: Connection, active: Collection[int], condition: ColumnElement[bool]
    ) -> list[int]:
        """Searches that began, did not end, and whose owner is gone, ascending."""
        table, entries = schema.searches, schema.search_steps
        entry = select(entries.c.search).where(entries.c.search == table.c.id).correlate(table)
        statement = (
            select(table.c.id, table.c.session, table.c.created)
            .where(entry.where(entries.c.kind == "begun").exists(), ~entry.where(entries.c.kind == "ended").exists())
            .where(condition)
            .order_by(table.c.id)
        )
        found = []
        for search, owner, created in connection.execute(statement).all():
            adopted = [step.data["session"] for step in steps(connection, search) if step.kind == "adopted"]
            owner = adopted[-1] if adopted else owner
            if owner == self.session:
                gone = search not in active
            else:
                row = connection.execute(_session(owner, created)).one()
                gone = _is_gone(row, _is_alive(row), _time(connection))
            if gone:
                found.append(int(search))
        return found

    def _adopt_search(self, connection: Connection, search: int) -> None:
        if not self._unfinished_searches(connection, (), schema.searches.c.id == search):
            raise LogError(f"search {search} is not unfinished any more: another kernel continues it, or it has ended")
        add_step(connection, SearchStep(search, "adopted", {"session": self.session}))

    def _adopt_trials(self, connection: Connection, trials: Sequence[int]) -> None:
        for trial, state in states(connection, trials).items():
            if state in ENDED:
                raise LogError(f"trial {trial} is not interrupted any more: it has ended ({state})")
            if state is not TrialState.INTERRUPTED:
                raise LogError(f"trial {trial} is not interrupted any more: another kernel continues it")
        deleted = set(connection.execute(trashed()).scalars())
        for trial in trials:
            if trial in deleted:
                raise LogError(f"trial {trial} is in the trash; restore it first")
        if trials:
            adoptions = [{"trial": trial, "session": self.session, "created": now()} for trial in trials]
            connection.execute(insert(schema.adoptions), adoptions)
            renew(connection, self.session)
            queued = [event_row(trial, "state", step=0, name=str(TrialState.QUEUED)) for trial in trials]
            connection.execute(insert(schema.events), queued)


def machine() -> str:
    """What a process number is unique in: the host, and on Linux its boot and the namespace of its processes."""
    host = socket.gethostname()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return f"{host} {uuid.getnode():012x}"
    return f"{host} {boot} {namespace}"


def environment() -> dict[str, str]:
    """What the last bits of a result depend on besides the configuration: versions, processor, number of cores."""
    versions = {package: _version(package) for package in ("tuning-workbench", "torch")}
    return {**versions, "processor": platform.processor() or platform.machine(), "cores": str(os.cpu_count())}


def renew(connection: Connection, session: int) -> None:
    """Record that a session is alive."""
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = upsert(schema.leases).values(session=session, renewed=_clock(connection))
    changed = {"renewed": statement.excluded.renewed}
    connection.execute(statement.on_conflict_do_update(index_elements=[schema.leases.c.session], set_=changed))


def log_identity(connection: Connection) -> str:
    """A short name of the log, from the first session that ever opened it: another log has another one."""
    sessions = schema.sessions
    names = ("host", "pid", "process_started", "created")
    first = connection.execute(select(*(sessions.c[name] for name in names)).order_by(sessions.c.id).limit(1)).one()
    return hashlib.sha256(repr(tuple(first)).encode()).hexdigest()[:12]


def _mark(connection: Connection, trials: Sequence[int]) -> None:
    """Record trials as interrupted, at the step of the last epoch that is in the log."""
    rows = []
    for some in chunks(trials):
        table = schema.epochs
        statement = select(table.c.trial, func.max(table.c.step)).where(table.c.trial.in_(some)).group_by(table.c.trial)
        last = {int(trial): int(step) for trial, step in connection.execute(statement)}
        name = str(TrialState.INTERRUPTED)
        rows += [event_row(trial, "state", step=last.get(trial, 0), name=name) for trial in some]
    if rows:
        connection.execute(insert(schema.events), rows)


def _unfinished_trials() -> Select[Any]:
    """Trials without an end, with their last state, since when their owner has them, and what is known of that session."""
    trials, sessions, adoptions, leases = schema.trials, schema.sessions, schema.adoptions, schema.leases
    last = select(func.max(adoptions.c.id)).where(adoptions.c.trial == trials.c.id).correlate(trials).scalar_subquery()
    return (
        select(
            trials.c.id.label("trial"),
            last_state().label("state"),
            func.coalesce(adoptions.c.created, trials.c.created).label("owned"),
            sessions.c.id.label("session"),
            *SESSION,
            leases.c.renewed,
        )
        .select_from(trials)
        .outerjoin(adoptions, adoptions.c.id == last)
        .join(sessions, sessions.c.id == func.coalesce(adoptions.c.session, trials.c.session))
        .outerjoin(leases, leases.c.session == sessions.c.id)
        .where(trials.c.id.in_(unfinished()))
        .order_by(trials.c.id)
    )


def _session(number: int, owned: str) -> Select[Any]:
    """What is known of a session. owned: since when it has what it owns."""
    sessions, leases = schema.sessions, schema.leases
    statement = select(*SESSION, literal(owned).label("owned"), leases.c.renewed)
    return statement.outerjoin(leases, leases.c.session == sessions.c.id).where(sessions.c.id == number)


def _is_gone(owner: Any, alive: bool | None, clock: float) -> bool:
    """Whether a session is gone: by its process or, if that cannot be looked up, by its last sign of life."""
    return not alive if alive is not None else not _is_recent(owner, clock)


def _is_alive(owner: Any) -> bool | None:
    """Whether a session's process exists; None if it cannot be looked up from here, or not for certain."""
    if owner.machine != machine() and (owner.machine is not None or owner.host != socket.gethostname()):
        return None
    try:
        process = psutil.Process(owner.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        same = abs(process.create_time() - owner.process_started) <= START_TOLERANCE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    # another process has the number, or the clock was set since: a session that renews its lease is alive
    return True if same else False if owner.renewed is None else None


def _is_recent(owner: Any, clock: float) -> bool:
    """Whether a session was seen within LEASE_SECONDS: by its lease or, if it never had one, by what it wrote."""
    if owner.renewed is not None:
        # a lease of the future was written before the clock was set back: a living owner will renew it
        return bool(abs(clock - owner.renewed) <= LEASE_SECONDS)
    written = datetime.fromisoformat(max(owner.created, owner.owned)).timestamp()
    return bool(abs(clock - written) <= LEASE_SECONDS)


def _clock(connection: Connection) -> ColumnElement[float]:
    """Epoch seconds by a clock that is the same for all who share the database."""
    if connection.dialect.name == "postgresql":
        return cast(extract("epoch", func.now()), Float)
    return literal(time.time(), Float)


def _time(connection: Connection) -> float:
    return float(connection.execute(select(_clock(connection))).scalar_one())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
