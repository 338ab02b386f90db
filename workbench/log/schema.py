"""The tables of the trial log, their version and their migrations.

Rows are inserted and never changed or removed; what a trial is now follows from its rows. On SQLite, triggers hold both
rules: nothing is updated or deleted, and nothing is added to a trial that has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Column, Connection, Float, ForeignKey, Integer, MetaData, Table, Text, insert, inspect, select

from workbench.errors import LogError

__all__ = [
    "MIGRATIONS",
    "Migration",
    "annotations",
    "cohorts",
    "ends",
    "epochs",
    "events",
    "migrate",
    "searches",
    "sessions",
    "trials",
]

metadata = MetaData()

versions = Table(
    "schema_versions",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
)

# a process that writes; host, pid and start together tell whether it still lives
sessions = Table(
    "sessions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started", Float, nullable=False),
    Column("created", Text, nullable=False),
    Column("versions", Text, nullable=False),
)

# numbers for trials that train together
cohorts = Table("cohorts", metadata, Column("id", Integer, primary_key=True), Column("created", Text, nullable=False))

trials = Table(
    "trials",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("session", Integer, ForeignKey("sessions.id"), nullable=False),
    Column("created", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("parent", Integer, ForeignKey("trials.id")),
    Column("parent_epoch", Integer),
    Column("task", Text, nullable=False),
    Column("task_fingerprint", Text, nullable=False),
    Column("metric", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("cohort", Integer),
    Column("config", Text, nullable=False),
    Column("builder_source", Text),
    Column("search", Integer),
    Column("suggestion", Integer),
    Column("setting", Text),
    sqlite_autoincrement=True,
)

# what was searched and how; settings: JSON of the space, the base setting, the budget and the pruner
searches = Table(
    "searches",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("session", Integer, ForeignKey("sessions.id"), nullable=False),
    Column("created", Text, nullable=False),
    Column("task_fingerprint", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("continues", Integer),
    Column("settings", Text, nullable=False),
    sqlite_autoincrement=True,
)

# SQLite keeps NaN as NULL; these columns have no other use for NULL
epochs: Table = Table(
    "epochs",
    metadata,
    Column("trial", Integer, ForeignKey("trials.id"), primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("step", Integer, nullable=False),
    Column("train_loss", Float),
    Column("penalty", Float),
    Column("train_metric", Float),
    Column("val_loss", Float),
    Column("val_metric", Float),
    Column("learning_rate", Float),
    Column("grad_norm", Float),
    Column("seconds", Float),
)

# state changes, live changes of hyperparameters, remarks
events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial", Integer, ForeignKey("trials.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("epoch", Integer),
    Column("step", Integer),
    Column("name", Text, nullable=False),
    Column("old", Float),
    Column("new", Float),
    Column("message", Text, nullable=False),
    Column("created", Text, nullable=False),
)

# the last word on a trial, with what a table of many trials shows, so that it need not read their epochs
ends = Table(
    "ends",
    metadata,
    Column("trial", Integer, ForeignKey("trials.id"), primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("epochs_run", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("best_epoch", Integer, nullable=False),
    Column("best_val_loss", Float),
    Column("best_val_metric", Float),
    Column("train_loss", Float),
    Column("val_loss", Float),
    Column("val_metric", Float),
    Column("seconds", Float),
    Column("reason", Text, nullable=False),
    Column("traceback", Text, nullable=False),
    Column("created", Text, nullable=False),
)

# later words on a trial's name, note or tags: the last one counts
edits = Table(
    "annotations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial", Integer, ForeignKey("trials.id"), nullable=False),
    Column("field", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("created", Text, nullable=False),
)


class Migration(NamedTuple):
    """One step from a schema version to the next."""

    version: int
    name: str
    apply: Callable[[Connection], None]


def _create(connection: Connection) -> None:
    """A new log, in the newest schema: later migrations find nothing to do."""
    metadata.create_all(connection)
    if connection.dialect.name != "sqlite":
        return
    for table in metadata.sorted_tables:
        _make_append_only(connection, table)
    for table in (epochs, events):
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table.name}_ended BEFORE INSERT ON {table.name} "
            "WHEN EXISTS (SELECT 1 FROM ends WHERE trial = NEW.trial) BEGIN SELECT RAISE(ABORT, 'trial has ended'); END"
        )


def _make_append_only(connection: Connection, table: Table) -> None:
    for verb in ("UPDATE", "DELETE"):
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table.name}_no_{verb.lower()} BEFORE {verb} ON {table.name} "
            "BEGIN SELECT RAISE(ABORT, 'the trial log is append-only'); END"
        )


def _add_searches(connection: Connection) -> None:
    if searches.name in inspect(connection).get_table_names():
        return
    searches.create(connection)
    for column in ("search INTEGER", "suggestion INTEGER", "setting TEXT"):
        connection.exec_driver_sql(f"ALTER TABLE trials ADD COLUMN {column}")
    if connection.dialect.name == "sqlite":
        _make_append_only(connection, searches)


MIGRATIONS: list[Migration] = [Migration(1, "first schema", _create), Migration(2, "searches", _add_searches)]


def migrate(connection: Connection, where: str) -> None:
    """Bring a log to the newest schema, inside the caller's transaction.

    Raises: LogError, with nothing changed, for the database of something else or a log of a newer schema.
    """
    tables = set(inspect(connection).get_table_names())
    present = 0
    if versions.name in tables:
        present = max((version for (version,) in connection.execute(select(versions.c.version))), default=0)
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
            connection.execute(insert(versions).values(version=migration.version, name=migration.name))
