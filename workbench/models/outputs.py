"""The output of a module that returns more than one tensor: a tuple, a mapping, or an object with `.logits`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from workbench.core.errors import ModelError

__all__ = ["OutputHook", "attach_output", "describe_outputs", "detach_output"]

KEYS = ("logits", "output", "outputs", "out")
"""The names by which an output is found among several, in this order."""
DEPTH = 3


class OutputHook:
    """A forward hook that replaces what a module returns by its output, a tensor.

    model: its name, for messages. size: outputs of the task, None for any. name: of the output, None to find it: a tensor is
    itself the output; else the entry called "logits", "output", "outputs" or "out"; else the only tensor of the right shape.
    Raises: ModelError listing what was returned.
    """

    def __init__(self, model: str, size: int | None, name: str | int | None = None) -> None:
        self.model, self.size, self.name = model, size, name

    def __call__(self, module: nn.Module, inputs: Any, returned: Any) -> Tensor:
        if self.name is not None:
            found = _entry(returned, self.name)
            if isinstance(found, Tensor):
                return found
            raise ModelError(
                f"model {self.model!r}: output={self.name!r} names no tensor of what it returned: "
                f"{describe_outputs(returned)}"
            )
        if isinstance(returned, Tensor):
            return returned
        for key in KEYS:
            found = _entry(returned, key)
            if isinstance(found, Tensor):
                return found
        fitting = [tensor for tensor in _tensors(returned) if self._fits(tensor)]
        if len(fitting) == 1:
            return fitting[0]
        raise ModelError(
            f"model {self.model!r} returned {describe_outputs(returned)}: {len(fitting)} of these have the shape of the "
            f"output (rows, {self.size}), so it has to be named: wb.register_model({self.model!r}, build, output=...) or "
            f"models={{{self.model!r}: wb.Output(build, ...)}}, with a key or a position"
        )

    def _fits(self, tensor: Tensor) -> bool:
        return self.size is None or (tensor.dim() >= 2 and self.size in (tensor.shape[1], tensor.shape[-1]))


def attach_output(module: nn.Module, model: str, size: int | None, name: str | int | None = None) -> None:
    """Have a module return its output alone, in every call of it. The arguments are those of `OutputHook`."""
    detach_output(module)
    module.register_forward_hook(OutputHook(model, size, name))


def detach_output(module: nn.Module) -> nn.Module:
    """The module, returning again all that it returns by itself."""
    for key, hook in list(module._forward_hooks.items()):
        if isinstance(hook, OutputHook):
            del module._forward_hooks[key]
    return module


def describe_outputs(returned: Any) -> str:
    """What a module returned, in words: the shape of a tensor, else names and shapes of the entries."""
    if isinstance(returned, Tensor):
        return f"shape {tuple(returned.shape)}"
    entries = [
        f"{name} {tuple(value.shape)}" if isinstance(value, Tensor) else f"{name} ({type(value).__name__})"
        for name, value in _entries(returned)
    ]
    return f"{type(returned).__name__} with {', '.join(entries)}" if entries else type(returned).__name__


def _entry(returned: Any, name: str | int) -> Any:
    if isinstance(name, int):
        return (
            returned[name] if isinstance(returned, (tuple, list)) and -len(returned) <= name < len(returned) else None
        )
    return returned.get(name) if isinstance(returned, Mapping) else getattr(returned, name, None)


def _entries(returned: Any) -> list[tuple[str, Any]]:
    if isinstance(returned, Mapping):
        return [(repr(key), value) for key, value in returned.items()]
    if isinstance(returned, tuple) and hasattr(returned, "_fields"):
        return [(repr(key), getattr(returned, key)) for key in returned._fields]
    if isinstance(returned, (tuple, list)):
        return [(f"[{index}]", value) for index, value in enumerate(returned)]
    return [(f".{key}", value) for key, value in getattr(returned, "__dict__", {}).items() if not key.startswith("_")]


def _tensors(returned: Any, depth: int = DEPTH) -> Iterator[Tensor]:
    """The tensors in what a module returned."""
    for _, value in _entries(returned):
        if isinstance(value, Tensor):
            yield value
        elif depth > 1:
            yield from _tensors(value, depth - 1)
