"""From the trials of a log to an ensemble: candidates, members, and the record in the log."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

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
from workbench.runs.measured import measured
from workbench.runs.publisher import LogChanged
from workbench.runs.restore import whole
from workbench.runs.session import Session
from workbench.runs.trained_model import TrainedModel

if TYPE_CHECKING:
    from workbench.tasks import Task

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
    if session.task.kind == "dense":
        raise RunError(
            f"{session.task.name!r} is a dense task: ensembles are for one answer a row; average the probabilities of "
            "bench.model(trial).predict_proba(X) yourself (of a cross-validated trial with fold=)"
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
    scorer = _scorer(task)
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
    models = [model for place in chosen for model in crowd.models(pool[place])]
    members = _members(task, [(pool[place], int(votes[place])) for place in chosen], models, answers[chosen], scorer)
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
    folds = [member["fold"] for member in finding.data["members"]]
    models = [session.recall.model(trial, fold=fold) for trial, fold in zip(trials, folds, strict=True)]
    return ensemble_of(models, finding.data, number)


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


def _scorer(task: Task) -> Scorer:
    """What ensembles on a task are measured by: on its validation rows, those of all folds if there are some."""
    train, validation, folds, ends = task.train, task.validation, task.folds, [0]
    if folds is not None:
        train, validation = folds.train, folds.validation
        ends = np.cumsum([0, *(len(own.validation) for own in folds.members)]).tolist()
    return Scorer(
        validation.target.numpy(),
        task.metric,
        labels=task.kind == "multilabel",
        deviation=train.target.double().std(0, correction=0).reshape(-1).numpy(),
        weights=None if validation.weight is None else validation.weight.numpy(),
        folds=[slice(start, end) for start, end in pairwise(ends)],
        groups=_groups(task),
    )


def _groups(task: Task) -> NDArray[Any] | None:
    """What a bootstrap draws as one of those rows: its group, else under folds the row, which several folds may leave out."""
    if task.folds is None:
        return None if task.groups is None else task.groups["validation"]
    known: dict[int, int] = {}
    for split, groups in (task.groups or {}).items():
        known |= dict(zip(task.row_numbers[split].tolist(), groups.tolist(), strict=True))
    rows = np.concatenate([own.row_numbers["validation"] for own in task.folds.members]).tolist()
    return np.array([f"group {known[row]}" if row in known else f"row {row}" for row in rows])


def _members(
    task: Task,
    votes: Sequence[tuple[int, int]],
    models: Sequence[TrainedModel],
    answers: NDArray[np.float64],
    scorer: Scorer,
) -> list[Member]:
    """Who votes, a model each: trials, or the folds of trials, each with its score on its own rows. votes: (trial, votes)."""
    total = sum(count for _, count in votes)
    folds: list[int | None] = [None] if task.folds is None else [*range(1, len(task.folds) + 1)]
    ends = np.cumsum([0] if task.folds is None else [0, *(len(own.validation) for own in task.folds.members)])
    found: dict[tuple[int, int | None], Any] = {}
    for fold in folds:
        own = answers if fold is None else answers[:, ends[fold - 1] : ends[fold]]
        scores = interval(own, scorer if fold is None else scorer.of_fold(fold - 1))
        found |= {(trial, fold): row for (trial, _), *row in zip(votes, *scores, strict=True)}
    who = [(trial, count, fold) for trial, count in votes for fold in folds]
    members = []
    for (trial, count, fold), model in zip(who, models, strict=True):
        score, low, high = (_plain(float(value)) for value in found[trial, fold])
        share = count / total / len(folds)
        members.append(Member(trial, int(model.epoch or 0), count, share, model.config.model, score, low, high, fold))
    return members


class _Crowd:
    """The candidates' models, of each one or one for each fold, which may be too large to be all in memory."""

    def __init__(self, session: Session, trials: Sequence[int]) -> None:
        self._session, self._trials = session, trials
        self._kept: dict[int, list[TrainedModel]] = {}
        self._bytes = 0

    def answers(self) -> NDArray[np.float64]:
        """(candidates, rows, outputs) on the validation rows, of each fold in turn, by the model that did not train on them:
        probabilities, or numbers in the target's own unit."""
        return np.stack([self._answer(trial) for trial in self._trials])

    def models(self, trial: int) -> list[TrainedModel]:
        if trial in self._kept:
            return self._kept[trial]
        return [part.model for part in measured(self._session.recall, trial)]

    def _answer(self, trial: int) -> NDArray[np.float64]:
        models, answers = [], []
        for model, rows, *_ in measured(self._session.recall, trial):
            models.append(model)
            answers.append(model.uncalibrated(rows.x).numpy())
        size = sum(value.numel() * value.element_size() for model in models for value in model.state_dict().values())
        if self._bytes + size <= IN_MEMORY:
            self._kept[trial] = models
            self._bytes += size
        found: NDArray[np.float64] = np.concatenate(answers)
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
