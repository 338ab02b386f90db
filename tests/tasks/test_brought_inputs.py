"""Data as people bring them: the same task as of plain arrays, or an error that names field, value and remedy."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import (
    LeaveOneOut,
    PredefinedSplit,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    TimeSeriesSplit,
)
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from workbench.core.errors import TaskError
from workbench.tasks import Split, Task

RNG = np.random.default_rng(4)
N = 200
X = RNG.normal(size=(N, 4)).astype(np.float32).astype(np.float64)
Y = (X[:, 0] > 0).astype(int)
HALVES = Split.given(train=range(100), validation=range(100, 200))
FRAME = pd.DataFrame(X, columns=list("abcd")).assign(y=Y)
PLAIN = Task.from_arrays(X, Y, split=HALVES)
DAYS = pd.date_range("2021-01-01", periods=N)


def framed(target: Any = "y", *, split: Any = HALVES, **columns: Any) -> Task:
    return Task.from_frame(FRAME.assign(**columns), target, split=split)


# --- the same task ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "x",
    [
        torch.tensor(X, requires_grad=True), torch.tensor(X).to_sparse(), np.asfortranarray(X), X.astype(">f8"),
        np.frombuffer(X.tobytes()).reshape(N, 4), [torch.tensor(row) for row in X], X.astype(np.longdouble), X.astype(object),
        pd.DataFrame(X).astype("Float64"), pd.DataFrame(X, index=np.zeros(N)), np.ma.masked_array(X, False), X.astype(np.float32),
    ],
)  # fmt: skip
def test_inputs_in_any_memory_are_the_same(x: Any) -> None:
    task = Task.from_arrays(x, Y, split=HALVES)
    assert torch.equal(task.train.x, PLAIN.train.x)
    assert torch.equal(task.validation.x, PLAIN.validation.x)


@pytest.mark.parametrize("dtype", [np.float16, np.int16, np.uint16, np.int64, bool])
def test_small_types_are_standardized_as_by_scikit_learn(dtype: Any) -> None:
    x = abs(X * 1000).astype(dtype) if dtype is not bool else X > 0
    wanted = StandardScaler().fit(x[:100].astype(float)).transform(x.astype(float))
    task = Task.from_arrays(x, Y, split=HALVES)
    np.testing.assert_allclose(task.train.x, wanted[task.row_numbers["train"]], rtol=1e-5, atol=1e-6)


def test_a_small_spread_on_a_large_level_is_kept() -> None:
    task = Task.from_arrays(X + np.r_[1e9, 0, 0, 0], Y, split=HALVES)
    wanted = StandardScaler().fit(X[:100]).transform(X)[task.row_numbers["validation"]]
    np.testing.assert_allclose(task.validation.x, wanted, atol=1e-5)


@pytest.mark.parametrize(
    "y",
    [
        Y[:, None], Y.astype(float) + 1, torch.tensor(Y), Y.astype(object), pd.Series(Y, dtype="Int64"), Y.astype(">i8"),
        pd.Categorical(Y), pd.arrays.SparseArray(Y), np.where(Y, 2**62 + 1, 2**62), [10**30 if y else 5 for y in Y],
        np.where(Y, np.uint64(2**63 + 5), np.uint64(7)), Y.astype(bool), [Decimal(int(y)) for y in Y],
    ],
)  # fmt: skip
def test_class_labels_in_any_type_are_the_same_classes(y: Any) -> None:
    task = Task.from_arrays(X, y, split=HALVES)
    np.testing.assert_array_equal(task.train.y, Y[task.row_numbers["train"]])
    own = np.asarray(pd.Series(y) if not isinstance(y, (np.ndarray, torch.Tensor)) else y).reshape(-1)
    answers = task.decode(torch.nn.functional.one_hot(task.train.y, 2).float())
    assert [str(one) for one in answers] == [
        str(int(one)) if isinstance(one, Decimal) else str(one) for one in own[task.row_numbers["train"]]
    ]


@pytest.mark.parametrize(
    "order",
    [
        pd.to_timedelta(np.arange(N), unit="h"), [Decimal(row) / 3 for row in range(N)], DAYS.tz_localize("UTC"), DAYS.date,
        np.arange(N, dtype=np.uint64) + 2**60, pd.Series(np.arange(N), dtype="Int64"), torch.arange(N), DAYS.to_period("D"),
    ],
)  # fmt: skip
def test_orders_of_any_type_are_the_same_order(order: Any) -> None:
    rows = Task.from_arrays(X, Y, split=Split.ordered(order)).row_numbers
    assert sorted(rows["train"]) == list(range(120))
    assert sorted(rows["validation"]) == list(range(120, 160))


def test_a_gap_in_time_between_durations() -> None:
    order = pd.to_timedelta(np.arange(N), unit="h")
    rows = Task.from_arrays(X, Y, split=Split.ordered(order, gap="6h")).row_numbers
    assert max(rows["train"]) == 120 - 6
    assert min(rows["validation"]) == 120


@pytest.mark.parametrize(
    "groups",
    [
        np.arange(N) % 30 + 0.5, [f"p{row % 30}" for row in range(N)], pd.Categorical(np.arange(N) % 30, categories=range(50)),
        pd.Series(np.arange(N) % 30, dtype="Int64"), torch.arange(N) % 30, [Decimal(row % 30) for row in range(N)],
    ],
)  # fmt: skip
def test_groups_of_any_type_stay_together(groups: Any) -> None:
    rows = Task.from_arrays(X, Y, split=Split.grouped(groups)).row_numbers
    own = {name: {int(row) % 30 for row in numbers} for name, numbers in rows.items()}
    assert not own["train"] & own["validation"]
    assert len(rows["train"]) + len(rows["validation"]) < N


def test_a_group_that_is_an_input_too() -> None:
    task = framed(split=Split.grouped("g", keep_column=True), g=np.arange(N) % 30)
    assert task.feature_names == ("a", "b", "c", "d", "g")


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        (slice(0, 100), slice(100, None)), (slice(None, -100), slice(-100, None)), (np.arange(N) < 100, np.arange(N) >= 100),
        (pd.array(np.arange(N) < 100, dtype="boolean"), pd.Series(np.arange(N) >= 100)), (range(100), range(199, 99, -1)),
    ],
)  # fmt: skip
def test_rows_named_in_any_way_are_the_same_rows(train: Any, validation: Any) -> None:
    assert (
        Task.from_arrays(X, Y, split=Split.given(train=train, validation=validation)).fingerprint == PLAIN.fingerprint
    )


@pytest.mark.parametrize(
    "splitter",
    [
        TimeSeriesSplit(3), TimeSeriesSplit(3, gap=5), PredefinedSplit(np.arange(N) % 4),
        RepeatedKFold(n_splits=2, n_repeats=2, random_state=0), ShuffleSplit(3, random_state=1),
    ],
)  # fmt: skip
def test_splitters_divide_as_they_do(splitter: Any) -> None:
    folds = in_folds(Split.folds(test=0, splitter=splitter))
    assert folds == [tuple(sorted(part.tolist()) for part in fold) for fold in splitter.split(X, Y)]


def in_folds(split: Split) -> list[tuple[list[int], list[int]]]:
    """The row numbers of each fold: they are an input of the task."""
    task = Task.from_arrays(np.c_[np.arange(N), X[:, 1:]], Y, split=split, standardize=False)
    assert task.folds is not None
    folds = task.folds.members
    return [tuple(sorted(part.x[:, 0].int().tolist()) for part in (fold.train, fold.validation)) for fold in folds]  # type: ignore[misc]


def test_a_splitter_of_groups_keeps_them_together() -> None:
    groups = [f"p{row % 30}" for row in range(N)]
    for train, validation in in_folds(Split.folds(test=0, splitter=StratifiedGroupKFold(3), groups=groups)):
        assert not {row % 30 for row in train} & {row % 30 for row in validation}


# --- an error ---------------------------------------------------------------------------------------------------------------

OFTEN = np.arange(N) % 30
LATE = Split.given(train=np.flatnonzero(OFTEN < 10), validation=np.flatnonzero(OFTEN >= 10))


def arrays(x: Any = X, y: Any = Y, **options: Any) -> Callable[[], Task]:
    return lambda: Task.from_arrays(x, y, **options)


def table(target: Any = "y", split: Any = HALVES, **columns: Any) -> Callable[[], Task]:
    return lambda: framed(target, split=split, **columns)


def arrays_of_weights_and_groups() -> Task:
    return Task.from_frame(FRAME.assign(g=OFTEN), "y", weights="g", split=Split.grouped("g"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (arrays(y=None), "y=None: give an array or a list with one target for each row"),
        (arrays(y=(y for y in Y)), "y is a generator: give an array or a list"),
        (arrays(y={"a": 1}), "y is a dict: give an array or a list"),
        (arrays(y=set(range(N))), "y is a set: give an array or a list"),
        (arrays(y=np.where(Y, b"a", b"b")), r"y holds bytes, such as b'.'; give text: y.astype\(str\)"),
        (table(y=[b"a", b"b"] * 100), r"target 'y' holds bytes, such as b'a'; give text"),
        (table(y=pd.period_range("2000", periods=N, freq="D")), "target 'y' holds periods, such as '2000-01-01'"),
        (table(y=DAYS.date), "target 'y' holds dates, such as '2021-01-01'"),
        (table(y=DAYS), "target 'y' holds dates; turn them into numbers"),
        (table(y=[datetime.time(1)] * N), "target 'y' holds times of a day"),
        (table(["y", "z"], z=np.where(Y, "u", "v")), "several targets are numbers, .*; for classes make one task"),
        (table(["y", "y"]), r"target=\['y', 'y'\]: names a column twice"),
        (arrays(y=Y[None, :]), "X has 200 rows and y has 1 row"),
        (arrays(y=np.eye(2)[Y]), r"looks one-hot: use y.argmax\(axis=1\)"),
        (arrays(y=np.eye(2, dtype=bool)[Y]), r"looks one-hot: use y.argmax\(axis=1\)"),
        (arrays(y=RNG.poisson(3, N) - 1, kind="count"), "y has the value -1: counts are whole numbers from 0 on"),
        (arrays(x=X * 1e300), r"input 0 has values up to .*e\+300, whose deviation no float64 holds; divide it"),
        (table(a=X[:, 0] * 1e300), r"input 'a' has values up to .*e\+300, whose deviation no float64 holds"),
        (arrays(x=X * 1e60, standardize=False), "after preprocessing, which no float32 can hold"),
        (arrays(y=X[:, 0] * 1e60, target_transform=None), r"the target \S+e.[56]\d has no finite value after it, in float32"),
        (arrays(y=np.where(OFTEN == 12, -5, X[:, 1] ** 2), target_transform="log1p", split=LATE), "the target -5 has no"),
        (arrays(y=X[:, 1], target_transform=FunctionTransformer(np.square)), "its inverse misses y by up to"),
        (arrays(split=Split.given(train=(np.arange(N) < 100).astype(int), validation=[199])), "a mask of 0 and 1, give"),
        (arrays(split=Split.given(train=np.ones(9, bool), validation=[199])), "train= is a mask of 9 values"),
        (arrays(split=Split.ordered(Y.astype(bool))), "order holds bools, such as False"),
        (arrays(split=Split.ordered([datetime.time(row % 24) for row in range(N)])), "order holds times, such as"),
        (arrays(split=Split.ordered([*DAYS[:-1], DAYS[-1].tz_localize("UTC")])), "no time zone in row 0, .*, and one in row 199"),
        (arrays(y=np.r_[np.zeros(198, int), 1, 1], split=Split.folds(5)), "class '1' has 1 row outside .*each fold; merge"),
        (arrays(y=np.r_[np.zeros(196, int), 1, 1, 1, 1], split=Split.folds(5)), "class '1' has 3 rows .*use at most 3 folds"),
        (arrays(split=Split.folds(splitter=ShuffleSplit(3))), "divides the rows differently each time; give it a random_state"),
        (arrays(split=Split.folds(splitter=LeaveOneOut())), "makes 160 folds; give one that makes 2 to 50"),
        (table(split=Split.grouped("g"), g=np.where(OFTEN == 3, np.nan, OFTEN)), "groups='g' has 7 missing values, first in"),
        (table(split=Split.ordered("p"), p=DAYS.where(np.arange(N) > 1)), "order='p' has 2 missing values, first in row 0"),
        (table(p=DAYS.tz_localize("UTC")), r"column 'p' holds dates; .*drop it; to divide the rows.*ordered\('p'\)"),
        (table(p=DAYS.astype(str)), r"column 'p' holds dates as text.*Split.ordered\('p'\)"),
        (arrays_of_weights_and_groups, "is also groups='g'"),
        (arrays(weights=np.r_[np.ones(100), np.zeros(100)], split=HALVES), "weights is 0 in every validation row"),
        (arrays(x={"u": X, "v": X[:-1]}), "'u' has 200 rows, 'v' has 199 rows"),
        (arrays(x=np.full((N, 3), -1), inputs="tokens"), "X has a token -1 below 0.*give padding an id of its own"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named_with_its_remedy(make: Callable[[], Task], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        make()


# --- a warning --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda order: Task.from_arrays(pd.DataFrame(X), pd.Series(Y, index=order)), "y"),
        (lambda order: Task.from_arrays(pd.DataFrame(X), Y, weights=pd.Series(1.0, index=order)), "weights"),
        (lambda order: Task.from_frame(FRAME, "y", split=Split.grouped(pd.Series(OFTEN, index=order))), "groups"),
        (
            lambda order: Task.from_frame(
                FRAME, "y", split=Split.given(train=pd.Series(np.arange(N) < 99, index=order), validation=[199])
            ),
            "train",
        ),
    ],
)
def test_an_index_in_another_order_is_a_warning(make: Callable[[Any], Task], name: str) -> None:
    make(np.arange(N))
    make(np.arange(N) + 7)  # labels of their own say nothing
    with pytest.warns(
        UserWarning, match=rf"the rows of {name} have the index of the data in another order.*{name}\.loc"
    ):
        make(np.arange(N)[::-1])


def test_classes_that_differ_by_blanks_are_a_warning() -> None:
    labels = np.array(["yes", "no", "Yes ", "no"] * 50)
    (says,) = Task.from_arrays(X, labels).warnings
    assert (
        says == "Classes differ by case or blanks alone: 'Yes ', 'yes'; give them one spelling if they are one class."
    )
    assert Task.from_arrays(X, np.where(Y, "yes", "no")).warnings == ()
