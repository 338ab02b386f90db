"""Refit: train the configuration of a trial again on training and validation rows, for the number of epochs it needed."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.core.config import Config
from workbench.core.errors import RunError
from workbench.core.events import ENDED, Event, Message, TrialState
from workbench.core.text import counted
from workbench.runs.refits import SOURCE
from workbench.runs.restore import logged_config
from workbench.runs.run import Run
from workbench.runs.session import Session, scripted
from workbench.training import Training, prepare

__all__ = ["refit"]


def refit(session: Session, trial: int, *, seeds: int, name: str, note: str, tags: Sequence[str], device: str) -> Run:
    """Train a trial's configuration on its task's training and validation rows; see `Workbench.refit`. The same request again,
    while it trains, is the same run. Nothing is logged when it raises."""
    recall = session.recall
    _check(session, trial)
    epoch = recall.best_epoch(trial)
    task = recall.refits.merged
    config = prepare(task, logged_config(trial, session.log.record(trial).config))
    recall.check_code(trial)
    length, origin = recall.refits.length_until(trial, epoch), recall.origin(trial)
    changes, begin = recall.refits.changes_until(trial, epoch, config), recall.refits.origin_for(trial)
    decision = recall.decision(trial, epoch)
    configs = [config.replace(seed=config.seed + index) for index in range(seeds)]

    def first_events(trials: Sequence[int]) -> Sequence[Event]:
        rows = counted(len(task.train), "row")
        message = (
            f"a refit of trial {trial} on the {rows} of training and validation together, for {counted(epoch, 'epoch')}, "
            f"the best one of trial {trial}; it has no validation score"
        )
        if decision:
            message += f"; it decides as trial {trial} does: {decision.description}"
        if origin is not None:
            message += f"; epochs 1 to {origin[1]}, up to the branch, are trained first, without a record"
        return [*(Message(number, message) for number in trials), *scripted(trials, changes, None)]

    def training(trials: dict[int, Config]) -> Training:
        origins = {} if begin is None else dict.fromkeys(trials, begin)
        scripted = dict.fromkeys(trials, changes)
        return Training(task, trials, device=device, origins=origins, changes=scripted, fixed=length)

    return session.once(
        (SOURCE, trial, tuple(configs), name, device),
        lambda: session.launch(
            configs, training, source=SOURCE, parent=trial, parent_epoch=epoch, name=name or f"refit of {trial}", note=note,
            tags=tags, device=device, events=first_events, label=name, compare_with=(trial,),
        ),
    )  # fmt: skip


def _check(session: Session, trial: int) -> None:
    """Raises: LogError, RunError for a trial that cannot be refitted."""
    log, recall = session.log, session.recall
    state = log.state(trial)
    recall.check_trial_task(trial)
    recall.check_outside_trash(trial)
    recall.refits.check_measured(trial, "another refit")
    if state not in ENDED:
        raise RunError(f"trial {trial} is {state}; wait for its end, then refit it")
    if state in (TrialState.FAILED, TrialState.DIVERGED):
        raise RunError(f"trial {trial} {state}: it has no best epoch to train up to; refit a trial that ran to its end")
