"""The runner: trains one run after another in a background thread, and is the only writer of a trial's end."""

from __future__ import annotations

import atexit
import ctypes
import math
import os
import sys
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch

from workbench.checkpoints import CheckpointStore
from workbench.core.errors import LogError, RunError
from workbench.core.events import Event, Message, StateChanged, TrialEnded, TrialState
from workbench.log import SearchStep, TrialLog
from workbench.runs.run import Run
from workbench.training.devices import fitting_threads

__all__ = ["Runner", "stopped_now"]

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None

RETRY_SECONDS = 1.0
LEASE_SECONDS = 20.0
"""How often a process that trains renews its lease, which tells other machines on the same log that it is alive."""
FLUSH_SECONDS = 60.0
EXIT_SECONDS = 10.0


class Runner:
    """Trains queued runs in order. Events are written to the log first, and published only then.

    publish: called on the training thread with each group of events that the log has taken; must only enqueue.
    checkpoints: where the states of the cohorts go.
    """

    def __init__(self, log: TrialLog, publish: Callable[[Sequence[Event]], None], checkpoints: CheckpointStore) -> None:
        self._log = log
        self._publish = publish
        self._checkpoints = checkpoints
        self._queue: deque[Run] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._reported = ""
        self._threads: int | None = None
        self._lease: threading.Thread | None = None
        atexit.register(_leave, weakref.ref(self))
        self.current: Run | None = None

    def submit(self, run: Run) -> None:
        """Train the run when those before it have ended. Returns at once."""
        if threading.current_thread() is threading.main_thread():
            self._threads = torch.get_num_threads()  # the user's choice
        with self._lock:
            self._queue.append(run)
            if self._thread is None:
                # a daemon, so that a kernel can always be shut down; the log has every epoch it acknowledged
                self._thread = threading.Thread(target=self._work, name="workbench-training", daemon=True)
                self._thread.start()
                self._lease = threading.Thread(
                    target=self._hold, args=[self._thread], name="workbench-lease", daemon=True
                )
                self._lease.start()

    @property
    def runs(self) -> list[Run]:
        """The run that trains, and those that wait; a run that is done is none of them."""
        with self._lock:
            return ([] if self.current is None or self.current.done else [self.current]) + list(self._queue)

    @property
    def trials(self) -> frozenset[int]:
        """The trials of the run that trains and of those that wait."""
        return frozenset(trial for run in self.runs for trial in run.trials)

    def _hold(self, training: threading.Thread) -> None:
        """Renew this process's lease as long as it trains."""
        while training.is_alive():
            with suppress(LogError):  # the next one will do
                self._log.ownership.renew_lease()
            training.join(LEASE_SECONDS)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._thread = self.current = None
                    return
                run = self.current = self._queue.popleft()
            try:
                with run.choices.active():
                    error = self._train(run)
            except BaseException as unexpected:  # the log rejected the end as well: the waiting cell must get the error
                error = unexpected
            self._log.run_ended()
            # done first: a view that finds no run going has to find this one ended, since nothing wakes it afterwards
            run._finish(error)
            with self._lock:
                self.current = None
            self._flush(run)
            del run, error
            release_memory()

    def _train(self, run: Run) -> BaseException | None:
        """One run from its first step to every trial's end. Returns what went wrong, after it is in the log."""
        unfinished = _Unfinished(run.trials, self._log)
        try:
            training = run._training
            assert training is not None  # it is let go when the run ends
            run.check_code(*run.configs.values())
            training.cores = os.cpu_count() or 1
            training.around = partial(fitting_threads, training.device, threads=self._threads)
            training.keeper = self._checkpoints
            run.message = partial(self._message, run)
            for moment in training.moments():
                self._record(run, unfinished, moment)
            if unfinished.trials:  # a fault of ours must not lose them
                self._log.append([StateChanged(trial, TrialState.INTERRUPTED) for trial in unfinished.trials])
                numbers = ", ".join(map(str, sorted(unfinished.trials)))
                return RunError(f"trial {numbers} was not trained to its end; bench.resume() takes it up")
        except LogError as error:
            if error.passing:  # stopped while the log could not be written: without an end, the trials can be resumed
                return error
            return self._fail(run, unfinished, error)
        except Exception as error:
            return self._fail(run, unfinished, error)
        finally:
            if run.search is not None:
                with suppress(LogError):  # not written, the search counts as interrupted and can be resumed
                    self._log.searches.add_step(SearchStep(run.search, "ended", {}))
        return None

    def _fail(self, run: Run, unfinished: _Unfinished, error: Exception) -> Exception:
        """Write the end of what a run that broke off has left."""
        if unfinished.trials:
            text = f"{type(error).__name__}: {error}"
            self._record(run, unfinished, unfinished.end(TrialState.FAILED, text, traceback.format_exc()))
        return error

    def _flush(self, run: Run) -> None:
        """Before the next run: wait for the last checkpoints and, with a message, for disk space if there is none."""
        if not self._checkpoints.flush(FLUSH_SECONDS) and self._wait_for_room(run):
            self._checkpoints.flush(FLUSH_SECONDS)
            if self._checkpoints.write_error is None:
                self._message(run, "Written now: the last checkpoint is kept.")

    def _record(self, run: Run, unfinished: _Unfinished, events: Sequence[Event]) -> None:
        """Log, then publish. While the log cannot be written (a full disk), training waits and tries again."""
        reported = False
        while True:
            try:
                self._log.append(events, search=run.search)
                break
            except LogError as error:
                if run._commands.stopped or not error.passing:
                    raise
                if not reported:
                    reported = True
                    self._message(run, f"{error} Training waits and tries again; Stop ends it.")
                run._commands.wait_for_stop(RETRY_SECONDS)
        reported = self._wait_for_room(run) or reported
        if reported and self._checkpoints.write_error is None:
            self._message(run, "Written now: training goes on.")
        for event in events:
            run._update(event)
            unfinished.update(event)
        self._publish(events)

    def _wait_for_room(self, run: Run) -> bool:
        """Wait while a checkpoint cannot be written for want of room; returns whether there was something to wait for."""
        trouble = self._checkpoints.write_error
        if trouble is None or run._commands.stopped:
            return False
        if not trouble.passing:
            if str(trouble) != self._reported:
                self._reported = str(trouble)
                self._message(run, f"{trouble}. Training goes on without checkpoints.")
            return False
        self._message(run, f"{trouble}. Training waits and goes on when there is room; Stop ends it.")
        while self._checkpoints.write_error is not None and not run._commands.stopped:
            run._commands.wait_for_stop(RETRY_SECONDS)
        return True

    def _message(self, run: Run, message: str) -> None:
        """Publish a message about a run that does not belong in the log."""
        self._publish([Message(trial, message) for trial in run.trials])


