"""The state of a training after one of its epochs, caught as a checkpoint would be."""

from __future__ import annotations

from workbench.core.errors import RunError
from workbench.training import CohortState, Trained, Training

__all__ = ["Catcher"]


class Catcher:
    """A keeper that catches the state after one epoch and then stops the training."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self.found: CohortState | None = None
        self.training: Training | None = None

    def row(self, training: Training, trial: int, fold: int = 0) -> Trained:
        """Train, and return the row of a trial, of the fold with this index. Raises: RunError if it ends before the epoch."""
        self.training = training
        for _ in training.moments():
            pass
        if self.found is None:
            raise RunError(f"trial {trial} could not be trained again up to epoch {self._epoch}: it ended before")
        return self.found.row(trial, fold)

    def begin(self, series: int) -> None:
        pass

    def wants(self, last: bool) -> bool:
        return self.found is None

    def take(self, state: CohortState) -> None:
        if state.rows[0].epoch == self._epoch:
            self.found = state
            if self.training is not None:
                self.training.commands.stop()
