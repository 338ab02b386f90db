"""What some trials differ in: `bench.diff(7, 9)`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from workbench.core.config import HYPERPARAMETERS, unread
from workbench.core.direction import better_of, is_better
from workbench.core.errors import ConfigError, Problem, RunError
from workbench.core.text import counted
from workbench.log.records import UNRANKED
from workbench.methods.comparison.leaderboard import SIGNIFICANT
from workbench.methods.comparison.reads import Reads
from workbench.methods.data_versions.versions import versions
from workbench.methods.diff.view import TrialDiff, metric_words
from workbench.models import read_source

if TYPE_CHECKING:
    from workbench.log.records import TrialRecord
    from workbench.runs.session import Session

__all__ = ["diff"]


class Row(NamedTuple):
    """A row of the table: its value for each trial. always: stands in the table also if all values are equal."""

    part: str
    name: str
    values: Sequence[Any]
    always: bool = False


def diff(session: Session, trials: Sequence[int]) -> TrialDiff:
    """What some trials on this task, or on other versions of its data, differ in. Trials in the trash are accepted.

    Raises: ConfigError for fewer than two different trials; LogError for an unknown one; RunError for one on another task.
    """
    _check_numbers(trials)
    records = {trial: session.log.record(trial) for trial in trials}
    data = versions(session).set_index("fingerprint")
    for trial, record in records.items():
        if record.task_fingerprint not in data.index:
            message = f"trial {trial} is on other data than {session.task.name!r}, so that there is nothing to compare"
            raise RunError(f"{message}; bench.trials has the task of each trial in the column 'task'")
    reads = Reads.of(session)
    facts = _facts(session, records)
    scores, notes = _scores(reads, records, facts)
    rows = [
        *_hyperparameters(records), *_live_changes(session, trials), _branches(session, trials), *_code(session, records),
        *_data(records, data), *_results(session, trials, facts), *scores,
    ]  # fmt: skip
    rows = [row for row in rows if row.always or len({repr(value) for value in row.values}) > 1]
    index = pd.MultiIndex.from_tuples([(row.part, row.name) for row in rows], names=["part", "name"])
    columns = pd.Index(list(trials), name="trial")
    table = pd.DataFrame([list(row.values) for row in rows], index, columns, dtype=object)
    sentences = [*_verdicts(reads, table), *notes]
    return TrialDiff(tuple(trials), table, tuple(sentences), _source_changes(session, trials))


def _check_numbers(trials: Sequence[int]) -> None:
    twice = sorted({trial for trial in trials if trials.count(trial) > 1})
    if twice:
        message = f"trials={tuple(trials)!r}: trial {twice[0]} is given twice; name each trial once"
    elif len(trials) < 2:
        message = f"trials={tuple(trials)!r}: give two or more trials to compare, such as bench.diff(7, 9)"
    else:
        return
    raise ConfigError([Problem("trials", tuple(trials), message)])


# --- what was trained ---------------------------------------------------------------------------------------------------


def _hyperparameters(records: Mapping[int, TrialRecord]) -> Iterator[Row]:
    """One row a hyperparameter; NaN where the choices of a trial do not read it."""
    read = []
    for record in records.values():
        left_out = unread(record.config)
        read.append({name: value for name, value in record.config.items() if name not in left_out})
    for name in dict.fromkeys([*HYPERPARAMETERS, *(name for config in read for name in config)]):
        yield Row("hyperparameter", name, [config.get(name, math.nan) for config in read])


def _live_changes(session: Session, trials: Sequence[int]) -> list[Row]:
    """One row a hyperparameter that was changed while a trial, or what it was branched from, was training."""
    made = [list(_changes_before(session, trial)) for trial in trials]
    rows = []
    for name in dict.fromkeys(change[0] for changes in made for change in changes):
        own = [[change for change in changes if change[0] == name] for changes in made]
        if len({tuple(change[:2] for change in changes) for changes in own}) > 1:  # made in the trial or in its parent
            rows.append(Row("live change", name, ["; ".join(text + whose for _, text, whose in one) for one in own]))
    return rows


def _changes_before(
    session: Session, trial: int, last: float = math.inf, whose: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Hyperparameter, text and trial of each live change up to an epoch, those of the trials it was branched from first."""
    origin = session.log.history.origin(trial)
    if origin is not None:
        parent, epoch = origin
        yield from _changes_before(session, parent, min(epoch, last), f" (trial {parent})")
    events = session.log.events(trial)
    for change in events[(events["kind"] == "change") & (events["epoch"] <= last)].itertuples(index=False):
        yield str(change.name), f"epoch {change.epoch}: {change.old:g} → {change.new:g}", whose


