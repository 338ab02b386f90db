"""Shows a session: how its news get to the views, and the picture in a saved notebook."""

from __future__ import annotations

import base64
import threading
import time
import weakref
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
import torch

from workbench.core.config import Config
from workbench.core.errors import WorkbenchError
from workbench.core.events import EpochEnd, Event, KnobChanged, StepProgress, TrialState
from workbench.runs.publisher import LogChanged, Notice
from workbench.runs.run import Run
from workbench.runs.session import Session
from workbench.training import resolve_loss
from workbench.training.devices import available_devices
from workbench.ui.dispatch import Dispatch
from workbench.ui.pump import TICK_SECONDS, Pump
from workbench.ui.task_log import TABLE_TRIALS, TaskLog

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

    from workbench.ui.live import LiveRun
    from workbench.ui.run_panel import Status
    from workbench.ui.tab import Tab
    from workbench.ui.view import WorkbenchView

__all__ = ["Presenter"]

PICTURED = 64
"""Of a long search, the saved picture shows so many trials, the last."""
TABLE_SECONDS = 1.0
"""While trials train, the table is read anew at most this often."""
NUMBERS_SECONDS = 10.0
"""And where no trial has begun, ended or paused, after ever longer pauses up to this: it costs the training time, and DataTables
keeps some 65 KB of each table that it has filled anew (its Select extension leaves handlers behind)."""
NUMBERS = (EpochEnd, KnobChanged, StepProgress)
"""Events of a trial that goes on as before."""
LOADING_TICK_SECONDS = 2.0
"""While a page is loaded: what it is told meanwhile only stands in the way of what it waits for."""
LOOK_SHARE = 0.05
"""While trials train, the tab in front takes at most this share of the time, unless somebody asks for a look."""


