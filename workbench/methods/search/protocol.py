"""What a campaign exchanges with its surroundings: its budget, its progress, and the recorder that it asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from workbench.core.config import Config

__all__ = ["Budget", "Call", "NewRow", "Progress", "Recorder"]


@dataclass(frozen=True)
class Budget:
    """When to start no further trial.

    trials: configurations to try. seconds: of wall time. patience: configurations without a better one.
    """

    trials: int | None = None
    seconds: float | None = None
    patience: int | None = None


class NewRow(NamedTuple):
    """A trial that is about to start.

    first: index of the row in the same call whose replicate it is, None for the first seed. parent: an earlier trial whose
    replicate it is. note: a message for the log. rejected: why this task cannot train it; it ends as failed at once.
    """

    config: Config
    source: str
    suggestion: int
    first: int | None
    parent: int | None
    note: str = ""
    rejected: str = ""


class Progress(NamedTuple):
    """The progress of a search, in configurations.

    planned: in all, None if only time or patience ends the search. done: ended, whatever the result; stopped: started and
    stopped before their end. ending: why the search ended before its budget was spent, or has no result; "" otherwise.
    """

    planned: int | None
    done: int
    running: int
    pruned: int
    failed: int
    seconds: float
    trials_per_second: float
    seconds_left: float | None
    best_trial: int | None
    best_value: float
    learned: int
    stopped: int = 0
    ending: str = ""


class Call(NamedTuple):
    """What the training loop asked a campaign for, with what the answer depends on besides the campaign's own state.

    kind: "next" or "refill". training: trials left in the cohort. fits: how many were found to fit together, 0 if this was not
    measured. up: whether the budget of seconds was spent. seconds: since the search began.
    """

    kind: str
    training: int
    fits: int
    up: bool
    seconds: float


class Recorder(Protocol):
    """Answers and records what does not follow from a campaign's own state.

    From the recorded answers and the events of its trials, a campaign can be rebuilt after a crash (see `search.resume`).
    """

    def create(self, rows: Sequence[NewRow], call: Call) -> list[int]:
        """Enter trials into the log, together with the call that they answer; returns their numbers, rejected ones included."""

    def note(self, call: Call) -> None:
        """Record a call that changed the campaign and started no trial."""

    def shrunk(self, size: int) -> None:
        """Record that cohorts of the present kind are no larger than this from now on."""

    def ended(self, reason: str) -> None:
        """Record why the search ended before its budget was spent, or has no result."""

    def fits(self, config: Config, wanted: int) -> int:
        """How many of `wanted` trials like this one fit and pay in one cohort."""

    def is_up(self, up: bool) -> bool:
        """Whether the budget of seconds is spent, `up` by the clock."""

    def stopped(self) -> bool:
        """Whether the search was asked to stop, which also ends the drawing of configurations."""
