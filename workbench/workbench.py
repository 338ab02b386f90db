"""`Workbench`: the only place where task, engine, log and views are wired together."""

from __future__ import annotations

import base64
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
import torch

from workbench.errors import ConfigError, Problem, RunError, did_you_mean
from workbench.events import Event
from workbench.execution import Run, Runner
from workbench.figures import NotebookFigure, learning_curves
from workbench.hyperparameters import Config
from workbench.log import NewTrial, TrialLog
from workbench.models import builder_source
from workbench.registration import register_model
from workbench.registry import LOSSES, METRICS
from workbench.training import Training, prepare, resolve_loss

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

    from workbench.tasks import Task
    from workbench.widgets.live import LiveRun
    from workbench.widgets.view import WorkbenchView

__all__ = ["Workbench"]

TABLE_SECONDS = 1.0
"""While trials train, the table is read anew at most this often."""
MAX_SEEDS = 1000


class Workbench:
    """Tune one task's model by hand and by search; display it as a cell's last value.

    task: what to learn. log: where every attempt is kept: a path, an SQLAlchemy URL, or None (in memory).
    models: builders of your own by name, `build(task, *, width=wb.IntRange(8, 256)) -> nn.Module`.
    device: where new trials train unless told otherwise ("cpu", "cuda", "cuda:1", "mps").

    A Workbench made while another one trains on the same log and task (a cell that is run again) attaches to the training
    that goes on; it starts nothing twice. Raises: LogError if the log cannot be opened.
    """

    def __init__(
        self,
        task: Task,
        log: str | os.PathLike[str] | None = None,
        *,
        models: Mapping[str, Callable[..., Any]] | None = None,
        device: str = "cpu",
    ) -> None:
        for name, build in (models or {}).items():
            register_model(name, build)
        self.task = task
        self.device = device
        self._session = _Session.of(task, log)

    # --- training ---------------------------------------------------------------------------------------------------

    def start(
        self,
        config: Config | None = None,
        *,
        seeds: int = 1,
        name: str = "",
        note: str = "",
        tags: Sequence[str] = (),
        device: str | None = None,
    ) -> Run:
        """Train one setting in the background and return at once.

        seeds: train this many replicates, with seeds from `config.seed` upwards, as one cohort. name, note, tags: for the
        log. While the very same call is still running (a cell that was run again), its run is returned instead of a second.
        Raises: ConfigError naming the field; ModelError if the model cannot be built; nothing is logged then.
        """
        config = prepare(self.task, config or Config())
        if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds <= MAX_SEEDS:
            message = f"seeds={seeds!r}: must be a whole number from 1 to {MAX_SEEDS}"
            raise ConfigError([Problem("seeds", seeds, message)])
        device = _check_device(device or self.device)
        configs = [config.replace(seed=config.seed + i) for i in range(seeds)]
        return self._session.start(configs, name=name, note=note, tags=tags, device=device)

    def run(self, config: Config | None = None, **options: Any) -> Run:
        """`start`, then wait with the plots kept live. The kernel's interrupt stops the run cleanly and keeps its epochs."""
        return self.start(config, **options).wait()

    # --- reading ----------------------------------------------------------------------------------------------------

    @property
    def log(self) -> TrialLog:
        """The trial log itself."""
        return self._session.log

    @property
    def trials(self) -> pd.DataFrame:
        """Every attempt in the log, one row a trial; those on other tasks included (see the column `task`)."""
        return self._session.log.trials()

    def curves(self, *trials: int) -> pd.DataFrame:
        """Learning curves, one row an epoch, of the given trials or of all."""
        return self._session.log.curves(*trials)

    def events(self, *trials: int) -> pd.DataFrame:
        """What happened beside the epochs: live changes, pauses, remarks."""
        return self._session.log.events(*trials)

    def config(self, trial: int) -> Config:
        """The Config a trial started with. Raises: LogError for an unknown trial."""
        return Config(**self._session.log.config(trial))

    def code(self, trial: int) -> str:
        """The Python call that starts this trial again."""
        return f"run = bench.start({self.config(trial)!r})"

    def annotate(
        self, trial: int, *, name: str | None = None, note: str | None = None, tags: Sequence[str] | None = None
    ) -> None:
        """Name a trial, write a note to it or tag it; what is left out stays."""
        self._session.log.annotate(trial, name=name, note=note, tags=tags)
        self._session.refresh_table()

    def figure(self, *trials: int) -> NotebookFigure:
        """Learning curves as a matplotlib figure, of the given trials or of the last run. Raises: RunError without any."""
        shown = [[trial] for trial in trials] or [list(self._session.last_trials())]
        if not shown[0]:
            raise RunError("there is no trial to draw yet; train one with bench.run(wb.Config())")
        return self._session.figure(shown)

    @property
    def selected(self) -> list[int]:
        """The trials whose rows are selected in the table."""
        return list(self._session.selected)

    @property
    def active(self) -> list[Run]:
        """The run that trains now and those that wait for it."""
        return self._session.runner.runs

    # --- display ----------------------------------------------------------------------------------------------------

    def _ipython_display_(self) -> None:
        self._session.show(self)

    def __repr__(self) -> str:
        return f"<Workbench on {self.task.name!r}, log {self._session.log.url}: {self._session.summary()}>"