class Presenter:
    """The view of one session, brought up to date by `tick` on the main thread; all else may be called from any thread.

    It subscribes to the session, and `tick` takes what was published meanwhile. view: None before `build`.
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
        self.gone: set[int] = set()  # trials that were deleted here
        self._origins: list[int] = []  # drawn beside the run on show, because it began from them
        self._news: deque[Sequence[Event]] = deque()
        self._table_due = self._select_due = self._look_due = False
        self._table_read = self._look_free = self._moved = 0.0
        self._stale = False  # whether something has happened since the table was read
        self._known = 0
        self._newest: list[int] = []
        self._pick: tuple[int, int | None] | None = None
        self._dropped: deque[Sequence[int]] = deque()
        self._verdict: tuple[Run, str, bool] | None = None
        self.view: WorkbenchView | None = None
        self._live: LiveRun | None = None
        self.bench: Any = None
        self._on_show: Run | None = None
        self._handles: list[DisplayHandle] = []
        self._pictured = True
        self.pump = Pump(self.tick, self._pause)
        self.dispatch = Dispatch(lambda error: self.shown.show_error(error), self.pump.wake)
        session.subscribe(self._hear, waiting=self.tick)

    def _hear(self, group: Sequence[Event | Notice]) -> None:
        """What the session publishes, on any thread. Events are taken by the ticks that go on while anything trains."""
        events = [one for one in group if not isinstance(one, LogChanged)]
        if events:
            self._news.append(events)
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

    # --- the saved picture -------------------------------------------------------------------------------------------------

    def last_trials(self) -> tuple[int, ...]:
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
        """What a reader without a kernel sees: a line of text and the curves, once there are any."""
        bundle = {"text/plain": f"Workbench on {self.task.name}: {self.task_log.summary()}"}
        trials = self.last_trials()
        if trials and len(self.log.curves(*trials)):
            figure = self.task_log.figure(self.task_log.seeds_together(trials))
            bundle["image/png"] = base64.b64encode(figure._repr_png_()).decode()
        return bundle

    # --- views (main thread) ----------------------------------------------------------------------------------------

    def show(self, bench: Any, tabs: Sequence[Tab[Any]]) -> None:
        from IPython.display import display

        if self.view is None:
            self.build(bench, tabs)
        self.pump.attach()
        self._table_due = True  # somebody else may have written to the log
        self.tick()
        threading.Thread(target=_make_optimizer_once, name="workbench-warming", daemon=True).start()
        display(self._widget(), raw=True)  # type: ignore[no-untyped-call]
        # an output of its own, or the page would make the widget anew with each picture; the stylesheet hides it there
        handle = display(self._picture(), raw=True, display_id=True)  # type: ignore[no-untyped-call]
        if handle is not None:
            self._handles = [*self._handles[-4:], handle]
        self.pump.wake()

    def build(self, bench: Any, tabs: Sequence[Tab[Any]]) -> WorkbenchView:
        """Make the view, without displaying it. bench: whose public calls it makes. Main thread."""
        from workbench.ui.acting import Actions
        from workbench.ui.live import LiveRun
        from workbench.ui.view import WorkbenchView

        self._live = LiveRun(self.task.metric, resolve_loss(Config(), self.task.kind).loss)
        self.view = WorkbenchView(
            self.task,
            Actions(bench),
            self._live.curves,
            config_of=bench.config,
            code_of=bench.code,
            ask=lambda action: self.pump.settle(lambda: self.dispatch.ask(action)),
            devices=available_devices(),
            device=bench.device,
        )
        self.bench = bench
        self.view.add_tabs(tabs, lambda tab: tab.build(self))
        self._news.clear()  # what has happened is in the log, and read from there
        if self._on_show is None and self.runner.current is not None:
            self._on_show = self.runner.current
        if self._on_show is not None:
            self._put_on_show(self._on_show)
        self._table_due = True
        return self.view

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
        self._select_due = True  # a selected trial may have been drawn as part of the run before
        if self._live is None:
            return
        roots = self.task_log.roots(run.trials)
        self._origins = sorted({int(parent) for parent in roots["parent"]} | set(run.beside))
        if run.grows:
            self._live.begin_search()
            self._live.join(dict(run.configs))
        else:
            self._live.begin(run.configs, run.label, self._origins)
        self._live.root(roots)
        so_far = self.log.curves(*run.trials) if run.trials else pd.DataFrame()
        if len(so_far):  # of trials that are resumed
            self._live.replay(so_far, run.states)

    def _pause(self) -> float:
        return LOADING_TICK_SECONDS if self._live is not None and self._live.curves.loading else TICK_SECONDS

    def tick(self) -> bool:
        """Bring the views up to date; returns whether more is to come. Main thread only."""
        going = bool(self.runner.runs)  # asked before the news are taken: a run publishes its end before it leaves
        events = [event for _ in range(len(self._news)) for event in self._news.popleft()]
        for run, group in groupby(events, lambda event: self.session.run_of(event.trial)):
            if run is None:
                continue
            if run is not self._on_show:
                self._put_on_show(run)
            if self._live is not None:
                if run.grows:
                    self._live.join(dict(run.configs))
                self._live.take(group)
        if self._live is not None and self.view is not None:
            self.dispatch.tick()
            self.view.tick()
            while self._dropped:
                self._live.drop(self._dropped.popleft())
            self._refresh_selection()
            self._open_bar()
            now = time.monotonic()
            self._stale = self._stale or bool(events)
            if not all(isinstance(event, NUMBERS) for event in events):
                self._moved = now
            calm = 0.0 if self._moved >= self._table_read else now - self._moved
            pause = min(max(TABLE_SECONDS, calm), NUMBERS_SECONDS)
            if self._table_due or (self._stale and (not going or now - self._table_read > pause)):
                self._table_due, self._stale, self._table_read = False, False, now
                frame = self.task_log.trials(last=TABLE_TRIALS)
                self._known = self.log.results.count(self.task.fingerprint)
                self._newest = [int(trial) for trial in frame["trial"].tail(1)]
                self.view.show_trials(frame, self._known)
                self.view.panel.show_left(*self._left())
                cheap = self.view.in_front[1].cheap
                self._look_due = self._look_due or not going or (cheap and now >= self._look_free)
            if self._look_due:
                self._look_due, started = False, time.monotonic()
                self.refresh_tab()
                ended = time.monotonic()
                self._look_free = ended + (ended - started) / LOOK_SHARE
            held_up = any(run.held_up for run in self.runner.runs)
            self.view.update(replace(self._status(), held_up=held_up, task=self.task.name))
        if not going and not self._pictured:
            self._update_picture()
        return going

    def _status(self) -> Status:
        assert self._live is not None
        queued = max(0, len(self.runner.runs) - 1)
        run = self._on_show
        if run is None or not run.grows:
            status = self._live.status(queued=queued, known=self._known)
            verdict, good = self._judged(run) if status.trials else ("", False)
            return replace(status, verdict=verdict, good=good) if verdict else status
        states = set(run.states.values())
        if not run.done:
            state = TrialState.PAUSED if TrialState.PAUSED in states else TrialState.RUNNING
        else:
            state = TrialState.STOPPED if run.stopped else TrialState.FAILED if run.error else TrialState.COMPLETED
        if run.error is not None:
            self._live.message = str(run.error)
        return self._live.search_status(run.title, state, run.progress, queued)

    def _judged(self, run: Run | None) -> tuple[str, bool]:
        """What is to be said of a run that has ended, and whether it is good. It may have to train again to know."""
        if run is None or not run.done or type(run).verdict is Run.verdict:
            return "", False
        if self._verdict is None or self._verdict[0] is not run:
            self._verdict = (run, "", False)
            threading.Thread(target=self._judge, args=[run], name="workbench-verdict", daemon=True).start()
        return self._verdict[1:]

    def _judge(self, run: Run) -> None:
        try:
            found = (run, run.verdict, bool(getattr(run, "identical", False)))
        except WorkbenchError as error:
            found = (run, str(error), False)
        if self._verdict is not None and self._verdict[0] is run:
            self._verdict = found
        self.pump.wake()

    def _left(self) -> tuple[int, int]:
        """How many trials and searches can be resumed."""
        going = {run.search for run in self.runner.runs if run.search is not None}
        fingerprint = self.task.fingerprint
        return len(self.log.ownership.interrupted(fingerprint)), len(
            self.log.ownership.unfinished_searches(fingerprint, going)
        )

    def look_again(self) -> None:
        """Have the tab in front brought up to date at the next tick. Any thread."""
        self._look_due = True
        self.pump.wake()

    def refresh_tab(self) -> None:
        """Bring the tab in front up to date. Main thread."""
        tab, body = self.shown.in_front
        tab.refresh(body)

    def trial_in_view(self) -> int | None:
        """The trial that a tab on a single one is about: the one selected last, else the last of the run on show."""
        shown = [] if self._on_show is None else [one for one in self._on_show.trials if one not in self.gone]
        trials = self.selected or shown or self._newest
        return int(trials[-1]) if trials else None

    def _update_picture(self) -> None:
        """Put what has ended into the picture below the widget, for the saved notebook."""
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
        self.selected, self._select_due = list(trials), True
        if self.view is not None and self.view.in_front[0].follows_selection:
            self._look_due = True
        self.pump.wake()

    def pick(self, trial: int, epoch: int | None) -> None:
        """Open the branch bar at a point, by default the trial's best epoch."""
        self._pick = (trial, epoch)
        self.pump.wake()

    def _open_bar(self) -> None:
        if self._pick is None or self.view is None:
            return
        (trial, epoch), self._pick = self._pick, None
        try:
            epoch = self.recall.best_epoch(trial) if epoch is None else epoch
            origin = self.recall.origin(trial)
            if origin is not None and epoch <= origin[1]:
                trial, epoch = origin  # a branch is drawn from its parent's point
            epoch = self.recall.check_epoch(trial, epoch)
            self.view.open_bar(trial, epoch, self.recall.config(trial, epoch))
        except WorkbenchError as error:
            self.view.show_error(error)

    def refresh_table(self) -> None:
        self._table_due = True
        self.pump.wake()


def _make_optimizer_once() -> None:
    """Have torch load what it loads with the first optimizer (its compiler, for seconds), before somebody presses Train."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
