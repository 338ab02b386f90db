"""The rules on where a score stands: against the runner-up, and against knowing nothing."""

from __future__ import annotations

import math

import numpy as np

from workbench.core.text import counted
from workbench.methods.diagnosis.case import Case, Finding, Prescription
from workbench.methods.diagnosis.measures import BEYOND_NOISE, error_of_mean, seeds
from workbench.methods.diagnosis.prescriptions import learn_more

__all__ = ["at_baseline", "noise"]

FEW_SEEDS, MORE_SEEDS = 5, 4
SHORT_RUN = 3
"""Fewer epochs than this are too few for any rule about curves."""


def noise(case: Case) -> Finding | None:
    """The configuration leads, but by less than chance makes of so few seeds."""
    rival = case.rival
    if not case.leads or rival is None or not case.scores:
        return None
    own, other = np.array(case.scores), np.array(rival.scores)
    if min(len(own), len(other)) >= FEW_SEEDS:
        return None
    lead = abs(float(own.mean() - other.mean()))
    error = math.hypot(*(error_of_mean(case, values) for values in (own, other)))
    if not lead < BEYOND_NOISE * error:
        return None
    evidence = (
        f"this configuration leads that of trial {rival.trial} by {lead:.2g} {case.metric}, {seeds(own)} against {seeds(other)}",
        f"a difference of up to {BEYOND_NOISE * error:.2g} would be chance ({case.rows} validation rows, and the seeds' spread)",
    )
    says = f"train {MORE_SEEDS} more seeds of both configurations before believing the order"
    prescription = Prescription(says, "seeds", seeds=MORE_SEEDS, rival=rival.trial)
    return Finding("noise", "the lead is within the noise: too few seeds", evidence, prescription, 0.2)


def at_baseline(case: Case) -> Finding | None:
    """The score is not better than that of a model that ignores its input."""
    if case.is_above_baseline:
        return None
    n = len(case.epoch)
    scores = f"({case.score:.3g} against {case.baseline_score:.3g})"
    title = f"no better than the baseline {scores} after {counted(n, 'epoch')}"
    if n < SHORT_RUN:
        title = f"too short to diagnose: {counted(n, 'epoch')}, and not yet better than the baseline {scores}"
    evidence = (
        f"its best validation {case.metric} is {case.score:.3g}; a model that ignores its input has {case.baseline_score:.3g}",
        f"no rule about curves or layers finds anything in its {counted(n, 'epoch')}",
    )
    if n >= SHORT_RUN and case.classes is not None and case.ranks:
        ranked = "its probabilities do rank the validation rows by their class, which this metric does not see"
        says = (
            "measure it by a metric that sees the order of the rows: make the task with metrics='roc_auc' or "
            "'average_precision', or choose another threshold between two classes with bench.threshold"
        )
        return Finding("at_baseline", title, (*evidence, ranked), Prescription(says, "code"), 0.3)
    return Finding("at_baseline", title, evidence, learn_more(case), 0.3)
