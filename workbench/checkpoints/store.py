"""The folder of checkpoints: one file a cohort and epoch, written by a thread of its own, thinned out to a budget."""

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
"""Of the time that training takes, what writing may cost."""
ALLOWANCE_SECONDS = 0.03
"""What writing may cost beyond that, so that every epoch of a short training is kept."""
WAITING_BYTES = 64 * 2**20
"""What may wait for the disk; beyond, the oldest gives way, since it can be trained again from the one before."""
GATHER_SECONDS = 0.2
"""States are written in bursts: what runs once in ten milliseconds finds nothing of itself in the processor's caches, and
takes three times as long."""
FLUSH_SECONDS = 10.0
RETRY_SECONDS = 0.5
LINGER_SECONDS = 2.0
KIND = "checkpoint"
SETTINGS = "settings.json"

Kept = Callable[[], tuple[Mapping[int, Set[int]], Set[int]]]
"""Asked when the budget is spent: epochs that must stay, by series, and the series that still train."""


class CheckpointStore:
    """Keeps the states of cohorts. May be used from several threads, and one folder by several processes.

    folder: where, made when the first state comes; None for a temporary one that goes with the process. kept: see `Kept`.
    """

    def __init__(self, folder: Path | None, kept: Kept = lambda: ({}, frozenset())) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="workbench-")) if folder is None else folder
        if folder is None:
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        # the writer is a daemon, which the interpreter ends wherever it is; in the middle of torch that would abort the process
        me = weakref.ref(self)
        atexit.register(_leave, me, folder is not None)
        self._kept = kept
        self._lock = threading.Condition()
        self._waiting: deque[CohortState] = deque()
        self._busy: CohortState | None = None
        self._hurried = 0  # how many wait for the disk
        self._left = False  # the process ends
        self._thread: threading.Thread | None = None
        self._sizes: dict[int, dict[int, int]] | None = None
        self._used = 0
        self._budget = self._read_budget()
        self._allowance, self._asked = ALLOWANCE_SECONDS, time.monotonic()
        self._made: set[int] = set()  # series whose folder is there
        self._cost = 0.0  # of the last state written
        self._trouble: CheckpointError | None = None
        self._budget_error: CheckpointError | None = None
        self._warned: set[str] = set()  # errors of thinning that gave a warning
        self._thinning = threading.Lock()
        self._needed = 0  # bytes found to be left when all that may go had gone

    # --- what is kept -----------------------------------------------------------------------------------------------

    @property
    def budget(self) -> int:
        """Bytes that checkpoints may take; 0 keeps none. It is remembered in the folder."""
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
            self._look()
            return self._used

    @property
    def trouble(self) -> CheckpointError | None:
        """What keeps a checkpoint from being written, None if nothing does."""
        return self._trouble

    @property
    def budget_error(self) -> CheckpointError | None:
        """Why the last thinning failed, so that the checkpoints take more than the budget; None if it did not fail."""
        return self._budget_error

    def epochs(self, series: int) -> list[int]:
        """The epochs of a series of which there is a checkpoint, ascending. Waits for what is on its way to the disk."""
        self.flush(FLUSH_SECONDS)
        return sorted(_listed(self._place(series)))

    def load(self, series: int, epoch: int) -> CohortState:
        """A state. Raises: CheckpointError if it is missing, damaged, or anything but a checkpoint."""
        path = self._file(series, epoch)
        content = files.read(path, KIND)
        try:
            return CohortState.of(content)
        except Exception:  # well-formed, yet not what this version writes
            raise CheckpointError(f"{KIND} file {str(path)!r}: is damaged and was refused") from None

    def forget(self, series: int) -> None:
        """Remove all checkpoints of a series."""
        with self._lock:
            self._waiting = deque(state for state in self._waiting if state.series != series)
            self._lock.wait_for(lambda: self._busy is None or self._busy.series != series, timeout=10)
        for epoch in _listed(self._place(series)):
            self._remove(series, epoch)
        _sweep(self._place(series))
        with suppress(OSError):  # somebody writes into it
            self._place(series).rmdir()
            self._made.discard(series)

    def __repr__(self) -> str:
        failed = "" if self._budget_error is None else f"; {self._budget_error}"
        return f"<Checkpoints: {shown(self.used)} of {shown(self.budget)}, in {str(self.folder)!r}{failed}>"

    # --- what training gives (see `training.Keeper`) ----------------------------------------------------------------

    def begin(self, series: int) -> None:
        """A cohort is formed anew: what was kept under its number belongs to one that broke off."""
        self.forget(series)

    def wants(self, last: bool) -> bool:
        """Whether to keep the state after this epoch: each, as long as writing costs no more than its share of the time.

        What is left out can be trained again from the checkpoint before; the last one of a cohort is always kept.
        """
        with self._lock:
            now = time.monotonic()
            self._allowance = min(self._allowance + SHARE * (now - self._asked), ALLOWANCE_SECONDS)
            self._asked = now
            return self._budget > 0 and (last or self._allowance > self._cost * len(self._waiting))

    def take(self, state: CohortState) -> None:
        """Keep a state, soon; returns at once."""
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
        """Wait until all that was taken is on disk, or something keeps it from there; returns whether it is."""
        with self._lock:
            self._hurried += 1
            self._lock.notify_all()
            try:
                self._lock.wait_for(lambda: not (self._waiting or self._busy) or self._trouble is not None, timeout)
            finally:
                self._hurried -= 1
            return not (self._waiting or self._busy)

    def _leave(self, *, keep: bool) -> None:
        """The process ends: bring what is on its way to the disk, or let it go."""
        if not keep:
            with self._lock:
                self._waiting.clear()
        self.flush(FLUSH_SECONDS)
        with self._lock:
            thread, self._left = self._thread, True
            self._lock.notify_all()
        if thread is not None:
            thread.join(FLUSH_SECONDS)

    # --- writing ----------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting or self._left, LINGER_SECONDS)
                if not self._waiting:
                    self._thread = None
                    return
                self._lock.wait_for(lambda: self._hurried, GATHER_SECONDS)
            while self._next():
                self._keep()

    def _next(self) -> bool:
        with self._lock:
            self._busy = self._waiting.popleft() if self._waiting else None
            return self._busy is not None

    def _keep(self) -> None:
        """Write the state at hand."""
        state, before = self._busy, time.thread_time()
        assert state is not None
        try:
            self._write(state)
        except Exception as error:  # whatever it is, the next one may go through
            self._tell(CheckpointError(f"no checkpoint after epoch {state.epoch}: {type(error).__name__}: {error}"))
        finally:
            with self._lock:
                self._cost = time.thread_time() - before
                self._allowance -= self._cost
                self._busy = None
                self._lock.notify_all()

    def _write(self, state: CohortState) -> None:
        """Write one state, trying again while the disk is full; any other trouble gives it up."""
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
                trouble = error if isinstance(error, CheckpointError) else _put(path, error)
                self._made.discard(state.series)
                self._tell(trouble)
                if not trouble.passing or self._left:
                    return
                time.sleep(RETRY_SECONDS)
        self._tell(None)
        with self._lock:
            epochs = self._look().setdefault(state.series, {})
            self._used += len(data) - epochs.get(state.epoch, 0)
            epochs[state.epoch] = len(data)
        self._thin()

    def _tell(self, trouble: CheckpointError | None) -> None:
        with self._lock:
            self._trouble = trouble
            self._lock.notify_all()

    # --- the budget -------------------------------------------------------------------------------------------------

    def _thin(self) -> None:
        if self.used <= max(self._budget, self._needed) or not self._thinning.acquire(blocking=False):
            return
        try:
            kept, going = self._kept()
            with self._lock:
                self._sizes = None  # another process may have written or thinned out here too
                sizes = {series: dict(epochs) for series, epochs in self._look().items()}
            # a little below the budget, so that not every checkpoint has to ask again
            for series, epoch in to_drop(sizes, kept, going, int(self._budget * 0.95)):
                self._remove(series, epoch)
            self._needed = int(self.used * 1.05) if self.used > self._budget else 0
            self._budget_error = None
        except Exception as error:  # the checkpoint is written: report that the budget is not held, and try again later
            self._report_budget(error)
        finally:
            self._thinning.release()

    def _report_budget(self, error: Exception) -> None:
        """Record why the budget is not held, and warn once for each message; a log that is away for a while gives no warning."""
        text = f"The checkpoint budget is not enforced: {type(error).__name__}: {error}"
        self._budget_error = CheckpointError(text)
        if text not in self._warned and not getattr(error, "passing", False):
            self._warned.add(text)
            warnings.warn(text, UserWarning, stacklevel=3)

    def _remove(self, series: int, epoch: int) -> None:
        self._file(series, epoch).unlink(missing_ok=True)
        with self._lock:
            self._used -= self._look().get(series, {}).pop(epoch, 0)

    def _look(self) -> dict[int, dict[int, int]]:
        """Bytes by series and epoch: of what is in the folder, when it is asked for the first time. With the lock held."""
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


def _leave(store: weakref.ref[CheckpointStore], keep: bool) -> None:
    found = store()
    if found is not None:
        found._leave(keep=keep)


def remove_former(folder: Path, identity: str) -> None:
    """Remove the states of logs that were in a log's place before it: a file was deleted, and one of the same name made."""
    for place in folder.glob("*"):
        if place.name != identity and re.fullmatch("[0-9a-f]{12}", place.name):
            shutil.rmtree(place, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Take away what processes that died left half written: `.<name>.<pid>-<thread>.tmp`, see `files.write`."""
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


def _put(path: Path, error: OSError) -> CheckpointError:
    full = error.errno in files.FULL
    return CheckpointError(f"{str(path)!r} could not be written: {error.strerror or error}", passing=full)


def shown(size: int) -> str:
    """A number of bytes in words."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"
