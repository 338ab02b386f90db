"""Tables about wrong answers, computed from arrays: confusion, scores by class, residuals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["by_class", "by_label", "confusion_matrix", "label_counts", "residual_summary"]


def confusion_matrix(truth: NDArray[Any], predicted: NDArray[Any], labels: Sequence[Any]) -> pd.DataFrame:
    """Counts of rows by true class (rows of the table) and predicted class (columns). truth, predicted: class indices (rows,)."""
    size = len(labels)
    counts = np.bincount(truth * size + predicted, minlength=size * size).reshape(size, size)
    return pd.DataFrame(counts, pd.Index(labels, name="true"), pd.Index(labels, name="predicted"))


def by_class(confusion: pd.DataFrame) -> pd.DataFrame:
    """Scores of each class, as `sklearn.metrics.classification_report`: support, predicted, precision, recall, f1.

    support: rows of the class. predicted: rows that were taken for it. What is not defined is NaN: the precision of a class
    that was never predicted, the recall of one without rows, the F1 of one with neither.
    """
    counts = confusion.to_numpy()
    hits, support, predicted = np.diag(counts), counts.sum(1), counts.sum(0)
    return _scores(hits, support, predicted, pd.Index(confusion.index, name="class"))


def label_counts(truth: NDArray[Any], predicted: NDArray[Any], labels: Sequence[str]) -> pd.DataFrame:
    """Of each label, which a row has or has not, the four counts of rows: true_negative, false_positive, false_negative,
    true_positive. truth, predicted: (rows, labels), true or false."""
    counts = {
        "true_negative": (~truth & ~predicted).sum(0), "false_positive": (~truth & predicted).sum(0),
        "false_negative": (truth & ~predicted).sum(0), "true_positive": (truth & predicted).sum(0),
    }  # fmt: skip
    return pd.DataFrame(counts, index=pd.Index(labels, name="label"))


def by_label(counts: pd.DataFrame) -> pd.DataFrame:
    """Scores of each label, with the columns of `by_class`. counts: as `label_counts`."""
    hits = counts["true_positive"].to_numpy()
    support, predicted = hits + counts["false_negative"].to_numpy(), hits + counts["false_positive"].to_numpy()
    return _scores(hits, support, predicted, counts.index)


def residual_summary(truth: NDArray[Any], predicted: NDArray[Any], names: Sequence[str]) -> pd.DataFrame:
    """How far numbers (rows, outputs) are off, one row an output, in its unit: rows, bias, rmse, mae, worst.

    bias: the mean of prediction minus truth, above 0 where the predictions are too high. worst: the largest |residual|.
    """
    error = predicted - truth
    return pd.DataFrame(
        {
            "rows": len(error), "bias": error.mean(0), "rmse": np.sqrt(np.square(error).mean(0)), "mae": np.abs(error).mean(0),
            "worst": np.abs(error).max(0),
        },
        index=pd.Index(names, name="output"),
    )  # fmt: skip


def _scores(hits: NDArray[Any], support: NDArray[Any], predicted: NDArray[Any], index: pd.Index[Any]) -> pd.DataFrame:
    columns = {
        "support": support, "predicted": predicted, "precision": _share(hits, predicted), "recall": _share(hits, support),
        "f1": _share(2 * hits, support + predicted),
    }  # fmt: skip
    return pd.DataFrame(columns, index=index)


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = part / np.where(whole > 0, whole, np.nan)
    return found
