"""Training, validation and test rows: disjoint, complete, stratified, reproducible."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.errors import TaskError
from workbench.tasks import Task
from workbench.tasks.division import divide
from workbench.tasks.row_identity import row_keys
from workbench.tasks.split import Split
from workbench.tasks.test_split import open_seal

shares = st.tuples(st.integers(1, 10), st.integers(1, 10), st.integers(0, 10)).map(
    lambda parts: tuple(part / sum(parts) for part in parts)
)


def identified(rows: int) -> np.ndarray:
    """One feature, which is the row's number: with standardize=False a split shows which rows it holds."""
    return np.arange(rows, dtype=float).reshape(-1, 1)


def numbered(rows: int) -> np.ndarray:
    """Keys of rows that all differ."""
    return row_keys(identified(rows), np.zeros((rows, 1)))


def row_numbers(task: Task) -> list[list[int]]:
    splits = [task.train, task.validation] + ([open_seal(task)] if task.sizes["test"] else [])
    return [split.x[:, 0].long().tolist() for split in splits]


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(3, 300), shares=shares, seed=st.integers(0, 2**32 - 1))
def test_splits_are_disjoint_and_cover_all_rows(rows: int, shares: tuple[float, ...], seed: int) -> None:
    try:
        parts = divide(Split.random(*shares), numbered(rows), None, None, seed).parts
    except TaskError:
        # refused only when rounding down leaves a split that was asked for without a row
        assert rows * min(share for share in shares if share) < 1
        return
    assert sorted(np.concatenate(parts).tolist()) == list(range(rows))
    assert [len(part) > 0 for part in parts] == [share > 0 for share in shares]
    for part, share in zip(parts, shares, strict=True):
        assert abs(len(part) - rows * share) < 3


@settings(max_examples=150, deadline=None)
@given(counts=st.lists(st.integers(1, 40), min_size=2, max_size=6), shares=shares, seed=st.integers(0, 99))
def test_every_class_is_in_every_split_or_the_data_are_rejected(
    counts: list[int], shares: tuple[float, ...], seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    asked = [share for share in shares if share]
    names = [f"class {index}" for index in range(len(counts))]
    try:
        parts = divide(Split.random(*shares), numbered(len(labels)), labels, names, seed).parts
    except TaskError as error:
        rare = re.match(r"class 'class (\d+)' has (\d+) rows?: too few for one in each of the (\d) splits", str(error))
        if rare:
            label, rows, splits = map(int, rare.groups())
            assert (counts[label], rows, splits) == (min(counts), min(counts), len(asked))
            assert min(counts) < len(asked)
            return
        assert int(len(labels) * min(asked)) < len(counts)  # a split smaller than the number of classes
        return
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for part in parts[: len(asked)]:
        assert set(labels[part]) == set(range(len(counts)))


def test_classes_keep_their_shares() -> None:
    y = np.repeat(["common", "middle", "rare"], [600, 300, 100])
    task = Task.from_arrays(identified(1000), y, standardize=False)
    for part, share in zip(row_numbers(task), (0.6, 0.2, 0.2), strict=True):
        assert Counter(y[part]) == {"common": 600 * share, "middle": 300 * share, "rare": 100 * share}


def test_a_class_of_three_rows_stands_in_each_split_whatever_the_seed() -> None:
    y = np.repeat([0, 1], [997, 3])
    for seed in range(20):
        task = Task.from_arrays(identified(1000), y, standardize=False, seed=seed)
        assert task.sizes == {"train": 600, "validation": 200, "test": 200}
        assert [sum(y[row] for row in part) for part in row_numbers(task)] == [1, 1, 1]


def test_the_seed_decides_the_division() -> None:
    y = np.arange(60) % 3
    first, again, other = (
        row_numbers(Task.from_arrays(identified(60), y, standardize=False, seed=s)) for s in (5, 5, 6)
    )
    assert first == again
    assert first != other


def test_targets_stay_with_their_rows() -> None:
    y = np.arange(200) % 7
    task = Task.from_arrays(identified(200), y, standardize=False)
    for split in (task.train, task.validation, open_seal(task)):
        assert split.y.tolist() == [int(row) % 7 for row in split.x[:, 0]]
        assert split.y.dtype == torch.int64
        assert split.x.dtype == torch.float32
        assert len(split) == len(split.x)


def test_default_shares_of_the_digits() -> None:
    assert Task.load("digits").sizes == {"train": 1078, "validation": 359, "test": 360}


def test_without_a_test_share_there_is_no_test_set() -> None:
    task = Task.from_arrays(identified(100), np.arange(100) % 2, split=(0.75, 0.25, 0))
    assert task.sizes == {"train": 75, "validation": 25, "test": 0}
    with pytest.raises(TaskError, match="no test split"):
        open_seal(task)


@pytest.mark.parametrize(
    "split",
    [(0.6, 0.2), (0.5, 0.2, 0.2), (1.2, -0.1, -0.1), (0, 0.5, 0.5), (0.5, 0, 0.5), (1, 0, 0), (float("nan"), 0.5, 0.5),
     "half", None, (0.6, "a", 0.2)],
)  # fmt: skip
def test_impossible_shares_are_refused(split: object) -> None:
    with pytest.raises(TaskError, match=r"split=.*sum to 1.*try \(0.6, 0.2, 0.2\)"):
        Task.from_arrays(identified(100), np.arange(100) % 2, split=split)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, "a", None, True])
def test_impossible_seeds_are_refused(seed: object) -> None:
    with pytest.raises(TaskError, match=r"seed=.*whole number from 0 to 4294967295"):
        Task.from_arrays(identified(100), np.arange(100) % 2, seed=seed)


def test_a_class_too_rare_is_named() -> None:
    y = ["cat"] * 50 + ["dog"] * 48 + ["lynx"] * 2
    with pytest.raises(TaskError, match=r"class 'lynx' has 2 rows.*each of the 3 splits; add rows, merge.*split="):
        Task.from_arrays(identified(100), y)
    task = Task.from_arrays(identified(100), y, split=(0.8, 0.2, 0))  # the remedy works
    assert torch.bincount(task.validation.y).tolist()[2] == 1


def test_more_classes_than_rows_in_a_split() -> None:
    with pytest.raises(
        TaskError, match=r"30 classes, too many for splits of 54 training, 18 validation and 18 test rows"
    ):
        Task.from_arrays(identified(90), [f"label {row % 30}" for row in range(90)])


@pytest.mark.parametrize("rows", [1, 2])
def test_too_few_rows(rows: int) -> None:
    with pytest.raises(TaskError, match="nothing to learn|too few"):
        Task.from_arrays(identified(rows), np.arange(rows) + 0.5)
