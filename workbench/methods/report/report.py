"""`bench.report(7, path)`: a trial, several, or a search as one HTML file that needs neither kernel nor network."""

from __future__ import annotations

import html
import math
import os
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.core import files
from workbench.core.config import HYPERPARAMETERS, unread
from workbench.core.direction import best_first, selected_by
from workbench.core.errors import CheckpointError, ConfigError, Problem, RunError, WorkbenchError
from workbench.core.registry import METRICS
from workbench.core.text import counted, in_sentence
from workbench.core.version import __version__
from workbench.methods.comparison.importance import varied
from workbench.methods.comparison.reads import Reads
from workbench.methods.diff.diff import diff
from workbench.methods.errors.errors import trial_errors
from workbench.methods.errors.tab import errors_html
from workbench.methods.report.page import page
from workbench.runs.replay import script
from workbench.runs.restore import logged_config
from workbench.runs.trained_model import library_versions
from workbench.ui.pictures import figure_html
from workbench.ui.tables import html_table

if TYPE_CHECKING:
    from workbench.runs.session import Session
    from workbench.ui.figures import NotebookFigure

__all__ = ["report"]

DRAWN = 64
"""Curves of at most so many trials, the best ones, are drawn."""
COMPARED = 6
"""Of at most so many trials the differences are listed one by one."""
EPOCHS = 1000
"""The table of epochs of a trial has at most so many rows, the last ones."""
LONGEST = 1000
"""Characters of a cell."""
FIGURES = {
    "parallel": "Parallel coordinates", "slices": "Metric against each hyperparameter",
    "importance": "Importance of the hyperparameters",
}  # fmt: skip
"""Figures of a search, as `bench.plot` draws them."""


def report(session: Session, trials: Sequence[int], search: int | None, path: str | os.PathLike[str]) -> Path:
    """Write the report and return its path. A file of that name is replaced, as by `bench.save`.

    trials: their numbers. search: that of the search they belong to; None for trials that were named.
    Raises: RunError for no trial, one on another task, or a file that cannot be written; LogError for an unknown one.
    """
    if not trials:
        what = "the report has no trial" if search is None else f"search {search} has no trial outside the trash"
        raise RunError(f"{what}; train one with bench.run(wb.Config())")
    for trial in trials:
        session.recall.check_trial_task(trial)
    session.recall.check_outside_trash(*trials)
    place = Path(path).expanduser()
    if place.is_dir():
        raise ConfigError(
            [Problem("path", path, f"path={str(path)!r}: is a folder; give the path of a file, such as report.html")]
        )
    text = _text(session, list(trials), search)
    try:
        files.write(place, text.encode("utf-8"))
    except CheckpointError as error:
        raise RunError(str(error)) from None
    return place


def _text(session: Session, trials: list[int], search: int | None) -> str:
    task, reads = session.task, Reads.of(session)
    every = reads.trials()
    frame = best_first(every[every["trial"].isin(trials)], "best_val_metric", reads.better)
    if search is not None:
        title = f"Search {search} on {task.name!r}: {counted(len(trials), 'trial')}"
    else:
        title = f"{'Trial' if len(trials) == 1 else 'Trials'} {', '.join(map(str, trials[:12]))}"
        title += f"{' and others' if len(trials) > 12 else ''} on {task.name!r}"
    sections = [("Results", _results(frame, reads))]
    if len(trials) == 1:
        sections += _one(session, trials[0])
    elif search is None and len(trials) <= COMPARED:
        sections.append(("Differences", diff(session, trials)._repr_html_()))
    sections.append(("Learning curves", _curves(reads, frame)))
    if len(trials) == 1:
        sections += _model(session, trials[0]) + _history(session, trials[0])
    if search is not None:
        sections += _of_search(session, reads, search)
    sections += [("Data", _data(session)), ("Environment", _environment(session, trials))]
    sections = [(heading, content) for heading, content in sections if content]
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return page(title, [*_lead(frame, reads), f"Written by workbench {__version__} on {when}."], sections)