def release_memory() -> None:
    """Give memory that is free back to the system: glibc keeps what a thread has freed, one store of it for each thread."""
    if hasattr(_libc, "malloc_trim"):  # not in musl
        _libc.malloc_trim(0)  # type: ignore[union-attr]


def _leave(runner: weakref.ref[Runner]) -> None:
    """At interpreter exit: let the thread of a run that has ended finish; torch aborts the process otherwise.

    A run that is going on is paused first, so that its thread does not end within a step; it can be resumed.
    """
    found = runner()
    if found is None:
        return
    deadline = time.monotonic() + EXIT_SECONDS
    while (runs := found.runs) and time.monotonic() < deadline:
        for run in runs:
            run._commands.pause()
        if runs[0]._commands.waiting:
            return
        time.sleep(0.01)
    if not runs:
        for thread in (found._thread, found._lease):
            if thread is not None:
                thread.join(EXIT_SECONDS)


class _Unfinished:
    """What is known of the trials that have not ended, for the end record of a run that breaks off."""

    def __init__(self, trials: Sequence[int], log: TrialLog) -> None:
        self.trials, self._log = set(trials), log

    def update(self, event: Event) -> None:
        if isinstance(event, StateChanged):
            self.trials.add(event.trial)  # a search's trials come as they start
        elif isinstance(event, TrialEnded):
            self.trials.discard(event.trial)

    def end(self, state: TrialState, reason: str, trace: str) -> list[Event]:
        return [
            replace(stopped_now(trial, self._log.curves(trial)), state=state, reason=reason, traceback=trace)
            for trial in sorted(self.trials)
        ]


def stopped_now(trial: int, curve: pd.DataFrame) -> TrialEnded:
    """The end of a trial, if it were stopped after the epochs in `curve` (one row each, as the log has them)."""
    finite = curve[np.isfinite(curve["val_loss"]) & curve["monitored"].notna()]
    best = None if finite.empty else finite.loc[finite["monitored"].idxmin()]
    return TrialEnded(
        trial,
        TrialState.STOPPED,
        epochs_run=0 if curve.empty else int(curve["epoch"].iloc[-1]),
        step=0 if curve.empty else int(curve["step"].iloc[-1]),
        best_epoch=0 if best is None else int(best["epoch"]),
        best_val_loss=math.inf if best is None else float(best["val_loss"]),
        best_val_metric=math.nan if best is None else float(best["val_metric"]),
        seconds=float(curve["seconds"].sum()),
    )