class _Session:
    """What Workbench objects on one log and task share: log, runner, views. Methods for any thread but for `tick`."""

    _going: ClassVar[weakref.WeakValueDictionary[tuple[str, str], _Session]] = weakref.WeakValueDictionary()

    @classmethod
    def of(cls, task: Task, target: str | os.PathLike[str] | None) -> _Session:
        """The session whose training is still going on for this log and task, else a new one."""
        key = ("" if target is None else str(target), task.fingerprint)
        session = cls._going.get(key)
        if session is None or not session.runner.runs:
            session = cls._going[key] = cls(task, TrialLog.open(target))
        return session

    def __init__(self, task: Task, log: TrialLog) -> None:
        self.task, self.log = task, log
        self.selected: list[int] = []
        self._news: deque[Sequence[Event]] = deque()
        self._runs: dict[int, Run] = {}
        self._requests: dict[Run, tuple[tuple[Config, ...], str, str]] = {}
        self._lock = threading.Lock()
        self._table_due = self._select_due = False
        self._table_read = 0.0
        self.runner = Runner(log, self._news.append)
        self.view: WorkbenchView | None = None
        self._live: LiveRun | None = None
        self._on_show: Run | None = None
        self._handles: list[DisplayHandle] = []
        self._pictured = True
        from workbench.widgets.pump import Pump

        self.pump = Pump(self.tick)

    def start(self, configs: list[Config], *, name: str, note: str, tags: Sequence[str], device: str) -> Run:
        with self._lock:
            request = (tuple(configs), name, device)
            for run in self.runner.runs:
                if self._requests.get(run) == request:
                    return run
            trials = self._create(configs, name=name, note=note, tags=tags, device=device)
            training = Training(self.task, trials, device=device)
            run = Run(trials, training, pump=self.tick)
            self._requests[run] = request
            self._runs.update(dict.fromkeys(trials, run))
            self.runner.submit(run)
        self.pump.wake()
        return run

    def _create(
        self, configs: list[Config], *, name: str, note: str, tags: Sequence[str], device: str
    ) -> dict[int, Config]:
        """Put the trials into the log as queued; replicates name the first as their parent."""
        cohort = self.log.next_cohort()

        def new(config: Config, source: str, parent: int | None) -> NewTrial:
            return NewTrial(
                config=config.model_dump(),
                source=source,
                name=name,
                parent=parent,
                task=self.task.name,
                task_fingerprint=self.task.fingerprint,
                metric=self.task.metric,
                device=device,
                cohort=cohort,
                builder_source=builder_source(config.model),
                note=note,
                tags=tuple(tags),
            )

        (first,) = self.log.create([new(configs[0], "manual", None)])
        others = self.log.create([new(config, "replicate", first) for config in configs[1:]]) if configs[1:] else []
        return dict(zip([first, *others], configs, strict=True))

    # --- pictures and words -----------------------------------------------------------------------------------------

    def last_trials(self) -> tuple[int, ...]:
        if self._on_show is not None:
            return self._on_show.trials
        trials = self.trials()
        return () if trials.empty else (int(trials["trial"].max()),)

    def trials(self) -> pd.DataFrame:
        """The log's trials on this very task: scores on other data cannot be compared with theirs."""
        frame = self.log.trials()
        return frame[frame["task_fingerprint"] == self.task.fingerprint]

    def figure(self, groups: Sequence[Sequence[int]]) -> NotebookFigure:
        curves = self.log.curves(*[trial for group in groups for trial in group])
        metric = METRICS[self.task.metric].label
        loss = LOSSES[resolve_loss(Config(), self.task.kind).loss].label
        return learning_curves(curves, groups, loss_label=loss.lower(), metric_label=f"validation {metric.lower()}")

    def summary(self) -> str:
        """The log in one line."""
        trials = self.trials()
        if trials.empty:
            return "no trial yet"
        metric = METRICS[self.task.metric]
        line = f"{len(trials)} trial{'s' * (len(trials) != 1)}"
        scores = trials["best_val_metric"].dropna()
        if len(scores):
            best = trials.loc[scores.idxmax() if metric.value.better == "higher" else scores.idxmin()]
            line += (
                f", best trial {best['trial']} with validation {metric.label.lower()} "
                f"{best['best_val_metric']:.3f} at epoch {best['best_epoch']}"
            )
        return line

    def _bundle(self) -> dict[str, Any]:
        """The widget, and beside it what a reader without a kernel sees: a picture and a line of text."""
        assert self.view is not None
        bundle = dict(self.view.widget._repr_mimebundle_() or {})
        bundle["text/plain"] = f"Workbench on {self.task.name}: {self.summary()}"
        trials = self.last_trials()
        if trials and len(self.log.curves(*trials)):
            bundle["image/png"] = base64.b64encode(self.figure([trials])._repr_png_()).decode()
        return bundle

    # --- views (main thread) ----------------------------------------------------------------------------------------

    def show(self, bench: Workbench) -> None:
        from IPython.display import display

        if self.view is None:
            self._build_view(bench)
        self.pump.attach()
        self.tick()
        handle = display(self._bundle(), raw=True, display_id=True)  # type: ignore[no-untyped-call]
        if handle is not None:
            self._handles = [*self._handles[-4:], handle]
        self.pump.wake()

    def _build_view(self, bench: Workbench) -> None:
        from workbench.widgets.live import LiveRun
        from workbench.widgets.view import WorkbenchView

        self._live = LiveRun(self.task.metric, resolve_loss(Config(), self.task.kind).loss)
        self.view = WorkbenchView(
            self.task,
            _Actions(bench),
            self._live.curves,
            config_of=bench.config,
            settle=self.pump.settle,
            devices=available_devices(),
            device=bench.device,
        )
        self._news.clear()  # what has happened is in the log, and read from there
        if self._on_show is None and self.runner.current is not None:
            self._on_show = self.runner.current
        if self._on_show is not None:
            self._put_on_show(self._on_show)
            self._live.replay(self.log.curves(*self._on_show.trials), self._on_show.states)
        self._table_due = True

    def _put_on_show(self, run: Run) -> None:
        self._on_show, self._pictured = run, False
        self._select_due = True  # a selected trial may have been drawn as part of the run before
        if self._live is not None:
            self._live.begin(run.configs, self._requests[run][1] if run in self._requests else "")

    def tick(self) -> bool:
        """Bring the views up to date; returns whether more is to come. Main thread only."""
        going = bool(self.runner.runs)  # asked before the news are taken: a run publishes its end before it leaves
        events = [event for _ in range(len(self._news)) for event in self._news.popleft()]
        for run, group in groupby(events, lambda event: self._runs[event.trial]):
            if run is not self._on_show:
                self._put_on_show(run)
            if self._live is not None:
                self._live.take(group)
        if self._live is not None and self.view is not None:
            self._refresh_selection()
            now = time.monotonic()
            if self._table_due or (events and (not going or now - self._table_read > TABLE_SECONDS)):
                self._table_due, self._table_read = False, now
                self.view.show_trials(self.trials())
            self.view.update(self._live.status(queued=max(0, len(self.runner.runs) - 1)))
        if not going and not self._pictured:
            self._picture()
        return going

    def _picture(self) -> None:
        """Put the picture of what has ended beside the widget, for the saved notebook."""
        self._pictured = True
        if self._handles:
            bundle = self._bundle()
            for handle in self._handles:
                handle.update(bundle, raw=True)  # type: ignore[no-untyped-call]

    def _refresh_selection(self) -> None:
        if self._select_due and self._live is not None:
            self._select_due = False
            trials = list(self.selected)
            curves, names = pd.DataFrame({"trial": [], "epoch": []}), {}
            if trials:
                curves, frame = self.log.curves(*trials), self.log.trials()
                names = {
                    int(t): n for t, n in zip(frame["trial"], frame["name"], strict=True) if isinstance(n, str) and n
                }
            self._live.overlay(trials, curves, names)

    def select(self, trials: Sequence[int]) -> None:
        self.selected, self._select_due = list(trials), True
        self.pump.wake()

    def refresh_table(self) -> None:
        self._table_due = True
        self.pump.wake()


