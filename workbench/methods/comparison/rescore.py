"""Metrics of earlier trials, computed later from their models."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from workbench.core.errors import ConfigError, ModelError, Problem, WorkbenchError, nearest
from workbench.core.registry import METRICS
from workbench.log.rescored import KIND
from workbench.metrics.evaluation import evaluate_metric, takes_weights
from workbench.metrics.predictions import gives_probabilities
from workbench.runs.measured import measured
from workbench.runs.publisher import LogChanged
from workbench.runs.restore import whole
from workbench.runs.session import Session
from workbench.tasks.options import metric_names

__all__ = ["rescore"]

TRAINED = ("completed", "early_stopped", "stopped", "pruned")
"""States of trials that have a model."""


def rescore(session: Session, metrics: str | Sequence[str], trials: Sequence[int] | None) -> pd.DataFrame:
    """Compute metrics of trials at their best epoch and record them; see `Workbench.rescore`."""
    task = session.task
    names = metric_names(metrics)
    suited = METRICS.suited_to(task.kind)
    for name in names:
        if name not in suited:
            known = ", ".join(map(repr, suited))
            message = f"metric {name!r} does not suit a {task.kind} task; there are {known}{nearest(name, suited)}"
            raise ConfigError([Problem("metrics", name, message)])
        if task.train.weight is not None and not takes_weights(METRICS[name].value):
            message = (
                f"metric {name!r} cannot weigh rows, and the task has weights=; give its function a parameter `weights`"
            )
            raise ConfigError([Problem("metrics", name, message)])
    frame = session.log.trials(task_fingerprint=task.fingerprint)
    usable = frame[frame["state"].isin(TRAINED) & (frame["source"] != "refit") & (frame["best_epoch"] > 0)]
    if trials is None:
        numbers = [int(trial) for trial in usable["trial"]]
    elif isinstance(trials, (list, tuple)) and trials:
        numbers = [whole("trial", trial) for trial in trials]
    else:
        message = f"trials={trials!r}: give a list of the numbers of trials, such as [3, 7], or None for all"
        raise ConfigError([Problem("trials", trials, message)])
    rows = []
    for trial in numbers:
        try:
            epoch, found = _scores(session, trial, names)
            data = {"trial": trial, "epoch": epoch, "metrics": {name: _plain(value) for name, value in found.items()}}
            session.log.add_finding(KIND, data, task_fingerprint=task.fingerprint)
            rows.append(
                {"trial": trial, "epoch": epoch, **{f"val_{name}": found[name] for name in names}, "reason": ""}
            )
        except WorkbenchError as error:
            if trials is not None:
                raise
            rows.append({"trial": trial, "epoch": 0, "reason": str(error)})
    session.publish([LogChanged()])
    return pd.DataFrame(rows, columns=["trial", "epoch", *(f"val_{name}" for name in names), "reason"])


def _scores(session: Session, trial: int, names: Sequence[str]) -> tuple[int, dict[str, float]]:
    """The best epoch, and the metrics of its model on the validation rows; the means over the folds where there are some."""
    task = session.task
    session.recall.refits.check_measured(trial, "a validation metric")
    pairs = [(model, rows) for model, rows, *_ in measured(session.recall, trial)]
    for model, _ in pairs:
        if model.mismatch:
            raise ModelError(f"trial {trial} cannot be measured again: {model.mismatch}")
    loss = pairs[0][0].config.loss
    for name in names:
        if METRICS[name].value.probabilities and not gives_probabilities(task.kind, loss):
            message = f"loss={loss!r} of trial {trial} gives no probabilities, which the metric {name!r} needs"
            raise ConfigError([Problem("metrics", name, message)])
    found = {
        name: [evaluate_metric(name, model.uncalibrated(rows.x), rows.target, rows.weight) for model, rows in pairs]
        for name in names
    }
    return int(pairs[0][0].epoch or 0), {name: math.fsum(values) / len(values) for name, values in found.items()}


def _plain(value: float) -> float | None:
    """A number as JSON has it."""
    return value if math.isfinite(value) else None
