"""A trained model as a backbone of others: everything needed to build it again, as plain values and tensors.

The backbone is registered under a name that no other log has, and whatever was fine-tuned from it can be built wherever the
source is at hand: from the file next to the checkpoints of its log, or from the file of the fine-tuned model itself.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workbench.core import files
from workbench.core.config import Config
from workbench.core.errors import CheckpointError, ConfigError, ModelError, Problem, WorkbenchError
from workbench.core.registration import register
from workbench.core.registry import MODELS
from workbench.models.backbone import Backbone
from workbench.models.build import build_model, is_builtin
from workbench.models.builtin import DataShape
from workbench.models.outputs import detach_output
from workbench.models.pretrained import Affine, PlainOutputs, Pretrained

__all__ = ["SOURCE_NAME", "Facts", "Source", "restore_sources", "source_of", "why_unusable"]

KIND = "backbone"
SOURCE_NAME = re.compile("trial_([0-9]+)_([0-9a-f]+)")
"""How a trial is called as a backbone: its number, and its log's identity."""
_UNUSABLE: dict[str, str] = {}
"""Why sources whose file was read cannot be used here, by their names."""


@dataclass(frozen=True)
class Facts:
    """What a builder may ask of a task, without its rows; the attributes of `Task` of the same names.

    standardisation: mean and deviation of the inputs, float64, where they were standardised and nothing else; None where not.
    """

    name: str
    kind: str
    metric: str
    input_shape: Any
    output_size: int
    classes: tuple[str, ...] | None
    feature_names: tuple[str, ...] | None
    fingerprint: str
    standardisation: tuple[Tensor, Tensor] | None = None
    inputs: Any = "numbers"
    categories: Mapping[str, int] = field(default_factory=dict)
    positions: tuple[int, ...] = ()

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.output_size, *self.positions)

    @property
    def is_image(self) -> bool:
        return isinstance(self.input_shape, tuple) and len(self.input_shape) == 3

    @classmethod
    def of(cls, task: Any) -> Facts:
        names = [one.name for one in fields(cls) if one.name != "standardisation"]
        return cls(**{name: getattr(task, name) for name in names}, standardisation=_standardisation(task))


