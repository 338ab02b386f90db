from __future__ import annotations

import math

import pytest

from workbench.core.text import counted, rounded


def test_a_number_with_its_noun() -> None:
    said = [counted(count, "epoch") for count in (0, 1, 2, 1500)]
    assert said == ["0 epochs", "1 epoch", "2 epochs", "1,500 epochs"]


@pytest.mark.parametrize(
    ("value", "text", "short"),
    [
        (0.975, "0.9750", "0.975"), (1, "1.0000", "1.000"), (0, "0.0000", "0.000"), (12.3456, "12.346", "12.35"),
        (319825.253, "319,830", "319,800"), (99999.6, "100,000", "100,000"), (-3.14159, "-3.1416", "-3.142"),
        (0.0001234, "0.000123", "0.00012"), (3e-7, "3e-07", "3e-07"), (4.5678e12, "4.57e+12", "4.6e+12"),
        (math.nan, "nan", "nan"), (math.inf, "inf", "inf"),
    ],
)  # fmt: skip
def test_scores_have_few_digits(value: float, text: str, short: str) -> None:
    assert rounded(value) == text
    assert rounded(value, 4) == short
    assert rounded(value, sign=True).lstrip("+") == text
    assert float(rounded(value).replace(",", "")) == pytest.approx(value, rel=1e-2, nan_ok=True)
