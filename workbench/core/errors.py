"""The exceptions users meet.

Each message names the field or argument, the offending value and the remedy, so that the text alone is enough to go on.
All of them derive from `WorkbenchError`; most also derive from the built-in exception a caller would expect to catch.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "ConfigError",
    "LogError",
    "ModelError",
    "Problem",
    "RunError",
    "SealError",
    "TaskError",
    "WorkbenchError",
    "did_you_mean",
    "nearest",
]


class WorkbenchError(Exception):
    """Base class of every error raised on purpose by this package."""


class Problem(NamedTuple):
    """One thing wrong with one field: a user interface shows `message` next to the control of `field`."""

    field: str
    value: object
    message: str


class ConfigError(WorkbenchError, ValueError):
    """A hyperparameter has an unknown name or an impossible value.

    problems: every field that is wrong, not only the first one, or one sentence, as a model's builder raises it for a combination
    that cannot be built: `raise wb.ConfigError(f"heads={heads} must divide width={width}")`.
    """

    def __init__(self, problems: Iterable[Problem] | str) -> None:
        self.problems = (Problem("", None, problems),) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(problem.message for problem in self.problems))


class TaskError(WorkbenchError, ValueError):
    """The data cannot be used as given (shapes, missing values, too few rows, an unknown built-in data set...)."""


class SealError(WorkbenchError):
    """The test set was opened before; it would have to be opened again on purpose."""


class ModelError(WorkbenchError):
    """The user's model, loss or metric raised, or returned something of the wrong shape."""


class LogError(WorkbenchError):
    """The trial log cannot be opened, read or written.

    passing: the cause may go away by itself or by the user's hand (a full disk, a lock, a lost connection), so that trying
    again makes sense.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class CheckpointError(WorkbenchError):
    """A checkpoint or model file cannot be written, is missing, is damaged, or holds what must not be read.

    passing: as in `LogError`.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class RunError(WorkbenchError, RuntimeError):
    """A run cannot do what was asked of it (unknown trial, already ended, nothing to resume...)."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The tail of an error message about an unknown name: the nearest known one, else the whole list.

    >>> did_you_mean("batchsize", ["batch_size", "seed"])
    "; did you mean 'batch_size'?"
    """
    names = sorted(known)
    return nearest(name, names) or (f"; known: {', '.join(names)}" if names else "")


def nearest(name: str, known: Iterable[str]) -> str:
    """The tail of an error message that lists the known names already: the nearest one, "" where none is near.

    >>> nearest("batchsize", ["batch_size", "seed"])
    "; did you mean 'batch_size'?"
    """
    close = get_close_matches(str(name), sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
