"""Reads of the log as DataFrames."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import JSON, ColumnElement, Connection, Float, Select, Table, and_, cast, func, literal, or_, select

from workbench.core.config import HYPERPARAMETERS
from workbench.core.direction import Better, sign
from workbench.core.domains import IntRange, Range
from workbench.core.events import TrialState
from workbench.log import findings, history, schema, trash
from workbench.log.openings import KIND, openings
from workbench.log.records import chunks

__all__ = [
    "altered",
    "best",
    "branches",
    "count",
    "curves",
    "cut_off",
    "events",
    "looked",
    "scores",
    "searches",
    "trashed",
    "trials",
]  # fmt: skip

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


FINISHED = (str(TrialState.COMPLETED), str(TrialState.EARLY_STOPPED))
"""States of trials that ran to an end of their own."""
ALTERED = "trial "
"""Begins what stands for the configuration of an altered trial; configurations are JSON objects."""
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
    """One row a trial: FIRST, every hyperparameter, RESULTS, LAST. Missing numbers are NaN or <NA>. Without the trash.

    task_fingerprint: only those on this task. last: only so many, the newest.
    """
    wanted = select(schema.trials.c.id).where(_kept())
    if task_fingerprint is not None:
        wanted = wanted.where(schema.trials.c.task_fingerprint == task_fingerprint)
    if last is not None:
        wanted = wanted.order_by(schema.trials.c.id.desc()).limit(last)
    return _trials(connection, wanted)


def trashed(connection: Connection) -> pd.DataFrame:
    """The trials in the trash: the columns of `trials`, and when each was deleted."""
    frame = _trials(connection, select(schema.trials.c.id).where(schema.trials.c.id.in_(trash.trashed())))
    deleted = trash.deleted_at(connection)
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
    found = list(zip(*connection.execute(statement).all(), strict=True)) or [()] * len(names)
    # lists by column, and one frame at the end: each frame, and each change of one, costs a table of a few rows milliseconds
    values: dict[str, list[Any]] = {name: list(column) for name, column in zip(names, found, strict=True)}
    configs = json.loads(f"[{','.join(values.pop('config'))}]")
    configurations = list(dict.fromkeys((*HYPERPARAMETERS, *chain.from_iterable(configs))))
    values |= {name: [config.get(name, math.nan) for config in configs] for name in configurations}
    rows = {int(trial): row for row, trial in enumerate(values["trial"])}
    _fill_open(connection, values, rows)
    _fill_annotations(connection, values, rows)
    _fill_openings(connection, values, rows)
    tags = {text: tuple(json.loads(text)) for text in set(values["tags"])}
    arrays: dict[str, Any] = {name: values[name] for name in (*FIRST, *configurations, *RESULTS, *LAST)}
    arrays["tags"] = pd.Series([tags[text] for text in values["tags"]], dtype=object).array
    arrays["created"] = pd.to_datetime(values["created"], format="ISO8601", utc=True)
    arrays["reason"] = [reason or "" for reason in values["reason"]]
    numbers = ["best_val_loss", "best_val_metric", "train_loss", "val_loss", "val_metric", "seconds", "test_metric"]
    whole = ["parent", "parent_epoch", "cohort", "epochs_run", "best_epoch", "search", "suggestion"]
    for name, declaration in HYPERPARAMETERS.items():
        if isinstance(declaration.domain, IntRange):
            whole.append(name)
        elif isinstance(declaration.domain, Range):
            numbers.append(name)
    arrays |= {name: np.array(values[name], np.float64) for name in numbers}
    arrays |= {name: _whole(np.array(values[name], np.float64)) for name in whole}
    return pd.DataFrame(arrays)


def _whole(values: NDArray[np.float64]) -> pd.arrays.IntegerArray:
    """Integers with gaps; `astype` takes ten times as long, for each of some twenty columns. values: below 2**53."""
    gaps = np.isnan(values)
    return pd.arrays.IntegerArray(np.where(gaps, 0, values).astype(np.int64), gaps)


def curves(connection: Connection, trials: Sequence[int] | None) -> pd.DataFrame:
    """One row an epoch, ordered by trial and epoch; every number as it was measured, NaN and infinity included.

    trials: their numbers, None for all outside the trash.
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
    """State changes, live changes, branches and messages in the order they happened. trials: as in `curves`."""
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
    """One row a branch outside the trash: trial, parent, epoch, changes (old and new value by field)."""
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
    """How many trials there are on a task outside the trash."""
    statement = select(func.count()).where(schema.trials.c.task_fingerprint == task_fingerprint, _kept())
    return int(connection.execute(statement).scalar_one())


