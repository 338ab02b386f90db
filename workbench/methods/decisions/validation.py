"""The validation rows that decisions are chosen on, and their place in the log."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import RunError, TaskError
from workbench.core.events import ENDED
from workbench.core.text import counted
from workbench.metrics.predictions import check_probabilities
from workbench.runs.decision import KIND, OUT_OF_FOLD, VALIDATION, Decision
from workbench.runs.measured import measured
from workbench.runs.publisher import LogChanged
from workbench.runs.session import Session

__all__ = ["Validation", "keep", "validation_of"]


class Validation(NamedTuple):
    """A trial's best model on the validation rows; of a cross-validated trial those of all folds, each by its fold's model.

    probabilities (rows, classes): uncalibrated. targets: class indices (rows,). classes: their names. decision: of the model so
    far. epoch: of its weights. on: which rows these are, in words. weights: of the rows (rows,), None for equal ones.
    """

    probabilities: NDArray[np.float64]
    targets: NDArray[np.int64]
    classes: tuple[str, ...]
    decision: Decision
    epoch: int
    on: str
    weights: NDArray[np.float64] | None = None


def validation_of(session: Session, trial: int, call: str) -> Validation:
    """What a decision for a trial is chosen on. call: the decision in words, such as "a threshold".

    Raises: TaskError for a task without classes, or a class without a validation row; LogError, RunError for a trial that is
    unknown, not ended, in the trash, on another task, without a model, or a refit; as `Recall.model`.
    """
    task, recall = session.task, session.recall
    if task.kind != "classification" or task.classes is None:
        raise TaskError(f"{task.name!r} is a {task.kind}: {call} is chosen on the probabilities of classes")
    state = session.log.state(trial)
    recall.check_trial_task(trial)
    recall.check_outside_trash(trial)
    recall.refits.check_measured(trial, call)
    if state not in ENDED:
        raise RunError(f"trial {trial} is {state}; wait for its end, then choose {call}")
    parts = list(measured(recall, trial))
    targets = np.concatenate([part.rows.y.numpy() for part in parts])
    weights = None
    if task.train.weight is not None:
        weights = np.concatenate([part.rows.weight.double().numpy() for part in parts if part.rows.weight is not None])
    missing = np.flatnonzero(np.bincount(targets, weights, minlength=len(task.classes)) == 0)
    if len(missing):
        heavy = "" if weights is None else " with a weight above 0"
        raise TaskError(
            f"the {counted(len(targets), 'validation row')} of {task.name!r} have no row of class "
            f"{task.classes[missing[0]]!r}{heavy}, which {call} needs; make the task with more validation rows (split=)"
        )
    model = parts[0].model
    check_probabilities(task, model.config.loss)
    found = np.concatenate([part.model.uncalibrated(part.rows.x).numpy() for part in parts])
    if not np.isfinite(found).all():
        raise RunError(f"trial {trial} has outputs that are not finite on the validation rows: nothing to decide on")
    on = VALIDATION if task.folds is None else OUT_OF_FOLD
    return Validation(found, targets, task.classes, model.decision, int(model.epoch or 0), on, weights)


def keep(session: Session, trial: int, epoch: int, decision: Decision) -> None:
    """Record the decision of a trial's model; the last one counts."""
    data = {"trial": trial, "epoch": epoch, "decision": decision.to_json()}
    session.log.add_finding(KIND, data, task_fingerprint=session.task.fingerprint)
    session.publish([LogChanged()])
