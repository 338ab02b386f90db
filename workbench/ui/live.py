"""From events to views: which curves are drawn, and the one-line status of what is running."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from math import expm1
from typing import Any, Protocol

import pandas as pd

from workbench.core.config import HYPERPARAMETERS, Config
from workbench.core.direction import Better, rank
from workbench.core.events import (
    ENDED,
    EpochEnd,
    Event,
    KnobChanged,
    Message,
    StateChanged,
    StepProgress,
    TrialEnded,
    TrialState,
)
from workbench.core.registration import Metric
from workbench.core.registry import LOSSES, METRICS
from workbench.ui.curves import Chart, LiveCurves, Series
from workbench.ui.run_panel import Status, duration

__all__ = ["LiveRun", "Shown"]

COLUMNS = ("train_loss", "val_loss", "train_metric", "val_metric")
VALIDATION = ("val_loss", "val_metric")
DRAWN = 128
"""Of a search, so many curves are drawn at most: beyond, the worst of the ended ones go."""
SURE = 0.02
"""Below this share of a search, its pace says little about the time left."""
PACE_SECONDS = 5.0
"""The time left is told by the pace of the last seconds, about so many."""
MARKED_TRIALS = 8
"""Best epochs are marked as long as this many trials are drawn; among more, the marks hide the curves."""


class SearchProgress(Protocol):
    """What is shown of a search (see `search.Progress`)."""

    @property
    def planned(self) -> int | None: ...
    @property
    def done(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def pruned(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def stopped(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def trials_per_second(self) -> float: ...
    @property
    def seconds_left(self) -> float | None: ...
    @property
    def best_trial(self) -> int | None: ...
    @property
    def best_value(self) -> float: ...
    @property
    def learned(self) -> int: ...


@dataclass
class Shown:
    """One trial of the run on show."""

    config: Config
    label: str
    group: str | None
    state: TrialState = TrialState.QUEUED
    epoch: int = 0
    fraction: float = 0.0  # of the epoch under way
    best: EpochEnd | None = None
    seconds: float = 0.0
    pace: float = 0.0  # epochs a second, of late
    columns: tuple[str, ...] = COLUMNS


class LiveRun:
    """Feeds the live charts and keeps the status. Lives on the main thread; takes in events, touches no database.

    metric: a name in the metrics table. loss: a name in the losses table, for the axis.
    """

    def __init__(self, metric: str, loss: str) -> None:
        entry = METRICS[metric]
        self.metric: Metric = entry.value
        self.metric_label = entry.label
        self.loss_label = LOSSES[loss].label if loss in LOSSES else "loss"
        better = self.metric.better
        self.curves = LiveCurves(
            charts=[
                Chart(key="loss", title="Loss", y_label=self.loss_label.lower()),
                Chart(key="metric", title=self.metric_label, y_label=self.metric_label.lower(), better=better),
            ],
            pick_hint="Click to branch from here",
        )
        self.trials: dict[int, Shown] = {}
        self.overlaid: tuple[int, ...] = ()
        self._newest = 0
        self.message = ""
        self._points: dict[str, tuple[list[float], list[float]]] = {}

    # --- which curves ----------------------------------------------------------------------------------------------

    def begin(self, configs: Mapping[int, Config], label: str, beside: Collection[int] = ()) -> None:
        """Put a new run on show: its curves replace those of the run before, overlaid trials stay.

        beside: trials that are drawn with it; those that are on the charts keep their colours.
        """
        self.message = ""
        kept = {t: s for t, s in self.trials.items() if t in beside and t not in configs and s.columns == COLUMNS}
        self.overlaid = (*self.overlaid, *kept)
        self.curves.declare([one for t, s in kept.items() for one in _series(t, s.label, s.group, "faint")])
        groups = _groups(configs)
        self.trials = {
            trial: Shown(config, label or f"trial {trial}", groups[trial]) for trial, config in configs.items()
        }
        known = {series.id for series in self.curves.series}
        gone = {i for i in known if int(i.partition("/")[0]) not in {*self.trials, *self.overlaid}}
        with self.curves.hold():
            self.curves.remove(gone)
            self._declare(self.trials, "live")
            self._restyle_overlays()
        self.curves.epochs = max(config.epochs for config in configs.values())

    def begin_search(self) -> None:
        """Put a search on show: no curve yet, trials come by `join`; overlaid trials stay."""
        self.message = ""
        self.trials, self._newest = {}, 0
        known = {series.id for series in self.curves.series}
        with self.curves.hold():
            self.curves.remove({i for i in known if int(i.partition("/")[0]) not in self.overlaid})
            self._restyle_overlays()

    def join(self, configs: Mapping[int, Config]) -> None:
        """The trials of the search on show; those known are left as they are.

        Only their validation curves are drawn, and as many as can be told apart.
        """
        configs = {trial: config for trial, config in configs.items() if trial > self._newest}
        groups = _groups(configs)
        new = {t: Shown(config, f"trial {t}", groups[t], columns=VALIDATION) for t, config in configs.items()}
        if not new:
            return
        self._newest = max(new)  # what has left the charts does not come back
        drawn = {**self.trials, **new}
        gone = left_out(drawn, self.metric.better)
        with self.curves.hold():
            self._flush()
            self.curves.remove(
                [
                    s.id
                    for s in self.curves.series
                    if s.trial in gone and s.trial not in self.overlaid and s.trial in self.trials
                ]
            )
            self.trials = {trial: shown for trial, shown in drawn.items() if trial not in gone}
            self._declare(new, "live")
        self.curves.epochs = max(
            self.curves.epochs if len(drawn) > len(new) else 0, *(c.epochs for c in configs.values()), 0
        )

    def overlay(self, trials: Sequence[int], curves: pd.DataFrame, labels: Mapping[int, str]) -> None:
        """Draw earlier trials beside the run: `curves` holds their epochs, one row each."""
        wanted = [trial for trial in trials if trial not in self.trials]
        with self.curves.hold():
            shown = {series.id for series in self.curves.series}
            self.curves.remove({i for i in shown if int(i.partition("/")[0]) in set(self.overlaid) - set(wanted)})
            new = [trial for trial in wanted if trial not in self.overlaid]
            self.overlaid = tuple(wanted)
            style = "faint" if self.going else "selected"
            self.curves.declare([s for t in new for s in _series(t, labels.get(t, f"trial {t}"), None, style)])
            for trial in new:
                rows = curves[curves["trial"] == trial]
                self._append({f"{trial}/{column}": (rows["epoch"], rows[column]) for column in COLUMNS if len(rows)})
            self._restyle_overlays()
        if not self.trials and len(curves):
            self.curves.epochs = int(curves["epoch"].max())

    def drop(self, trials: Collection[int]) -> None:
        """Take trials off the charts, as those that were deleted."""
        self.trials = {trial: shown for trial, shown in self.trials.items() if trial not in trials}
        self.overlaid = tuple(trial for trial in self.overlaid if trial not in trials)
        self.curves.remove([series.id for series in self.curves.series if series.trial in trials])

    @property
    def drawn(self) -> set[int]:
        """The trials on the charts."""
        return {*self.trials, *self.overlaid}

    def replay(self, curves: pd.DataFrame, states: Mapping[int, TrialState]) -> None:
        """Catch up with a run that began before there was a view: `curves` holds its epochs as the log has them."""
        fields = [field.name for field in dataclass_fields(EpochEnd)]
        with self.curves.hold():
            for row in curves[fields].itertuples(index=False):
                if row.trial in self.trials:
                    self._epoch(self.trials[row.trial], EpochEnd(*row))
            self._flush()
        for trial, state in states.items():
            if trial in self.trials:
                self.trials[trial].state = state

    def root(self, roots: pd.DataFrame) -> None:
        """Let branches of the run on show begin at their parents' points: one row a branch, as `Reads.roots` gives them."""
        points: dict[str, Any] = {}
        for row in roots.to_dict("records"):
            shown = self.trials.get(int(row["trial"]))
            if shown is not None:
                shown.epoch = int(row["epoch"])
                points |= {f"{row['trial']}/{column}": ([row["epoch"]], [row[column]]) for column in shown.columns}
        self._append(points)

    def _declare(self, trials: Mapping[int, Shown], style: str) -> None:
        self.curves.declare(
            [s for t, shown in trials.items() for s in _series(t, shown.label, shown.group, style, shown.columns)]
        )

    def _restyle_overlays(self) -> None:
        style: Any = "faint" if self.going else "selected"
        ids = [series.id for series in self.curves.series if series.trial in self.overlaid]
        if ids:
            self.curves.restyle(ids, style)

    def _append(self, points: Mapping[str, Any]) -> None:
        if points:
            self.curves.append(points)

    # --- events -----------------------------------------------------------------------------------------------------

    def take(self, events: Iterable[Event]) -> None:
        """Take in what happened since the last refresh; the charts get it in one message."""
        with self.curves.hold():
            for event in events:
                shown = self.trials.get(event.trial)
                if shown is None:
                    continue
                if isinstance(event, EpochEnd):
                    self._epoch(shown, event)
                elif isinstance(event, StepProgress):
                    if event.epoch > shown.epoch:  # else it was on its way when its epoch was read from the log
                        shown.epoch = event.epoch - 1
                        shown.fraction = (event.step % event.steps_per_epoch) / event.steps_per_epoch
                elif isinstance(event, StateChanged):
                    shown.state = event.state
                elif isinstance(event, KnobChanged):
                    symbol = HYPERPARAMETERS[event.name].symbol
                    text = f"{symbol}: {event.old:g} → {event.new:g}"
                    self._flush()
                    self.curves.mark(event.trial, event.epoch - 1 + shown.fraction, "change", text)
                elif isinstance(event, Message):
                    self.message = event.message
                elif isinstance(event, TrialEnded):
                    self._ended(shown, event)
            self._flush()

    def _epoch(self, shown: Shown, event: EpochEnd) -> None:
        if event.epoch <= shown.epoch:
            return  # already read from the log
        shown.epoch, shown.fraction = event.epoch, 0.0
        # a mean weighted by seconds: epochs by time, in which one that was held up counts no more than it lasted
        seconds = max(event.seconds, 1e-9)
        shown.seconds += seconds
        shown.pace += max(-expm1(-seconds / PACE_SECONDS), seconds / shown.seconds) * (1 / seconds - shown.pace)
        for column in shown.columns:
            xs, ys = self._points.setdefault(f"{event.trial}/{column}", ([], []))
            xs.append(event.epoch)
            ys.append(getattr(event, column))
        if shown.best is None or event.val_loss < shown.best.val_loss:
            shown.best = event
            if len(self.trials) <= MARKED_TRIALS and shown.group is None:
                self.curves.mark(event.trial, event.epoch, "best", f"lowest validation loss {event.val_loss:.4g}")

    def _ended(self, shown: Shown, event: TrialEnded) -> None:
        shown.state = event.state
        self._flush()
        if event.state is TrialState.DIVERGED:
            self.curves.mark(event.trial, event.epochs_run, "diverged", event.reason)
            self.message = f"Trial {event.trial} diverged: {event.reason}. A lower learning rate often helps."
        elif event.state is TrialState.STOPPED and event.epochs_run:
            self.curves.mark(event.trial, event.epochs_run, "stopped", "stopped")
        elif event.state is TrialState.FAILED:
            self.message = f"Trial {event.trial} failed: {event.reason}"
        if not self.going:
            self._restyle_overlays()
            if shown.columns == COLUMNS:  # of a search, more are to come
                # what ended early has the whole width: the epochs that were planned will not come
                self.curves.epochs = max(one.epoch for one in self.trials.values())

    def _flush(self) -> None:
        points, self._points = self._points, {}
        self._append(points)

    # --- status -----------------------------------------------------------------------------------------------------

    @property
    def going(self) -> bool:
        """Whether a trial of the run on show has not ended."""
        return any(shown.state not in ENDED for shown in self.trials.values())

    def _share(self, progress: SearchProgress) -> float:
        """How much of a search is done, the epochs of its running trials included."""
        running = [shown for shown in self.trials.values() if shown.state not in ENDED]
        begun = sum(shown.epoch / shown.config.epochs for shown in running)
        if running:  # the seeds of one configuration are one of those that are planned
            begun *= progress.running / len(running)
        return min(1.0, (progress.done + begun) / progress.planned) if progress.planned else 0.0

    def search_status(self, label: str, state: TrialState, progress: SearchProgress, queued: int = 0) -> Status:
        """The state of a search on show: counts, pace, time left and the best so far."""
        planned = "" if progress.planned is None else f" of {progress.planned}"
        parts = [f"<b>{html.escape(label)}</b> {state.value}", f"{progress.done}{planned} done"]
        counts = {"running": progress.running, "pruned": progress.pruned, "failed": progress.failed}
        counts["stopped"] = progress.stopped
        parts += [f"{count} {word}" for word, count in counts.items() if count]
        if progress.done:
            parts.append(f"{progress.trials_per_second:.3g} configurations/s")
        share = self._share(progress)
        left = progress.seconds_left if not progress.planned or share < SURE else progress.seconds * (1 - share) / share
        if state not in ENDED and left is not None:
            parts.append(f"{duration(left)} left")
        if progress.best_trial is not None:
            value = f"best {html.escape(self.metric_label.lower())} <b>{progress.best_value:.4f}</b>"
            parts.append(f"{value} (trial {progress.best_trial})")
        if progress.learned:
            parts.append(f"learns from {progress.learned} earlier trials")
        return Status(
            state=state.value, metric_label=self.metric_label, message=self.message, queued=queued, search=" · ".join(parts),
            share=1.0 if state in ENDED and state is not TrialState.STOPPED else share,
        )  # fmt: skip

    def status(self, queued: int = 0, known: int = 0) -> Status:
        """The state of the run on show in one record. known: how many trials the log has."""
        if not self.trials:
            return Status(metric_label=self.metric_label, queued=queued, known=known)
        active = {t: s for t, s in self.trials.items() if s.state not in ENDED}
        sample = min((active or self.trials).values(), key=lambda shown: shown.epoch)
        states = {shown.state for shown in (active or self.trials).values()}
        state = next(iter(states)) if len(states) == 1 else TrialState.RUNNING if active else TrialState.COMPLETED
        bests = [(t, s.best) for t, s in self.trials.items() if s.best is not None]
        top = min(bests, key=lambda pair: pair[1].val_loss, default=None)
        left = None
        if active and sample.pace:
            left = (sample.config.epochs - sample.epoch - sample.fraction) / sample.pace
        return Status(
            state=state.value,
            trials=tuple(self.trials),
            epoch=sample.epoch,
            epochs=sample.config.epochs,
            fraction=sample.fraction,
            seconds_left=left,
            best_metric=None if top is None else top[1].val_metric,
            best_epoch=None if top is None else top[1].epoch,
            best_trial=None if top is None else top[0],
            metric_label=self.metric_label,
            message=self.message,
            queued=queued,
        )


