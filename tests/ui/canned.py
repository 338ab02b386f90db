"""Trials that nobody trained: canned events in the log of a workbench, published as the runner publishes them."""

from __future__ import annotations

from typing import Any

import workbench as wb
from workbench.core.events import Branched, EpochEnd, Event, KnobChanged, StateChanged, TrialEnded, TrialState
from workbench.runs.publisher import LogChanged

SHORT = wb.Config(epochs=4, hidden_units=8)


def epoch_end(trial: int, epoch: int, loss: float = 1.0) -> EpochEnd:
    return EpochEnd(trial, epoch, 5 * epoch, loss, 0.0, 0.5, loss, 0.5, 0.01, 1.0, 0.01)


def record(
    bench: wb.Workbench,
    config: wb.Config = SHORT,
    *,
    best_epoch: int = 3,
    change: tuple[int, float] | None = None,
    state: TrialState | None = TrialState.COMPLETED,
    branch: tuple[int, int] | None = None,
    **about: Any,
) -> int:
    """Enter a trial with its epochs into the log, and publish them. Returns its number.

    best_epoch: of the lowest validation loss. change: epoch and value of a live change of the learning rate. state: at the
    end; None while it runs. branch: the trial and epoch that it began from. about: fields of `NewTrial`, such as a name.
    """
    session = bench.presenter.session
    first = 1
    if branch is not None:
        about |= {"source": "branch", "parent": branch[0], "parent_epoch": branch[1]}
        first = branch[1] + 1
    (trial,) = session.log.create([session.new_trial(config, **about)])
    events: list[Event] = [StateChanged(trial, TrialState.RUNNING)]
    if branch is not None:
        old = bench.config(branch[0]).model_dump()
        changes = {name: (old[name], value) for name, value in config.model_dump().items() if old[name] != value}
        events.append(Branched(trial, *branch, changes))
    for epoch in range(first, config.epochs + 1):
        if change is not None and epoch == change[0]:
            events.append(KnobChanged(trial, epoch, 5 * epoch - 4, "learning_rate", config.learning_rate, change[1]))
        events.append(epoch_end(trial, epoch, 0.5 + 0.1 * abs(epoch - best_epoch)))
    if state is not None:
        best = min(max(best_epoch, first), config.epochs)
        events.append(TrialEnded(trial, state, config.epochs, 5 * config.epochs, best, 0.5, 0.5, 0.04))
    session.log.append(events)
    session.publish(events)
    session.publish([LogChanged()])
    return trial
