"""A trained model with all it takes to answer from raw rows, and the file it is kept in."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from workbench.core import files
from workbench.core.config import Config
from workbench.core.errors import CheckpointError, ConfigError, ModelError, TaskError, WorkbenchError
from workbench.core.registration import Loss
from workbench.core.registry import LOSSES, MODELS
from workbench.core.version import __version__
from workbench.core.warn import callers_level
from workbench.metrics.predictions import check_probabilities, loss_entry
from workbench.models import Source, build_model, builder_identity, former_builder, is_builtin, source_of
from workbench.runs.decision import Decision
from workbench.tasks import TaskSchema
from workbench.tasks.rows import Batch, InputRows, Inputs, call, ready
from workbench.training.batches import PIECE_BATCHES, in_pieces

__all__ = [
    "TrainedModel",
    "library_versions",
    "model_of",
    "model_path",
    "model_state",
    "save_model",
    "schema_of",
    "unreadable",
]

LIBRARIES = ("torch", "scikit-learn", "numpy", "pandas", "skops")


class TrainedModel(nn.Module):
    """A module with the preprocessing of its task: raw rows in, labels or numbers out, as the target has them.

    module: the architecture's own module, put into evaluation mode. config: the trial's hyperparameters. schema: what is
    known of the task. trial, epoch: where the weights come from, if known. versions: of the workbench and the libraries that
    made it. builder: the identity of the code that built it, None for a built-in model. decision: calibration of its
    probabilities and threshold between two classes, if they were chosen. mismatch: how its outputs differ from those that were
    measured with its weights, "" if they agree. loss: the entry of the loss it was trained with, whose link makes predictions of
    outputs. Made by `bench.model(trial)` and `wb.load_model(path)`. It is an ordinary
    `nn.Module`: `model.to("cuda")` moves it, and it predicts there.
    """

    def __init__(
        self,
        module: nn.Module,
        config: Config,
        schema: TaskSchema,
        *,
        trial: int | None = None,
        epoch: int | None = None,
        builder: str | None = None,
        versions: Mapping[str, str] | None = None,
        decision: Decision | None = None,
        mismatch: str = "",
        loss: Loss | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.config, self.schema, self.trial, self.epoch, self.builder = config, schema, trial, epoch, builder
        self.versions = library_versions() if versions is None else dict(versions)
        self.decision = decision or Decision()
        self.mismatch = mismatch
        self.loss = loss_entry(config.loss, schema.kind) if loss is None else loss
        self.eval()

    def forward(self, x: Inputs | Batch | None = None, **named: Tensor) -> Tensor:
        """Prepared rows (rows, *input_shape) to the module's outputs (rows, output_size). Several inputs: a dictionary, or by
        keyword."""
        given: Any = named if x is None else x
        if isinstance(given, InputRows):
            given = ready(given, next(self.module.parameters()).dtype)
        outputs: Tensor = call(self.module, given)
        return outputs

    def preprocess(self, X: Any) -> Batch:
        """Raw rows, of the kind the task was made from, as `forward` takes them: (rows, *input_shape) float32, int64 for tokens,
        or a dictionary of such tensors, on the CPU.

        Raises: TaskError if columns are missing or the shape is another.
        """
        return self.schema.preprocess(X)

    def predict(self, X: Any) -> NDArray[Any]:
        """Raw rows to labels (rows,) of the target's own kind, or to numbers in its units: (rows,) if the target is, else
        (rows, outputs). See `TaskSchema.answers`; classes are decided by the model's `decision`.

        In evaluation mode, whatever the mode is set to. Raises: TaskError as `preprocess`.
        """
        return self.schema.answers(self.predictions(self.schema.store(X), decided=True))

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Raw rows to the probability of each class (rows, classes) or label (rows, labels), float64; classes in the order of
        `schema.classes`; of a dense task (rows, classes, *positions).

        By the link of the loss that the model was trained with, calibrated if the model's `decision` says so. Raises: TaskError
        where there are no classes, for a loss that does not say how its outputs become probabilities, or as `preprocess`.
        """
        check_probabilities(self.schema, self.config.loss, self.loss)
        probabilities: NDArray[Any] = self.predictions(self.schema.store(X)).numpy()
        return probabilities

    def predictions(self, x: Inputs | Batch, *, decided: bool = False) -> Tensor:
        """Prepared rows (rows, *input_shape) to probabilities of the classes or labels, or numbers in the target's own unit:
        (rows, outputs) float64 on the CPU, (rows, classes, *positions) of a dense task; see `outputs`.

        decided: the largest entry is the class that the model predicts, also where its `decision` has a threshold other than ½.
        """
        found = self.uncalibrated(x)
        if not self.decision:
            return found
        return torch.from_numpy((self.decision.decided if decided else self.decision.probabilities)(found.numpy()))

    def uncalibrated(self, x: Inputs | Batch) -> Tensor:
        """As `predictions`, whatever the model's `decision` is."""
        return self.schema.predictions(self.outputs(x), self.loss)

    @torch.no_grad()
    def outputs(self, x: Inputs | Batch) -> Tensor:
        """Prepared rows (rows, *input_shape) to the module's outputs (rows, output_size) as it predicts: in evaluation mode
        whatever the mode is set to, without gradients, in pieces, on the CPU."""
        first = next(self.module.parameters())

        def work(piece: Inputs) -> Tensor:
            batch = ready(piece.to(first.device), first.dtype)
            try:
                outputs: Tensor = call(self.module, batch)
            except IndexError as error:
                raise TaskError(f"the model raised IndexError: {error}{_too_large(batch, self.schema)}") from error
            return outputs.cpu()

        stored = InputRows(x, {}) if isinstance(x, dict) else x
        with _evaluating(self):
            return in_pieces(stored, PIECE_BATCHES * self.config.batch_size, work)[0]

    def __repr__(self) -> str:
        epoch = "" if self.epoch is None else f", epoch {self.epoch}"
        trial = "" if self.trial is None else f" trial {self.trial}"
        goal = f"inputs {self.schema.input_shape}, {self.schema.goal}"
        decision = f"; {self.decision.description}" if self.decision else ""
        return f"<TrainedModel{trial} ({self.config.model}{epoch}) on {self.schema.name!r}: {goal}{decision}>"


