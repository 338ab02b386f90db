"""The recorder of a search: enters into the log what its campaign decides, and reads from it what a strategy learns from."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.core.config import Config
from workbench.core.errors import ConfigError, LogError
from workbench.core.events import Event, Message, TrialEnded, TrialState
from workbench.log import UNRANKED, SearchStep
from workbench.methods.comparison.reads import Reads
from workbench.methods.search.arm import Result
from workbench.methods.search.handle import Search
from workbench.methods.search.protocol import Call, NewRow
from workbench.runs.publisher import LogChanged
from workbench.runs.session import Session, notes_without_effect

if TYPE_CHECKING:
    from workbench.methods.search.request import SearchRequest

__all__ = ["LogRecorder", "drawn_before", "results_of", "tried_in"]

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
        if (call.kind == "next" or self.cohort is None) and not all(row.rejected for row in rows):
            self.cohort = self._session.log.next_cohort()
        request = self._request
        new = [
            self._session.new_trial(
                row.config, source=row.source, parent=row.parent if row.first is None else None, replicates=row.first,
                suggestion=row.suggestion, name=request.name, note=request.note, tags=request.tags,
                device=request.device, cohort=None if row.rejected else self.cohort, search=request.continues or self._number,
            )
            for row in rows
        ]  # fmt: skip
        step = SearchStep(self._number, "asked", call._asdict())

        unmeasured, self._unmeasured = self._unmeasured, None

        def events(numbers: Sequence[int]) -> list[Event]:
            trains = {number: row.config for number, row in zip(numbers, rows, strict=True) if not row.rejected}
            found: list[Event] = [*notes_without_effect(trains)]
            for number, row in zip(numbers, rows, strict=True):
                found += [Message(number, text) for text in (row.note, not row.rejected and unmeasured) if text]
                if row.rejected:
                    found.append(TrialEnded(number, TrialState.FAILED, 0, 0, 0, math.inf, math.nan, 0.0, row.rejected))
            return found

        def enter() -> list[int]:
            search = self._search
            assert search is not None
            begun = [not row.rejected for row in rows]
            search.check_code(*(row.config for row in compress(rows, begun)))
            with self._session.lock:
                numbers = self._session.log.create(new, step=step, events=events)
                pairs = compress(zip(numbers, rows, strict=True), begun)
                self._session.adopt(search, {number: row.config for number, row in pairs})
            if not all(begun):
                self._session.publish([LogChanged()])
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

    def ended(self, reason: str) -> None:
        step = SearchStep(self._number, "ending", {"reason": reason})
        self._patiently(lambda: self._session.log.searches.add_step(step))
        if self._search is not None:
            self._search.message(f"{self._search.title}: {reason}.")

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
    frame = frame[~frame["source"].isin(UNRANKED) & known]
    records = session.log.records([int(trial) for trial in frame["trial"]])
    for trial, state, value in zip(frame["trial"], frame["state"], frame["best_val_metric"], strict=True):
        try:
            config = Config(**records[int(trial)].config)
        except ConfigError:
            continue  # of a model that is not registered here
        if records[int(trial)].configuration != session.configuration_of(config):
            continue  # of another version of the user's model, loss, optimizer or schedule
        yield int(trial), Result(config, float(value) if state in useful else math.nan)


def tried_in(session: Session, search: int, trials: Sequence[int] | None = None) -> Iterator[tuple[int, Config]]:
    """The configurations that a search and those that continue it have started, by trial; those in the trash included.

    search: the first of them. trials: only these; by default all of their trials that have ended by themselves or are training.
    """
    numbers = session.log.searches.trials(search) if trials is None else trials
    for trial, record in session.log.records(numbers).items():
        try:
            config = Config(**record.config)
        except ConfigError:
            continue  # of a model that is not registered here
        if record.configuration == session.configuration_of(config):  # else of another version of the user's code
            yield trial, config


def drawn_before(session: Session, request: SearchRequest, done: int) -> int:
    """How many of the `done` configurations of the searches that a request continues were drawn as it draws: those since the
    strategy, its seed, the space, base or constraint were others."""
    table = session.log.searches.table()
    chain = table.loc[(table["search"] == request.continues) | (table["continues"] == request.continues), "search"]
    steps = session.log.searches.steps(int(chain.max()))
    if not steps or _source(steps[0].data["request"]) != _source(request.record()):
        return 0
    return done - int(steps[0].data["done"]) + int(steps[0].data["drawn"])


def _source(record: Mapping[str, Any]) -> dict[str, Any]:
    """What decides which configurations are drawn."""
    fields = ("strategy", "seed", "points", "space", "base", "where")
    source: dict[str, Any] = json.loads(json.dumps({name: record[name] for name in fields}))
    return source
