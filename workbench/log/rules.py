"""The check of a log's schema, and the triggers that keep the log append-only."""

from __future__ import annotations

from sqlalchemy import Connection, Table, func, insert, inspect, select

from workbench.core.errors import LogError
from workbench.log import schema

__all__ = ["create_or_check"]

OPENING_LOCK = 7_240_917
"""PostgreSQL's number of the lock that processes take in turn to open a log: two that create the tables would collide."""
APPEND_ONLY, HAS_ENDED = "the trial log is append-only", "trial has ended"
"""The errors that the triggers raise; `database.TRIGGERED` has the messages for people."""
RULED = [table for table in schema.metadata.sorted_tables if table is not schema.leases]
TRIAL_ROWS = (schema.epochs, schema.events)
"""Tables that take no more rows of a trial that has ended."""
NOT_IN_TRASH = "coalesce((SELECT action FROM trash WHERE trial = NEW.trial ORDER BY id DESC LIMIT 1), '') != 'deleted'"


def create_or_check(connection: Connection, where: str) -> None:
    """Create the tables and triggers in an empty database, or check that those present are of this schema.

    Raises LogError, with nothing changed, for the database of another program or a log of another schema version.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({OPENING_LOCK})")
    tables = set(inspect(connection).get_table_names())
    if not tables:
        schema.metadata.create_all(connection)
        connection.execute(insert(schema.versions).values(version=schema.VERSION, name="schema"))
        _create_triggers(connection)
        return
    if schema.versions.name not in tables:
        raise LogError(
            f"log={where!r}: is the database of another program (its tables: {', '.join(sorted(tables)[:5])}); "
            "choose another file or database for the log"
        )
    present = connection.execute(select(func.max(schema.versions.c.version))).scalar_one() or 0
    if present != schema.VERSION:
        raise LogError(
            f"log={where!r}: has schema version {present}, this version of the workbench uses {schema.VERSION}; "
            "open it with the version that wrote it, or choose another log (it is unchanged)"
        )


def _create_triggers(connection: Connection) -> None:
    """Set the triggers of this schema."""
    if connection.dialect.name == "sqlite":
        _set_sqlite_triggers(connection)
    elif connection.dialect.name == "postgresql":
        _set_postgresql_triggers(connection)


def _set_sqlite_triggers(connection: Connection) -> None:
    for name in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars().all():
        connection.exec_driver_sql(f'DROP TRIGGER "{name}"')
    reject = f"BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END"
    for table in RULED:
        connection.exec_driver_sql(f"CREATE TRIGGER {table.name}_no_update BEFORE UPDATE ON {table.name} {reject}")
        column = _purged_by(table)
        purged = f"WHEN NOT EXISTS (SELECT 1 FROM purged WHERE trial = OLD.{column})" if column else ""
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table.name}_no_delete BEFORE DELETE ON {table.name} {purged} {reject}"
        )
    for table in TRIAL_ROWS:
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table.name}_ended BEFORE INSERT ON {table.name} "
            f"WHEN EXISTS (SELECT 1 FROM ends WHERE trial = NEW.trial) BEGIN SELECT RAISE(ABORT, '{HAS_ENDED}'); END"
        )
    connection.exec_driver_sql(  # else a row here would allow the deletion of a trial outside the trash
        f"CREATE TRIGGER purged_only_from_trash BEFORE INSERT ON purged WHEN {NOT_IN_TRASH} {reject}"
    )


def _set_postgresql_triggers(connection: Connection) -> None:
    """The same rules. A condition on other tables needs a function there."""
    functions = {
        "workbench_reject": f"RAISE EXCEPTION '{APPEND_ONLY}';",
        "workbench_reject_unless_purged": (
            "IF NOT EXISTS (SELECT 1 FROM purged WHERE trial = (to_jsonb(OLD) ->> TG_ARGV[0])::bigint) "
            f"THEN RAISE EXCEPTION '{APPEND_ONLY}'; END IF; RETURN OLD;"
        ),
        "workbench_reject_ended": (
            f"IF EXISTS (SELECT 1 FROM ends WHERE trial = NEW.trial) THEN RAISE EXCEPTION '{HAS_ENDED}'; END IF; RETURN NEW;"
        ),
        "workbench_reject_outside_trash": f"IF {NOT_IN_TRASH} THEN RAISE EXCEPTION '{APPEND_ONLY}'; END IF; RETURN NEW;",
    }
    for name, body in functions.items():
        connection.exec_driver_sql(
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
        )

    def trigger(name: str, event: str, table: Table, function: str) -> None:
        each = "STATEMENT" if event == "TRUNCATE" else "ROW"
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {table.name}_{name} ON {table.name}")
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table.name}_{name} BEFORE {event} ON {table.name} FOR EACH {each} EXECUTE FUNCTION {function}"
        )

    for table in RULED:
        column = _purged_by(table)
        trigger("no_update", "UPDATE", table, "workbench_reject()")
        trigger("no_truncate", "TRUNCATE", table, "workbench_reject()")
        deleting = f"workbench_reject_unless_purged('{column}')" if column else "workbench_reject()"
        trigger("no_delete", "DELETE", table, deleting)
    for table in TRIAL_ROWS:
        trigger("ended", "INSERT", table, "workbench_reject_ended()")
    trigger("only_from_trash", "INSERT", schema.purged, "workbench_reject_outside_trash()")


def _purged_by(table: Table) -> str | None:
    """The column with the trial whose rows may be deleted once it is in `purged`; None for a table that keeps all its rows."""
    if table in (schema.trash_moves, schema.purged):
        return None
    return "id" if table is schema.trials else "trial" if "trial" in table.c else None
