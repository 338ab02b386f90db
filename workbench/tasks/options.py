"""Checks of the arguments of a task's calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from workbench.core.errors import TaskError, did_you_mean

__all__ = ["check_options", "check_outputs", "check_texts", "named"]

OPTIONS = frozenset(
    {"name", "kind", "split", "seed", "standardize", "clip", "transform", "metric", "inputs", "categories"}
)


def check_options(options: Mapping[str, Any], also: frozenset[str] = frozenset()) -> None:
    """Raises: TaskError for an option that no task has. also: further options of a built-in data set."""
    for option in options:
        if option not in OPTIONS | also:
            raise TaskError(f"unknown option {option!r} of a task{did_you_mean(option, OPTIONS | also)}")


def named(options: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The options, with this name if they have none."""
    given = options.get("name")
    return {**options, "name": name if given is None or (isinstance(given, str) and not given) else given}


def check_texts(**options: object) -> None:
    """Check the options of a task that are texts. Raises: TaskError for another type, or a text that no database can hold."""
    for name, value in options.items():
        if not isinstance(value, str):
            raise TaskError(f"{name} is a {type(value).__name__}: expected text, such as {name}='auto'")
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise TaskError(
                f"{name}={value!r}: has a character that no database stores (NUL, or half a surrogate pair)"
            )


def check_outputs(outputs: object, size: int) -> Tensor:
    """A model's outputs (rows, size). Raises: TaskError for anything else."""
    if isinstance(outputs, Tensor) and outputs.ndim == 2 and outputs.shape[1] == size and not outputs.is_complex():
        return outputs
    given = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    raise TaskError(f"outputs is {given}: expected a tensor of shape (rows, {size}), as a model of this task returns")
