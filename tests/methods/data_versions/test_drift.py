"""Drift: against scipy, where nothing moved, and where one column was moved on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workbench.methods.data_versions.drift import CHI_SQUARED, COLUMNS, KOLMOGOROV_SMIRNOV, drift, holm

NUMBERS = ["a", "b", "c", "d"]


def rows(rng: np.random.Generator, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = pd.DataFrame(rng.normal(size=(count, 4)), columns=NUMBERS)
    frame["d"] = frame["a"] + 0.1 * frame["d"]  # columns that depend on each other
    frame["few"] = rng.integers(0, 5, count)
    frame["street"] = rng.choice(["oak", "elm", "ash", "fir"], count, p=[0.5, 0.3, 0.18, 0.02])
    return frame, pd.DataFrame({"class": rng.choice(["no", "yes"], count)})


def compared(old: tuple[pd.DataFrame, pd.DataFrame], new: tuple[pd.DataFrame, pd.DataFrame]) -> pd.DataFrame:
    return drift(old[0], new[0], old[1], new[1])


@pytest.mark.parametrize(("n", "m"), [(5, 7), (40, 300), (500, 500)])
def test_numbers_are_compared_as_scipy_does(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    old, new = rows(rng, n), rows(rng, m)
    table = compared(old, new).set_index("column")
    for name in [*NUMBERS, "few"]:
        expected = stats.ks_2samp(old[0][name], new[0][name], method="asymp")
        assert table.at[name, "statistic"] == pytest.approx(expected.statistic, abs=1e-12)
        assert table.at[name, "p_value"] == pytest.approx(expected.pvalue, rel=1e-9)
        assert table.at[name, "test"] == KOLMOGOROV_SMIRNOV
        means = [old[0][name].mean(), new[0][name].mean()]
        assert table.loc[name, ["old", "new"]].tolist() == pytest.approx(means)
        assert (table.at[name, "what"], table.at[name, "old_rows"], table.at[name, "new_rows"]) == ("mean", n, m)


def test_texts_and_classes_are_compared_as_scipy_does() -> None:
    rng = np.random.default_rng(0)
    old, new = rows(rng, 2000), rows(rng, 1500)
    old[0].loc[:99, "street"] = None
    new[0].loc[:29, "street"] = np.nan
    table = compared(old, new).set_index("column")
    for name, a, b in (("street", old[0], new[0]), ("class", old[1], new[1])):
        counts = [frame[name].fillna("none").value_counts().sort_index() for frame in (a, b)]
        expected = stats.chi2_contingency(np.stack(counts), correction=False)
        assert table.at[name, "statistic"] == pytest.approx(expected.statistic)
        assert table.at[name, "p_value"] == pytest.approx(expected.pvalue)
        assert table.at[name, "test"] == CHI_SQUARED
    assert table["role"].to_dict() == {**dict.fromkeys([*NUMBERS, "few", "street"], "input"), "class": "target"}
    assert table.at["street", "what"] == "share of 'missing'"  # 5% before, 2% now
    assert table.loc["street", ["old", "new"]].tolist() == [0.05, 0.02]


def test_texts_too_rare_for_the_test_are_counted_together() -> None:
    old = pd.DataFrame({"id": ["x"] * 400 + ["y"] * 100 + [f"rare {n}" for n in range(40)]})
    new = pd.DataFrame({"id": ["x"] * 300 + ["y"] * 90 + [f"other {n}" for n in range(30)]})
    target = pd.DataFrame({"y": np.zeros(540)}), pd.DataFrame({"y": np.zeros(420)})
    row = drift(old, new, *target).set_index("column").loc["id"]
    expected = stats.chi2_contingency([[400, 100, 40], [300, 90, 30]], correction=False)
    assert row["p_value"] == pytest.approx(expected.pvalue)
    # nothing but rare texts: there is nothing to tell them apart by
    rare = drift(old.tail(40), new.tail(30), target[0].tail(40), target[1].tail(30)).set_index("column").loc["id"]
    assert (rare["statistic"], rare["p_value"]) == (0, 1)


def test_missing_numbers_have_a_test_of_their_own() -> None:
    rng = np.random.default_rng(1)
    old, new = rows(rng, 600), rows(rng, 600)
    old[0].loc[:29, "a"] = np.nan
    new[0].loc[:179, "a"] = np.nan
    table = compared(old, new)
    found = table[table["column"] == "a"].set_index("test")
    expected = stats.chi2_contingency([[570, 30], [420, 180]], correction=False)
    assert found.loc[CHI_SQUARED, "p_value"] == pytest.approx(expected.pvalue)
    assert found.loc[CHI_SQUARED, ["what", "old", "new", "moved"]].tolist() == ["share missing", 0.05, 0.3, True]
    present = stats.ks_2samp(old[0]["a"].dropna(), new[0]["a"].dropna(), method="asymp")
    assert found.loc[KOLMOGOROV_SMIRNOV, "p_value"] == pytest.approx(present.pvalue)
    assert found.loc[KOLMOGOROV_SMIRNOV, ["old_rows", "new_rows"]].tolist() == [570, 420]


@pytest.mark.parametrize("moved", [*NUMBERS[1:3], "few", "street", "class"])
def test_exactly_the_column_that_was_moved_is_told(moved: str) -> None:
    rng = np.random.default_rng(3)
    old, new = rows(rng, 800), rows(rng, 500)
    if moved in ("street", "class"):
        frame = new[0] if moved == "street" else new[1]
        frame.loc[rng.random(500) < 0.3, moved] = "ash" if moved == "street" else "yes"
    else:
        new[0][moved] = new[0][moved] + (2 if moved == "few" else 0.5)
    table = compared(old, new)
    assert table[table["moved"]]["column"].tolist() == [moved]
    assert table["column"][0] == moved  # those that moved stand first
    assert list(table) == COLUMNS


def test_a_wider_spread_is_drift_though_the_mean_stays() -> None:
    rng = np.random.default_rng(4)
    old, new = rows(rng, 800), rows(rng, 800)
    new[0]["b"] *= 2
    assert compared(old, new).query("moved")["column"].tolist() == ["b"]


def test_where_nothing_moved_few_comparisons_say_so() -> None:
    families, flagged = 150, 0
    for seed in range(families):
        rng = np.random.default_rng(seed)
        flagged += bool(compared(rows(rng, 300), rows(rng, 120))["moved"].any())
    # at most 5% of the families, and by chance at most three standard errors more
    assert flagged / families < 0.05 + 3 * np.sqrt(0.05 * 0.95 / families)
    assert flagged > 0  # a test that never says anything would pass the line above


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_its_definition(values: list[float]) -> None:
    p = np.array(values)
    adjusted = holm(p)
    for level in (0.01, 0.05, 0.2):
        rejected, order = set(), np.argsort(p, kind="stable")
        for step, index in enumerate(order):
            if p[index] * (len(p) - step) > level:
                break
            rejected.add(int(index))
        assert set(np.flatnonzero(adjusted <= level).tolist()) == rejected
    with_nan = holm(np.append(p, np.nan))
    assert np.isnan(with_nan[-1])
    assert (with_nan[:-1] == adjusted).all()


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_rows_are_not_compared(count: int) -> None:
    rng = np.random.default_rng(0)
    old, new = rows(rng, 50), rows(rng, count)
    table = compared(old, new)
    assert table.empty
    assert list(table) == COLUMNS
    lost: Any = old[0].assign(a=np.nan)
    row = drift(lost, rows(rng, 40)[0], old[1], rows(rng, 40)[1]).query("column == 'a' and what == 'mean'").iloc[0]
    assert np.isnan(row["p_value"])
    assert not row["moved"]
