"""The kinds of task: what their targets are, and which loss and metric they have by default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["KINDS", "KindName", "TaskKind"]

KindName = Literal["classification", "regression", "multilabel", "count", "dense"]


@dataclass(frozen=True)
class TaskKind:
    """One kind of task.

    meaning: what its targets are. loss, metric: the default ones, by name. has_classes: whether a target is one of several
    classes.
    """

    meaning: str
    loss: str
    metric: str
    has_classes: bool = False


KINDS: dict[str, TaskKind] = {
    "classification": TaskKind("one class for each row", "cross_entropy", "accuracy", has_classes=True),
    "regression": TaskKind("one number or several for each row", "mse", "r2"),
    "multilabel": TaskKind("several labels for each row, each 0 or 1", "binary_cross_entropy", "f1"),
    "count": TaskKind("whole numbers from 0 on, such as events", "poisson", "poisson_deviance"),
    "dense": TaskKind(
        "a class for each position of a row, such as a pixel", "cross_entropy", "mean_iou", has_classes=True
    ),
}
