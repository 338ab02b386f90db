"""The handle of a search: a run whose trials come as it goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from workbench.core.events import Event, StateChanged, TrialState
from workbench.runs.run import Run
from workbench.training import Training

__all__ = ["Hearer", "Search"]

RETRY_SECONDS = 1.0


class Hearer(Protocol):
    """What a search asks of the campaign behind it (`search.Campaign`)."""

    def hear(self, event: Event) -> None: ...
    def stand(self) -> None: ...
    def go_on(self) -> None: ...
    @property
    def progress(self) -> Any: ...


class Search(Run):
    """A search under way: `wait()`, `pause()`, `resume()`, `stop()`; can be awaited. Stopping keeps what is done.

    number: of the search in the log (see `bench.searches`). trials: the trials started so far.
    """

    grows = True

    def __init__(
        self, number: int, strategy: str, training: Training, campaign: Hearer, pump: Callable[[], object] | None = None
    ) -> None:
        super().__init__({}, training, pump)
        self.number = self.search = number
        self.strategy = strategy
        self._campaign = campaign
        self._said = ""

    @property
    def title(self) -> str:
        return f"Search {self.number} ({self.strategy})"

    @property
    def progress(self) -> Any:
        """Settings planned, done, running, pruned, failed and stopped; seconds; configurations a second; seconds
        left; best trial."""
        return self._campaign.progress

    def __repr__(self) -> str:
        progress = self.progress
        planned = "" if progress.planned is None else f" of {progress.planned}"
        over = "stopped" if self.stopped else "ended"
        state = over if self.done else "paused" if self.paused else "running" if self.trials else "queued"
        return f"<Search {self.number} ({self.strategy}), {state}: {progress.done}{planned} configurations done>"

    def waits_for_room(self, message: str) -> bool:
        """Say once what cannot be written, and wait a moment; False once the search is to stop."""
        if self._said != message:
            self._said = message
            self.message(f"{message} The search waits and tries again; Stop ends it.")
        self._commands.wait_for_stop(RETRY_SECONDS)
        return not self._commands.stopped

    def _update(self, event: Event) -> None:
        super()._update(event)
        if not isinstance(event, StateChanged):
            self._campaign.hear(event)
        elif event.state is TrialState.PAUSED:
            self._campaign.stand()
        else:
            self._campaign.go_on()

    def _finish(self, error: BaseException | None) -> None:
        self._campaign.stand()
        super()._finish(error)

    def _kept(self) -> str:
        return f"{self.progress.done} configurations done, all epochs kept"
