"""Reads of the log as DataFrames."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import JSON, ColumnElement, Connection, Float, Select, Table, and_, cast, func, literal, select

from workbench.domains import IntRange, Range
from workbench.events import TrialState
from workbench.hyperparameters import HYPERPARAMETERS
from workbench.log import bin, findings, history, schema
from workbench.log.openings import KIND, openings
from workbench.log.records import chunks

__all__ = ["best", "binned", "branches", "count", "curves", "events", "looked", "scores", "searches", "trials"]

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
    "test_metric",
    "test_set",
)


INTERNAL = ("cohort", "script")
"""Events that only those read who go on with a trial."""


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


def trials(connection: Connection, task_fingerprint: str | None = None, last: int | None = None) -> pd.DataFrame:
    """One row a trial: FIRST, every hyperparameter, RESULTS, LAST. Missing numbers are NaN or <NA>. Without the bin.

    task_fingerprint: only those on this task. last: only so many, the newest.
    """
    wanted = select(schema.trials.c.id).where(_kept())
    if task_fingerprint is not None:
        wanted = wanted.where(schema.trials.c.task_fingerprint == task_fingerprint)
    if last is not None:
        wanted = wanted.order_by(schema.trials.c.id.desc()).limit(last)
    return _trials(connection, wanted)


def binned(connection: Connection) -> pd.DataFrame:
    """The trials in the bin: the columns of `trials`, and when each was deleted."""
    frame = _trials(connection, select(schema.trials.c.id).where(schema.trials.c.id.in_(bin.binned())))
    deleted = bin.deleted_at(connection)
    times = pd.Series([deleted[int(trial)] for trial in frame["trial"]], index=frame.index, dtype=object)
    frame["deleted"] = pd.to_datetime(times, format="ISO8601", utc=True)
    return frame


@_no_collection()
def _trials(connection: Connection, wanted: Select[Any]) -> pd.DataFrame:
    """The rows of `trials` for the numbers that a subquery selects."""
    kept = ("id", *FIRST[1:3], "parent", *LAST[:7], *LAST[8:-2], "config")
    ended = ("state", *RESULTS, "reason")
    columns = [*(schema.trials.c[name] for name in kept), *(schema.ends.c[name] for name in ended)]
    statement = (
        select(*columns).outerjoin(schema.ends, schema.ends.c.trial == schema.trials.c.id).order_by(schema.trials.c.id)
    )
    statement = statement.where(schema.trials.c.id.in_(wanted))
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
    _fill_openings(connection, frame)
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
    arrays: dict[str, Any] = {name: frame[name].array for name in (*FIRST, *settings, *RESULTS, *LAST)}
    arrays |= {name: np.asarray(arrays[name], np.float64) for name in numbers}
    arrays |= {name: _whole(np.asarray(arrays[name], np.float64)) for name in whole}
    return pd.DataFrame(arrays)


def _whole(values: NDArray[np.float64]) -> pd.arrays.IntegerArray:
    """Integers with gaps; `astype` takes ten times as long, for each of some twenty columns. values: below 2**53."""
    gaps = np.isnan(values)
    return pd.arrays.IntegerArray(np.where(gaps, 0, values).astype(np.int64), gaps)


def curves(connection: Connection, trials: Sequence[int] | None) -> pd.DataFrame:
    """One row an epoch, ordered by trial and epoch; every number as it was measured, NaN and infinity included.

    trials: their numbers, None for all outside the bin.
    """
    statement = _of(select(schema.epochs), schema.epochs, trials)
    rows = connection.execute(statement.order_by(schema.epochs.c.trial, schema.epochs.c.epoch)).all()
    names = [column.name for column in schema.epochs.c]
    whole = dict.fromkeys(("trial", "epoch", "step"), np.int64)
    # arrays of their kind at once: a frame of objects that is converted takes far longer for a short curve
    found = list(zip(*rows, strict=True)) or [()] * len(names)
    columns = zip(names, found, strict=True)
    return pd.DataFrame({name: np.array(values, whole.get(name, np.float64)) for name, values in columns})


def events(connection: Connection, trials: Sequence[int] | None) -> pd.DataFrame:
    """State changes, live changes, branches and remarks in the order they happened. trials: as in `curves`."""
    names = ("trial", "epoch", "step", "kind", "name", "old", "new", "message", "created")
    statement = select(*(schema.events.c[name] for name in names)).where(schema.events.c.kind.not_in(INTERNAL))
    statement = _of(statement, schema.events, trials)
    frame = pd.DataFrame(connection.execute(statement.order_by(schema.events.c.id)).all(), columns=list(names))
    frame = frame.astype({"trial": np.int64, "epoch": "Int64", "step": "Int64", "old": float, "new": float})
    for row in frame.index[frame["kind"] == "branch"]:
        origin = f"from trial {frame.at[row, 'name']} after epoch {frame.at[row, 'epoch']}"
        frame.at[row, "message"] = _told(origin, frame.at[row, "message"])
        frame.at[row, "name"] = ""
    frame["created"] = pd.to_datetime(frame["created"], format="ISO8601", utc=True)
    return frame


def branches(connection: Connection, task_fingerprint: str | None) -> pd.DataFrame:
    """One row a branch outside the bin: trial, parent, epoch, changes (old and new value by field)."""
    table = schema.events
    statement = (
        select(table.c.trial, table.c.name, table.c.epoch, table.c.message)
        .join(schema.trials, schema.trials.c.id == table.c.trial)
        .where(table.c.kind == "branch", _kept())
        .order_by(table.c.id)
    )
    if task_fingerprint is not None:
        statement = statement.where(schema.trials.c.task_fingerprint == task_fingerprint)
    rows = connection.execute(statement).all()
    frame = pd.DataFrame(rows, columns=["trial", "parent", "epoch", "changes"])
    frame["changes"] = [history.pairs(message) for message in frame["changes"]]
    return frame.astype({"trial": np.int64, "parent": np.int64, "epoch": np.int64, "changes": object})


def count(connection: Connection, task_fingerprint: str) -> int:
    """How many trials there are on a task outside the bin."""
    statement = select(func.count()).where(schema.trials.c.task_fingerprint == task_fingerprint, _kept())
    return int(connection.execute(statement).scalar_one())


def outside_bin(connection: Connection, trials: Sequence[int]) -> set[int]:
    """Which of some trials are there and not in the bin."""
    table = schema.trials
    wanted = [select(table.c.id).where(table.c.id.in_(some), _kept()) for some in chunks(trials)]
    return {int(trial) for statement in wanted for trial in connection.execute(statement).scalars()}


def looked(connection: Connection, task_fingerprint: str) -> int:
    """How many trials have been measured on a task's validation split, those in the bin and removed from it included."""
    told = select(schema.epochs.c.trial).where(schema.epochs.c.trial == schema.trials.c.id).exists()
    statement = select(func.count()).where(schema.trials.c.task_fingerprint == task_fingerprint, told)
    removed = findings.read(connection, bin.REMOVED, task_fingerprint)
    return int(connection.execute(statement).scalar_one()) + sum(int(one.data["looked"]) for one in removed)


