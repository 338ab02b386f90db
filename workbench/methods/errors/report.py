"""What a kind of task has to say about wrong answers: one entry for each kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import TaskError
from workbench.methods.errors.answers import Answers
from workbench.methods.errors.tables import by_class, confusion_matrix, residual_summary
from workbench.metrics.calibration import brier_score, expected_calibration_error, reliability

if TYPE_CHECKING:
    from workbench.tasks import Task

__all__ = ["Report", "report"]


@dataclass(frozen=True, eq=False)
class Report:
    """The tables of `TrialErrors` that depend on the kind of task. badness: of each row in `rows`, the largest the worst;
    NaN, as of a model whose weights are, counts as worst of all. places: of each row in `rows`, its place in the split."""

    rows: pd.DataFrame
    places: NDArray[np.int64]
    badness: NDArray[np.float64]
    summary: pd.DataFrame
    confusion: pd.DataFrame | None = None
    per_class: pd.DataFrame | None = None
    calibration: pd.DataFrame | None = None


def report(
    task: Task, numbers: NDArray[np.int64], truth: NDArray[Any], answers: Answers, losses: NDArray[np.float64]
) -> Report:
    """What there is to say about some rows. numbers: of the rows in the data; losses: of each row by the trial's own loss.

    Raises: TaskError for a kind of task that has no entry.
    """
    if task.kind not in _REPORTS:
        known = " or ".join(_REPORTS)
        raise TaskError(f"{task.name!r} is a {task.kind} task: its errors can be listed for {known} only")
    return _REPORTS[task.kind](task, numbers, truth, answers, losses)


def _classification(
    task: Task, numbers: NDArray[np.int64], truth: NDArray[Any], answers: Answers, losses: NDArray[np.float64]
) -> Report:
    labels = task.schema.labels or task.classes or ()
    predicted, chances = answers.values, answers.probabilities
    confusion = confusion_matrix(truth, predicted, labels)
    per_class = by_class(confusion)
    right = predicted == truth
    named = np.array(labels, dtype=object if any(isinstance(label, str) for label in labels) else None)
    rows = pd.DataFrame({"row": numbers, "true": named[truth], "predicted": named[predicted]})
    scores: dict[str, Any] = {
        "rows": len(truth), "wrong": int((~right).sum()), "accuracy": right.mean(),
        "balanced_accuracy": per_class["recall"].mean(), "f1_macro": per_class["f1"].mean(), "loss": losses.mean(),
    }  # fmt: skip
    calibration = None
    if chances is not None:
        sure = chances[np.arange(len(predicted)), predicted]
        rows["probability"] = sure
        calibration = reliability(sure, right)
        complete = bool(np.isfinite(chances).all())
        scores["calibration_error"] = expected_calibration_error(calibration) if complete else np.nan
        scores["brier"] = brier_score(chances, truth)
    rows["loss"] = losses
    summary = pd.DataFrame([scores], index=pd.Index(["all classes"], name="output"))
    return Report(rows, np.arange(len(rows)), losses, summary, confusion, per_class, calibration)


def _regression(
    task: Task, numbers: NDArray[np.int64], truth: NDArray[Any], answers: Answers, losses: NDArray[np.float64]
) -> Report:
    names = _output_names(task)
    residuals = truth - answers.values
    count = truth.shape[1]
    rows = pd.DataFrame({"row": np.repeat(numbers, count)})
    if count > 1:
        rows["output"] = np.tile(np.array(names, dtype=object), len(numbers))
    rows["true"], rows["predicted"] = truth.ravel(), answers.values.ravel()
    rows["residual"] = residuals.ravel()
    unit = np.ones(count)
    if count > 1:  # so that the output with the largest numbers is not the only one in the list
        spread = truth.std(0)
        unit = np.where(spread > 0, spread, 1.0)
    badness = np.abs(residuals / unit).ravel()
    places = np.repeat(np.arange(len(numbers)), count)
    return Report(rows, places, badness, residual_summary(truth, answers.values, names))


def _output_names(task: Task) -> Sequence[str]:
    return [str(name) for name in task.sample.targets.columns]


_REPORTS: dict[
    str,
    Callable[[Any, NDArray[np.int64], NDArray[Any], Answers, NDArray[np.float64]], Report],
] = {"classification": _classification, "regression": _regression}
