"""Versions of a task: the same rows are known again and keep their split; what does not fit is refused."""

from __future__ import annotations

import copy
import gc
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler
from torch.utils.data import TensorDataset

import workbench as wb
from tests.tasks.test_test_split import MARKS, ROWS, marks_within
from workbench.core.errors import TaskError
from workbench.tasks import Task
from workbench.tasks.row_identity import SPLITS, place, row_keys
from workbench.tasks.test_split import open_seal

RNG = np.random.default_rng(7)
X = RNG.normal(size=(200, 3))
Y = RNG.integers(0, 2, 200)
MORE_X = RNG.normal(size=(100, 3))
MORE_Y = RNG.integers(0, 2, 100)
GROWN = (np.concatenate([X, MORE_X]), np.concatenate([Y, MORE_Y]))


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "size": rng.normal(50, 10, rows),
            "rooms": rng.integers(1, 6, rows),
            "street": rng.choice(["oak", "elm", "ash"], rows),
            "price": rng.normal(900, 50, rows),
        }
    )


# --- keys ---------------------------------------------------------------------------------------------------------------


def test_keys_tell_rows_apart_and_know_equal_ones() -> None:
    keys = row_keys(X, Y, ("a", "b"))
    assert keys.dtype == np.uint64
    assert len(set(keys.tolist())) == 200
    assert (row_keys(X[::-1], Y[::-1], ("a", "b")) == keys[::-1]).all()
    assert not np.isin(row_keys(X, 1 - Y, ("a", "b")), keys).any()  # the target belongs to the row
    assert (row_keys(X, 1 - Y, ("b", "a")) == keys).all()  # a class counts by its label, not by its number
    assert not np.isin(row_keys(X[:, ::-1], Y, ("a", "b")), keys).any()  # values in other columns are another row
    numbers = row_keys(X, X[:, :2])
    assert not np.isin(row_keys(X, X[:, 1::-1]), numbers).any()


def test_a_row_is_known_again_in_another_guise(tmp_path: Path) -> None:
    frame = table(300)
    frame.loc[3, "size"] = np.nan
    frame.loc[5, "street"] = None
    keys = row_keys(frame.drop(columns="price"), frame[["price"]].to_numpy())
    frame.to_csv(tmp_path / "rents.csv", index=False)
    read = pd.read_csv(tmp_path / "rents.csv")
    other = frame.astype({"rooms": "Int64", "street": "category", "size": "float32"})[["street", "rooms", "size"]]
    assert (row_keys(read.drop(columns="price"), read[["price"]].to_numpy()) == keys).all()
    assert (row_keys(other, frame[["price"]].to_numpy()) == keys).all()
    assert len(set(keys.tolist())) == 300
    zero = np.zeros((2, 1))
    assert len(set(row_keys(np.array([[0.0], [-0.0]]), zero).tolist())) == 1
    odd = np.array([[1e300], [2e300], [2.0**53], [2.0**53 + 2], [1e-300], [2e-300], [0.0]])
    assert len(set(row_keys(odd, np.zeros((7, 1))).tolist())) == 7


def test_keys_of_wide_rows_do_not_depend_on_the_pieces() -> None:
    wide = RNG.normal(size=(50, 2000))
    keys = row_keys(wide, np.zeros((50, 1)))
    alone = [row_keys(row[None], np.zeros((1, 1)))[0] for row in wide]
    assert keys.tolist() == alone
    assert (row_keys(wide.reshape(50, 2, 10, 100), np.zeros((50, 1))) == keys).all()


# --- where rows go ------------------------------------------------------------------------------------------------------


def by_hand(keys: list[int], known: dict[str, list[int]]) -> list[str | None]:
    """The split of each known row, one at a time; None for a new one."""
    found: list[str | None] = []
    seen: Counter[int] = Counter()
    for key in keys:
        turn = [name for name in reversed(SPLITS) for _ in range(known[name].count(key))]
        found.append(turn[seen[key] % len(turn)] if turn else None)
        seen[key] += 1
    return found


KEYS = st.lists(st.integers(0, 30), max_size=40)


