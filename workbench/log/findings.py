"""Results found after the training: openings of the test set, ensembles, versions of a task, prescriptions that were tried.

Added in order, read back in order, never changed; they outlive the trials they name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select

from workbench.log import schema
from workbench.log.records import now

__all__ = ["Check", "Finding", "add", "read"]


class Finding(NamedTuple):
    """number: counted over all kinds of a log. kind: "opening", "ensemble"... data: JSON values. created: ISO 8601."""

    number: int
    kind: str
    task_fingerprint: str
    data: Mapping[str, Any]
    created: str


Check = Callable[[Sequence[Finding]], object]
"""Gets the earlier findings of the kind; raises an error if they forbid another one."""


def add(connection: Connection, session: int, kind: str, data: Mapping[str, Any], task_fingerprint: str) -> int:
    """Add a finding; returns its number."""
    values = {
        "session": session,
        "created": now(),
        "kind": kind,
        "task_fingerprint": task_fingerprint,
        "data": json.dumps(dict(data), ensure_ascii=False),
    }
    statement = insert(schema.findings).values(values).returning(schema.findings.c.id)
    return int(connection.execute(statement).scalar_one())


def read(connection: Connection, kind: str | None, task_fingerprint: str | None) -> list[Finding]:
    """Findings in the order they were added. None: of every kind, on every task."""
    table = schema.findings
    statement = select(table.c.id, table.c.kind, table.c.task_fingerprint, table.c.data, table.c.created)
    if kind is not None:
        statement = statement.where(table.c.kind == kind)
    if task_fingerprint is not None:
        statement = statement.where(table.c.task_fingerprint == task_fingerprint)
    rows = connection.execute(statement.order_by(table.c.id))
    return [Finding(int(number), kind, task, json.loads(data), created) for number, kind, task, data, created in rows]
