"""How a model turns its probabilities into answers: their calibration, and the threshold between two classes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

__all__ = ["KIND", "OUT_OF_FOLD", "VALIDATION", "Calibration", "Decision", "Threshold", "class_scores"]

KIND = "decision"
"""The kind of the findings in the log that hold the decision of a trial's model; the last one counts."""
VALIDATION, OUT_OF_FOLD = "validation rows", "out-of-fold rows"
"""The rows that decisions are chosen on, in words. Of a cross-validated trial, the validation rows of all folds, each with the
answer of the model that did not train on it."""
SMALLEST = 1e-12
"""Probabilities are kept this far from 0 and 1 before their logarithms are taken."""


def class_scores(probabilities: NDArray[np.float64], method: str) -> NDArray[np.float64]:
    """What a calibration works on, of probabilities (rows, classes).

    The log odds of the second class (rows,) for two classes; for more, the log odds of each class, or for "temperature" the
    logarithms of the probabilities, (rows, classes).
    """
    p = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    if p.shape[1] == 2:
        found: NDArray[np.float64] = np.log(p[:, 1]) - np.log(p[:, 0])
        return found
    return np.log(p) if method == "temperature" else np.log(p) - np.log1p(-p)


@dataclass(frozen=True)
class Calibration:
    """A fitted calibration of probabilities, as scikit-learn's `CalibratedClassifierCV` makes it.

    method: "temperature", "sigmoid" or "isotonic". rows: how many rows it was fitted on; on: which ones, in words. parameters:
    plain numbers: the inverse temperature as `beta`; or by class (for two classes the second one only) `a` and `b` of
    1/(1 + exp(a s + b)), or the points `x`, `y` of the isotonic function, of the scores of `class_scores`.
    """

    method: str
    rows: int
    parameters: Mapping[str, Any]
    on: str = VALIDATION

    def probabilities(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probabilities (rows, classes) of uncalibrated ones."""
        scores, two = class_scores(p, self.method), p.shape[1] == 2
        if self.method == "temperature":
            logits = np.stack([-scores, scores], 1) if two else scores
            scaled: NDArray[np.float64] = softmax(self.parameters["beta"] * logits, axis=1)
            return scaled
        columns = scores[:, None] if two else scores
        each = np.stack([self._of_class(index, column) for index, column in enumerate(columns.T)], 1)
        if two:
            return np.concatenate([1 - each, each], 1)
        total = each.sum(1, keepdims=True)
        shares: NDArray[np.float64] = np.divide(each, total, out=np.full_like(each, 1 / p.shape[1]), where=total > 0)
        return shares

    def _of_class(self, index: int, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64]
        if self.method == "sigmoid":
            found = expit(-(self.parameters["a"][index] * scores + self.parameters["b"][index]))
        else:
            found = np.interp(scores, self.parameters["x"][index], self.parameters["y"][index])
        return found

    @property
    def description(self) -> str:
        return f"probabilities calibrated on {self.rows:,} {self.on} ({self.method})"


@dataclass(frozen=True)
class Threshold:
    """A threshold between two classes: the positive one is predicted if its probability is at least `value`.

    positive: its index among the classes; label: its name. by: the score that the threshold was chosen by, in words. rows:
    how many rows it was chosen on; on: which ones, in words.
    """

    value: float
    positive: int
    label: str
    by: str
    rows: int
    on: str = VALIDATION

    def decides(self, p: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which rows (rows,) of probabilities (rows, 2) are predicted positive."""
        found: NDArray[np.bool_] = p[:, self.positive] >= self.value
        return found

    @property
    def description(self) -> str:
        return (
            f"{self.label!r} from a probability of {self.value:.4g} on, chosen on {self.rows:,} {self.on} ({self.by})"
        )


@dataclass(frozen=True)
class Decision:
    """The calibration and the threshold of a model, both None for a model that decides for the most probable class."""

    calibration: Calibration | None = None
    threshold: Threshold | None = None

    def __bool__(self) -> bool:
        return self.calibration is not None or self.threshold is not None

    def probabilities(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probabilities (rows, classes) that the model states, of uncalibrated ones."""
        return p if self.calibration is None else self.calibration.probabilities(p)

    def decided(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shares (rows, classes) whose largest entry is the decision, of uncalibrated probabilities.

        The probabilities that the model states; with a threshold t, the positive class has the log odds of t less, so that the
        order of the rows stays. Metrics that read classes or the order of rows take them like any probabilities.
        """
        stated = self.probabilities(p)
        if self.threshold is None:
            return stated
        positive, t = self.threshold.positive, min(max(self.threshold.value, SMALLEST), 1 - SMALLEST)
        logs: NDArray[np.float64] = np.log(np.clip(stated, SMALLEST, 1.0))
        logs[:, positive] -= math.log(t) - math.log1p(-t)
        found: NDArray[np.float64] = softmax(logs, axis=1)
        yes = self.threshold.decides(stated)
        odd = (found.argmax(1) == positive) != yes  # rows that lie on the threshold, but for rounding
        found[odd, 1 - positive] = 0.5
        found[odd, positive] = np.nextafter(0.5, np.where(yes, 1.0, 0.0))[odd]
        return found

    @property
    def description(self) -> str:
        """Both in words, "" for neither."""
        parts = [part.description for part in (self.calibration, self.threshold) if part is not None]
        return "; ".join(parts)

    def carried_from(self, trial: int) -> Decision:
        """The same decision for another model. trial: whose rows it was chosen on."""
        parts = (
            None if part is None else replace(part, on=f"{part.on} of trial {trial}")
            for part in (self.calibration, self.threshold)
        )
        return Decision(*parts)  # type: ignore[arg-type]  # one of each, in their order

    def to_json(self) -> str:
        """As text, for a file or the log."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> Decision:
        """The decision that `to_json` wrote. Raises: KeyError, TypeError, ValueError if the text is none."""
        state = json.loads(text)
        calibration, threshold = state["calibration"], state["threshold"]
        return cls(
            None if calibration is None else Calibration(**calibration),
            None if threshold is None else Threshold(**threshold),
        )
