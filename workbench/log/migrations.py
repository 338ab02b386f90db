"""The versions of the schema, how a log is brought to the newest, and the triggers that hold its rules on SQLite."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, Table, insert, inspect, select

from workbench.errors import LogError
from workbench.log import schema

__all__ = ["MIGRATIONS", "Migration", "migrate"]

OPENING_LOCK = 7_240_917
"""PostgreSQL's number of the lock that those who open a log take in turn: two that create the tables would collide."""


class Migration(NamedTuple):
    """One step from a schema version to the next."""

    version: int
    name: str
    apply: Callable[[Connection], None]


def migrate(connection: Connection, where: str) -> None:
    """Bring a log to the newest schema, inside the caller's transaction.

    Raises: LogError, with nothing changed, for the database of something else or a log of a newer schema.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({OPENING_LOCK})")
    tables = set(inspect(connection).get_table_names())
    present = 0
    if schema.versions.name in tables:
        present = max((version for (version,) in connection.execute(select(schema.versions.c.version))), default=0)
    elif tables:
        raise LogError(
            f"log={where!r}: is a database of something else (its tables: {', '.join(sorted(tables)[:5])}); "
            "choose another file or database for the log"
        )
    newest = MIGRATIONS[-1].version
    if present > newest:
        raise LogError(
            f"log={where!r}: was written by a newer version (schema {present}, this one knows {newest}); "
            "upgrade the workbench to open it; it is unchanged"
        )
    for migration in MIGRATIONS:
        if migration.version > present:
            migration.apply(connection)
            connection.execute(insert(schema.versions).values(version=migration.version, name=migration.name))
    if newest > present:
        _set_triggers(connection)


def _create(connection: Connection) -> None:
    """A new log, in the newest schema: later migrations find nothing to do."""
    schema.metadata.create_all(connection)


def _add_searches(connection: Connection) -> None:
    if _has(connection, schema.searches):
        return
    schema.searches.create(connection)
    for column in ("search INTEGER", "suggestion INTEGER", "setting TEXT"):
        connection.exec_driver_sql(f"ALTER TABLE trials ADD COLUMN {column}")


def _add_resume_and_bin(connection: Connection) -> None:
    if _has(connection, schema.bin_moves):
        return
    for table in (schema.leases, schema.search_steps, schema.adoptions, schema.bin_moves, schema.purged):
        table.create(connection)
    connection.exec_driver_sql("ALTER TABLE sessions ADD COLUMN machine TEXT")
    for table in (schema.trials, schema.edits):
        for index in table.indexes:
            index.create(connection)


def _add_findings(connection: Connection) -> None:
    if not _has(connection, schema.findings):
        schema.findings.create(connection)


MIGRATIONS: list[Migration] = [
    Migration(1, "first schema", _create),
    Migration(2, "searches", _add_searches),
    Migration(3, "resume and bin", _add_resume_and_bin),
    Migration(4, "findings", _add_findings),
]


def _has(connection: Connection, table: Table) -> bool:
    return table.name in inspect(connection).get_table_names()


def _set_triggers(connection: Connection) -> None:
    """The newest rules, in place of what an older schema had."""
    if connection.dialect.name != "sqlite":
        return
    for name in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars().all():
        connection.exec_driver_sql(f'DROP TRIGGER "{name}"')
    refused = "BEGIN SELECT RAISE(ABORT, 'the trial log is append-only'); END"
    for table in schema.metadata.sorted_tables:
        if table is schema.leases:
            continue
        connection.exec_driver_sql(f"CREATE TRIGGER {table.name}_no_update BEFORE UPDATE ON {table.name} {refused}")
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table.name}_no_delete BEFORE DELETE ON {table.name} {_unless_purged(table)} {refused}"
        )
    for table in (schema.epochs, schema.events):
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table.name}_ended BEFORE INSERT ON {table.name} "
            "WHEN EXISTS (SELECT 1 FROM ends WHERE trial = NEW.trial) BEGIN SELECT RAISE(ABORT, 'trial has ended'); END"
        )
    connection.exec_driver_sql(  # else a row here would open the way to deleting what is not in the bin
        "CREATE TRIGGER purged_only_from_bin BEFORE INSERT ON purged "
        "WHEN coalesce((SELECT action FROM bin WHERE trial = NEW.trial ORDER BY id DESC LIMIT 1), '') != 'deleted' "
        f"{refused}"
    )


def _unless_purged(table: Table) -> str:
    """The condition of the trigger against deleting: rows of a trial may go once the trial is in `purged`."""
    if table in (schema.bin_moves, schema.purged):
        return ""
    column = "id" if table is schema.trials else "trial" if "trial" in table.c else None
    return "" if column is None else f"WHEN NOT EXISTS (SELECT 1 FROM purged WHERE trial = OLD.{column})"
