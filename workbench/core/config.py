# ruff: noqa: E501  (a declaration is one row of a table)
"""The hyperparameters, each declared once, and the frozen `Config` that holds one value of each.

A declaration has a symbol, domain, default, unit, meaning and whether the value may change while a trial runs. Everything
else reads it: the check with its error message, the control in the user interface, the search's distribution, the log's
column and the reference table in docs/hyperparameters.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import core_schema

from workbench.core.domains import Choice, Domain, IntRange, LogRange, Range, finite
from workbench.core.errors import ConfigError, Problem, did_you_mean
from workbench.core.registry import ACTIVATIONS, LOSSES, MODELS, OPTIMIZERS, SCHEDULES, Entry, Registry, elsewhere

__all__ = ["CHOICES", "HYPERPARAMETERS", "Config", "Hyperparameter", "declared", "unread"]


@dataclass(frozen=True)
class Hyperparameter:
    """One declaration. `name` and `default` are filled in from the field of `Config` that carries it.

    domain: the values it may take; for a choice out of a table, the `Registry` itself, so that what is registered later
    counts. live: may be changed while a trial runs. zero, optional: 0, or None, is allowed in addition to the domain, and means
    `off`. group: the section of the user interface it stands in. essential: above 0, its place in the first section,
    which is always open. branches: may differ between a trial and its branch,
    whatever the group; by default all may but those of the model, which are the architecture. mapping: a mapping from text to
    numbers from 0 on is allowed too; its value is that mapping as JSON text.
    """

    symbol: str
    domain: Domain | Registry[Any]
    meaning: str
    group: str
    unit: str = ""
    live: bool = False
    zero: bool = False
    optional: bool = False
    auto: bool = False
    mapping: bool = False
    off: str = "off"
    branches: bool = False
    essential: int = 0
    name: str = ""
    default: Any = None

    @property
    def is_architecture(self) -> bool:
        """Whether the weights depend on it, so that a branch has to keep it."""
        return self.group == "model" and not self.branches

    @property
    def options(self) -> tuple[Any, ...] | None:
        """The values to choose from, None for a number."""
        if isinstance(self.domain, Registry):
            return ("auto", *self.domain) if self.auto else tuple(self.domain)
        return self.domain.options if isinstance(self.domain, Choice) else None

    @property
    def description(self) -> str:
        """The rule in words: "a number from 1e-06 to 10"."""
        rule = f"one of {', '.join(map(repr, self.options))}" if self.options is not None else self.domain.description  # type: ignore[union-attr]
        if self.zero:
            rule += " or 0"
        if self.mapping:
            rule += ", or a mapping from class to weight, such as {'rare': 5.0}"
        return rule + (" or None" if self.optional else "")

    def check(self, value: object, name: str = "") -> Any:
        """`value` converted to the domain's type. Raises: ConfigError naming the field, the value and the rule."""
        name = name or self.name
        if (self.optional and value is None) or (self.auto and isinstance(value, str) and value == "auto"):
            return value
        if self.zero and isinstance(value, Real) and not isinstance(value, bool) and value == 0:
            return 0.0
        if self.mapping and (isinstance(value, Mapping) or (isinstance(value, str) and value.startswith("{"))):
            return _mapping(value, name)
        options = self.options
        domain = Choice(options, default=options[0]) if options is not None else self.domain
        assert not isinstance(domain, Registry)
        try:
            return domain.check(value, name)
        except ConfigError as error:
            hint = error.problems[0].message.partition("; ")[2] if options is not None else ""
            message = f"{name}={value!r}: must be {self.description}" + (f"; {hint}" if hint else "")
            if self.default is not None:
                message += f" (default {self.default!r})"
            raise ConfigError([Problem(name, value, message)]) from None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Lets pydantic call `check` for the field this declaration is attached to."""

        def validate(value: object, info: ValidationInfo) -> Any:
            name = info.field_name or ""
            return HYPERPARAMETERS[name].check(value)

        return core_schema.with_info_plain_validator_function(validate)


def _mapping(value: Mapping[Any, Any] | str, name: str) -> str:
    """A mapping from text to numbers as JSON text, sorted by key. Raises: ConfigError for other numbers than finite ones from 0 on."""
    try:
        given = json.loads(value) if isinstance(value, str) else dict(value)
        numbers = {str(key): finite(number) for key, number in given.items()}
    except (TypeError, ValueError, AttributeError):
        numbers = {}
    if not numbers or any(number is None or number < 0 for number in numbers.values()):
        remedy = "give a weight from 0 on for each class, such as {'rare': 5.0, 'frequent': 1.0}; a class that is not named has 1"
        raise ConfigError([Problem(name, value, f"{name}={value!r}: {remedy}")])
    return json.dumps(numbers, sort_keys=True, ensure_ascii=False)


_H = Hyperparameter


class Config(BaseModel):
    """One configuration of every hyperparameter: checked on construction, then immutable.

    Unset fields take their default. A model, loss, optimizer or schedule with hyperparameters of its own (for instance the
    keyword-only parameters of your model's builder) adds them as further fields: `Config(model="mine", width=64)`.

    Raises: ConfigError (with all problems, not only the first) for an unknown name or an impossible value.
    """

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    # fmt: off
    model: Annotated[str, _H("f", MODELS, "The architecture that is trained.", "model")] = "mlp"
    hidden_layers: Annotated[int, _H("L", IntRange(0, 12), "Number of hidden layers; 0 makes a linear model.", "model", "layers")] = 2
    hidden_units: Annotated[int, _H("H", IntRange(1, 2048, scale="power2"), "Units in each hidden layer: the model's width.", "model", "units", essential=4)] = 64
    activation: Annotated[str, _H("σ", ACTIVATIONS, "The non-linearity after each hidden layer.", "model")] = "relu"
    batch_norm: Annotated[bool, _H("BN", Choice(False, True), "Normalise each hidden layer's inputs over the batch before the activation.", "model")] = False
    dropout: Annotated[float, _H("p", Range(0.0, 0.95), "Share of hidden units silenced at random in each training step.", "model", branches=True)] = 0.0

    loss: Annotated[str, _H("J", LOSSES, "What training minimises; auto takes the default one of the kind of task (cross-entropy for classes, squared error for numbers).", "loss", auto=True)] = "auto"
    label_smoothing: Annotated[float, _H("ε", Range(0.0, 0.9), "Share of the target probability spread evenly over all classes.", "loss")] = 0.0
    class_weight: Annotated[str | None, _H("w", Choice(None, "balanced"), "Weights of the classes in the loss: balanced weighs each by the inverse of its share of the training rows; or a mapping from class to weight.", "loss", mapping=True)] = None
    focal_gamma: Annotated[float, _H("γf", Range(0.0, 10.0), "How much the focal loss plays down rows that are classified well; 0 is cross-entropy.", "loss")] = 2.0
    quantile: Annotated[float, _H("q", Range(0.001, 0.999), "Share of the targets that should lie below the prediction.", "loss")] = 0.5
    huber_delta: Annotated[float, _H("δ", LogRange(1e-3, 1e3), "Error at which the Huber loss turns from squared to absolute.", "loss", "target units (standardised)")] = 1.0
    l1: Annotated[float, _H("λ₁", LogRange(1e-8, 1.0), "Strength of the penalty λ₁Σ|w| on weights (not biases, not normalisation): makes zeros.", "loss", live=True, zero=True)] = 0.0
    l2: Annotated[float, _H("λ₂", LogRange(1e-8, 1.0), "Strength of the penalty λ₂Σw² on weights (not biases, not normalisation): shrinks.", "loss", live=True, zero=True)] = 0.0

    optimizer: Annotated[str, _H("opt", OPTIMIZERS, "The rule that turns gradients into steps.", "optimizer", essential=2)] = "adam"
    learning_rate: Annotated[float, _H("η", LogRange(1e-6, 10.0), "Step size of the optimizer before the schedule's factor; set live, it is the rate of the next step.", "optimizer", "per step", live=True, essential=1)] = 1e-3
    momentum: Annotated[float, _H("μ", Range(0.0, 0.999), "Share of the last step's velocity that is kept.", "optimizer", live=True)] = 0.9
    beta1: Annotated[float, _H("β₁", Range(0.0, 0.999), "Decay of Adam's running mean of gradients.", "optimizer", "per step")] = 0.9
    beta2: Annotated[float, _H("β₂", Range(0.0, 0.99999), "Decay of Adam's running mean of squared gradients.", "optimizer", "per step")] = 0.999
    alpha: Annotated[float, _H("α", Range(0.0, 0.9999), "Decay of RMSprop's running mean of squared gradients.", "optimizer", "per step")] = 0.99
    weight_decay: Annotated[float, _H("wd", LogRange(1e-8, 1.0), "AdamW's decoupled decay: each step shrinks all parameters by the factor 1 - η·wd.", "optimizer", zero=True)] = 0.01
    gradient_clip: Annotated[float | None, _H("‖g‖", LogRange(1e-4, 1e4), "Longest gradient allowed (L2 norm over all parameters); a longer one is scaled down.", "optimizer", optional=True)] = None

    schedule: Annotated[str, _H("η(t)", SCHEDULES, "How the learning rate changes over training.", "schedule")] = "constant"
    step_size: Annotated[int, _H("s", IntRange(1, 1000, scale="log"), "Epochs between two drops of the step schedule.", "schedule", "epochs")] = 10
    gamma: Annotated[float, _H("γ", Range(0.001, 1.0), "Factor of each drop of the step and plateau schedules.", "schedule")] = 0.5
    decay: Annotated[float, _H("k", Range(0.5, 1.0), "Factor per epoch of the exponential schedule.", "schedule", "per epoch")] = 0.95
    restart_epochs: Annotated[int, _H("T₀", IntRange(1, 1000, scale="log"), "Length of the first cosine cycle before a restart.", "schedule", "epochs")] = 10
    restart_factor: Annotated[int, _H("T×", IntRange(1, 10), "Each cycle is this many times as long as the one before.", "schedule")] = 1
    plateau_patience: Annotated[int, _H("P", IntRange(0, 1000), "Epochs without a better value of the monitor (the validation loss by default) before the plateau schedule drops the rate.", "schedule", "epochs")] = 5
    min_learning_rate: Annotated[float, _H("η₋", LogRange(1e-9, 1.0), "The rate that cosine and plateau schedules end at.", "schedule", "per step", zero=True)] = 0.0
    warmup: Annotated[int, _H("w", IntRange(0, 1000), "Epochs of linear warm-up from 0 before the schedule starts.", "schedule", "epochs")] = 0

    batch_size: Annotated[int, _H("B", IntRange(1, 8192, scale="power2"), "Training rows per optimizer step.", "training", "rows", essential=3)] = 32
    epochs: Annotated[int, _H("E", IntRange(1, 100_000, scale="log"), "Passes over the training split.", "training", "epochs", essential=5)] = 20
    patience: Annotated[int | None, _H("pat", IntRange(1, 10_000, scale="log"), "Early stopping: epochs without a better value of the monitor (the validation loss by default) before the trial ends with its best weights.", "training", "epochs", optional=True)] = None
    min_delta: Annotated[float, _H("Δ", LogRange(1e-8, 1.0), "Smallest change of the monitor that counts as better for early stopping.", "training", zero=True)] = 0.0
    seed: Annotated[int, _H("seed", IntRange(0, 2**31 - 1), "Seed of the initial weights, the order of the data and dropout.", "training")] = 0
    # fmt: on

    if not TYPE_CHECKING:  # type checkers keep the typed signature that pydantic derives from the fields

        def __init__(self, /, **values: Any) -> None:
            try:
                self._fill(values)
            except ConfigError as error:
                # outside of any Workbench, a name of the user's own may be that of several; the call that receives this checks it
                for choices in elsewhere():
                    with choices.active(), suppress(ConfigError):
                        return self._fill(values)
                raise error from None

        def _fill(self, values: dict[str, Any]) -> None:
            problems = []
            own = _own_parameters(values)
            for name in values.keys() - type(self).model_fields.keys() - own.keys():
                problems.append(_unknown(name, values[name], own))
            extras = {}
            for name, hyperparameter in own.items():
                try:
                    extras[name] = hyperparameter.check(values.get(name, hyperparameter.default))
                except ConfigError as error:
                    problems.extend(error.problems)
            known = {name: value for name, value in values.items() if name in type(self).model_fields}
            try:
                super().__init__(**known, **extras)
            except ValidationError as error:
                # the check raises ConfigError, which pydantic wraps as the context of a "value error"
                for line in error.errors():
                    cause = line.get("ctx", {}).get("error")
                    problems.extend(cause.problems if isinstance(cause, ConfigError) else [])
                if not problems:
                    raise
            if not problems:
                self.model_fields_set.difference_update(own.keys() - values.keys())
                problems = list(_contradictions(self))
            if problems:
                raise ConfigError(problems) from None

    def replace(self, **changes: Any) -> Config:
        """A copy with some fields changed, checked again. Hyperparameters of a model that is no longer chosen are dropped."""
        values = self._given()
        chosen = {**values, **changes}
        keep = type(self).model_fields.keys() | _own_parameters(chosen).keys()
        return Config(**{name: value for name, value in values.items() if name in keep} | changes)

    def checked(self) -> Config:
        """The same, checked by the choices that are active now, which may be others than when it was made.

        Hyperparameters of the user's own choices that were not given have the default that they have here.
        Raises: ConfigError, as the constructor.
        """
        return Config(**self._given())

    def _given(self) -> dict[str, Any]:
        """All values but the defaults of hyperparameters that a choice of the user's own brought along."""
        return {
            name: value
            for name, value in self.model_dump().items()
            if name in type(self).model_fields or name in self.model_fields_set
        }

    def uses(self, name: str) -> bool:
        """Whether the present choices read this hyperparameter (momentum is read under SGD with momentum, not under Adam).

        Raises: ConfigError for a name that is no text.
        """
        if not isinstance(name, str):
            raise ConfigError(
                [Problem("name", name, f"name={name!r}: give a hyperparameter's name, such as 'momentum'")]
            )
        return name not in _governed() or any(name in entry.uses for entry in _chosen(self.model_dump()))

    @property
    def configuration(self) -> str:
        """A short text that two Configs share when they differ in the seed only, or in what their choices do not read."""
        values, governed = self.model_dump(), _governed()
        read = frozenset().union(*(entry.uses for entry in _chosen(values)))
        used = {n: value for n, value in values.items() if n != "seed" and (n not in governed or n in read)}
        return hashlib.sha1(json.dumps(used, sort_keys=True).encode(), usedforsecurity=False).hexdigest()[:16]

    def changed(self) -> dict[str, Any]:
        """The fields that differ from their default, in the order of declaration."""
        known = declared(self.model)
        own = _own_parameters(self.model_dump())
        defaults = {name: hyperparameter.default for name, hyperparameter in {**known, **own}.items()}
        return {name: value for name, value in self.model_dump().items() if value != defaults.get(name)}

    def __repr_name__(self) -> str:
        return "wb.Config"

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        yield from self.changed().items()

    __str__ = BaseModel.__repr__


CHOICES: Mapping[str, Registry[Any]] = {
    "model": MODELS,
    "activation": ACTIVATIONS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}
"""The fields that choose an entry of a table."""

HYPERPARAMETERS: Mapping[str, Hyperparameter] = {
    name: replace(next(m for m in info.metadata if isinstance(m, Hyperparameter)), name=name, default=info.default)
    for name, info in Config.model_fields.items()
}
"""Every built-in declaration by name, in the order of the user interface, the log's columns and the docs."""


def declared(model: str | None = None) -> dict[str, Hyperparameter]:
    """All declarations: the built-in ones and those that `model` (a registered name) brings along."""
    own = _own_parameters({"model": model}) if model is not None else {}
    return {**HYPERPARAMETERS, **own}


def _chosen(values: Mapping[str, Any]) -> Iterator[Entry[Any]]:
    """The table entries that a set of field values chooses; unknown names are skipped (their check complains)."""
    for field, registry in CHOICES.items():
        name = values.get(field, HYPERPARAMETERS[field].default)
        if isinstance(name, str) and name in registry:
            yield registry[name]


def _own_parameters(values: Mapping[str, Any]) -> dict[str, Hyperparameter]:
    """Declarations of the hyperparameters that the chosen entries bring along; what implements one may give `meanings`."""
    return {
        name: Hyperparameter(
            name,
            domain,
            getattr(entry.value, "meanings", {}).get(name, f"Hyperparameter of {entry.label}."),
            "model",
            essential=9 if entry.name in MODELS and MODELS[entry.name] is entry else 0,
            name=name,
            default=domain.start,
        )
        for entry in _chosen(values)
        for name, domain in entry.parameters.items()
    }


def _governed() -> frozenset[str]:
    """Names that matter only while an entry that reads them is chosen: fields that a built-in entry reads, and own parameters.

    What only an entry of the user's own reads, such as the learning rate by a builder, matters to all others as before.
    """
    return frozenset().union(
        *(
            entry.uses if registry.is_built_in(entry.name) else entry.parameters.keys()
            for registry in CHOICES.values()
            for entry in registry.values()
        )
    )


def unread(values: Mapping[str, Any]) -> frozenset[str]:
    """The hyperparameters that the choices among some field values do not read.

    A choice that is not registered here may read whatever one of its kind reads.
    """
    read: set[str] = set()
    for field, registry in CHOICES.items():
        name = values.get(field, HYPERPARAMETERS[field].default)
        chosen = [registry[name]] if isinstance(name, str) and name in registry else registry.values()
        read.update(*(entry.uses for entry in chosen))
    return _governed() - read


def _unknown(name: str, value: Any, own: Mapping[str, Any]) -> Problem:
    owners = [entry for registry in CHOICES.values() for entry in registry.values() if name in entry.parameters]
    if owners:
        message = f"{name} is a hyperparameter of {owners[0].name!r}, which is not chosen here; leave it out"
    else:
        message = f"unknown hyperparameter {name!r}{did_you_mean(name, [*HYPERPARAMETERS, *own])}"
    return Problem(name, value, message)


def _contradictions(config: Config) -> Iterator[Problem]:
    """Values that are fine alone but not together."""
    if config.batch_norm and config.uses("batch_norm") and config.batch_size == 1:
        message = (
            "batch_size=1: batch normalisation needs at least 2 rows a batch; raise batch_size or switch batch_norm off"
        )
        yield Problem("batch_size", config.batch_size, message)
    if config.warmup >= config.epochs and config.warmup > 0:
        message = f"warmup={config.warmup}: must be shorter than epochs={config.epochs}; lower warmup or raise epochs"
        yield Problem("warmup", config.warmup, message)
    floor = config.min_learning_rate
    if config.uses("min_learning_rate") and floor > config.learning_rate:
        message = f"min_learning_rate={floor:g}: must not exceed learning_rate={config.learning_rate:g}; lower it"
        yield Problem("min_learning_rate", floor, message)