def best(connection: Connection, task_fingerprint: str, metric: str, better: str) -> dict[str, Any] | None:
    """Trial, best_val_metric and best_epoch of the best ended attempt at a task, None when there is none.

    Those that diverged or failed do not count: no setting is the best whose training breaks off.
    """
    column = schema.ends.c.best_val_metric
    broken = (str(TrialState.DIVERGED), str(TrialState.FAILED))
    statement = (
        select(schema.trials.c.id, column, schema.ends.c.best_epoch)
        .join(schema.ends, schema.ends.c.trial == schema.trials.c.id)
        .where(_attempts(task_fingerprint, metric), column.isnot(None), schema.ends.c.state.not_in(broken))
        .order_by(column.desc() if better == "higher" else column, schema.trials.c.id)
        .limit(1)
    )
    if connection.dialect.name == "postgresql":  # where NaN is a number, larger than all others
        statement = statement.where(column != literal(math.nan, Float))
    row = connection.execute(statement).first()
    return None if row is None else {"trial": int(row[0]), "best_val_metric": float(row[1]), "best_epoch": int(row[2])}


def scores(connection: Connection, task_fingerprint: str, metric: str) -> pd.DataFrame:
    """Trial, setting, seed (NaN for none) and best validation metric of the attempts that ran to their end."""
    table, ends = schema.trials, schema.ends
    finished = (str(TrialState.COMPLETED), str(TrialState.EARLY_STOPPED))
    statement = (
        select(table.c.id, table.c.setting, _seed(connection), ends.c.best_val_metric)
        .join(ends, ends.c.trial == table.c.id)
        .where(_attempts(task_fingerprint, metric), ends.c.state.in_(finished))
        .order_by(table.c.id)
    )
    frame = pd.DataFrame(connection.execute(statement).all(), columns=["trial", "setting", "seed", "score"])
    old = frame["setting"].isna()
    if old.any():  # of a log from before settings were kept
        wanted = select(table.c.id, table.c.config).where(table.c.setting.is_(None))
        known = {int(trial): _without_seed(config) for trial, config in connection.execute(wanted)}
        frame.loc[old, "setting"] = [known[int(trial)] for trial in frame.loc[old, "trial"]]
    return frame.astype({"trial": np.int64, "seed": float, "score": float})


