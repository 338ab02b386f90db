"""Builds the `nn.Module` of a Config: seeded and checked; which of its weights are penalised; the identity of its builder."""

from __future__ import annotations

import copy
import inspect
import textwrap
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from workbench.core.config import CHOICES, Config
from workbench.core.errors import ModelError, WorkbenchError
from workbench.core.identity import identity_of
from workbench.core.outputs import Output
from workbench.core.registration import BUILT_IN, Loss, read_arguments
from workbench.core.registry import LOSSES, MODELS, user_choices
from workbench.models.backbone import Backbone
from workbench.models.builtin import DataShape
from workbench.models.layer_groups import NORMALISATIONS
from workbench.models.outputs import attach_output, describe_outputs
from workbench.models.randomness import SeededRandomness
from workbench.models.stacking import stacked_forward
from workbench.tasks.rows import Batch, call

__all__ = [
    "blank_inputs",
    "build_model",
    "builder_identity",
    "builder_source",
    "code_of",
    "count_parameters",
    "former_builder",
    "is_builtin",
    "is_library_builder",
    "is_penalised",
    "probe",
    "read_source",
]

WEIGHTS = "# digest of its weights without the head: "


def build_model(task: DataShape, config: Config, builder: Callable[..., Any] | None = None) -> nn.Module:
    """A new module with initial weights drawn from `config.seed`, on the CPU in float32.

    builder: by default the one registered for `config.model`.

    The draw equals that of `torch.manual_seed(config.seed)` followed by the same construction, but leaves torch's global
    generator alone. Lazy layers are initialised by a forward pass in evaluation mode over two rows of zeros, which draws from
    the same generator. A module that may return more than a tensor returns its output alone (see `OutputHook`).
    Raises: ModelError if the builder raises, does not return a module, or returns one that it returned before.
    """
    builder = MODELS[config.model].value if builder is None else builder
    module = _built(builder, task, config)
    if is_library_builder(builder):
        return module
    if isinstance(builder, Output) or stacked_forward(module) is None:
        name = builder.name if isinstance(builder, Output) else None
        attach_output(module, config.model, output_shape(task, config)[0], name)
    if _MAKE_NEW_MODULES.get(config.model) is not builder:
        _check_shared_parameters(module, _built(builder, task, config), config.model)
        _MAKE_NEW_MODULES[config.model] = builder
    return module


_MAKE_NEW_MODULES: dict[str, Any] = {}
"""The builders that were seen to return a new module at each call, by model."""


def _check_shared_parameters(one: nn.Module, other: nn.Module, name: str) -> None:
    """Raises: ModelError if two modules share trained parameters: trials would continue from each other's weights."""
    trained = {id(parameter): own for own, parameter in one.named_parameters() if parameter.requires_grad}
    shared = [trained[id(parameter)] for parameter in other.parameters() if id(parameter) in trained]
    if shared:
        what = "the very same module" if one is other else f"a module with the very same parameter {shared[0]!r}"
        message = (
            f"its builder returned {what} twice, so each trial would continue from the weights of the previous one"
        )
        raise ModelError(f"model {name!r}: {message}; build a new module in the function, at each call")


def _built(builder: Callable[..., Any], task: DataShape, config: Config) -> nn.Module:
    randomness = SeededRandomness(torch.Generator().manual_seed(config.seed))
    try:
        with randomness:
            module = builder(_sized(task, config), **read_arguments(builder, config))
    except WorkbenchError:
        raise
    except Exception as error:
        message = f"model {config.model!r}: its builder raised {type(error).__name__}: {error}"
        raise ModelError(message) from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"model {config.model!r}: its builder must return an nn.Module, got {type(module).__name__}")
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ModelError(f"model {config.model!r}: has no parameter to train (requires_grad is off, or there is none)")
    if _uninitialised(module):
        with randomness:
            _evaluated(module, task, config.model)
        if left := _uninitialised(module):
            message = f"its lazy parameter {left[0]!r} is not used by a forward pass over a batch, so it has no shape"
            raise ModelError(f"model {config.model!r}: {message}; give its layer a size, or remove it")
    return module


def _uninitialised(module: nn.Module) -> list[str]:
    """The names of the parameters and buffers of lazy layers that have seen no batch."""
    tensors = (*module.named_parameters(), *module.named_buffers())
    return [name for name, value in tensors if is_lazy(value)]


class _Sized:
    """A task whose models have several outputs for each target, as the loss asks for; all else is that of the task."""

    def __init__(self, task: DataShape, output_size: int) -> None:
        self._task, self.output_size = task, output_size

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.output_size, *self._task.positions)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_task":  # a copy asks for these before it has a task
            raise AttributeError(name)
        return getattr(self._task, name)


