"""Grouped, ordered, given and folded splits, against scikit-learn and brute force, and what bad input gets."""

from __future__ import annotations

import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    RepeatedStratifiedKFold,
    StratifiedKFold,
    TimeSeriesSplit,
)

import workbench as wb
from tests.tasks.test_test_split import MARKS, ROWS, marks_within
from workbench.core.errors import TaskError
from workbench.tasks import Split, Task
from workbench.tasks.division import Division, divide
from workbench.tasks.row_identity import row_keys
from workbench.tasks.test_split import open_seal

RNG = np.random.default_rng(5)
X = RNG.normal(size=(300, 4))
Y = RNG.integers(0, 3, 300)
NUMBERED = np.column_stack([np.arange(300.0), RNG.normal(size=300)])
GROUPS = RNG.integers(0, 30, 300)
DAYS = pd.date_range("2021-01-01", periods=300)


def keys_of(rows: int) -> np.ndarray:
    return row_keys(np.arange(rows)[:, None] + 0.5, np.zeros((rows, 1)))


def parts_of(task: Task) -> list[list[int]]:
    """The row numbers of a task on NUMBERED rows: training, validation, test."""
    splits = [task.train, task.validation] + ([open_seal(task)] if task.sizes["test"] else [])
    return [split.x[:, 0].long().tolist() for split in splits]


def numbered(y: Any = Y, **options: Any) -> Task:
    return Task.from_arrays(NUMBERED, y, standardize=False, **options)


# --- the order of the rows ----------------------------------------------------------------------------------------------


SPLITS = {
    "random": lambda order: (0.6, 0.2, 0.2),
    "not stratified": lambda order: Split.random(stratify=False),
    "grouped": lambda order: Split.grouped(GROUPS[order]),
    "ordered": lambda order: Split.ordered(DAYS[order], gap=3),
    "words": lambda order: Split.given(np.repeat(["train", "validation", "test"], 100)[order]),
    "folds": lambda order: Split.folds(4),
    "grouped folds": lambda order: Split.folds(4, groups=GROUPS[order]),
    "ordered folds": lambda order: Split.folds(3, order=DAYS[order]),
}


@pytest.mark.parametrize("name", SPLITS)
def test_the_same_rows_in_another_order_are_the_same_task(name: str) -> None:
    order = RNG.permutation(300)
    tasks = [Task.from_arrays(X[rows], Y[rows], split=SPLITS[name](rows)) for rows in (np.arange(300), order)]
    assert tasks[0].fingerprint == tasks[1].fingerprint
    for one, other in [(tasks[0].train, tasks[1].train), (open_seal(tasks[0]), open_seal(tasks[1]))]:
        assert torch.allclose(one.x, other.x, atol=1e-6)
        assert torch.equal(one.y, other.y)
    assert (order[tasks[1].row_numbers["validation"]] == tasks[0].row_numbers["validation"]).all()


def test_a_table_in_another_order_is_the_same_task() -> None:
    frame = pd.DataFrame({"a": X[:, 0], "b": RNG.choice(["u", "v"], 300), "y": Y})
    shuffled = frame.sample(frac=1, random_state=1)
    assert Task.from_frame(frame, "y").fingerprint == Task.from_frame(shuffled, "y").fingerprint
    assert Task.from_frame(frame, "y").fingerprint != Task.from_frame(frame[:-1], "y").fingerprint
    assert Task.from_frame(frame, "y").fingerprint != Task.from_frame(frame, "y", seed=1).fingerprint
    assert Task.from_frame(frame, "y").fingerprint != Task.from_frame(frame[["b", "a", "y"]], "y").fingerprint


def test_copies_stay_together_unless_they_are_most_of_a_class() -> None:
    copied = np.concatenate([X, X[:150]])
    task = Task.from_arrays(copied, np.concatenate([Y, Y[:150]]))
    where: dict[int, set[str]] = {}
    for name, keys in task.row_keys.items():
        for key in keys.tolist():
            where.setdefault(key, set()).add(name)
    assert len(where) == 300
    assert max(len(names) for names in where.values()) == 1
    assert abs(task.sizes["train"] - 270) < 10
    same = Task.from_arrays(np.ones((60, 1)), np.arange(60) % 2)  # only two different rows
    assert same.sizes == {"train": 36, "validation": 12, "test": 12}
    assert "are copies of training rows" in same.warnings[0]