def _lead(frame: pd.DataFrame, reads: Reads) -> list[str]:
    """The best score, what it is, and how its epoch was chosen."""
    best = frame.iloc[0]
    if pd.isna(best["best_val_metric"]) or not math.isfinite(best["best_val_metric"]):
        return [f"No trial of these has a finite {reads.metric_label}."]
    which = f"Trial {best['trial']}" if len(frame) == 1 else f"The best is trial {best['trial']}, which"
    return [
        f"{which} has a {reads.metric_label} of {best['best_val_metric']:.4f} at epoch {best['best_epoch']} "
        f"({selected_by(str(best['monitor']))})."
    ]


def _results(frame: pd.DataFrame, reads: Reads) -> str:
    """One row a trial: what it is, the hyperparameters that vary, its scores."""
    scores = {f"val_{metric}": f"validation {in_sentence(METRICS[metric].label)}" for metric in reads.task.metrics}
    names = ["trial", "name", "source", "state", *varied(frame, conditional=True), "seed"]
    names += [name for name in scores if name in frame] or ["best_val_metric"]
    names += ["best_epoch", "epochs_run", "val_loss", "seconds", "test_metric", "test_set", "tags", "note"]
    shown = frame[names].copy()
    shown["tags"] = [", ".join(tags) for tags in shown["tags"]]
    empty = [name for name in shown if all(value == "" or pd.isna(value) for value in shown[name])]
    labels = {"best_val_metric": reads.metric_label, "val_loss": "last validation loss", **scores}
    shown = shown.drop(columns=empty).rename(columns=lambda name: labels.get(name, str(name).replace("_", " ")))
    return html_table(shown, longest=LONGEST)


def _one(session: Session, trial: int) -> list[tuple[str, str]]:
    """The configuration of a trial: what its choices read, with the default where it differs."""
    values = session.log.record(trial).config
    left_out = unread(values)
    rows = []
    for name, value in values.items():
        if name in left_out:
            continue
        known = HYPERPARAMETERS.get(name)
        default = "" if known is None or known.default == value else str(known.default)
        rows.append(
            {"hyperparameter": name, "value": str(value), "default": default, "meaning": known.meaning if known else ""}
        )
    try:
        call = f"<pre>{html.escape(repr(logged_config(trial, values)))}</pre>"
    except WorkbenchError:  # it uses a choice that is not registered here
        call = ""
    return [("Configuration", call + html_table(pd.DataFrame(rows), longest=LONGEST))]


def _curves(reads: Reads, frame: pd.DataFrame) -> str:
    drawn = [int(trial) for trial in frame["trial"].head(DRAWN)]
    if reads.log.curves(*drawn).empty:
        return "<p>No epoch has ended.</p>"
    figure = reads.figure(reads.seeds_together(sorted(drawn)))
    note = f'<p class="note">The {DRAWN} best of {len(frame)} trials.</p>' if len(frame) > DRAWN else ""
    return _picture(figure, "Loss and metric of training and validation against epochs") + note


def _model(session: Session, trial: int) -> list[tuple[str, str]]:
    """Where the best model is wrong, if its weights are at hand: nothing is trained for a report."""
    recall = session.recall
    try:
        kept = session.task.folds is None and recall.best_kept(trial) is not None
        if not kept or recall.refits.includes(trial):
            return []
        found = trial_errors(session, trial, None, "validation", 20)
        said = "".join(f"<p>{html.escape(line)}</p>" for line in found.description)
        return [("Errors on the validation rows", said + errors_html(found, found.figure()._repr_png_()))]
    except WorkbenchError as error:
        return [("Errors on the validation rows", f'<p class="note">Not shown: {html.escape(str(error))}</p>')]