def _sized(task: DataShape, config: Config) -> Any:
    """What a builder is given: the task, with as many outputs as the loss takes."""
    width = LOSSES[config.loss].value.width if config.loss in LOSSES else 1
    return task if width == 1 else _Sized(task, width * task.output_size)


def output_shape(task: DataShape, config: Config) -> tuple[int, ...]:
    """The shape of what a model returns for a row: (outputs,), and of a dense task (classes, *positions)."""
    return (_sized(task, config).output_size, *task.positions)


def probe(module: nn.Module, task: DataShape, config: Config) -> None:
    """Run two rows through the module (evaluation mode): zeros, and tokens from 0 to the largest one.

    Raises: ModelError on a raise, outputs of a wrong shape or type or without a gradient, and changes of the input, which would
    be changes of the task's rows.
    """
    outputs = _evaluated(module, task, config.model, gradient=True)
    wanted = (2, *output_shape(task, config))
    if not isinstance(outputs, Tensor) or tuple(outputs.shape) != wanted:
        raise ModelError(
            f"model {config.model!r}: must return a tensor of shape {wanted} for a batch of 2 rows "
            f"(task.output_size = {wanted[1]}), got {describe_outputs(outputs)}"
        )
    if not outputs.is_floating_point():
        raise ModelError(
            f"model {config.model!r}: must return floating-point numbers, got {outputs.dtype}; return what the last layer "
            "gives"
        )
    trains = any(weights.requires_grad for weights in module.parameters())
    if trains and not outputs.requires_grad and not _has_gradient(module, task):
        raise ModelError(
            f"model {config.model!r}: its outputs have no gradient, so that nothing could be trained; leave out .detach(), "
            ".data, torch.no_grad() and NumPy in its forward pass"
        )


def _has_gradient(module: nn.Module, task: DataShape) -> bool:
    """Whether outputs in training mode have a gradient: those of evaluation may come from an average of the weights.

    True for a module that raises; the pass that trains raises as well.
    """
    try:
        copied = copy.deepcopy(module).train()
        first = next(weights for weights in copied.parameters() if weights.requires_grad)
        with torch.enable_grad():
            return bool(call(copied, blank_inputs(task, 2, first)).requires_grad)
    except Exception:
        return True


def _evaluated(module: nn.Module, task: DataShape, name: str, *, gradient: bool = False) -> Any:
    """What a module returns for two rows in evaluation mode. Raises: ModelError if it raises, or changes them."""
    first = next((own for own in module.parameters() if not is_lazy(own)), torch.empty(0))
    rows = blank_inputs(task, 2, first)
    parts = {"": rows} if isinstance(rows, Tensor) else rows
    for key, part in parts.items():
        if not part.is_floating_point():
            part[1] = max(0, getattr(task, "categories", {}).get(key or "tokens", 1) - 1)
    before = [part._version for part in parts.values()]
    was_training = module.training
    try:
        with torch.set_grad_enabled(gradient):
            outputs = call(module.eval(), rows)
        if [part._version for part in parts.values()] != before:
            raise ModelError(
                f"model {name!r}: changes its input in place, and with it the rows of the task; write x = x + 1 instead of "
                "x += 1, leave out inplace=True before the first layer with weights, or use x.clone()"
            )
        return outputs
    except WorkbenchError:
        raise
    except Exception as error:
        message = f"model {name!r} raised {type(error).__name__} on {_named(rows)}: {error}"
        raise ModelError(message + _remedy(module, task, error)) from error
    finally:
        module.train(was_training)


def blank_inputs(task: DataShape, rows: int, like: Tensor) -> Batch:
    """Zeros of the shapes and types that a model of the task takes, on the device of `like`, numbers in its dtype."""
    kinds, shapes = getattr(task, "inputs", "numbers"), task.input_shape

    def zeros(shape: tuple[int, ...], kind: str) -> Tensor:
        return torch.zeros(rows, *shape, dtype=torch.int64 if kind == "tokens" else like.dtype, device=like.device)

    if isinstance(shapes, Mapping):
        return {name: zeros(shape, kinds[name]) for name, shape in shapes.items()}
    return zeros(shapes, kinds)


def _named(rows: Batch) -> str:
    """A batch in the words of a message."""
    if isinstance(rows, Tensor):
        return f"a batch of shape {tuple(rows.shape)}"
    return "a batch of " + ", ".join(f"{name} {tuple(part.shape)}" for name, part in rows.items())


