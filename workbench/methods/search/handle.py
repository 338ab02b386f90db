"""The handle of a search: a run that trials join while it is running."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from workbench.core.events import Event, StateChanged, TrialState
from workbench.methods.search.campaign import Campaign
from workbench.methods.search.protocol import Progress
from workbench.runs.run import Run
from workbench.training import Training

__all__ = ["Search"]

RETRY_SECONDS = 1.0


class Search(Run):
    """A search under way: `wait()`, `pause()`, `resume()`, `stop()`; can be awaited. Stopping keeps what is done.

    number: of the search in the log (see `bench.searches`). trials: the trials started so far.
    """

    grows = True

    def __init__(
        self,
        number: int,
        strategy: str,
        training: Training,
        campaign: Campaign,
        pump: Callable[[], object] | None = None,
    ) -> None:
        super().__init__({}, training, pump, search=number)
        self.number = number
        self.strategy = strategy
        self._campaign = campaign
        self._reported = ""

    @property
    def title(self) -> str:
        return f"Search {self.number} ({self.strategy})"

    @property
    def progress(self) -> Progress:
        """Configurations planned, done, running, pruned, failed and stopped; seconds; configurations a second; seconds left; best
        trial."""
        return self._campaign.progress

    def __repr__(self) -> str:
        progress = self.progress
        planned = "" if progress.planned is None else f" of {progress.planned}"
        over = "stopped" if self.stopped else "ended"
        state = over if self.done else "paused" if self.paused else "running" if self.trials else "queued"
        ending = f"; {progress.ending}" if progress.ending else ""
        return (
            f"<Search {self.number} ({self.strategy}), {state}: {progress.done}{planned} configurations done{ending}>"
        )

    @property
    def verdict(self) -> str:
        """Why it ended before its budget was spent, or has no result."""
        return self._campaign.progress.ending

    def wait_to_retry(self, message: str) -> bool:
        """Report once what cannot be written, and wait a moment; False if the search is to stop."""
        if self._reported != message:
            self._reported = message
            self.message(f"{message} The search waits and tries again; Stop ends it.")
        self._commands.wait_for_stop(RETRY_SECONDS)
        return not self._commands.stopped

    def _update(self, event: Event) -> None:
        super()._update(event)
        if not isinstance(event, StateChanged):
            self._campaign.handle(event)
        elif event.state is TrialState.PAUSED:
            self._campaign.stop_clock()
        else:
            self._campaign.start_clock()

    def _finish(self, error: BaseException | None) -> None:
        self._campaign.stop_clock()
        super()._finish(error)

    def _raise_error(self) -> None:
        super()._raise_error()
        if self._campaign.scoreless and self.progress.ending:
            remedy = "see the column reason of bench.trials, and bench.curves"
            warnings.warn(f"{self.title}: {self.progress.ending}; {remedy}", UserWarning, stacklevel=4)

    def _kept(self) -> str:
        return f"{self.progress.done} configurations done, all epochs kept"