# --- groups -------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 30), min_size=3, max_size=25), seed=st.integers(0, 50), folds=st.integers(0, 3))
def test_no_group_is_in_two_splits(sizes: list[int], seed: int, folds: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    split = Split.folds(folds, groups=groups, test=0.0) if folds > 1 else Split.grouped(groups)
    found = divide(split, keys_of(len(groups)), None, None, seed, groups)
    pairs = [(a, b) for a, b in found.folds] or [(found.train, found.validation), (found.train, found.test)]
    for one, other in [*pairs, (found.validation, found.test)]:
        assert not set(groups[one]) & set(groups[other])
        assert not set(one) & set(other)
    assert all(len(part) for pair in pairs for part in pair)
    if found.folds:
        assert sorted(np.concatenate([b for _, b in found.folds])) == list(range(len(groups)))
    else:
        assert sorted(np.concatenate(found.parts)) == list(range(len(groups)))


def test_groups_are_divided_like_those_of_scikit_learn() -> None:
    """As many groups in the test set, for groups of one size; and which ones, is drawn."""
    groups = np.repeat([f"patient {index}" for index in range(50)], 6)
    _, test = next(GroupShuffleSplit(1, test_size=0.2, random_state=0).split(X, Y, groups))
    found = numbered(split=Split.grouped(groups), kind="regression")
    parts = parts_of(found)
    assert len(set(groups[parts[2]])) == len(set(groups[test])) == 10
    assert len(parts[2]) == len(test)
    assert len(set(groups[parts[0]])) == 30
    other = parts_of(numbered(split=Split.grouped(groups), kind="regression", seed=1))
    assert set(groups[other[2]]) != set(groups[parts[2]])


def test_classes_are_balanced_over_groups_as_far_as_groups_allow() -> None:
    groups = np.repeat(np.arange(40), 10)
    y = np.repeat(np.arange(40) % 10 == 0, 10).astype(int)  # 4 groups of 40 hold the rare class
    for seed in range(10):
        options = {"standardize": False, "split": Split.grouped(groups), "seed": seed}
        parts = parts_of(Task.from_arrays(np.arange(400.0)[:, None], y, **options))
        assert [y[part].any() for part in parts] == [True, True, True]


def test_the_sizes_of_grouped_folds_are_those_of_scikit_learn() -> None:
    rows = np.arange(300)
    found = divide(Split.folds(5, groups=GROUPS, test=0), keys_of(300), None, None, 0, GROUPS)
    wanted = sorted(len(b) for _, b in GroupKFold(5).split(rows, None, GROUPS))
    assert sorted(len(b) for _, b in found.folds) == wanted


def test_a_column_of_groups_is_no_input_unless_it_is_asked_for() -> None:
    frame = pd.DataFrame(X, columns=list("abcd")).assign(patient=GROUPS, y=Y)
    task = Task.from_frame(frame, "y", split=Split.grouped("patient"))
    assert task.feature_names == ("a", "b", "c", "d")
    kept = Task.from_frame(frame, "y", split=Split.grouped("patient", keep_column=True))
    assert kept.feature_names == ("a", "b", "c", "d", "patient")
    assert set(GROUPS[task.row_numbers["train"]]) & set(GROUPS[task.row_numbers["validation"]]) == set()
    by_value = Task.from_frame(frame.drop(columns="patient"), "y", split=Split.grouped(GROUPS))
    assert (by_value.row_numbers["train"] == task.row_numbers["train"]).all()


# --- order --------------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    times=st.lists(st.integers(0, 40), min_size=12, max_size=120),
    gap=st.integers(0, 3),
    folds=st.integers(0, 3),
    seed=st.integers(0, 5),
)
def test_no_split_trains_on_what_is_later(times: list[int], gap: int, folds: int, seed: int) -> None:
    order = np.array(times)
    split = Split.folds(folds, order=order, gap=gap) if folds > 1 else Split.ordered(order, gap=gap)
    try:
        found = divide(split, keys_of(len(order)), None, None, seed, order)
    except TaskError as error:
        problem = str(error)
    else:
        problem = ""
    if problem:
        assert "too few" in problem or "gap=" in problem
        return
    for train, validation in found.folds or [(found.train, found.validation)]:
        assert order[train].max() < order[validation].min() or gap
        assert order[train].max() <= order[validation].min()
        assert order[validation].max() < order[found.test].min() or gap
        between = (order > order[train].max()) & (order < order[validation].min())
        assert between.sum() <= gap
        ranked = np.sort(order)
        assert np.searchsorted(ranked, order[validation].min()) - len(train) >= gap


def test_ordered_shares_and_ties() -> None:
    parts = parts_of(numbered(split=Split.ordered(np.arange(300))))
    assert parts == [list(range(180)), list(range(180, 240)), list(range(240, 300))]
    hours = np.arange(300) // 25  # 12 hours of 25 rows: a cut is at a change of the hour
    parts = parts_of(numbered(split=Split.ordered(hours)))
    assert [sorted(set(hours[part])) for part in parts] == [list(range(7)), [7, 8, 9], [10, 11]]


