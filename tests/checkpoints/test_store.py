"""The checkpoint store against brute force, small disks and damaged files."""

from __future__ import annotations

import os
import pickle
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from workbench.checkpoints import CheckpointStore
from workbench.checkpoints.store import SHARE
from workbench.checkpoints.thinning import to_drop
from workbench.core import files
from workbench.training import CohortState, Training, prepare
from workbench.training.state import RowProgress


def state(series: int, epoch: int, size: int = 100) -> CohortState:
    row = RowProgress(series, {}, epoch, epoch, 0.0, 0.1, {})
    order = torch.zeros(16, dtype=torch.uint8)
    return CohortState(series, epoch, [row], torch.full((1, size), float(epoch)), {}, [None], [None], [order], [], 0)


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


def fill(store: CheckpointStore, series: int, epochs: range, size: int = 100) -> None:
    for epoch in epochs:
        store.take(state(series, epoch, size))
        assert store.flush(20)


def test_every_epoch_of_a_training_comes_back(store: CheckpointStore) -> None:
    task = wb.Task.load("iris")
    config = prepare(task, wb.Config(epochs=12, dropout=0.2, batch_norm=True))
    for _ in Training(task, {4: config, 5: config.replace(seed=1)}, keeper=store).moments():
        store.flush(20)
    assert store.epochs(4) == list(range(1, 13))
    one = store.load(4, 12)
    assert one.trials == [4, 5]
    assert [row.epoch for row in one.rows] == [12, 12]
    assert one.row(5).config.seed == 1
    assert store.used == sum(file.stat().st_size for file in store.folder.rglob("*.pt"))


def test_a_second_store_finds_what_the_first_wrote(store: CheckpointStore) -> None:
    fill(store, 3, range(1, 4))
    again = CheckpointStore(store.folder)
    assert again.epochs(3) == [1, 2, 3]
    assert again.used == store.used
    assert torch.equal(again.load(3, 2).theta, torch.full((1, 100), 2.0))


def test_a_temporary_store_needs_no_folder() -> None:
    store = CheckpointStore(None)
    fill(store, 1, range(1, 3))
    assert store.epochs(1) == [1, 2]


