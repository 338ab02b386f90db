"""Nested values with tensors in them, as JSON and a list of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

__all__ = ["decoded", "encoded"]


def encoded(value: Any, put: Callable[[Tensor], int]) -> Any:
    """A value as JSON takes it. put: stores a tensor and returns its place. Keys of mappings keep their types."""
    if isinstance(value, Tensor):
        return {"tensor": put(value)}
    if isinstance(value, Mapping):
        return {"pairs": [[encoded(key, put), encoded(entry, put)] for key, entry in value.items()]}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [encoded(entry, put) for entry in value]}
    return value


def decoded(value: Any, tensors: Sequence[Tensor]) -> Any:
    """The value that `encoded` took."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "pairs":
        return {decoded(key, tensors): decoded(entry, tensors) for key, entry in content}
    entries = [decoded(entry, tensors) for entry in content]
    return tuple(entries) if kind == "tuple" else entries
