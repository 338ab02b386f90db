"""Going on with what a process that died has left: runs and searches, from their last snapshots, to the same end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.errors import CheckpointError, ConfigError, RunError
from workbench.events import EpochEnd, Event, Remark
from workbench.execution import Run, Runs
from workbench.hyperparameters import Config
from workbench.log import SearchStep
from workbench.recall import logged_config
from workbench.search import Campaign
from workbench.searching import LogDesk, SearchRequest, campaign_of, results_of, search_of
from workbench.training import Change, CohortState, Origin, TakeUp, Told, Training

if TYPE_CHECKING:
    from workbench.session import Session

__all__ = ["left", "resume"]


def left(session: Session) -> tuple[list[int], list[int]]:
    """Trials and searches on this task that a process which is gone has left unfinished."""
    session.log.mark_interrupted(session.runner.trials)
    going = {run.search for run in session.runner.runs if run.search is not None}
    return session.log.interrupted(session.task.fingerprint), session.log.unfinished(session.task.fingerprint, going)


def resume(session: Session) -> Runs:
    """Queue all that is left, in the order in which it was begun. Nothing is adopted when it raises.

    Raises: ConfigError naming a model, loss, optimizer or schedule that is not registered here.
    """
    trials, searches = left(session)
    log = session.log
    configs = {trial: logged_config(trial, values) for trial, values in log.configs(trials).items()}
    frame = log.trials(task_fingerprint=session.task.fingerprint)
    frame = frame[frame["trial"].isin(trials)].set_index("trial")
    journals = {search: log.steps(search) for search in searches}
    of_search = {t: search for search, steps in journals.items() for step in steps for t in step.data.get("trials", [])}
    log.adopt(trials, searches)
    found: list[tuple[int, Run, list[Event]]] = []
    for search, steps in journals.items():
        own = [trial for trial in trials if of_search.get(trial) == search]
        found.append(_search(session, search, steps, {trial: configs[trial] for trial in own}))
    rest = [trial for trial in trials if trial not in of_search]
    cohorts = frame.loc[rest, "cohort"].fillna(0).astype(int)
    for _, group in pd.Series(rest, index=rest).groupby(cohorts):
        own = [int(trial) for trial in group]
        found.append(_run(session, {trial: configs[trial] for trial in own}, str(frame.loc[own[0], "device"])))
    found.sort(key=lambda one: one[0])
    for _, _, events in found:
        log.append(events)
    session.take_up([run for _, run, _ in found])
    return Runs([run for _, run, _ in found])


def _run(session: Session, configs: dict[int, Config], device: str) -> tuple[int, Run, list[Event]]:
    """A run of trials that were started together."""
    take_ups, unseated, events = _take_ups(session, configs, {})
    scripts = {trial: session.log.script(trial) for trial in configs}
    training = Training(
        session.task, unseated, device=device, take_ups=take_ups, origins=_origins(session, configs),
        changes={trial: [Change(*change) for change in changes] for trial, (changes, _) in scripts.items()},
        stop_after=scripts[min(configs)][1],
    )  # fmt: skip
    name = str(
        session.log.trials(task_fingerprint=session.task.fingerprint).set_index("trial").loc[min(configs), "name"]
    )
    return min(configs), Run(configs, training, pump=session.tick, label=name), events


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
    """The cohorts that trials were in, and those of them that were in none yet.

    entered: trials that were asked for, to join the cohort under way, and had not joined it.
    """
    log = session.log
    seats = log.seats(*configs)
    take_ups: list[TakeUp] = []
    events: list[Event] = []
    for series in sorted({series for series, _ in seats.values()}):
        members = log.members(series)
        going = [trial for trial in members if trial in configs]
        one, remarks = _take_up(
            session, series, members, entered if series == max(s for s, _ in seats.values()) else {}
        )
        take_ups.append(one)
        events += [Remark(trial, remark) for trial in going for remark in remarks]
        at = 0 if one.state is None else one.state.epoch
        again = f", epochs {at + 1} to {one.epochs} are trained again in silence" if at < one.epochs else ""
        events += [
            Remark(trial, f"resumed from the snapshot after epoch {at - members[trial]}{again}") for trial in going
        ]
    unseated = {trial: config for trial, config in configs.items() if trial not in seats and trial not in entered}
    return take_ups, unseated, events


def _take_up(
    session: Session, series: int, members: Mapping[int, int], entered: Mapping[int, Config]
) -> tuple[TakeUp, list[str]]:
    """One cohort. members: its epochs less the trial's own, by trial."""
    log = session.log
    curves = log.curves(*members)
    told_epochs = {trial: int(epoch) for trial, epoch in curves.groupby("trial")["epoch"].max().items()}
    ends = log.ends(*members)
    configs = {trial: Config(**values) for trial, values in log.configs(list(members)).items()}
    told = {
        trial: Told(told_epochs.get(trial, 0), session.recall.changes(trial), ends.get(trial))
        for trial in members
        if trial in told_epochs or trial in ends
    }
    epochs = max((members[trial] + epoch for trial, epoch in told_epochs.items()), default=0)
    joins: dict[int, dict[int, Config]] = {}
    for trial in sorted(members):
        if members[trial] > 0:
            joins.setdefault(members[trial], {})[trial] = configs[trial]
    if entered:
        joins.setdefault(epochs, {}).update(entered)
    state, remarks = _state(session, series, epochs)
    formed = {trial: configs[trial] for trial in sorted(members) if members[trial] <= 0}
    return TakeUp(formed, state, epochs, joins, told), remarks


