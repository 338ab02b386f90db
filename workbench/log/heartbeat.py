"""Who goes on with an unfinished trial: sessions, signs that they live, and trials that changed hands.

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
from sqlalchemy import ColumnElement, Connection, Float, cast, extract, func, insert, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from workbench.core.errors import LogError
from workbench.core.events import ENDED, TrialState
from workbench.log import history, journal, schema, trash
from workbench.log.records import SearchStep, chunks, event_row, now

__all__ = [
    "LEASE_SECONDS",
    "adopt",
    "identity",
    "interrupted",
    "left_behind",
    "machine",
    "made_here",
    "made_on",
    "mark",
    "register",
    "renew",
    "take_turn",
    "unfinished_searches",
]

LEASE_SECONDS = 90
"""A session on another machine that has not renewed its lease for so long is taken for gone."""
START_TOLERANCE = 1.0
"""Seconds by which two readings of one process's start may differ."""


def machine() -> str:
    """Names what a process number is looked up in: the host, and on Linux its boot and the namespace of its processes."""
    host = socket.gethostname()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return f"{host} {uuid.getnode():012x}"
    return f"{host} {boot} {namespace}"


def made_here() -> dict[str, str]:
    """What the last bits of a result depend on beside the configuration: versions, processor, number of cores."""
    versions = {package: _version(package) for package in ("tuning-workbench", "torch")}
    return {**versions, "processor": platform.processor() or platform.machine(), "cores": str(os.cpu_count())}


def register(connection: Connection) -> int:
    """Enter this process as a session; returns its number."""
    process = psutil.Process()
    values = {
        "host": socket.gethostname(),
        "pid": process.pid,
        "process_started": process.create_time(),
        "created": now(),
        "versions": json.dumps(made_here()),
        "machine": machine(),
    }
    number = connection.execute(insert(schema.sessions).values(values)).inserted_primary_key
    assert number is not None
    renew(connection, int(number[0]))
    return int(number[0])


def renew(connection: Connection, session: int) -> None:
    """Say that a session is alive."""
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = upsert(schema.leases).values(session=session, renewed=_clock(connection))
    changed = {"renewed": statement.excluded.renewed}
    connection.execute(statement.on_conflict_do_update(index_elements=[schema.leases.c.session], set_=changed))


def take_turn(connection: Connection) -> None:
    """Let those who decide whose a trial is, or whether it is in the trash, go one after another. Ends with the transaction.

    On SQLite every writer has waited for its turn already.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"LOCK TABLE {schema.adoptions.name} IN EXCLUSIVE MODE")


def left_behind(connection: Connection, session: int, going: Collection[int]) -> list[int]:
    """Unfinished trials whose owner is gone and which are not interrupted yet, ascending. Writes nothing.

    session: the one that asks; its own trials count as left behind when they are not in `going`.
    """
    open_trials = [row for row in connection.execute(_unfinished()) if row.state != str(TrialState.INTERRUPTED)]
    if not open_trials:
        return []
    clock = float(connection.execute(select(_clock(connection))).scalar_one())
    here, host = machine(), socket.gethostname()
    lives = {row.session: _lives(row, here, host) for row in open_trials if row.session != session}
    found = []
    for row in open_trials:
        if row.session == session:
            gone = row.trial not in going
        else:
            known = lives[row.session]
            gone = not known if known is not None else not _recent(row, clock)
        if gone:
            found.append(int(row.trial))
    return found


def mark(connection: Connection, trials: Sequence[int]) -> None:
    """Tell trials as interrupted, at the step of the last epoch that is in the log."""
    rows = []
    for wanted in chunks(trials):
        steps = select(schema.epochs.c.trial, func.max(schema.epochs.c.step)).where(schema.epochs.c.trial.in_(wanted))
        last = {int(trial): int(step) for trial, step in connection.execute(steps.group_by(schema.epochs.c.trial))}
        name = str(TrialState.INTERRUPTED)
        rows += [event_row(trial, "state", step=last.get(trial, 0), name=name) for trial in wanted]
    if rows:
        connection.execute(insert(schema.events), rows)


def interrupted(connection: Connection, task_fingerprint: str | None) -> list[int]:
    """Trials that can be resumed, ascending: shown as interrupted, without an end, not in the trash."""
    table = schema.trials
    statement = (
        select(table.c.id)
        .where(table.c.id.in_(history.unfinished()), history.last_state() == str(TrialState.INTERRUPTED))
        .where(table.c.id.not_in(trash.trashed()))
        .order_by(table.c.id)
    )
    if task_fingerprint is not None:
        statement = statement.where(table.c.task_fingerprint == task_fingerprint)
    return [int(trial) for trial in connection.execute(statement).scalars()]


def unfinished_searches(
    connection: Connection,
    session: int,
    task_fingerprint: str | None,
    going: Collection[int],
    number: int | None = None,
) -> list[int]:
    """Searches that began, did not end, and whose owner is gone, ascending.

    task_fingerprint, number: only those on a task, or only one. going: those of this session that go on.
    """
    searches, steps = schema.searches, schema.search_steps
    has = select(steps.c.search).where(steps.c.search == searches.c.id).correlate(searches)
    statement = (
        select(searches.c.id, searches.c.session, searches.c.created)
        .where(has.where(steps.c.kind == "begun").exists(), ~has.where(steps.c.kind == "ended").exists())
        .order_by(searches.c.id)
    )
    if task_fingerprint is not None:
        statement = statement.where(searches.c.task_fingerprint == task_fingerprint)
    if number is not None:
        statement = statement.where(searches.c.id == number)
    found = []
    for search, owner, created in connection.execute(statement).all():
        adopted = [step.data["session"] for step in journal.steps(connection, search) if step.kind == "adopted"]
        owner = adopted[-1] if adopted else owner
        if search not in going if owner == session else _is_gone(connection, owner, created):
            found.append(int(search))
    return found


def _is_gone(connection: Connection, session: int, owned: str) -> bool:
    """Whether a session's process has died. owned: when it was given what it owns."""
    sessions, leases = schema.sessions, schema.leases
    about = [sessions.c[name] for name in ("host", "pid", "process_started", "machine", "created")]
    statement = select(*about, literal(owned).label("owned"), leases.c.renewed)
    statement = statement.outerjoin(leases, leases.c.session == sessions.c.id).where(sessions.c.id == session)
    row = connection.execute(statement).one()
    known = _lives(row, machine(), socket.gethostname())
    clock = float(connection.execute(select(_clock(connection))).scalar_one())
    return not known if known is not None else not _recent(row, clock)