def _too_large(batch: Batch, schema: TaskSchema) -> str:
    """Which token is beyond those that the task was made with, as the end of a message; empty if none is."""
    parts = batch if isinstance(batch, dict) else {"tokens": batch}
    for name, part in parts.items():
        known = schema.categories.get(name)
        if known is not None and not part.is_floating_point() and part.numel() and int(part.max()) >= known:
            return (
                f"; X has the token {int(part.max())}, and those of the task are 0 to {known - 1}: map unknown tokens to an id "
                "of their own, or give nn.Embedding more entries"
            )
    return ""


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; each part goes back to the mode it was in."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def library_versions() -> dict[str, str]:
    """The versions of the workbench, Python and the libraries in this process."""
    found = {"workbench": __version__, "python": platform.python_version()}
    return found | {name: _version_of(name) for name in LIBRARIES}


@cache
def _version_of(library: str) -> str:
    """Kept, since each look reads the library's whole metadata: 7 ms, for each model of a crowd."""
    return version(library)


# --- the file -----------------------------------------------------------------------------------------------------------


def save_model(model: TrainedModel, path: str | os.PathLike[str]) -> Path:
    """Write weights, config, preprocessing, task schema and versions into one file, in one move; returns its path.

    A file of that name is replaced. Raises: CheckpointError, with nothing changed: the folder is missing, the disk is full,
    or a transform= of the task cannot be saved.
    """
    place = model_path(path)
    try:
        data = files.pack("model", {**model_state(model), "schema": model.schema.to_state()})
    except CheckpointError as error:
        raise CheckpointError(f"model file {str(place)!r} was not written: {error}") from None
    files.write(place, data)
    return place


