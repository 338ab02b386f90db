"""What training needs to resume where a process stopped, or to repeat a run exactly."""

from __future__ import annotations

from bisect import insort_right
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from workbench.core.config import Config
from workbench.core.events import TrialEnded
from workbench.training.row import Row
from workbench.training.state import CohortState, Trained

__all__ = ["Change", "ChangeRecord", "Keeper", "LoggedTrial", "Origin", "ResumedCohort"]

Origin = Callable[[], Trained]
"""Returns the start of a branch; called when it is needed, since the state may have to be trained again first."""


class Keeper(Protocol):
    """Stores checkpoints. Called on the training thread."""

    def begin(self, series: int) -> None:
        """A cohort begins: checkpoints under its number belong to an earlier one that failed, and are obsolete."""

    def wants(self, last: bool) -> bool:
        """Whether to take the state after this epoch. last: the cohort's last one."""

    def take(self, state: CohortState) -> None:
        """Store a state; must not wait for the disk."""


class Change(NamedTuple):
    """A live change: in force from optimizer step `step + 1` on."""

    step: int
    name: str
    value: float


@dataclass(frozen=True)
class LoggedTrial:
    """What the log holds of a trial: number of epochs, live changes, and its end if it has ended.

    so_far: its end, if it were stopped now.
    """

    epochs: int = 0
    changes: Sequence[Change] = ()
    end: TrialEnded | None = None
    so_far: TrialEnded | None = None


@dataclass(frozen=True)
class ResumedCohort:
    """A cohort to continue.

    trials: Config, as it started, of each trial that the cohort began with. state: to continue from; None to begin at the
    first step. epochs: number of the cohort's epochs in the log; those after `state` train again without being reported.
    joins: trials that joined later, by the number of the cohort's epochs before. logged: by trial.
    """

    trials: Mapping[int, Config]
    state: CohortState | None
    epochs: int
    joins: Mapping[int, Mapping[int, Config]] = field(default_factory=dict)
    logged: Mapping[int, LoggedTrial] = field(default_factory=dict)


class ChangeRecord:
    """The live changes of each trial that are to be repeated, and those that are logged already."""

    def __init__(self, changes: Mapping[int, Sequence[Change]], logged: Mapping[int, Sequence[Change]]) -> None:
        self._all: dict[int, list[Change]] = {}
        for trial in {*changes, *logged}:
            made = list(logged.get(trial, ()))
            left = Counter(made)  # the same value may be set twice at one step
            rest = []
            for change in changes.get(trial, ()):
                if left[change]:
                    left[change] -= 1
                else:
                    rest.append(change)
            self._all[trial] = sorted([*made, *rest], key=lambda change: change.step)
        self._logged = {(trial, change) for trial, made in logged.items() for change in made}
        self._coming: dict[int, deque[Change]] = {}

    def enter(self, row: Row) -> None:
        """A row begins, or begins again: changes before its step are in its configuration already."""
        coming = deque(change for change in self._all.get(row.trial, ()) if change.step >= row.step)
        self._coming.pop(row.trial, None)
        if coming:
            self._coming[row.trial] = coming

    def add(self, trial: int, change: Change) -> None:
        """Record a change by the user, to be repeated if the trial trains again."""
        insort_right(self._all.setdefault(trial, []), change, key=lambda one: one.step)
        self._logged.add((trial, change))

    @property
    def pending(self) -> bool:
        return bool(self._coming)

    def due(self, row: Row) -> list[tuple[Change, bool]]:
        """The changes to make before the row's next step, each with whether it is logged already."""
        coming, found = self._coming.get(row.trial), []
        while coming and coming[0].step <= row.step:
            change = coming.popleft()
            found.append((change, (row.trial, change) in self._logged))
        if coming is not None and not coming:
            del self._coming[row.trial]
        return found
