"""From events to charts: which curves of the run on show are drawn, and the state of its trials."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import expm1, inf, isfinite, isnan, nan
from typing import Any

import pandas as pd

from workbench.core.config import HYPERPARAMETERS, Config
from workbench.core.direction import Better, better_of, rank, selected_by
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
from workbench.core.registry import LOSSES, METRICS
from workbench.core.text import in_sentence
from workbench.log.queries import epochs_of
from workbench.metrics.table import TARGET_UNIT
from workbench.ui.curves import Chart, LiveCurves, Series
from workbench.ui.status import COLUMNS, Shown

__all__ = ["LiveRun", "left_out"]

VALIDATION = ("val_loss", "val_metric")
DRAWN = 128
"""At most so many trials of a search are drawn; beyond, the worst of the ended ones leave the charts."""
PACE_SECONDS = 5.0
"""The time left is estimated from the pace of about so many last seconds."""
MARKED_TRIALS = 8
"""Best epochs are marked while at most so many trials are drawn; more marks would hide the curves."""


class LiveRun:
    """Feeds the live charts and keeps the state of each trial. Main thread; reads events, no database.

    metric: the headline metric, a name in the metrics table. monitor: what selects the best epoch. chosen: the metric of the
    second chart. loss: a name in the losses table, for the axis. folds: of the task, 0 without a cross-validation; curves are
    means over them. trials: of the run on show, by number. overlaid: earlier trials drawn with it. message: the last one of
    the run.
    """

    def __init__(self, metric: str, loss: str, monitor: str = "loss", folds: int = 0) -> None:
        self.headline, self.chosen, self.monitor = metric, metric, monitor
        self.better = better_of(metric)
        self._of_folds = f", mean of {folds} folds" if folds else ""
        self.loss_label = LOSSES[loss].label if loss in LOSSES else "loss"
        self.curves = LiveCurves(charts=self._charts(), pick_hint="Click to branch from here")
        self.trials: dict[int, Shown] = {}
        self.overlaid: tuple[int, ...] = ()
        self._newest = 0
        self.message = ""
        self._points: dict[str, tuple[list[float], list[float]]] = {}

    def _charts(self) -> list[Chart]:
        entry = METRICS[self.chosen]
        label = in_sentence(entry.label) + (f" ({entry.value.unit})" if entry.value.unit == TARGET_UNIT else "")
        return [
            Chart(key="loss", title=f"Loss{self._of_folds}", y_label=in_sentence(self.loss_label)),
            Chart(key="metric", title=f"{entry.label}{self._of_folds}", y_label=label, better=entry.value.better),
        ]

    def choose(self, metric: str, curves: pd.DataFrame) -> None:
        """Show another metric in the second chart. curves: of the trials that are drawn, one row an epoch, as in the log."""
        self.chosen = metric
        series = [one for one in self.curves.series if one.chart == "metric"]
        with self.curves.hold():
            self._flush()
            self.curves.remove([one.id for one in series])
            self.curves.charts = tuple(self._charts())
            self.curves.declare(series)
            points: dict[str, Any] = {}
            for one in series:
                rows = curves[curves["trial"] == one.trial]
                column = self.column(one.id.partition("/")[2])
                if len(rows) and column in rows:
                    points[one.id] = (rows["epoch"], rows[column])
            self._append(points)

    def column(self, column: str) -> str:
        """The column of the log that is drawn as `column`: that of the chosen metric in place of the headline."""
        if self.chosen == self.headline or not column.endswith("_metric"):
            return column
        return f"{column.removesuffix('metric')}{self.chosen}"

    def _value(self, event: EpochEnd, column: str) -> float:
        if self.chosen == self.headline or not column.endswith("_metric"):
            return float(getattr(event, column))
        pair = event.metrics.get(self.chosen, (nan, nan))
        return pair[0] if column.startswith("train") else pair[1]

    # --- which curves ----------------------------------------------------------------------------------------------

    def begin(
        self,
        configs: Mapping[int, Config],
        label: str,
        origins: Collection[int] = (),
        *,
        fixed_epochs: int | None = None,
    ) -> None:
        """Put a new run on show: its curves replace those of the run before, overlaid trials stay.

        origins: trials that it began from, drawn with it; those in the charts already keep their colours. fixed_epochs: after
        which its trials end, None for those of their configurations.
        """
        self.message = ""
        kept = {t: s for t, s in self.trials.items() if t in origins and t not in configs and s.columns == COLUMNS}
        self.overlaid = (*self.overlaid, *kept)
        self.curves.declare([one for t, s in kept.items() for one in _series(t, s.label, s.group, "faint")])
        groups = _groups(configs)
        self.trials = {
            trial: Shown(config, label or f"trial {trial}", groups[trial], fixed_epochs=fixed_epochs)
            for trial, config in configs.items()
        }
        with self.curves.hold():
            self._keep_only(self.drawn)
            self._declare(self.trials, "live")
            self._restyle_overlays()
        self.curves.epochs = max(shown.epochs for shown in self.trials.values())

    def begin_search(self) -> None:
        """Put a search on show, without a trial yet (see `join`); overlaid trials stay."""
        self.message = ""
        self.trials, self._newest = {}, 0
        with self.curves.hold():
            self._keep_only(self.drawn)
            self._restyle_overlays()

    def join(self, configs: Mapping[int, Config]) -> None:
        """Add new trials to the search on show; known ones stay as they are.

        Only their validation curves are drawn, of at most DRAWN trials.
        """
        configs = {trial: config for trial, config in configs.items() if trial > self._newest}
        groups = _groups(configs)
        new = {t: Shown(config, f"trial {t}", groups[t], columns=VALIDATION) for t, config in configs.items()}
        if not new:
            return
        self._newest = max(new)  # trials that left the charts stay away
        drawn = {**self.trials, **new}
        gone = left_out(drawn, self.better)
        with self.curves.hold():
            self._flush()
            self.trials = {trial: shown for trial, shown in drawn.items() if trial not in gone}
            self._keep_only(self.drawn)
            self._declare(new, "live")
        self.curves.epochs = max(
            self.curves.epochs if len(drawn) > len(new) else 0, *(c.epochs for c in configs.values()), 0
        )

    def overlay(self, trials: Sequence[int], curves: pd.DataFrame, labels: Mapping[int, str]) -> None:
        """Draw earlier trials together with the run. curves: one row an epoch, as in the log."""
        wanted = [trial for trial in trials if trial not in self.trials]
        with self.curves.hold():
            new = [trial for trial in wanted if trial not in self.overlaid]
            self.overlaid = tuple(wanted)
            self._keep_only(self.drawn)
            style = "faint" if self.active else "selected"
            self.curves.declare([s for t in new for s in _series(t, labels.get(t, f"trial {t}"), None, style)])
            for trial in new:
                rows = curves[curves["trial"] == trial]
                self._append(
                    {f"{trial}/{column}": (rows["epoch"], rows[self.column(column)]) for column in COLUMNS if len(rows)}
                )
            self._restyle_overlays()
        if not self.trials and len(curves):
            self.curves.epochs = int(curves["epoch"].max())

    def drop(self, trials: Collection[int]) -> None:
        """Remove trials from the charts."""
        self.trials = {trial: shown for trial, shown in self.trials.items() if trial not in trials}
        self.overlaid = tuple(trial for trial in self.overlaid if trial not in trials)
        self._keep_only(self.drawn)

    def _keep_only(self, trials: Collection[int]) -> None:
        self.curves.remove([series.id for series in self.curves.series if series.trial not in trials])

    @property
    def drawn(self) -> set[int]:
        """The trials in the charts."""
        return {*self.trials, *self.overlaid}

    def replay(self, curves: pd.DataFrame, states: Mapping[int, TrialState]) -> None:
        """Show the earlier epochs of a run that began before the view. curves: one row an epoch, as in the log."""
        with self.curves.hold():
            for epoch in epochs_of(curves):
                if epoch.trial in self.trials:
                    self._epoch(self.trials[epoch.trial], epoch)
            self._flush()
        for trial, state in states.items():
            if trial in self.trials:
                self.trials[trial].state = state

    def root(self, roots: pd.DataFrame) -> None:
        """Begin the branches of the run on show at their parents' points. roots: as from `TaskLog.roots`."""
        points: dict[str, Any] = {}
        for row in roots.to_dict("records"):
            shown = self.trials.get(int(row["trial"]))
            if shown is not None:
                shown.epoch = int(row["epoch"])
                points |= {
                    f"{row['trial']}/{column}": ([row["epoch"]], [row[self.column(column)]]) for column in shown.columns
                }
        self._append(points)

    def _declare(self, trials: Mapping[int, Shown], style: str) -> None:
        self.curves.declare(
            [s for t, shown in trials.items() for s in _series(t, shown.label, shown.group, style, shown.columns)]
        )

    def _restyle_overlays(self) -> None:
        style: Any = "faint" if self.active else "selected"
        ids = [series.id for series in self.curves.series if series.trial in self.overlaid]
        if ids:
            self.curves.restyle(ids, style)

    def _append(self, points: Mapping[str, Any]) -> None:
        if points:
            self.curves.append(points)

    # --- events -----------------------------------------------------------------------------------------------------

    def show(self, events: Iterable[Event]) -> None:
        """Draw the events since the last refresh; the charts get them in one message."""
        with self.curves.hold():
            for event in events:
                shown = self.trials.get(event.trial)
                if shown is None:
                    continue
                if isinstance(event, EpochEnd):
                    self._epoch(shown, event)
                elif isinstance(event, StepProgress):
                    if event.epoch > shown.epoch:  # else the epoch was already read from the log
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
        # epochs a second, averaged with the seconds as weights: a single slow epoch hardly moves it
        seconds = max(event.seconds, 1e-9)
        shown.seconds += seconds
        shown.pace += max(-expm1(-seconds / PACE_SECONDS), seconds / shown.seconds) * (1 / seconds - shown.pace)
        for column in shown.columns:
            xs, ys = self._points.setdefault(f"{event.trial}/{column}", ([], []))
            xs.append(event.epoch)
            ys.append(self._value(event, column))
        # a refit has no validation loss, and so no best epoch
        if isfinite(event.val_loss) and (shown.best is None or _monitored(event) < _monitored(shown.best)):
            shown.best = event
            if len(self.trials) <= MARKED_TRIALS and shown.group is None:
                value = event.val_loss if self.monitor == "loss" else event.metrics.get(self.monitor, (nan, nan))[1]
                self.curves.mark(event.trial, event.epoch, "best", f"{selected_by(self.monitor)} {value:.4g}")

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
        if not self.active:
            self._restyle_overlays()
            if shown.columns == COLUMNS:  # a search has more trials to come
                # a run that ended early gets the whole width
                self.curves.epochs = max(one.epoch for one in self.trials.values())

    def _flush(self) -> None:
        points, self._points = self._points, {}
        self._append(points)

    @property
    def active(self) -> bool:
        """Whether a trial of the run on show has not ended."""
        return any(shown.state not in ENDED for shown in self.trials.values())


def _monitored(event: EpochEnd) -> float:
    return inf if event.monitored is None or isnan(event.monitored) else event.monitored


def _groups(configs: Mapping[int, Config]) -> dict[int, str | None]:
    """The group of each trial: the seeds of a configuration are drawn as one; None for a configuration with one seed."""
    configurations: dict[str, list[int]] = {}
    for trial, config in configs.items():
        configurations.setdefault(config.configuration, []).append(trial)
    return {
        t: f"seeds of {trials[0]}" if len(trials) > 1 else None for trials in configurations.values() for t in trials
    }


def left_out(drawn: Mapping[int, Shown], better: Better) -> set[int]:
    """The worst of the ended trials, as many as there are above DRAWN; a trial without a score is worse than any other."""

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
