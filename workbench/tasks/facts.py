"""Facts about a task: the baseline, and a table."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from workbench.core.direction import selected_by
from workbench.core.errors import ModelError
from workbench.core.kinds import KINDS
from workbench.core.registry import LOSSES, METRICS
from workbench.core.text import in_sentence, rounded
from workbench.metrics.evaluation import evaluate_metric
from workbench.metrics.predictions import predictions_of

if TYPE_CHECKING:
    from workbench.tasks.fold_data import Fold
    from workbench.tasks.task import Task

__all__ = ["Baseline", "baseline_of", "facts_of"]

SHOWN = 12
"""So many classes, or target columns, are listed one by one."""

CELL = 48
"""Characters that pandas shows of a cell, less a margin."""


@dataclass(frozen=True)
class Baseline:
    """What a model achieves on the validation split that ignores its input.

    metric: the headline metric of a constant prediction: the training split's class shares, the share of each label, or the
    training mean, all weighted as the rows are (R² is then 0 or just below); NaN where the metric is not defined on it, as R²
    is not on equal targets.
    loss: the default loss of the kind of task: cross-entropy of these shares, Poisson deviance of the mean, or the squared
    error of the mean in the units that losses see (standardised by default).
    """

    metric: float
    loss: float
    description: str

    def __repr__(self) -> str:
        return f"Baseline(metric={rounded(self.metric, 4)}, loss={rounded(self.loss, 4)}, {self.description!r})"


def baseline_of(task: Task | Fold) -> Baseline:
    """The score to beat on the validation split, the mean over the folds where there are some."""
    if task.folds is not None:
        found = [baseline_of(fold) for fold in task.folds.members]
        metric, loss = fmean(one.metric for one in found), fmean(one.loss for one in found)
        return Baseline(metric, loss, found[0].description)
    if not len(task.validation):
        return Baseline(math.nan, math.nan, "there are no validation rows")
    outputs, description = _constant(task)
    y, target, weight = task.validation.y, task.validation.target, task.validation.weight
    outputs = outputs.expand(len(y), *outputs.shape[1:])
    if not KINDS[task.kind].has_classes:
        target = target.double()
    predictions = predictions_of(task, "auto", outputs)
    if task.kind == "regression":  # the mean of equal targets is then the same number, and their R² not defined
        predictions = _mean(task.train.target, task.train.weight).expand(target.shape)
    with torch.no_grad():
        loss = LOSSES[KINDS[task.kind].loss].value.function
        more = {"label_smoothing": 0.0, "class_weight": None} if KINDS[task.kind].has_classes else {}
        more = {"class_weight": None} if task.kind == "multilabel" else more
        by_row = loss(outputs, y.to(outputs.dtype) if y.is_floating_point() else y, **more)
    mean = by_row.mean() if weight is None else (by_row * weight).sum() / weight.sum()
    return Baseline(_score(task.metric, predictions, target, weight), float(mean), description)


def _constant(task: Task | Fold) -> tuple[Tensor, str]:
    """Outputs (1, ...) of a model that ignores its input, and what it answers in words."""
    y, weight = task.train.y, task.train.weight
    if task.classes is not None:
        rows = None if weight is None else weight.view(-1, *[1] * (y.dim() - 1)).expand(y.shape).flatten()
        counts = torch.bincount(y.flatten(), rows, minlength=task.output_size).double()
        shares = (counts / counts.sum()).clamp_min(1e-12)  # a class may have rows of weight 0 alone
        answer = task.classes[int(shares.argmax())]
        return shares.log().view(1, -1, *[1] * len(task.positions)).expand(
            1, *task.output_shape
        ), f"always answers {answer!r}"
    mean = _mean(y, weight)[None]
    if task.kind == "multilabel":
        return torch.logit(mean, 1e-12), "always answers with the share of each label in the training rows"
    if task.kind == "count":
        return mean.log(), "always answers with the training mean"
    return mean, "always answers with the training mean"


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """The mean over the rows (outputs,), float64."""
    return values.double().mean(0) if weight is None else (values.double() * weight[:, None]).sum(0) / weight.sum()


def _score(metric: str, predictions: Tensor, targets: Tensor, weight: Tensor | None) -> float:
    """A metric, NaN where it is not known, or not defined on such predictions."""
    if metric not in METRICS:
        return math.nan
    try:
        score = evaluate_metric(metric, predictions, targets, weight)
    except ModelError:  # one of the user's own may raise whatever it likes
        return math.nan
    return score if math.isfinite(score) else math.nan


def _inputs(task: Task) -> list[tuple[str, str]]:
    """The shape of a row and how it is scaled, one line an input."""
    shapes = task.input_shape if isinstance(task.input_shape, Mapping) else {"": task.input_shape}
    lines = []
    for name, shape in shapes.items():
        size = " x ".join(map(str, shape)) + (" image" if task.is_image else "")
        lines.append(f"{name}: {size}" if name else size)
    lines += [line for words in task.schema.scaling for line in textwrap.wrap(words, CELL)]
    return [("" if index else "inputs", line) for index, line in enumerate(lines)]


def facts_of(task: Task) -> pd.DataFrame:
    """One fact a row; index: kind, rows, inputs, metrics, best epoch by,
    baseline, classes, labels or target, warning; column: value (text).

    A long list of classes, or a warning, goes over several rows, whose index is empty, as pandas cuts long cells off.
    """
    sizes = ", ".join(f"{size:,} {name}" for name, size in task.sizes.items())
    if task.folds is not None:
        sizes = f"fold 1 of {len(task.folds)}: {sizes}"
    baseline = task.baseline
    label = METRICS[task.metric].label if task.metric in METRICS else task.metric
    kind = textwrap.wrap(task.kind + (f", as {task.kind_rule}" if task.kind_rule else ""), CELL)
    facts = [
        *((("" if index else "kind"), line) for index, line in enumerate(kind)),
        ("rows", sizes + (" (sealed)" if task.sizes["test"] else "")),
        ("split", f"{task.split}"),
        *_inputs(task),
        ("metrics", ", ".join(task.metrics)),
        ("best epoch by", selected_by(task.monitor)),
        ("baseline", f"{in_sentence(label)} {rounded(baseline.metric, 4)}, loss {rounded(baseline.loss, 4)}"),
        ("", baseline.description),
    ]
    if task.kind == "multilabel":
        names = task.schema.target_names or [str(index) for index in range(task.output_size)]
        counts = task.train.y.sum(0).long().tolist()
        items = [f"{label} ({count})" for label, count in zip(names, counts, strict=True)]
        name, intro = "labels", f"{task.output_size}, with training rows: "
    elif task.classes is None:
        how = task.target.name
        columns = zip(task.train.target.mean(0).tolist(), task.train.target.std(0, correction=0).tolist(), strict=True)
        items = [f"mean {mean:.4g} deviation {spread:.4g}" for mean, spread in columns]
        name, intro = "target", {"standardize": "standardised by ", "none": "as it is, "}.get(how, f"by {how}, ")
    else:
        counts = torch.bincount(task.train.y.flatten(), minlength=task.output_size).tolist()
        items = [f"{label} ({count})" for label, count in zip(task.classes, counts, strict=True)]
        name, intro = "classes", f"{task.output_size}, with training rows: "
    more = f", and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    whole = [item.replace(" ", "\N{NO-BREAK SPACE}") for item in items[:SHOWN]]  # lines break between items
    lines = [line.replace("\N{NO-BREAK SPACE}", " ") for line in textwrap.wrap(intro + ", ".join(whole) + more, CELL)]
    warned = [("warning", textwrap.wrap(warning, CELL)) for warning in task.warnings]
    for fact, cells in [(name, lines), *warned]:
        facts += [("" if index else fact, cell) for index, cell in enumerate(cells)]
    return pd.DataFrame({"value": [value for _, value in facts]}, index=[fact for fact, _ in facts])
