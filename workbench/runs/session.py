"""What the Workbench objects on one log and task share: log and runner, and how trials are entered and started."""

from __future__ import annotations

import os
import re
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from sqlalchemy import make_url

from workbench.checkpoints import CheckpointStore, remove_former
from workbench.core.config import Config
from workbench.core.events import Event, Message, Scripted
from workbench.core.warn import callers_level
from workbench.log import NewTrial, TrialLog
from workbench.models import builder_identity, builder_source, code_of, restore_sources
from workbench.runs.publisher import LogChanged, Notice, Publisher
from workbench.runs.restore import Recall
from workbench.runs.run import Run
from workbench.runs.runner import Runner
from workbench.training import Change, Training, Weights, capacity, cohort_key, without_effect

if TYPE_CHECKING:
    from workbench.tasks import Task

__all__ = ["Session", "checkpoint_folder", "notes_without_effect", "scripted", "warn_without_effect"]

R = TypeVar("R", bound=Run)
Asked = tuple[str, tuple[str, ...], str]


def _asked(task: Task) -> Asked:
    """What a session trains on and by: data, metrics and monitor."""
    return (task.fingerprint, task.metrics, task.monitor)


class Session:
    """What Workbench objects on one log and task share: log, checkpoints and runner. Methods for any thread.

    It knows no view: what happens is published to its subscribers (see `subscribe`).
    """

    _going: ClassVar[weakref.WeakValueDictionary[tuple[str, Asked], Session]] = weakref.WeakValueDictionary()

    @classmethod
    def of(
        cls, task: Task, target: str | os.PathLike[str] | None, checkpoints: str | os.PathLike[str] | None = None
    ) -> Session:
        """The session that is still training on this log and task, by the same metrics and monitor, else a new one."""
        target = None if in_memory(target) else target
        text = "" if target is None else os.fspath(target)
        key = (text if "://" in text or not text else os.path.abspath(os.path.expanduser(text)), _asked(task))
        session = cls._going.get(key)
        if session is None or not session.runner.runs:
            log = TrialLog.open(target)
            folder = checkpoint_folder(target) if checkpoints is None else Path(checkpoints).expanduser()
            if folder is not None and checkpoints is None and log.url.startswith("sqlite"):
                remove_former(folder, log.identity)
            session = cls._going[key] = cls(task, log, folder)
            session._place = key[0]
        return session

    def on(self, task: Task) -> Session:
        """The session for another task on the same log (one in memory too) and checkpoints; it has a runner of its own."""
        with self.lock:
            session = self._family.get(_asked(task))
            if session is None:
                session = Session(task, self.log, self._folder)
                if session.checkpoints.budget != self.checkpoints.budget:
                    session.checkpoints.budget = self.checkpoints.budget
                session.lock, session._family, session._place = self.lock, self._family, self._place
                self._family[_asked(task)] = session
                key = (self._place, _asked(task))
                going = self._going.get(key)
                if going is None or not going.runner.runs:
                    self._going[key] = session
            return session

    def known(self, fingerprint: str) -> Session | None:
        """The session on a task of this log, if there is one in this process."""
        going = [session for (place, _), session in list(self._going.items()) if place == self._place]
        own = [session for session in [*self._family.values(), *going] if session.task.fingerprint == fingerprint]
        return own[0] if own and own[0].log.identity == self.log.identity else None

    @property
    def trials_going(self) -> frozenset[int]:
        """The trials that train or wait in this session and in those on other tasks of its log."""
        return frozenset(trial for session in list(self._family.values()) for trial in session.runner.trials)

    def __init__(self, task: Task, log: TrialLog, folder: Path | None = None) -> None:
        self.task, self.log = task, log
        self._publisher = Publisher()
        self._runs: dict[int, Run] = {}
        self._requests: dict[Run, tuple[object, ...]] = {}
        self._capacities: dict[Any, tuple[int, int]] = {}
        self.lock = threading.RLock()
        """Held while trials are entered and given to a run, so that they are never taken for abandoned ones in between."""
        # a folder for each log, so that two of them in one place cannot take each other's states for their own
        own = None if folder is None else folder / log.identity
        self.checkpoints = CheckpointStore(own, lambda: self.recall.needed())
        self.recall = Recall(task, log, self.checkpoints, self.weights_at_hand)
        self.runner = Runner(log, self._publisher.publish, self.checkpoints)
        # where the trained trials lie that others were fine-tuned from; None in memory
        self.sources = None if own is None else own / "backbones"
        for file, error in ({} if self.sources is None else restore_sources(self.sources)).items():
            message = f"{file}: trials that were fine-tuned from it cannot be used: {error}"
            warnings.warn(message, UserWarning, stacklevel=4)
        self._folder, self._place = folder, ""
        self._family: weakref.WeakValueDictionary[Asked, Session] = weakref.WeakValueDictionary()
        self._family[_asked(task)] = self

    # --- subscribers --------------------------------------------------------------------------------------

    def subscribe(
        self, callback: Callable[[Sequence[Event | Notice]], object], *, waiting: Callable[[], object] | None = None
    ) -> Callable[[], None]:
        """Have a callback called with each group of events that the log has taken, and with notices; see `Publisher`.

        callback: called on any thread, the training thread included; must only enqueue. An empty group means that work was
        queued or has ended. waiting: what to do, several times a second, while a caller on the main thread waits for work.
        Returns a function that ends the subscription.
        """
        return self._publisher.subscribe(callback, waiting=waiting)

    def publish(self, group: Sequence[Event | Notice] = ()) -> None:
        """Hand a group of events or notices to the subscribers. Any thread."""
        self._publisher.publish(group)

    def keep_live(self) -> None:
        """Do what subscribers want done while a caller waits. Main thread only."""
        self._publisher.keep_live()

    # --- training ---------------------------------------------------------------------------------------------------

    def start(
        self,
        configs: list[Config],
        *,
        name: str,
        note: str,
        tags: Sequence[str],
        device: str,
        changes: Sequence[Change] = (),
        stop_after: int | None = None,
    ) -> Run:
        """Train replicates of one configuration; the same request again, while it trains, is the same run."""

        def training(trials: dict[int, Config]) -> Training:
            scripted = dict.fromkeys(trials, changes)
            return Training(self.task, trials, device=device, changes=scripted, stop_after=stop_after)

        request = (
            "start",
            tuple(configs),
            self.configuration_of(configs[0]),
            name,
            device,
            tuple(changes),
            stop_after,
        )
        first, others = {"source": "manual"}, {"source": "replicate", "replicates": 0}
        return self.once(
            request,
            lambda: self.launch(
                configs, training, each=[first, *[others] * (len(configs) - 1)], name=name, note=note, tags=tags,
                device=device, events=lambda trials: scripted(trials, changes, stop_after),
            ),
        )  # fmt: skip

    def once(self, request: tuple[object, ...], begin: Callable[[], Run]) -> Run:
        """The run of the very same request while it is going (a cell that was run again), else the one that `begin` makes."""
        with self.lock:
            for run in self.runner.runs:
                if self._requests.get(run) == request:
                    return run
            run = begin()
            self._requests = {one: kept for one, kept in self._requests.items() if not one.done}
            self._requests[run] = request
        return run

    def launch(
        self,
        configs: Sequence[Config],
        training: Callable[[dict[int, Config]], Training] | None = None,
        *,
        device: str,
        name: str = "",
        label: str | None = None,
        each: Sequence[Mapping[str, Any]] = (),
        events: Callable[[Sequence[int]], Sequence[Event]] = lambda trials: (),
        kind: Callable[..., R] = Run,  # type: ignore[assignment]
        compare_with: Sequence[int] = (),
        **about: Any,
    ) -> R:
        """Enter trials of one cohort into the log, with their first events, and queue their training.

        training: by default from the first step. about: fields of `NewTrial`; each: those in which
        the trials differ. label: what the charts call the run, by default its name. compare_with: earlier trials to draw with it.
        kind: makes the handle, from the arguments of `Run`.
        """
        if about.get("source") != "replay":
            warn_without_effect(*configs)
        about |= {"device": device, "name": name, "cohort": self.log.next_cohort()}
        own = each or [{}] * len(configs)
        new = [self.new_trial(config, **about, **one) for config, one in zip(configs, own, strict=True)]
        first: list[Event] = []

        def note(numbers: Sequence[int]) -> Sequence[Event]:
            first.extend(events(numbers))
            first.extend(notes_without_effect(dict(zip(numbers, configs, strict=True))))
            return first

        with self.lock:
            trials = dict(zip(self.log.create(new, events=note), configs, strict=True))
            made = Training(self.task, trials, device=device) if training is None else training(trials)
            run = kind(
                trials, made, pump=self.keep_live, label=name if label is None else label, compare_with=compare_with
            )
            run.check_code(*configs)
            self._runs.update(dict.fromkeys(trials, run))
            self.runner.submit(run)
            if first:
                self.publish(first)
        self.publish()
        return run

    def replicate(self, parents: dict[int, list[Config]], *, device: str) -> Run:
        """Train further seeds of earlier trials: configs by the trial they are replicates of."""
        each = [{"parent": parent} for parent, own in parents.items() for _ in own]
        configs = [config for own in parents.values() for config in own]
        return self.launch(configs, source="replicate", each=each, device=device)

    def continue_runs(self, runs: Sequence[Run]) -> None:
        """Queue runs whose trials are in the log already."""
        with self.lock:
            for run in runs:
                run.check_code(*run.configs.values())
                self._runs.update(dict.fromkeys(run.trials, run))
                self.runner.submit(run)
        self.publish([LogChanged()])

    def submit(self, search: Run) -> None:
        """Queue a search; `adopt` adds its trials as they start."""
        self.runner.submit(search)
        self.publish()

    def adopt(self, search: Run, configs: dict[int, Config]) -> None:
        """Add trials to a search that were just entered into the log. Training thread."""
        search.adopt(configs)
        self._runs.update(dict.fromkeys(configs, search))

    def run_of(self, trial: int) -> Run | None:
        """The run that a trial belongs to, if it was started here."""
        return self._runs.get(trial)

    def weights_at_hand(self, trial: int, fold: int = 0) -> Weights | None:
        """The best weights of a trial that ended in this session, of the fold with this index; None if they are not in memory."""
        run = self.run_of(trial)
        return None if run is None else run.weights_of(trial, fold)

    def forget(self, trials: Sequence[int]) -> None:
        """Publish that trials were moved to the trash."""
        self.publish([LogChanged(deleted=tuple(trials))])

    def empty_trash(self) -> tuple[list[int], list[int]]:
        """Remove the trashed trials permanently, and the checkpoints that only they used."""
        trashed = [int(trial) for trial in self.log.trash.trials()["trial"]]
        series = {series for series, _ in self.log.history.cohorts(*trashed).values()}
        members = {one: set(self.log.history.members(one)) for one in series}
        removed, kept = self.log.trash.empty()
        for one, trials in members.items():
            if trials <= set(removed):
                self.checkpoints.forget(one)
        self.publish([LogChanged()])
        return removed, kept

    def new_trial(self, config: Config, **about: Any) -> NewTrial:
        """A trial of this task for the log."""
        return NewTrial(
            config=config.model_dump(),
            task=self.task.name,
            task_fingerprint=self.task.fingerprint,
            metric=self.task.metric,
            monitor=self.task.monitor,
            builder_source=builder_source(config.model),
            builder=builder_identity(config.model),
            configuration=self.configuration_of(config),
            **about,
        )

    def configuration_of(self, config: Config) -> str:
        """What the seeds of one configuration share: the hyperparameters, the code of the user's own choices, and the monitor,
        which selects another epoch of the same training."""
        parts = code_of(config) | ({} if self.task.monitor == "loss" else {"monitor": self.task.monitor})
        return " ".join([config.configuration, *(f"{name} {value}" for name, value in parts.items())])

    def capacity(self, config: Config, device: str, wanted: int) -> int:
        """How many of `wanted` trials like this one train together, measured once for each kind and size."""
        key = (builder_identity(config.model), cohort_key(config), device)
        asked, found = self._capacities.get(key, (0, 0))
        if asked < wanted and found == asked:
            asked, found = self._capacities[key] = wanted, capacity(self.task, config, device, wanted)
        return min(found, wanted)


