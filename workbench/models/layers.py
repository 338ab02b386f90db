"""What goes on inside a network: weights, outputs and gradients layer by layer, read off a copy of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from workbench.core.errors import ModelError
from workbench.core.registry import ACTIVATIONS
from workbench.models.build import is_penalised
from workbench.models.layer_groups import NORMALISATIONS
from workbench.models.randomness import SeededRandomness
from workbench.tasks.rows import Batch, Inputs, batch_device, batch_shape, call, moved, ready

__all__ = ["FLAT", "NEAR_ZERO", "LayerFacts", "Role", "inspect_layers"]

Role = Literal["linear", "conv", "norm", "activation", "other"]

NEAR_ZERO = 0.01
"""A weight smaller than this share of its layer's largest one counts as zero: steps of a finite size never land on zero exactly.
Of evenly distributed initial weights that is 1%."""
FLAT = 0.01
"""An activation learns nothing where its slope is below this share of its steepest: a ReLU below 0, a tanh beyond 0.995."""
MOST_VALUES = 2**22
"""So many outputs are kept of a layer, evenly spaced rows of them; shares of dead units are counted before."""

_MIXING = (nn.MultiheadAttention, nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.Softmax2d, nn.GLU)
_STEEPEST: dict[type[nn.Module], float] = {nn.Sigmoid: 0.25, nn.Hardsigmoid: 1 / 6}


@dataclass(frozen=True, eq=False)
class LayerFacts:
    """One layer of a network, once for each time that a forward pass calls it.

    name: as in `module.named_modules()`; a further call of the same layer has its number behind it ("act (call 2)"). kind:
    the class. role: "linear" and "conv" have weights, "norm" normalises, "activation" acts on each unit by itself.
    weight: (n,) float32, what penalties act on (biases and normalisation are not), None for none. outputs: (rows, units)
    float32; of a convolution, (rows x positions, channels). gradient: L2 norm of the loss's gradient with respect to
    `weight`, NaN without one. dead: of an activation, the share of units whose slope is nearly zero on every row (a ReLU
    that never fires, a saturated tanh), so that they learn nothing; NaN for other layers.
    """

    name: str
    kind: str
    role: Role
    weight: Tensor | None
    outputs: Tensor
    gradient: float = math.nan
    dead: float = math.nan
    parameters: int = 0

    @property
    def weight_norm(self) -> float:
        """L2 norm of the weights, NaN for a layer without."""
        return math.nan if self.weight is None else float(self.weight.norm())

    @property
    def zeros(self) -> float:
        """Share of weights that are nearly zero: below 1% of the layer's largest. NaN for a layer without weights."""
        if self.weight is None:
            return math.nan
        size = self.weight.abs()
        return float((size <= NEAR_ZERO * size.max()).float().mean())

    @property
    def title(self) -> str:
        """What a figure calls it."""
        return f"{self.name} {self.kind}".strip()