@given(KEYS, KEYS, KEYS, st.lists(st.integers(0, 60), min_size=1, max_size=60), st.integers(0, 3))
@settings(max_examples=100)
def test_known_rows_stay_and_copies_of_new_ones_go_together(
    train: list[int], validation: list[int], test: list[int], keys: list[int], seed: int
) -> None:
    known = dict(zip(SPLITS, (train, validation, test), strict=True))
    arrays = {name: np.array(values, np.uint64) for name, values in known.items()}
    found, new = place(np.array(keys, np.uint64), arrays, (0.6, 0.2, 0.2), None, seed)
    expected = by_hand(keys, known)
    for key, place_, is_new, name in zip(keys, found, new, expected, strict=True):
        assert is_new == (name is None)
        if name is not None:
            assert SPLITS[place_] == name
        else:
            assert len({int(found[i]) for i, other in enumerate(keys) if other == key}) == 1
    order = np.random.default_rng(seed).permutation(len(keys))
    again, _ = place(np.array(keys, np.uint64)[order], arrays, (0.6, 0.2, 0.2), None, seed)
    places = [Counter((key, int(split)) for key, split in zip(k, f, strict=True)) for k, f in
              ((keys, found), (np.array(keys)[order].tolist(), again))]  # fmt: skip
    assert places[0] == places[1]  # whatever the order of the rows


@given(st.integers(1, 300), st.integers(0, 300), st.integers(0, 5))
@settings(max_examples=30)
def test_new_rows_are_divided_by_the_shares(rows: int, before: int, seed: int) -> None:
    keys = row_keys(np.arange(rows + before)[:, None] + 0.5, np.zeros((rows + before, 1)))
    shares = (0.6, 0.25, 0.15)
    edges = np.cumsum([int(before * share) for share in shares[:2]])
    known = dict(zip(SPLITS, np.split(keys[:before], edges), strict=True))
    found, new = place(keys, known, shares, None, seed)
    assert new.sum() == rows
    assert np.abs(np.bincount(found, minlength=3) - np.array(shares) * (rows + before)).max() <= 2
    without, _ = place(keys[before:], dict.fromkeys(SPLITS, keys[:0]), (0.8, 0.2, 0.0), None, seed)
    assert not (without == 2).any()


def test_each_class_is_divided_by_itself_and_the_seed_decides() -> None:
    keys = row_keys(np.arange(400)[:, None] + 0.5, np.zeros((400, 1)))
    strata = np.repeat([0, 1], [300, 100])
    none = dict.fromkeys(SPLITS, keys[:0])
    one, _ = place(keys, none, (0.6, 0.2, 0.2), strata, 0)
    other, _ = place(keys, none, (0.6, 0.2, 0.2), strata, 1)
    assert np.bincount(one[:300]).tolist() == [180, 60, 60]
    assert np.bincount(one[300:]).tolist() == [60, 20, 20]
    assert 0.3 < (one != other).mean() < 0.8
    # it looks like a draw: the places of the test rows are spread over the data
    assert abs(np.flatnonzero(one[:300] == 2).mean() - 150) < 3 * np.sqrt(300**2 / 12 / 60)


# --- versions -----------------------------------------------------------------------------------------------------------


def splits_of(task: Task) -> dict[int, str]:
    return {int(key): name for name, keys in task.row_keys.items() for key in keys}


@given(st.integers(1, 100), st.integers(0, 2**31 - 1), st.floats(0, 1))
@settings(max_examples=15)
def test_old_rows_keep_their_split_in_every_further_version(more: int, seed: int, gone: float) -> None:
    task = Task.from_arrays(X, Y)
    rng = np.random.default_rng(seed)
    kept = rng.random(200) >= gone / 2
    x, y = np.concatenate([X[kept], MORE_X[:more]]), np.concatenate([Y[kept], MORE_Y[:more]])
    order = rng.permutation(len(x))
    second = task.version((x[order], y[order]))
    third = second.version((np.concatenate([X, MORE_X, X + 9]), np.concatenate([Y, MORE_Y, Y])))
    first = splits_of(task)
    assert {key: name for key, name in splits_of(second).items() if key in first}.items() <= first.items()
    # rows that had left come back to where they were
    assert first.items() | splits_of(second).items() <= splits_of(third).items()
    assert third.version_number == 3
    assert sum(second.sizes.values()) == len(x)