def warn_without_effect(*configs: Config) -> None:
    """Warn once of each hyperparameter that has no effect in some configurations."""
    texts = dict.fromkeys(problem.message for config in configs for problem in without_effect(config))
    for text in texts:
        warnings.warn(text, UserWarning, stacklevel=callers_level())


def notes_without_effect(configs: Mapping[int, Config]) -> list[Event]:
    """For the log: the hyperparameters without effect of each trial."""
    return [Message(trial, problem.message) for trial, config in configs.items() for problem in without_effect(config)]


def scripted(trials: Sequence[int], changes: Sequence[Change], stop_after: int | None) -> list[Event]:
    """The events by which trials with scripted changes, or a scripted stop, can be resumed."""
    if not changes and stop_after is None:
        return []
    return [Scripted(trial, changes, stop_after) for trial in trials]


def in_memory(target: str | os.PathLike[str] | None) -> bool:
    """Whether a log is SQLite's in memory, which threads can share only as the one that None means."""
    text = "" if target is None else os.fspath(target)
    return target is None or text == ":memory:" or bool(re.fullmatch(r"sqlite(\+pysqlite)?://(/(:memory:)?)?", text))


def checkpoint_folder(target: str | os.PathLike[str] | None) -> Path | None:
    """The checkpoint folder of a log: next to its file; in the current folder for a server's; None for one in memory."""
    if target is None:
        return None
    text = os.fspath(target)
    if "://" in text:
        url = make_url(text)
        if url.get_backend_name() != "sqlite":
            return Path(f"{Path(url.database or 'trials').name}.checkpoints")
        if not url.database or url.database == ":memory:":
            return None
        text = url.database
    return Path(f"{text}.checkpoints").expanduser()