def model_state(model: TrainedModel) -> dict[str, Any]:
    """All of a model but its task's schema, as `workbench.core.files.pack` takes it and `model_of` reads it."""
    source = source_of(model.config.model)
    return {
        **({} if source is None else {"source": source.to_state()}),
        "weights": dict(model.module.state_dict()),
        "buffers": unsaved_buffers(model.module),
        "config": model.config.model_dump(),
        "builtin": is_builtin(model.config.model),
        "reads": sorted(MODELS[model.config.model].uses),
        "trial": model.trial,
        "epoch": model.epoch,
        "builder": model.builder,
        "versions": model.versions,
        "decision": model.decision.to_json(),
        "mismatch": model.mismatch,
        "loss": _loss_state(model),
    }


def unsaved_buffers(module: nn.Module) -> dict[str, Tensor]:
    """The buffers of a module that its `state_dict` leaves out, which its outputs may depend on all the same."""
    kept = module.state_dict(keep_vars=True)
    return {name: value for name, value in module.named_buffers() if name not in kept}


def schema_of(content: Mapping[str, Any], name: str, trusted: Sequence[str]) -> TaskSchema:
    """The task's schema out of a file's content. name: the file's, for messages. Raises: CheckpointError as `wb.load_model`."""
    try:
        return TaskSchema.from_state(content["schema"], trusted)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable(name, error) from None


def model_of(content: Mapping[str, Any], schema: TaskSchema, name: str, path: str) -> TrainedModel:
    """The model that `model_state` described. name, path: the file's, for messages.

    Raises: CheckpointError as `wb.load_model`.
    """
    try:
        weights, values = dict(content["weights"]), dict(content["config"])
        buffers = dict(content["buffers"])
        builtin, reads = bool(content["builtin"]), set(content["reads"])
        origin = {key: content[key] for key in ("trial", "epoch", "builder", "versions", "mismatch")}
        decision, link = Decision.of_json(content["decision"]), dict(content["loss"])
        model, trained_with = str(values["model"]), str(values["loss"])
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable(name, error) from None
    if "source" in content and model not in MODELS:
        _bring_source(content["source"], name)
    _check_builder(model, builtin, name, path)
    config = _config(values, reads, name)
    now, identity = builder_identity(model), origin["builder"]
    other = identity is not None and identity != now
    former = former_builder(model, identity) if other else None
    try:
        module = build_model(schema, config, former)
    except (ModelError, ConfigError) as error:
        known = "a builder is given what the file says of the task (classes, kind, shapes), and no rows"
        raise CheckpointError(f"{name}: {error}; {known}") from error
    _fill(module, weights, f"{name}: model {model!r}")
    for key, value in buffers.items():
        owner, _, leaf = key.rpartition(".")
        module.get_submodule(owner)._buffers[leaf] = value
    if origin["mismatch"]:
        warnings.warn(f"{name}: {origin['mismatch']}", UserWarning, stacklevel=callers_level())
    if other and former is None:  # weights fit any network of the same shapes
        message = (
            f"{name}: the code of the model {model!r} is not the one that the file was written with (builder {identity}, here "
            f"{now}), so predictions may differ; give the original: wb.load_model({path!r}, models={{{model!r}: original}})"
        )
        warnings.warn(message, UserWarning, stacklevel=callers_level())
    loss = _loss_of(link, trained_with, name)
    return TrainedModel(module, config, schema, decision=decision, loss=loss, **origin)


def _loss_state(model: TrainedModel) -> dict[str, Any]:
    """What of the loss predictions depend on. own: whether its link is a function of the user's."""
    link = model.loss.link_for(model.schema.kind)
    return {"own": callable(link), "link": None if callable(link) else link, "transformed": model.loss.transformed}


def _loss_of(state: Mapping[str, Any], loss: str, name: str) -> Loss:
    """The entry of a file's loss. Raises: CheckpointError for a loss that is not registered here and whose link is a function."""
    if not state["own"]:
        return Loss(_not_for_training, state["link"], state["transformed"])
    if loss not in LOSSES:
        raise CheckpointError(
            f"{name} was trained with a loss of your own, {loss!r}, whose link= is a function that predictions depend on; "
            f"register it first: wb.register_loss({loss!r}, ..., link=...)"
        )
    entry: Loss = LOSSES[loss].value
    return entry


