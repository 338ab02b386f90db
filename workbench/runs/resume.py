"""Going on with what a process that died has left: runs and searches, from their last checkpoints, to the same end."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from workbench.core.config import Config
from workbench.core.errors import CheckpointError, ConfigError, LogError, Problem, RunError, WorkbenchError
from workbench.core.events import EpochEnd, Event, Message
from workbench.log import SearchStep
from workbench.methods.search.campaign import Campaign
from workbench.methods.search.handle import Search
from workbench.methods.search.request import LogDesk, SearchRequest, campaign_of, results_of, search_of
from workbench.models import build_model
from workbench.runs.restore import logged_config
from workbench.runs.run import Run, Runs
from workbench.runs.runner import stopped_now
from workbench.runs.session import Session, available_devices
from workbench.training import Change, CohortState, Origin, TakeUp, Told, Training, check_fits, prepare

__all__ = ["left", "resume"]


def left(session: Session) -> tuple[list[int], list[int]]:
    """Trials and searches on this task that a process which is gone has left unfinished."""
    with session.lock:  # nobody enters trials meanwhile, which no run would be known to have
        session.log.mark_interrupted(session.trials_going)
        going = {run.search for run in session.runner.runs if run.search is not None}
        fingerprint = session.task.fingerprint
        return session.log.interrupted(fingerprint), session.log.unfinished(fingerprint, going)


def resume(session: Session) -> Runs:
    """Queue all that is left, in the order in which it was begun. Nothing is changed when it raises.

    Raises: ConfigError naming what is not registered here or what this machine has not; ModelError for a model that has
    changed; LogError when another kernel was faster. Warns of a search that cannot be built again.
    """
    with session.lock:
        trials, searches = left(session)
        log = session.log
        configs = {trial: logged_config(trial, values) for trial, values in log.configs(trials).items()}
        frame = log.trials(task_fingerprint=session.task.fingerprint).set_index("trial").loc[trials]
        _check(session, configs, frame)
        journals = {search: log.steps(search) for search in searches}
        of_search = {
            t: search for search, steps in journals.items() for step in steps for t in step.data.get("trials", [])
        }
        found: list[_Found] = []
        for search, steps in journals.items():
            own = {trial: configs[trial] for trial in trials if of_search.get(trial) == search}
            found.append(_search(session, search, steps, own, frame))
        rest = [trial for trial in trials if trial not in of_search]
        for _, group in frame.loc[rest].groupby(frame.loc[rest, "cohort"].fillna(0)):
            found.append(_run(session, {int(trial): configs[int(trial)] for trial in group.index}, group))
        found.sort(key=lambda one: one.first)
        log.adopt(trials, searches)
        log.append([event for one in found for event in one.events])
        for search in searches:
            if not any(one.run.search == search and one.run.trials for one in found) and not _goes_on(found, search):
                log.add_step(SearchStep(search, "ended", {}))
        runs = [one.run for one in found if one.run.trials or isinstance(one.run, Search)]
        session.take_up(runs)
        return Runs(runs)


class _Found(NamedTuple):
    """Something to go on with. first: the first trial of it, by which it has its place. events: what the log is told."""

    first: int
    run: Run
    events: list[Event]


def _goes_on(found: Sequence[_Found], search: int) -> bool:
    return any(isinstance(one.run, Search) and one.run.search == search for one in found)


def _check(session: Session, configs: Mapping[int, Config], frame: pd.DataFrame) -> None:
    """Raises: what keeps trials from being trained here."""
    for trial, config in configs.items():
        device = str(frame.loc[trial, "device"])
        if device not in available_devices() and device != "cuda":
            known = ", ".join(available_devices())
            message = f"trial {trial} was trained on {device!r}, and this machine has {known}; resume it there"
            raise ConfigError([Problem("device", device, message)])
        prepare(session.task, config)
        session.recall.check_builder(trial)


def _run(session: Session, configs: dict[int, Config], frame: pd.DataFrame) -> _Found:
    """A run of trials that were started together."""
    take_ups, unseated, events = _take_ups(session, configs, {})
    scripts = {trial: session.log.script(trial) for trial in configs}
    first = min(configs)
    training = Training(
        session.task, unseated, device=str(frame.loc[first, "device"]), take_ups=take_ups,
        origins=_origins(session, configs), stop_after=scripts[first][1],
        changes={trial: [Change(*change) for change in changes] for trial, (changes, _) in scripts.items()},
    )  # fmt: skip
    return _Found(first, Run(configs, training, pump=session.tick, label=str(frame.loc[first, "name"])), events)


def _origins(session: Session, trials: Sequence[int] | Mapping[int, Any]) -> dict[int, Origin]:
    """Where those of some trials begin that are branches."""
    found: dict[int, Origin] = {}
    for trial in trials:
        origin = session.recall.origin(trial)
        if origin is not None:
            found[trial] = lambda origin=origin: session.recall.after(*origin)  # type: ignore[misc]
    return found


def _take_ups(
    session: Session, configs: Mapping[int, Config], entered: Mapping[int, Config]
) -> tuple[list[TakeUp], dict[int, Config], list[Event]]:
    """The cohorts that trials were in, and those of them that have told nothing and were in none.

    entered: trials that were asked for, to join the cohort under way, and had not joined it.
    """
    log = session.log
    seats = log.seats(*configs)
    take_ups: list[TakeUp] = []
    events: list[Event] = []
    known = sorted({series for series, _ in seats.values()})
    for series in known:
        # those that have ended count, as long as they are there: they shared the operations of the others
        members = log.members(series)
        ended = log.ends(*members)
        members = {trial: after for trial, after in members.items() if trial in configs or trial in ended}
        one, messages = _take_up(session, series, members, entered if series == known[-1] else {})
        take_ups.append(one)
        at = 0 if one.state is None else one.state.epoch
        again = ", epochs {} to {} are trained again in silence" if at < one.epochs else ""
        for trial, after in members.items():
            if trial in configs:
                events += [Message(trial, message) for message in messages]
                tail = again.format(max(0, at - after) + 1, one.epochs - after)
                events.append(Message(trial, f"resumed from the checkpoint after epoch {max(0, at - after)}{tail}"))
    rest = {trial: config for trial, config in configs.items() if trial not in seats and trial not in entered}
    unseated = {}
    for trial, config in rest.items():  # of a cohort that broke off, where each is tried again by itself
        told = _told(session, [trial])
        if trial in told:
            take_ups.append(TakeUp({trial: config}, None, told[trial].epochs, told=told))
        else:
            unseated[trial] = config
    return take_ups, unseated, events


def _told(session: Session, trials: Sequence[int]) -> dict[int, Told]:
    """What the log has of trials, of which it has something."""
    ends = session.log.ends(*trials)
    found = {}
    for trial, curve in session.log.curves(*trials).groupby("trial"):
        found[int(trial)] = Told(
            int(curve["epoch"].iloc[-1]), session.recall.changes(int(trial)), ends.get(int(trial)),
            stopped_now(int(trial), curve),
        )  # fmt: skip
    for trial in trials:
        changes = session.recall.changes(trial)
        if trial not in found and (changes or trial in ends):
            found[trial] = Told(0, changes, ends.get(trial))
    return found


def _take_up(
    session: Session, series: int, members: Mapping[int, int], entered: Mapping[int, Config]
) -> tuple[TakeUp, list[str]]:
    """One cohort. members: its epochs less the trial's own, by trial."""
    configs = {trial: Config(**values) for trial, values in session.log.configs(list(members)).items()}
    told = _told(session, list(members))
    epochs = max((members[trial] + one.epochs for trial, one in told.items() if one.epochs), default=0)
    joins: dict[int, dict[int, Config]] = {}
    for trial in sorted(members):
        if members[trial] > 0:
            joins.setdefault(members[trial], {})[trial] = configs[trial]
    if entered:
        joins.setdefault(epochs, {}).update(entered)
    state, messages = _state(session, series, epochs)
    if state is not None:
        first = state.row(state.trials[0])
        check_fits(build_model(session.task, first.config), first.weights)
    formed = {trial: configs[trial] for trial in sorted(members) if members[trial] <= 0}
    return TakeUp(formed, state, epochs, joins, told), messages


