"""The presenter: shows the events of a session in the view, and draws the picture in a saved notebook."""

from __future__ import annotations

import base64
import threading
import time
import weakref
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pandas as pd
import torch

from workbench.core.config import Config
from workbench.core.direction import selected_by
from workbench.core.errors import ConfigError
from workbench.core.events import EpochEnd, Event, KnobChanged, StepProgress, TrialState
from workbench.core.registry import METRICS, Scoped
from workbench.runs.publisher import LogChanged, Notice
from workbench.runs.replay import Replay
from workbench.runs.run import Run
from workbench.runs.session import Session
from workbench.training import resolve_loss
from workbench.ui.dispatch import Dispatch
from workbench.ui.parts import error_text
from workbench.ui.pump import TICK_SECONDS, Pump
from workbench.ui.status import Status, run_status, search_status
from workbench.ui.task_log import TABLE_TRIALS, TaskLog

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

    from workbench.ui.bench import Bench
    from workbench.ui.live import LiveRun
    from workbench.ui.tab import Tab
    from workbench.ui.view import WorkbenchView

__all__ = ["Presenter"]

PICTURED = 64
"""The saved picture of a long search shows at most so many trials, the last ones."""
TABLE_SECONDS = 1.0
"""While trials train, the table is read at most this often."""
NUMBERS_SECONDS = 10.0
"""While no trial begins, ends or pauses, the pauses grow up to this: reading costs training time, and DataTables leaks some
65 KB each time it fills the table (its Select extension leaves handlers behind)."""
NUMBERS = (EpochEnd, KnobChanged, StepProgress)
"""Events that change numbers only, not the state of a trial."""
LOADING_TICK_SECONDS = 2.0
"""While a page loads: updates would only delay the messages it waits for."""
LOOK_SHARE = 0.05
"""While trials train, refreshing the tab in front takes at most this share of the time, unless a click asks for it."""

W = TypeVar("W", bound="Bench")