@pytest.mark.parametrize(
    ("order", "gap"),
    [(DAYS, pd.Timedelta("7D")), (DAYS.tz_localize("UTC"), "7D"), (DAYS.date, datetime.timedelta(days=7)),
     (DAYS.to_period("D"), np.timedelta64(7, "D")), (pd.Series(DAYS), 6)],
)  # fmt: skip
def test_a_gap_is_left_out(order: Any, gap: Any) -> None:
    task = numbered(split=Split.ordered(order, gap=gap))
    parts = parts_of(task)
    assert [min(part) for part in parts] == [0, 180, 240]
    assert [max(part) for part in parts] == [173, 233, 299]


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%Y%m%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%SZ"])
def test_dates_as_text_are_dates(form: str) -> None:
    text = DAYS.strftime(form)
    for values in (list(text), pd.Series(text, dtype="string"), pd.Series(pd.Categorical(text)), text.to_numpy()):
        task = numbered(split=Split.ordered(values, gap="7D"))
        assert parts_of(task) == parts_of(numbered(split=Split.ordered(DAYS, gap="7D")))


def test_a_date_column_of_a_file_orders_rows(tmp_path: Any) -> None:
    order = RNG.permutation(300)
    frame = pd.DataFrame(X, columns=list("abcd")).assign(day=DAYS, y=Y).iloc[order]
    frame.to_csv(tmp_path / "days.csv", index=False)
    task = Task.from_csv(tmp_path / "days.csv", "y", split=Split.ordered("day", gap="30D"))
    assert task.feature_names == ("a", "b", "c", "d")
    assert [sorted(order[rows]) for rows in task.row_numbers.values()] == [list(range(151)), list(range(180, 211))]
    assert str(task.split) == "ordered by 'day', gap 30 days"


def test_text_with_time_zones_is_ordered_by_the_instant() -> None:
    zones = [f"{day:%Y-%m-%dT}{12 + place % 7:02}:00+0{place % 7}:00" for place, day in enumerate(DAYS)]
    assert parts_of(numbered(split=Split.ordered(zones))) == parts_of(numbered(split=Split.ordered(DAYS)))


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        ("30D", "30 days"),
        ("1D", "1 day"),
        ("36h", "1 day 12 hours"),
        ("90min", "1 hour 30 minutes"),
        ("1500ms", "1 second 500 milliseconds"),
    ],
)
def test_a_gap_in_words_is_read_back(gap: str, words: str) -> None:
    split = Split.ordered("day", gap=gap)
    assert str(split).endswith(f"gap {words}")
    assert eval(repr(split)).gap == pd.Timedelta(gap)


def test_ordered_folds_are_those_of_scikit_learn() -> None:
    for gap in (0, 4):
        found = divide(
            Split.folds(5, order=np.arange(300), gap=gap, test=0), keys_of(300), None, None, 0, np.arange(300)
        )
        wanted = list(TimeSeriesSplit(5, gap=gap).split(X))
        for one, other in zip(found.folds, wanted, strict=True):
            assert sorted(one[0]) == other[0].tolist()
            assert sorted(one[1]) == other[1].tolist()


# --- given rows and separate data ---------------------------------------------------------------------------------------


def masks(*edges: int) -> list[np.ndarray]:
    rows = np.arange(300)
    return [(rows >= low) & (rows < high) for low, high in pairwise(edges)]


@pytest.mark.parametrize(
    "split",
    [
        Split.given(train=np.arange(100), validation=range(100, 200), test=torch.arange(200, 250)),
        Split.given(**dict(zip(("train", "validation", "test"), masks(0, 100, 200, 250), strict=True))),
        Split.given(train=list(range(100)), validation=pd.Index(range(100, 200)), test=masks(200, 250)[0].tolist()),
    ],
)
def test_given_rows(split: Split) -> None:
    parts = parts_of(numbered(split=split))
    assert [sorted(part) for part in parts] == [list(range(100)), list(range(100, 200)), list(range(200, 250))]


def test_rows_given_by_a_word() -> None:
    words = RNG.choice(["train", "validation", "test"], 300)
    frame = pd.DataFrame(X, columns=list("abcd")).assign(part=words, y=Y)
    task = Task.from_frame(frame, "y", split=Split.given("part"))
    assert task.feature_names == ("a", "b", "c", "d")
    assert sorted(task.row_numbers["validation"]) == np.flatnonzero(words == "validation").tolist()
    assert task.sizes["test"] == (words == "test").sum()


