"""What a module's forward pass changes besides its outputs: buffers, parameters, attributes in Python.

A cohort keeps weights and buffers of its trials in tensors of its own, and a trained model is a new module that is given
them. Whatever else a forward pass changes is part of neither, so it is looked for before a module trains.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.core.errors import ModelError
from workbench.models.randomness import SeededRandomness

__all__ = ["ForwardState", "attribute_differences", "observe"]

DEPTH = 4
_INTERNAL = frozenset(vars(nn.Module())) | {"training"}
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class ForwardState:
    """What a forward pass in training mode changes.

    assigned: names of buffers that it replaces by new tensors of the same shape. recast: those whose new tensor has another
    dtype. parameters: names of parameters whose values it changes. attributes: names of attributes that are neither, and whose
    value depends on the passes before. draws: whether it draws random numbers (from torch).
    """

    assigned: tuple[str, ...] = ()
    recast: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    draws: bool = False

    @property
    def unstackable(self) -> str:
        """Why several trials cannot share one module, "" if they can."""
        if self.attributes:
            return f"its forward pass changes {_listed(self.attributes)}, which one module would share among the trials"
        if self.parameters:
            return f"its forward pass changes its parameters ({_listed(self.parameters)})"
        return f"its forward pass changes the dtype of {_listed(self.recast)}" if self.recast else ""

    @property
    def warning(self) -> str:
        """What of the model no checkpoint holds, "" for nothing."""
        if not self.attributes:
            return ""
        return (
            f"its forward pass changes {_listed(self.attributes)}, which checkpoints and the trained model do not hold; "
            'use a buffer instead: self.register_buffer("count", torch.tensor(0))'
        )


def observe(module: nn.Module, x: Tensor, name: str) -> ForwardState:
    """Run a few rows through a module three times, in training mode, and compare it before and after.

    module: built for this; it is of no use afterwards. x: (rows, ...), as it is given in training. name: the model's, for
    messages. If the module raises, nothing was observed: the pass that trains raises as well.
    Raises: ModelError for a module that creates parameters or buffers in forward, replaces a parameter, or changes the
    shape of a buffer: none of these could be trained, kept in a checkpoint, or restored.
    """
    module.train()
    generator = torch.Generator(x.device)
    buffers, parameters = dict(module.named_buffers()), dict(module.named_parameters())
    before, moments = _attributes(module), []
    first = {own: parameter.detach().clone() for own, parameter in parameters.items()}
    moved: set[str] = set()
    drawn = False
    # other weights in between: an average of the weights moves only when they do, and what is computed from them and kept,
    # such as a map of attention, comes back with them
    for shift in (0.0, 0.01, 0.0):
        given = {own: value + shift if parameters[own].requires_grad else value for own, value in first.items()}
        for own, value in given.items():
            if parameters[own].requires_grad:
                parameters[own].data.copy_(value)
        places = {own: parameter.data_ptr() for own, parameter in parameters.items()}
        generator.manual_seed(0)
        start = generator.get_state()
        try:
            with SeededRandomness(generator):
                module(x)
        except ModelError:
            raise
        except Exception:
            return ForwardState()
        drawn = drawn or not torch.equal(start, generator.get_state())
        moments.append(_attributes(module))
        _check_tensors(module, buffers, parameters, name)
        for own, parameter in parameters.items():
            if parameter.data_ptr() != places[own] or not _same(parameter.detach(), given[own]):
                moved.add(own)
    now = dict(module.named_buffers())
    changed = {
        own
        for own, value in moments[-1].items()
        if not _same(value, moments[0].get(own, _MISSING))
        # a result that is kept is no state, unlike a flag that the first pass sets
        or (isinstance(value, _PLAIN) and isinstance(before.get(own), _PLAIN) and not _same(value, before.get(own)))
    }
    return ForwardState(
        tuple(own for own, value in buffers.items() if now[own] is not value and now[own].dtype == value.dtype),
        tuple(own for own, value in buffers.items() if now[own].dtype != value.dtype),
        tuple(own for own in parameters if own in moved),
        tuple(sorted(changed)),
        drawn,
    )


def attribute_differences(one: nn.Module, other: nn.Module) -> tuple[str, ...]:
    """The attributes, parameters and buffers left out, in which two modules of one architecture differ."""
    first, second = _attributes(one), _attributes(other)
    return tuple(own for own, value in first.items() if own in second and not _same(value, second[own]))


def _check_tensors(
    module: nn.Module, buffers: Mapping[str, Tensor], parameters: Mapping[str, Tensor], name: str
) -> None:
    """Raises: ModelError unless a module has the same parameters as before, and buffers of the same names and shapes."""
    for kind, old, new in (
        ("parameter", parameters, dict(module.named_parameters())),
        ("buffer", buffers, dict(module.named_buffers())),
    ):
        created = [own for own in new if own not in old]
        if created:
            raise ModelError(
                f"model {name!r}: its forward pass creates the {kind} {created[0]!r}, which is missing from the optimizer "
                f"and from every checkpoint; create it in __init__"
            )
        removed = [own for own in old if own not in new]
        if removed:
            raise ModelError(
                f"model {name!r}: its forward pass removes the {kind} {removed[0]!r}, so its checkpoints would not fit; "
                "keep it"
            )
        for own, value in old.items():
            if new[own].shape != value.shape:
                raise ModelError(
                    f"model {name!r}: its forward pass changes the shape of the {kind} {own!r} from {tuple(value.shape)} to "
                    f"{tuple(new[own].shape)}, so no checkpoint could be restored; give it its final shape in __init__, or "
                    "make it a plain attribute if the outputs of later calls do not depend on it"
                )
    for own, value in module.named_parameters():
        if value is not parameters[own]:
            raise ModelError(
                f"model {name!r}: its forward pass replaces the parameter {own!r} by a new one, which no optimizer trains; "
                f"change its values in place, under torch.no_grad()"
            )


# --- attributes ---------------------------------------------------------------------------------------------------------

_MISSING = object()


def _attributes(module: nn.Module) -> dict[str, Any]:
    """The attributes of a module and its parts that are not parameters, buffers or modules, as copies that can be compared."""
    known = {id(own) for own in (*module.modules(), *module.parameters(), *module.buffers())}
    return {
        f"{path}.{name}" if path else name: _frozen(value, DEPTH, known)
        for path, part in module.named_modules()
        for name, value in vars(part).items()
        if name not in _INTERNAL
    }


def _frozen(value: Any, depth: int, known: set[int]) -> Any:
    """A copy of a value, of plain values, tensors and arrays; None for what is not looked into."""
    if isinstance(value, _PLAIN):
        return value
    if depth == 0 or id(value) in known:
        return None
    if isinstance(value, Tensor):  # one with a history was computed from the parameters, as by a weight normalisation
        return None if value.grad_fn is not None else value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, nn.Module):  # one that is hidden from its owner, such as a running average of its weights
        return {name: tensor.detach().clone() for name, tensor in value.state_dict(keep_vars=True).items()}
    if isinstance(value, Mapping):
        return {str(key): _frozen(entry, depth - 1, known) for key, entry in value.items()}
    if isinstance(value, (list, tuple, deque)):
        return [_frozen(entry, depth - 1, known) for entry in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    if hasattr(value, "__dict__") and not callable(value):
        return {name: _frozen(entry, depth - 1, known) for name, entry in vars(value).items()}
    return None


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if one.shape != other.shape or one.dtype != other.dtype:
            return False
        return bool(((one == other) | ((one != one) & (other != other))).all())
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other or (one != one and other != other))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
