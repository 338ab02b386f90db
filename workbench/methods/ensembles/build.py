"""From the trials of a log to an ensemble: candidates, members, and the record in the log."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.direction import best_first, better_of
from workbench.core.errors import ConfigError, LogError, Problem, RunError, did_you_mean
from workbench.core.events import ENDED, TrialState
from workbench.core.registry import METRICS
from workbench.core.text import counted
from workbench.methods.comparison.reads import Reads
from workbench.methods.ensembles.ensemble import Ensemble, EnsembleFacts, Member, ensemble_of, ensemble_state
from workbench.methods.ensembles.selection import (
    Choice,
    Estimate,
    Scorer,
    estimate,
    greedy,
    interval,
    top_configurations,
)
from workbench.runs.publisher import LogChanged
from workbench.runs.restore import whole
from workbench.runs.session import Session
from workbench.runs.trained_model import TrainedModel

__all__ = ["SELECTIONS", "TOP", "assemble", "assembled", "nothing_to_choose"]

SELECTIONS = {
    "top": "the best trial of each of the best configurations of the leaderboard, a vote each",
    "greedy": "votes given one by one to the trial that helps most, with replacement",
}
"""How members are chosen, by name."""

TOP = 5
"""Default number of the best configurations that vote."""
IN_MEMORY = 2**30
"""Models of candidates stay in memory up to so many bytes of weights; others are restored again if they are chosen."""


def assemble(
    session: Session,
    *,
    top: int,
    trials: Sequence[int] | None,
    select: str | None,
    size: int,
    candidates: int,
    name: str,
    note: str,
) -> Ensemble:
    """Choose the members, evaluate them on the validation rows, and record the ensemble in the log.

    See `Workbench.ensemble`. Nothing is logged when it raises.
    """
    session.recall.check_one_model("an ensemble")
    if session.task.kind == "dense":
        raise RunError(
            f"{session.task.name!r} is a dense task: ensembles are for one answer a row; average the probabilities of "
            "bench.model(trial).predict_proba(X) yourself"
        )
    if select is not None and select not in SELECTIONS:
        message = f"select={select!r}: unknown{did_you_mean(select, SELECTIONS)}"
        raise ConfigError([Problem("select", select, message)])
    if select == "greedy" and top != TOP:
        message = f"top={top}: select='greedy' does not read it; size= is the number of votes, candidates= how many may get one"
        raise ConfigError([Problem("top", top, message)])
    if trials is None:
        pool, configurations = _candidates(session, select, top, candidates)
    else:
        given = _given(session, trials)
        pool, configurations = list(dict.fromkeys(given)), []
    crowd = _Crowd(session, pool)
    task = session.task
    deviation = task.train.target.double().std(0, correction=0).reshape(-1).numpy()
    weights = None if task.validation.weight is None else task.validation.weight.numpy()
    scorer = Scorer(
        task.validation.target.numpy(),
        task.metric,
        labels=task.kind == "multilabel",
        deviation=deviation,
        weights=weights,
        groups=None if task.groups is None else task.groups["validation"],
    )
    answers = crowd.answers()
    choose: Choice | None
    if select == "greedy":
        choose = partial(greedy, answers, scorer, size=size)
    elif trials is None:
        choose = partial(top_configurations, answers, scorer, configurations=configurations, top=top)
    else:
        choose = None
    everyone = np.ones((1, answers.shape[1]))
    votes = np.array([given.count(trial) for trial in pool]) if choose is None else choose(everyone)[0]
    found = estimate(answers, scorer, votes, choose, work=size if select == "greedy" else 1)
    single = int(greedy(answers, scorer, everyone, size=1)[0].argmax())
    facts = EnsembleFacts(
        how=_how(select, trials is not None, votes, pool, configurations),
        select=select or ("trials" if trials is not None else "top"),
        candidates=len(pool), metric=task.metric, single=pool[single], rows=answers.shape[1], name=name, note=note,
        single_score=_plain(float(scorer.natural(scorer(answers[[single]], everyone)[0])[0, 0])), **_estimated(found),
    )  # fmt: skip
    chosen = [int(place) for place in np.argsort(-votes, kind="stable") if votes[place]]
    models = [crowd.model(pool[place]) for place in chosen]
    scores, lows, highs = interval(answers[chosen], scorer)
    members = [
        Member(
            pool[place], int(model.epoch or 0), int(votes[place]), float(votes[place] / votes.sum()), model.config.model,
            *(_plain(float(value)) for value in row),
        )
        for place, model, *row in zip(chosen, models, scores, lows, highs, strict=True)
    ]  # fmt: skip
    return Ensemble(models, members, facts, _enter(session, members, facts))


def assembled(session: Session, number: int) -> Ensemble:
    """An ensemble of the log, its members' models out of their checkpoints.

    Raises: RunError for a number that is not in the log, one on another task, or one with a member in the trash; as
    `Recall.model` for a member.
    """
    found = session.log.findings("ensemble")
    if not 1 <= number <= len(found):
        some = f"it has {len(found)}" if found else "it has none; make one with bench.ensemble()"
        raise RunError(f"ensemble {number} is not in the log, {some}; see bench.ensembles")
    finding = found[number - 1]
    session.recall.check_task(f"ensemble {number}", finding.task_fingerprint)
    trials = [int(member["trial"]) for member in finding.data["members"]]
    try:
        session.recall.check_outside_trash(*trials)
    except LogError as error:
        raise RunError(
            f"ensemble {number} cannot be rebuilt: {error}; a file of it written by bench.save can still be loaded"
        ) from None
    return ensemble_of([session.recall.model(trial) for trial in trials], finding.data, number)


def nothing_to_choose(session: Session, otherwise: str) -> RunError:
    """What to raise where no trial has a score. otherwise: what to say where none has run to its end."""
    task = session.task
    ended, rows = len(session.log.results.scores(task.fingerprint, task.metric)), len(task.validation)
    if not ended:
        return RunError(otherwise)
    count, split = counted(ended, "trial"), counted(rows, "validation row")
    label, why = METRICS[task.metric].label, ", whose targets would have to differ" if task.metric == "r2" else ""
    return RunError(
        f"{count} on {task.name!r} ran to the end, but {label} is no finite number on the {split}{why}: there is nothing to "
        "choose by; make the task with more validation rows (split=) or another metric (metrics=)"
    )


# --- who may vote -------------------------------------------------------------------------------------------------------


def _candidates(session: Session, select: str | None, top: int, candidates: int) -> tuple[list[int], list[int]]:
    """Trials that ran to their end, best first, and the place of each one's configuration on the leaderboard.

    For "greedy" the best by their own score. Else all of the configurations, from the best on, as many as make up `candidates`
    trials, but no fewer than `top`. Raises: RunError when there is none, or none with a score.
    """
    board = Reads.of(session).leaderboard(None)
    if board.empty:
        message = "there is no trial that ran to its end to make an ensemble of; train some with bench.run(wb.Config())"
        raise nothing_to_choose(session, message)
    places = dict(zip(board["configuration"], range(len(board)), strict=True))
    scores = session.log.results.scores(session.task.fingerprint, session.task.metric)
    # a trial that has ended since the leaderboard was read is none of its configurations
    scores = scores[np.isfinite(scores["score"]) & scores["configuration"].isin(board["configuration"])]
    scores = scores.assign(place=[places[configuration] for configuration in scores["configuration"]])
    if select == "greedy":
        scores = best_first(scores, "score", better_of(session.task.metric), then="trial").head(candidates)
    else:
        reaches = board["seeds"].cumsum().to_numpy()
        configurations = max(top, int(np.searchsorted(reaches, candidates)) + 1)
        scores = scores[scores["place"] < configurations].sort_values(["place", "trial"])
    return [int(trial) for trial in scores["trial"]], [int(place) for place in scores["place"]]


def _given(session: Session, trials: Sequence[int]) -> list[int]:
    """The trials that were named one by one. Raises: ConfigError for none; LogError, RunError for one that cannot vote."""
    named = [] if isinstance(trials, (str, bytes)) or not hasattr(trials, "__iter__") else list(trials)
    if not named:
        message = f"trials={trials!r}: must be the numbers of one trial or more, such as [3, 7]"
        raise ConfigError([Problem("trials", trials, message)])
    numbers = [whole("trial", trial) for trial in named]
    states = {number: session.log.state(number) for number in numbers}  # raises for an unknown one
    session.recall.check_outside_trash(*numbers)
    for number, state in states.items():
        if state not in ENDED:
            raise RunError(f"trial {number} is {state}: a member has to be a finished trial; wait for it, or stop it")
        if state in (TrialState.DIVERGED, TrialState.FAILED):
            raise RunError(f"trial {number} {state}: it has no model to vote with; leave it out of trials=")
        session.recall.check_epoch(number, None)
        session.recall.refits.check_measured(number, "an ensemble")
        session.recall.best_epoch(number)
    return numbers


class _Crowd:
    """The candidates' models, which may be too large to be all in memory."""

    def __init__(self, session: Session, trials: Sequence[int]) -> None:
        self._session, self._trials = session, trials
        self._kept: dict[int, TrainedModel] = {}
        self._bytes = 0

    def answers(self) -> NDArray[np.float64]:
        """(candidates, rows, outputs) on the validation rows: probabilities, or numbers in the target's own unit."""
        return np.stack([self._answer(self._session.recall.model(trial)) for trial in self._trials])

    def model(self, trial: int) -> TrainedModel:
        return self._kept[trial] if trial in self._kept else self._session.recall.model(trial)

    def _answer(self, model: TrainedModel) -> NDArray[np.float64]:
        found: NDArray[np.float64] = model.uncalibrated(self._session.task.validation.x).numpy()
        size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
        if model.trial is not None and self._bytes + size <= IN_MEMORY:
            self._kept[model.trial] = model
            self._bytes += size
        return found


