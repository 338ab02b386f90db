"""Live changes and requests between two optimizer steps: those on record, and those that the user makes now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from workbench.core.errors import ConfigError
from workbench.core.events import Event, KnobChanged, Message, StateChanged, TrialState
from workbench.training.cohort import Cohort
from workbench.training.commands import Commands, Peek
from workbench.training.resumption import Change, ChangeRecord
from workbench.training.row import Row

__all__ = ["apply_recorded", "execute"]


def apply_recorded(record: ChangeRecord, cohort: Cohort) -> Iterator[tuple[Event, ...]]:
    """Make the changes that are on record for the cohort's next step. Yields the events of those not reported before."""
    events: list[Event] = []
    changed = False
    for own in cohort.trials():
        rows = [cohort.rows[index] for index in own]
        for change, silent in record.due(rows[0]):
            found = _apply_all(rows, change.name, change.value)
            changed = changed or bool(found)
            events.extend([] if silent else found)
    if changed:
        cohort.refresh()
    if events:
        yield tuple(events)


def execute(
    commands: Commands, record: ChangeRecord, cohort: Cohort, reported: Mapping[int, int]
) -> Iterator[tuple[Event, ...]]:
    """Execute the commands at hand: live changes, peeks, pause (which waits here) and resume; stop is left to the caller.

    reported: epochs reported so far, by trial. While a trial repeats epochs on record, changes wait until it has passed them.
    """
    paused = False
    repeating = any(row.epoch < reported.get(row.trial, 0) for row in cohort.rows)
    while True:
        _answer_peeks(commands, cohort)
        events: list[Event] = []
        for change in [] if repeating else commands.take():
            for own in cohort.trials():
                rows = [cohort.rows[index] for index in own]
                row = rows[0]
                if change.trial in (None, row.trial):
                    found = _apply_all(rows, change.name, change.value)
                    if any(isinstance(event, KnobChanged) for event in found):
                        record.add(row.trial, Change(row.step, change.name, change.value))
                    events.extend(found)
        if events:
            cohort.refresh()
            yield tuple(events)
        if not commands.paused:
            break
        if not paused:
            paused = True
            yield tuple(StateChanged(row.trial, TrialState.PAUSED, row.step) for row in _leaders(cohort))
        commands.wait(for_changes=not repeating)
    if paused and not commands.stopped:
        yield tuple(StateChanged(row.trial, TrialState.RUNNING, row.step) for row in _leaders(cohort))


def _answer_peeks(commands: Commands, cohort: Cohort) -> None:
    """Answer the requests for a trial's weights with a copy."""
    for trial, mailbox in commands.take_peeks().items():
        started = time.perf_counter()
        index = next((i for i, row in enumerate(cohort.rows) if row.trial == trial and not row.fold), None)
        if index is None:
            mailbox.put(None)
            continue
        row, weights = cohort.rows[index], cohort.weights(index)
        mailbox.put(Peek(trial, row.epoch, row.step, weights, time.perf_counter() - started))


def _leaders(cohort: Cohort) -> list[Row]:
    """Of each trial the row that numbers its steps."""
    return [cohort.rows[own[0]] for own in cohort.trials()]


def _apply_all(rows: Sequence[Row], name: str, new: float) -> list[Event]:
    """Make a live change to a trial, to all its folds. Returns the events of the first one."""
    first, *_ = [list(_apply(row, name, new)) for row in rows]
    return first


def _apply(row: Row, name: str, new: float) -> Iterator[Event]:
    """Make a live change to one row's configuration."""
    old = getattr(row.config, name)
    scheduled = (
        name == "learning_rate" and row.next_rate() != new
    )  # the same value again, after the schedule has lowered it
    if old == new and not scheduled:
        return
    try:
        row.config = row.config.replace(**{name: new})
    except ConfigError as error:  # valid by itself, but in conflict with another field of this trial
        yield Message(row.trial, f"not changed: {error}")
        return
    if name == "learning_rate":
        row.rate_was_set()
    yield KnobChanged(row.trial, row.epoch + 1, row.step, name, old, new)