def _seed(connection: Connection) -> ColumnElement[Any]:
    """The seed out of a trial's config, read by the database: parsing the JSON of each trial takes ten times as long."""
    config = schema.trials.c.config
    if connection.dialect.name == "postgresql":
        return cast(func.json_extract_path_text(cast(config, JSON), "seed"), Float)
    return func.json_extract(config, "$.seed")


def _without_seed(config: str) -> str:
    values = json.loads(config)
    values.pop("seed", None)
    return json.dumps(values, sort_keys=True)


def searches(connection: Connection) -> pd.DataFrame:
    """One row a search: its number, strategy, settings, and how many trials of it there are outside the bin."""
    columns = ("id", "strategy", "continues", "settings", "created", "task_fingerprint")
    rows = connection.execute(
        select(*(schema.searches.c[name] for name in columns)).order_by(schema.searches.c.id)
    ).all()
    frame = pd.DataFrame(rows, columns=["search", *columns[1:]]).astype({"continues": "Int64"})
    settings = pd.DataFrame([json.loads(text) for text in frame.pop("settings")], index=frame.index)
    counts = select(schema.trials.c.search, func.count()).where(schema.trials.c.search.isnot(None), _kept())
    started = {int(search): int(n) for search, n in connection.execute(counts.group_by(schema.trials.c.search))}
    frame.insert(3, "trials", [started.get(int(search), 0) for search in frame["search"]])
    frame["created"] = pd.to_datetime(frame["created"], format="ISO8601", utc=True)
    return pd.concat([frame, settings], axis=1)


def _fill_open(connection: Connection, frame: pd.DataFrame) -> None:
    """State and results so far of the trials that have not ended, in place."""
    unfinished = frame.index[frame["state"].isna()]
    if not len(unfinished):
        return
    told = select(schema.trials.c.id, history.last_state()).where(schema.trials.c.id.in_(history.unfinished()))
    states = {int(trial): state for trial, state in connection.execute(told)}
    frame["state"] = frame["state"].astype(object)
    frame.loc[unfinished, "state"] = [states.get(int(trial)) or str(TrialState.QUEUED) for trial in unfinished]
    statement = select(schema.epochs).where(schema.epochs.c.trial.in_(history.unfinished()))
    rows = pd.DataFrame(connection.execute(statement).all(), columns=[column.name for column in schema.epochs.c])
    rows = rows[rows["trial"].isin(unfinished)]  # there are more unfinished ones, of other tasks or in the bin
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
    latest = select(func.max(table.c.id)).group_by(table.c.trial, table.c.field)
    rows = connection.execute(select(table.c.trial, table.c.field, table.c.value).where(table.c.id.in_(latest)))
    for trial, field, value in rows:
        if trial in frame.index:
            frame.at[trial, field] = value


def _fill_openings(connection: Connection, frame: pd.DataFrame) -> None:
    """The last test score of each trial that has one, and how often its test rows had been looked at, in place."""
    frame["test_metric"], frame["test_set"] = math.nan, ""
    for opening in openings(findings.read(connection, KIND, None)):
        trial = opening.finding.data["trial"]
        if trial in frame.index:
            frame.loc[trial, ["test_metric", "test_set"]] = [opening.finding.data["score"], opening.stamp]


def _kept() -> ColumnElement[bool]:
    """Not in the bin; of a row of `trials`."""
    return schema.trials.c.id.not_in(bin.binned())


def _attempts(task_fingerprint: str, metric: str) -> ColumnElement[bool]:
    """Outside the bin, on a task, measured by a metric, and no replay, which only does another trial again."""
    table = schema.trials
    return and_(
        table.c.task_fingerprint == task_fingerprint, table.c.metric == metric, table.c.source != "replay", _kept()
    )


def _told(origin: str, message: str) -> str:
    """A branch in words: "from trial 7 after epoch 12: optimizer 'adam' → 'sgd'"."""
    changed = ", ".join(f"{field} {old!r} → {new!r}" for field, (old, new) in history.pairs(message).items())
    return f"{origin}: {changed}" if changed else origin


def _of(statement: Select[Any], table: Table, trials: Sequence[int] | None) -> Select[Any]:
    """Narrowed to some trials, or, for None, to those outside the bin."""
    if trials is None:
        return statement.where(table.c.trial.not_in(bin.binned()))
    return statement.where(table.c.trial.in_([int(trial) for trial in trials]))
