"""Early stopping, plateaus, endings and recorded changes, against plain counting and PyTorch's scheduler."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.core.events import TrialState
from workbench.core.memory import out_of_memory
from workbench.training.endings import ended, ending_of
from workbench.training.epoch import EpochRecord
from workbench.training.resumption import Change, ChangeRecord
from workbench.training.row import Row
from workbench.training.shard import MOST_SHARDS, ROWS_EACH, SHARD_BYTES, shard_count
from workbench.training.stopping import Watch

LOSSES = [3.0, 2.0, 2.0, 1.5, 1.6, 1.5, 1.45, 1.7, 1.8, 1.2, 1.3, 1.3, 1.3, 1.3, 0.9]


@pytest.mark.parametrize("patience", [1, 2, 3, 4])
@pytest.mark.parametrize("min_delta", [0.0, 0.1, 0.5])
def test_patience_counts_the_epochs_since_the_last_fall(patience: int, min_delta: float) -> None:
    watch, reference, waited = Watch(patience, min_delta, 99), math.inf, 0
    for epoch, loss in enumerate(LOSSES, 1):
        improved = watch.update(epoch, loss, metric=-loss)
        assert improved == (loss < min([math.inf, *LOSSES[: epoch - 1]]))
        if loss < reference - min_delta:
            reference, waited = loss, 0
        else:
            waited += 1
        assert watch.ran_out == (waited >= patience)
        best = int(np.argmin(LOSSES[:epoch]))  # the first of equal ones
        assert (watch.best_epoch, watch.best_loss, watch.best_metric) == (best + 1, LOSSES[best], -LOSSES[best])


@pytest.mark.parametrize("loss", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("monitored", [-0.99, 0.1])
def test_an_epoch_without_a_finite_loss_is_never_the_best_one(loss: float, monitored: float) -> None:
    watch = Watch(None, 0.0, 99, "accuracy")
    watch.update(1, 0.5, 0.8, monitored + 0.1)
    assert not watch.update(2, loss, 0.99, monitored)
    assert (watch.best_epoch, watch.best_loss, watch.best_metric) == (1, 0.5, 0.8)


def test_without_patience_nothing_stops() -> None:
    watch = Watch(None, 0.0, 1)
    assert not any((watch.update(epoch, 1.0, 0.0) and epoch > 1) or watch.ran_out for epoch in range(1, 50))


@pytest.mark.parametrize("patience", [0, 1, 2, 3])
def test_plateaus_are_those_of_pytorchs_scheduler(patience: int) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience, threshold=0.0)
    watch = Watch(None, 0.0, patience)
    for epoch, loss in enumerate(LOSSES, 1):
        watch.update(epoch, loss, 0.0)
        scheduler.step(loss)
        assert optimizer.param_groups[0]["lr"] == 0.5**watch.plateaus


def row(**config: Any) -> Row:
    return Row.begin(7, wb.Config(**config), steps_per_epoch=4, monitor="loss")


def test_a_trial_ends_by_its_own_epochs_as_the_first_reason_says() -> None:
    trial = row(epochs=3, patience=2)
    trial.epoch = 2
    assert ending_of(trial, 1.0) is None
    assert ending_of(trial, math.nan) == (TrialState.DIVERGED, "validation loss is nan after epoch 2")
    trial.epoch = 3
    assert ending_of(trial, 1.0) == (TrialState.COMPLETED, "")
    for epoch, loss in enumerate([1.0, 2.0, 2.0], 1):
        trial.watch.update(epoch, loss, 0.5)
    assert ending_of(trial, 2.0) == (TrialState.EARLY_STOPPED, "validation loss has not fallen for 2 epochs")
    end = ended(trial, TrialState.EARLY_STOPPED, "why")
    assert (end.epochs_run, end.best_epoch, end.best_val_loss, end.reason) == (3, 1, 1.0, "why")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError(), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("not enough memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_errors_that_mean_a_lack_of_memory(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) is expected


# --- changes --------------------------------------------------------------------------------------------------------


def due(record: ChangeRecord, trial: Any, step: int) -> list[tuple[float, bool]]:
    trial.step = step
    return [(change.value, logged) for change, logged in record.due(trial)]


def test_changes_of_one_step_are_repeated_in_their_order_and_as_often_as_they_were_made() -> None:
    """Two equal changes with another one between them: the last one counts."""
    made = [Change(3, "learning_rate", value) for value in (0.1, 0.2, 0.1)]
    trial = row()
    record = ChangeRecord({7: made}, {})
    record.enter(trial)
    assert record.pending
    assert due(record, trial, 2) == []
    assert due(record, trial, 3) == [(0.1, False), (0.2, False), (0.1, False)]
    assert not record.pending


def test_changes_that_are_logged_are_made_once_and_before_those_to_come() -> None:
    first, second, third = (Change(step, "l2", step / 10) for step in (1, 4, 2))
    record = ChangeRecord({7: [first, first, second]}, {7: [first, third]})
    trial = row()
    record.enter(trial)
    assert due(record, trial, 1) == [(0.1, True), (0.1, True)]
    assert due(record, trial, 9) == [(0.2, True), (0.4, False)]


def test_a_row_that_begins_later_has_the_earlier_changes_in_its_configuration() -> None:
    record = ChangeRecord({7: [Change(step, "l2", step / 10) for step in (1, 2, 3)]}, {})
    trial = row()
    trial.step = 2
    record.enter(trial)
    assert due(record, trial, 5) == [(0.2, False), (0.3, False)]
    record.add(7, Change(4, "l2", 0.9))
    trial.step = 0
    record.enter(trial)  # it trains again from its first step
    assert due(record, trial, 9) == [(0.1, False), (0.2, False), (0.3, False), (0.9, True)]


# --- epochs and shards ----------------------------------------------------------------------------------------------


def test_an_epochs_loss_is_the_mean_over_its_rows_and_its_metric_that_of_all_outputs() -> None:
    generator = torch.Generator().manual_seed(0)
    record, sizes = EpochRecord(False, lambda y: None), (8, 8, 3)
    outputs = [torch.randn(2, size, 3, generator=generator) for size in sizes]
    targets = [torch.randint(0, 3, (2, size), generator=generator) for size in sizes]
    by_row = [torch.rand(2, size, generator=generator, dtype=torch.float64) for size in sizes]
    record.losses, record.outputs, record.targets = [loss.mean(1) for loss in by_row], outputs, targets
    record.norms = [torch.tensor([1.0, 4.0]), torch.tensor([2.0, 4.0]), torch.tensor([6.0, 4.0])]
    torch.testing.assert_close(record.mean_losses(record.loss_by_step()), torch.cat(by_row, 1).mean(1))
    assert record.mean_norms() == [3.0, 4.0]
    hits = (torch.cat(outputs, 1).argmax(2) == torch.cat(targets, 1)).double().mean(1)
    found = record.metrics(["accuracy"], lambda outputs: outputs.softmax(-1), lambda targets: (targets, None))
    assert [own["accuracy"] for own in found] == pytest.approx(hits.tolist())


def test_the_number_of_shards() -> None:
    assert shard_count(1, 8, cores=8) == 1
    assert shard_count(2 * ROWS_EACH - 1, 8, cores=8) == 1
    assert shard_count(2 * ROWS_EACH, 8, cores=8) == 2
    assert shard_count(100 * ROWS_EACH, 8, cores=3) == 3
    assert shard_count(100 * ROWS_EACH, 8, cores=64) == MOST_SHARDS
    assert shard_count(6, SHARD_BYTES // 2, cores=1) == 3  # gradients of two rows at a time
    assert shard_count(3, 5 * SHARD_BYTES, cores=1) == 3  # a shard has at least one row
