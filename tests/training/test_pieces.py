"""Evaluation in pieces of a few batches: the numbers of one pass, halved where memory runs out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import workbench as wb
from workbench.models import build_model
from workbench.tasks import Task
from workbench.training import filled
from workbench.training.batches import PIECE_BATCHES, in_pieces
from workbench.training.cohort import Cohort
from workbench.training.fold_cohort import FoldCohort

RNG = np.random.default_rng(4)
X, Y = RNG.normal(size=(500, 6)), np.arange(500) % 3
SHORT = {
    "torch": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "python": lambda: MemoryError(),
    "allocator": lambda: RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
}


class Limited(nn.Module):
    """Lacks the memory for more than some rows at once, in evaluation mode."""

    limit = 10**9
    error: Any = None
    seen: list[int]

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            Limited.seen.append(len(x))
            if len(x) > Limited.limit:
                raise Limited.error()
        outputs: Tensor = self.layer(x)
        return outputs


@pytest.fixture(autouse=True)
def limited() -> None:
    Limited.limit, Limited.seen = 10**9, []
    wb.register_model("limited", lambda task: Limited())


@pytest.mark.parametrize("kind", SHORT)
@pytest.mark.parametrize("trials", [1, 3])
@pytest.mark.parametrize("limit", [1, 7, 40])
def test_pieces_are_halved_where_memory_runs_out(kind: str, trials: int, limit: int) -> None:
    task = Task.from_arrays(X, Y, split=(0.5, 0.5, 0))
    config = wb.Config(model="limited", batch_size=16, loss="cross_entropy")
    cohort = Cohort(task, {n: config.replace(seed=n) for n in range(trials)}, torch.device("cpu"), torch.float64)
    whole = cohort.evaluate()
    assert set(Limited.seen) <= {PIECE_BATCHES * 16, 250 % (PIECE_BATCHES * 16)}
    Limited.limit, Limited.error = limit, SHORT[kind]
    for (loss, metrics), (wanted, others) in zip(cohort.evaluate(), whole, strict=True):
        assert loss == pytest.approx(wanted, rel=1e-12)
        assert metrics == pytest.approx(others, rel=1e-12)
    Limited.seen = []
    cohort.evaluate()
    assert max(Limited.seen) <= limit  # the size that fitted is kept


@pytest.mark.parametrize("kind", SHORT)
@pytest.mark.parametrize("limit", [5, 40])
def test_folds_are_evaluated_in_pieces_too(kind: str, limit: int) -> None:
    task = Task.from_arrays(X, Y, split=wb.Split.folds(2))
    config = wb.Config(model="limited", batch_size=16, loss="cross_entropy")
    cohort = FoldCohort(task, {1: config, 2: config}, torch.device("cpu"), torch.float64)
    whole = cohort.evaluate()
    assert max(Limited.seen) == PIECE_BATCHES * 16
    Limited.limit, Limited.error = limit, SHORT[kind]
    for (loss, metrics), (wanted, others) in zip(cohort.evaluate(), whole, strict=True):
        assert loss == pytest.approx(wanted, rel=1e-12)
        assert metrics == pytest.approx(others, rel=1e-12)
    Limited.seen = []
    cohort.evaluate()
    assert max(Limited.seen) <= limit


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    def work(x: Any) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        in_pieces(torch.zeros(10, 2), 4, work)


def test_a_single_row_that_does_not_fit_is_an_error() -> None:
    def work(x: Any) -> Tensor:
        raise MemoryError("one row")

    with pytest.raises(MemoryError, match="one row"):
        in_pieces(torch.zeros(10, 2), 4, work)


@pytest.mark.parametrize("batch_size", [1, 16, 100])
def test_pieces_follow_the_batch_size_and_do_not_change_the_numbers(batch_size: int) -> None:
    """Against one pass over all validation rows, in float64."""
    task = Task.from_arrays(X, Y)
    cohort = Cohort(
        task, {0: wb.Config(batch_size=batch_size, loss="cross_entropy")}, torch.device("cpu"), torch.float64
    )
    module = filled(build_model(task, cohort.rows[0].config), cohort.weights(0)).double()
    with torch.no_grad():
        outputs = module(task.validation.x.double())
        loss = float(nn.functional.cross_entropy(outputs, task.validation.y))
    np.testing.assert_allclose(cohort.evaluate()[0][0], loss, rtol=1e-12)


def test_a_model_that_is_handed_out_predicts_in_such_pieces_too() -> None:
    bench = wb.Workbench(Task.from_arrays(X, Y), models={"limited": lambda task: Limited()})
    bench.run(wb.Config(model="limited", epochs=1, batch_size=16))
    model = bench.model(1)
    whole = model.outputs(model.preprocess(X))
    Limited.limit, Limited.error, Limited.seen = 5, SHORT["python"], []
    np.testing.assert_allclose(model.outputs(model.preprocess(X)), whole, atol=1e-6)
    assert PIECE_BATCHES * 16 in Limited.seen
