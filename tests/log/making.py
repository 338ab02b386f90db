"""Small trials and events for the tests of the log, and processes that write to one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import workbench as wb
from workbench.core.events import EpochEnd, StateChanged, TrialEnded, TrialState
from workbench.log import NewTrial, TrialLog

CONFIG = wb.Config().model_dump()


def new(**values: Any) -> NewTrial:
    return NewTrial(**{"config": CONFIG, "task": "t", "task_fingerprint": "f", "metric": "accuracy", **values})


def end(trial: int, epochs: int = 0, state: TrialState = TrialState.COMPLETED) -> TrialEnded:
    return TrialEnded(trial, state, epochs, epochs * 10, epochs, 0.5, 0.9, 1.0)


def epoch(trial: int, n: int, value: float = 0.5) -> EpochEnd:
    return EpochEnd(trial, n, n * 10, value, 0.0, 0.9, value, 0.9, 0.01, 1.0, 0.1)


def running(*trials: int) -> list[StateChanged]:
    return [StateChanged(trial, TrialState.RUNNING) for trial in trials]


def ended(log: TrialLog, count: int = 1, **values: Any) -> list[int]:
    """Trials that ran for one epoch to their end."""
    trials = log.create([new(**values)] * count)
    for trial in trials:
        log.append([*running(trial), epoch(trial, 1), end(trial, 1)])
    return trials


LIVING = """
import sys
from workbench.log import NewTrial, TrialLog
from workbench.core.events import EpochEnd, StateChanged, TrialState
log = TrialLog.open(sys.argv[1])
trials = log.create([NewTrial({}, "t", "f", "accuracy")] * int(sys.argv[2]))
log.append([StateChanged(trial, TrialState.RUNNING) for trial in trials])
log.append([EpochEnd(trials[0], 1, 10, 1, 0, 1, 1, 1, 1, 1, 1)])
print(*trials, flush=True)
sys.stdin.readline()
"""


@contextmanager
def another_process(path: Path, trials: int = 1) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process that trains trials (the first has an epoch behind it) until it is killed or the block is left."""
    command = [sys.executable, "-c", LIVING, str(path), str(trials)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield child, [int(word) for word in child.stdout.readline().split()]
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()
