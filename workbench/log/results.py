"""The results of a task's trials: how many there are, the best one, and the scores of those that ran to their end."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import JSON, ColumnElement, Connection, Float, and_, cast, func, literal, select

from workbench.core.events import TrialState
from workbench.log import findings, schema
from workbench.log.conditions import outside_trash
from workbench.log.database import Database
from workbench.log.records import REFIT, UNRANKED
from workbench.log.trash import REMOVED

__all__ = ["Results"]

FINISHED = (str(TrialState.COMPLETED), str(TrialState.EARLY_STOPPED))
"""States of trials that ran to an end of their own."""
BROKEN = (str(TrialState.DIVERGED), str(TrialState.FAILED))
ALTERED = "trial "
"""Prefix of what stands for the configuration of an altered trial; configurations are JSON objects."""


class Results:
    """Reads of the ended trials of a task. Replays and refits have no result of their own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, task_fingerprint: str) -> int:
        """The number of trials on a task outside the trash."""
        statement = select(func.count()).where(schema.trials.c.task_fingerprint == task_fingerprint, outside_trash())
        with self._database.read() as connection:
            return int(connection.execute(statement).scalar_one())

    def count_measured(self, task_fingerprint: str) -> int:
        """The number of trials measured on a task's validation split, also those in the trash and removed from it."""
        measured = select(schema.epochs.c.trial).where(schema.epochs.c.trial == schema.trials.c.id).exists()
        own = schema.trials.c.task_fingerprint == task_fingerprint, schema.trials.c.source != REFIT
        statement = select(func.count()).where(*own, measured)
        with self._database.read() as connection:
            removed = findings.read(connection, REMOVED, task_fingerprint)
            present = int(connection.execute(statement).scalar_one())
        return present + sum(int(finding.data["measured"]) for finding in removed)

    def best(self, task_fingerprint: str, metric: str, better: str) -> dict[str, Any] | None:
        """Trial, best_val_metric and best_epoch of the best ended trial on a task; None if there is none.

        better: "higher" or "lower". Trials that diverged or failed do not count.
        """
        column = schema.ends.c.best_val_metric
        statement = (
            select(schema.trials.c.id, column, schema.ends.c.best_epoch)
            .join(schema.ends, schema.ends.c.trial == schema.trials.c.id)
            .where(_results_of(task_fingerprint, metric), column.isnot(None), schema.ends.c.state.not_in(BROKEN))
            .order_by(column.desc() if better == "higher" else column, schema.trials.c.id)
            .limit(1)
        )
        with self._database.read() as connection:
            if connection.dialect.name == "postgresql":  # where NaN is a number, larger than all others
                statement = statement.where(column != literal(math.nan, Float))
            row = connection.execute(statement).first()
        return (
            None if row is None else {"trial": int(row[0]), "best_val_metric": float(row[1]), "best_epoch": int(row[2])}
        )

    def scores(self, task_fingerprint: str, metric: str) -> pd.DataFrame:
        """One row a trial that ran to its end: trial, configuration, seed (NaN for none), score (best validation metric).

        An altered trial is a configuration of its own, "trial 7": it is no sample of the one it began or ended with.
        """
        table, ends = schema.trials, schema.ends
        with self._database.read() as connection:
            statement = (
                select(table.c.id, table.c.configuration, _seed(connection), ends.c.best_val_metric)
                .join(ends, ends.c.trial == table.c.id)
                .where(_results_of(task_fingerprint, metric), ends.c.state.in_(FINISHED))
                .order_by(table.c.id)
            )
            rows = connection.execute(statement).all()
            altered = _altered(connection)
        frame = pd.DataFrame(rows, columns=["trial", "configuration", "seed", "score"])
        own = frame["trial"].isin(altered)
        frame.loc[own, "configuration"] = [f"{ALTERED}{trial}" for trial in frame.loc[own, "trial"]]
        return frame.astype({"trial": np.int64, "seed": float, "score": float})

    def cut_off(self, task_fingerprint: str, metric: str) -> int:
        """The number of ended trials without a score: they were stopped, pruned, failed or diverged."""
        ends = schema.ends
        trials = select(func.count()).select_from(schema.trials).join(ends, ends.c.trial == schema.trials.c.id)
        statement = trials.where(_results_of(task_fingerprint, metric), ends.c.state.not_in(FINISHED))
        with self._database.read() as connection:
            return int(connection.execute(statement).scalar_one())

    def altered(self) -> set[int]:
        """The trials that were not trained by one configuration throughout: branches, and those with live changes."""
        with self._database.read() as connection:
            return _altered(connection)


def _altered(connection: Connection) -> set[int]:
    table = schema.events
    statement = select(table.c.trial).where(table.c.kind.in_(("branch", "change"))).distinct()
    return {int(trial) for trial in connection.execute(statement).scalars()}


def _seed(connection: Connection) -> ColumnElement[Any]:
    """The seed out of a trial's config, read by the database: parsing the JSON of each trial takes ten times as long."""
    config = schema.trials.c.config
    if connection.dialect.name == "postgresql":
        return cast(func.json_extract_path_text(cast(config, JSON), "seed"), Float)
    return func.json_extract(config, "$.seed")


def _results_of(task_fingerprint: str, metric: str) -> ColumnElement[bool]:
    """The trials on a task, measured by a metric, outside the trash, that have a result of their own."""
    table = schema.trials
    return and_(
        table.c.task_fingerprint == task_fingerprint,
        table.c.metric == metric,
        table.c.source.not_in(UNRANKED),
        outside_trash(),
    )
