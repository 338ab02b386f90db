"""Warnings about a table, in short sentences. The data are not changed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.core.text import counted
from workbench.tasks.frames import is_number

__all__ = ["data_warnings", "label_warnings"]

FEW = 20
"""Texts in fewer rows than this may all differ by chance."""
MOST = 0.9
"""A text column with more different values than this share of its rows names them; one with so many numbers is one of numbers."""
FAR = 10.0
"""Interquartile ranges beyond the quartiles: a squared error is then made by the few."""
SHOWN = 3
"""So many spellings of a category, and so many columns, are listed in one sentence."""


def data_warnings(
    trained: pd.DataFrame, open_rows: pd.DataFrame, targets: NDArray[Any] | None, names: Sequence[str]
) -> tuple[str, ...]:  # fmt: skip
    """Sentences on a table's columns and target, with names and counts; none where nothing is odd.

    trained: raw inputs of the training rows; open_rows: of these and the validation rows, as the test rows are sealed. targets:
    of the training rows in their own units, (rows, outputs), None for classes; names: of their columns.
    """
    found = []
    for name in open_rows:
        column = open_rows[name]
        if not is_number(column):
            found += _on_texts(str(name), column, trained[name])
    return (*found, *_constant(trained), *_filled_in(open_rows), *_outliers(targets, names))


# ----------------------------------------------------------------------------------------------------------------------


def _on_texts(name: str, column: pd.Series[Any], trained: pd.Series[Any]) -> list[str]:
    counts = {value: int(count) for value, count in column.value_counts().items() if isinstance(value, str) and count}
    rows, odd = sum(counts.values()), {text: count for text, count in counts.items() if not _is_number(text)}
    if len(counts) < 2:
        return []  # booleans and numbers that are categories; constant columns are reported with the others
    if sum(odd.values()) <= (1 - MOST) * rows:
        but = f" but for {_clipped(max(odd, key=odd.__getitem__))} ({counted(sum(odd.values()), 'row')})" if odd else ""
        example = _clipped(next(text for text in counts if text not in odd))
        return [
            f"Column {name!r} is text that reads as numbers, such as {example}{but}; pd.to_numeric makes it one input."
        ]
    found = []
    if rows >= FEW and len(counts) > MOST * rows:
        inputs = counted(int(trained.nunique()), "input")
        says = f"{len(counts):,} different texts in {counted(rows, 'row')}, which become {inputs}"
        found.append(f"Column {name!r} has {says}; drop it if it names the rows.")
    if alike := _alike(counts):
        found.append(f"Column {name!r} has values that differ by case or blanks alone: {alike}.")
    return found


def _alike(texts: Iterable[str]) -> str:
    """The texts that differ by case or blanks alone, in words; empty if there are none."""
    groups: dict[str, list[str]] = {}
    for text in sorted(texts):
        groups.setdefault(" ".join(text.split()).casefold(), []).append(text)
    alike = [group for group in groups.values() if len(group) > 1]
    if not alike:
        return ""
    shown = ", ".join(_clipped(text) for text in alike[0][:SHOWN])
    return shown + (f" and {counted(len(alike) - 1, 'more group')}" if len(alike) > 1 else "")


def label_warnings(classes: Sequence[str]) -> tuple[str, ...]:
    """A sentence on classes whose labels may be one, spelled differently."""
    alike = _alike(classes)
    return (
        (f"Classes differ by case or blanks alone: {alike}; give them one spelling if they are one class.",)
        if alike
        else ()
    )


def _constant(trained: pd.DataFrame) -> list[str]:
    """Columns with one value in the training rows, not counting missing ones, which are filled in with it."""
    found = [str(name) for name in trained if trained[name].nunique() == 1]
    if not found:
        return []
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    names = ", ".join(map(repr, found[:SHOWN])) + more
    subject = f"Column {names} is" if len(found) == 1 else f"Columns {names} are"
    return [f"{subject} constant in the training rows."]


def _filled_in(rows: pd.DataFrame) -> list[str]:
    lacking = rows.isna().sum()
    found = [(str(name), int(count)) for name, count in lacking.items() if count]
    if not found:
        return []
    shown = ", ".join(f"{name!r} ({count:,})" for name, count in found[:SHOWN])
    more = f" and {counted(len(found) - SHOWN, 'more column')}" if len(found) > SHOWN else ""
    return [f"Missing values were filled in, of {counted(len(rows), 'training and validation row')}: {shown}{more}."]


def _outliers(targets: NDArray[Any] | None, names: Sequence[str]) -> list[str]:
    found = []
    for index, values in enumerate([] if targets is None else targets.T):
        low, high = np.quantile(values, [0.25, 0.75])
        far = np.maximum(low - values, values - high)
        count = int((far > FAR * (high - low)).sum()) if high > low else 0
        if count:
            name = f"Target {names[index]!r}" if index < len(names) else "The target"
            found.append(
                f"{name} lies more than {FAR:g} interquartile ranges beyond the quartiles in {count:,} of "
                f"{counted(len(values), 'training row')}, such as {values[far.argmax()]:.4g}; these dominate a squared error."
            )
    return found


def _clipped(text: str) -> str:
    return repr(text if len(text) <= 30 else f"{text[:27]}...")


def _is_number(text: str) -> bool:
    """Whether a text reads as a number, with commas (of decimals or thousands) and a percent sign too."""
    plain = text.strip().rstrip("%").strip()
    for form in (plain.replace(",", ".", 1), plain.replace(",", "")):
        try:
            return math.isfinite(float(form))
        except ValueError:
            continue
    return False
