"""A threshold between two classes, chosen on the validation rows by a score or by costs."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from workbench.core.direction import Better, sign
from workbench.core.errors import ConfigError, Problem, TaskError, did_you_mean
from workbench.methods.decisions.validation import keep, validation_of
from workbench.runs.decision import VALIDATION, Threshold
from workbench.runs.session import Session

__all__ = ["SCORES", "ChosenThreshold", "choose_threshold"]

Counts = NDArray[np.float64]


def _f1(tp: Counts, fp: Counts, positives: float, negatives: float) -> Counts:
    """2 TP / (2 TP + FP + FN), of the positive class; 0 where nothing is predicted positive."""
    return 2 * tp / (tp + fp + positives)


def _balanced_accuracy(tp: Counts, fp: Counts, positives: float, negatives: float) -> Counts:
    """Mean of the recalls of the two classes."""
    return (tp / positives + 1 - fp / negatives) / 2


def _youden(tp: Counts, fp: Counts, positives: float, negatives: float) -> Counts:
    """Sensitivity + specificity - 1 (Youden 1950)."""
    return tp / positives - fp / negatives


SCORES: Mapping[str, Callable[[Counts, Counts, float, float], Counts]] = {
    "f1": _f1,
    "balanced_accuracy": _balanced_accuracy,
    "youden": _youden,
}
"""What a threshold can be chosen by: functions of the true and false positives, and of the rows of each class; weighted."""
COSTS = ("false_positive", "false_negative")


@dataclass(frozen=True)
class ChosenThreshold:
    """The threshold of a trial's model, with what it changes on the validation or out-of-fold rows.

    Rows count by their weights, if the task has some.

    trial, epoch: whose model. threshold: on the probability of the positive class. positive: its label. by: the score, or the
    costs in words. before, after: that score for the most probable class (a threshold of 0.5) and with the threshold, on the same
    `rows` validation rows that it was chosen on, so that `after` is optimistic. For costs, the mean cost of a row, which is
    lowest. on: which rows, in words. table: one row a candidate, ascending: threshold, score, true_positive_rate,
    false_positive_rate, precision.
    """

    trial: int
    epoch: int
    threshold: float
    positive: str
    by: str
    rows: int
    before: float
    after: float
    table: pd.DataFrame
    on: str = VALIDATION

    @property
    def description(self) -> list[str]:
        """The choice in sentences."""
        return [
            f"Trial {self.trial} predicts {self.positive!r} from a probability of {self.threshold:.4g} on ({self.by}).",
            f"On the {self.rows:,} {self.on} that it was chosen on: {self.before:.4g} before (most probable "
            f"class), {self.after:.4g} with the threshold. This score is optimistic; the one on the test set is not.",
        ]

    def __repr__(self) -> str:
        return "\n".join(self.description)

    def _repr_html_(self) -> str:
        return "".join(f"<div>{html.escape(line)}</div>" for line in self.description)


def choose_threshold(
    session: Session, trial: int, by: object, costs: object, positive: object
) -> ChosenThreshold | None:
    """Choose a threshold for a trial's model and record it, or remove it; see `Workbench.threshold`."""
    checked = None if costs is None else _costs(costs)
    if checked is not None and not (by is None or (isinstance(by, str) and by == "f1")):
        message = f"by={by!r} and costs= exclude each other; give one of them"
        raise ConfigError([Problem("by", by, message)])
    if checked is None and by is not None and (not isinstance(by, str) or by not in SCORES):
        message = f"by={by!r}: unknown, and there is no costs={did_you_mean(str(by), SCORES)}"
        raise ConfigError([Problem("by", by, message)])
    classes = session.task.classes
    if classes is not None and session.task.kind == "classification" and len(classes) != 2:
        raise TaskError(
            f"{session.task.name!r} has {len(classes)} classes, and a threshold decides between two; bench.calibrate calibrates "
            "the probabilities of any number of classes"
        )
    found = validation_of(session, trial, "a threshold")
    if checked is None and by is None:
        keep(session, trial, found.epoch, replace(found.decision, threshold=None))
        return None
    index = _positive(found.classes, session.task.schema.labels, positive)
    yes = found.targets == index
    probabilities = found.decision.probabilities(found.probabilities)
    scores = probabilities[:, index]
    words, better, score = _measure(by, checked)
    weights = np.ones(len(yes)) if found.weights is None else found.weights
    table = _candidates(yes, scores, weights, score)
    values = sign(better) * table["score"].to_numpy()
    # of equally good ones that nearest to the threshold of the most probable class
    best = np.flatnonzero(values >= values.max() - 1e-12)
    place = int(best[np.abs(table["threshold"].to_numpy()[best] - 0.5).argmin()])
    value = float(table["threshold"].iloc[place])
    chosen = Threshold(value, index, found.classes[index], words, len(yes), found.on)
    keep(session, trial, found.epoch, replace(found.decision, threshold=chosen))
    before = _score_of(yes, probabilities.argmax(1) == index, weights, score)
    after = _score_of(yes, scores >= value, weights, score)
    return ChosenThreshold(
        trial, found.epoch, value, found.classes[index], words, len(yes), before, after, table, found.on
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------------------------


def _costs(costs: object) -> tuple[float, float]:
    """The costs of a false positive and a false negative. Raises: ConfigError naming what is wrong with them."""
    given = costs if isinstance(costs, Mapping) else {}
    for name in given:
        if name not in COSTS:
            raise ConfigError([Problem("costs", costs, f"costs={costs!r}: unknown{did_you_mean(str(name), COSTS)}")])
    values = [given.get(name) for name in COSTS]
    fine = all(
        isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) < math.inf for value in values
    )
    if not fine or not any(values):
        message = f"costs={costs!r}: must be two numbers from 0, not both 0, such as "
        message += "costs={'false_positive': 1, 'false_negative': 5}"
        raise ConfigError([Problem("costs", costs, message)])
    return float(given["false_positive"]), float(given["false_negative"])


