"""What trials went through: cohorts, live changes, branches and ends, for those who resume, branch or replay a trial."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Select, func, select

from workbench.core.events import TrialEnded, TrialState
from workbench.log import schema
from workbench.log.conditions import check_known, outside_trash, trashed
from workbench.log.database import Database
from workbench.log.records import chunks

__all__ = ["History", "branch_changes"]


class History:
    """Reads of the events of trials."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def cohorts(self, *trials: int) -> dict[int, tuple[int, int]]:
        """The (series, after) of the cohort each trial joined last; trials in no cohort are left out.

        series: of the cohort's checkpoints. after: the trial's epochs before it joined (see `events.CohortJoined`).
        """
        with self._database.read() as connection:
            return _cohorts(connection, trials)

    def members(self, series: int) -> dict[int, int]:
        """The trials that joined a series of checkpoints last, ascending, each with its `after` as in `cohorts`."""
        with self._database.read() as connection:
            return _members(connection, series)

    def largest_cohort(self, trial: int) -> int:
        """The most rows of all cohorts that a trial was in: 1 if it has always trained alone."""
        with self._database.read() as connection:
            rows = connection.execute(_events(trial, "cohort", func.max(schema.events.c.step))).scalar()
            cohort = _cohorts(connection, [trial]).get(trial)
            members = 0 if cohort is None else len(_members(connection, cohort[0]))
            return max(int(rows or 1), members)

    def origin(self, trial: int) -> tuple[int, int] | None:
        """The trial and epoch that a branch began from, also if these are in the trash; None for any other trial."""
        table = schema.events
        with self._database.read() as connection:
            statement = _events(trial, "branch", table.c.name, table.c.epoch).order_by(table.c.id).limit(1)
            row = connection.execute(statement).first()
            return None if row is None else (int(row[0]), int(row[1]))

    def mismatch(self, trial: int) -> str:
        """How the model of a trial's best weights differs from the measured one (see `events.Mismatch`), "" if it agrees."""
        table = schema.events
        with self._database.read() as connection:
            found = connection.execute(_events(trial, "message", table.c.message).where(table.c.name == "mismatch"))
            return str(found.scalar() or "")

    def branches(self, task_fingerprint: str | None = None) -> pd.DataFrame:
        """One row a branch outside the trash: trial, parent, epoch, changes ((old, new) by field)."""
        table = schema.events
        statement = (
            select(table.c.trial, table.c.name, table.c.epoch, table.c.message)
            .join(schema.trials, schema.trials.c.id == table.c.trial)
            .where(table.c.kind == "branch", outside_trash())
            .order_by(table.c.id)
        )
        if task_fingerprint is not None:
            statement = statement.where(schema.trials.c.task_fingerprint == task_fingerprint)
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        frame = pd.DataFrame(rows, columns=["trial", "parent", "epoch", "changes"])
        frame["changes"] = [branch_changes(message) for message in frame["changes"]]
        return frame.astype({"trial": np.int64, "parent": np.int64, "epoch": np.int64, "changes": object})

    def folds(self, *trials: int) -> pd.DataFrame:
        """The folds of cross-validated trials: trial, epoch, fold (from 1), val_loss and val_<metric>, one row a fold and epoch.

        Without trials, all outside the trash. Raises: LogError for an unknown trial.
        """
        table = schema.epochs
        statement = select(table.c.trial, table.c.epoch, table.c.folds).order_by(table.c.trial, table.c.epoch)
        with self._database.read() as connection:
            check_known(connection, trials)
            where = table.c.trial.in_(trials) if trials else table.c.trial.not_in(trashed())
            found = connection.execute(statement.where(where, table.c.folds != "{}")).all()
        rows = []
        for trial, epoch, text in found:
            scores = {f"val_{name}": values for name, values in json.loads(text).items()}
            for fold, own in enumerate(zip(*scores.values(), strict=True), 1):
                rows.append({"trial": trial, "epoch": epoch, "fold": fold, **dict(zip(scores, own, strict=True))})
        return pd.DataFrame(rows, columns=None if rows else ["trial", "epoch", "fold", "val_loss"])

    def changes(self, trial: int) -> list[tuple[int, str, float]]:
        """A trial's live changes in order: step, hyperparameter, new value. Raises: LogError for an unknown trial."""
        table = schema.events
        with self._database.read() as connection:
            check_known(connection, [trial])
            statement = _events(trial, "change", table.c.step, table.c.name, table.c.new).order_by(table.c.id)
            rows = connection.execute(statement).all()
        return [(int(step), str(name), math.nan if new is None else float(new)) for step, name, new in rows]

    def script(self, trial: int) -> tuple[list[tuple[int, str, float]], int | None]:
        """The live changes that a trial was started with, and the step to stop after, None for none."""
        table = schema.events
        statement = _events(trial, "script", table.c.message).order_by(table.c.id.desc()).limit(1)
        with self._database.read() as connection:
            message = connection.execute(statement).scalar()
        if message is None:
            return [], None
        script = json.loads(message)
        return [(int(step), str(name), float(value)) for step, name, value in script["changes"]], script["stop_after"]

    def ends(self, *trials: int) -> dict[int, TrialEnded]:
        """The end of each of some trials that has ended."""
        columns = [schema.ends.c[field.name] for field in fields(TrialEnded)]
        found: dict[int, TrialEnded] = {}
        with self._database.read() as connection:
            for some in chunks(trials):
                for row in connection.execute(select(*columns).where(schema.ends.c.trial.in_(some))):
                    values: dict[str, Any] = {
                        name: math.nan if value is None else value for name, value in row._mapping.items()
                    }
                    found[int(row.trial)] = TrialEnded(**{**values, "state": TrialState(row.state)})
        return found


def branch_changes(message: str) -> dict[str, tuple[Any, Any]]:
    """Old and new value by field, from the message of a branch."""
    return {field: (old, new) for field, (old, new) in json.loads(message).items()}


def _events(trial: int, kind: str, *columns: Any) -> Select[Any]:
    """Columns of a trial's events of one kind."""
    return select(*columns).where(schema.events.c.kind == kind, schema.events.c.trial == trial)


def _cohorts(connection: Connection, trials: tuple[int, ...] | list[int]) -> dict[int, tuple[int, int]]:
    table = schema.events
    found: dict[int, tuple[int, int]] = {}
    for some in chunks(trials):
        statement = (
            select(table.c.trial, table.c.name, table.c.epoch)
            .where(table.c.kind == "cohort", table.c.trial.in_(some))
            .order_by(table.c.id)
        )
        for trial, series, after in connection.execute(statement):
            if series:
                found[int(trial)] = (int(series), int(after))
            else:  # it left
                found.pop(int(trial), None)
    return found


def _members(connection: Connection, series: int) -> dict[int, int]:
    table = schema.events
    statement = select(table.c.trial).where(table.c.kind == "cohort", table.c.name == str(series)).distinct()
    ever = [int(trial) for trial in connection.execute(statement).scalars()]
    return {trial: after for trial, (last, after) in sorted(_cohorts(connection, ever).items()) if last == series}
