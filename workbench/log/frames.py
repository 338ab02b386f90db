"""Reads of the log as DataFrames."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Select, Table, func, select

from workbench.domains import IntRange, Range
from workbench.events import TrialState
from workbench.hyperparameters import HYPERPARAMETERS
from workbench.log import schema

__all__ = ["best", "curves", "events", "open_states", "scores", "searches", "trials"]

FIRST = ("trial", "name", "source", "state", "parent")
RESULTS = (
    "epochs_run",
    "best_epoch",
    "best_val_loss",
    "best_val_metric",
    "train_loss",
    "val_loss",
    "val_metric",
    "seconds",
)
LAST = (
    "device",
    "cohort",
    "created",
    "note",
    "tags",
    "task",
    "metric",
    "reason",
    "parent_epoch",
    "search",
    "suggestion",
    "task_fingerprint",
)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the garbage collector: it would look at each of the millions of young objects again and again, for nothing."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@_no_collection()
def trials(connection: Connection, task_fingerprint: str | None = None, last: int | None = None) -> pd.DataFrame:
    """One row a trial: FIRST, every hyperparameter, RESULTS, LAST. Missing numbers are NaN or <NA>.

    task_fingerprint: only those on this task. last: only so many, the newest.
    """
    kept = ("id", *FIRST[1:3], "parent", *LAST[:7], *LAST[8:], "config")
    ended = ("state", *RESULTS, "reason")
    columns = [*(schema.trials.c[name] for name in kept), *(schema.ends.c[name] for name in ended)]
    statement = (
        select(*columns).outerjoin(schema.ends, schema.ends.c.trial == schema.trials.c.id).order_by(schema.trials.c.id)
    )
    if task_fingerprint is not None:
        statement = statement.where(schema.trials.c.task_fingerprint == task_fingerprint)
    if last is not None:
        newest = select(schema.trials.c.id).order_by(schema.trials.c.id.desc()).limit(last)
        if task_fingerprint is not None:
            newest = newest.where(schema.trials.c.task_fingerprint == task_fingerprint)
        statement = statement.where(schema.trials.c.id.in_(newest))
    names = ["trial", *kept[1:], *ended]
    # column by column: pandas looks at each attribute of each row object otherwise
    found = list(zip(*connection.execute(statement).all(), strict=True)) or [()] * len(names)
    frame = pd.DataFrame(dict(zip(names, found, strict=True)))
    configs = pd.DataFrame(json.loads(f"[{','.join(frame.pop('config'))}]"), index=frame.index)
    settings = [*HYPERPARAMETERS, *(name for name in configs if name not in HYPERPARAMETERS)]
    frame = pd.concat([frame, configs.reindex(columns=settings)], axis=1)
    frame = frame.set_index("trial", drop=False).rename_axis(None)
    _fill_open(connection, frame)
    _fill_annotations(connection, frame)
    tags = {text: tuple(json.loads(text)) for text in frame["tags"].unique()}
    frame["tags"] = [tags[text] for text in frame["tags"]]
    frame["created"] = pd.to_datetime(frame["created"], format="ISO8601", utc=True)
    frame["reason"] = frame["reason"].fillna("")
    numbers = ["best_val_loss", "best_val_metric", "train_loss", "val_loss", "val_metric", "seconds"]
    whole = ["parent", "parent_epoch", "cohort", "epochs_run", "best_epoch", "search", "suggestion"]
    for name, declaration in HYPERPARAMETERS.items():
        if isinstance(declaration.domain, IntRange):
            whole.append(name)
        elif isinstance(declaration.domain, Range):
            numbers.append(name)
    frame = frame.astype({**dict.fromkeys(numbers, np.float64), **dict.fromkeys(whole, "Int64")})
    return frame[[*FIRST, *settings, *RESULTS, *LAST]].reset_index(drop=True)


def curves(connection: Connection, trials: Sequence[int] | None) -> pd.DataFrame:
    """One row an epoch, ordered by trial and epoch; every number as it was measured, NaN and infinity included."""
    statement = _of(select(schema.epochs), schema.epochs, trials)
    rows = connection.execute(statement.order_by(schema.epochs.c.trial, schema.epochs.c.epoch)).all()
    frame = pd.DataFrame(rows, columns=[column.name for column in schema.epochs.c])
    whole = dict.fromkeys(("trial", "epoch", "step"), np.int64)
    return frame.astype({name: whole.get(name, np.float64) for name in frame})


def events(connection: Connection, trials: Sequence[int] | None) -> pd.DataFrame:
    """State changes, live changes and remarks in the order they happened."""
    names = ("trial", "epoch", "step", "kind", "name", "old", "new", "message", "created")
    statement = _of(select(*(schema.events.c[name] for name in names)), schema.events, trials)
    frame = pd.DataFrame(connection.execute(statement.order_by(schema.events.c.id)).all(), columns=list(names))
    frame = frame.astype({"trial": np.int64, "epoch": "Int64", "step": "Int64", "old": float, "new": float})
    frame["created"] = pd.to_datetime(frame["created"], format="ISO8601", utc=True)
    return frame


def best(connection: Connection, task_fingerprint: str, metric: str, better: str) -> dict[str, Any] | None:
    """Trial, best_val_metric and best_epoch of the best ended trial of a task, None when there is none."""
    column = schema.ends.c.best_val_metric
    statement = (
        select(schema.trials.c.id, column, schema.ends.c.best_epoch)
        .join(schema.ends, schema.ends.c.trial == schema.trials.c.id)
        .where(
            schema.trials.c.task_fingerprint == task_fingerprint, schema.trials.c.metric == metric, column.isnot(None)
        )
        .order_by(column.desc() if better == "higher" else column, schema.trials.c.id)
        .limit(1)
    )
    row = connection.execute(statement).first()
    return None if row is None else {"trial": int(row[0]), "best_val_metric": float(row[1]), "best_epoch": int(row[2])}


def scores(connection: Connection, task_fingerprint: str, metric: str) -> pd.DataFrame:
    """Trial, setting and best validation metric of the trials that ran to their end."""
    table, ends = schema.trials, schema.ends
    finished = (str(TrialState.COMPLETED), str(TrialState.EARLY_STOPPED))
    statement = (
        select(table.c.id, table.c.setting, ends.c.best_val_metric)
        .join(ends, ends.c.trial == table.c.id)
        .where(table.c.task_fingerprint == task_fingerprint, table.c.metric == metric, ends.c.state.in_(finished))
        .order_by(table.c.id)
    )
    frame = pd.DataFrame(connection.execute(statement).all(), columns=["trial", "setting", "score"])
    old = frame["setting"].isna()
    if old.any():  # of a log from before settings were kept
        wanted = select(table.c.id, table.c.config).where(table.c.setting.is_(None))
        known = {int(trial): _without_seed(config) for trial, config in connection.execute(wanted)}
        frame.loc[old, "setting"] = [known[int(trial)] for trial in frame.loc[old, "trial"]]
    return frame.astype({"trial": np.int64, "score": float})


def _without_seed(config: str) -> str:
    values = json.loads(config)
    values.pop("seed", None)
    return json.dumps(values, sort_keys=True)


def searches(connection: Connection) -> pd.DataFrame:
    """One row a search: its number, strategy, settings, and how many trials it has started."""
    columns = ("id", "strategy", "continues", "settings", "created", "task_fingerprint")
    rows = connection.execute(
        select(*(schema.searches.c[name] for name in columns)).order_by(schema.searches.c.id)
    ).all()
    frame = pd.DataFrame(rows, columns=["search", *columns[1:]]).astype({"continues": "Int64"})
    settings = pd.DataFrame([json.loads(text) for text in frame.pop("settings")], index=frame.index)
    counts = select(schema.trials.c.search, func.count()).where(schema.trials.c.search.isnot(None))
    started = {int(search): int(n) for search, n in connection.execute(counts.group_by(schema.trials.c.search))}
    frame.insert(3, "trials", [started.get(int(search), 0) for search in frame["search"]])
    frame["created"] = pd.to_datetime(frame["created"], format="ISO8601", utc=True)
    return pd.concat([frame, settings], axis=1)


def open_states(connection: Connection, trials: Iterable[int]) -> dict[int, TrialState]:
    """The last state that trials without an end have told; those that never started are missing."""
    table = schema.events
    latest = (
        select(func.max(table.c.id))
        .where(table.c.kind == "state", table.c.trial.in_(list(trials)))
        .group_by(table.c.trial)
    )
    rows = connection.execute(select(table.c.trial, table.c.name).where(table.c.id.in_(latest)))
    return {int(trial): TrialState(state) for trial, state in rows}


def _fill_open(connection: Connection, frame: pd.DataFrame) -> None:
    """State and results so far of the trials that have not ended, in place."""
    unfinished = frame.index[frame["state"].isna()]
    if not len(unfinished):
        return
    without_end = select(schema.trials.c.id).where(
        ~select(schema.ends.c.trial).where(schema.ends.c.trial == schema.trials.c.id).exists()
    )
    states = open_states(connection, [int(trial) for trial in unfinished[-1000:]])
    frame["state"] = frame["state"].astype(object)
    frame.loc[unfinished, "state"] = [str(states.get(int(trial), TrialState.QUEUED)) for trial in unfinished]
    statement = select(schema.epochs).where(schema.epochs.c.trial.in_(without_end))
    rows = pd.DataFrame(connection.execute(statement).all(), columns=[column.name for column in schema.epochs.c])
    frame.loc[unfinished, "epochs_run"] = 0
    if rows.empty:
        return
    groups = rows.groupby("trial")
    last = rows.sort_values("epoch").drop_duplicates("trial", keep="last").set_index("trial")
    found = last[["train_loss", "val_loss", "val_metric"]].copy()
    found["epochs_run"], found["seconds"] = groups["epoch"].max(), groups["seconds"].sum()
    found["best_epoch"] = 0
    losses = rows["val_loss"].astype(float)
    best = rows.loc[losses[losses.notna()].groupby(rows["trial"]).idxmin()].set_index("trial")
    for name, column in (("best_epoch", "epoch"), ("best_val_loss", "val_loss"), ("best_val_metric", "val_metric")):
        found.loc[best.index, name] = best[column]
    for name in found:
        frame.loc[found.index, name] = found[name]


def _fill_annotations(connection: Connection, frame: pd.DataFrame) -> None:
    """The latest name, note and tags of each trial, in place."""
    table = schema.edits
    for trial, field, value in connection.execute(
        select(table.c.trial, table.c.field, table.c.value).order_by(table.c.id)
    ):
        frame.loc[trial, field] = value


def _of(statement: Select[Any], table: Table, trials: Sequence[int] | None) -> Select[Any]:
    return statement if trials is None else statement.where(table.c.trial.in_([int(trial) for trial in trials]))
