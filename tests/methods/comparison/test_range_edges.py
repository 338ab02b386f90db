"""How a range is widened, with what the hyperparameter itself allows as the limit."""

from __future__ import annotations

import pytest

import workbench as wb
from workbench.core.domains import Domain
from workbench.methods.comparison.range_edges import widened


@pytest.mark.parametrize(
    ("name", "domain", "side", "wider"),
    [
        # a hyperparameter of one's own model is declared nowhere: nothing limits it
        ("width_of_mine", wb.IntRange(8, 64), "high", wb.IntRange(8, 92)),
        ("width_of_mine", wb.IntRange(8, 64, scale="log"), "low", wb.IntRange(4, 64, scale="log")),
        ("rate_of_mine", wb.LogRange(1e-3, 1e-1), "high", wb.LogRange(1e-3, 1.0)),
        ("rate_of_mine", wb.Range(0, 1), "low", wb.Range(-0.5, 1)),
        # declared: from 1e-6 to 10, from 0 to 0.95, from 0 to 12
        ("learning_rate", wb.LogRange(1e-1, 5.0), "high", wb.LogRange(1e-1, 10.0)),
        ("learning_rate", wb.LogRange(5e-6, 1.0), "low", wb.LogRange(1e-6, 1.0)),
        ("dropout", wb.Range(0.5, 0.9), "high", wb.Range(0.5, 0.95)),
        ("hidden_layers", wb.IntRange(2, 10), "low", wb.IntRange(0, 10)),
        ("hidden_layers", wb.IntRange(2, 10), "high", wb.IntRange(2, 12)),
    ],
)
def test_a_range_is_continued_as_far_as_the_hyperparameter_allows(
    name: str, domain: Domain, side: str, wider: Domain
) -> None:
    found = widened(name, domain, side)  # type: ignore[arg-type]
    assert type(found) is type(wider)
    assert found == wider or (found.low, found.high) == pytest.approx((wider.low, wider.high))  # type: ignore[union-attr]
