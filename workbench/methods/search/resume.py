"""Resume a search that a process which died has left: its journal is repeated, and its strategy has to answer the same."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime

import pandas as pd

from workbench.core.config import Config
from workbench.core.errors import ConfigError, LogError, RunError, WorkbenchError
from workbench.core.events import EpochEnd, Message
from workbench.log import SearchStep
from workbench.log.queries import epochs_of
from workbench.methods.search.campaign import Campaign
from workbench.methods.search.recorder import LogRecorder, results_of, tried_in
from workbench.methods.search.request import SearchRequest
from workbench.methods.search.start import campaign_of, search_of
from workbench.runs.resume import Resumed, resumed_cohorts
from workbench.runs.run import Run
from workbench.runs.session import Session
from workbench.training import Training

__all__ = ["resume_search"]


def resume_search(
    session: Session, number: int, steps: Sequence[SearchStep], configs: Mapping[int, Config], frame: pd.DataFrame
) -> Resumed:
    """Rebuild an interrupted search: its campaign gets all calls and events of its journal again."""
    try:
        begun = steps[0].data
        request = SearchRequest.of(begun["request"])
        taught = [result for _, result in results_of(session, begun["taught"])] if begun["taught"] else []
        root = number if request.continues is None else request.continues
        tried = [config for _, config in tried_in(session, root, begun["tried"])]
        arms = request.arms(session, taught, begun["done"], tried, begun["drawn"])
        recorder = LogRecorder(session, request, number)
        campaign = campaign_of(session, request, arms, recorder, begun["done"])
        entered = _repeat(session, campaign, recorder, steps[1:])
    except (RunError, ConfigError, LogError, KeyError, IndexError) as error:
        # a sampler that a log cannot store, another version of optuna, trials that were removed since
        reason = str(error) if isinstance(error, WorkbenchError) else "some of its trials are no longer in the log"
        return _without_campaign(session, number, configs, frame, reason)
    waiting = {trial: config for trial, config in entered.items() if trial in configs}
    cohorts, new, events = resumed_cohorts(session, configs, waiting)
    training = Training(session.task, new, device=request.device, supply=campaign, resumed=cohorts)
    search = search_of(session, request, number, training, campaign, recorder)
    if configs:
        recorder.cohort = int(frame.loc[max(configs), "cohort"])
    search.adopt(dict(configs))
    return Resumed(min(configs, default=2**62), search, events)


def _repeat(
    session: Session, campaign: Campaign, recorder: LogRecorder, steps: Sequence[SearchStep]
) -> dict[int, Config]:
    """Repeat a search's journal. Returns the trials that were started last, to join a cohort, and have no event yet.

    Raises: RunError if a strategy answers differently than it did, as another version of optuna may.
    """
    log = session.log
    trials = sorted({trial for step in steps for trial in step.data.get("trials", [])})
    curves = _epochs(log.curves(*trials)) if trials else {}
    ends = log.history.ends(*trials)
    logged = log.records(trials)
    at = dict.fromkeys(trials, 0)
    seconds, clock, entered = 0.0, "", {}
    for step in steps:
        recorder.replayed = step.data
        if step.kind == "asked":
            call = step.data["kind"]
            started = campaign.next() if call == "next" else campaign.refill(step.data["training"])
            asked = {trial: config.model_dump() for trial, config in started.items()}
            known = set(step.data["trials"])
            rejected = {trial for trial in known - asked.keys() if trial in ends and not ends[trial].epochs_run}
            if known != asked.keys() | rejected or any(logged[trial].config != one for trial, one in asked.items()):
                raise RunError(
                    "its strategy draws other configurations than before, perhaps with another version of optuna"
                )
            seconds, clock = step.data["seconds"], step.created
            entered = dict(started) if call == "refill" else {}
        elif step.kind == "moment":
            epochs: list[EpochEnd] = []
            for trial in step.data["epochs"]:
                epochs.append(curves[trial][at[trial]])
                at[trial] += 1
            campaign.prune(epochs)
            for trial in step.data["ends"]:
                campaign.handle(ends[trial])
            entered = {}
        elif step.kind == "shrunk":
            campaign.shrink(step.data["size"])
    recorder.replayed = None
    since = [step.created for step in steps if step.kind == "moment"]
    if clock and since:
        seconds += max(0.0, (datetime.fromisoformat(since[-1]) - datetime.fromisoformat(clock)).total_seconds())
    campaign.continue_clock(seconds)
    return entered


def _epochs(curves: pd.DataFrame) -> dict[int, list[EpochEnd]]:
    found: dict[int, list[EpochEnd]] = {}
    for epoch in epochs_of(curves):
        found.setdefault(epoch.trial, []).append(epoch)
    return found


def _without_campaign(
    session: Session, number: int, configs: Mapping[int, Config], frame: pd.DataFrame, reason: str
) -> Resumed:
    """Resume the started trials of a search that cannot be rebuilt; no others follow."""
    message = f"search {number} ends with the trials that it has started: {reason}"
    warnings.warn(message, UserWarning, stacklevel=4)
    cohorts, new, events = resumed_cohorts(session, configs, {})
    device = str(frame.loc[min(configs), "device"]) if configs else "cpu"
    training = Training(session.task, new, device=device, resumed=cohorts)
    run = Run(dict(configs), training, pump=session.keep_live, search=number)
    return Resumed(min(configs, default=2**62), run, [*events, *(Message(trial, message) for trial in configs)])