def _groups(configs: Mapping[int, Config]) -> dict[int, str | None]:
    """The seeds of one configuration are drawn as one: the name of each trial's group, None for a configuration with one seed."""
    configurations: dict[str, list[int]] = {}
    for trial, config in configs.items():
        configurations.setdefault(config.configuration, []).append(trial)
    return {
        t: f"seeds of {trials[0]}" if len(trials) > 1 else None for trials in configurations.values() for t in trials
    }


def left_out(drawn: Mapping[int, Shown], better: Better) -> set[int]:
    """The worst of the ended trials, as many as are too many to draw; a trial without a score is worse than any other."""

    def quality(trial: int) -> float:
        best = drawn[trial].best
        return rank(None if best is None else best.val_metric, better)

    ended = sorted((trial for trial, shown in drawn.items() if shown.state in ENDED), key=quality)
    return set(ended[: max(0, len(drawn) - DRAWN)])


def _series(trial: int, label: str, group: str | None, style: Any, columns: Sequence[str] = COLUMNS) -> list[Series]:
    return [
        Series(
            id=f"{trial}/{column}",
            chart=column.partition("_")[2],
            trial=trial,
            label=label,
            role="train" if column.startswith("train") else "validation",
            group=group,
            style=style,
        )
        for column in columns
    ]
