"""The arguments of the public calls, checked where they come in: errors name the argument, what was given, and the remedy."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from types import NoneType
from typing import Any, TypeGuard

from workbench.core.config import CHOICES, Config
from workbench.core.domains import finite
from workbench.core.errors import ConfigError, Problem, TaskError, did_you_mean
from workbench.core.identity import identity_of
from workbench.core.registry import user_choices
from workbench.runs.restore import whole
from workbench.tasks import Task
from workbench.tasks.options import check_metrics
from workbench.training import Change, live_value
from workbench.training.devices import available_devices

__all__ = [
    "a_choice",
    "a_config",
    "a_flag",
    "a_place",
    "a_space",
    "a_task",
    "a_text",
    "check_count",
    "check_device",
    "listed_trials",
    "live_changes",
    "plain_whole",
    "search_numbers",
    "some_tags",
    "some_values",
    "steps_to_stop",
    "trial_numbers",
]


def a_config(value: object, name: str = "config") -> Config:
    """A configuration that was given, the default one for None. Raises: ConfigError for anything but a Config."""
    if value is None:
        return Config()
    if not isinstance(value, Config):
        remedy = "give a wb.Config, such as wb.Config(learning_rate=0.01), or that of a trial, bench.config(7)"
        raise ConfigError([Problem(name, value, f"{name} is a {_kind(value)}: {remedy}")])
    config = value.checked()
    for field, registry in CHOICES.items():
        chosen = getattr(config, field)
        versions = user_choices().replaced(registry.what, chosen)
        if versions is not None and identity_of(versions[0]) != identity_of(versions[1]):
            warnings.warn(
                f"{field}={chosen!r} was registered again after this Workbench was made, which goes on with the earlier version; "
                "make the Workbench again (run its cell again) to use the new one",
                UserWarning,
                stacklevel=4,
            )
    return config


def a_task(value: object, name: str = "task") -> Task:
    """A task that was given. Raises: TaskError for anything else, and for a metric that is unknown or of another kind."""
    if not isinstance(value, Task):
        remedy = "give a wb.Task, such as wb.Task.load('digits'), or wb.Task.from_frame(table, target=...)"
        raise TaskError(f"{name} is a {_kind(value)}: {remedy}")
    check_metrics(value.metrics, value.kind, f" of {value.name!r}")
    return value


def a_place(value: object, name: str, otherwise: str) -> str | os.PathLike[str] | None:
    """Where files are to be kept. otherwise: what None means. Raises: ConfigError for anything but a path, text or None."""
    if isinstance(value, str):
        return _storable(str(value), name)
    if value is None or isinstance(value, os.PathLike):
        return value
    message = f"{name} is a {_kind(value)}: give a path, or None {otherwise}"
    raise ConfigError([Problem(name, value, message)])


def a_text(value: object, name: str) -> str:
    """A name or note that was given. Raises: ConfigError for anything but text."""
    if isinstance(value, str):
        return _storable(str(value), name)  # one of numpy's is no plain text
    remedy = f"give text, such as {name}='first try', or leave it out"
    raise ConfigError([Problem(name, value, f"{name} is a {_kind(value)}: {remedy}")])


def a_choice(value: object, name: str) -> str | None:
    """The name of a choice, None for the default. Raises: ConfigError for anything but text."""
    return None if value is None else a_text(value, name)


def a_flag(value: object, name: str) -> bool:
    """A switch that was given. Raises: ConfigError for anything but True and False."""
    if isinstance(value, bool):
        return value
    raise ConfigError([Problem(name, value, f"{name} is a {_kind(value)}: give True or False")])


def _storable(text: str, name: str) -> str:
    """A text that a database can hold. Raises: ConfigError for half a surrogate pair or a NUL character."""
    if "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    message = f"{name}={text!r}: has a character that no database stores (NUL, or half a surrogate pair); leave it out"
    raise ConfigError([Problem(name, text, message)])


def _is_list(value: object) -> TypeGuard[Iterable[Any]]:
    """Whether a value is a collection in one dimension: no text, mapping, table, matrix or single number in an array."""
    single = isinstance(value, (str, bytes, Mapping)) or getattr(value, "ndim", 1) != 1
    return isinstance(value, Iterable) and not single and not isinstance(value, type)


def some_tags(value: object) -> tuple[str, ...]:
    """Tags that were given. Raises: ConfigError for anything but texts in a list, or another collection."""
    remedy = "give a list of texts: tags=['wide', 'night run']"
    if isinstance(value, str):
        remedy = f"give a list: tags=[{str(value)!r}]"
    elif _is_list(value):
        tags = tuple(value)
        wrong = [tag for tag in tags if not isinstance(tag, str)]
        if not wrong:
            return tuple(_storable(str(tag), "tags") for tag in tags)
        message = f"tags={value!r}: {wrong[0]!r} is a {type(wrong[0]).__name__}; {remedy}"
        raise ConfigError([Problem("tags", value, message)])
    raise ConfigError([Problem("tags", value, f"tags is a {_kind(value)}: {remedy}")])


def some_values(value: object) -> list[Any] | None:
    """The values to compare, None for all. Raises: ConfigError for anything but a list of texts, numbers and booleans."""
    if value is None:
        return None
    found = list(value) if _is_list(value) else None
    if found is not None and all(isinstance(one, (str, Real, NoneType)) for one in found):
        return found
    some = f"[{value!r}, ...]" if isinstance(value, (str, Real)) else "['sgd', 'adam']"
    message = f"values={value!r}: give a list of the values to compare, values={some}, or leave it out for all"
    raise ConfigError([Problem("values", value, message)])


def a_space(value: object, name: str) -> Mapping[str, Any]:
    """Domains by hyperparameter. Raises: ConfigError for anything but a mapping."""
    if isinstance(value, Mapping):
        return value
    some = (
        value
        if isinstance(value, str)
        else next((one for one in _listed(value) if isinstance(one, str)), "learning_rate")
    )
    remedy = f"give a domain for each hyperparameter, such as {name}={{{some!r}: wb.LogRange(1e-4, 1e-1)}}"
    raise ConfigError([Problem(name, value, f"{name} is a {_kind(value)}: {remedy}")])


def _listed(value: object) -> list[Any]:
    """What is in a collection; nothing for text and for what is none."""
    try:
        return list(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else []
    except TypeError:  # a lone number as an array, which only looks like a collection
        return []


def _kind(value: object) -> str:
    """A value for a message: its type, and text or a number itself."""
    shown = f" ({value!r})" if isinstance(value, (str, int, float)) and len(str(value)) <= 60 else ""
    return f"{type(value).__name__}{shown}"


def live_changes(given: Sequence[tuple[int, str, float]]) -> list[Change]:
    """Scripted live changes, checked and in order. Raises: ConfigError naming the one that cannot be."""
    found = []
    if not _is_list(given):
        message = f"changes={given!r}: give a list of (step, hyperparameter, value): [(350, 'learning_rate', 0.001)]"
        raise ConfigError([Problem("changes", given, message)])
    for one in given:
        try:
            step, name, value = one
        except (TypeError, ValueError):
            message = f"changes: {one!r} is no (step, hyperparameter, value), such as (350, 'learning_rate', 0.001)"
            raise ConfigError([Problem("changes", one, message)]) from None
        step = check_count("step", step, 2**62, least=0)
        found.append(Change(step, name, live_value(name, value)))
    return sorted(found, key=lambda change: change.step)


def steps_to_stop(stop_after: int | None) -> int | None:
    return None if stop_after is None else check_count("stop_after", stop_after, 2**62)


def plain_whole(value: Any) -> Any:
    """One of numpy's whole numbers, as tables hold them, as an int; anything else as it is, for the check to complain of."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else value


