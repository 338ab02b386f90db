"""The folder of checkpoints: one file per cohort and epoch, written by a thread of its own, thinned out to a budget."""

from __future__ import annotations

import atexit
import json
import re
import shutil
import tempfile
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from numbers import Real
from pathlib import Path

import psutil

from workbench.checkpoints.thinning import to_drop
from workbench.core import files
from workbench.core.errors import CheckpointError
from workbench.training import CohortState

__all__ = ["BUDGET", "CheckpointStore", "remove_former"]

BUDGET = 2**30
SHARE = 0.03
"""The share of the training time that writing may take."""
ALLOWANCE_SECONDS = 0.03
"""What writing may take beyond that, so that every epoch of a short training is kept."""
WAITING_BYTES = 64 * 2**20
"""What may wait for the disk; beyond, the oldest is dropped: it can be trained again from the one before."""
GATHER_SECONDS = 0.2
"""States are written in bursts: a thread that runs once in ten milliseconds finds the processor's caches cold and takes three
times as long."""
FLUSH_SECONDS = 10.0
RETRY_SECONDS = 0.5
LINGER_SECONDS = 2.0
KIND = "checkpoint"
SETTINGS = "settings.json"

Kept = Callable[[], tuple[Mapping[int, Set[int]], Set[int]]]
"""Called when the budget is exceeded. Returns the epochs that must stay, by series, and the series that still train."""


