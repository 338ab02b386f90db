"""Where the trials of a search come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from workbench.core.config import Config
from workbench.core.events import EpochEnd

__all__ = ["Supply"]


class Supply(Protocol):
    """Supplies the trials of a search. Called by the training loop between two epochs."""

    def next(self) -> dict[int, Config]:
        """The trials of the next cohort, all with one `cohort_key`; empty when there are no more."""

    def refill(self, training: int) -> dict[int, Config]:
        """Further trials for the current cohort, in which `training` are left."""

    def shrink(self, size: int) -> None:
        """At most `size` such trials can train together: the cohort ran out of memory, or its model cannot be stacked."""

    def prune(self, epochs: Sequence[EpochEnd]) -> Mapping[int, str]:
        """Trials to end as pruned after these epochs, with the reason."""