@dataclass(eq=False)
class Source:
    """One trial's trained model, to fine-tune others from.

    name: of the backbone. label: for people. config: what its builder was given, the name of the model included. weights: the
    module's state. constant: which of its inputs were constant in training, None if that is not known. inner: the state of the
    source that it was fine-tuned from itself.
    """

    name: str
    label: str
    trial: int
    config: dict[str, Any]
    weights: dict[str, Tensor]
    facts: Facts
    constant: Tensor | None = None
    inner: dict[str, Any] | None = None

    @classmethod
    def of_module(
        cls,
        name: str,
        label: str,
        trial: int,
        module: nn.Module,
        config: Config,
        task: Any,
        *,
        seen: Tensor | None = None,
    ) -> Source:
        """The source that a trained module makes. seen: the rows it was trained on, which say what inputs were constant."""
        values = config.model_dump()
        read = {"model": config.model} | {key: values[key] for key in sorted(MODELS[config.model].uses)}
        before = source_of(config.model)
        weights = {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}
        inner = None if before is None else before.to_state()
        constant = None if seen is None else (seen == seen[:1]).all(0)
        return cls(name, label, trial, read, weights, Facts.of(task), constant, inner)

    def make(self) -> nn.Module:
        """The trained network itself. Raises: ConfigError, ModelError if its builder is not known here, or has changed."""
        if self.inner is not None and self.inner["name"] not in MODELS:
            Source.of_state(self.inner).register()
        module = build_model(self.facts, Config(**self.config))
        try:
            module.load_state_dict(self.weights)
        except RuntimeError as error:
            model = self.config["model"]
            message = f"the builder of its model {model!r} is another one than trial {self.trial} was trained with"
            remedy = f"register the original with wb.Workbench(..., models={{{model!r}: build}})"
            raise ModelError(f"{message}; {remedy}") from error
        return _plain(module)

    @property
    def lacks(self) -> str | None:
        """The model of the user's own that its builder is needed of and is not known here, None if all is."""
        if self.config["model"] in MODELS:
            return None
        if self.inner is not None and self.inner["name"] == self.config["model"]:
            return Source.of_state(self.inner).lacks
        return str(self.config["model"])

    def register(self) -> Backbone:
        """Register it as a model. Raises: as `make`; ModelError if it has nothing but a head."""
        backbone = Backbone(self.name, self.make, adapt=self._adapter, keep_head=self._same_classes, source=self)
        model = self.config["model"]
        builder = MODELS[model].label if model in MODELS else model
        meaning = f"The trained {builder} of trial {self.trial}, with a head for the task."
        # its name, which no other log has, means the same in every Workbench
        register(MODELS, self.name, backbone, label=self.label, meaning=meaning, built_in=True)
        return backbone

    def to_state(self) -> dict[str, Any]:
        """Everything as `workbench.core.files.pack` takes it."""
        return {**vars(self), "facts": vars(self.facts), "builtin": is_builtin(self.config["model"])}

    def write(self, folder: Path) -> None:
        """Put it into a folder, for `restore_sources`. Raises: CheckpointError, with nothing changed."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{str(folder)!r} could not be made: {error.strerror or error}") from None
        files.write(folder / f"{self.name}.pt", files.pack(KIND, self.to_state()))

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Source:
        """The source that `to_state` described. Raises: CheckpointError when the state is none."""
        try:
            values = {field.name: state[field.name] for field in fields(cls)}
            return cls(**{**values, "facts": Facts(**state["facts"])})
        except (KeyError, TypeError) as error:
            message = f"the source of the model cannot be read ({type(error).__name__}: {error}); it may be of another version"
            raise CheckpointError(message) from None

    def _same_classes(self, task: DataShape) -> bool:
        """Whether the head can stay: the classes are the very same, or, for numbers, the data."""
        if self.facts.classes is None:
            return getattr(task, "fingerprint", None) == self.facts.fingerprint
        return getattr(task, "classes", None) == self.facts.classes

    def _adapter(self, task: DataShape) -> nn.Module | None:
        """What turns a task's standardised inputs into those of the source, None if they are the same, or if that is unknown.

        An input that was constant in training stays at that constant: the weights behind it have learned nothing.
        """
        there, here = self.facts.standardisation, _standardisation(task)
        if there is None or here is None or task.input_shape != self.facts.input_shape:
            return None
        (mean, deviation), (own_mean, own_deviation) = there, here
        if mean.shape != own_mean.shape or getattr(task, "feature_names", None) != self.facts.feature_names:
            return None
        if mean.equal(own_mean) and deviation.equal(own_deviation):
            return None
        scale, shift = own_deviation / deviation, (own_mean - mean) / deviation
        if self.constant is not None and scale.shape == self.constant.shape:
            scale, shift = scale.masked_fill(self.constant, 0.0), shift.masked_fill(self.constant, 0.0)
        return Affine(scale.float(), shift.float())


def source_of(model: str) -> Source | None:
    """The trained model that a registered one begins from, None if it begins from none."""
    builder = MODELS[model].value if model in MODELS else None
    found = builder.source if isinstance(builder, Backbone) else None
    return found if isinstance(found, Source) else None


def restore_sources(folder: Path) -> dict[str, WorkbenchError]:
    """Register the sources in a folder that are not known yet. Returns what went wrong, by the file's name."""
    troubles: dict[str, WorkbenchError] = {}
    known = {path: SOURCE_NAME.fullmatch(path.stem) for path in folder.glob("*.pt") if path.stem not in MODELS}
    files_of = {path: int(match[1]) for path, match in known.items() if match}
    for path in sorted(files_of, key=files_of.__getitem__):  # a trial comes after those that it began from
        _UNUSABLE.pop(path.stem, None)
        try:
            source = Source.of_state(files.read(path, KIND))
        except WorkbenchError as error:
            troubles[path.name] = error
            continue
        try:
            if (model := source.lacks) is not None:
                remedy = f"register it with wb.Workbench(..., models={{{model!r}: build}})"
                message = f"its own model {model!r} is not known here; {remedy}"
                raise ConfigError([Problem("model", model, message)])
            source.register()
        except WorkbenchError as error:
            # the cause has the shorter message
            troubles[path.name] = cause = error.__cause__ if isinstance(error.__cause__, WorkbenchError) else error
            _UNUSABLE[path.stem] = str(cause)
    return troubles


def why_unusable(name: str) -> str | None:
    """Why a source with a valid file could not be registered here, None if that is not known."""
    return _UNUSABLE.get(name)


def _standardisation(task: Any) -> tuple[Tensor, Tensor] | None:
    """Mean and deviation by which a task's inputs are standardised, float64; None where something else is done to them."""
    if isinstance(task, Facts):
        return task.standardisation
    preprocessing = getattr(getattr(task, "schema", task), "preprocessing", None)
    found = getattr(preprocessing, "standardisation", None)
    if found is None:
        return None
    mean, deviation = (torch.as_tensor(part, dtype=torch.float64) for part in found)
    return mean, deviation


def _plain(module: nn.Module) -> nn.Module:
    """A fine-tuned network as a plain sequence, which can be frozen, cut and stacked like any other."""
    if not isinstance(module, Pretrained):
        return detach_output(module)  # without its head it returns something else
    parts: list[tuple[str, nn.Module]] = [] if module.adapter is None else [("adapter", module.adapter)]
    if type(module.body) is nn.Sequential:
        parts += list(module.body.named_children())
    else:
        parts.append(("body", PlainOutputs(module.body)))
    return nn.Sequential(OrderedDict([*parts, ("head", module.head)]))
