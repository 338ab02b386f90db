"""Checks of the arguments of a task's calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from workbench.core.errors import TaskError, did_you_mean, nearest
from workbench.core.registry import METRICS

__all__ = ["check_metrics", "check_monitor", "check_options", "check_outputs", "check_texts", "metric_names", "named"]

OPTIONS = frozenset(
    {
        "name",
        "kind",
        "split",
        "seed",
        "standardize",
        "clip",
        "transform",
        "inputs",
        "categories",
        "metrics",
        "monitor",
        "target_transform",
        "weights",
    }
)


_GROUPED = "to keep rows that belong together in one split, give split=wb.Split.grouped(...)"
_ORDERED = "to divide rows by time, give split=wb.Split.ordered(...)"
_FOLDS = "for a cross-validation, give split=wb.Split.folds(...)"
ELSEWHERE = {
    **dict.fromkeys(("group", "groups"), _GROUPED),
    **dict.fromkeys(("order", "time", "date", "gap"), _ORDERED),
    **dict.fromkeys(("folds", "cv", "splitter"), _FOLDS),
    **dict.fromkeys(("stratify", "shuffle"), "the division is described by split=wb.Split.random(..., stratify=...)"),
    **dict.fromkeys(("test_size", "val_size"), "give the shares of all splits, such as split=(0.6, 0.2, 0.2)"),
    "random_state": "give seed=",
    "class_weight": "it is a hyperparameter of the losses: wb.Config(class_weight='balanced')",
    "loss": "it is a hyperparameter: wb.Config(loss=...)",
    "sample_weight": "give weights=",
}
"""Where what other libraries call so stands here."""


def check_options(options: Mapping[str, Any], also: frozenset[str] = frozenset()) -> None:
    """Raises: TaskError for an option that no task has. also: further options of a built-in data set."""
    for option in options:
        if option not in OPTIONS | also:
            if option in ELSEWHERE:
                raise TaskError(f"unknown option {option!r} of a task; {ELSEWHERE[option]}")
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


def check_metrics(metrics: Sequence[str], kind: str, of: str = "", *, registered: bool = True) -> None:
    """Raises: TaskError for a metric of another kind of task, or one that there is not. registered: whether all are registered by
    now; else those that are not known are left out."""
    suited = METRICS.suited_to(kind)
    for name in metrics:
        known = name in METRICS
        if name in suited or not (known or registered):
            continue
        why = f"is for {' and '.join(sorted(METRICS[name].kinds))}" if known else "is unknown"
        choices = ", ".join(map(repr, suited))
        raise TaskError(
            f"metric {name!r}{of} {why}; for {kind} there are {choices}, and those of wb.register_metric{nearest(name, suited)}"
        )


def check_monitor(monitor: object, metrics: tuple[str, ...]) -> str:
    """What selects the epoch within a trial. Raises: TaskError unless it is "loss" or one of the metrics."""
    choices = ("loss", *metrics)
    if isinstance(monitor, str) and monitor in choices:
        return str(monitor)
    hint = did_you_mean(monitor, choices) if isinstance(monitor, str) else ""
    raise TaskError(
        f"monitor={monitor!r}: must be 'loss' or one of the task's metrics, {', '.join(map(repr, metrics))}{hint}"
    )
