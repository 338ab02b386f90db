"""The runner: trains one run after another in a background thread, and is the only writer of a trial's end."""

from __future__ import annotations

import math
import os
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch

from workbench.errors import LogError
from workbench.events import EpochEnd, Event, Remark, StateChanged, TrialEnded, TrialState
from workbench.execution.run import Run
from workbench.log import TrialLog

__all__ = ["Runner"]

RETRY_SECONDS = 1.0
SMALL_WORK = 50e6
"""Floating-point operations of a batch's forward pass below which one core trains faster than several."""


class Runner:
    """Trains queued runs in order. Events go to the log first, and only then to whoever listens.

    publish: called on the training thread with each group of events that the log has taken; must only enqueue.
    """

    def __init__(self, log: TrialLog, publish: Callable[[Sequence[Event]], None]) -> None:
        self._log = log
        self._publish = publish
        self._queue: deque[Run] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.current: Run | None = None

    def submit(self, run: Run) -> None:
        """Train the run when those before it have ended. Returns at once."""
        with self._lock:
            self._queue.append(run)
            if self._thread is None:
                # a daemon, so that a kernel can always be shut down; the log has every epoch it acknowledged
                self._thread = threading.Thread(target=self._work, name="workbench-training", daemon=True)
                self._thread.start()

    @property
    def runs(self) -> list[Run]:
        """The run that trains, and those that wait."""
        with self._lock:
            return ([self.current] if self.current is not None else []) + list(self._queue)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._thread = self.current = None
                    return
                run = self.current = self._queue.popleft()
            try:
                error = self._train(run)
            except BaseException as unexpected:  # the log refused the end as well: the waiting cell must hear of it
                error = unexpected
            with self._lock:
                self.current = None
            run._finish(error)

    def _train(self, run: Run) -> BaseException | None:
        """One run from its first step to every trial's end. Returns what went wrong, after it is in the log."""
        unfinished = _Unfinished(run.trials)
        try:
            run._training.cores = os.cpu_count() or 1
            run._training.around = partial(_fitting_threads, run._training.device)
            for moment in run._training.moments():
                self._record(run, unfinished, moment)
        except Exception as error:
            if unfinished.trials:
                text = f"{type(error).__name__}: {error}"
                self._record(run, unfinished, unfinished.end(TrialState.FAILED, text, traceback.format_exc()))
            return error
        return None

    def _record(self, run: Run, unfinished: _Unfinished, events: Sequence[Event]) -> None:
        """Log, then publish. While the log cannot be written (a full disk), training waits and tries again."""
        told = False
        while True:
            try:
                self._log.append(events)
                break
            except LogError as error:
                if run._commands.stopped:
                    raise
                if not told:
                    told = True
                    message = f"{error} Training waits and tries again; Stop ends it."
                    self._publish([Remark(trial, message) for trial in run.trials])
                run._commands.wait_for_stop(RETRY_SECONDS)
        for event in events:
            run._hear(event)
            unfinished.hear(event)
        self._publish(events)


@contextmanager
def _fitting_threads(device: torch.device, work: float) -> Iterator[None]:
    """One core for small models, for as long as they train; every other thread keeps its setting.

    Torch's workers belong to the thread that calls it. Beside the main thread's, those of a second one find no core to spin
    on, and waking them at each operation costs several times the step of a small model (docs/performance.md).
    """
    before = torch.get_num_threads()
    small = before > 1 and device.type == "cpu" and work < SMALL_WORK
    if small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if small:
            torch.set_num_threads(before)


class _Unfinished:
    """What is known of the trials that have not ended, for the end record of a run that breaks off."""

    def __init__(self, trials: Sequence[int]) -> None:
        self.trials: dict[int, list[EpochEnd]] = {trial: [] for trial in trials}

    def hear(self, event: Event) -> None:
        if isinstance(event, StateChanged):
            self.trials.setdefault(event.trial, [])  # a search's trials come as they start
        elif isinstance(event, EpochEnd):
            self.trials[event.trial].append(event)
        elif isinstance(event, TrialEnded):
            self.trials.pop(event.trial, None)

    def end(self, state: TrialState, reason: str, trace: str) -> list[Event]:
        ends: list[Event] = []
        for trial, epochs in self.trials.items():
            finite = [epoch for epoch in epochs if math.isfinite(epoch.val_loss)]
            best = min(finite, key=lambda epoch: epoch.val_loss, default=None)
            ends.append(
                TrialEnded(
                    trial,
                    state,
                    epochs_run=len(epochs),
                    step=epochs[-1].step if epochs else 0,
                    best_epoch=best.epoch if best else 0,
                    best_val_loss=best.val_loss if best else math.inf,
                    best_val_metric=best.val_metric if best else math.nan,
                    seconds=sum(epoch.seconds for epoch in epochs),
                    reason=reason,
                    traceback=trace,
                )
            )
        return ends
