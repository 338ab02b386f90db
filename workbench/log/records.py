"""The inputs of the log, and the rows they become."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from numbers import Integral
from typing import Any, NamedTuple

from sqlalchemy import Table

from workbench.core.domains import frozen
from workbench.core.errors import LogError
from workbench.core.events import (
    Branched,
    CohortJoined,
    CohortLeft,
    EpochEnd,
    Event,
    KnobChanged,
    Message,
    Mismatch,
    Scripted,
    StateChanged,
    StepProgress,
    TrialEnded,
)
from workbench.log import schema

__all__ = [
    "ID_CHUNK",
    "REFIT",
    "UNRANKED",
    "NewTrial",
    "SearchStep",
    "TrialRecord",
    "at_validation",
    "chunks",
    "event_row",
    "event_rows",
    "now",
    "read_config",
    "trial_row",
    "waves",
]

EPOCH_FIELDS = tuple(field.name for field in dataclasses.fields(EpochEnd))
REFIT = "refit"
"""The source of trials that were trained on the validation rows as well."""
UNRANKED = ("replay", REFIT)
"""Sources of trials without a result of their own: a replay repeats another trial's, a refit has no validation score."""
ID_CHUNK = 500
"""Trial numbers in one SQL condition; databases limit their count."""


@dataclass(frozen=True)
class NewTrial:
    """A trial before it starts.

    config: every hyperparameter by name, as JSON values. source: who requested it (manual, replicate, random...).
    parent, parent_epoch: the trial it was made from. replicates: index, in the same call of `TrialLog.create`, of the trial
    it replicates; that trial's number becomes its parent. search, suggestion: the search that requested it, and the index of
    its configuration in the search. configuration: what the seeds of one configuration share (`Config.configuration`).
    builder: identity of the user's builder (`builder_identity`), None for a built-in model. builder_source: its source text.
    """

    config: Mapping[str, Any]
    task: str
    task_fingerprint: str
    metric: str
    monitor: str = "loss"
    source: str = "manual"
    name: str = ""
    note: str = ""
    tags: Sequence[str] = ()
    parent: int | None = None
    parent_epoch: int | None = None
    device: str = "cpu"
    cohort: int | None = None
    builder: str | None = None
    builder_source: str | None = None
    search: int | None = None
    suggestion: int | None = None
    configuration: str | None = None
    replicates: int | None = None


class TrialRecord(NamedTuple):
    """What was recorded when a trial was created.

    config: its hyperparameters. task_fingerprint: of the data it was trained on. metric: the headline metric. monitor: "loss" or
    a metric. device: where it was trained. builder: identity of the user's builder, None for a built-in model. configuration,
    source, parent, parent_epoch: as in `NewTrial`.
    """

    config: dict[str, Any]
    task_fingerprint: str
    metric: str
    monitor: str
    device: str
    builder: str | None
    configuration: str
    source: str
    parent: int | None
    parent_epoch: int | None


class SearchStep(NamedTuple):
    """One entry in the journal of a search. data: JSON values. created: when it was entered, ISO 8601; "" before that."""

    search: int
    kind: str
    data: Mapping[str, Any]
    created: str = ""


def now() -> str:
    """ISO 8601, in UTC, to the millisecond: such texts sort by time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read_config(text: str) -> dict[str, Any]:
    """A configuration out of the log: JSON has no tuples, and a Config no lists."""
    values: dict[str, Any] = json.loads(text)
    return {name: frozen(value) if isinstance(value, list) else value for name, value in values.items()}


def chunks(trials: Sequence[int]) -> Iterator[list[int]]:
    """Trial numbers in groups that fit into one condition. Raises: LogError for anything but a whole number."""
    for start in range(0, len(trials), ID_CHUNK):
        yield [_number(trial) for trial in trials[start : start + ID_CHUNK]]


def _number(trial: object) -> int:
    """A trial's number as an int, also from numpy; a fraction or a bool is rejected."""
    if isinstance(trial, bool) or not isinstance(trial, Integral):
        raise LogError(f"trial {trial!r} is not in the log: expected a whole number; see bench.trials")
    return int(trial)


