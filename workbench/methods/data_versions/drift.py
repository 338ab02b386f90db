"""Which inputs have moved: the distribution of each column in new rows against that in the old training rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from workbench.metrics.intervals import LEVEL
from workbench.tasks.frames import is_number

__all__ = ["ALPHA", "CHI_SQUARED", "COLUMNS", "KOLMOGOROV_SMIRNOV", "drift", "holm"]

ALPHA = 1 - LEVEL
"""Family-wise: if nothing has drifted, at most this share of comparisons reports a column that has."""
KOLMOGOROV_SMIRNOV = "two-sample Kolmogorov-Smirnov"
CHI_SQUARED = "chi-squared"
EXPECTED = 5
"""Texts that are expected fewer times than this in one of the samples are counted together."""
COLUMNS = [
    "column", "role", "test", "statistic", "p_value", "p_adjusted", "moved", "what", "old", "new", "old_rows", "new_rows",
]  # fmt: skip
FEWEST = 2
"""Fewer rows than this on one side cannot be compared."""


def drift(
    old_inputs: pd.DataFrame, new_inputs: pd.DataFrame, old_targets: pd.DataFrame, new_targets: pd.DataFrame
) -> pd.DataFrame:
    """One row a column of inputs and targets, those that moved most first.

    Numbers are compared by the two-sample Kolmogorov-Smirnov test of their present values (Smirnov 1948; `scipy.stats.ks_2samp`
    with method="asymp"), texts by the chi-squared test of homogeneity, in which texts too rare for it are one. A column of
    numbers with missing values has a second row, whether more of them are missing, also by chi-squared.

    Columns: column; role (input or target); test; statistic (the largest distance of the two distribution functions, or
    chi-squared); p_value; p_adjusted (Holm 1979 over all rows, which holds for dependent columns too); moved (p_adjusted
    below 5%); what, old, new: "mean" of the numbers, or the share of the text whose share differs most; old_rows, new_rows.
    A small sample finds only large drifts: what did not move here may have. Empty if one side has fewer than 2 rows.
    """
    rows: list[dict[str, Any]] = []
    if min(len(old_inputs), len(new_inputs)) >= FEWEST:
        for role, old, new in (("input", old_inputs, new_inputs), ("target", old_targets, new_targets)):
            for name in old:
                rows += [{"column": str(name), "role": role, **row} for row in _compared(old[name], new[name])]
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in ("p_adjusted", "moved")])
    table["p_adjusted"] = holm(table["p_value"].to_numpy(float))
    table["moved"] = table["p_adjusted"] < ALPHA
    return table[COLUMNS].sort_values(["p_adjusted", "p_value"], kind="stable", ignore_index=True)


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """p-values adjusted by Holm's step-down procedure; NaN stays, and does not count."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(order) else steps
    return adjusted


# ----------------------------------------------------------------------------------------------------------------------


def _compared(old: pd.Series[Any], new: pd.Series[Any]) -> list[dict[str, Any]]:
    """The test of one column, and for numbers that of its missing values if there are any."""
    if not is_number(old):
        return [_texts(old, new)]
    a, b = (values.to_numpy(dtype=float, na_value=np.nan) for values in (old, new))
    gone = np.isnan(a), np.isnan(b)
    found = [_numbers(a[~gone[0]], b[~gone[1]])]
    if gone[0].any() or gone[1].any():
        words = np.array(["present", "missing"], dtype=object)
        row = _texts(pd.Series(words[gone[0].astype(int)]), pd.Series(words[gone[1].astype(int)]))
        shares = {"what": "share missing", "old": float(gone[0].mean()), "new": float(gone[1].mean())}
        found.append({**row, **shares})
    return found


def _numbers(old: NDArray[np.float64], new: NDArray[np.float64]) -> dict[str, Any]:
    row = {"test": KOLMOGOROV_SMIRNOV, "what": "mean", "old_rows": len(old), "new_rows": len(new)}
    if min(len(old), len(new)) < FEWEST:
        return {**row, "statistic": np.nan, "p_value": np.nan, "old": np.nan, "new": np.nan}
    found: Any = stats.ks_2samp(old, new, method="asymp")
    tested = {"statistic": float(found.statistic), "p_value": float(found.pvalue)}
    return {**row, **tested, "old": float(old.mean()), "new": float(new.mean())}


def _texts(old: pd.Series[Any], new: pd.Series[Any]) -> dict[str, Any]:
    both = pd.concat([old, new], ignore_index=True)
    text = both.astype(object).where(both.notna(), None).map(lambda value: "missing" if value is None else str(value))
    codes, names = pd.factorize(text, sort=True)
    counts = np.stack([np.bincount(part, minlength=len(names)) for part in (codes[: len(old)], codes[len(old) :])])
    shares = counts / counts.sum(1, keepdims=True)
    most = int(np.abs(shares[1] - shares[0]).argmax())
    statistic, p = _chi_squared(counts)
    return {
        "test": CHI_SQUARED, "statistic": statistic, "p_value": p, "what": f"share of {names[most]!r}",
        "old": float(shares[0, most]), "new": float(shares[1, most]), "old_rows": len(old), "new_rows": len(new),
    }  # fmt: skip


def _chi_squared(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Statistic and p-value of a table (2, texts). Which texts are put together depends on the margins alone."""
    rows, columns = counts.sum(1), counts.sum(0)
    rare = columns * rows.min() / rows.sum() < EXPECTED
    table = np.column_stack([counts[:, ~rare], counts[:, rare].sum(1)]) if rare.any() else counts
    if table.shape[1] > 1 and table[:, -1].sum() * rows.min() / rows.sum() < EXPECTED:  # the rest is rare itself
        least = int(table[:, :-1].sum(0).argmin())
        table[:, least] += table[:, -1]
        table = table[:, :-1]
    if table.shape[1] < 2:
        return 0.0, 1.0
    found = stats.chi2_contingency(table, correction=False)
    return float(found.statistic), float(found.pvalue)