class _Actions:
    """What the view may ask for. Called from widget callbacks on any thread: each call enqueues and returns."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._session = bench._session

    def start(self, config: Config, *, seeds: int, name: str, device: str) -> None:
        self._bench.start(config, seeds=seeds, name=name, device=device)

    def pause(self) -> None:
        self._current().pause()

    def resume(self) -> None:
        self._current().resume()

    def stop(self) -> None:
        self._current().stop()

    def set(self, name: str, value: float) -> None:
        run = self._session.runner.current
        if run is not None and not run.done:
            run.set(None, **{name: value})

    def select(self, trials: list[int]) -> None:
        self._session.select(trials)

    def annotate(self, trial: int, *, name: str | None, note: str | None, tags: list[str] | None) -> None:
        self._bench.annotate(trial, name=name, note=note, tags=tags)

    def _current(self) -> Run:
        run = self._session.runner.current
        if run is None:
            raise RunError("nothing is training; press Train first")
        return run


def _check_device(device: str) -> str:
    """Raises: ConfigError unless torch can use the device on this machine."""
    known = available_devices()
    if device in known or (device == "cuda" and any(name.startswith("cuda") for name in known)):
        return device
    message = f"device={device!r}: this machine has {', '.join(known)}{did_you_mean(device, known)}"
    raise ConfigError([Problem("device", device, message)])


def available_devices() -> list[str]:
    """Where trials can train on this machine: the CPU first."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]