class CheckpointStore:
    """Keeps the states of cohorts. May be used from several threads, and one folder by several processes.

    folder: created with the first state; None for a temporary one, removed at the end of the process. kept: see `Kept`.
    """

    def __init__(self, folder: Path | None, kept: Kept = lambda: ({}, frozenset())) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="workbench-")) if folder is None else folder
        if folder is None:
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        # the writer is a daemon thread: stopped by the interpreter in the middle of torch, it would abort the process
        atexit.register(_at_exit, weakref.ref(self), folder is not None)
        self._kept = kept
        self._lock = threading.Condition()
        self._waiting: deque[CohortState] = deque()
        self._busy: CohortState | None = None
        self._flushing = 0  # threads in `flush`
        self._closed = False
        self._thread: threading.Thread | None = None
        self._sizes: dict[int, dict[int, int]] | None = None
        self._used = 0
        self._budget = self._read_budget()
        self._allowance, self._asked = ALLOWANCE_SECONDS, time.monotonic()
        self._made: set[int] = set()  # series with a folder
        self._cost = 0.0  # of the last state written
        self._write_error: CheckpointError | None = None
        self._budget_error: CheckpointError | None = None
        self._warned: set[str] = set()  # messages of errors in thinning that gave a warning
        self._thinning = threading.Lock()
        self._needed = 0  # bytes that were left when all that may be removed was

    # --- what is kept -----------------------------------------------------------------------------------------------

    @property
    def budget(self) -> int:
        """Bytes that checkpoints may take; 0 keeps none. Stored in the folder."""
        return self._budget

    @budget.setter
    def budget(self, size: int) -> None:
        if isinstance(size, bool) or not isinstance(size, Real) or not 0 <= size < 2**60:
            raise CheckpointError(f"budget={size!r}: must be a number of bytes from 0, such as {BUDGET} for 1 GiB")
        self._budget = int(size)
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write(self.folder / SETTINGS, json.dumps({"budget": self._budget}).encode())
        with self._lock:
            self._sizes, self._needed = None, 0
        self._thin()

    @property
    def used(self) -> int:
        """Bytes that the checkpoints take."""
        with self._lock:
            self._known_sizes()
            return self._used

    @property
    def write_error(self) -> CheckpointError | None:
        """Why the last checkpoint could not be written, None if it was."""
        return self._write_error

    @property
    def budget_error(self) -> CheckpointError | None:
        """Why the last thinning failed, so that the checkpoints take more than the budget; None if it did not fail."""
        return self._budget_error

    def epochs(self, series: int) -> list[int]:
        """The epochs of a series that have a checkpoint, ascending. Waits for those that are being written."""
        self.flush(FLUSH_SECONDS)
        return sorted(_listed(self._place(series)))

    def load(self, series: int, epoch: int) -> CohortState:
        """Read a state. Raises: CheckpointError if it is missing, damaged, or anything but a checkpoint."""
        path = self._file(series, epoch)
        content = files.read(path, KIND)
        try:
            return CohortState.of(content)
        except Exception:  # a valid file, but not of this version
            raise CheckpointError(f"{KIND} file {str(path)!r}: is damaged and was not loaded") from None

    def forget(self, series: int) -> None:
        """Remove all checkpoints of a series."""
        with self._lock:
            self._waiting = deque(state for state in self._waiting if state.series != series)
            self._lock.wait_for(lambda: self._busy is None or self._busy.series != series, timeout=10)
        for epoch in _listed(self._place(series)):
            self._remove(series, epoch)
        _sweep(self._place(series))
        with suppress(OSError):  # another process writes into it
            self._place(series).rmdir()
            self._made.discard(series)

    def __repr__(self) -> str:
        failed = "" if self._budget_error is None else f"; {self._budget_error}"
        return f"<Checkpoints: {shown(self.used)} of {shown(self.budget)}, in {str(self.folder)!r}{failed}>"

    # --- called by training (see `training.Keeper`) ----------------------------------------------------------------

    def begin(self, series: int) -> None:
        """Remove what an interrupted cohort of the same number has left."""
        self.forget(series)

    def wants(self, last: bool) -> bool:
        """Whether to keep the state after this epoch: each, as long as writing takes no more than its share of the time.

        An epoch left out can be trained again from the checkpoint before. last: the cohort's last one, which is always kept.
        """
        with self._lock:
            now = time.monotonic()
            self._allowance = min(self._allowance + SHARE * (now - self._asked), ALLOWANCE_SECONDS)
            self._asked = now
            return self._budget > 0 and (last or self._allowance > self._cost * len(self._waiting))

    def take(self, state: CohortState) -> None:
        """Queue a state for writing; returns at once."""
        with self._lock:
            self._waiting.append(state)
            if len(self._waiting) > 1:
                while len(self._waiting) > 1 and sum(one.nbytes for one in self._waiting) > WAITING_BYTES:
                    self._waiting.popleft()
            elif self._thread is None:
                self._thread = threading.Thread(target=self._work, name="workbench-checkpoints", daemon=True)
                self._thread.start()
            else:
                self._lock.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all queued states are on disk, or one cannot be written; returns whether they are. timeout: seconds."""
        with self._lock:
            self._flushing += 1
            self._lock.notify_all()
            try:
                self._lock.wait_for(lambda: not (self._waiting or self._busy) or self._write_error is not None, timeout)
            finally:
                self._flushing -= 1
            return not (self._waiting or self._busy)

    def close(self, *, keep: bool) -> None:
        """End the writing thread. keep: write the waiting states first, else drop them."""
        if not keep:
            with self._lock:
                self._waiting.clear()
        self.flush(FLUSH_SECONDS)
        with self._lock:
            thread, self._closed = self._thread, True
            self._lock.notify_all()
        if thread is not None:
            thread.join(FLUSH_SECONDS)

    # --- writing ----------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting or self._closed, LINGER_SECONDS)
                if not self._waiting:
                    self._thread = None
                    return
                self._lock.wait_for(lambda: self._flushing, GATHER_SECONDS)
            while self._next():
                self._keep()

    def _next(self) -> bool:
        with self._lock:
            self._busy = self._waiting.popleft() if self._waiting else None
            return self._busy is not None

    def _keep(self) -> None:
        """Write the state in `_busy`."""
        state, before = self._busy, time.thread_time()
        assert state is not None
        try:
            self._write(state)
        except Exception as error:  # recorded; the next one may succeed
            self._set_error(
                CheckpointError(f"no checkpoint after epoch {state.epoch}: {type(error).__name__}: {error}")
            )
        finally:
            with self._lock:
                self._cost = time.thread_time() - before
                self._allowance -= self._cost
                self._busy = None
                self._lock.notify_all()

    def _write(self, state: CohortState) -> None:
        """Write one state, trying again while the disk is full; after any other error it is left out."""
        path = self._file(state.series, state.epoch)
        data = files.pack(KIND, state.content())
        while True:
            try:
                if state.series not in self._made:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    self._made.add(state.series)
                files.write(path, data, through=False)
                break
            except (CheckpointError, OSError) as error:
                failed = error if isinstance(error, CheckpointError) else _not_written(path, error)
                self._made.discard(state.series)
                self._set_error(failed)
                if not failed.passing or self._closed:
                    return
                time.sleep(RETRY_SECONDS)
        self._set_error(None)
        with self._lock:
            epochs = self._known_sizes().setdefault(state.series, {})
            self._used += len(data) - epochs.get(state.epoch, 0)
            epochs[state.epoch] = len(data)
        self._thin()

    def _set_error(self, error: CheckpointError | None) -> None:
        with self._lock:
            self._write_error = error
            self._lock.notify_all()

    # --- the budget -------------------------------------------------------------------------------------------------

    def _thin(self) -> None:
        if self.used <= max(self._budget, self._needed) or not self._thinning.acquire(blocking=False):
            return
        try:
            kept, going = self._kept()
            with self._lock:
                self._sizes = None  # another process may have written or removed some
                sizes = {series: dict(epochs) for series, epochs in self._known_sizes().items()}
            # a little below the budget, so that not every checkpoint exceeds it again
            for series, epoch in to_drop(sizes, kept, going, int(self._budget * 0.95)):
                self._remove(series, epoch)
            self._needed = int(self.used * 1.05) if self.used > self._budget else 0
            self._budget_error = None
        except Exception as error:  # the checkpoint is written; the budget is enforced later
            self._report_budget(error)
        finally:
            self._thinning.release()

    def _report_budget(self, error: Exception) -> None:
        """Record why the budget is not enforced, and warn once per message, unless it may pass by itself."""
        text = f"The checkpoint budget is not enforced: {type(error).__name__}: {error}"
        self._budget_error = CheckpointError(text)
        if text not in self._warned and not getattr(error, "passing", False):
            self._warned.add(text)
            warnings.warn(text, UserWarning, stacklevel=3)

    def _remove(self, series: int, epoch: int) -> None:
        self._file(series, epoch).unlink(missing_ok=True)
        with self._lock:
            self._used -= self._known_sizes().get(series, {}).pop(epoch, 0)

    def _known_sizes(self) -> dict[int, dict[int, int]]:
        """Bytes by series and epoch, read from the folder when they are not known. The lock must be held."""
        if self._sizes is None:
            places = [place for place in self.folder.glob("*") if place.name.isdigit()]
            for place in places:
                _sweep(place)
            self._sizes = {int(place.name): _listed(place) for place in places}
            self._used = sum(sum(epochs.values()) for epochs in self._sizes.values())
        return self._sizes

    def _read_budget(self) -> int:
        try:
            return int(json.loads((self.folder / SETTINGS).read_text())["budget"])
        except (OSError, ValueError, KeyError, TypeError):
            return BUDGET

    def _place(self, series: int) -> Path:
        return self.folder / f"{series:08d}"

    def _file(self, series: int, epoch: int) -> Path:
        return self._place(series) / f"{epoch:06d}.pt"


def _at_exit(store: weakref.ref[CheckpointStore], keep: bool) -> None:
    found = store()
    if found is not None:
        found.close(keep=keep)


def remove_former(folder: Path, identity: str) -> None:
    """Remove the checkpoints of earlier logs of the same path, whose file was deleted. identity: of the present log."""
    for place in folder.glob("*"):
        if place.name != identity and re.fullmatch("[0-9a-f]{12}", place.name):
            shutil.rmtree(place, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove the incomplete files of processes that died: `.<name>.<pid>-<thread>.tmp`, see `files.write`."""
    for file in place.glob(".*.tmp"):
        pid = file.name.split(".")[-2].partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            file.unlink(missing_ok=True)


def _listed(place: Path) -> dict[int, int]:
    """Bytes by epoch of the checkpoints in a series' folder."""
    found = {}
    for file in place.glob("*.pt"):
        if file.stem.isdigit():
            with suppress(OSError):
                found[int(file.stem)] = file.stat().st_size
    return found


def _not_written(path: Path, error: OSError) -> CheckpointError:
    full = error.errno in files.FULL
    return CheckpointError(f"{str(path)!r} could not be written: {error.strerror or error}", passing=full)


def shown(size: int) -> str:
    """A number of bytes with its unit, for people."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"