def check_count(name: str, value: object, most: int | None = 10_000, least: int = 1) -> int:
    """A whole number that was given, one of numpy's too, as an int. most: None for no bound.

    Raises: ConfigError for anything else, or one out of bounds.
    """
    number = plain_whole(value)
    if (
        isinstance(number, int)
        and not isinstance(number, bool)
        and least <= number
        and (most is None or number <= most)
    ):
        return number
    bounds = f"from {least}" if most is None else f"from {least} to {most}"
    raise ConfigError([Problem(name, value, f"{name}={value!r}: must be a whole number {bounds}")])


SEARCH_COUNTS = {
    "trials": (1, 1_000_000),
    "no_improvement": (1, 1_000_000),
    "seeds": (1, 1000),
    "cohort": (1, 1_000_000),
    "seed": (0, 2**31 - 1),
    "points": (2, 10_000),
}
"""The whole numbers among the arguments of a search, each with its least and its largest value."""
LEFT_OPEN = frozenset({"trials", "no_improvement", "cohort", "seconds"})
"""Those for which None has a meaning."""


def search_numbers(given: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers among the arguments that a search was given, as plain ones. Raises: ConfigError naming each that is wrong."""
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for name in (name for name in (*SEARCH_COUNTS, "seconds") if name in given):
        value = given[name]
        if value is None and name in LEFT_OPEN:
            found[name] = None
        elif name != "seconds":
            least, most = SEARCH_COUNTS[name]
            try:
                found[name] = check_count(name, value, most, least)
            except ConfigError as error:
                problems += error.problems
        elif (number := finite(value)) is None or number <= 0:
            problems.append(Problem(name, value, f"seconds={value!r}: must be a number above 0"))
        else:
            found[name] = number
    if problems:
        raise ConfigError(problems)
    return found


def listed_trials(value: object) -> list[int]:
    """The trials of a list that was given. Raises: ConfigError for what is no list; RunError for what is no number in it."""
    if _is_list(value):
        return [whole("trial", one) for one in value]
    raise ConfigError(
        [Problem("trials", value, f"trials={value!r}: give a list of trial numbers, such as trials=[3, 7]")]
    )


def trial_numbers(call: str, trials: Sequence[object]) -> list[int]:
    """The trials that a call was given one by one. Raises: ConfigError for a list of them; RunError for what is no number."""
    for one in trials:
        if listed := _listed(one):
            message = f"trials={one!r}: give them one by one: bench.{call}(*{[plain_whole(each) for each in listed]!r})"
            raise ConfigError([Problem("trials", one, message)])
    return [whole("trial", one) for one in trials]


def check_device(device: object) -> str:
    """Raises: ConfigError unless torch can use the device on this machine."""
    known = available_devices()
    if isinstance(device, str) and (
        device in known or (device == "cuda" and any(name.startswith("cuda") for name in known))
    ):
        return str(device)
    hint = did_you_mean(device, known) if isinstance(device, str) else f"; give its name, such as device={known[0]!r}"
    raise ConfigError([Problem("device", device, f"device={device!r}: this machine has {', '.join(known)}{hint}")])