def outside_trash(connection: Connection, trials: Sequence[int]) -> set[int]:
    """Which of some trials are there and not in the trash."""
    table = schema.trials
    wanted = [select(table.c.id).where(table.c.id.in_(some), _kept()) for some in chunks(trials)]
    return {int(trial) for statement in wanted for trial in connection.execute(statement).scalars()}


def looked(connection: Connection, task_fingerprint: str) -> int:
    """How many trials have been measured on a task's validation split, those in the trash and removed from it included."""
    told = select(schema.epochs.c.trial).where(schema.epochs.c.trial == schema.trials.c.id).exists()
    statement = select(func.count()).where(schema.trials.c.task_fingerprint == task_fingerprint, told)
    removed = findings.read(connection, trash.REMOVED, task_fingerprint)
    return int(connection.execute(statement).scalar_one()) + sum(int(one.data["looked"]) for one in removed)


def best(connection: Connection, task_fingerprint: str, metric: str, better: Better) -> dict[str, Any] | None:
    """Trial, best_val_metric and best_epoch of the best ended attempt at a task, None when there is none.

    Those that diverged or failed do not count: no configuration is the best whose training breaks off.
    """
    column = schema.ends.c.best_val_metric
    broken = (str(TrialState.DIVERGED), str(TrialState.FAILED))
    statement = (
        select(schema.trials.c.id, column, schema.ends.c.best_epoch)
        .join(schema.ends, schema.ends.c.trial == schema.trials.c.id)
        .where(_attempts(task_fingerprint, metric), column.isnot(None), schema.ends.c.state.not_in(broken))
        .order_by(-sign(better) * column, schema.trials.c.id)
        .limit(1)
    )
    if connection.dialect.name == "postgresql":  # where NaN is a number, larger than all others
        statement = statement.where(column != literal(math.nan, Float))
    row = connection.execute(statement).first()
    return None if row is None else {"trial": int(row[0]), "best_val_metric": float(row[1]), "best_epoch": int(row[2])}


def scores(connection: Connection, task_fingerprint: str, metric: str) -> pd.DataFrame:
    """Trial, configuration, seed (NaN for none) and best validation metric of the attempts that ran to their end.

    An altered trial is a configuration of its own, "trial 7": no draw of the one that it began or ended with.
    """
    table, ends = schema.trials, schema.ends
    statement = (
        select(table.c.id, table.c.configuration, _seed(connection), ends.c.best_val_metric)
        .join(ends, ends.c.trial == table.c.id)
        .where(_attempts(task_fingerprint, metric), ends.c.state.in_(FINISHED))
        .order_by(table.c.id)
    )
    frame = pd.DataFrame(connection.execute(statement).all(), columns=["trial", "configuration", "seed", "score"])
    own = frame["trial"].isin(altered(connection))
    frame.loc[own, "configuration"] = [f"{ALTERED}{trial}" for trial in frame.loc[own, "trial"]]
    return frame.astype({"trial": np.int64, "seed": float, "score": float})


def cut_off(connection: Connection, task_fingerprint: str, metric: str) -> int:
    """How many ended attempts are not among `scores`: they were stopped, pruned, failed or diverged."""
    ends = schema.ends
    joined = select(func.count()).select_from(schema.trials).join(ends, ends.c.trial == schema.trials.c.id)
    return int(
        connection.execute(
            joined.where(_attempts(task_fingerprint, metric), ends.c.state.not_in(FINISHED))
        ).scalar_one()
    )


def altered(connection: Connection) -> set[int]:
    """The trials that were not trained by one configuration throughout: branches, and those with live changes."""
    table = schema.events
    wanted = select(table.c.trial).where(table.c.kind.in_(("branch", "change"))).distinct()
    return {int(trial) for trial in connection.execute(wanted).scalars()}


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
    """One row a search: its number, strategy, options, and how many trials of it there are outside the trash."""
    columns = ("id", "strategy", "continues", "options", "created", "task_fingerprint")
    rows = connection.execute(
        select(*(schema.searches.c[name] for name in columns)).order_by(schema.searches.c.id)
    ).all()
    frame = pd.DataFrame(rows, columns=["search", *columns[1:]]).astype({"continues": "Int64"})
    options = pd.DataFrame([json.loads(text) for text in frame.pop("options")], index=frame.index)
    counts = select(schema.trials.c.search, func.count()).where(schema.trials.c.search.isnot(None), _kept())
    started = {int(search): int(n) for search, n in connection.execute(counts.group_by(schema.trials.c.search))}
    frame.insert(3, "trials", [started.get(int(search), 0) for search in frame["search"]])
    frame["created"] = pd.to_datetime(frame["created"], format="ISO8601", utc=True)
    return pd.concat([frame, options], axis=1)