def _positive(classes: tuple[str, ...], labels: Any, positive: object) -> int:
    """The index of the positive class, by default the second one. Raises: ConfigError for a label that is none."""
    if positive is None:
        return 1
    given = positive.item() if isinstance(positive, np.generic) else positive
    if isinstance(given, (str, int, float)):  # True is not 1: booleans are labels of their own
        for index, name in enumerate(classes):
            own = labels[index] if labels is not None else name
            if given == name or (type(given) is type(own) and given == own):
                return index
    message = f"positive={positive!r}: no class of the task{did_you_mean(str(positive), classes)}"
    raise ConfigError([Problem("positive", positive, message)])


Score = Callable[[Counts, Counts, float, float], Counts]


def _measure(by: object, costs: tuple[float, float] | None) -> tuple[str, Better, Score]:
    """What is chosen by: in words, whether higher or lower values are better, and the function."""
    if costs is None:
        name = str(by)
        return f"by {name.replace('_', ' ')}", "higher", SCORES[name]
    fp_cost, fn_cost = costs

    def mean_cost(tp: Counts, fp: Counts, positives: float, negatives: float) -> Counts:
        return (fp_cost * fp + fn_cost * (positives - tp)) / (positives + negatives)

    words = f"by cost, {fp_cost:g} for a false positive and {fn_cost:g} for a false negative"
    return words, "lower", mean_cost


def _candidates(
    yes: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64], score: Score
) -> pd.DataFrame:
    """One row a threshold that decides the rows differently, ascending; see `ChosenThreshold.table`.

    The rates are those of scikit-learn's ROC curve. A threshold lies midway between two probabilities that occur; the highest
    one is above 1 if a row has the probability 1, and predicts nothing positive.
    """
    fpr, tpr, at = roc_curve(yes, scores, sample_weight=weights, drop_intermediate=False)
    upper = np.append(at[1:], 0.0)  # the next lower probability that occurs
    top = (1.0 + at[1]) / 2 if at[1] < 1 else math.nextafter(1.0, 2.0)
    middle = (at + upper) / 2
    thresholds = np.where(np.isinf(at), top, np.where(middle > upper, middle, at))  # neighbours have no number between
    positives, negatives = float(weights[yes].sum()), float(weights[~yes].sum())
    tp, fp = tpr * positives, fpr * negatives
    with np.errstate(invalid="ignore"):
        table = {
            "threshold": thresholds,
            "score": score(tp, fp, positives, negatives),
            "true_positive_rate": tpr,
            "false_positive_rate": fpr,
            "precision": tp / (tp + fp),
        }
    return pd.DataFrame(table)[::-1].reset_index(drop=True)


def _score_of(
    yes: NDArray[np.bool_], predicted: NDArray[np.bool_], weights: NDArray[np.float64], score: Score
) -> float:
    tp, fp = (np.array([weights[predicted & own].sum()]) for own in (yes, ~yes))
    return float(score(tp, fp, float(weights[yes].sum()), float(weights[~yes].sum()))[0])