def adopt(connection: Connection, trials: Sequence[int], session: int, searches: Sequence[int] = ()) -> None:
    """Make interrupted trials, and unfinished searches, those of a session; the trials are queued.

    Whoever comes second finds them no longer interrupted. Raises: LogError for a trial that is unknown, in the trash, or not
    interrupted (any more).
    """
    take_turn(connection)
    for search in searches:
        if not unfinished_searches(connection, session, None, (), search):
            raise LogError(
                f"search {search} is not unfinished any more: another kernel goes on with it, or it has ended"
            )
        journal.add(connection, SearchStep(search, "adopted", {"session": session}))
    trials = list(dict.fromkeys(int(trial) for trial in trials))
    for trial, state in history.states(connection, trials).items():
        if state in ENDED:
            raise LogError(f"trial {trial} is not interrupted any more: it has ended ({state})")
        if state is not TrialState.INTERRUPTED:
            raise LogError(f"trial {trial} is not interrupted any more: another kernel goes on with it")
    for trial in trash.among(connection, trials):
        raise LogError(f"trial {trial} is in the trash; restore it first")
    if trials:
        adoptions = [{"trial": trial, "session": session, "created": now()} for trial in trials]
        connection.execute(insert(schema.adoptions), adoptions)
        renew(connection, session)
        queued = [event_row(trial, "state", step=0, name=str(TrialState.QUEUED)) for trial in trials]
        connection.execute(insert(schema.events), queued)


def made_on(connection: Connection, trial: int) -> list[dict[str, str]]:
    """What `made_here` said in each session that has had a trial."""
    sessions, adoptions, trials = schema.sessions, schema.adoptions, schema.trials
    owners = [connection.execute(select(trials.c.session).where(trials.c.id == trial)).scalar_one()]
    owners += connection.execute(select(adoptions.c.session).where(adoptions.c.trial == trial)).scalars().all()
    rows = connection.execute(select(sessions.c.versions).where(sessions.c.id.in_(owners))).scalars()
    return [dict(json.loads(versions)) for versions in rows]


def identity(connection: Connection) -> str:
    """A short name of the log, from the first session that ever opened it: another log has another one."""
    sessions = schema.sessions
    names = ("host", "pid", "process_started", "created")
    first = connection.execute(select(*(sessions.c[name] for name in names)).order_by(sessions.c.id).limit(1)).one()
    return hashlib.sha256(repr(tuple(first)).encode()).hexdigest()[:12]


def _unfinished() -> Any:
    """Trials without an end, with their last state, when they got their owner, and what is known of that session."""
    trials, sessions, adoptions, leases = schema.trials, schema.sessions, schema.adoptions, schema.leases
    last = select(func.max(adoptions.c.id)).where(adoptions.c.trial == trials.c.id).correlate(trials).scalar_subquery()
    return (
        select(
            trials.c.id.label("trial"),
            history.last_state().label("state"),
            func.coalesce(adoptions.c.created, trials.c.created).label("owned"),
            sessions.c.id.label("session"),
            *(sessions.c[name] for name in ("host", "pid", "process_started", "machine", "created")),
            leases.c.renewed,
        )
        .select_from(trials)
        .outerjoin(adoptions, adoptions.c.id == last)
        .join(sessions, sessions.c.id == func.coalesce(adoptions.c.session, trials.c.session))
        .outerjoin(leases, leases.c.session == sessions.c.id)
        .where(trials.c.id.in_(history.unfinished()))
        .order_by(trials.c.id)
    )


def _lives(owner: Any, here: str, host: str) -> bool | None:
    """Whether a session's process is there; None when it cannot be looked up from here, or not for certain."""
    if owner.machine != here and (owner.machine is not None or owner.host != host):
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
    # another process has got the number, or the clock was set since: who renews a lease is alive
    return True if same else False if owner.renewed is None else None


def _recent(owner: Any, clock: float) -> bool:
    """Whether a session has given a sign of life within LEASE_SECONDS: its lease, or, when it never had one, what it wrote."""
    if owner.renewed is not None:
        # a lease of the future was written before the clock was set back: a living owner will renew it
        return bool(abs(clock - owner.renewed) <= LEASE_SECONDS)
    written = datetime.fromisoformat(max(owner.created, owner.owned)).timestamp()
    return bool(abs(clock - written) <= LEASE_SECONDS)


def _clock(connection: Connection) -> ColumnElement[float]:
    """Epoch seconds by a clock that all who share the database read alike."""
    if connection.dialect.name == "postgresql":
        return cast(extract("epoch", func.now()), Float)
    return literal(time.time(), Float)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
