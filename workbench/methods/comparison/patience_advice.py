"""Advice on cost: what the trials of a task took and reached, and how long to wait for a better epoch."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.core.direction import Better
from workbench.core.errors import RunError
from workbench.core.events import TrialState
from workbench.log import UNRANKED, TrialLog
from workbench.methods.comparison.cost_figure import patience_curve
from workbench.methods.comparison.leaderboard import by_seed, pooled_variance
from workbench.methods.comparison.patience import Stops, suggest_patience
from workbench.ui.figures import NotebookFigure

if TYPE_CHECKING:
    from workbench.tasks import Task

__all__ = ["PatienceAdvice", "patience_advice"]


@dataclass(frozen=True)
class PatienceAdvice:
    """How long to wait for a better epoch, from the curves of a log.

    table: one row a patience, with saved (share of the epochs), best_kept and within_noise (shares of the trials) and
    metric_loss (mean). suggestion: the smallest patience with which 95% of the trials come within the noise of their best,
    None if none saves epochs at that price. reason: in words, with the numbers. trials: how many it rests on.
    """

    table: pd.DataFrame
    suggestion: int | None
    reason: str
    trials: int

    def figure(self) -> NotebookFigure:
        """Shares of trials kept and of epochs saved against the patience."""
        return patience_curve(self.table, self.suggestion, trials=self.trials)

    def __repr__(self) -> str:
        return f"<PatienceAdvice: {self.reason}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.reason)}</p>"

    def _repr_png_(self) -> bytes:
        return self.figure()._repr_png_()


def patience_advice(task: Task, log: TrialLog, *, better: Better, metric_label: str) -> PatienceAdvice:
    """The advice from all trials on a task that ran to their last epoch without early stopping. Raises: RunError, too few."""
    frame = log.trials(task_fingerprint=task.fingerprint)
    frame = frame[
        (frame["state"] == str(TrialState.COMPLETED)) & frame["patience"].isna() & frame["parent_epoch"].isna()
    ]
    frame = frame[~frame["source"].isin(UNRANKED) & (frame["metric"] == task.metric) & (frame["epochs_run"] > 1)]
    frame = frame[np.isfinite(frame["best_val_metric"].astype(float))]  # else there is nothing to come near to
    if frame.empty:
        raise RunError(
            "there is no trial that ran all its epochs without early stopping to learn a patience from; train some with "
            "patience=None, such as bench.search(...)"
        )
    curves = log.curves(*(int(trial) for trial in frame["trial"]))
    deltas = {int(trial): float(delta) for trial, delta in zip(frame["trial"], frame["min_delta"], strict=True)}
    scores = log.results.scores(task.fingerprint, task.metric)
    noise = _noise_over_seeds(scores[scores["trial"].isin(frame["trial"])])
    found: Stops = suggest_patience(curves, better=better, noise=noise, min_delta=deltas, metric_label=metric_label)
    return PatienceAdvice(found.table, found.suggestion, found.reason, len(frame))


# --------------------------------------------------------------------------------------------------------------------


def _noise_over_seeds(scores: pd.DataFrame) -> float | None:
    """The standard deviation of the best validation metric over the seeds of a configuration, pooled; None without replicates."""
    groups = by_seed(scores).groupby("configuration")["score"]
    variance, freedom = pooled_variance(groups.var(ddof=1).to_numpy(), groups.count().to_numpy())
    return math.sqrt(variance) if freedom >= 2 else None