def _remedy(module: nn.Module, task: DataShape, error: Exception) -> str:
    """What to do about inputs of a kind that the model does not take, as the end of a message; empty if it is something else."""
    if isinstance(task.input_shape, Mapping):
        names = ", ".join(task.input_shape)
        is_call = isinstance(error, TypeError) and "argument" in str(error)
        return f"; a model of this task is called by keyword: forward(self, {names})" if is_call else ""
    kind = getattr(task, "inputs", "numbers")
    embeds = any(isinstance(part, (nn.Embedding, nn.EmbeddingBag)) for part in module.modules())
    types = isinstance(error, RuntimeError) and ("indices" in str(error) or "scalar type" in str(error))
    if kind == "numbers" and embeds and types:
        wanted = "an embedding takes whole numbers, and this task's inputs are standardized numbers"
        return f"; {wanted}: make the task with inputs='tokens'"
    if kind == "tokens" and not embeds:
        return "; this task's inputs are tokens, int64: begin with an nn.Embedding, or make the task without inputs='tokens'"
    if kind == "tokens" and isinstance(error, IndexError):
        return "; an embedding needs as many entries as task.categories['tokens'] says"
    return ""


def is_penalised(module: nn.Module, name: str, parameter: Tensor) -> bool:
    """Whether L1 and L2 act on a parameter: on weights of two or more axes, not on biases or normalisation layers."""
    owner = module.get_submodule(name.rpartition(".")[0])
    return parameter.dim() >= 2 and not isinstance(owner, NORMALISATIONS) and "bias" not in name.rpartition(".")[2]


def count_parameters(module: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(prod(parameter.shape) for parameter in module.parameters() if parameter.requires_grad)


def is_builtin(name: str) -> bool:
    """Whether the architecture is one of this package."""
    return bool(MODELS[name].value.__module__ == BUILT_IN)


def is_library_builder(builder: object) -> bool:
    """Whether a builder is one of this package: of a built-in architecture, or of a pretrained network."""
    return isinstance(builder, Backbone) or getattr(builder, "__module__", None) == BUILT_IN


def builder_identity(name: str, builder: Callable[..., Any] | None = None) -> str | None:
    """What a model's weights depend on besides its configuration: the identity of its builder (`core.identity`).

    builder: by default the one registered as `name`. None for a built-in model, and for a pretrained network.
    """
    if builder is None:
        if is_builtin(name):
            return None
        builder = MODELS[name].value
    if isinstance(builder, Backbone):
        return None  # a digest of its weights is logged in its place, see `builder_source`
    if isinstance(builder, Output):
        return identity_of(partial(builder.make, builder.name))
    return identity_of(builder)


def code_of(config: Config) -> dict[str, str]:
    """The identities of the user's own code that a configuration chooses: of model, loss, optimizer..., by field."""
    found = {"model": builder_identity(config.model)}
    for field, registry in CHOICES.items():
        name = getattr(config, field)
        if field != "model" and name in registry and not registry.is_built_in(name):
            value = registry[name].value
            # predictions follow from the link of a loss
            made = partial(value.function, *value[1:]) if isinstance(value, Loss) else value
            found[field] = identity_of(made)
    return {field: identity for field, identity in found.items() if identity is not None}


def former_builder(name: str, identity: str) -> Callable[..., Any] | None:
    """The earlier version of a user's builder with this identity, as registered by `models={name: [old, new]}`; else None."""
    return next((one for one in user_choices().former.get(name, ()) if builder_identity(name, one) == identity), None)


def builder_source(name: str) -> str | None:
    """The source text of a user's builder, None for a built-in one or where Python cannot find it.

    Of a backbone, that of what makes the network, with the digest of its weights in a last line (see `read_source`); None for
    one that is a trained trial.
    """
    builder = MODELS[name].value
    if is_builtin(name) or getattr(builder, "source", None) is not None:
        return None
    try:
        code = textwrap.dedent(inspect.getsource(getattr(builder, "make", builder)))
    except (OSError, TypeError):
        code = None
    if not isinstance(builder, Backbone):
        return code
    lines = [] if code is None else [code.rstrip("\n")]
    return "\n".join([*lines, f"{WEIGHTS}{builder.digest}", ""])


def read_source(text: str | None) -> tuple[str | None, str | None]:
    """The code out of what `builder_source` gave, and the digest of a backbone's weights; None for what is not known."""
    code, mark, digest = (text or "").rpartition(WEIGHTS)
    return (code or None, digest.strip()) if mark else (text, None)