def test_separate_data_are_given_rows() -> None:
    whole = Task.from_arrays(
        X, Y, split=Split.given(train=range(200), validation=range(200, 250), test=range(250, 300))
    )
    apart = Task.from_arrays(X[:200], Y[:200], validation=(X[200:250], Y[200:250]), test=(X[250:], Y[250:]))
    assert apart.fingerprint == whole.fingerprint
    assert torch.equal(apart.validation.x, whole.validation.x)
    assert torch.equal(open_seal(apart).x, open_seal(whole).x)
    mean = torch.tensor(X[:200].mean(0))
    assert torch.allclose(apart.train.x.mean(0), torch.zeros(4), atol=1e-6)
    assert torch.allclose(apart.preprocess(X[:200].mean(0)[None]), torch.zeros(1, 4), atol=1e-6), mean
    without = Task.from_arrays(X[:200], Y[:200], validation=(X[200:250], Y[200:250]))
    assert without.sizes == {"train": 200, "validation": 50, "test": 0}
    pairs = [(torch.tensor(x), int(y)) for x, y in zip(X, Y, strict=True)]
    data = Task.from_dataset(pairs[:200], validation=pairs[200:250], test=pairs[250:])
    assert torch.equal(data.train.x, whole.train.x)


def test_separate_tables_and_files(tmp_path: Any) -> None:
    frame = pd.DataFrame(X, columns=list("abcd")).assign(town=pd.Categorical(RNG.choice(["u", "v"], 300)), y=Y)
    pieces = frame[:200], frame[200:250][["y", "d", "c", "b", "a", "town"]], frame[250:]
    whole = Task.from_frame(
        frame, "y", split=Split.given(train=range(200), validation=range(200, 250), test=range(250, 300))
    )
    apart = Task.from_frame(pieces[0], "y", validation=pieces[1], test=pieces[2])
    assert apart.fingerprint == whole.fingerprint
    for name, piece in zip(("a.csv", "b.csv", "c.csv"), pieces, strict=True):
        piece.to_csv(tmp_path / name, index=False)
    read = Task.from_csv(tmp_path / "a.csv", "y", validation=tmp_path / "b.csv", test=tmp_path / "c.csv")
    assert torch.equal(read.validation.x, whole.validation.x)
    assert read.recipe_needs == ()


# --- folds --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 5, 10])
def test_folds_are_stratified_as_those_of_scikit_learn(count: int) -> None:
    y = np.repeat([0, 1, 2], [180, 90, 30])
    found = divide(Split.folds(count, test=0.2), keys_of(300), y, ["a", "b", "c"], 0)
    rest = np.concatenate([found.train, found.validation])
    assert len(found.folds) == count
    assert sorted([*rest, *found.test]) == list(range(300))
    assert np.bincount(y[found.test]).tolist() == [36, 18, 6]
    assert sorted(np.concatenate([b for _, b in found.folds])) == sorted(rest)
    mine = sorted(np.bincount(y[b], minlength=3).tolist() for _, b in found.folds)
    wanted = [np.bincount(y[rest][b], minlength=3).tolist() for _, b in StratifiedKFold(count).split(rest, y[rest])]
    for one, other in zip(np.array(mine).T, np.array(wanted).T, strict=True):
        assert sorted(one) == sorted(other)
    for train, validation in found.folds:
        assert not set(train) & set(validation)
        assert sorted([*train, *validation]) == sorted(rest)


def test_a_splitter_of_scikit_learn_divides_all_but_the_test_rows() -> None:
    splitter = RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0)
    found = divide(Split.folds(splitter=splitter, test=0.1), keys_of(300), Y, ["a", "b", "c"], 0)
    rest = np.setdiff1d(np.arange(300), found.test)
    wanted = [(rest[a], rest[b]) for a, b in splitter.split(rest, Y[rest])]
    assert len(found.folds) == 6
    for one, other in zip(found.folds, wanted, strict=True):
        assert [part.tolist() for part in one] == [part.tolist() for part in other]
    grouped = divide(
        Split.folds(splitter=GroupKFold(3), groups=GROUPS, test=0.2), keys_of(300), Y, ["a", "b", "c"], 0, GROUPS
    )
    for train, validation in grouped.folds:
        assert not set(GROUPS[validation]) & ({*GROUPS[train]} | {*GROUPS[grouped.test]})


# --- the seal, versions and recipes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "split",
    [
        Split.grouped(np.repeat(MARKS[::5], 5)),
        Split.ordered(np.arange(60)),
        Split.given(train=range(36), validation=range(36, 48), test=range(48, 60)),
        Split.folds(3, groups=np.repeat(MARKS[::5], 5)),
        Split.folds(3, order=np.arange(60)),
    ],
)
def test_no_way_leads_from_a_task_to_its_test_rows(split: Split) -> None:
    task = Task.from_arrays(np.stack([MARKS, -MARKS], 1), np.arange(ROWS) % 3, standardize=False, split=split)
    test = set(np.abs(open_seal(task).x[:, 0].double().numpy()).tolist())
    assert 5 <= len(test) <= 20
    assert not marks_within(task) & test