def _fill_open(connection: Connection, values: dict[str, list[Any]], rows: Mapping[int, int]) -> None:
    """State and results so far of the trials that have not ended, in place. rows: the row of each trial."""
    unfinished = [row for row, state in enumerate(values["state"]) if state is None]
    if not unfinished:  # most logs: to look for them costs a large one time
        return
    for row in unfinished:
        values["state"][row], values["epochs_run"][row] = str(TrialState.QUEUED), 0
    # there are more unfinished ones, of other tasks or in the trash
    told = select(schema.trials.c.id, history.last_state()).where(schema.trials.c.id.in_(history.unfinished()))
    for trial, state in connection.execute(told):
        if trial in rows and state is not None:
            values["state"][rows[trial]] = state
    for epoch in connection.execute(_last_and_best()):
        if epoch.trial in rows:
            row = rows[epoch.trial]
            if epoch.epoch == epoch.last:
                values["epochs_run"][row], values["seconds"][row] = epoch.epoch, epoch.sum_seconds
                for name in ("train_loss", "val_loss", "val_metric"):
                    values[name][row] = getattr(epoch, name)
                values["best_epoch"][row] = values["best_epoch"][row] or 0
            if epoch.least is not None and epoch.val_loss == epoch.least and not values["best_epoch"][row]:
                values["best_epoch"][row] = epoch.epoch
                values["best_val_loss"][row], values["best_val_metric"][row] = epoch.val_loss, epoch.val_metric


def _last_and_best() -> Select[Any]:
    """The last epoch of each unfinished trial and those of its lowest validation loss, by trial and epoch."""
    table = schema.epochs
    sums = (
        select(
            table.c.trial,
            func.max(table.c.epoch).label("last"),
            func.sum(table.c.seconds).label("sum_seconds"),
            func.min(table.c.val_loss).label("least"),
        )
        .where(table.c.trial.in_(history.unfinished()))
        .group_by(table.c.trial)
        .subquery()
    )
    wanted = or_(table.c.epoch == sums.c.last, table.c.val_loss == sums.c.least)
    return (
        select(table, sums.c.last, sums.c.sum_seconds, sums.c.least)
        .join(sums, and_(table.c.trial == sums.c.trial, wanted))
        .order_by(table.c.trial, table.c.epoch)
    )


def _fill_annotations(connection: Connection, values: dict[str, list[Any]], rows: Mapping[int, int]) -> None:
    """The latest name, note and tags of each trial, in place."""
    table = schema.edits
    latest = select(func.max(table.c.id)).group_by(table.c.trial, table.c.field)
    found = connection.execute(select(table.c.trial, table.c.field, table.c.value).where(table.c.id.in_(latest)))
    for trial, field, value in found:
        if trial in rows:
            values[field][rows[trial]] = value


def _fill_openings(connection: Connection, values: dict[str, list[Any]], rows: Mapping[int, int]) -> None:
    """The last test score of each trial that has one, and how often its test rows had been looked at, in place."""
    values["test_metric"], values["test_set"] = [math.nan] * len(rows), [""] * len(rows)
    for opening in openings(findings.read(connection, KIND, None)):
        trial = opening.finding.data["trial"]
        if trial in rows:
            values["test_metric"][rows[trial]], values["test_set"][rows[trial]] = (
                opening.finding.data["score"],
                opening.stamp,
            )


def _kept() -> ColumnElement[bool]:
    """Not in the trash; of a row of `trials`."""
    return schema.trials.c.id.not_in(trash.trashed())


def _attempts(task_fingerprint: str, metric: str) -> ColumnElement[bool]:
    """Outside the trash, on a task, measured by a metric, and no replay, which only does another trial again."""
    table = schema.trials
    return and_(
        table.c.task_fingerprint == task_fingerprint, table.c.metric == metric, table.c.source != "replay", _kept()
    )


def _told(origin: str, message: str) -> str:
    """A branch in words: "from trial 7 after epoch 12: optimizer 'adam' → 'sgd'"."""
    changed = ", ".join(f"{field} {old!r} → {new!r}" for field, (old, new) in history.pairs(message).items())
    return f"{origin}: {changed}" if changed else origin


def _of(statement: Select[Any], table: Table, trials: Sequence[int] | None) -> Select[Any]:
    """Narrowed to some trials, or, for None, to those outside the trash."""
    if trials is None:
        return statement.where(table.c.trial.not_in(trash.trashed()))
    return statement.where(table.c.trial.in_([int(trial) for trial in trials]))
