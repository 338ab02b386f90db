"""What is no value of a domain is rejected by an error of the project's own, whatever its type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import workbench as wb

NONSENSE: list[Any] = [object(), int, np.ones(2), pd.NA, b"", [1], {1: 2}, 1 + 2j, float("nan"), 10**400]


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: type(value).__name__)
def test_an_option_is_text_a_number_a_boolean_none_or_a_tuple_of_these(value: Any) -> None:
    for option in [] if isinstance(value, list) else [value, (value,), (1, ("b", value))]:
        with pytest.raises(
            wb.ConfigError, match="an option must be text, a finite number, a boolean, None, or a tuple"
        ):
            wb.Choice("a", option)
    with pytest.raises(wb.ConfigError, match="default"):
        wb.Choice("a", 1, None, True, default=value)
    with pytest.raises(wb.ConfigError, match="must be one of 'a', 1"):
        wb.Choice("a", 1).check(value)


@pytest.mark.parametrize("value", [*NONSENSE, "", True], ids=lambda value: type(value).__name__)
def test_a_bound_is_a_finite_number(value: Any) -> None:
    with pytest.raises(wb.ConfigError, match="both bounds must be"):
        wb.Range(0, value)
    with pytest.raises(wb.ConfigError, match="both bounds must be"):
        wb.IntRange(value, 9)
    with pytest.raises(wb.ConfigError, match="scale=.*must be one of 'linear', 'log', 'power2'"):
        wb.IntRange(1, 9, scale=value)
    with pytest.raises(wb.ConfigError, match="l2="):
        wb.Config(l2=value)


def test_what_is_right_is_kept() -> None:
    assert wb.Choice("a", 1, 2.5, True, None).options == ("a", 1, 2.5, True, None)
    assert wb.Choice(np.int64(3), np.str_("b")).check(3) == 3
    assert wb.IntRange(1, 9, scale="power2").check(np.int64(4)) == 4
    assert wb.Config(l2=0).l2 == 0.0
