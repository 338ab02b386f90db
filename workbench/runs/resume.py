"""Continue the runs and searches of a process that died, from their last checkpoints, to the same result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from workbench.core.config import Config
from workbench.core.errors import CheckpointError, ConfigError, Problem
from workbench.core.events import Event, Message
from workbench.log import SearchStep
from workbench.models import build_model
from workbench.runs.restore import logged_config
from workbench.runs.run import Run, Runs
from workbench.runs.runner import stopped_now
from workbench.runs.session import Session
from workbench.training import Change, CohortState, LoggedTrial, Origin, ResumedCohort, Training, check_fits, prepare
from workbench.training.devices import available_devices

__all__ = ["Resumed", "SearchResumer", "resume", "resumed_cohorts", "unfinished"]


def unfinished(session: Session) -> tuple[list[int], list[int]]:
    """Trials and searches on this task that are unfinished and whose process is gone."""
    with session.lock:  # no trial may be entered meanwhile: it would have no run yet, and count as abandoned
        session.log.ownership.mark_interrupted(session.trials_going)
        going = {run.search for run in session.runner.runs if run.search is not None}
        fingerprint = session.task.fingerprint
        return session.log.ownership.interrupted(fingerprint), session.log.ownership.unfinished_searches(
            fingerprint, going
        )


def resume(session: Session, search: SearchResumer) -> Runs:
    """Queue all unfinished work, in the order in which it began. Nothing is changed when it raises.

    search: restores the state of one search (see `workbench.methods.search.resume`).

    Raises: ConfigError naming what is not registered here or not available on this machine; ModelError for a model that has
    changed; RunError for a task with another headline metric or monitor; LogError if another kernel continues them already.
    Warns of a search that cannot be restored.
    """
    with session.lock:
        trials, searches = unfinished(session)
        log = session.log
        configs = {trial: logged_config(trial, record.config) for trial, record in log.records(trials).items()}
        frame = log.trials(task_fingerprint=session.task.fingerprint).set_index("trial").loc[trials]
        journals = {number: log.searches.steps(number) for number in searches}
        begun = [trial for steps in journals.values() for step in steps for trial in step.data.get("trials", [])[:1]]
        session.recall.check_scores("resume", *trials, *begun)
        _check(session, configs, frame)
        of_search = {
            t: number for number, steps in journals.items() for step in steps for t in step.data.get("trials", [])
        }
        found: list[Resumed] = []
        for number, steps in journals.items():
            own = {trial: configs[trial] for trial in trials if of_search.get(trial) == number}
            found.append(search(session, number, steps, own, frame))
        rest = [trial for trial in trials if trial not in of_search]
        for _, group in frame.loc[rest].groupby(frame.loc[rest, "cohort"].fillna(0)):
            found.append(_run(session, {int(trial): configs[int(trial)] for trial in group.index}, group))
        found.sort(key=lambda one: one.first)
        log.ownership.adopt(trials, searches)
        log.append([event for one in found for event in one.events])
        runs = [one.run for one in found if one.run.trials or one.run.grows]
        for number in sorted(set(searches) - {run.search for run in runs}):
            log.searches.add_step(SearchStep(number, "ended", {}))
        session.continue_runs(runs)
        return Runs(runs)


class Resumed(NamedTuple):
    """A run or search to continue. first: its first trial, which decides its place in the queue. events: for the log."""

    first: int
    run: Run
    events: list[Event]


SearchResumer = Callable[[Session, int, Sequence[SearchStep], Mapping[int, Config], pd.DataFrame], Resumed]
"""Called with the session, the search's number, its journal, the configurations of its unfinished trials, and all
unfinished trials of the task, one row each."""


def _check(session: Session, configs: Mapping[int, Config], frame: pd.DataFrame) -> None:
    """Raises the error that prevents trials from being trained here."""
    for trial, config in configs.items():
        device = str(frame.loc[trial, "device"])
        if device not in available_devices() and device != "cuda":
            known = ", ".join(available_devices())
            message = f"trial {trial} was trained on {device!r}, and this machine has {known}; resume it there"
            raise ConfigError([Problem("device", device, message)])
        prepare(session.recall.refits.task_of(trial), config)
        session.recall.check_code(trial)


def _run(session: Session, configs: dict[int, Config], frame: pd.DataFrame) -> Resumed:
    """A run of trials that were started together."""
    cohorts, new, events = resumed_cohorts(session, configs, {})
    scripts = {trial: session.log.history.script(trial) for trial in configs}
    first = min(configs)
    training = Training(
        session.recall.refits.task_of(first), new, device=str(frame.loc[first, "device"]), resumed=cohorts,
        origins=_origins(session, configs), stop_after=scripts[first][1], fixed=session.recall.refits.length_of(first),
        changes={trial: [Change(*change) for change in changes] for trial, (changes, _) in scripts.items()},
    )  # fmt: skip
    return Resumed(first, Run(configs, training, pump=session.keep_live, label=str(frame.loc[first, "name"])), events)


def _origins(session: Session, trials: Sequence[int] | Mapping[int, Any]) -> dict[int, Origin]:
    """Where those of some trials begin that are branches, or refits of branches."""
    found: dict[int, Origin] = {}
    for trial in trials:
        origin = session.recall.origin(trial)
        begin = session.recall.refits.origin_of(trial) if origin is None else partial(session.recall.after, *origin)
        if begin is not None:
            found[trial] = begin
    return found


def resumed_cohorts(
    session: Session, configs: Mapping[int, Config], entered: Mapping[int, Config]
) -> tuple[list[ResumedCohort], dict[int, Config], list[Event]]:
    """The cohorts that trials were in, the trials that were in none and have no epoch yet, and messages for the log.

    entered: trials of a search that were to join the running cohort and had not joined it.
    """
    log = session.log
    places = log.history.cohorts(*configs)
    found: list[ResumedCohort] = []
    events: list[Event] = []
    known = sorted({series for series, _ in places.values()})
    for series in known:
        # those that have ended count, as long as they are there: they shared the operations of the others
        members = log.history.members(series)
        ended = log.history.ends(*members)
        members = {trial: after for trial, after in members.items() if trial in configs or trial in ended}
        one, messages = _resumed_cohort(session, series, members, entered if series == known[-1] else {})
        found.append(one)
        at = 0 if one.state is None else one.state.epoch
        again = ", epochs {} to {} are trained again without a record" if at < one.epochs else ""
        for trial, after in members.items():
            if trial in configs:
                events += [Message(trial, message) for message in messages]
                tail = again.format(max(0, at - after) + 1, one.epochs - after)
                events.append(Message(trial, f"resumed from the checkpoint after epoch {max(0, at - after)}{tail}"))
    rest = {trial: config for trial, config in configs.items() if trial not in places and trial not in entered}
    new = {}
    for trial, config in rest.items():  # of a cohort that failed as a whole, whose trials are tried one by one
        logged = _logged(session, [trial])
        if trial in logged:
            found.append(ResumedCohort({trial: config}, None, logged[trial].epochs, logged=logged))
        else:
            new[trial] = config
    return found, new, events


def _logged(session: Session, trials: Sequence[int]) -> dict[int, LoggedTrial]:
    """What the log has of trials that have an epoch, a change or an end."""
    ends = session.log.history.ends(*trials)
    found = {}
    for trial, curve in session.log.curves(*trials).groupby("trial"):
        found[int(trial)] = LoggedTrial(
            int(curve["epoch"].iloc[-1]), session.recall.changes(int(trial)), ends.get(int(trial)),
            stopped_now(int(trial), curve),
        )  # fmt: skip
    for trial in trials:
        changes = session.recall.changes(trial)
        if trial not in found and (changes or trial in ends):
            found[trial] = LoggedTrial(0, changes, ends.get(trial))
    return found


def _resumed_cohort(
    session: Session, series: int, members: Mapping[int, int], entered: Mapping[int, Config]
) -> tuple[ResumedCohort, list[str]]:
    """One cohort. members: its epochs less the trial's own, by trial."""
    configs = {trial: Config(**record.config) for trial, record in session.log.records(list(members)).items()}
    logged = _logged(session, list(members))
    epochs = max((members[trial] + one.epochs for trial, one in logged.items() if one.epochs), default=0)
    joins: dict[int, dict[int, Config]] = {}
    for trial in sorted(members):
        if members[trial] > 0:
            joins.setdefault(members[trial], {})[trial] = configs[trial]
    if entered:
        joins.setdefault(epochs, {}).update(entered)
    state, messages = _state(session, series, epochs)
    if state is not None:
        first = state.row(state.trials[0])
        check_fits(build_model(session.recall.refits.task_of(first.progress.trial), first.config), first.weights)
    formed = {trial: configs[trial] for trial in sorted(members) if members[trial] <= 0}
    return ResumedCohort(formed, state, epochs, joins, logged), messages


def _state(session: Session, series: int, epochs: int) -> tuple[CohortState | None, list[str]]:
    """The newest checkpoint of a series at an epoch that the log has; a damaged one is reported, and the one before is used."""
    messages: list[str] = []
    for epoch in reversed(session.checkpoints.epochs(series)):
        if epoch <= epochs:
            try:
                return session.checkpoints.load(series, epoch), messages
            except CheckpointError as error:
                messages.append(str(error))
    return None, messages