def test_known_groups_go_where_they_were() -> None:
    frame = pd.DataFrame(X, columns=list("abcd")).assign(patient=GROUPS, y=Y)
    task = Task.from_frame(frame, "y", split=Split.grouped("patient"))
    more = pd.DataFrame(RNG.normal(size=(200, 4)), columns=list("abcd"))
    more = more.assign(patient=RNG.integers(0, 60, 200), y=RNG.integers(0, 3, 200))
    both = pd.concat([frame, more], ignore_index=True)
    grown = task.version(both)
    was = {name: set(GROUPS[rows]) for name, rows in task.row_numbers.items()}
    now = {name: set(both["patient"].to_numpy()[rows]) for name, rows in grown.row_numbers.items()}
    assert was["train"] <= now["train"]
    assert was["validation"] <= now["validation"]
    assert not now["train"] & now["validation"]
    sealed = set(range(30)) - was["train"] - was["validation"]
    assert not sealed & (now["train"] | now["validation"])
    again = grown.version(pd.concat([both, more.assign(a=more["a"] + 1)], ignore_index=True))
    assert set(now["train"]) <= set(pd.concat([both, more])["patient"].to_numpy()[again.row_numbers["train"]])
    pair = Task.from_arrays(X, Y, split=Split.grouped(GROUPS))
    with pytest.raises(TaskError, match=r"give \(X, y, values\) with its group for each row"):
        pair.version((both[list("abcd")], both["y"]))
    bigger = pair.version((both[list("abcd")], both["y"], both["patient"]))
    assert bigger.recipe_needs == ("X", "y", "groups", "X_2", "y_2", "values_2")
    assert not set(both["patient"].to_numpy()[bigger.row_numbers["train"]]) & sealed


def test_new_rows_of_an_ordered_task_go_by_its_times() -> None:
    frame = pd.DataFrame(X, columns=list("abcd")).assign(day=DAYS, y=Y)
    task = Task.from_frame(frame, "y", split=Split.ordered("day"))
    days = pd.date_range("2020-12-01", periods=400)
    more = pd.DataFrame(RNG.normal(size=(400, 4)), columns=list("abcd")).assign(day=days, y=RNG.integers(0, 3, 400))
    both = pd.concat([frame, more], ignore_index=True)
    grown = task.version(both)
    day = both["day"].to_numpy()
    assert day[grown.row_numbers["train"]].max() == DAYS[179]
    assert day[grown.row_numbers["validation"]].min() == DAYS[180]
    assert day[grown.row_numbers["validation"]].max() == DAYS[239]
    assert grown.sizes["test"] == (both["day"] > DAYS[239]).sum()


def test_test_rows_of_folds_stay_test_rows() -> None:
    task = numbered(split=Split.folds(5))
    sealed = set(task.row_keys["test"].tolist())
    more = np.column_stack([np.arange(300.0, 500), RNG.normal(size=200)])
    grown = task.version((np.concatenate([NUMBERED, more]), np.concatenate([Y, RNG.integers(0, 3, 200)])))
    assert sealed < set(grown.row_keys["test"].tolist())
    assert abs(grown.sizes["test"] - 100) <= 3


def test_a_version_keeps_given_words() -> None:
    words = np.repeat(["train", "validation", "test"], 100)
    task = Task.from_arrays(X, Y, split=Split.given(words))
    more = RNG.normal(size=(30, 4)), RNG.integers(0, 3, 30)
    both = np.concatenate([X, more[0]]), np.concatenate([Y, more[1]])
    grown = task.version((*both, np.concatenate([words, np.repeat("validation", 30)])))
    assert grown.sizes == {"train": 100, "validation": 130, "test": 100}
    moved = np.concatenate([words, np.repeat("validation", 30)])
    moved[299] = "train"
    with pytest.raises(
        TaskError, match="1 row of the new data would change the split, first row 299 from test to train"
    ):
        task.version((*both, moved))


@pytest.mark.parametrize(
    ("split", "text", "needs"),
    [
        (Split.random(0.5, 0.25, 0.25, stratify=False), "wb.Split.random(0.5, 0.25, 0.25, stratify=False)", ()),
        (Split.grouped(GROUPS), "wb.Split.grouped(groups, 0.6, 0.2, 0.2)", ("groups",)),
        (Split.ordered(DAYS, gap="7D"), "wb.Split.ordered(order, 0.6, 0.2, 0.2, gap='7 days')", ("order",)),
        (
            Split.given(train=range(100), validation=range(100, 300)),
            "wb.Split.given(train=train_rows, validation=validation_rows)",
            ("train_rows", "validation_rows"),
        ),
        (Split.folds(4, test=0.1), "wb.Split.folds(4, test=0.1)", ()),
        (Split.folds(splitter=KFold(3), test=0), "wb.Split.folds(5, test=0, splitter=KFold(n_splits=3))", ()),
    ],
)
def test_the_recipe_includes_the_split(split: Split, text: str, needs: tuple[str, ...]) -> None:
    text = text.replace("KFold(n_splits=3)", repr(KFold(3)))
    task = Task.from_arrays(X, Y, split=split)
    assert task.recipe == f"wb.Task.from_arrays(X, y, split={text})"
    assert task.recipe_needs == ("X", "y", *needs)
    values = {"groups": GROUPS, "order": DAYS, "train_rows": range(100), "validation_rows": range(100, 300)}
    again = eval(task.recipe, {"wb": wb, "X": X, "y": Y, "KFold": KFold, **values})
    assert again.fingerprint == task.fingerprint


