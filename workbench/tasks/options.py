"""Checks of the arguments of a task's calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from workbench.core.errors import TaskError, did_you_mean

__all__ = ["check_monitor", "check_options", "check_outputs", "check_texts", "metric_names", "named"]

OPTIONS = frozenset(
    {
        "name",
        "kind",
        "split",
        "seed",
        "standardize",
        "clip",
        "transform",
        "metrics",
        "monitor",
        "target_transform",
        "weights",
    }
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


def check_outputs(outputs: object, shape: tuple[int, ...]) -> Tensor:
    """A model's outputs (rows, *shape). Raises: TaskError for anything else."""
    if isinstance(outputs, Tensor) and tuple(outputs.shape[1:]) == shape and not outputs.is_complex():
        return outputs
    given = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    wanted = ", ".join(["rows", *map(str, shape)])
    raise TaskError(f"outputs is {given}: expected a tensor of shape ({wanted}), as a model of this task returns")


def metric_names(metrics: object) -> tuple[str, ...]:
    """The names of a task's metrics, out of one or several. Raises: TaskError for none, no text, or a name given twice."""
    names = (metrics,) if isinstance(metrics, str) else metrics
    remedy = "give names of metrics, such as metrics=('f1', 'roc_auc'); wb.register_metric gives a function one"
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise TaskError(f"metrics={metrics!r}: {remedy}")
    if not names:
        raise TaskError(f"metrics={metrics!r}: is empty; {remedy}")
    if len(set(names)) < len(names):
        raise TaskError(f"metrics={metrics!r}: names a metric twice")
    return tuple(map(str, names))


def check_monitor(monitor: object, metrics: tuple[str, ...]) -> str:
    """What selects the epoch within a trial. Raises: TaskError unless it is "loss" or one of the metrics."""
    choices = ("loss", *metrics)
    if isinstance(monitor, str) and monitor in choices:
        return str(monitor)
    hint = did_you_mean(monitor, choices) if isinstance(monitor, str) else ""
    raise TaskError(
        f"monitor={monitor!r}: must be 'loss' or one of the task's metrics, {', '.join(map(repr, metrics))}{hint}"
    )
