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
from workbench.core.text import counted
from workbench.tasks.inputs import as_inputs, to_shape
from workbench.tasks.preprocessing import Preprocessing
from workbench.tasks.targets import Kind, Label

__all__ = ["TaskSchema"]


@dataclass(frozen=True, eq=False, repr=False)
class TaskSchema:
    """A task without its rows: turns raw rows into a model's inputs, and its outputs into answers.

    The attributes of `Task` of the same names, and raw_shape: the shape of a raw row; columns: of the DataFrame that the task
    was made from, else None; preprocessing: fitted to the training rows; labels: the classes as the targets have them (whole
    numbers, numbers, booleans or text), in the order of `classes`, None for regression; flat_target: whether the targets of a
    regression are (rows,) instead of (rows, outputs).
    """

    name: str
    kind: Kind
    metric: str
    input_shape: tuple[int, ...]
    output_size: int
    classes: tuple[str, ...] | None
    feature_names: tuple[str, ...] | None
    target_mean: Tensor
    target_std: Tensor
    fingerprint: str
    raw_shape: tuple[int, ...]
    columns: tuple[str, ...] | None
    preprocessing: Preprocessing
    labels: tuple[Label, ...] | None = None
    flat_target: bool = False

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

    def decode(self, outputs: Tensor) -> NDArray[Any]:
        """Model outputs (rows, output_size) as answers that can be compared with the targets the task was made from.

        Labels (rows,) of the targets' own kind: whole numbers, numbers or booleans, else text in an array of objects. For a
        regression, numbers in the target's units: (rows,) if the targets were, else (rows, outputs).
        """
        if self.classes is not None:
            own = self.labels or self.classes
            text = any(isinstance(label, str) for label in own)
            labels: NDArray[Any] = np.array(own, dtype=object if text else None)[outputs.argmax(-1).cpu().numpy()]
            return labels
        numbers: NDArray[Any] = (outputs.detach().cpu().double() * self.target_std + self.target_mean).numpy()
        return numbers[..., 0] if self.flat_target else numbers

    def __repr__(self) -> str:
        return f"<TaskSchema {self.name!r}: {self.kind}, inputs {self.input_shape}, {self.goal}>"

    @property
    def goal(self) -> str:
        """What is asked for, in words: "10 classes", "1 target"."""
        if self.classes is not None:
            return f"{self.output_size} classes"
        return counted(self.output_size, "target")

    # --- as plain values and tensors, for a file ----------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """Everything as `workbench.core.files.pack` takes it. Raises: CheckpointError for a transform= that cannot be saved."""
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**state, "preprocessing": self.preprocessing.to_state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], trusted: Sequence[str] = ()) -> TaskSchema:
        """The schema that `to_state` described. trusted: classes and functions that transform= may consist of.

        Raises: CheckpointError naming what is not trusted, or when the state is no schema.
        """
        try:
            values: dict[str, Any] = {field.name: state[field.name] for field in fields(cls)}
            return cls(**{**values, "preprocessing": Preprocessing.from_state(state["preprocessing"], trusted)})
        except (KeyError, TypeError, AttributeError) as error:
            message = f"the file's task cannot be read ({type(error).__name__}: {error}); it may be of another version"
            raise CheckpointError(message) from None