def _not_for_training(*_: object) -> Any:
    raise ModelError("the loss of a loaded model is known by its link alone")


def unreadable(name: str, error: Exception) -> CheckpointError:
    """What to raise for a file whose content has another form."""
    message = f"holds no model that this version can read ({type(error).__name__}: {error})"
    return CheckpointError(f"{name}: {message}")


def model_path(path: str | os.PathLike[str]) -> Path:
    """Where a file is. Raises: CheckpointError for what is no path."""
    try:
        return Path(path).expanduser()
    except (TypeError, RuntimeError) as error:  # no path at all; a home folder that is not known
        raise CheckpointError(f"path={path!r}: {error}; give the path of a file") from None


def _bring_source(state: Any, name: str) -> None:
    """Register the trained model that a fine-tuned one begins from. Raises: CheckpointError if it cannot be built here."""
    try:
        Source.of_state(state).register()
    except WorkbenchError as error:
        raise CheckpointError(f"{name}: {error}") from error


def _check_builder(model: str, builtin: bool, name: str, path: str) -> None:
    """Raises: CheckpointError unless the table's entry is of the kind that the model was trained with."""
    here = model in MODELS and is_builtin(model)
    if builtin and not here:
        found = "a model of your own has taken its name here; register it under another one"
        message = f"was trained with the built-in model {model!r}: "
        raise CheckpointError(f"{name} {message}{found if model in MODELS else 'this version has none; upgrade'}")
    if not builtin and (here or model not in MODELS):
        remedy = f"wb.load_model({path!r}, models={{{model!r}: build}})"
        raise CheckpointError(f"{name} was trained with a model of your own, {model!r}; give its builder: {remedy}")


def _config(values: dict[str, Any], reads: set[str], name: str) -> Config:
    """The Config as far as it is known here. reads: the hyperparameters that the model's builder was given.

    Raises: CheckpointError for one that matters to the model. A UserWarning names others, which stay at their default.
    """
    left: dict[str, Any] = {}
    while True:
        try:
            config = Config(**values)
            break
        except ConfigError as error:
            for problem in error.problems:
                if problem.field in reads | MODELS[values["model"]].uses or problem.field not in values:
                    message = f"{problem.message}; the model was built with it"
                    raise CheckpointError(f"{name}: {message}") from None
            left |= {problem.field: values.pop(problem.field) for problem in error.problems if problem.field in values}
    if left:
        shown = ", ".join(f"{field}={value!r}" for field, value in left.items())
        message = f"{name}: {shown} is not known here and left at its default; predictions do not depend on it"
        warnings.warn(message, UserWarning, stacklevel=callers_level())
    return config


def _fill(module: nn.Module, weights: dict[str, Any], name: str) -> None:
    """Put weights into a module, in their own dtype. Raises: CheckpointError naming the first that does not fit."""
    own = module.state_dict(keep_vars=True)
    remedy = "the builder is not the one it was trained with"
    for key in [*own, *weights]:
        if key not in weights:
            raise CheckpointError(f"{name} builds a parameter {key!r} that the file does not have; {remedy}")
        if key not in own:
            raise CheckpointError(f"{name} builds no parameter {key!r}, which the file has; {remedy}")
        ours, theirs = own[key], weights[key]
        if not isinstance(ours, Tensor) or not isinstance(theirs, Tensor):
            continue  # what a module stores besides tensors, it checks itself
        if ours.shape != theirs.shape:
            shapes = f"of shape {tuple(ours.shape)}, which is {tuple(theirs.shape)} in the file"
            raise CheckpointError(f"{name} builds a parameter {key!r} {shapes}; {remedy}")
        if ours.dtype != theirs.dtype:
            ours.data = ours.data.to(theirs.dtype)
    try:
        module.load_state_dict(weights)
    except Exception as error:  # of a module's own `load_state_dict`, or `set_extra_state`
        raise CheckpointError(f"{name} cannot take the file's weights: {type(error).__name__}: {error}") from error