def _state(session: Session, series: int, epochs: int) -> tuple[CohortState | None, list[str]]:
    """The newest snapshot of a series at an epoch that the log has; a damaged one is told, and the one before is taken."""
    remarks: list[str] = []
    for epoch in reversed(session.snapshots.epochs(series)):
        if epoch <= epochs:
            try:
                return session.snapshots.load(series, epoch), remarks
            except CheckpointError as error:
                remarks.append(str(error))
    return None, remarks


def _search(
    session: Session, number: int, steps: Sequence[SearchStep], configs: Mapping[int, Config]
) -> tuple[int, Run, list[Event]]:
    """A search, brought to where it was: its campaign is asked again all that it was asked, and told all that it was told."""
    try:
        begun = steps[0].data
        request = SearchRequest.of(begun["request"])
        taught = set(begun["taught"])
        results = [result for trial, result in results_of(session, begun["taught"])] if taught else []
        arms = request.arms(session, results, begun["done"])
        campaign, desk = campaign_of(session, request, arms, number, begun["done"])
        entered = _ask_again(session, campaign, desk, steps[1:])
    except (RunError, ConfigError) as error:
        return _without_campaign(session, number, configs, str(error))
    waiting = {trial: config for trial, config in entered.items() if trial in configs}
    take_ups, unseated, events = _take_ups(session, configs, waiting)
    training = Training(session.task, unseated, device=request.device, supply=campaign, take_ups=take_ups)
    search = search_of(session, request, number, campaign, training)
    desk.search = search
    search.adopt(dict(configs))
    return min(configs, default=2**62), search, events


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
    seconds, entered = 0.0, {}
    for step in steps:
        desk.replayed = step.data
        if step.kind == "asked":
            call = step.data["kind"]
            started = campaign.next() if call == "next" else campaign.refill(step.data["training"])
            asked = {trial: json.loads(json.dumps(config.model_dump())) for trial, config in started.items()}
            if asked != {trial: logged[trial] for trial in step.data["trials"]}:
                raise RunError(
                    "its strategy asks for other settings than it did, with another version of optuna perhaps"
                )
            seconds = step.data["seconds"]
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
    campaign.went_on(seconds)
    return entered


def _epochs(curves: pd.DataFrame) -> dict[int, list[EpochEnd]]:
    names = list(EpochEnd.__dataclass_fields__)
    found: dict[int, list[EpochEnd]] = {}
    for values in curves[names].itertuples(index=False):
        found.setdefault(int(values.trial), []).append(EpochEnd(*values))
    return found


def _without_campaign(
    session: Session, number: int, configs: Mapping[int, Config], reason: str
) -> tuple[int, Run, list[Event]]:
    """The started trials of a search that cannot be built again: they are brought to their end, and no others follow."""
    take_ups, unseated, events = _take_ups(session, configs, {})
    device = session.log.device(min(configs)) if configs else "cpu"
    training = Training(session.task, unseated, device=device, take_ups=take_ups)
    remark = f"search {number} goes no further than the trials it has started: {reason}"
    run = Run(dict(configs), training, pump=session.tick)
    run.search = number
    return min(configs, default=2**62), run, [*events, *(Remark(trial, remark) for trial in configs)]
