"""Data sets that are read into memory: estimated first, in their own types, with a warning where items are drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from workbench.core.errors import TaskError
from workbench.tasks import Task
from workbench.tasks.datasets import materialise
from workbench.tasks.rows import InputRows

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (60, 3, 4, 4), dtype=np.uint8))


class Items(Dataset[Any]):
    def __init__(self, item: Callable[[int], Any], count: int = 60) -> None:
        self.item, self.count, self.read = item, count, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        self.read += 1
        return self.item(index)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.int16, torch.bool])
def test_items_keep_their_type(dtype: torch.dtype) -> None:
    X, y = materialise(Items(lambda index: (IMAGES[index].to(dtype), index % 3)))
    assert X.dtype == IMAGES.to(dtype).numpy().dtype
    np.testing.assert_array_equal(X, IMAGES.to(dtype).numpy())
    np.testing.assert_array_equal(y, np.arange(60) % 3)


def test_a_later_item_of_a_wider_type_is_not_cut_off() -> None:
    X, y = materialise(
        Items(lambda index: (np.full(2, index if index < 5 else index + 0.5), index if index < 9 else 2.5))
    )
    assert X[7].tolist() == [7.5, 7.5]
    assert y[[8, 9]].tolist() == [8.0, 2.5]
    assert materialise(Items(lambda index: (IMAGES[index], "cat" if index % 2 else "horse")))[1][:2].tolist() == [
        "horse",
        "cat",
    ]


def test_images_and_several_inputs_are_the_tasks_of_their_arrays() -> None:
    y = np.arange(60) % 3
    task = Task.from_dataset(Items(lambda index: (IMAGES[index], index % 3)))
    assert isinstance(task.train.x, InputRows)
    assert task.fingerprint == Task.from_arrays(IMAGES, y).fingerprint
    several = Task.from_dataset(
        Items(lambda index: ({"image": IMAGES[index], "ids": torch.tensor([index])}, index % 3)),
        inputs={"ids": "tokens"},
    )
    arrays = {"image": IMAGES, "ids": np.arange(60)[:, None]}
    assert several.fingerprint == Task.from_arrays(arrays, y, inputs={"ids": "tokens"}).fingerprint


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.int16, torch.bool])
def test_what_does_not_fit_is_named_before_it_is_read(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Items(lambda index: (torch.zeros(3, 32, 32, dtype=dtype), index % 2), 10**6)
    size = torch.zeros(1, dtype=dtype).element_size()
    values = 3 * 32 * 32 * (size + (size if dtype == torch.uint8 else 4))  # as read, and as stored
    monkeypatch.setattr("workbench.tasks.datasets.free_memory", lambda: 2**30)
    needed = f"{10**6 * (values + 16) / 2**30:.2g}"
    with pytest.raises(
        TaskError, match=f"1,000,000 items .*, for which some {needed} GiB .* are needed, and 1 GiB are free"
    ):
        Task.from_dataset(data)
    assert data.read == 1


@pytest.mark.parametrize(
    "error",
    [MemoryError("Unable to allocate 1.2 GiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")],
)
def test_a_lack_of_memory_is_not_taken_for_a_wrong_item(error: Exception) -> None:
    def item(index: int) -> Any:
        if index == 50:
            raise error
        return IMAGES[index], index % 2

    with pytest.raises(TaskError, match="memory ran out at item 50 of 60 of the data set") as told:
        Task.from_dataset(Items(item))
    assert "must be a pair" not in str(told.value)


@pytest.mark.parametrize(
    "item",
    [
        lambda index: (IMAGES[index] + torch.randn(3, 4, 4), index % 2),
        lambda index: (IMAGES[index].float(), float(np.random.default_rng().normal())),
        lambda index: ({"image": IMAGES[index], "noise": torch.rand(2)}, index % 2),
    ],
)
def test_random_items_are_warned_of(item: Callable[[int], Any]) -> None:
    with pytest.warns(
        UserWarning, match="item 0 of the data set differs when it is read again, .*each row keeps one draw"
    ) as told:
        Task.from_dataset(Items(item))
    assert told[0].filename == __file__


def test_items_that_are_equal_are_not_warned_of() -> None:
    """Warnings are errors here. NaN is equal to itself, and the error that follows is about it."""
    Task.from_dataset(Items(lambda index: (IMAGES[index], "ab"[index % 2])))
    with pytest.raises(TaskError, match="NaN"):
        Task.from_dataset(Items(lambda index: (torch.full((2,), torch.nan), index % 2)))


def test_items_with_other_inputs_are_named() -> None:
    data = Items(lambda index: ({"a" if index < 30 else "b": IMAGES[index]}, index % 2))
    with pytest.raises(TaskError, match="item (30|39|59) of the data set has an input 'x b', item 0 has x a, y"):
        materialise(data)