def _state(session: Session, series: int, epochs: int) -> tuple[CohortState | None, list[str]]:
    """The newest checkpoint of a series at an epoch that the log has; a damaged one is told, and the one before is taken."""
    messages: list[str] = []
    for epoch in reversed(session.checkpoints.epochs(series)):
        if epoch <= epochs:
            try:
                return session.checkpoints.load(series, epoch), messages
            except CheckpointError as error:
                messages.append(str(error))
    return None, messages


def _search(
    session: Session, number: int, steps: Sequence[SearchStep], configs: Mapping[int, Config], frame: pd.DataFrame
) -> _Found:
    """A search, brought to where it was: its campaign is asked again all that it was asked, and told all that it was told."""
    try:
        begun = steps[0].data
        request = SearchRequest.of(begun["request"])
        taught = [result for _, result in results_of(session, begun["taught"])] if begun["taught"] else []
        arms = request.arms(session, taught, begun["done"])
        campaign, desk = campaign_of(session, request, arms, number, begun["done"])
        entered = _ask_again(session, campaign, desk, steps[1:])
    except (RunError, ConfigError, LogError, KeyError, IndexError) as error:
        # a sampler that no log can hold, another optuna, trials that were removed since
        reason = str(error) if isinstance(error, WorkbenchError) else "some of its trials are no longer in the log"
        return _without_campaign(session, number, configs, frame, reason)
    waiting = {trial: config for trial, config in entered.items() if trial in configs}
    take_ups, unseated, events = _take_ups(session, configs, waiting)
    training = Training(session.task, unseated, device=request.device, supply=campaign, take_ups=take_ups)
    search = search_of(session, request, number, campaign, training)
    desk.search = search
    if configs:
        desk.cohort = int(frame.loc[max(configs), "cohort"])
    search.adopt(dict(configs))
    return _Found(min(configs, default=2**62), search, events)


