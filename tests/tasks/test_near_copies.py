"""Warnings about rows in two splits: planted copies and near-copies are counted, independent rows are not."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
import torch

import workbench as wb
from workbench.tasks import Rows, Task
from workbench.tasks.near_copies import copy_warnings, near_rows

RNG = np.random.default_rng(12)


def rows(x: np.ndarray, y: np.ndarray | None = None) -> Rows:
    labels = torch.tensor(np.zeros(len(x), int) if y is None else y)
    return Rows(torch.tensor(x, dtype=torch.float32), labels, labels)


def test_copies_of_training_rows_are_counted() -> None:
    keys = {"train": [1, 2, 3, 3], "validation": [3, 2, 9], "test": [9, 1]}
    given = {name: np.array(own, np.uint64) for name, own in keys.items()}
    empty = rows(np.zeros((0, 5)))
    (says,) = copy_warnings(given, empty, {"validation": empty, "test": empty}, 2)
    assert says == (
        "2 of 3 validation rows and 1 of 2 test rows are copies of training rows, target included; scores on these say little "
        "of new rows. wb.Split.grouped keeps rows that belong together in one split."
    )


@pytest.mark.parametrize("noise", [1e-6, 1e-3, 1e-2])
@pytest.mark.parametrize("classes", [0, 3])
def test_near_copies_are_counted(noise: float, classes: int) -> None:
    train, others = RNG.normal(size=(900, 8)), RNG.normal(size=(200, 8))
    labels = RNG.integers(0, 3, 900)
    others[:40] = train[:40] + noise * RNG.normal(size=(40, 8))
    own = np.concatenate([labels[:40], RNG.integers(0, 3, 160)])
    found = near_rows(rows(train, labels), rows(others, own), classes)
    assert found.checked == 200
    assert found.alike == 0
    assert 35 <= found.copies <= 40


@pytest.mark.parametrize(
    "name", ["digits", "moons", "circles", "spirals", "blobs", "iris", "wine", "breast_cancer", "diabetes"]
)
def test_independent_rows_are_none(name: str) -> None:
    assert Task.load(name).warnings == ()


@pytest.mark.parametrize(
    "x",
    [
        RNG.standard_t(2, size=(1000, 10)),
        RNG.integers(0, 5, size=(1000, 6)),
        RNG.uniform(size=(1000, 3)),
        np.cumsum(RNG.normal(size=(1000, 5)), 0)[RNG.permutation(1000)],
    ],
)
def test_rows_of_other_distributions_are_none(x: np.ndarray) -> None:
    train, others = rows(x[:800]), rows(x[800:])
    assert near_rows(train, others, 0)[:2] == (0, 0)


@pytest.mark.parametrize(("rows", "rare"), [(300, 0.1), (1000, 0.03), (3000, 0.01)])
def test_a_rare_category_makes_no_row_suspicious(rows: int, rare: float) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        town = rng.choice(["usual", "rare", "rarer"], rows, p=[1 - 1.5 * rare, rare, rare / 2])
        frame = pd.DataFrame(rng.normal(size=(rows, 5)), columns=list("abcde")).assign(
            town=town, y=rng.normal(size=rows)
        )
        assert Task.from_frame(frame, "y").warnings == ()


def test_rows_of_a_group_are_near_and_groups_kept_together_are_not() -> None:
    group = np.repeat(np.arange(60), 20)
    centre, label = RNG.normal(size=(60, 8)), RNG.integers(0, 2, 60)
    x, y = centre[group] + 0.2 * RNG.normal(size=(1200, 8)), label[group]
    with pytest.warns(UserWarning, match=r"lie closer to a training row.* wb\.Split\.grouped") as raised:
        (says,) = Task.from_arrays(x, y).warnings
    assert says == str(raised[0].message)
    assert raised[0].filename == __file__
    assert Task.from_arrays(x, y, split=wb.Split.grouped(group)).warnings == ()


def test_large_data_take_little_time() -> None:
    x = RNG.normal(size=(5000, 64))
    train, others = rows(x[:3000]), rows(x[3000:])
    near_rows(train, others, 0)
    started = time.process_time()
    near_rows(train, others, 0)
    assert time.process_time() - started < 0.3