def _history(session: Session, trial: int) -> list[tuple[str, str]]:
    """Live changes and messages, the numbers of each epoch, and the script that repeats the trial."""
    events = session.log.events(trial)
    events = events[events["kind"] != "state"]
    sections = []
    if len(events):
        shown = events[["epoch", "step", "kind", "name", "old", "new", "message"]]
        sections.append(("Live changes and messages", html_table(shown, longest=LONGEST)))
    curves = session.log.curves(trial).drop(columns="trial")
    if len(curves):
        what = counted(len(curves), "epoch") + (f", the last {EPOCHS:,}" if len(curves) > EPOCHS else "")
        table = html_table(curves.tail(EPOCHS).rename(columns=lambda name: str(name).replace("_", " ")))
        sections.append(("Epochs", f"<details><summary>{what}</summary>{table}</details>"))
    try:
        sections.append(("Script that repeats this trial", f"<pre>{html.escape(script(session, trial))}</pre>"))
    except WorkbenchError as error:
        sections.append(("Script that repeats this trial", f'<p class="note">None: {html.escape(str(error))}</p>'))
    return sections


def _of_search(session: Session, reads: Reads, search: int) -> list[tuple[str, str]]:
    """Set-up and figures of a search."""
    table = session.log.searches.table().set_index("search")
    rows = [(str(name).replace("_", " "), _option(str(name), value)) for name, value in table.loc[search].items()]
    shown = pd.DataFrame([row for row in rows if row[1]], columns=["option", "value"])
    sections = [("Search", html_table(shown, longest=LONGEST))]
    for kind, heading in FIGURES.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the figure says it
            sections.append((heading, _drawn(lambda kind=kind: reads.plot(kind, (), search, None), heading)))  # type: ignore[misc]
    return sections


def _option(name: str, value: Any) -> str:
    """An option of a search as text, "" for one that was not given."""
    if name == "base" and isinstance(value, dict):
        left_out = unread(value)
        value = {
            field: one
            for field, one in value.items()
            if field not in left_out and (field not in HYPERPARAMETERS or one != HYPERPARAMETERS[field].default)
        }
    if isinstance(value, dict):
        return "; ".join(f"{field}: {_domain(one)}" for field, one in value.items())
    return "" if value is None or value is pd.NA or value is pd.NaT or value != value else str(value)


def _domain(value: Any) -> str:
    """A domain as the log has it, or a value, as text."""
    if not isinstance(value, dict):
        return str(value)
    return f"{value.get('kind', '')}({', '.join(f'{name}={one!r}' for name, one in value.items() if name != 'kind')})"


def _drawn(draw: Callable[[], NotebookFigure], alt: str) -> str:
    """A figure, or why there is none."""
    try:
        return _picture(draw(), alt)
    except WorkbenchError as error:
        return f'<p class="note">Not drawn: {html.escape(str(error))}</p>'


def _picture(figure: NotebookFigure, alt: str) -> str:
    return figure_html(figure._repr_png_(), alt)


def _data(session: Session) -> str:
    facts = session.task.summary().reset_index()
    facts.columns = ["fact", "value"]
    more = pd.DataFrame([["fingerprint", session.task.fingerprint]], columns=facts.columns)
    return html_table(pd.concat([facts, more]), longest=LONGEST)


def _environment(session: Session, trials: Sequence[int]) -> str:
    """What the trials were trained with, as the log has it, and what wrote the report."""
    rows: dict[str, str] = {}
    for trial in trials[:DRAWN]:
        for found in session.log.ownership.environments(trial):
            rows.setdefault(", ".join(f"{name} {value}" for name, value in found.items()), "")
    devices = sorted({record.device for record in session.log.records(trials).values()})
    lines = [("trained with", one) for one in rows]
    lines.append(("device", ", ".join(devices)))
    lines += [("report written with", ", ".join(f"{name} {one}" for name, one in library_versions().items()))]
    return html_table(pd.DataFrame(lines, columns=["", "value"]), longest=LONGEST)
