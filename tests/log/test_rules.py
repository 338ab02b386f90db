"""Rows are never changed, and deleted out of the trash only: the database itself holds it, on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest
from sqlalchemy import text

import workbench as wb
from tests.log.making import ended
from workbench.log import TrialLog, schema

TABLES = [table for table in schema.metadata.sorted_tables if table is not schema.leases]


def rejects(log: TrialLog, statement: str, words: str = "append-only") -> None:
    with pytest.raises(wb.LogError, match=words), log.database.write() as connection:
        connection.execute(text(statement))


def test_an_ended_trial_takes_no_more(log: TrialLog) -> None:
    (trial,) = ended(log)
    rejects(log, f"INSERT INTO epochs (trial, epoch, step) VALUES ({trial}, 2, 20)", "ended trial takes no more events")
    values = "'message', '', '', ''"
    rejects(
        log, f"INSERT INTO events (trial, kind, name, message, created) VALUES ({trial}, {values})", "takes no more"
    )
