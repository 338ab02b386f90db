"""Warnings about a table: each one on a planted case, and none on a table without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.methods.data.tab import facts
from workbench.tasks.data_warnings import data_warnings

ROWS = 200
RNG = np.random.default_rng(3)
PLAIN = pd.DataFrame({"size": RNG.normal(size=ROWS), "town": RNG.choice(["Bern", "Chur"], ROWS)})
PLAIN["old"] = RNG.choice([True, False], ROWS)


def on(**columns: Any) -> tuple[str, ...]:
    """Warnings about the plain table with further columns, the first 120 rows being training rows and 160 open."""
    frame = PLAIN.assign(**columns)
    return data_warnings(frame[:120], frame[:160], None, ["y"])


def on_targets(targets: Any, names: Any = ("y",)) -> tuple[str, ...]:
    return data_warnings(PLAIN[:120], PLAIN[:160], np.asarray(targets, float), list(names))


def test_there_is_nothing_to_say_of_a_plain_table() -> None:
    assert on() == ()
    assert on(grade=pd.Series([1, 2] * 100).astype("category"), many=np.arange(200)) == ()
    assert on_targets(RNG.normal(size=(120, 2))) == ()
    assert on_targets(RNG.lognormal(size=(120, 1))) == ()


def test_text_that_names_the_rows() -> None:
    names = [f"house {row}" for row in range(ROWS)]
    expected = "Column 'id' has 160 different texts in 160 rows, which become 120 inputs; drop it if it names the rows."
    assert on(id=names) == (expected,)
    assert on(id=pd.Series(names, dtype="category")) == (expected,)
    assert on(id=[f"house {row // 2}" for row in range(ROWS)]) == ()
    few = pd.DataFrame({"id": names[:12]})
    assert data_warnings(few[:8], few[:12], None, ["y"]) == ()


@pytest.mark.parametrize(
    "texts", [["12", "7", "3.5"], ["1,5", "2,25"], ["1,234,567", "2"], [" 4%", "50 %"], ["-1e3", "+2"]]
)
def test_text_that_reads_as_numbers(texts: list[str]) -> None:
    (said,) = on(age=np.resize(texts, ROWS))
    assert said.startswith("Column 'age' is text that reads as numbers, such as '")
    assert said.endswith("; pd.to_numeric makes it one input.")


def test_text_that_reads_as_numbers_but_for_some() -> None:
    ages = [str(row % 40) for row in range(ROWS)]
    ages[3] = ages[70] = "?"
    (said,) = on(age=ages)
    assert "such as '0' but for '?' (2 rows); pd.to_numeric" in said
    assert on(code=["A1", "2", "3", "B"] * 50) == ()  # labels, half of which are digits


def test_categories_that_differ_by_case_or_blanks() -> None:
    towns = ["Berlin", "berlin ", "Bonn", "BERLIN", "bonn", "Ulm", "Köln", "Koln"] * 25
    said = (
        "Column 'city' has values that differ by case or blanks alone: 'BERLIN', 'Berlin', 'berlin ' and 1 more group."
    )
    assert on(city=towns) == (said,)


def test_constant_columns_are_those_of_the_training_rows() -> None:
    late = np.where(np.arange(ROWS) < 120, 1.0, 2.0)
    assert on(late=late) == ("Column 'late' is constant in the training rows.",)
    assert on(early=np.where(np.arange(ROWS) < 1, 1.0, 2.0)) == ()
    many = {f"c{index}": "same" for index in range(5)}
    assert on(**many) == ("Columns 'c0', 'c1', 'c2' and 2 more are constant in the training rows.",)


def test_missing_values_are_counted_outside_the_test_rows() -> None:
    holes = RNG.normal(size=ROWS)
    holes[[1, 2, 130, 190]] = np.nan
    town = PLAIN["town"].where(np.arange(ROWS) != 5, None)
    said = "Missing values were filled in, of 160 training and validation rows: 'town' (1), 'holes' (3)."
    assert on(holes=holes, town=town) == (said,)


def test_targets_far_from_all_others() -> None:
    values = np.linspace(0, 4, 120)  # quartiles at 1 and 3
    values[[0, 1]] = -19.1, 23.5
    values[2] = 22.9
    said = (
        "Target 'rent' lies more than 10 interquartile ranges beyond the quartiles in 2 of 120 training rows, such as 23.5; "
        "these dominate a squared error."
    )
    exact = np.quantile(values, [0.25, 0.75])
    assert values[0] < exact[0] - 10 * (exact[1] - exact[0])  # the planted case is what it is meant to be
    assert values[2] < exact[1] + 10 * (exact[1] - exact[0])
    two = np.column_stack([RNG.normal(size=120), values])
    assert on_targets(two, ["size", "rent"]) == (said,)
    assert on_targets(np.where(np.arange(120) < 110, 0.0, 50.0)[:, None]) == ()  # no range to measure by


def test_a_task_tells_them_in_its_summary_and_the_tab_escapes_them() -> None:
    frame = PLAIN.assign(**{"<b>": "same", "y": RNG.integers(0, 2, ROWS)})
    frame = pd.concat([frame, frame[:40]], ignore_index=True)
    split = wb.Split.given(train=np.arange(150), validation=np.arange(150, 220), test=np.arange(220, 240))
    task = wb.Task.from_frame(frame, "y", split=split)
    keys = task.row_keys
    copies = {split: int(np.isin(keys[split], keys["train"]).sum()) for split in ("validation", "test")}
    assert min(copies.values()) > 0
    assert task.warnings[0] == "Column '<b>' is constant in the training rows."
    assert task.warnings[1].startswith(
        f"{copies['validation']} of 70 validation rows and {copies['test']} of 20 test rows"
    )
    summary = task.summary()
    assert len(summary.loc["warning"]) == len(task.warnings) == 2
    said = " ".join(summary["value"])
    assert all(warning in said for warning in task.warnings)
    assert summary["value"].str.len().max() <= 50
    shown = facts(task)
    assert "Column &#x27;&lt;b&gt;&#x27; is constant" in shown
    assert "<b>" not in shown


def test_remarks_on_numbers_are_in_the_targets_units_and_new_in_each_version() -> None:
    frame = PLAIN.assign(rent=RNG.normal(1000, 10, ROWS))
    task = wb.Task.from_frame(frame, "rent")
    assert task.warnings == ()
    more = pd.concat([frame, PLAIN.assign(rent=1e7)], ignore_index=True)
    (said,) = task.version(more[:205]).warnings
    assert said.startswith("Target 'rent' lies more than 10 interquartile ranges")
    assert "such as 1e+07;" in said
    assert wb.Task.from_arrays(np.arange(60.0)[:, None], np.arange(60) % 2).warnings == ()


def warnings_of_texts(texts: list[str]) -> tuple[str, ...]:
    frame = pd.DataFrame({"text": texts})
    return data_warnings(frame, frame, None, ())


def test_texts_name_the_rows_from_twenty_rows_on_if_more_than_nine_in_ten_differ() -> None:
    names = [f"row {index}" for index in range(20)]
    assert "20 different texts" in warnings_of_texts(names)[0]
    assert warnings_of_texts(names[:19]) == ()
    assert "19 different texts" in warnings_of_texts([*names[:19], names[0]])[0]
    assert warnings_of_texts([*names[:18], *names[:2]]) == ()


def test_a_column_reads_as_numbers_if_at_most_one_text_in_ten_does_not() -> None:
    numbers = [f"{index}.5" for index in range(19)]
    assert "reads as numbers" in warnings_of_texts([*numbers, "none"])[0]
    assert not any("reads as numbers" in text for text in warnings_of_texts([*numbers[:17], "a", "b", "c"]))
