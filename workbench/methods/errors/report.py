"""What a kind of task has to say about wrong answers: one entry for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.errors import TaskError
from workbench.core.text import counted
from workbench.methods.errors.answers import Answers
from workbench.methods.errors.tables import by_class, by_label, confusion_matrix, label_counts, residual_summary
from workbench.metrics.calibration import BINS, brier_score, expected_calibration_error, reliability

if TYPE_CHECKING:
    from workbench.tasks import Task

__all__ = ["Report", "report"]


@dataclass(frozen=True, eq=False)
class Report:
    """The tables of `TrialErrors` that depend on the kind of task. badness: of each row in `rows`, the largest the worst;
    NaN, as of a model whose weights are, counts as worst of all. places: of each row in `rows`, its place in the split.
    sentences: the summary in words."""

    rows: pd.DataFrame
    places: NDArray[np.int64]
    badness: NDArray[np.float64]
    summary: pd.DataFrame
    sentences: tuple[str, ...]
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
        known = ", ".join(_REPORTS)
        raise TaskError(f"{task.name!r} is a {task.kind} task: errors can be listed for {known}")
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
        scores |= _calibration_scores(calibration, brier_score(chances, truth))
    rows["loss"] = losses
    said = (
        f"{scores['wrong']:,} of {counted(len(truth), 'row')} wrong: accuracy {scores['accuracy']:.4f}, balanced accuracy "
        f"{scores['balanced_accuracy']:.4f}, macro F1 {scores['f1_macro']:.4f}."
    )
    summary = pd.DataFrame([scores], index=pd.Index(["all classes"], name="output"))
    sentences = (said, _calibration_words(scores))
    return Report(rows, np.arange(len(rows)), losses, summary, sentences, confusion, per_class, calibration)


def _dense(
    task: Task, numbers: NDArray[np.int64], truth: NDArray[Any], answers: Answers, losses: NDArray[np.float64]
) -> Report:
    """As a classification of each position; the rows are listed by the share of theirs that is wrong."""
    labels = task.schema.labels or task.classes or ()
    confusion = confusion_matrix(truth.ravel(), answers.values.ravel(), labels)
    per_class = by_class(confusion)
    hits = np.diag(confusion)
    per_class["iou"] = hits / (per_class["support"] + per_class["predicted"] - hits).replace(0, np.nan)
    right = (truth == answers.values).reshape(len(truth), -1)
    rows = pd.DataFrame({"row": numbers, "wrong": (~right).sum(1), "positions": right.shape[1], "loss": losses})
    scores: dict[str, Any] = {
        "rows": len(truth), "positions": right.size, "wrong": int((~right).sum()), "accuracy": right.mean(),
        "mean_iou": per_class["iou"].mean(), "loss": losses.mean(),
    }  # fmt: skip
    calibration = None
    if answers.probabilities is not None:
        chances = np.moveaxis(answers.probabilities, 1, -1).reshape(right.size, -1)
        calibration = reliability(chances[np.arange(right.size), answers.values.ravel()], right.ravel())
        scores |= _calibration_scores(calibration, brier_score(chances, truth.ravel()))
    said = (
        f"{scores['wrong']:,} of {counted(right.size, 'position')} in {counted(len(truth), 'row')} wrong: accuracy "
        f"{scores['accuracy']:.4f}, mean IoU {scores['mean_iou']:.4f}."
    )
    summary = pd.DataFrame([scores], index=pd.Index(["all classes"], name="output"))
    sentences = (said, _calibration_words(scores))
    return Report(rows, np.arange(len(rows)), losses, summary, sentences, confusion, per_class, calibration)


def _multilabel(
    task: Task, numbers: NDArray[np.int64], truth: NDArray[Any], answers: Answers, losses: NDArray[np.float64]
) -> Report:
    names, predicted, chances = _output_names(task), answers.values.astype(bool), answers.probabilities
    true = truth.astype(bool)
    confusion = label_counts(true, predicted, names)
    per_class = by_label(confusion)
    wrong = (true != predicted).any(1)
    rows = pd.DataFrame({"row": numbers, "true": _joined(true, names), "predicted": _joined(predicted, names)})
    rows["loss"] = losses
    scores: dict[str, Any] = {
        "rows": len(true), "wrong": int(wrong.sum()), "exact_match": 1 - wrong.mean(), "f1_macro": per_class["f1"].mean(),
        "loss": losses.mean(),
    }  # fmt: skip
    calibration = None
    if chances is not None:
        calibration = reliability(chances.ravel(), true.ravel())
        scores |= _calibration_scores(calibration, float(np.square(chances - true).mean()))
    said = (
        f"{scores['wrong']:,} of {counted(len(true), 'row')} with a wrong label: exact match {scores['exact_match']:.4f}, macro "
        f"F1 {scores['f1_macro']:.4f}."
    )
    summary = pd.DataFrame([scores], index=pd.Index(["all labels"], name="output"))
    sentences = (said, _calibration_words(scores))
    return Report(rows, np.arange(len(rows)), losses, summary, sentences, confusion, per_class, calibration)


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
    summary = residual_summary(truth, answers.values, names)
    sentences = tuple(
        f"{name}: RMSE {row.rmse:.4g}, MAE {row.mae:.4g}, bias {row.bias:+.4g}, largest residual {row.worst:.4g}."
        for name, row in zip(names, summary.itertuples(), strict=True)
    )
    return Report(rows, places, badness, summary, (f"{counted(len(numbers), 'row')}.", *sentences))


def _output_names(task: Task) -> Sequence[str]:
    return [str(name) for name in task.sample.targets.columns]


def _joined(chosen: NDArray[np.bool_], names: Sequence[str]) -> list[str]:
    """The labels of each row as text, "none" without any."""
    return [", ".join(name for name, one in zip(names, row, strict=True) if one) or "none" for row in chosen]


def _calibration_scores(bins: pd.DataFrame, brier: float) -> dict[str, float]:
    """NaN where a probability is."""
    return {"calibration_error": expected_calibration_error(bins) if np.isfinite(brier) else np.nan, "brier": brier}


def _calibration_words(scores: Mapping[str, float]) -> str:
    if "brier" not in scores:
        return "No calibration: the trial's loss does not train probabilities."
    return f"Expected calibration error {scores['calibration_error']:.4f} ({BINS} bins), Brier score {scores['brier']:.4f}."


Reporter = Callable[[Any, NDArray[np.int64], NDArray[Any], Answers, NDArray[np.float64]], Report]
_REPORTS: dict[str, Reporter] = {
    "classification": _classification, "multilabel": _multilabel, "dense": _dense, "regression": _regression,
    "count": _regression,
}  # fmt: skip