def test_a_version_is_the_same_task_on_other_rows() -> None:
    options: dict[str, Any] = {
        "split": (0.5, 0.3, 0.2),
        "seed": 4,
        "clip": 2.0,
        "transform": StandardScaler(),
        "name": "x",
    }
    task = Task.from_arrays(X, Y, **options)
    grown = task.version(GROWN)
    assert (grown.name, grown.kind, grown.metric, grown.classes) == ("x", "classification", "accuracy", ("0", "1"))
    assert grown.schema.preprocessing.clip == 2.0
    assert np.abs(np.array(list(grown.sizes.values())) - [150, 90, 60]).max() <= 1  # each class by itself
    assert grown.fingerprint != task.fingerprint
    assert grown.fingerprint != Task.from_arrays(*GROWN, **options).fingerprint  # divided otherwise
    assert grown.fingerprint == Task.from_arrays(X, Y, **options).version(GROWN).fingerprint
    # preprocessing is that of its own training rows
    keys = row_keys(*GROWN, ("0", "1"))
    train = np.isin(keys, grown.row_keys["train"])
    low, high = (GROWN[0][train].mean(0) + side * 2 * GROWN[0][train].std(0) for side in (-1, 1))
    clipped = np.clip(GROWN[0], low, high)
    expected = (clipped - clipped[train].mean(0)) / clipped[train].std(0)
    np.testing.assert_allclose(grown.preprocess(GROWN[0]), expected, atol=1e-5)
    assert grown.former is not None
    assert grown.former.fingerprint == task.fingerprint
    assert grown.former.new == {name: grown.sizes[name] - task.sizes[name] for name in SPLITS}
    # its validation rows as the first version's preprocessing gives them, in the same order
    rows = np.array([np.flatnonzero(keys == key)[0] for key in grown.row_keys["validation"]])
    assert torch.equal(grown.former.validation, task.preprocess(GROWN[0][rows]))
    assert (grown.former.fresh == (rows >= 200)).all()
    assert torch.equal(grown.validation.y, torch.from_numpy(GROWN[1][rows]))


def test_tables_csv_files_data_sets_pictures_and_built_in_data(tmp_path: Path) -> None:
    old, new = table(100), pd.concat([table(100), table(60, seed=1)])
    task = Task.from_frame(old, "price")
    grown = task.version(new[["price", "street", "size", "rooms"]])
    assert grown.schema.columns == ("size", "rooms", "street")
    assert splits_of(task).items() <= splits_of(grown).items()
    old.to_csv(tmp_path / "old.csv", index=False)
    new.to_csv(tmp_path / "new.csv", index=False)
    from_file = Task.from_csv(tmp_path / "old.csv", "price").version(tmp_path / "new.csv")
    assert from_file.sizes == grown.sizes
    several = Task.from_frame(old, ["price", "size"]).version(new)
    assert several.output_size == 2
    assert list(several.sample.targets) == ["price", "size"]

    data = TensorDataset(torch.tensor(X).float(), torch.tensor(Y))
    more = TensorDataset(*(torch.tensor(part) for part in GROWN))
    assert Task.from_dataset(data).version(more).sizes == Task.from_arrays(X, Y).version(GROWN).sizes

    iris = Task.load("iris")
    rows, names = np.random.default_rng(0).normal(5, 1, (30, 4)), np.array(["setosa", "versicolor", "virginica"])
    by_name, by_number = iris.version((rows, names[np.arange(30) % 3])), iris.version((rows, np.arange(30) % 3))
    assert by_name.classes == iris.classes
    assert by_name.fingerprint == by_number.fingerprint

    pictures = RNG.normal(size=(90, 3, 4, 4))
    shown = Task.from_arrays(pictures[:60], np.arange(60) % 2).version((pictures, np.arange(90) % 2))
    assert shown.is_image
    brightness = pictures.reshape(90, -1).mean(1)
    assert np.isin(shown.sample.inputs["brightness"], brightness).all()
    assert list(shown.sample.inputs) == ["brightness", "contrast", *(f"brightness of channel {n}" for n in range(3))]


def test_ten_or_more_numbered_classes_keep_their_order() -> None:
    y = np.arange(240) % 12
    task = Task.from_arrays(RNG.normal(size=(240, 2)), y)
    more = (RNG.normal(size=(120, 2)), np.array([str(label) for label in np.arange(120) % 12]))  # text sorts otherwise
    grown = task.version(more)
    assert grown.classes == task.classes == tuple(map(str, range(12)))
    keys = row_keys(more[0], np.arange(120) % 12, task.classes)
    where = {int(key): index % 12 for index, key in enumerate(keys)}
    assert [where[int(key)] for key in grown.row_keys["train"]] == grown.train.y.tolist()


def test_the_recipe_makes_the_version_again(tmp_path: Path) -> None:
    frame, frame_2 = table(100), table(160, seed=1)
    grown = Task.from_frame(frame, "price", clip=3.0).version(frame_2)
    assert grown.recipe == "wb.Task.from_frame(frame, 'price', clip=3.0).version(frame_2)"
    assert grown.recipe_needs == ("frame", "frame_2")
    names: dict[str, Any] = {"wb": wb, "frame": frame, "frame_2": frame_2}
    assert eval(grown.recipe, names).fingerprint == grown.fingerprint
    frame_2.to_csv(tmp_path / "n.csv", index=False)
    third = Task.from_arrays(X, Y).version((MORE_X, MORE_Y)).version((X + 1, Y))
    assert third.recipe == "wb.Task.from_arrays(X, y).version((X_2, y_2)).version((X_3, y_3))"
    again = eval(third.recipe, {"wb": wb, "X": X, "y": Y, "X_2": MORE_X, "y_2": MORE_Y, "X_3": X + 1, "y_3": Y})
    assert again.fingerprint == third.fingerprint
    from_file = Task.from_frame(frame, "price").version(tmp_path / "n.csv")
    assert from_file.recipe_needs == ("frame",)
    assert eval(from_file.recipe, names).fingerprint == from_file.fingerprint


