"""Arguments of a task's calls, checked where they come in."""

from __future__ import annotations

from torch import Tensor

from workbench.core.errors import TaskError

__all__ = ["check_outputs", "check_texts"]


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