def inspect_layers(
    module: nn.Module,
    x: Inputs | Batch,
    y: Tensor | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> list[LayerFacts]:
    """The layers of a network in the order of its forward pass, as some rows see them.

    x: (rows, *input_shape). y, loss: targets and `loss(outputs, y)`, a mean or one value a row; with both, gradients of its
    mean are taken. Outputs are those of evaluation mode, as the model predicts (no dropout; batch normalisation by its
    running statistics); gradients those of training mode, as it learns, with dropout drawn from a generator of its own.
    It all happens on a copy: parameters, buffers, gradients, mode and hooks of `module` stay as they are, and so do torch's
    random numbers. A function called without a module (`F.relu`) is no layer and is not seen.
    Raises: ModelError if the network cannot be copied or raises.
    """
    try:
        twin = copy.deepcopy(module)
    except Exception as error:
        raise ModelError(f"{type(module).__name__} cannot be copied ({type(error).__name__}: {error})") from error
    first = next(twin.parameters(), None)
    given = ready(x) if first is None else moved(ready(x, first.dtype), first.device)
    if first is not None:
        y = None if y is None else y.to(first.device)
    twin.requires_grad_(True).zero_grad(set_to_none=True)
    calls: list[LayerFacts] = []
    with SeededRandomness(torch.Generator(batch_device(given)).manual_seed(0)):
        try:
            with torch.no_grad(), _recorded(twin.eval(), calls):
                call(twin, given)
            gradients = {} if y is None or loss is None else _gradients(twin, given, y, loss)
        except Exception as error:
            message = f"{type(module).__name__} raised {type(error).__name__} on a batch of shape {batch_shape(given)}: {error}"
            raise ModelError(message) from error
    return [replace(call, gradient=gradients.get(call.name.partition(" (call ")[0], math.nan)) for call in calls]


# --------------------------------------------------------------------------------------------------------------------


def _gradients(twin: nn.Module, x: Batch, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> dict[str, float]:
    """L2 norm of the mean loss's gradient by layer."""
    # a batch normalisation cannot train on a single row
    twin.train(len(y) > 1)
    with torch.enable_grad():
        loss(call(twin, x), y).mean().backward()  # type: ignore[no-untyped-call]
    found = {}
    for name, part in twin.named_modules():
        slopes = [own.grad for own in _weights(part) if own.grad is not None]
        if slopes:
            found[name] = float(torch.cat([slope.reshape(-1) for slope in slopes]).norm())
    return found


@contextmanager
def _recorded(twin: nn.Module, calls: list[LayerFacts]) -> Iterator[None]:
    """Within the block, each call of a layer adds its facts to `calls`."""
    seen: dict[str, int] = {}
    before: dict[str, Tensor] = {}
    axis = [1]  # where the units stand, as the last layer said that mixes them

    def enter(name: str) -> Callable[..., None]:
        # a copy, since an activation may work in place
        return lambda part, inputs: before.update({name: inputs[0].detach().clone()}) if inputs else None

    def leave(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, inputs: Any, outputs: Any) -> None:
            output = outputs[0] if isinstance(outputs, (tuple, list)) and outputs else outputs
            if not isinstance(output, Tensor) or output.dim() == 0:
                return
            role = _role(part)
            if role == "linear" or isinstance(part, (nn.LayerNorm, nn.RMSNorm, nn.Embedding)):
                axis[0] = -1
            elif role in ("conv", "norm"):
                axis[0] = 1
            seen[name] = seen.get(name, 0) + 1
            label = name if seen[name] == 1 else f"{name} (call {seen[name]})"
            given = before.pop(name, None)
            dead = _dead(part, given, axis[0]) if role == "activation" and given is not None else math.nan
            weights = _weights(part)
            flat = torch.cat([own.detach().reshape(-1).float().cpu() for own in weights]) if weights else None
            parameters = sum(own.numel() for own in part.parameters(recurse=False))
            kept = _thinned(_units_last(output.detach(), axis[0])).float().cpu().clone()
            calls.append(LayerFacts(label, type(part).__name__, role, flat, kept, dead=dead, parameters=parameters))

        return hook

    handles = []
    try:
        for name, part in twin.named_modules():
            if _is_layer(part):
                handles.append(part.register_forward_hook(leave(name)))
                if _role(part) == "activation":
                    handles.append(part.register_forward_pre_hook(enter(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_layer(part: nn.Module) -> bool:
    """A module without parts, or one that has weights of its own."""
    return next(part.children(), None) is None or bool(_weights(part))


def _weights(part: nn.Module) -> list[nn.Parameter]:
    """A module's own parameters that penalties act on."""
    return [own for name, own in part.named_parameters(recurse=False) if is_penalised(part, name, own)]


def _role(part: nn.Module) -> Role:
    if isinstance(part, nn.Linear):
        return "linear"
    if isinstance(part, nn.modules.conv._ConvNd):
        return "conv"
    if isinstance(part, NORMALISATIONS):
        return "norm"
    registered = tuple(entry.value for entry in ACTIVATIONS.values() if isinstance(entry.value, type))
    known = type(part).__module__ == nn.ReLU.__module__ or isinstance(part, registered)
    return "activation" if known and not isinstance(part, _MIXING) else "other"


def _units_last(output: Tensor, axis: int) -> Tensor:
    """(rows, ...) as (rows x positions, units)."""
    if output.dim() == 1:
        return output[:, None]
    moved = output.movedim(axis, -1) if output.dim() > 2 else output
    return moved.reshape(-1, moved.shape[-1])


def _thinned(values: Tensor) -> Tensor:
    stride = max(1, math.ceil(values.numel() / MOST_VALUES))
    return values[::stride]


def _dead(part: nn.Module, given: Tensor, axis: int) -> float:
    """Share of units on whose every input the activation is flat."""
    with torch.enable_grad():
        given = given.requires_grad_(True)
        # by `forward`, which calls no hook; times 1, because an in-place operation on a leaf raises
        (slope,) = torch.autograd.grad(part.forward(given * 1).sum(), given)
    flat = slope.abs() < FLAT * _STEEPEST.get(type(part), 1.0)
    return float(_units_last(flat, axis).all(0).float().mean())