# --- what is kept of it -------------------------------------------------------------------------------------------------


def _enter(session: Session, members: Sequence[Member], facts: EnsembleFacts) -> int:
    """Enter an ensemble into the log; returns its number, by which the ensembles of a log are counted.

    The same once more, as by a cell that is run again, is the one that is there.
    """
    numbers: list[int] = []
    state = json.loads(json.dumps(ensemble_state(members, facts)))
    fingerprint = session.task.fingerprint
    for number, finding in enumerate(session.log.findings("ensemble"), 1):
        if finding.task_fingerprint == fingerprint and finding.data == state:
            return number
    session.log.add_finding(
        "ensemble",
        state,
        task_fingerprint=fingerprint,
        check=lambda earlier: numbers.append(len(earlier) + 1),
    )
    session.publish([LogChanged()])
    return numbers[0]


def _how(
    select: str | None, given: bool, votes: NDArray[Any], pool: Sequence[int], configurations: Sequence[int]
) -> str:
    chosen, of = int((votes > 0).sum()), counted(len(pool), "candidate")
    if select == "greedy":
        count = int(votes.sum())
        return f"greedy selection gave {counted(count, 'vote')} to {chosen} of {of}"
    if given:
        return f"{counted(chosen, 'trial')} given by hand"
    return f"the best {chosen} of {max(configurations) + 1} configurations, chosen from {of}"


def _estimated(found: Estimate) -> dict[str, Any]:
    return {name: value if name == "draws" else _plain(value) for name, value in found._asdict().items()}


def _plain(value: float) -> float | None:
    """A number as JSON has it."""
    return value if math.isfinite(value) else None
