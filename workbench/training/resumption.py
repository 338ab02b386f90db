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

__all__ = ["Change", "Keeper", "Origin", "Script", "TakeUp", "Told"]

Origin = Callable[[], Trained]
"""Where a branch begins; the state may have to be trained again first, so it is asked for when it is needed."""


class Keeper(Protocol):
    """Where checkpoints go. Called on the training thread."""

    def begin(self, series: int) -> None:
        """A cohort is formed again: what was kept under its number belongs to one that broke off."""

    def wants(self, last: bool) -> bool:
        """Whether to take the state after this epoch. last: the cohort's last one."""

    def take(self, state: CohortState) -> None:
        """Keep a state; must not wait for a disk."""


class Change(NamedTuple):
    """A live change: in force from optimizer step `step + 1` on."""

    step: int
    name: str
    value: float


@dataclass(frozen=True)
class Told:
    """What the log has of a trial: its epochs, its live changes, and its end if it has ended.

    so_far: what its end would say, were it stopped now.
    """

    epochs: int = 0
    changes: Sequence[Change] = ()
    end: TrialEnded | None = None
    so_far: TrialEnded | None = None


@dataclass(frozen=True)
class TakeUp:
    """A cohort to go on with.

    trials: Config, as it started, of each trial that the cohort was formed of. state: where to go on from; None for the first
    step. epochs: of the cohort that the log has; those after `state` are trained again in silence. joins: trials that
    joined later, by the number of the cohort's epochs before. told: by trial.
    """

    trials: Mapping[int, Config]
    state: CohortState | None
    epochs: int
    joins: Mapping[int, Mapping[int, Config]] = field(default_factory=dict)
    told: Mapping[int, Told] = field(default_factory=dict)


class Script:
    """The live changes of each trial that are to be made again, and those that are on record already."""

    def __init__(self, changes: Mapping[int, Sequence[Change]], told: Mapping[int, Sequence[Change]]) -> None:
        self._all: dict[int, list[Change]] = {}
        for trial in {*changes, *told}:
            made = list(told.get(trial, ()))
            to_come = Counter(changes.get(trial, ())) - Counter(made)  # the same value may be set twice at one step
            rest = [change for change in changes.get(trial, ()) if _taken(to_come, change)]
            self._all[trial] = sorted([*made, *rest], key=lambda change: change.step)
        self._silent = {(trial, change) for trial, made in told.items() for change in made}
        self._coming: dict[int, deque[Change]] = {}

    def enter(self, row: Row) -> None:
        """A row begins, or begins again: what lies before its step is in its config."""
        coming = deque(change for change in self._all.get(row.trial, ()) if change.step >= row.step)
        self._coming.pop(row.trial, None)
        if coming:
            self._coming[row.trial] = coming

    def made(self, trial: int, change: Change) -> None:
        """The user made a change: should the trial be trained again, it belongs to it."""
        insort_right(self._all.setdefault(trial, []), change, key=lambda one: one.step)
        self._silent.add((trial, change))

    @property
    def pending(self) -> bool:
        return bool(self._coming)

    def due(self, row: Row) -> list[tuple[Change, bool]]:
        """The changes to make now, before the row's next step, each with whether to be silent about it."""
        coming, found = self._coming.get(row.trial), []
        while coming and coming[0].step <= row.step:
            change = coming.popleft()
            found.append((change, (row.trial, change) in self._silent))
        if coming is not None and not coming:
            del self._coming[row.trial]
        return found


def _taken(counts: Counter[Change], change: Change) -> bool:
    """Take one of a kind out of the counts, if there is one left."""
    left = counts[change] > 0
    counts[change] -= left
    return left
