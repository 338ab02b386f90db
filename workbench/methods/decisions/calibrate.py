"""Calibration of a model's probabilities, fitted on the validation rows by scikit-learn."""

from __future__ import annotations

import html
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import brier_score_loss, log_loss

from workbench.core.errors import ConfigError, Problem, did_you_mean
from workbench.core.text import counted
from workbench.methods.decisions.validation import keep, validation_of
from workbench.metrics.calibration import expected_calibration_error, reliability
from workbench.runs.decision import Calibration, Decision, class_scores
from workbench.runs.session import Session

__all__ = ["METHODS", "CalibrationResult", "calibrate", "fitted"]

METHODS = ("temperature", "sigmoid", "isotonic")
FEW = 1000
"""With fewer rows scikit-learn advises against an isotonic calibration, which fits any monotonic function."""


@dataclass(frozen=True)
class CalibrationResult:
    """The calibration of a trial's model, with what it changes on the validation rows.

    trial, epoch: whose model. calibration: as fitted. table: rows "before" and "after", columns log_loss, brier (score; for
    more than two classes the sum over the classes) and ece (expected calibration error, see `metrics.calibration`); on the
    same validation or out-of-fold rows that it was fitted on, so that "after" is optimistic. removed_threshold: whether the
    model had a threshold, which would no longer decide the same.
    """

    trial: int
    epoch: int
    calibration: Calibration
    table: pd.DataFrame
    removed_threshold: bool

    @property
    def description(self) -> list[str]:
        """The result in sentences."""
        rows = self.calibration.rows
        labels = {"log_loss": "log loss", "brier": "Brier score", "ece": "expected calibration error"}
        changes = [
            f"{label} {self.table.loc['before', name]:.4g} → {self.table.loc['after', name]:.4g}"
            for name, label in labels.items()
        ]
        lines = [
            f"Trial {self.trial}: {self.calibration.description}.",
            f"On the same {counted(rows, 'row')}, so optimistic: {', '.join(changes)}.",
        ]
        if self.calibration.method == "isotonic" and rows < FEW:
            lines.append(
                f"An isotonic calibration on fewer than {FEW:,} rows tends to overfit; method='sigmoid' or 'temperature' has one "
                "or two parameters."
            )
        if self.removed_threshold:
            lines.append(
                f"The threshold of the model was removed; choose one again with bench.threshold({self.trial})."
            )
        return lines

    def __repr__(self) -> str:
        return "\n".join(self.description)

    def _repr_html_(self) -> str:
        return "".join(f"<div>{html.escape(line)}</div>" for line in self.description)


def calibrate(session: Session, trial: int, method: object) -> CalibrationResult | None:
    """Fit a calibration for a trial's model and record it, or remove it; see `Workbench.calibrate`."""
    if method is not None and (not isinstance(method, str) or method not in METHODS):
        message = f"method={method!r}: unknown{did_you_mean(str(method), METHODS)}"
        raise ConfigError([Problem("method", method, message)])
    found = validation_of(session, trial, "a calibration")
    if method is None:
        keep(session, trial, found.epoch, Decision())
        return None
    calibration = replace(fitted(found.probabilities, found.targets, str(method), found.weights), on=found.on)
    keep(session, trial, found.epoch, Decision(calibration))
    both = {"before": found.probabilities, "after": calibration.probabilities(found.probabilities)}
    table = pd.DataFrame({name: _measures(p, found.targets, found.weights) for name, p in both.items()}).T
    return CalibrationResult(trial, found.epoch, calibration, table, found.decision.threshold is not None)


def fitted(
    p: NDArray[np.float64], targets: NDArray[np.int64], method: str, weights: NDArray[np.float64] | None = None
) -> Calibration:
    """A calibration of probabilities (rows, classes) to the targets (rows,), by `CalibratedClassifierCV`. weights: (rows,)."""
    rows = np.arange(len(targets))  # in one piece: there is nothing to fit but the calibration, which takes all rows
    model = CalibratedClassifierCV(FrozenEstimator(_Scores(p.shape[1], method)), method=method, cv=[(rows, rows)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Since FrozenEstimator does not")  # there is nothing else to fit
        model.fit(p, targets, sample_weight=weights)
    parts = model.calibrated_classifiers_[0].calibrators
    parameters: dict[str, Any]
    if method == "temperature":
        parameters = {"beta": float(parts[0].beta_)}
    elif method == "sigmoid":
        parameters = {"a": [float(part.a_) for part in parts], "b": [float(part.b_) for part in parts]}
    else:
        parameters = {
            "x": [part.X_thresholds_.tolist() for part in parts],
            "y": [part.y_thresholds_.tolist() for part in parts],
        }
    return Calibration(method, len(targets), parameters)


# ----------------------------------------------------------------------------------------------------------------------


class _Scores(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier for scikit-learn whose rows are probabilities, and whose scores are those of `class_scores`."""

    def __init__(self, classes: int, method: str) -> None:
        self.classes, self.method = classes, method
        self.classes_ = np.arange(classes)

    def fit(self, p: Any, targets: Any) -> _Scores:
        return self

    def predict(self, p: NDArray[np.float64]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = p.argmax(1)
        return found

    def decision_function(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        return class_scores(p, self.method)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def _measures(
    p: NDArray[np.float64], targets: NDArray[np.int64], weights: NDArray[np.float64] | None
) -> dict[str, float]:
    classes = np.arange(p.shape[1])
    scored = p[:, 1] if p.shape[1] == 2 else p
    bins = reliability(p.max(1), p.argmax(1) == targets, weights=weights)
    return {
        "log_loss": float(log_loss(targets, p, labels=classes, sample_weight=weights)),
        "brier": float(brier_score_loss(targets, scored, labels=classes, sample_weight=weights)),
        "ece": expected_calibration_error(bins),
    }