def _branches(session: Session, trials: Sequence[int]) -> Row:
    origins = [session.log.history.origin(trial) for trial in trials]
    texts = ["" if origin is None else f"trial {origin[0]} after epoch {origin[1]}" for origin in origins]
    return Row("branch", "from", texts)


def _code(session: Session, records: Mapping[int, TrialRecord]) -> Iterator[Row]:
    """The identities of the user's own builders, losses..., and of the weights of a backbone."""
    parts = [record.configuration.split()[1:] for record in records.values()]
    own = [dict(zip(one[::2], one[1::2], strict=True)) for one in parts]
    for field in dict.fromkeys(field for one in own for field in one if field != "monitor"):
        yield Row("code", field, [one.get(field, "") for one in own])
    weights = [read_source(session.log.builder_source(trial))[1] or "" for trial in records]
    yield Row("code", "backbone weights", weights)


def _source_changes(session: Session, trials: Sequence[int]) -> str:
    """How the source of the builders changed from the first trial on, as unified diffs; "" where it did not."""
    sources = {trial: read_source(session.log.builder_source(trial))[0] or "" for trial in trials}
    first, *others = trials
    found: list[str] = []
    for trial in others:
        before, after = sources[first].splitlines(), sources[trial].splitlines()
        if before and after:
            found += difflib.unified_diff(before, after, f"trial {first}", f"trial {trial}", lineterm="")
    return "\n".join(found)


def _data(records: Mapping[int, TrialRecord], data: pd.DataFrame) -> Iterator[Row]:
    rows = [data.loc[record.task_fingerprint] for record in records.values()]
    yield Row(
        "data", "version", [f"{row['version']} ({row['name']})" if row["name"] else str(row["version"]) for row in rows]
    )
    yield Row("data", "metric", [record.metric for record in records.values()])
    yield Row("data", "monitor", [record.monitor for record in records.values()])


# --- what came of it ----------------------------------------------------------------------------------------------------


def _facts(session: Session, records: Mapping[int, TrialRecord]) -> pd.DataFrame:
    """The rows of `bench.trials` of all trials on the data of these, and of these trials, by number."""
    frames = [
        session.log.trials(task_fingerprint=one) for one in {record.task_fingerprint for record in records.values()}
    ]
    frame = pd.concat(frames).set_index("trial")
    deleted = set(records) - set(frame.index)
    if deleted:
        trash = session.log.trash.trials().set_index("trial")
        frame = pd.concat([frame, trash.loc[sorted(deleted)].assign(deleted=True)])
    return frame


def _results(session: Session, trials: Sequence[int], facts: pd.DataFrame) -> Iterator[Row]:
    shown = facts.loc[list(trials)]
    yield Row("result", "state", [str(state) for state in shown["state"]])
    for name in ("epochs_run", "best_epoch"):
        yield Row("result", name, [math.nan if pd.isna(value) else int(value) for value in shown[name]])


