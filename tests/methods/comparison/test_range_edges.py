"""How a range is widened, with what the hyperparameter itself allows as the limit."""

from __future__ import annotations

import pandas as pd
import pytest

import workbench as wb
from workbench.core.direction import Better, sign
from workbench.core.domains import Domain
from workbench.methods.comparison.range_edges import range_edges, widened


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


@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize(
    ("places", "side"),
    [
        ([1.0, 0.97, 0.5, 0.5], "high"),  # half of the best, the very best among them
        ([1.0, 0.5, 0.5, 0.5], None),  # fewer than half
        ([0.5, 1.0, 1.0, 1.0], None),  # most, but not the very best
        ([0.0, 0.04, 0.03, 1.0], "low"),
        ([0.06, 0.06, 0.06, 0.06], None),  # not as near as 5% of the range
    ],
)
def test_an_edge_is_reported_if_the_very_best_and_half_of_the_best_lie_there(
    places: list[float], side: str | None, better: Better
) -> None:
    """Forty trials, so that the best tenth are four; the others, and one without a score, lie at the other end."""
    scores = [-float(place) * sign(better) for place in range(40)]
    other = 0.0 if side == "high" else 1.0
    frame = pd.DataFrame({"rate_of_mine": [*places, *[other] * 36], "best_val_metric": scores})
    frame = pd.concat([pd.DataFrame({"rate_of_mine": [other], "best_val_metric": [float("nan")]}), frame])
    found = range_edges(frame.sample(frac=1.0, random_state=0), {"rate_of_mine": wb.Range(0, 1)}, better=better)
    assert [edge.side for edge in found] == ([] if side is None else [side])
    assert [edge.best for edge in found] == ([] if side is None else [places[0]])