def waves(trials: Sequence[NewTrial]) -> Iterator[Sequence[NewTrial]]:
    """Trials in order, in parts: each trial replicates only trials of earlier parts, which have their numbers by then.

    Raises: ValueError for a replicate that does not come after what it replicates, or that has a parent as well.
    """
    start = 0
    for index, trial in enumerate(trials):
        first = trial.replicates
        if first is None:
            continue
        if not 0 <= first < index:
            message = "names no earlier trial of the call; a replicate comes after what it replicates"
            raise ValueError(f"trials[{index}].replicates={first}: {message}")
        if trial.parent is not None:
            raise ValueError(f"trials[{index}]: parent={trial.parent} and replicates={first}; give one of them")
        if first >= start:
            yield trials[start:index]
            start = index
    yield trials[start:]


def trial_row(trial: NewTrial, numbers: Sequence[int], session: int) -> dict[str, Any]:
    """A row of `trials`. numbers: those of the trials entered before it by the same call."""
    row = {field.name: getattr(trial, field.name) for field in dataclasses.fields(trial) if field.name != "replicates"}
    return {
        **row,
        "parent": trial.parent if trial.replicates is None else numbers[trial.replicates],
        "config": json.dumps(dict(trial.config), ensure_ascii=False),
        "tags": json.dumps(list(trial.tags), ensure_ascii=False),
        "session": session,
        "created": now(),
    }


def event_rows(events: Iterable[Event]) -> dict[Table, list[dict[str, Any]]]:
    """Rows by table, the ends last, because an ended trial takes no more rows."""
    rows: dict[Table, list[dict[str, Any]]] = {schema.epochs: [], schema.events: [], schema.ends: []}
    for event in events:
        match event:
            case EpochEnd():
                row = {name: getattr(event, name) for name in EPOCH_FIELDS}
                texts = {"metrics": json.dumps(event.metrics), "folds": json.dumps(event.folds)}
                rows[schema.epochs].append({**row, **texts})
            case TrialEnded():
                rows[schema.ends].append({**dataclasses.asdict(event), "state": str(event.state), "created": now()})
            case StateChanged(trial, state, step):
                rows[schema.events].append(event_row(trial, "state", step=step, name=str(state)))
            case KnobChanged(trial, epoch, step, name, old, new):
                values = {"epoch": epoch, "step": step, "name": name, "old": old, "new": new}
                rows[schema.events].append(event_row(trial, "change", **values))
            case CohortJoined(trial, series, after, count):
                rows[schema.events].append(event_row(trial, "cohort", epoch=after, step=count, name=str(series)))
            case CohortLeft(trial):
                rows[schema.events].append(event_row(trial, "cohort"))
            case Branched(trial, parent, epoch, changes):
                pairs = {field: list(pair) for field, pair in changes.items()}
                message = json.dumps(pairs, ensure_ascii=False)
                rows[schema.events].append(event_row(trial, "branch", epoch=epoch, name=str(parent), message=message))
            case Scripted(trial, script, stop_after):
                message = json.dumps({"changes": [list(change) for change in script], "stop_after": stop_after})
                rows[schema.events].append(event_row(trial, "script", message=message))
            case Message(trial, message):
                name = "mismatch" if isinstance(event, Mismatch) else ""
                rows[schema.events].append(event_row(trial, "message", name=name, message=message))
            case StepProgress():
                pass
    return {table: group for table, group in rows.items() if group}


def at_validation(metrics: str) -> dict[str, float]:
    """The validation values by name, out of an epoch's metrics as the log has them."""
    return {name: validation for name, (_, validation) in json.loads(metrics).items()}


def event_row(trial: int, kind: str, **values: Any) -> dict[str, Any]:
    """A row of `events`; values that are not given are empty."""
    blank = {"epoch": None, "step": None, "name": "", "old": None, "new": None, "message": ""}
    return {"trial": trial, "kind": kind, **blank, **values, "created": now()}
