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
from workbench.core.registration import Loss
from workbench.core.text import counted
from workbench.metrics.predictions import predictions_of
from workbench.tasks.frames import as_frame
from workbench.tasks.inputs import NUMBERS, NamedArrays, as_inputs, to_shape
from workbench.tasks.named_preprocessing import NamedPreprocessing, preprocessing_from_state
from workbench.tasks.preprocessing import Preprocessing
from workbench.tasks.rows import Batch, Inputs, ready
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
    input_shape: Any
    output_size: int
    classes: tuple[str, ...] | None
    feature_names: tuple[str, ...] | None
    target: TargetScale
    fingerprint: str
    raw_shape: Any
    columns: tuple[str, ...] | None
    preprocessing: Preprocessing | NamedPreprocessing
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
        return isinstance(self.input_shape, tuple) and len(self.input_shape) == 3

    @property
    def inputs(self) -> str | dict[str, str]:
        """What a model is given: "numbers" (float32) or "tokens" (int64); by name where it is given several inputs."""
        return self.preprocessing.inputs

    @property
    def categories(self) -> dict[str, int]:
        """The sizes of embeddings: how many codes there are, 0 included, by coded column or by input of tokens ("tokens" for one
        without a name)."""
        return self.preprocessing.categories

    @property
    def scaling(self) -> tuple[str, ...]:
        """How the inputs are scaled, in words: one for each that a model takes by name."""
        named = isinstance(self.input_shape, Mapping)  # else a transformer may have given rows another shape
        fitted: Any = self.preprocessing
        return tuple(fitted.describe(self.raw_shape if named else self.input_shape).split("; "))

    def preprocess(self, rows: Any) -> Batch:
        """Raw rows, of the kind the task was made from, as a model takes them: (rows, *input_shape) float32, int64 for tokens, or
        a dictionary of such tensors, if it takes several inputs.

        Warns (UserWarning) of a text column none of whose values was in the training rows.
        Raises: TaskError if columns are missing or the shape is another.
        """
        return ready(self.store(rows))

    def store(self, rows: Any) -> Inputs:
        """Raw rows as a split keeps them, from which batches are made; see `preprocess`."""
        fitted: Any = self.preprocessing
        if self.columns is None:
            X = self.raw(rows)
            shape = X.shape if isinstance(X, NamedArrays) else X.shape[1:]
            if shape != self.raw_shape:
                remedy = "" if isinstance(shape, dict) else to_shape(shape, self.raw_shape)
                raise TaskError(f"rows have the shape {shape}, this task's have {self.raw_shape}{remedy}")
            stored: Inputs = fitted.store(X)
            return stored
        rows = as_frame(rows)
        if not isinstance(rows, pd.DataFrame):
            raise TaskError(self._no_frame(rows))
        names = [str(name) for name in rows.columns]
        for name in self.columns:
            if name not in names:
                raise TaskError(f"the column {name!r} is missing{did_you_mean(name, names)}")
            if names.count(name) > 1:
                raise TaskError(f"the column {name!r} occurs twice in the data; rename one")
        if not len(rows):
            raise TaskError("the data has no rows; give at least one")
        found: Inputs = fitted.store(rows.set_axis(names, axis=1)[list(self.columns)], warn=True)
        return found

    def raw(self, rows: Any) -> NDArray[Any] | NamedArrays:
        """Rows of arrays, of the inputs that this task has. Raises: TaskError for others, or what cannot be used."""
        if isinstance(rows, NamedArrays):
            return rows
        named = isinstance(self.raw_shape, Mapping)
        if named != isinstance(rows, Mapping):
            known = ", ".join(map(repr, self.raw_shape)) if named else ""
            wanted = f"a dict of arrays with the inputs {known}" if named else "one array, not a dict"
            raise TaskError(f"rows are a {type(rows).__name__}: this task was made from {wanted}")
        if named:
            for name in rows:
                if name not in self.raw_shape:
                    raise TaskError(f"this task has no input {name!r}{did_you_mean(str(name), self.raw_shape)}")
            for name in self.raw_shape:
                if name not in rows:
                    raise TaskError(
                        f"the input {name!r} is missing; give all of {', '.join(map(repr, self.raw_shape))}"
                    )
        ordered = {name: rows[name] for name in self.raw_shape} if named else rows
        return as_inputs(ordered, self.inputs if named or self.inputs != NUMBERS else NUMBERS)

    def _no_frame(self, rows: Any) -> str:
        """What to say of rows that are no table."""
        assert self.columns is not None
        wanted = f"this task was made from a DataFrame: give one with the columns {', '.join(self.columns)}"
        if isinstance(rows, pd.Series):
            remedy = "of one row, as df.iloc[0] gives it, take df.iloc[[0]], or series.to_frame().T"
            return f"rows are a Series; {wanted}; {remedy}"
        if isinstance(rows, Mapping):
            return f"rows are a {type(rows).__name__}; {wanted}, such as pd.DataFrame(rows), or pd.DataFrame([rows]) for one row"
        return f"rows are a {type(rows).__name__}; {wanted}"

    def predictions(self, outputs: Tensor, loss: str | Loss = "auto") -> Tensor:
        """Model outputs (rows, ...) as probabilities of the classes or labels, or numbers in the target's own unit; float64.

        loss: with which the model was trained; "auto" is the default one of the kind of task.
        """
        if not isinstance(loss, (str, Loss)):
            raise TaskError(f"loss is a {type(loss).__name__}: give the name of a loss, such as loss='mse', or 'auto'")
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
            # numpy makes floats of whole numbers on both sides of 2**63
            whole = all(isinstance(label, int) for label in own) and np.array(own).dtype.kind == "f"
            text = whole or any(isinstance(label, str) for label in own)
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
            values["preprocessing"] = preprocessing_from_state(state["preprocessing"], trusted)
            values["target"] = TargetScale.from_state(state["target"], trusted)
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            message = f"the file's task cannot be read ({type(error).__name__}: {error}); it may be of another version"
            raise CheckpointError(message) from None
