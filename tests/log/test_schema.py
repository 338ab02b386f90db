"""A log of another schema, or another program's database, is rejected and left as it is."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import workbench as wb
from workbench.log import TrialLog, schema


@pytest.mark.parametrize("version", [1, schema.VERSION - 1, schema.VERSION + 1])
def test_a_log_of_another_schema_is_rejected_unchanged(tmp_path: Path, version: int) -> None:
    path = tmp_path / "trials.db"
    TrialLog.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER schema_versions_no_update")
        connection.execute("UPDATE schema_versions SET version = ?", [version])
    dump = "\n".join(sqlite3.connect(path).iterdump())
    with pytest.raises(wb.LogError, match=rf"has schema version {version}.*uses {schema.VERSION}; open it with"):
        TrialLog.open(path)
    assert "\n".join(sqlite3.connect(path).iterdump()) == dump


def test_the_database_of_another_program_is_rejected_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(wb.LogError, match="the database of another program .its tables: recipes.; choose another"):
        TrialLog.open(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]


def test_a_log_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    identity = TrialLog.open(path).identity
    assert TrialLog.open(path).identity == identity
