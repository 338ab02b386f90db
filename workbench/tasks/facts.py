"""Facts about a task: the baseline, and a table."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from workbench.core.registry import METRICS

if TYPE_CHECKING:
    from workbench.tasks.task import Task

__all__ = ["Baseline", "baseline_of", "facts_of"]

SHOWN = 12
"""So many classes, or target columns, are listed one by one."""

CELL = 48
"""Characters that pandas shows of a cell, less a margin."""


@dataclass(frozen=True)
class Baseline:
    """What a model achieves on the validation split that ignores its input.

    metric: the task's own, whichever it is, of outputs that are the logarithms of the training split's class shares, which
    is the accuracy of its most frequent class, or its mean (R² is then 0 or just below); NaN where the metric is not
    defined on them, as R² is not on equal targets. loss: cross-entropy of these shares, or squared error of the mean, in
    standardised target units.
    """

    metric: float
    loss: float
    description: str

    def __repr__(self) -> str:
        return f"Baseline(metric={self.metric:.3f}, loss={self.loss:.3f}, {self.description!r})"


def baseline_of(task: Task) -> Baseline:
    """The score to beat on the validation split."""
    train, validation = task.train.y, task.validation.y
    if not len(validation):
        return Baseline(math.nan, math.nan, "there are no validation rows")
    if task.classes is None:
        validation = validation.double()  # the mean of equal targets is then the same number, and their R² not defined
        outputs = torch.zeros_like(validation)  # the training mean, in standardised units
        loss = float(validation.square().mean())
        return Baseline(_score(task.metric, outputs, validation), loss, "always answers with the training mean")
    shares = torch.bincount(train, minlength=task.output_size).double() / len(train)
    outputs = shares.log().float().expand(len(validation), -1)
    says = f"always answers {task.classes[int(shares.argmax())]!r}"
    return Baseline(_score(task.metric, outputs, validation), float(-shares.log()[validation].mean()), says)


def _score(metric: str, outputs: Tensor, targets: Tensor) -> float:
    """A metric, NaN where it is not defined on such outputs; one of the user's own may raise whatever it likes."""
    try:
        with torch.no_grad():
            score = float(METRICS[metric].value.function(outputs, targets))
    except Exception:
        return math.nan
    return score if math.isfinite(score) else math.nan


def facts_of(task: Task) -> pd.DataFrame:
    """One fact a row; index: kind, rows, inputs, metric, baseline, classes or target, warning; column: value (text).

    A long list of classes, or a warning, goes over several rows, whose index is empty, as pandas cuts long cells off.
    """
    sizes = ", ".join(f"{size:,} {name}" for name, size in task.sizes.items())
    baseline = task.baseline
    label = METRICS[task.metric].label if task.metric in METRICS else task.metric
    score = label.lower() if label[1:].islower() else label  # an abbreviation keeps its capitals
    facts = [
        ("kind", task.kind + (f", as {task.kind_rule}" if task.kind_rule else "")),
        ("rows", sizes + (" (sealed)" if task.sizes["test"] else "")),
        ("inputs", " x ".join(map(str, task.input_shape)) + (" image" if task.is_image else "")),
        ("metric", task.metric),
        ("baseline", f"{score} {baseline.metric:.3f}, loss {baseline.loss:.3f}"),
        ("", baseline.description),
    ]
    if task.classes is None:
        columns = zip(task.target_mean.tolist(), task.target_std.tolist(), strict=True)
        items = [f"mean {mean:.4g} deviation {spread:.4g}" for mean, spread in columns]
        name, intro = "target", "standardised by "
    else:
        counts = torch.bincount(task.train.y, minlength=task.output_size).tolist()
        items = [f"{label} ({count})" for label, count in zip(task.classes, counts, strict=True)]
        name, intro = "classes", f"{task.output_size}, with training rows: "
    more = f", and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    whole = [item.replace(" ", "\N{NO-BREAK SPACE}") for item in items[:SHOWN]]  # lines break between items
    lines = [line.replace("\N{NO-BREAK SPACE}", " ") for line in textwrap.wrap(intro + ", ".join(whole) + more, CELL)]
    warned = [("warning", textwrap.wrap(warning, CELL)) for warning in task.warnings]
    for fact, cells in [(name, lines), *warned]:
        facts += [("" if index else fact, cell) for index, cell in enumerate(cells)]
    return pd.DataFrame({"value": [value for _, value in facts]}, index=[fact for fact, _ in facts])
