"""How well predicted probabilities agree with what happens: reliability bins, expected calibration error, Brier score."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["BINS", "brier_score", "expected_calibration_error", "reliability"]

BINS = 10


def reliability(
    probabilities: NDArray[Any], happened: NDArray[Any], bins: int = BINS, weights: NDArray[Any] | None = None
) -> pd.DataFrame:
    """Compare probabilities with frequencies, in bins of equal width from 0 to 1.

    probabilities: (rows,), each above the lower edge of its bin and up to its upper edge. happened: (rows,), whether the event
    occurred. For a classification these are the probability of the predicted class and whether the prediction is right
    (DeGroot and Fienberg 1983; Guo et al. 2017). Rows whose probability is NaN are left out. weights: (rows,); `rows` is then
    their sum, and means and shares are weighted.

    Returns one row a bin: low, high, rows, confidence (mean probability), accuracy (share in which the event occurred) and
    gap = accuracy - confidence; the last three are NaN in an empty bin.
    """
    known = np.isfinite(probabilities)
    chances, events = np.asarray(probabilities, np.float64)[known], np.asarray(happened, np.float64)[known]
    edges = np.linspace(0.0, 1.0, bins + 1)
    places = np.searchsorted(edges[1:-1], chances)
    each = np.ones(len(chances)) if weights is None else np.asarray(weights, np.float64)[known]
    rows = np.bincount(places, None if weights is None else each, minlength=bins)
    counts = np.where(rows > 0, rows, np.nan)
    confidence = np.bincount(places, each * chances, minlength=bins) / counts
    accuracy = np.bincount(places, each * events, minlength=bins) / counts
    return pd.DataFrame(
        {
            "low": edges[:-1], "high": edges[1:], "rows": rows, "confidence": confidence, "accuracy": accuracy,
            "gap": accuracy - confidence,
        }
    )  # fmt: skip


def expected_calibration_error(bins: pd.DataFrame) -> float:
    """The mean over the rows of |accuracy - confidence| of their bin (Naeini et al. 2015; Guo et al. 2017, equation 3).

    bins: of `reliability`. It depends on the number of bins, and is above 0 even for perfect probabilities when there are few
    rows. NaN without rows.
    """
    rows = float(bins["rows"].sum())
    return float((bins["rows"] * bins["gap"].abs()).sum() / rows) if rows else math.nan


def brier_score(probabilities: NDArray[Any], targets: NDArray[Any]) -> float:
    """The mean squared error of probabilities, as `sklearn.metrics.brier_score_loss` gives it (Brier 1950).

    probabilities: (rows, classes), with class indices (rows,) as targets: the sum over the classes, from 0 to 2, of two
    classes half of it, from 0 to 1.
    """
    truth = np.eye(probabilities.shape[1])[targets]
    error = float(np.square(probabilities - truth).sum(1).mean())
    return error / 2 if probabilities.shape[1] == 2 else error
