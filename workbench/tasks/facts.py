"""What a task tells about itself: the baseline, and a table of facts."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch

if TYPE_CHECKING:
    from workbench.tasks.task import Task

__all__ = ["Baseline", "baseline_of", "facts_of"]

SHOWN = 12
"""So many classes, or target columns, are told one by one."""

CELL = 48
"""Characters that pandas shows of a cell, less a margin."""


@dataclass(frozen=True)
class Baseline:
    """What a model achieves on the validation split that ignores its input.

    metric: accuracy of the most frequent class, or R² of the training mean (0 or just below; NaN if the validation
    targets are all equal, as R² then is). loss: cross-entropy of the training split's class shares, or squared error of
    its mean, in standardised target units.
    """

    metric: float
    loss: float
    description: str

    def __repr__(self) -> str:
        return f"Baseline(metric={self.metric:.3f}, loss={self.loss:.3f}, {self.description!r})"


def baseline_of(task: Task) -> Baseline:
    """The score to beat on the validation split."""
    train, validation = task.train.y, task.validation.y.double()
    if task.classes is None:
        loss = float(validation.square().mean())  # the training mean is 0 in standardised units
        total = (validation - validation.mean(0)).square().sum(0)
        score = float((1 - validation.square().sum(0) / total).mean()) if bool((total > 0).all()) else float("nan")
        return Baseline(score, loss, "always answers with the training mean")
    shares = torch.bincount(train, minlength=task.output_size).double() / len(train)
    top = int(shares.argmax())
    accuracy = float((task.validation.y == top).double().mean())
    return Baseline(accuracy, float(-shares.log()[task.validation.y].mean()), f"always answers {task.classes[top]!r}")


def facts_of(task: Task) -> pd.DataFrame:
    """One fact a row; index: kind, rows, inputs, metric, baseline, classes or target; column: value (text).

    A long list of classes goes over several rows, whose index is empty, as pandas cuts long cells off.
    """
    sizes = ", ".join(f"{size:,} {name}" for name, size in task.sizes.items())
    baseline = task.baseline
    score = "accuracy" if task.classes is not None else "R²"
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
    facts += [(name if first else "", line) for first, line in zip([True] + [False] * len(lines), lines, strict=False)]
    return pd.DataFrame({"value": [value for _, value in facts]}, index=[fact for fact, _ in facts])
