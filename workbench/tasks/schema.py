"""A task without its rows: shapes, classes, units and fitted preprocessing, as a model needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from workbench.core.errors import CheckpointError, TaskError, did_you_mean
from workbench.core.kinds import KINDS
from workbench.core.text import counted
from workbench.metrics.predictions import predictions_of
from workbench.tasks.inputs import as_inputs, to_shape
from workbench.tasks.preprocessing import Preprocessing
from workbench.tasks.target_scale import TargetScale
from workbench.tasks.targets import Label

__all__ = ["TaskSchema"]


@dataclass(frozen=True, eq=False, repr=False)
class TaskSchema:
    """A task without its rows: turns raw rows into a model's inputs, and its outputs into answers.

    The attributes of `Task` of the same names, and raw_shape: the shape of a raw row; columns: of the DataFrame that the task
    was made from, else None; preprocessing: fitted to the training rows; labels: the classes as the targets have them (whole
    numbers, numbers, booleans or text), in the order of `classes`, None for numbers; flat_target: whether targets that are
    numbers are (rows,) instead of (rows, outputs); target_names: of the columns of a table; positions: the shape of a row's
    targets in a dense task, else ().
    """

    name: str
    kind: str
    metrics: tuple[str, ...]
    monitor: str
    input_shape: tuple[int, ...]
    output_size: int
    classes: tuple[str, ...] | None
    feature_names: tuple[str, ...] | None
    target: TargetScale
    fingerprint: str
    raw_shape: tuple[int, ...]
    columns: tuple[str, ...] | None
    preprocessing: Preprocessing
    labels: tuple[Label, ...] | None = None
    flat_target: bool = False
    target_names: tuple[str, ...] | None = None
    positions: tuple[int, ...] = ()

    @property
    def metric(self) -> str:
        """The headline metric, by which trials are ranked."""
        return self.metrics[0]

    @property
    def target_mean(self) -> Tensor:
        return self.target.mean

    @property
    def target_std(self) -> Tensor:
        return self.target.std

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of what a model returns for a row: (output_size,), and of a dense task (output_size, *positions)."""
        return (self.output_size, *self.positions)

    @property
    def is_image(self) -> bool:
        """Whether a row is a picture (channels, height, width)."""
        return len(self.input_shape) == 3

    def preprocess(self, rows: Any) -> Tensor:
        """Raw rows, of the kind the task was made from, as a model takes them: (rows, *input_shape) float32.

        Warns (UserWarning) of a text column none of whose values was in the training rows.
        Raises: TaskError if columns are missing or the shape is another.
        """
        if self.columns is None:
            X = as_inputs(rows)
            if X.shape[1:] != self.raw_shape:
                remedy = to_shape(X.shape[1:], self.raw_shape)
                raise TaskError(f"rows have the shape {X.shape[1:]}, this task's have {self.raw_shape}{remedy}")
            return self.preprocessing.apply(X)
        if not isinstance(rows, pd.DataFrame):
            raise TaskError(f"this task was made from a DataFrame: give one with the columns {', '.join(self.columns)}")
        names = [str(name) for name in rows.columns]
        for name in self.columns:
            if name not in names:
                raise TaskError(f"the column {name!r} is missing{did_you_mean(name, names)}")
            if names.count(name) > 1:
                raise TaskError(f"the column {name!r} occurs twice in the data; rename one")
        if not len(rows):
            raise TaskError("the data has no rows; give at least one")
        return self.preprocessing.apply(rows.set_axis(names, axis=1)[list(self.columns)], warn=True)

    def predictions(self, outputs: Tensor, loss: str = "auto") -> Tensor:
        """Model outputs (rows, ...) as probabilities of the classes or labels, or numbers in the target's own unit; float64.

        loss: with which the model was trained; "auto" is the default one of the kind of task.
        """
        return predictions_of(self, loss, outputs.detach().cpu())

    def decode(self, outputs: Tensor, loss: str = "auto") -> NDArray[Any]:
        """Model outputs (rows, ...) as answers that can be compared with the targets the task was made from: see `answers`."""
        return self.answers(self.predictions(outputs, loss))

    def answers(self, predictions: Tensor) -> NDArray[Any]:
        """Predictions as answers that can be compared with the targets the task was made from.

        The most probable labels (rows,), or (rows, *positions) of a dense task, of the targets' own kind: whole numbers, numbers
        or booleans, else text in an array of objects. Of several labels 0 or 1 (rows, labels), by a threshold of 0.5. Else
        numbers in the target's unit: (rows,) if the targets were, else (rows, outputs).
        """
        if self.classes is not None:
            own = self.labels or self.classes
            text = any(isinstance(label, str) for label in own)
            axis = 1 if self.kind == "dense" else -1
            places = predictions.argmax(axis).cpu().numpy()
            labels: NDArray[Any] = np.array(own, dtype=object if text else None)[places]
            return labels
        numbers: NDArray[Any] = predictions.detach().cpu().double().numpy()
        if self.kind == "multilabel":
            return (numbers > 0.5).astype(np.int64)
        return numbers[..., 0] if self.flat_target and numbers.shape[-1] == 1 else numbers

    def __repr__(self) -> str:
        return f"<TaskSchema {self.name!r}: {self.kind}, inputs {self.input_shape}, {self.goal}>"

    @property
    def goal(self) -> str:
        """What is asked for, in words: "10 classes", "1 target"."""
        if self.kind == "dense":
            return f"{self.output_size} classes at {' x '.join(map(str, self.positions))} positions"
        if KINDS[self.kind].has_classes:
            return f"{self.output_size} classes"
        return counted(self.output_size, "label" if self.kind == "multilabel" else "target")

    # --- as plain values and tensors, for a file ----------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """Everything as `workbench.core.files.pack` takes it. Raises: CheckpointError for a transform= that cannot be saved."""
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**state, "preprocessing": self.preprocessing.to_state(), "target": self.target.to_state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], trusted: Sequence[str] = ()) -> TaskSchema:
        """The schema that `to_state` described. trusted: classes and functions that transform= may consist of.

        Raises: CheckpointError naming what is not trusted, or when the state is no schema.
        """
        try:
            values: dict[str, Any] = {field.name: state[field.name] for field in fields(cls)}
            values["preprocessing"] = Preprocessing.from_state(state["preprocessing"], trusted)
            values["target"] = TargetScale.from_state(state["target"], trusted)
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            message = f"the file's task cannot be read ({type(error).__name__}: {error}); it may be of another version"
            raise CheckpointError(message) from None
