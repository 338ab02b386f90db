"""The axes of the parallel coordinates: what is logarithmic, what is a list, and from where to where they go."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.methods.comparison.parallel import _axis


@pytest.mark.parametrize(
    ("name", "values", "log"),
    [
        ("learning_rate", [1e-3, 1e-1], True),  # searched on a log scale
        ("learning_rate", [0.5, 2.0], True),  # below and above 1 alike
        ("l2", [0.0, 1e-3], False),  # 0 has no logarithm
        ("l2", [1e-6, 1e-3], True),
        ("dropout", [0.1, 0.5], False),  # a linear range
        ("unknown", [1.0, 2.0], False),
    ],
)
def test_numbers(name: str, values: list[float], log: bool) -> None:
    numbers, axis = _axis(pd.Series([values[1], np.nan, values[0]]), name)
    np.testing.assert_array_equal(numbers, [values[1], np.nan, values[0]])
    assert (axis["low"], axis["high"], axis["log"], axis["categories"]) == (*values, log, None)


def test_texts_and_truth_values_are_places_in_a_sorted_list() -> None:
    numbers, axis = _axis(pd.Series(["sgd", None, "adam", "sgd"]), "optimizer")
    np.testing.assert_array_equal(numbers, [1.0, np.nan, 0.0, 1.0])
    assert (axis["low"], axis["high"], axis["categories"]) == (0.0, 1.0, ["adam", "sgd"])
    numbers, axis = _axis(pd.Series([True, False]), "batch_norm")
    np.testing.assert_array_equal(numbers, [1.0, 0.0])
    assert axis["categories"] == ["False", "True"]


def test_no_finite_number_still_gives_an_axis() -> None:
    _, axis = _axis(pd.Series([np.nan, np.inf]), "learning_rate")
    assert (axis["low"], axis["high"]) == (0.0, 1.0)
