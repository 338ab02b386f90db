"""The arguments of the public calls, checked where they come in: errors name the argument, what was given, and the remedy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from workbench.errors import ConfigError, Problem, TaskError, did_you_mean
from workbench.hyperparameters import Config
from workbench.showing import available_devices
from workbench.tasks import Task
from workbench.training import Change, live_value

__all__ = [
    "a_config",
    "a_place",
    "a_task",
    "check_count",
    "check_device",
    "live_changes",
    "plain_whole",
    "steps_to_stop",
]


def a_config(value: object, name: str = "config") -> Config:
    """A setting that was given, the default one for None. Raises: ConfigError for anything but a Config."""
    if value is None:
        return Config()
    if not isinstance(value, Config):
        remedy = "give a wb.Config, such as wb.Config(learning_rate=0.01), or that of a trial, bench.config(7)"
        raise ConfigError([Problem(name, value, f"{name} is a {_kind(value)}: {remedy}")])
    return value


def a_task(value: object, name: str = "task") -> Task:
    """A task that was given. Raises: TaskError for anything else."""
    if not isinstance(value, Task):
        remedy = "give a wb.Task, such as wb.Task.load('digits'), or wb.Task.from_frame(table, target=...)"
        raise TaskError(f"{name} is a {_kind(value)}: {remedy}")
    return value


def a_place(value: object, name: str, otherwise: str) -> str | os.PathLike[str] | None:
    """Where files are to be kept. otherwise: what None means. Raises: ConfigError for anything but a path, text or None."""
    if value is None or isinstance(value, (str, os.PathLike)):
        return value
    message = f"{name} is a {_kind(value)}: give a path, or None {otherwise}"
    raise ConfigError([Problem(name, value, message)])


def _kind(value: object) -> str:
    """What somebody gave, in words: its type, and text or a number itself."""
    shown = f" ({value!r})" if isinstance(value, (str, int, float)) and len(str(value)) <= 60 else ""
    return f"{type(value).__name__}{shown}"


def live_changes(given: Sequence[tuple[int, str, float]]) -> list[Change]:
    """Scripted live changes, checked and in order. Raises: ConfigError naming the one that cannot be."""
    found = []
    for one in given:
        try:
            step, name, value = one
        except (TypeError, ValueError):
            message = f"changes: {one!r} is no (step, hyperparameter, value), such as (350, 'learning_rate', 0.001)"
            raise ConfigError([Problem("changes", one, message)]) from None
        step = plain_whole(step)
        check_count("step", step, 2**62, least=0)
        found.append(Change(step, name, live_value(name, value)))
    return sorted(found, key=lambda change: change.step)


def steps_to_stop(stop_after: int | None) -> int | None:
    if stop_after is not None:
        stop_after = plain_whole(stop_after)
        check_count("stop_after", stop_after, 2**62)
    return stop_after


def plain_whole(value: Any) -> Any:
    """One of numpy's whole numbers, as tables hold them, as an int; anything else as it is, for the check to complain of."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value


def check_count(name: str, value: object, most: int = 10_000, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError([Problem(name, value, f"{name}={value!r}: must be a whole number from {least} to {most}")])


def check_device(device: str) -> str:
    """Raises: ConfigError unless torch can use the device on this machine."""
    known = available_devices()
    if device in known or (device == "cuda" and any(name.startswith("cuda") for name in known)):
        return device
    message = f"device={device!r}: this machine has {', '.join(known)}{did_you_mean(device, known)}"
    raise ConfigError([Problem("device", device, message)])