class Presenter(Scoped):
    """Keeps the view of one session up to date: it subscribes to the session, and `tick` shows what was published.

    `tick` and what is marked below are for the main thread, all else for any thread. view: None before `build`. selected: the
    trials selected in the table. gone: trials that were deleted here.
    """

    _all: ClassVar[weakref.WeakKeyDictionary[Session, weakref.ref[Presenter]]] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, session: Session) -> Presenter:
        """The presenter of a session, which several `Workbench` objects may share; a new one if there is none."""
        known = cls._all.get(session)
        presenter = None if known is None else known()
        if presenter is None:
            presenter = cls(session)
            cls._all[session] = weakref.ref(presenter)  # which its session keeps
        return presenter

    def __init__(self, session: Session) -> None:
        self.session, self.task, self.log = session, session.task, session.log
        self.runner, self.recall, self.task_log = session.runner, session.recall, TaskLog(session.task, session.log)
        self.selected: list[int] = []
        self.gone: set[int] = set()
        self._origins: list[int] = []  # drawn with the run on show, which began from them
        self._events: deque[Sequence[Event]] = deque()
        self._table_due = self._select_due = self._look_due = False
        self._table_read = self._look_free = self._moved = 0.0
        self._stale = False  # whether there were events since the table was read
        self._known = 0
        self._newest: list[int] = []
        self._dropped: deque[Sequence[int]] = deque()
        self._verdict: tuple[Run, str, bool] | None = None
        self.view: WorkbenchView | None = None
        self._live: LiveRun | None = None
        self._on_show: Run | None = None
        self._handles: list[DisplayHandle] = []
        self._pictured = True
        self.pump = Pump(self.tick, self._pause)
        self.dispatch = Dispatch(
            lambda error, show: self.shown.show_error(error, show), self.pump.wake, self.pump.after_messages
        )
        session.subscribe(self._receive, waiting=self.tick)

    def _receive(self, group: Sequence[Event | Notice]) -> None:
        """Enqueue what the session publishes. Any thread; ticks go on while anything trains, and need no waking."""
        events = [one for one in group if not isinstance(one, LogChanged)]
        if events:
            self._events.append(events)
        for notice in group:
            if isinstance(notice, LogChanged):
                self._table_due = True
                self.gone.update(notice.deleted)
                self.gone.difference_update(notice.restored)
                if notice.deleted:
                    self._dropped.append(notice.deleted)
                    self.select([trial for trial in self.selected if trial not in notice.deleted])
        if len(events) < len(group) or not group:
            self.pump.wake()

    # --- the saved picture ------------------------------------------------------------------------------------------

    def last_trials(self) -> tuple[int, ...]:
        """The trials of the run on show outside the trash, else the newest trial of the task."""
        if self._on_show is not None:
            trashed = set(self.log.trash.trials()["trial"])
            kept = tuple(trial for trial in self._on_show.trials if trial not in trashed)
            if kept:
                return kept[-PICTURED:]
        newest = self.log.trials(task_fingerprint=self.task.fingerprint, last=1)
        return tuple(int(trial) for trial in newest["trial"])

    def _widget(self) -> dict[str, Any]:
        assert self.view is not None
        return {**(self.view.widget._repr_mimebundle_() or {}), "text/plain": f"Workbench on {self.task.name}"}

    def _picture(self) -> dict[str, Any]:
        """What a reader without a kernel sees: a line of text, and the curves if there are any."""
        bundle = {"text/plain": f"Workbench on {self.task.name}: {self.task_log.summary()}"}
        trials = self.last_trials()
        if trials and len(self.log.curves(*trials)):
            figure = self.task_log.figure(self.task_log.seeds_together(trials))
            bundle["image/png"] = base64.b64encode(figure._repr_png_()).decode()
        return bundle

    # --- views (main thread) ----------------------------------------------------------------------------------------

    def show(self, bench: W, tabs: Sequence[Tab[W, Any]]) -> None:
        """Display the view in the running cell, and below it the picture that a saved notebook keeps."""
        from IPython.display import display

        if (
            self.view is None
            or bench.choices.entries != self.choices.entries
            or bench.control_limits != self.view.controls.limits
        ):
            self.build(bench, tabs)  # again for a Workbench that was made again with other models or controls
        self.pump.attach()
        self._table_due = True  # another process may have written to the log
        self.tick()
        threading.Thread(target=_warm_up, name="workbench-warm-up", daemon=True).start()
        display(self._widget(), raw=True)  # type: ignore[no-untyped-call]
        # a second output: updating the first would make the page build the widget again; the stylesheet hides the picture
        handle = display(self._picture(), raw=True, display_id=True)  # type: ignore[no-untyped-call]
        if handle is not None:
            self._handles = [*self._handles[-4:], handle]
        self.pump.wake()

    def build(self, bench: W, tabs: Sequence[Tab[W, Any]]) -> WorkbenchView:
        """Make the view, without displaying it. bench: the workbench whose methods the clicks call."""
        from workbench.ui.live import LiveRun
        from workbench.ui.view import WorkbenchView

        former, self.choices = self.view, bench.choices
        with self.choices.active():
            loss = resolve_loss(Config(), self.task.kind).loss
            self._live = LiveRun(
                self.task.metric, loss, self.task.monitor, 0 if self.task.folds is None else len(self.task.folds)
            )  # fmt: skip
            self.chosen_metric = self.task.metric
            self.view = WorkbenchView(self, bench, self._live.curves)
            self.view.add_tabs(tabs)
            if former is not None and former.controls.limits == bench.control_limits:
                with suppress(ConfigError):  # of values that the new models do not take
                    self.view.controls.load(former.controls.read().checked())
        self._events.clear()  # earlier epochs are read from the log
        if self._on_show is None and self.runner.current is not None:
            self._on_show = self.runner.current
        if self._on_show is not None:
            self._put_on_show(self._on_show)
        self._table_due = True
        return self.view

    @property
    def headline_label(self) -> str:
        """The label of the headline metric, under a cross-validation with what its values are means of."""
        return METRICS[self.task.metric].label + self.task_log.of_folds

    def choose_metric(self, name: str) -> None:
        """Show another metric in the second chart, at the next tick."""
        self.chosen_metric = name
        self.pump.wake()

    @property
    def shown(self) -> WorkbenchView:
        """The view. Raises: AssertionError before `build`."""
        assert self.view is not None
        return self.view

    @property
    def drawn(self) -> Collection[int]:
        """The trials in the charts."""
        return () if self._live is None else self._live.drawn

    def _put_on_show(self, run: Run) -> None:
        self._on_show, self._pictured = run, False
        self._select_due = True  # a selected trial may have been part of the run before
        if self._live is None:
            return
        roots = self.task_log.roots(run.trials)
        self._origins = sorted({int(parent) for parent in roots["parent"]} | set(run.compare_with))
        if run.grows:
            self._live.begin_search()
            self._live.join(dict(run.configs))
        else:
            self._live.begin(run.configs, run.label, self._origins, fixed_epochs=run.fixed_epochs)
        self._live.root(roots)
        so_far = self.log.curves(*run.trials) if run.trials else pd.DataFrame()
        if len(so_far):  # of trials that are resumed
            self._live.replay(so_far, run.states)

    def _pause(self) -> float:
        return LOADING_TICK_SECONDS if self._live is not None and self._live.curves.loading else TICK_SECONDS

    def tick(self) -> bool:
        """Bring the views up to date; returns whether more is to come. Main thread only."""
        training = bool(self.runner.runs)  # before the events are read: a run publishes its end first
        events = [event for _ in range(len(self._events)) for event in self._events.popleft()]
        for run, group in groupby(events, lambda event: self.session.run_of(event.trial)):
            if run is None:
                continue
            if run is not self._on_show:
                self._put_on_show(run)
            if self._live is not None:
                if run.grows:
                    self._live.join(dict(run.configs))
                self._live.show(group)
        if self._live is not None and self.view is not None:
            self.dispatch.tick()
            self.view.tick()
            while self._dropped:
                self._live.drop(self._dropped.popleft())
            self._refresh_selection()
            if self.chosen_metric != self._live.chosen:
                drawn = self._live.drawn
                self._live.choose(self.chosen_metric, self.log.curves(*drawn) if drawn else pd.DataFrame({"trial": []}))
            now = time.monotonic()
            self._stale = self._stale or bool(events)
            if not all(isinstance(event, NUMBERS) for event in events):
                self._moved = now
            calm = 0.0 if self._moved >= self._table_read else now - self._moved
            pause = min(max(TABLE_SECONDS, calm), NUMBERS_SECONDS)
            if self._table_due or (self._stale and (not training or now - self._table_read > pause)):
                self._table_due, self._stale, self._table_read = False, False, now
                frame = self.task_log.trials(last=TABLE_TRIALS)
                self._known = self.log.results.count(self.task.fingerprint)
                self._newest = [int(trial) for trial in frame["trial"].tail(1)]
                self.view.table.update(frame, self._known)
                self.view.panel.show_left(*self._left())
                self.view.best.update(*self.task_log.best())
                cheap = self.view.in_front[1].cheap
                self._look_due = self._look_due or not training or (cheap and now >= self._look_free)
            if self._look_due:
                self._look_due, started = False, time.monotonic()
                self.refresh_tab()
                ended = time.monotonic()
                self._look_free = ended + (ended - started) / LOOK_SHARE
            self.view.update(self._status())
        if not training and not self._pictured:
            self._update_picture()
        return training

    def _status(self) -> Status:
        live, run = self._live, self._on_show
        assert live is not None
        if run is None or not run.grows:
            status = run_status(live.trials, live.better, selected_by(self.task.monitor))
            if run is not None and run.done and status.trials:
                text, good = self._verdict_of(run)
                status = replace(status, verdict=text, good=good)
        else:
            states = set(run.states.values())
            if not run.done:
                state = TrialState.PAUSED if TrialState.PAUSED in states else TrialState.RUNNING
            else:
                state = TrialState.STOPPED if run.stopped else TrialState.FAILED if run.error else TrialState.COMPLETED
            status = search_status(run.title, state, run.progress, live.trials, self.headline_label)
        runs = self.runner.runs
        message = live.message if status.state else ""
        if run is not None and run.grows and run.error is not None:
            message = str(run.error)
        return replace(
            status, metric_label=self.headline_label, message=message, queued=max(0, len(runs) - 1), known=self._known,
            held_up=any(run.held_up for run in runs), task=self.task.name,
        )  # fmt: skip

    def _verdict_of(self, run: Run) -> tuple[str, bool]:
        """The verdict on an ended run, and whether it is a success. It may have to train again, in the background."""
        if type(run).verdict is Run.verdict:
            return "", False
        if self._verdict is None or self._verdict[0] is not run:
            self._verdict = (run, "", False)

            def done(verdict: tuple[str, bool], error: Exception | None) -> None:
                if self._verdict is not None and self._verdict[0] is run:
                    self._verdict = (run, *(verdict if error is None else (error_text(error), False)))

            work = lambda: (run.verdict, isinstance(run, Replay) and run.identical)  # noqa: E731
            self.dispatch.background.submit("verdict", work, done)
        return self._verdict[1:]

    def _left(self) -> tuple[int, int]:
        """How many trials and searches can be resumed."""
        training = {run.search for run in self.runner.runs if run.search is not None}
        fingerprint = self.task.fingerprint
        return len(self.log.ownership.interrupted(fingerprint)), len(
            self.log.ownership.unfinished_searches(fingerprint, training)
        )

    def look_again(self) -> None:
        """Refresh the tab in front at the next tick."""
        self._look_due = True
        self.pump.wake()

    def refresh_tab(self) -> None:
        """Refresh the tab in front. Main thread."""
        tab, body = self.shown.in_front
        tab.refresh(body)

    def trial_in_view(self) -> int | None:
        """The trial that a tab about a single trial shows: the one selected last, else the last of the run on show."""
        shown = [] if self._on_show is None else [one for one in self._on_show.trials if one not in self.gone]
        trials = self.selected or shown or self._newest
        return int(trials[-1]) if trials else None

    def _update_picture(self) -> None:
        """Update the picture below the widget, for the saved notebook."""
        self._pictured = True
        if self._handles:
            bundle = self._picture()
            for handle in self._handles:
                handle.update(bundle, raw=True)  # type: ignore[no-untyped-call]

    def _refresh_selection(self) -> None:
        if self._select_due and self._live is not None:
            self._select_due = False
            trials = list(dict.fromkeys([*self.selected, *self._origins]))
            curves, names = pd.DataFrame({"trial": [], "epoch": []}), {}
            if trials:
                curves, frame = self.task_log.curves(*trials), self.log.trials()
                names = {
                    int(t): n for t, n in zip(frame["trial"], frame["name"], strict=True) if isinstance(n, str) and n
                }
            self._live.overlay(trials, curves, names)

    def select(self, trials: Sequence[int]) -> None:
        """Take these trials as selected, and draw them at the next tick."""
        self.selected, self._select_due = list(trials), True
        if self.view is not None and self.view.in_front[0].follows_selection:
            self._look_due = True
        self.pump.wake()

    def pick(self, trial: int, epoch: int | None = None) -> None:
        """Open the branch bar at a point, by default the trial's best epoch. Main thread."""
        epoch = self.recall.best_epoch(trial) if epoch is None else epoch
        origin = self.recall.origin(trial)
        if origin is not None and epoch <= origin[1]:
            trial, epoch = origin  # a branch is drawn from its parent's point
        epoch = self.recall.check_epoch(trial, epoch)
        self.shown.open_bar(trial, epoch, self.recall.config(trial, epoch))

    def refresh_table(self) -> None:
        """Read the table at the next tick."""
        self._table_due = True
        self.pump.wake()


def _warm_up() -> None:
    """Have torch import its compiler, which the first optimizer does (some seconds), before the first click on Train."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
