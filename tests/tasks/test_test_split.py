"""The test split cannot be reached from a task."""

from __future__ import annotations

import ast
import copy
import gc
import pickle
import types
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch.utils.data import TensorDataset

import workbench
from workbench.core.errors import TaskError
from workbench.tasks import Task
from workbench.tasks.test_split import open_seal

ROWS = 60
MARKS = np.arange(ROWS) + 0.5 + 1e5  # exact in float32; a marked row is recognised wherever it turns up
FOREIGN = (type, types.ModuleType, types.BuiltinFunctionType, types.CodeType)


def from_arrays(**options: object) -> Task:
    return Task.from_arrays(np.stack([MARKS, -MARKS], 1), np.arange(ROWS) % 3, standardize=False, **options)


def from_images() -> Task:
    pixels = np.broadcast_to(MARKS[:, None, None, None], (ROWS, 1, 2, 2))
    return Task.from_arrays(pixels, np.arange(ROWS) % 3, standardize=False)


def from_frame() -> Task:
    frame = pd.DataFrame({"number": MARKS, "text": [f"secret {mark}" for mark in MARKS], "y": ["a", "b"] * (ROWS // 2)})
    return Task.from_frame(frame, "y", standardize=False)


def from_dataset() -> Task:
    data = TensorDataset(torch.tensor(MARKS).reshape(-1, 1), torch.arange(ROWS) % 2)
    return Task.from_dataset(data, standardize=False)


def with_regression_targets() -> Task:
    return Task.from_arrays(MARKS.reshape(-1, 1), MARKS, standardize=False)


def with_transform() -> Task:
    return from_arrays(transform=FunctionTransformer(), clip=1000.0)


MAKERS: list[Callable[[], Task]] = [
    from_arrays, from_images, from_frame, from_dataset, with_regression_targets, with_transform
]  # fmt: skip


def marks_within(root: object) -> set[float]:
    """The marks of all rows that can be reached from an object, by attributes, slots, items, closures and buffers."""
    found: set[float] = set()
    seen: set[int] = set()
    queue = [root]
    while queue:
        value = queue.pop()
        if id(value) in seen or isinstance(value, FOREIGN):
            continue
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            storage = torch.empty(0, dtype=value.dtype).set_(value.untyped_storage())
            found |= set(np.abs(storage.double().numpy()).tolist())
        elif isinstance(value, np.ndarray):
            queue.append(value.base)
            if value.dtype == object:
                queue.extend(value.ravel().tolist())
            else:
                found |= {abs(number) for number in value.ravel().tolist() if isinstance(number, float)}
        elif isinstance(value, pd.DataFrame | pd.Series):
            queue.append(value.to_numpy())
        elif isinstance(value, float):
            found.add(abs(value))
        elif isinstance(value, str) and "secret " in value:
            found |= {float(word) for word in value.replace("'", " ").split() if word.startswith("1000")}
        elif isinstance(value, types.FunctionType):  # not its globals, which lead everywhere
            queue.extend([value.__closure__, value.__defaults__, value.__kwdefaults__, value.__dict__])
        else:
            queue.extend(gc.get_referents(value))
    return found & set(MARKS.tolist())


@pytest.mark.parametrize("make", MAKERS)
def test_no_way_leads_from_a_task_to_its_test_rows(make: Callable[[], Task]) -> None:
    task = make()
    test = set(np.abs(open_seal(task).x.reshape(12, -1)[:, 0].double().numpy()).tolist())
    assert len(test) == 12
    assert marks_within(open_seal(task)) >= test  # the search does find rows where they are
    assert marks_within(task) == set(MARKS.tolist()) - test
    for view in (task.summary(), repr(task), task._repr_html_(), task.baseline, task.sizes, task.feature_names):
        assert not marks_within(view) & test


def test_the_search_finds_what_is_hidden_in_closures_and_slots() -> None:
    class Slotted:
        __slots__ = ("rows",)

    slotted, rows = Slotted(), np.array(MARKS[:3])
    slotted.rows = {"deep": [rows]}
    assert marks_within(slotted) == marks_within(lambda: rows) == set(MARKS[:3].tolist())
    assert marks_within(torch.tensor(MARKS)[:1]) == set(MARKS.tolist())  # a view keeps the whole storage


def test_no_attribute_name_speaks_of_the_test_split() -> None:
    task = Task.load("iris")
    assert not [name for name in dir(task) if "test" in name.lower() or "seal" in name.lower()]
    assert not hasattr(task, "test")


@pytest.mark.parametrize("duplicate", [lambda task: pickle.loads(pickle.dumps(task)), copy.deepcopy, copy.copy])
def test_a_copy_works_and_has_no_test_split(duplicate: Callable[[Task], Task]) -> None:
    task = from_arrays()
    test = open_seal(task).x
    twin = duplicate(task)
    assert torch.equal(twin.train.x, task.train.x)
    assert twin.fingerprint == task.fingerprint
    assert torch.equal(twin.preprocess([[1.0, 2.0]]), task.preprocess([[1.0, 2.0]]))
    assert not marks_within(twin) & set(test[:, 0].double().tolist())
    with pytest.raises(TaskError, match="no test split.*copy"):
        open_seal(twin)


def test_a_pickle_holds_no_test_row() -> None:
    task = from_arrays()
    data = pickle.dumps(task)
    assert np.float32(task.train.x[0, 0]).tobytes() in data  # the search does find rows where they are
    for row in open_seal(task).x:
        assert np.float32(row[0]).tobytes() not in data
        assert np.float64(row[0]).tobytes() not in data


def test_the_vault_forgets_a_task_that_is_gone() -> None:
    from workbench.tasks import test_split as seal

    task = from_arrays()
    assert task in seal._VAULT
    alive = weakref.ref(task)
    del task
    gc.collect()
    assert alive() is None  # so that its test split is gone with it: the vault holds it by a weak key


def test_opening_gives_what_was_put_away() -> None:
    task = Task.load("iris", standardize=False, seed=3)
    test = open_seal(task)
    rows = torch.cat([task.train.x, task.validation.x, test.x])
    assert len(test) == task.sizes["test"] == 30
    from sklearn.datasets import load_iris

    everything = torch.tensor(load_iris().data, dtype=torch.float32)
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, everything.tolist()))


def test_test_rows_are_preprocessed_as_the_training_rows_say() -> None:
    X = np.random.default_rng(0).normal(5, 3, (100, 2))
    task = Task.from_arrays(X, np.arange(100) % 2)
    raw = open_seal(Task.from_arrays(X, np.arange(100) % 2, standardize=False)).x
    scaler = StandardScaler().fit(Task.from_arrays(X, np.arange(100) % 2, standardize=False).train.x.double())
    np.testing.assert_allclose(open_seal(task).x, scaler.transform(raw.double()), atol=1e-5)


MAY_OPEN = {
    "workbench.tasks.task",
    "workbench.methods.test_set.open",
}  # the first puts the test split away, the second opens it, on record


def test_nothing_else_imports_the_seal() -> None:
    package = Path(workbench.__file__).parent
    importers = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
            if any(name.split(".")[-1] in {"test_split", "open_seal"} for name in names):
                importers.add(".".join(path.relative_to(package.parent).with_suffix("").parts))
    assert importers == MAY_OPEN
