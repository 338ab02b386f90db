"""Tables of every type that pandas, polars and pyarrow hold: used, or named with the remedy."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from workbench.core.errors import TaskError
from workbench.tasks import Task

ROWS = 80
RNG = np.random.default_rng(2)
B, Y = RNG.normal(size=ROWS), np.arange(ROWS) % 2


def frame(column: Any) -> pd.DataFrame:
    return pd.DataFrame({"b": B, "a": column, "y": Y})


def four(*values: Any, dtype: Any = object) -> pd.Series:
    return pd.Series(list(values) * (ROWS // len(values)), dtype=dtype)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


NUMBERS = [1, np.nan, 3, 4]


@pytest.mark.parametrize(
    ("column", "plain"),
    [
        (four(1, pd.NA, 3, 4), NUMBERS),
        (four(1, None, 3, 4), NUMBERS),
        (four(1, pd.NaT, 3.0, 4), NUMBERS),
        (four(1, pd.NA, 3, 4, dtype="Int64"), NUMBERS),
        (four(1, pd.NA, 3, 4, dtype="Float32"), NUMBERS),
        (four(decimal.Decimal(1), None, decimal.Decimal("3"), decimal.Decimal(4)), NUMBERS),
        (four(decimal.Decimal(1), decimal.Decimal("NaN"), 3, np.int8(4)), NUMBERS),
        (four(fractions.Fraction(1), None, 3, 4), NUMBERS),
        (pd.Series(pd.arrays.SparseArray(NUMBERS * 20)), NUMBERS),
        (pd.Series(np.array(NUMBERS * 20, dtype=np.longdouble)), NUMBERS),
        (pd.Series(np.array(NUMBERS * 20, dtype=np.float16)), NUMBERS),
        (pd.Series(pd.arrays.SparseArray([1, 0, 0, 4] * 20)), [1, 0, 0, 4]),
        (four(True, 2, 0, 1), [1, 2, 0, 1]),
        (four(10**30, 1, 2, 3), [1e30, 1, 2, 3]),
    ],
)
def test_numbers_of_every_type_are_those_of_float64(column: pd.Series, plain: list[float]) -> None:
    given, wanted = frame(column), frame(np.array(plain * 20, dtype=float))
    task, other = Task.from_frame(given, "y"), Task.from_frame(wanted, "y")
    assert torch.equal(task.train.x, other.train.x)
    assert torch.equal(task.preprocess(given.drop(columns="y")), other.preprocess(wanted.drop(columns="y")))


@pytest.mark.parametrize(
    ("column", "inputs"),
    [
        (four("a", pd.NA, "b", None), 2),
        (four("a", pd.NA, "b", "c", dtype="string"), 3),
        (four(True, pd.NA, False, True, dtype="boolean"), 2),
        (four(True, None, False, True), 2),
        (four(True, False, dtype=bool), 2),
        (pd.Series(pd.arrays.SparseArray([True, False] * 40)), 2),
        (pd.Series(pd.Categorical([1, 2, 3, 4] * 20)), 4),
        (pd.Series(pd.Categorical([1.5, None, 3, 4] * 20)), 3),
        (pd.Series(pd.cut(np.arange(ROWS) % 4, 4)), 4),
        (four(*pd.arrays.IntervalArray.from_breaks(range(5))), 4),
        (four(1, "a", 2.5, None), 3),
        (four(b"a", b"b"), 2),
        (four(uuid.UUID(int=1), uuid.UUID(int=2)), 2),
        (four(Colour.RED, Colour.BLUE), 2),
    ],
)
def test_categories_of_every_type_are_encoded(column: pd.Series, inputs: int) -> None:
    for option, size in (("one_hot", inputs), ("codes", inputs + 1)):
        task = Task.from_frame(frame(column), "y", categories=option)
        if option == "one_hot":
            assert task.input_shape == (1 + inputs,)
        else:
            assert task.categories == {"a": size}
        again = task.preprocess(frame(column).drop(columns="y"))
        assert len(next(iter(again.values())) if isinstance(again, dict) else again) == ROWS


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            pd.Series(pd.period_range("2020-01", periods=ROWS, freq="M")),
            r"holds periods; .*df\['a'\].dt.year, or drop it",
        ),
        (pd.Series(pd.date_range("2020", periods=ROWS, tz="UTC")), "holds dates"),
        (four(pd.Timestamp("2020-01-01", tz="UTC"), pd.Timestamp("2020-01-01", tz="CET")), "holds dates"),
        (four(pd.Period("2020-01"), pd.Period("2021", freq="Y")), "holds periods"),
        (four(datetime.time(1), datetime.time(2)), "holds times of a day"),
        (
            pd.Series(pd.Categorical(pd.date_range("2020", periods=4).tolist() * 20)),
            r"holds dates; .*df\['a'\].astype\('date",
        ),
        (
            pd.Series(pd.Categorical(pd.to_timedelta([1, 2], unit="s").tolist() * 40)),
            "holds durations; .*total_seconds",
        ),
        (pd.Series(pd.Categorical(pd.period_range("2020", periods=2, freq="Y").tolist() * 40)), "holds periods"),
        (four(np.timedelta64(1, "s"), np.timedelta64(2, "s")), "holds durations"),
        (four(1j, None), "holds complex numbers"),
        (four(frozenset([1]), frozenset([2])), "holds frozensets; expand them"),
        (four(pd.Series([1]), pd.Series([2])), "holds Series; expand them"),
        (pd.Series([torch.zeros(2)] * ROWS), "holds Tensors; expand them"),
        (four(10**400, 1), "holds a number beyond 1e308; take its logarithm, or drop it"),
        (four("a", "\ud800"), ".* no valid text"),
        (four(None), "has no value in the training split; drop it"),
        (four(np.nan, dtype=float), "has no value in the training split; drop it"),
        (four(pd.NA, dtype="Int64"), "has no value in the training split; drop it"),
        (four(np.inf, pd.NA, dtype="Float64"), "has 40 infinite values"),
    ],
)
def test_what_is_neither_is_named_with_a_remedy(column: pd.Series, message: str) -> None:
    for option in ("one_hot", "codes"):
        with pytest.raises(TaskError, match=f"column 'a' {message}"):
            Task.from_frame(frame(column), "y", categories=option)


def test_a_number_that_no_float_holds_is_named_later_too() -> None:
    task = Task.from_frame(frame(four(1, 2, 3, 5)), "y")
    with pytest.raises(TaskError, match="column 'a' holds a number beyond 1e308"):
        task.preprocess(frame(four(10**400, 1)))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (frame(1.0).iloc[0], r"rows are a Series; .*the columns b, a; .*take df.iloc\[\[0\]\]"),
        (frame(1.0)["a"], "rows are a Series"),
        ({"a": 1.0, "b": 2.0}, r"rows are a dict; .*pd.DataFrame\(\[rows\]\) for one row"),
        (np.zeros((3, 2)), "rows are a ndarray; this task was made from a DataFrame"),
        (None, "rows are a NoneType"),
    ],
)
def test_rows_that_are_no_table(rows: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Task.from_frame(frame(four(1, 2, 3, 5)), "y").preprocess(rows)


@pytest.mark.parametrize("data", [frame(1.0)["a"], frame(1.0).to_dict("list"), [1, 2]])
def test_what_is_no_table_names_those_that_are(data: Any) -> None:
    with pytest.raises(TaskError, match="from_frame needs a (DataFrame|table)"):
        Task.from_frame(data, "y")


def test_a_path_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame(four(1, 2, 3, 5)).to_csv(tmp_path / "rents.csv", index=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    task = Task.from_csv("~/rents.csv", "y")
    assert task.name == "rents"
    assert task.fingerprint == Task.from_csv(tmp_path / "rents.csv", "y").fingerprint
    with pytest.raises(TaskError, match="path='~/none.csv': there is no such file"):
        Task.from_csv("~/none.csv", "y")


# --- tables of other libraries ------------------------------------------------------------------------------------------


def columns() -> dict[str, Any]:
    return {
        "b": B,
        "a": [1, None, 3, 4] * 20,
        "city": ["Rome", None, "Oslo", "Rome"] * 20,
        "flag": [True, False] * 40,
        "y": Y,
    }


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
@pytest.mark.parametrize("categories", ["one_hot", "codes"])
def test_a_table_of_another_library_is_the_same_task(library: str, categories: str) -> None:
    module = pytest.importorskip(library)
    make = module.DataFrame if library == "polars" else module.table
    table = make(columns())
    task = Task.from_frame(table, "y", categories=categories)
    wanted = Task.from_frame(pd.DataFrame(columns()), "y", categories=categories)
    for one, other in zip(
        parts(task.preprocess(table)), parts(wanted.preprocess(pd.DataFrame(columns()))), strict=True
    ):
        assert torch.equal(one, other)
    assert task.sizes == wanted.sizes


def parts(batch: Any) -> list[torch.Tensor]:
    return list(batch.values()) if isinstance(batch, dict) else [batch]


def test_what_polars_alone_has() -> None:
    pl = pytest.importorskip("polars")
    table = pl.DataFrame(columns()).with_columns(pl.col("city").cast(pl.Enum(["Rome", "Bonn", "Oslo"])))
    task = Task.from_frame(table, "y", categories="codes")
    assert task.categories == {"city": 4, "flag": 3}
    batch = task.preprocess(table[:3])
    assert isinstance(batch, dict)
    assert batch["codes"][:, 0].tolist() == [1, 1, 3]
    with pytest.raises(TaskError, match=r"polars LazyFrame, which is not read yet; give frame.collect\(\)"):
        Task.from_frame(table.lazy(), "y")
    with pytest.raises(TaskError, match="column 'c' holds lists"):
        Task.from_frame(table.with_columns(pl.Series("c", [[1]] * ROWS)), "y")
    with pytest.raises(TaskError, match="column 'c' holds dates"):
        Task.from_frame(table.with_columns(pl.Series("c", [datetime.date(2020, 1, 1)] * ROWS)), "y")