def test_what_waits_gives_way_to_what_is_newer(store: CheckpointStore, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    real = files.write

    def slow(path: Path, data: bytes, *, through: bool = True) -> None:
        gate.wait(20)
        real(path, data, through=through)

    monkeypatch.setattr("workbench.checkpoints.store.files.write", slow)
    monkeypatch.setattr("workbench.checkpoints.store.WAITING_BYTES", 4000)
    for epoch in range(1, 8):
        store.take(state(1, epoch))
    gate.set()
    assert store.flush(20)
    kept = store.epochs(1)
    assert kept[-2:] == [6, 7]
    assert len(kept) <= 4


def test_writing_has_a_share_of_the_time_and_the_last_state_is_always_wanted(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [time.monotonic()]
    monkeypatch.setattr("workbench.checkpoints.store.time.monotonic", lambda: clock[0])
    assert store.wants(last=False)
    store._allowance = -0.2  # a large state was written
    assert not store.wants(last=False)
    assert store.wants(last=True)
    clock[0] += 0.19 / SHARE
    assert not store.wants(last=False)
    clock[0] += 0.02 / SHARE
    assert store.wants(last=False)
    store.budget = 0
    assert not store.wants(last=True)


def test_the_budget_is_held_evenly_and_remembered(store: CheckpointStore) -> None:
    fill(store, 1, range(1, 2))
    each = store.used
    store.budget = each * 8 + each // 2
    fill(store, 1, range(2, 41))
    kept = store.epochs(1)
    assert store.used <= store.budget
    assert kept[0] == 1
    assert kept[-1] == 40
    assert len(kept) >= 6
    gaps = [b - a for a, b in pairwise(kept)]
    assert max(gaps) <= 4 * min(gaps)
    assert CheckpointStore(store.folder).budget == store.budget


def test_what_is_needed_stays_whatever_the_budget(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "s", lambda: ({1: {5, 7}, 2: {2}}, {3}))
    for series in (1, 2, 3):
        fill(store, series, range(1, 10))
    store.budget = 1
    assert {series: store.epochs(series) for series in (1, 2, 3)} == {1: [5, 7], 2: [2], 3: [9]}


@given(
    st.dictionaries(st.integers(1, 4), st.sets(st.integers(1, 30), max_size=12), max_size=4),
    st.dictionaries(st.integers(1, 4), st.sets(st.integers(1, 30), max_size=4), max_size=4),
    st.integers(0, 40),
)
def test_thinning_is_what_brute_force_finds(
    epochs: dict[int, set[int]], kept: dict[int, set[int]], budget: int
) -> None:
    sizes = {series: dict.fromkeys(found, 1) for series, found in epochs.items()}
    dropped = list(to_drop(sizes, kept, set(), budget))
    left = {series: set(found) for series, found in epochs.items()}
    for series, epoch in dropped:
        assert epoch not in kept.get(series, ())
        spans = [
            ((order[i + 1] - order[i - 1]) / (max(epochs[s]) - min(epochs[s]) + 1), s, order[i])
            for s, found in left.items()
            for order in [sorted(found)]
            for i in range(1, len(order) - 1)
            if order[i] not in kept.get(s, ())
        ]
        if spans:  # as long as there is an inner one, the one with the closest neighbours goes
            assert (series, epoch) == min(spans)[1:]
        left[series].remove(epoch)
    count = sum(map(len, left.values()))
    stays = sum(len(found & kept.get(series, set())) for series, found in epochs.items())
    assert count == min(sum(map(len, epochs.values())), max(budget, stays))


def test_damaged_and_dangerous_files_are_rejected(store: CheckpointStore, tmp_path: Path) -> None:
    fill(store, 1, range(1, 4))
    path = store.folder / "00000001" / "000002.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(wb.CheckpointError, match="damaged"):
        store.load(1, 2)
    flipped = bytearray(whole)
    at = whole.index(torch.full((100,), 2.0).numpy().tobytes())
    flipped[at + 7] ^= 4
    path.write_bytes(flipped)
    with pytest.raises(wb.CheckpointError, match="checksum"):
        store.load(1, 2)
    mark = tmp_path / "mark"

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {mark}",)

    for data in (pickle.dumps(Evil()), None):
        if data is None:
            torch.save({"kind": "checkpoint", "format": 1, "checksum": 0, "content": Evil()}, path)
        else:
            path.write_bytes(data)
        with pytest.raises(wb.CheckpointError, match="rejected, and nothing in it was executed"):
            store.load(1, 2)
    assert not mark.exists()
    path.write_bytes(files.pack("checkpoint", {"theta": torch.zeros(3)}))  # whole, and nonsense
    with pytest.raises(wb.CheckpointError, match="is damaged and was not loaded"):
        store.load(1, 2)
    with pytest.raises(wb.CheckpointError, match="no such file"):
        store.load(1, 9)
    assert torch.equal(store.load(1, 3).theta, torch.full((1, 100), 3.0))  # the others are none the worse


def test_a_full_disk_is_reported_and_waited_for(store: CheckpointStore, monkeypatch: pytest.MonkeyPatch) -> None:
    full = [True]
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("workbench.checkpoints.store.RETRY_SECONDS", 0.01)
    monkeypatch.setattr("os.fsync", fsync)
    store.take(state(1, 1))
    assert not store.flush(20)
    assert store.write_error is not None
    assert store.write_error.passing
    assert "disk is full; free some space" in str(store.write_error)
    full[0] = False
    with store._lock:
        assert store._lock.wait_for(lambda: store._write_error is None, 20)
    assert store.flush(20)
    assert store.epochs(1) == [1]
    assert [file.name for file in (store.folder / "00000001").iterdir()] == ["000001.pt"]


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("in the way")
    store = CheckpointStore(tmp_path / "s")
    store.take(state(1, 1))
    store.flush(20)
    assert store.write_error is not None
    assert not store.write_error.passing


def test_forgetting_a_series(store: CheckpointStore) -> None:
    fill(store, 1, range(1, 4))
    fill(store, 2, range(1, 3))
    store.begin(1)
    assert (store.epochs(1), store.epochs(2)) == ([], [1, 2])


@pytest.mark.parametrize("budget", [-1, True, "much", float("nan")])
def test_impossible_budgets(store: CheckpointStore, budget: object) -> None:
    with pytest.raises(wb.CheckpointError, match="budget="):
        store.budget = budget  # type: ignore[assignment]


def test_an_error_in_thinning_is_reported_once(store: CheckpointStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TypeError("a planted bug")

    fill(store, 1, range(1, 11), size=1000)
    used = store.used
    assert store.budget_error is None
    monkeypatch.setattr("workbench.checkpoints.store.to_drop", broken)
    with pytest.warns(UserWarning, match="budget is not enforced: TypeError: a planted bug"):
        store.budget = used // 2
    store.budget = used // 3  # a second warning for the same error would fail the test
    assert store.used == used
    assert "a planted bug" in str(store.budget_error)
    assert "a planted bug" in repr(store)
    monkeypatch.undo()
    store.budget = used // 2
    assert store.budget_error is None
    assert store.used <= used // 2