def _scores(reads: Reads, records: Mapping[int, TrialRecord], facts: pd.DataFrame) -> tuple[list[Row], list[str]]:
    """The rows of each metric of the task, and why trials are not compared where they are not."""
    task, trials = reads.task, list(records)
    ended = reads.log.results.scores(task.fingerprint, task.metric).set_index("trial")
    own = ended["configuration"].reindex(trials)
    notes = [
        note for trial in trials if (note := _why_not_compared(trial, records[trial], facts.loc[trial], ended, reads))
    ]
    rows = []
    for metric in task.metrics:
        column = f"val_{metric}"
        values = facts[column] if column in facts else pd.Series(math.nan, facts.index)
        if metric == task.metric:  # that of each trial's best epoch, also of a former list of metrics
            values = facts["best_val_metric"].where(facts["metric"] == metric)
        rows.append(Row(metric, "score", [float(values[trial]) for trial in trials], True))
        scores = ended.assign(score=values.reindex(ended.index).astype(float)).reset_index()
        scored = set(scores.loc[np.isfinite(scores["score"]), "configuration"])
        first = own.iloc[0] if own.iloc[0] in scored else None
        board = reads.ranked(scores, metric, reference=first).set_index("configuration").reindex(own)
        if first is None:
            board["p_value"] = math.nan
        board["difference"] = board["mean"] - board["mean"].iloc[0]
        same = (own == own.iloc[0]).to_numpy()
        board.loc[same, ["p_value", "difference"]] = math.nan
        seeds = [0 if pd.isna(value) else int(value) for value in board["seeds"]]
        rows.append(Row(metric, "seeds", seeds, True))
        for name in ("mean", "low", "high", "difference", "p_value"):
            rows.append(Row(metric, name, [float(value) for value in board[name]], True))
    if own.notna().all() and own.nunique() == 1:
        notes.append("These trials are seeds of one configuration: there is nothing to compare but the seeds.")
    return rows, notes


def _why_not_compared(trial: int, record: TrialRecord, facts: pd.Series[Any], ended: pd.DataFrame, reads: Reads) -> str:
    """Why a trial has no place among the configurations that are compared; "" if it has one."""
    if record.task_fingerprint != reads.task.fingerprint:
        remedy = "see bench.version_changes for what new data changed"
        return f"Trial {trial} is on another version of the data, so its score is of other rows and is not compared; {remedy}."
    if record.source in UNRANKED:
        return f"Trial {trial} is a {record.source}, which has no score of its own to compare."
    if pd.notna(facts.get("deleted")):
        return f"Trial {trial} is in the trash, so its score is not compared; bench.restore({trial}) brings it back."
    if record.metric != reads.task.metric:
        return f"Trial {trial} was trained with the metric {record.metric!r}, so its score is not compared."
    if trial not in ended.index:
        state = str(facts["state"]).replace("_", " ")
        return f"Trial {trial} is {state}, so its score is not compared: it did not run to its end."
    return ""


def _verdicts(reads: Reads, table: pd.DataFrame) -> list[str]:
    """The comparison of the headline metric in words, one sentence a trial after the first."""
    first, *others = table.columns
    metric, better = reads.task.metric, better_of(reads.task.metric)
    label, what = metric_words(metric), "folds" if reads.task.folds is not None else "seeds"
    found = []
    for trial in others:
        value = table[trial].loc[metric]
        if value["seeds"] == 0 or table[first].loc[metric]["seeds"] == 0 or math.isnan(value["difference"]):
            continue
        higher = "higher" if value["difference"] > 0 else "lower"
        seeds = f"means of {counted(value['seeds'], 'seed')} and {counted(table[first].loc[metric]['seeds'], 'seed')}"
        if value["difference"] == 0:
            text = f"the same {label} as trial {first}"
        else:
            text = f"{abs(value['difference']):.4g} {higher} {label} than trial {first}"
        if math.isnan(value["p_value"]):
            verdict = "without more seeds it is unknown whether that is more than chance (bench.add_seeds)"
        elif value["p_value"] < SIGNIFICANT:
            verdict = f"{'better' if is_better(value['difference'], 0.0, better) else 'worse'} beyond the {what}' noise"
            verdict += f" (p = {value['p_value']:.2g})"
        else:
            verdict = f"no significant difference (p = {value['p_value']:.2g})"
        found.append(f"Trial {trial} has {text} ({seeds}): {verdict}.")
    return found
