"""Reads of the log as DataFrames."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Connection, CursorResult, Select, Table, and_, func, or_, select

from workbench.core.config import CHOICES, HYPERPARAMETERS, unread
from workbench.core.domains import IntRange, Range
from workbench.core.events import EpochEnd, TrialState
from workbench.log import findings, schema
from workbench.log.conditions import check_known, last_state, outside_trash, trash_moves, trashed, unfinished
from workbench.log.history import branch_changes
from workbench.log.openings import KIND, openings
from workbench.log.records import at_validation, chunks, read_config
from workbench.log.rescored import fill_rescored

__all__ = ["curves", "deleted", "epochs_of", "events", "trials"]

FIRST = ("trial", "name", "source", "state", "parent")
RESULTS = (
    "epochs_run", "best_epoch", "best_val_loss", "best_val_metric", "train_loss", "val_loss", "val_metric", "seconds",
)  # fmt: skip
LAST = (
    "device", "cohort", "created", "note", "tags", "task", "metric", "monitor", "reason", "parent_epoch", "search", "suggestion",
    "task_fingerprint", "test_metric", "test_set",
)  # fmt: skip
PART = 1000
"""Rows that are converted together."""
INTERNAL = ("cohort", "script")
"""Events that only a resumed or replayed trial needs."""


def trials(connection: Connection, task_fingerprint: str | None = None, last: int | None = None) -> pd.DataFrame:
    """One row a trial: FIRST, every hyperparameter, RESULTS, val_<metric> at the best epoch, LAST. Without the trash.

    Missing numbers are NaN or <NA>. Hyperparameters that the choices of a trial do not read are missing (momentum under Adam).

    task_fingerprint: only those on this task. last: only so many, the newest.
    """
    wanted = select(schema.trials.c.id).where(outside_trash())
    if task_fingerprint is not None:
        wanted = wanted.where(schema.trials.c.task_fingerprint == task_fingerprint)
    if last is not None:
        wanted = wanted.order_by(schema.trials.c.id.desc()).limit(last)
    return _trials(connection, wanted)


def deleted(connection: Connection) -> pd.DataFrame:
    """The trials in the trash: the columns of `trials`, and when each was deleted."""
    frame = _trials(connection, select(schema.trials.c.id).where(schema.trials.c.id.in_(trashed())))
    table = schema.trash_moves
    created = {int(trial): time for trial, time in connection.execute(trash_moves(table.c.trial, table.c.created))}
    times = pd.Series([created[int(trial)] for trial in frame["trial"]], index=frame.index, dtype=object)
    frame["deleted"] = pd.to_datetime(times, format="ISO8601", utc=True)
    return frame


def _trials(connection: Connection, wanted: Select[Any]) -> pd.DataFrame:
    """The rows of `trials` for the numbers that a subquery selects."""
    table, ends = schema.trials, schema.ends
    begun = [name for name in (*FIRST, *LAST, "config") if name in table.c]
    ended = ("state", *RESULTS, "reason", "metrics")
    columns = [table.c.id, *(table.c[name] for name in begun), *(ends.c[name] for name in ended)]
    statement = select(*columns).outerjoin(ends, ends.c.trial == table.c.id).where(table.c.id.in_(wanted))
    statement = statement.order_by(table.c.id)
    # lists by column, and one frame at the end: each frame, and each change of one, costs a table of a few rows milliseconds
    values: dict[str, list[Any]] = {name: [] for name in ("trial", *begun, *ended)}
    hyperparameters: dict[str, list[Any]] = {name: [] for name in HYPERPARAMETERS}
    # in parts that are freed at once: else the garbage collector traverses the rows of all trials again and again
    for part in connection.execute(statement).partitions(PART):
        for column, entries in zip(values.values(), zip(*part, strict=True), strict=True):
            column += entries
        texts = values["config"]
        configs = (
            [read_config(text) for text in texts]
            if any("[" in text for text in texts)
            else json.loads(f"[{','.join(texts)}]")
        )
        _blank_unread(configs)
        values["config"].clear()
        for name in dict.fromkeys(chain.from_iterable(configs)):
            hyperparameters.setdefault(name, [math.nan] * (len(values["trial"]) - len(part)))
        for name, column in hyperparameters.items():
            column += [config.get(name, math.nan) for config in configs]
    values |= hyperparameters
    rows = {int(trial): row for row, trial in enumerate(values["trial"])}
    _fill_open(connection, values, rows)
    _fill_annotations(connection, values, rows)
    _fill_openings(connection, values, rows)
    fill_rescored(connection, values, rows)
    metrics = _by_metric(values.pop("metrics"))
    tags = {text: tuple(json.loads(text)) for text in set(values["tags"])}
    arrays: dict[str, Any] = {name: values[name] for name in (*FIRST, *hyperparameters, *RESULTS)}
    arrays |= {f"val_{name}": column for name, column in metrics.items()}
    arrays |= {name: values[name] for name in LAST}
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


def _blank_unread(configs: Sequence[dict[str, Any]]) -> None:
    """Remove from configurations what their choices do not read, in place: it is no part of what was tried."""
    found: dict[tuple[Any, ...], frozenset[str]] = {}
    for config in configs:
        choices = tuple(config.get(field) for field in CHOICES)
        if choices not in found:
            found[choices] = unread(config)
        for name in found[choices]:
            config.pop(name, None)


def _by_metric(texts: Sequence[str | None]) -> dict[str, NDArray[np.float64]]:
    """Values by metric out of JSON objects, NaN where a trial has no such metric."""
    known = {text: json.loads(text) for text in {text for text in texts if text}}
    names = dict.fromkeys(chain.from_iterable(known.values()))
    blank: dict[str, float] = {}
    found = [known[text] if text else blank for text in texts]
    return {name: np.array([own.get(name, math.nan) for own in found], np.float64) for name in names}


def _whole(values: NDArray[np.float64]) -> pd.arrays.IntegerArray:
    """Integers with gaps; `astype` takes ten times as long, for each of some twenty columns. values: below 2**53."""
    gaps = np.isnan(values)
    return pd.arrays.IntegerArray(np.where(gaps, 0, values).astype(np.int64), gaps)


JSON = ("metrics", "folds")
"""Columns of texts, the last ones of the table of epochs."""


def curves(connection: Connection, trials: Sequence[int]) -> pd.DataFrame:
    """One row an epoch, ordered by trial and epoch; every number as it was measured, NaN and infinity included.

    Under a cross-validation, numbers are means over the folds, and val_loss_std, val_metric_std and val_<metric>_std their
    standard deviations.
    trials: their numbers, none for all outside the trash. Raises: LogError for an unknown trial.
    """
    table = schema.epochs
    return _in_parts(connection, _curves, select(table).order_by(table.c.trial, table.c.epoch), table, trials)


def epochs_of(frame: pd.DataFrame) -> Iterator[EpochEnd]:
    """The epochs out of a frame that `curves` returned."""
    named = [field.name for field in dataclasses.fields(EpochEnd) if field.name not in JSON]
    own = {name.removeprefix("train_") for name in frame if str(name).startswith("train_")} - {"loss", "metric"}
    columns = [(frame[f"train_{name}"].tolist(), frame[f"val_{name}"].tolist()) for name in own]
    for at, values in enumerate(frame[named].itertuples(index=False)):
        metrics = {name: (train[at], val[at]) for name, (train, val) in zip(own, columns, strict=True)}
        yield EpochEnd(**values._asdict(), metrics=metrics)


def events(connection: Connection, trials: Sequence[int]) -> pd.DataFrame:
    """State changes, live changes, branches and messages in the order they happened. trials, raises: as in `curves`."""
    table = schema.events
    names = ("trial", "epoch", "step", "kind", "name", "old", "new", "message", "created")
    statement = select(*(table.c[name] for name in names)).where(table.c.kind.not_in(INTERNAL)).order_by(table.c.id)
    return _in_parts(connection, _events, statement, table, trials)


def _in_parts(
    connection: Connection,
    frame: Callable[[CursorResult[Any]], pd.DataFrame],
    statement: Select[Any],
    table: Table,
    trials: Sequence[int],
) -> pd.DataFrame:
    """A frame of the rows of some trials, or of all outside the trash; several statements for very many."""
    if not trials:
        return frame(connection.execute(statement.where(table.c.trial.not_in(trashed()))))
    check_known(connection, trials)
    parts = [frame(connection.execute(statement.where(table.c.trial.in_(some)))) for some in chunks(trials)]
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def _curves(result: CursorResult[Any]) -> pd.DataFrame:
    names = [name for name in result.keys() if name not in JSON]  # noqa: SIM118 (a result is no mapping)
    whole = dict.fromkeys(("trial", "epoch", "step"), np.int64)
    # arrays of their kind at once: a frame of objects that is converted takes far longer for a short curve
    *columns, texts, by_fold = list(zip(*result.all(), strict=True)) or [()] * (len(names) + len(JSON))
    arrays = {name: np.array(values, whole.get(name, np.float64)) for name, values in zip(names, columns, strict=True)}
    metrics = [json.loads(text) for text in texts]
    for name in dict.fromkeys(chain.from_iterable(metrics)):
        pairs = [own.get(name, (math.nan, math.nan)) for own in metrics]
        arrays |= {
            f"{split}_{name}": np.array([pair[at] for pair in pairs]) for at, split in enumerate(("train", "val"))
        }
    folds = [json.loads(text) for text in by_fold]
    for name in dict.fromkeys(chain.from_iterable(folds)):
        arrays[f"val_{name}_std"] = _spreads([own.get(name, ()) for own in folds])
    if any(folds):  # the headline metric is the first one after the loss
        arrays["val_metric_std"] = _spreads([[*own.values()][1] if own else () for own in folds])
    return pd.DataFrame(arrays)


def _spreads(values: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """The standard deviation of each sequence, NaN for an empty one and where a fold has diverged."""
    with np.errstate(invalid="ignore"):
        return np.array([np.std(own, ddof=1) if len(own) else math.nan for own in values], np.float64)


def _events(result: CursorResult[Any]) -> pd.DataFrame:
    frame = pd.DataFrame(result.all(), columns=list(result.keys()))
    frame = frame.astype({"trial": np.int64, "epoch": "Int64", "step": "Int64", "old": float, "new": float})
    for row in frame.index[frame["kind"] == "branch"]:
        origin = f"from trial {frame.at[row, 'name']} after epoch {frame.at[row, 'epoch']}"
        pairs = branch_changes(frame.at[row, "message"]).items()
        changed = ", ".join(f"{field} {old!r} → {new!r}" for field, (old, new) in pairs)
        frame.at[row, "message"] = f"{origin}: {changed}" if changed else origin
        frame.at[row, "name"] = ""
    frame["created"] = pd.to_datetime(frame["created"], format="ISO8601", utc=True)
    return frame


def _fill_open(connection: Connection, values: dict[str, list[Any]], rows: Mapping[int, int]) -> None:
    """State and results so far of the trials that have not ended, in place. rows: the row of each trial."""
    open_rows = [row for row, state in enumerate(values["state"]) if state is None]
    if not open_rows:  # most logs: the queries below take time in a large one
        return
    for row in open_rows:
        values["state"][row], values["epochs_run"][row] = str(TrialState.QUEUED), 0
    # there are more unfinished ones, of other tasks or in the trash
    states = select(schema.trials.c.id, last_state()).where(schema.trials.c.id.in_(unfinished()))
    for trial, state in connection.execute(states):
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
            if epoch.least is not None and epoch.monitored == epoch.least and not values["best_epoch"][row]:
                values["best_epoch"][row] = epoch.epoch
                values["metrics"][row] = json.dumps(at_validation(epoch.metrics))
                values["best_val_loss"][row], values["best_val_metric"][row] = epoch.val_loss, epoch.val_metric


def _last_and_best() -> Select[Any]:
    """The last epoch of each unfinished trial and those of its best monitored value, by trial and epoch."""
    table = schema.epochs
    sums = (
        select(
            table.c.trial,
            func.max(table.c.epoch).label("last"),
            func.sum(table.c.seconds).label("sum_seconds"),
            func.min(table.c.monitored).label("least"),
        )
        .where(table.c.trial.in_(unfinished()))
        .group_by(table.c.trial)
        .subquery()
    )
    wanted = or_(table.c.epoch == sums.c.last, table.c.monitored == sums.c.least)
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
    """The last test score of each trial that has one, and how often its test rows were evaluated, in place."""
    values["test_metric"], values["test_set"] = [math.nan] * len(rows), [""] * len(rows)
    for opening in openings(findings.read(connection, KIND, None)):
        trial = opening.finding.data["trial"]
        if trial in rows:
            values["test_metric"][rows[trial]] = opening.finding.data["score"]
            values["test_set"][rows[trial]] = opening.stamp
