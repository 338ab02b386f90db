"""Outputs of a model as answers that can be compared with the targets: one entry for each kind of task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.training import resolve_loss

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.core.config import Config
    from workbench.tasks import Task
    from workbench.tasks.split import Split

__all__ = ["Answers", "answers_of", "truth_of"]

LOGIT_LOSSES = frozenset({"cross_entropy"})
"""Losses of a classification whose outputs are logits, so that their softmax is a probability."""


@dataclass(frozen=True, eq=False)
class Answers:
    """values: what was predicted: class indices (rows,), 0 and 1 (rows, labels), or numbers (rows, outputs) in the target's
    unit. probabilities: of each class or label, (rows, classes), float64; None if the trial's loss gives none."""

    values: NDArray[Any]
    probabilities: NDArray[np.float64] | None = None


def answers_of(task: Task, config: Config, outputs: Tensor) -> Answers:
    """What a model's outputs (rows, outputs) say. config: of its trial; its loss decides whether they are probabilities."""
    return _ANSWERS[task.kind](task, config, outputs)


def truth_of(task: Task, rows: Split) -> NDArray[Any]:
    """The targets of some rows in the form of `Answers.values`."""
    return rows.y.cpu().numpy() if task.classes is not None else _in_unit(task, rows.y)


def _classes(task: Task, config: Config, outputs: Tensor) -> Answers:
    likely = outputs.argmax(-1).cpu().numpy()
    if resolve_loss(config, task.kind).loss not in LOGIT_LOSSES:
        return Answers(likely)
    return Answers(likely, outputs.double().softmax(-1).cpu().numpy())


def _numbers(task: Task, config: Config, outputs: Tensor) -> Answers:
    return Answers(_in_unit(task, outputs))


def _in_unit(task: Task, values: Tensor) -> NDArray[Any]:
    numbers = np.asarray(task.decode(values), np.float64)
    return numbers.reshape(len(numbers), -1)


_ANSWERS: dict[str, Callable[[Task, Config, Tensor], Answers]] = {
    "classification": _classes,
    "regression": _numbers,
}