def test_the_recipe_of_separate_data() -> None:
    task = Task.from_arrays(X[:200], Y[:200], validation=(X[200:], Y[200:]), name="own")
    assert task.recipe == "wb.Task.from_arrays(X, y, validation=(X_validation, y_validation), name='own')"
    given = {"wb": wb, "X": X[:200], "y": Y[:200], "X_validation": X[200:], "y_validation": Y[200:]}
    assert eval(task.recipe, given).fingerprint == task.fingerprint
    assert task.recipe_needs == ("X", "y", "X_validation", "y_validation")


def test_the_summary_says_how_rows_are_divided() -> None:
    frame = pd.DataFrame(X, columns=list("abcd")).assign(patient=GROUPS, y=Y)
    task = Task.from_frame(frame, "y", split=Split.grouped("patient"))
    assert task.summary().loc["split", "value"] == "grouped by 'patient'"
    assert repr(task).endswith("grouped by 'patient'>")
    assert Task.load("iris").summary().loc["split", "value"] == "random"
    assert "5 folds, random, same class shares" in repr(Task.load("iris", split=Split.folds()))


# --- bad input ------------------------------------------------------------------------------------------------------------

DAYLESS = pd.DataFrame(X, columns=list("abcd")).assign(patient=GROUPS, y=Y)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Split.grouped(np.zeros(300)), "groups has 1 group: too few for training, validation and test rows"),
        (lambda: Split.grouped(np.arange(300) % 2), "groups has 2 groups: too few .*; give more groups or fewer splits"),
        (lambda: Split.grouped(GROUPS[:-1]), "groups has 299 values and the data has 300 rows"),
        (lambda: Split.grouped([*GROUPS[:-1], None]), "groups has 1 missing value, first in row 299; fill them in or drop"),
        (lambda: Split.grouped(np.ones((300, 2))), r"groups has the shape \(300, 2\) .*: give one value a row"),
        (lambda: Split.grouped("patient"), "groups='patient': names a column, and arrays have none"),
        (lambda: Split.grouped(None), "groups=None: give a column's name, or one value a row"),
        (lambda: Split.grouped(Y), "leaves no training row of class|lacks|too few|class"),
        (lambda: Split.ordered([None, *DAYS[1:]]), "order has 1 missing value, first in row 0"),
        (lambda: Split.ordered(DAYS.strftime("%d.%m.%Y")), r"order has the text '01\.01\.2021' in row 0.*pd.to_datetime"),
        (lambda: Split.ordered([*DAYS.astype(str)[:-1], "later"]), "order has the text 'later' in row 299, which is no date"),
        (lambda: Split.ordered([*DAYS.astype(str)[:-1], "now"]), "order has the text 'now' in row 299"),
        (lambda: Split.ordered([*DAYS.astype(str)[:-1], None]), "order has 1 missing value, first in row 299"),
        (lambda: Split.ordered([*DAYS.strftime("%FT%TZ")[:-1], "2024-01-01T10:00"]), "no time zone in row 299.*one in row 0"),
        (lambda: Split.ordered([f"0{year:03}-01-01" for year in range(300)]), "order has the (date|text) .?0"),
        (lambda: Split.ordered([*DAYS[:-1], "2024-01-01"]), "order holds Timestamp, str, such as .* in row 299"),
        (lambda: Split.ordered([1, "b"] * 150), "order has the text '1' in row 0, which is no date.*pd.to_numeric"),
        (lambda: Split.ordered(np.zeros(300)), "order has 1 different value: too few for 3 splits"),
        (lambda: Split.ordered(np.arange(300), gap="7D"), "gap='7 days': is a time, and order holds numbers"),
        (lambda: Split.ordered(DAYS, gap=200), "gap=200: leaves no training row; give a smaller gap"),
        (lambda: Split.ordered(DAYS, gap="99D"), "gap='99 days': leaves no validation row"),
        (lambda: Split.ordered(DAYS, gap=-1), "gap=-1: must be a number of rows from 0"),
        (lambda: Split.ordered(DAYS, gap=1.5), "gap=1.5: must be a number of rows from 0"),
        (lambda: Split.ordered(np.where(Y == 2, 1.0, 0) + np.arange(300) / 1e3), "no training row of class '2'"),
        (lambda: Split.given(train=range(200), validation=range(150, 300)), "validation= and train= share 50 rows, first row 15"),
        (lambda: Split.given(train=range(200), validation=range(200, 301)), "validation= has the row number 300: out of range"),
        (lambda: Split.given(train=range(200), validation=[-1]), "validation= has the row number -1: out of range"),
        (lambda: Split.given(train=range(200), validation=[]), "validation= names no row; give at least one"),
        (lambda: Split.given(train=range(200), validation=range(200, 300), test=[]), "test= names no row.*or leave it out"),
        (lambda: Split.given(train=[1, 1, 2], validation=[3]), "train= names row 1 2 times"),
        (lambda: Split.given(train=[0.5], validation=[3]), "train= has the type float64"),
        (lambda: Split.given(train=Y[:5] > 0, validation=[3]), "train= is a mask of 5 values and the data has 300 rows"),
        (lambda: Split.given(train=[1]), "train= and validation= are both needed"),
        (lambda: Split.given(), "give either rows"),
        (lambda: Split.given(train=np.flatnonzero(Y > 0), validation=np.flatnonzero(Y == 0)), "no training row of class '0'"),
        (lambda: Split.given(["train", "valid"] * 150), "rows has the value 'valid': each must be one of 'train', 'validation'"),
        (lambda: Split.given(["train"] * 300), "leaves no validation row; give rows to each split"),
        (lambda: Split.folds(1), "count=1: must be a whole number of folds from 2 to"),
        (lambda: Split.folds(31, groups=GROUPS), "groups has .* outside the test set, fewer than count=31 folds; use at most"),
        (lambda: Split.folds(5, test=1), "test=1: must be the share of the test rows"),
        (lambda: Split.folds(5, groups=GROUPS, order=DAYS), "groups and order exclude each other"),
        (lambda: Split.folds(splitter=5), "splitter=5: must be a scikit-learn splitter"),
        (lambda: Split.folds(splitter=KFold(3, shuffle=True)), "divides the rows differently each time; give it a random_state"),
        (lambda: Split.folds(splitter=GroupKFold(3)), "splitter=GroupKFold.*ValueError.*groups"),
        (lambda: Split.folds(2, groups=Y * 10 + GROUPS % 2), "fold . of 2 has no|class"),
    ],
)  # fmt: skip
def test_what_bad_splits_get(make: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Task.from_arrays(X, Y, split=make())


def test_a_fold_without_a_class_is_named() -> None:
    y = np.where(np.arange(300) < 8, "rare", "usual")
    with pytest.raises(TaskError, match="count=10: class 'rare' has 6 rows outside the test set.*at most 6 folds"):
        Task.from_arrays(X, y, split=Split.folds(10))
    with pytest.raises(
        TaskError, match=r"fold 2 of 3 has no validation row of class 'rare', which has 8 rows in the data; use"
    ):
        Task.from_arrays(
            X, y, split=Split.folds(3, order=np.where(np.arange(300) < 8, np.arange(300) * 10, np.arange(300)))
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": Split.grouped("pacient")}, "groups='pacient': there is no such column; did you mean 'patient'"),
        ({"split": Split.grouped("y")}, "groups='y': is the target column"),
        ({"split": Split.ordered("a", gap="1D")}, "gap=.*order='a' holds numbers"),
        ({"validation": DAYLESS.drop(columns="a")}, "validation lacks the column 'a'"),
        ({"validation": DAYLESS.assign(z=1)}, "validation has a column 'z' that the training data lack"),
        ({"validation": DAYLESS[:0]}, "validation has no rows"),
        ({"validation": X}, "validation is a ndarray: give a DataFrame"),
        ({"test": DAYLESS}, "test= is given without validation="),
        ({"validation": DAYLESS, "split": (0.6, 0.2, 0.2)}, "split=.* and validation= exclude each other"),
        ({"validation": DAYLESS.assign(y=9)}, "no training row of class '9'"),
    ],
)
def test_what_bad_splits_of_tables_get(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Task.from_frame(DAYLESS, "y", **options)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ((X[:9, :3], Y[:9]), r"validation: its rows have the shape \(3,\), those of the training data \(4,\)"),
        ((X[:9], Y[:8]), "validation: X has 9 rows and y has 8"),
        ((X[:9], ["a"] * 9), "validation: y has the type <U1, that of the training data int64"),
        ((X[:9], np.ones((9, 2))), r"validation: y has the shape \(9, 2\), that of the training data \(300,\)"),
        (X, "validation is a ndarray: give a pair"),
        ((X[:9], Y[:9] + 7), "no training row of class '7'"),
    ],
)
def test_what_bad_validation_data_get(validation: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Task.from_arrays(X, Y, validation=validation)


def test_a_division_says_which_rows_are_open() -> None:
    found = divide(Split.folds(3, order=np.arange(300)), keys_of(300), None, None, 0, np.arange(300))
    assert isinstance(found, Division)
    assert found.open_rows.tolist() == list(range(240))


@pytest.mark.parametrize(
    ("near", "far"),
    [
        (np.datetime64("2020-01-01", "s"), np.datetime64("9999-12-31", "s")),
        (np.datetime64("2020-01-01", "us"), np.datetime64("2500-01-01", "us")),
        (np.datetime64("2020-01-01", "D"), np.datetime64("0700-01-01", "D")),
        (datetime.date(2020, 1, 1), datetime.date(9999, 12, 31)),
        (pd.Period("2020-01", "M"), pd.Period("2500-01", "M")),
    ],
)
def test_dates_beyond_what_nanoseconds_hold_are_rejected(near: Any, far: Any) -> None:
    """Their nanoseconds would wrap around: rows of the year 2500 would come first, and train."""
    order = np.array([near] * 200 + [far] * 100)
    with pytest.raises(TaskError, match="order has the date .*: the years 1678 to 2261 can be used"):
        Task.from_arrays(X, Y, split=Split.ordered(order))


class Seen:
    """A splitter that keeps the y it is given: alternate rows in the order of y, as stratifying by numbers does."""

    def __init__(self) -> None:
        self.seen: Any = None

    def get_n_splits(self, *_: Any) -> int:
        return 2

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        self.seen = y
        even = np.argsort(np.asarray(y).reshape(len(X), -1)[:, 0])[::2]
        odd = np.setdiff1d(np.arange(len(X)), even)
        return iter([(even, odd), (odd, even)])


@pytest.mark.parametrize("kind", ["regression", "count", "classification", "multilabel"])
def test_a_splitter_is_given_the_targets_of_its_rows_in_the_order_of_the_data(kind: str) -> None:
    y = np.stack([Y > 0, Y > 1], 1).astype(float) if kind == "multilabel" else Y + (0.5 if kind == "regression" else 0)
    splitter = Seen()
    task = Task.from_arrays(X, y, kind=kind, split=Split.folds(splitter=splitter, test=0.2))
    assert task.folds is not None
    rest = np.sort(np.concatenate(list(task.row_numbers.values())))
    np.testing.assert_array_equal(splitter.seen, y[rest])
    with pytest.raises(TaskError, match="splitter=StratifiedKFold.*ValueError"):
        Task.from_arrays(X, X[:, 0], split=Split.folds(splitter=StratifiedKFold(3), test=0))


@pytest.mark.filterwarnings("ignore:.*copies of training rows:UserWarning")
def test_copies_between_any_two_folds_and_of_test_rows_are_counted() -> None:
    rows = X[:100].copy()
    rows[60], rows[90] = rows[30], rows[10]  # of five pieces, in the second, third, fifth and first
    target = np.arange(100.0) / 7
    target[60], target[90] = target[30], target[10]
    split = Split.folds(splitter=KFold(5), test=0)
    (says, *_) = Task.from_arrays(rows, target, split=split).warnings
    assert says.startswith("4 of 100 validation rows are copies of training rows")
    halves = Split.folds(splitter=KFold(2), test=0)
    assert Task.from_arrays(rows, target, split=halves).warnings[0].startswith("4 of 100 validation rows")
    near = rows.copy()
    near[60], near[90], target[60], target[90] = X[160], X[190], 0.01, 0.02
    assert not Task.from_arrays(near, target, split=split).warnings


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    "types", [(np.uint8, np.float32), (np.float64, np.uint8), (np.uint8, np.uint8), (np.int64, np.float64)]
)
@pytest.mark.filterwarnings("ignore:.*copies of training rows:UserWarning")
def test_pictures_in_0_to_255_and_in_0_to_1_are_not_joined(named: bool, types: tuple[Any, Any]) -> None:
    parts = [np.ones((30, 1, 4, 4), dtype) for dtype in types]
    given = [{"image": part, "table": X[:30]} for part in parts] if named else parts
    y = np.arange(30) % 2

    def make() -> Task:
        return Task.from_arrays(given[0], y, validation=(given[1], y))

    if types[0] is types[1] or np.uint8 not in types:
        assert make().sizes["validation"] == 30
        return
    shown = "X\\['image'\\]" if named else "X"
    with pytest.raises(TaskError, match=f"validation: {shown} has the type {np.dtype(types[1])}, .* make them alike"):
        make()