# --- the test rows stay where they are ----------------------------------------------------------------------------------


def test_no_way_leads_from_a_version_to_its_test_rows_or_the_former_ones() -> None:
    rows = np.stack([MARKS, -MARKS], 1)
    task = Task.from_arrays(rows[:40], np.arange(40) % 3, standardize=False)
    grown = task.version((rows, np.arange(ROWS) % 3))
    sealed = set(np.abs(open_seal(grown).x[:, 0].double().numpy()).tolist())
    former = set(np.abs(open_seal(task).x[:, 0].double().numpy()).tolist())
    assert former < sealed
    assert not marks_within(grown) & sealed
    assert marks_within(grown) == set(MARKS.tolist()) - sealed
    twin = copy.deepcopy(grown)
    with pytest.raises(TaskError, match="no test split"):
        open_seal(twin)
    assert twin.version((rows + 7, np.arange(ROWS) % 3)).version_number == 3
    gc.collect()


# --- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (table(90, 1).rename(columns={"street": "stret"}), "the column 'street' is missing.*; did you mean 'stret'"),
        (table(90, 1).assign(floor=1), "has a column 'floor' that this task does not know; drop it"),
        (table(90, 1).drop(columns="price"), "the target column 'price' is missing in the new data"),
        (table(90, 1).assign(size="big"), "column 'size' holds text in the new data, such as 'big'; this task's holds numbers"),
        (table(90, 1).assign(street=3), "column 'street' holds numbers in the new data, such as 3; this task's holds text"),
        (table(90, 1).assign(price=np.nan), "target 'price' has 90 NaN"),
        (table(90, 1).assign(price="dear"), "target 'price' has the type object: a regression needs numbers"),
        (table(100), "no new row: all 100 were in 'frame' before"),
        (table(100)[5:50], "no new row: all 45"),
        ((X, Y), "new_data is a tuple: this task was made from a table; give a DataFrame.*size, rooms, street, price"),
        ("nowhere.csv", "there is no such file"),
        (None, "new_data is a NoneType"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_refused(data: Any, message: str) -> None:
    task = Task.from_frame(table(100), "price")
    with pytest.raises(TaskError, match=message):
        task.version(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X[:, :2] + 1, Y), r"the new rows have the shape \(2,\), this task's have \(3,\)"),
        ((X + 1, Y[:50]), "X has 200 rows and y has 50 rows"),
        ((X + 1, np.arange(200) % 3), "y has the class '2', which this task does not know.*known: 0, 1"),
        ((X + 1, np.zeros(200, int)), "y has only one class"),
        (X + 1, "new_data is a ndarray: this task was made from arrays; give a pair"),
        (pd.DataFrame(X + 1), "new_data is a DataFrame: this task was made from arrays"),
        ((X * np.nan, Y), "X has 600 NaN"),
        ((np.array([["a", "b", "c"]]), ["0"]), "X holds values that are not numbers|must hold numbers"),
        ((X, Y), "no new row"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(data: Any, message: str) -> None:
    task = Task.from_arrays(X, Y)
    with pytest.raises(TaskError, match=message):
        task.version(data)


def test_a_class_without_rows_and_splits_without_rows_are_refused() -> None:
    task = Task.from_arrays(X, np.arange(200) % 3)
    with pytest.raises(TaskError, match="y has no row of class '2', which this task has"):
        task.version((X + 1, np.arange(200) % 2))
    with pytest.raises(TaskError, match="leaves no (validation|test) row"):
        task.version((X[:3] + 1, np.arange(3)))
    numbers = Task.from_arrays(X, X[:, :2])
    with pytest.raises(TaskError, match="y has 1 columns, this task's has 2"):
        numbers.version((X + 1, X[:, 0]))


def test_a_refusal_changes_nothing() -> None:
    task = Task.from_frame(table(100), "price")
    before = task.fingerprint, task.recipe, dict(task.sizes), copy.deepcopy(task.row_keys)
    with pytest.raises(TaskError, match=re.escape("drop it")):
        task.version(table(90, 1).assign(floor=1))
    assert (task.fingerprint, task.recipe, task.sizes) == before[:3]
    assert all((task.row_keys[name] == before[3][name]).all() for name in SPLITS)