def _ask_again(session: Session, campaign: Campaign, desk: LogDesk, steps: Sequence[SearchStep]) -> dict[int, Config]:
    """Repeat a search's journal. Returns the trials that were asked for last, to join a cohort, and were told of nothing yet.

    Raises: RunError if a strategy answers otherwise than it did, as another version of optuna may.
    """
    log = session.log
    everyone = sorted({trial for step in steps for trial in step.data.get("trials", [])})
    curves = _epochs(log.curves(*everyone)) if everyone else {}
    ends = log.ends(*everyone)
    logged = log.configs(everyone)
    at = dict.fromkeys(everyone, 0)
    seconds, clock, entered = 0.0, "", {}
    for step in steps:
        desk.replayed = step.data
        if step.kind == "asked":
            call = step.data["kind"]
            started = campaign.next() if call == "next" else campaign.refill(step.data["training"])
            asked = {trial: json.loads(json.dumps(config.model_dump())) for trial, config in started.items()}
            if asked != {trial: logged[trial] for trial in step.data["trials"]}:
                raise RunError(
                    "its strategy asks for other configurations than it did, with another version of optuna perhaps"
                )
            seconds, clock = step.data["seconds"], step.created
            entered = dict(started) if call == "refill" else {}
        elif step.kind == "moment":
            told: list[EpochEnd] = []
            for trial in step.data["epochs"]:
                told.append(curves[trial][at[trial]])
                at[trial] += 1
            campaign.judge(told)
            for trial in step.data["ends"]:
                campaign.hear(ends[trial])
            entered = {}
        elif step.kind == "shrunk":
            campaign.shrink(step.data["size"])
    desk.replayed = None
    since = [step.created for step in steps if step.kind == "moment"]
    if clock and since:
        seconds += max(0.0, (datetime.fromisoformat(since[-1]) - datetime.fromisoformat(clock)).total_seconds())
    campaign.went_on(seconds)
    return entered


def _epochs(curves: pd.DataFrame) -> dict[int, list[EpochEnd]]:
    names = list(EpochEnd.__dataclass_fields__)
    found: dict[int, list[EpochEnd]] = {}
    for values in curves[names].itertuples(index=False):
        found.setdefault(int(values.trial), []).append(EpochEnd(*values))
    return found


def _without_campaign(
    session: Session, number: int, configs: Mapping[int, Config], frame: pd.DataFrame, reason: str
) -> _Found:
    """The started trials of a search that cannot be built again: they are brought to their end, and no others follow."""
    message = f"search {number} goes no further than the trials it has started: {reason}"
    warnings.warn(message, UserWarning, stacklevel=4)
    take_ups, unseated, events = _take_ups(session, configs, {})
    device = str(frame.loc[min(configs), "device"]) if configs else "cpu"
    training = Training(session.task, unseated, device=device, take_ups=take_ups)
    run = Run(dict(configs), training, pump=session.tick)
    run.search = number
    return _Found(min(configs, default=2**62), run, [*events, *(Message(trial, message) for trial in configs)])
