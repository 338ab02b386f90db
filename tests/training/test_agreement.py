"""Outputs that agree up to rounding, and those that do not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from workbench.training.agreement import disagreement, sample_rows

X = torch.linspace(-1, 1, 40).view(20, 2)


def answer(x: Tensor) -> Tensor:
    return 100 * x @ torch.tensor([[1.0], [2.0]])


@pytest.mark.parametrize(
    ("dtype", "device", "relative", "agrees"),
    [
        (torch.float32, "cpu", 1e-4, True),
        (torch.float32, "cpu", 1e-3, False),
        (torch.float32, "cuda:0", 1e-3, True),
        (torch.float32, "cuda:0", 1e-2, False),
        (torch.float64, "cpu", 1e-9, True),
        (torch.float64, "cpu", 1e-7, False),
    ],
)
def test_rounding_is_relative_to_the_largest_output(
    dtype: torch.dtype, device: str, relative: float, agrees: bool
) -> None:
    exact = answer(X).to(dtype)
    measured = exact + relative * exact.abs().max()

    def precise(x: Tensor) -> Tensor:
        return answer(x).to(dtype)

    assert (disagreement(precise, X, measured, device) == "") is agrees


def test_values_that_are_no_numbers_agree_with_themselves_only() -> None:
    measured = answer(X)
    measured[3], measured[4] = float("nan"), float("inf")
    calls = iter([measured[:10], measured[10:]])
    assert disagreement(lambda x: next(calls), X, measured) == ""
    assert "differ by up to inf" in disagreement(answer, X, measured)


def test_the_sample_is_a_function_of_the_number_of_rows() -> None:
    assert sample_rows(10, 3).tolist() == list(range(10))
    chosen = sample_rows(1000, 3)
    assert len(chosen.unique()) == 64
    assert torch.equal(chosen, sample_rows(1000, 3))
    assert len(sample_rows(1000, 2**15)) == 2  # outputs of pictures: fewer rows
