"""How many trials were measured on a task's validation split stays known when the trash is emptied."""

from __future__ import annotations

from tests.log.making import end, ended, epoch, new, running
from workbench.core.events import TrialState
from workbench.log import TrialLog


def test_removed_trials_count_if_they_had_an_epoch_each_for_its_own_task(log: TrialLog) -> None:
    measured = ended(log, 2)
    (elsewhere,) = ended(log, task_fingerprint="g")
    (unmeasured,) = log.create([new()])
    log.append([*running(unmeasured), end(unmeasured, 0, TrialState.FAILED)])
    (kept,) = log.create([new()])
    log.append([*running(kept), epoch(kept, 1), epoch(kept, 2), end(kept, 2)])
    before = {task: log.results.count_measured(task) for task in ("f", "g", "h")}
    assert before == {"f": 3, "g": 1, "h": 0}
    log.trash.delete([*measured, elsewhere, unmeasured])
    assert log.trash.empty() == ([*measured, elsewhere, unmeasured], [])
    assert {task: log.results.count_measured(task) for task in before} == before
