"""The recorder of a search: enters into the log what its campaign decides, and reads from it what a strategy learns from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.core.config import Config
from workbench.core.errors import ConfigError, LogError
from workbench.core.events import Event, Message, TrialState
from workbench.log import SearchStep
from workbench.methods.comparison.reads import Reads
from workbench.methods.search.arm import Result
from workbench.methods.search.handle import Search
from workbench.methods.search.protocol import Call, NewRow
from workbench.runs.session import Session, remarks

if TYPE_CHECKING:
    from workbench.methods.search.request import SearchRequest

__all__ = ["LogRecorder", "results_of"]

T = TypeVar("T")


class LogRecorder:
    """Enters the decisions of a campaign into the log.

    replayed: the recorded step that is repeated, while a search is rebuilt. cohort: the number of the last one.
    """

    def __init__(self, session: Session, request: SearchRequest, number: int) -> None:
        self._session, self._request, self._number = session, request, number
        self.cohort: int | None = None
        self._search: Search | None = None
        self.replayed: Mapping[str, Any] | None = None
        self._unmeasured: str | None = None

    def attach(self, search: Search) -> None:
        """Record for this search, which trials join and whose stop ends the drawing of configurations."""
        self._search = search

    def create(self, rows: Sequence[NewRow], call: Call) -> list[int]:
        if self.replayed is not None:
            return list(self.replayed["trials"])
        if call.kind == "next" or self.cohort is None:
            self.cohort = self._session.log.next_cohort()
        request = self._request
        new = [
            self._session.new_trial(
                row.config, source=row.source, parent=row.parent if row.first is None else None, replicates=row.first,
                suggestion=row.suggestion, name=request.name, note=request.note, tags=request.tags,
                device=request.device, cohort=self.cohort, search=request.continues or self._number,
            )
            for row in rows
        ]  # fmt: skip
        step = SearchStep(self._number, "asked", call._asdict())

        unmeasured, self._unmeasured = self._unmeasured, None

        def notes(numbers: Sequence[int]) -> list[Event]:
            own = remarks({number: row.config for number, row in zip(numbers, rows, strict=True)})
            return [*own, *([] if unmeasured is None else [Message(number, unmeasured) for number in numbers])]

        def enter() -> list[int]:
            search = self._search
            assert search is not None
            search.check_code(*(row.config for row in rows))
            with self._session.lock:
                numbers = self._session.log.create(new, step=step, events=notes)
                self._session.adopt(search, {n: row.config for n, row in zip(numbers, rows, strict=True)})
            return numbers

        return self._patiently(enter)

    def note(self, call: Call) -> None:
        if self.replayed is None:
            step = SearchStep(self._number, "asked", {**call._asdict(), "trials": []})
            self._patiently(lambda: self._session.log.searches.add_step(step))

    def shrunk(self, size: int) -> None:
        if self.replayed is None:
            step = SearchStep(self._number, "shrunk", {"size": size})
            self._patiently(lambda: self._session.log.searches.add_step(step))

    def _patiently(self, write: Callable[[], T]) -> T:
        """Write, and retry while the log cannot be written for a temporary reason, as the runner does."""
        while True:
            try:
                return write()
            except LogError as error:
                if self._search is None or not error.passing or not self._search.wait_to_retry(str(error)):
                    raise

    def fits(self, config: Config, wanted: int) -> int:
        if self.replayed is not None:
            return int(self.replayed["fits"])
        if self._request.cohort:
            return self._request.cohort
        try:
            return self._session.capacity(config, self._request.device, wanted)
        except Exception as error:
            # of the user's model or data, or a temporary one: it is logged with the trials, which train singly
            self._unmeasured = (
                f"trains alone: measuring how many trials fit together raised {type(error).__name__}: {error}"
            )
            return 1

    def is_up(self, up: bool) -> bool:
        return up if self.replayed is None else bool(self.replayed["up"])

    def stopped(self) -> bool:
        return self.replayed is None and self._search is not None and self._search.stopped


def results_of(session: Session, trials: Sequence[int] | None = None) -> Iterator[tuple[int, Result]]:
    """The ended trials on this task, manual ones included, with their results; each seed of a configuration by itself.

    trials: only these; by default all except those changed while they trained, whose scores belong to no single configuration.
    """
    useful = {str(TrialState.COMPLETED), str(TrialState.EARLY_STOPPED)}
    frame = Reads.of(session).trials()
    frame = frame[frame["state"].isin(useful | {str(TrialState.DIVERGED)}) & (frame["metric"] == session.task.metric)]
    known = frame["trial"].isin(trials) if trials is not None else ~frame["trial"].isin(session.log.results.altered())
    frame = frame[(frame["source"] != "replay") & known]
    records = session.log.records([int(trial) for trial in frame["trial"]])
    for trial, state, value in zip(frame["trial"], frame["state"], frame["best_val_metric"], strict=True):
        try:
            config = Config(**records[int(trial)].config)
        except ConfigError:
            continue  # of a model that is not registered here
        if records[int(trial)].configuration != session.configuration_of(config):
            continue  # of another version of the user's model, loss, optimizer or schedule
        yield int(trial), Result(config, float(value) if state in useful else math.nan)
