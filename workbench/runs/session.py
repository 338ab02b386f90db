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
from workbench.core.events import Event, Scripted
from workbench.log import NewTrial, TrialLog
from workbench.models import bring_back, builder_identity, builder_source
from workbench.runs.publisher import LogChanged, Notice, Publisher
from workbench.runs.restore import Recall
from workbench.runs.run import Run
from workbench.runs.runner import Runner
from workbench.training import Change, Training, Weights, capacity, cohort_key

if TYPE_CHECKING:
    from workbench.tasks import Task

__all__ = ["Session", "checkpoint_folder", "scripted"]

R = TypeVar("R", bound=Run)


class Session:
    """What Workbench objects on one log and task share: log, checkpoints and runner. Methods for any thread.

    It knows no view: what happens is published to its subscribers (see `subscribe`).
    """

    _going: ClassVar[weakref.WeakValueDictionary[tuple[str, str], Session]] = weakref.WeakValueDictionary()

    @classmethod
    def of(
        cls, task: Task, target: str | os.PathLike[str] | None, checkpoints: str | os.PathLike[str] | None = None
    ) -> Session:
        """The session whose training is still going on for this log and task, else a new one."""
        target = None if in_memory(target) else target
        text = "" if target is None else os.fspath(target)
        key = (text if "://" in text or not text else os.path.abspath(os.path.expanduser(text)), task.fingerprint)
        session = cls._going.get(key)
        if session is None or not session.runner.runs:
            log = TrialLog.open(target)
            folder = checkpoint_folder(target) if checkpoints is None else Path(checkpoints).expanduser()
            if folder is not None and checkpoints is None and log.url.startswith("sqlite"):
                remove_former(folder, log.identity)
            session = cls._going[key] = cls(task, log, folder)
            session._place = key[0]
        return session

    def beside(self, task: Task) -> Session:
        """The session for another task on the very same log and checkpoints, one in memory too; its runner is its own."""
        with self.lock:
            session = self._family.get(task.fingerprint)
            if session is None:
                session = Session(task, self.log, self._folder)
                if session.checkpoints.budget != self.checkpoints.budget:
                    session.checkpoints.budget = self.checkpoints.budget
                session.lock, session._family, session._place = self.lock, self._family, self._place
                self._family[task.fingerprint] = session
                key = (self._place, task.fingerprint)
                going = self._going.get(key)
                if going is None or not going.runner.runs:
                    self._going[key] = session
            return session

    def known(self, fingerprint: str) -> Session | None:
        """The session on a task of this log, if there is one in this process."""
        found = self._family.get(fingerprint) or self._going.get((self._place, fingerprint))
        return found if found is not None and found.log.identity == self.log.identity else None

    @property
    def trials_going(self) -> frozenset[int]:
        """The trials that train or wait here, in the sessions beside this one too."""
        return frozenset(trial for session in list(self._family.values()) for trial in session.runner.trials)

    def __init__(self, task: Task, log: TrialLog, folder: Path | None = None) -> None:
        self.task, self.log = task, log
        self._publisher = Publisher()
        self._runs: dict[int, Run] = {}
        self._requests: dict[Run, tuple[object, ...]] = {}
        self._capacities: dict[Any, tuple[int, int]] = {}
        self.lock = threading.RLock()
        """Held while trials are entered and given to a run, so that nobody takes them for left behind in between."""
        # a folder for each log, so that two of them in one place cannot take each other's states for their own
        own = None if folder is None else folder / log.identity
        self.checkpoints = CheckpointStore(own, lambda: self.recall.needed())
        self.recall = Recall(task, log, self.checkpoints, self.weights_at_hand)
        self.runner = Runner(log, self._publisher.publish, self.checkpoints)
        # where the trained trials lie that others were fine-tuned from; None in memory
        self.sources = None if own is None else own / "backbones"
        for file, error in ({} if self.sources is None else bring_back(self.sources)).items():
            message = f"{file}: trials that were fine-tuned from it cannot be used: {error}"
            warnings.warn(message, UserWarning, stacklevel=4)
        self._folder, self._place = folder, ""
        self._family: weakref.WeakValueDictionary[str, Session] = weakref.WeakValueDictionary()
        self._family[task.fingerprint] = self

    # --- what subscribers hear --------------------------------------------------------------------------------------

    def subscribe(
        self, callback: Callable[[Sequence[Event | Notice]], object], *, waiting: Callable[[], object] | None = None
    ) -> Callable[[], None]:
        """Have a callback called with each group of events that the log has taken, and with notices; see `Publisher`.

        callback: called on any thread, the training thread included; must only enqueue. An empty group says that work was
        queued or has ended. waiting: what to do, some times a second, while a caller on the main thread waits for work.
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

        request = ("start", tuple(configs), name, device, tuple(changes), stop_after)
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
        kind: type[R] = Run,  # type: ignore[assignment]
        beside: Sequence[int] = (),
        **about: Any,
    ) -> R:
        """Enter trials of one cohort into the log, with what is to be said of them, and queue their training.

        training: by default from the first step, without anything special. about: fields of `NewTrial`; each: those in which
        the trials differ. label: what the charts call the run, by default its name. beside: earlier trials to draw with it.
        """
        about |= {"device": device, "name": name, "cohort": self.log.next_cohort()}
        own = each or [{}] * len(configs)
        new = [self.new_trial(config, **about, **one) for config, one in zip(configs, own, strict=True)]
        said: list[Event] = []

        def note(numbers: Sequence[int]) -> Sequence[Event]:
            said.extend(events(numbers))
            return said

        with self.lock:
            trials = dict(zip(self.log.create(new, events=note), configs, strict=True))
            made = Training(self.task, trials, device=device) if training is None else training(trials)
            run = kind(trials, made, pump=self.keep_live, label=name if label is None else label)
            run.beside = tuple(beside)
            self._runs.update(dict.fromkeys(trials, run))
            self.runner.submit(run)
            if said:
                self.publish(said)
        self.publish()
        return run

    def replicate(self, parents: dict[int, list[Config]], *, device: str) -> Run:
        """Train further seeds of earlier trials: configs by the trial they are replicates of."""
        each = [{"parent": parent} for parent, own in parents.items() for _ in own]
        configs = [config for own in parents.values() for config in own]
        return self.launch(configs, source="replicate", each=each, device=device)

    def take_up(self, runs: Sequence[Run]) -> None:
        """Queue runs whose trials are in the log already."""
        with self.lock:
            for run in runs:
                self._runs.update(dict.fromkeys(run.trials, run))
                self.runner.submit(run)
        self.publish([LogChanged()])

    def submit(self, search: Run) -> None:
        """Put a search on the runner; its trials are told by `adopt` as they start."""
        self.runner.submit(search)
        self.publish()

    def adopt(self, search: Run, configs: dict[int, Config]) -> None:
        """Trials of a search that were just entered into the log. Training thread."""
        search.adopt(configs)
        self._runs.update(dict.fromkeys(configs, search))

    def run_of(self, trial: int) -> Run | None:
        """The run that a trial belongs to, if it was started here."""
        return self._runs.get(trial)

    def weights_at_hand(self, trial: int) -> Weights | None:
        """The best weights of a trial that ended in this session, None if they are not in memory."""
        run = self.run_of(trial)
        return None if run is None else run.weights_of(trial)

    def forget(self, trials: Sequence[int]) -> None:
        """Trials that were just moved to the trash: subscribers hear of it."""
        self.publish([LogChanged(deleted=tuple(trials))])

    def empty_trash(self) -> tuple[list[int], list[int]]:
        """Remove the trashed trials for good, and the checkpoints that served none but them."""
        trashed = [int(trial) for trial in self.log.trash()["trial"]]
        series = {series for series, _ in self.log.seats(*trashed).values()}
        members = {one: set(self.log.members(one)) for one in series}
        removed, kept = self.log.empty_trash()
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
            builder_source=builder_source(config.model),
            builder=builder_identity(config.model),
            configuration=self.configuration_of(config),
            **about,
        )

    @staticmethod
    def configuration_of(config: Config) -> str:
        """What the seeds of one configuration share: the hyperparameters and, of a model of the user's own, its builder."""
        identity = builder_identity(config.model)
        return config.configuration if identity is None else f"{config.configuration} builder {identity}"

    def capacity(self, config: Config, device: str, wanted: int) -> int:
        """How many of `wanted` trials like this one train together, measured once for each kind and size."""
        key = (cohort_key(config), device)
        asked, found = self._capacities.get(key, (0, 0))
        if asked < wanted and found == asked:
            asked, found = self._capacities[key] = wanted, capacity(self.task, config, device, wanted)
        return min(found, wanted)


def scripted(trials: Sequence[int], changes: Sequence[Change], stop_after: int | None) -> list[Event]:
    """What the log has to know of trials that make changes by themselves, or stop, so that they can be resumed."""
    if not changes and stop_after is None:
        return []
    return [Scripted(trial, changes, stop_after) for trial in trials]


def in_memory(target: str | os.PathLike[str] | None) -> bool:
    """Whether a log is SQLite's in memory, which threads can share only as the one that None means."""
    text = "" if target is None else os.fspath(target)
    return target is None or text == ":memory:" or bool(re.fullmatch(r"sqlite(\+pysqlite)?://(/(:memory:)?)?", text))


def checkpoint_folder(target: str | os.PathLike[str] | None) -> Path | None:
    """Where the checkpoints of a log lie: beside its file, in the present folder for a server's, nowhere for one in memory."""
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
