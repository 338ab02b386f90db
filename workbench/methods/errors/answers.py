"""Outputs of a model as answers that can be compared with the targets: one entry for each kind of task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.metrics.predictions import gives_probabilities

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.core.config import Config
    from workbench.tasks import TaskSchema
    from workbench.tasks.split_rows import Rows

__all__ = ["Answers", "answers_of", "truth_of"]


@dataclass(frozen=True, eq=False)
class Answers:
    """values: what was predicted: class indices (rows,) or (rows, *positions), 0 and 1 (rows, labels), or numbers
    (rows, outputs) in the target's unit. probabilities: of each class or label, (rows, classes, *positions), float64; None if
    the trial's loss gives none."""

    values: NDArray[Any]
    probabilities: NDArray[np.float64] | None = None


def answers_of(schema: TaskSchema, config: Config, outputs: Tensor) -> Answers:
    """What a model's outputs (rows, ...) say. schema: of its task. config: of its trial, whose loss decides how they become
    predictions."""
    return _ANSWERS[schema.kind](schema, config, outputs)


def truth_of(rows: Rows) -> NDArray[Any]:
    """The targets of some rows in the form of `Answers.values`."""
    truth: NDArray[Any] = rows.target.cpu().numpy()
    return truth


def _classes(schema: TaskSchema, config: Config, outputs: Tensor) -> Answers:
    """Also of a dense task, (rows, classes, *positions), whose answers are (rows, *positions)."""
    likely = outputs.argmax(1).cpu().numpy()
    return Answers(likely, _probabilities(schema, config, outputs))


def _labels(schema: TaskSchema, config: Config, outputs: Tensor) -> Answers:
    labels = np.asarray(schema.decode(outputs, config.loss))
    return Answers(labels, _probabilities(schema, config, outputs))


def _numbers(schema: TaskSchema, config: Config, outputs: Tensor) -> Answers:
    numbers = schema.predictions(outputs, config.loss).cpu().numpy()
    return Answers(numbers.reshape(len(numbers), -1))


def _probabilities(schema: TaskSchema, config: Config, outputs: Tensor) -> NDArray[np.float64] | None:
    if not gives_probabilities(schema.kind, config.loss):
        return None
    found: NDArray[np.float64] = schema.predictions(outputs, config.loss).cpu().numpy()
    return found


_ANSWERS: dict[str, Callable[[TaskSchema, Config, Tensor], Answers]] = {
    "classification": _classes, "multilabel": _labels, "dense": _classes, "regression": _numbers, "count": _numbers,
}  # fmt: skip
