"""A task without its rows: it prepares and decodes as the task does, there and back through a file too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn import preprocessing
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif, mutual_info_classif
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.random_projection import SparseRandomProjection

from workbench.core import files
from workbench.core.errors import CheckpointError, TaskError
from workbench.tasks import Task, TaskSchema
from workbench.tasks.estimators import HARMLESS, from_tensor, to_tensor

RNG = np.random.default_rng(4)
X, Y = RNG.uniform(0.5, 3, (90, 4)), np.arange(90) % 3
FRAME = pd.DataFrame(
    {
        "größe": np.where(np.arange(90) % 7, X[:, 0], np.nan),
        "text": RNG.choice(["a", "b", None], 90),
        "flag": RNG.choice([True, False], 90),
        "many": pd.array(np.where(np.arange(90) % 5, np.arange(90), np.nan), dtype="Float64"),
        "y": np.array(["yes", "no", "perhaps"])[Y],
    }
)


def through_a_file(schema: TaskSchema, folder: Path, trusted: Any = ()) -> TaskSchema:
    files.write(folder / "schema.pt", files.pack("schema", schema.to_state()))
    return TaskSchema.from_state(files.read(folder / "schema.pt", "schema"), trusted)


TASKS: list[tuple[Task, Any]] = [
    (Task.from_arrays(X, Y), X),
    (Task.from_arrays(X, Y, clip=1.0, standardize=False), X),
    (Task.from_arrays(X, X[:, :2] * [1e5, 1e-3]), X),
    (Task.from_arrays(X.reshape(90, 1, 2, 2), Y, clip=2.0), X.reshape(90, 1, 2, 2)),
    (Task.from_arrays(X.reshape(90, 1, 2, 2), Y, transform=preprocessing.RobustScaler()), X.reshape(90, 1, 2, 2)),
    (Task.from_frame(FRAME, "y", clip=1.5, name="größe"), FRAME),
    (Task.from_frame(FRAME.dropna(), "many"), FRAME),
    (Task.from_frame(FRAME, "y", transform=PCA(2), clip=2.0), FRAME),
    (Task.load("iris"), X),
]


@pytest.mark.parametrize(("task", "rows"), TASKS)
def test_a_schema_knows_what_its_task_knows(task: Task, rows: Any, tmp_path: Path) -> None:
    outputs = torch.randn(30, task.output_size)
    for schema in (task.schema, through_a_file(task.schema, tmp_path)):
        for name in (
            "name",
            "kind",
            "metric",
            "input_shape",
            "output_size",
            "classes",
            "feature_names",
            "fingerprint",
            "is_image",
        ):
            assert getattr(schema, name) == getattr(task, name), name
            assert type(getattr(schema, name)) is type(getattr(task, name)), name
        for name in ("target_mean", "target_std"):
            assert torch.equal(getattr(schema, name), getattr(task, name))
            assert getattr(schema, name).dtype == getattr(task, name).dtype
        assert torch.equal(schema.preprocess(rows), task.preprocess(rows))
        assert schema.decode(outputs).tolist() == task.decode(outputs).tolist()
        assert repr(schema) == repr(task.schema)
    assert not hasattr(task.schema, "train")


def answers(task: Task) -> Any:
    """What a model that is always right answers for the validation rows, and the raw inputs of these."""
    y = task.validation.y
    outputs = y if task.kind == "regression" else torch.nn.functional.one_hot(y, task.output_size).float()
    return outputs, task.validation.x[:, 0].long()


LABELS = {
    "whole numbers": (np.array([10, 9, -2])[Y], "i"),
    "small whole numbers": (Y.astype(np.uint8), "i"),
    "nullable whole numbers": (pd.Series(Y, dtype="Int64"), "i"),
    "booleans": (Y == 0, "b"),
    "nullable booleans": (pd.Series(Y == 0, dtype="boolean"), "b"),
    "whole floats": (Y * 1.0, "f"),
    "text": (np.array(["b", "c", "a"])[Y], "O"),
    "categories": (pd.Series(Y).astype("category"), "i"),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_come_back_as_the_targets_have_them(name: str, tmp_path: Path) -> None:
    y, kind = LABELS[name]
    numbers = np.arange(90.0)[:, None]
    task = Task.from_arrays(numbers, y, kind="classification", standardize=False)
    frame = pd.DataFrame({"n": numbers[:, 0], "y": y})
    made = [task, Task.from_frame(frame, "y", kind="classification", standardize=False)]
    longer = np.arange(120.0)[:, None]
    made.append(task.version((longer, np.resize(np.asarray(y), 120))))
    for one in made:
        outputs, rows = answers(one)
        for schema in (one.schema, through_a_file(one.schema, tmp_path)):
            found = schema.decode(outputs)
            assert found.dtype.kind == kind
            assert (found == np.resize(np.asarray(y), 120)[rows.numpy()]).mean() == 1.0
            assert schema.classes == tuple(str(int(v) if kind == "f" else v) for v in schema.labels or ())


def test_named_classes_answer_with_their_names() -> None:
    assert Task.load("iris").schema.labels == Task.load("iris").classes == ("setosa", "versicolor", "virginica")
    assert Task.load("digits").schema.labels == tuple(range(10))


@pytest.mark.parametrize("columns", [None, 1, 2])
def test_numbers_have_the_shape_of_the_targets(columns: int | None, tmp_path: Path) -> None:
    """(rows, 1) against (rows,) would broadcast to every row against every other."""
    y = np.arange(90) * 1.5 + 3 if columns is None else np.arange(90)[:, None] * np.arange(1, columns + 1) * 1.5
    task = Task.from_arrays(np.arange(90.0)[:, None], y, kind="regression", standardize=False)
    newer = task.version((np.arange(120.0)[:, None], np.concatenate([y, y[:30] + 7])))
    outputs, rows = answers(task)
    for schema in (task.schema, through_a_file(task.schema, tmp_path), newer.schema):
        assert schema.decode(outputs).shape == y[rows].shape
    np.testing.assert_allclose(task.decode(outputs), y[rows], rtol=1e-5)


def test_the_shape_of_a_tables_target_is_that_of_its_selection() -> None:
    outputs = torch.zeros(5, 1)
    assert Task.from_frame(FRAME.dropna(), "many", kind="regression").decode(outputs).shape == (5,)
    assert Task.from_frame(FRAME.dropna(), ["many"], kind="regression").decode(outputs).shape == (5, 1)


def test_the_schema_in_words() -> None:
    assert repr(TASKS[2][0].schema) == "<TaskSchema 'arrays': regression, inputs (4,), 2 targets>"
    assert repr(TASKS[-1][0].schema) == "<TaskSchema 'iris': classification, inputs (4,), 3 classes>"


def test_wrong_rows_are_told_after_a_file_too(tmp_path: Path) -> None:
    schema = through_a_file(TASKS[5][0].schema, tmp_path)
    with pytest.raises(TaskError, match="the column 'größe' is missing; did you mean 'grösse'"):
        schema.preprocess(FRAME.rename(columns={"größe": "grösse"}))
    with pytest.raises(TaskError, match="the column 'flag' occurs twice in the data; rename one"):
        schema.preprocess(pd.concat([FRAME, FRAME[["flag"]]], axis=1))
    with pytest.raises(TaskError, match="the data has no row"):
        schema.preprocess(FRAME[:0])
    with pytest.raises(TaskError, match=r"rows have the shape \(3,\), this task's have \(4,\)"):
        through_a_file(TASKS[0][0].schema, tmp_path).preprocess(X[:, :3])


@pytest.mark.parametrize(
    "transform",
    [
        PCA(2, whiten=True), TruncatedSVD(2), Nystroem(n_components=5, random_state=0), RBFSampler(random_state=0),
        SparseRandomProjection(3, random_state=0), preprocessing.QuantileTransformer(n_quantiles=20),
        preprocessing.PowerTransformer(), preprocessing.KBinsDiscretizer(4), preprocessing.SplineTransformer(),
        preprocessing.PolynomialFeatures(2), preprocessing.MinMaxScaler(), preprocessing.Normalizer(),
        SelectKBest(f_classif, k=2), SelectKBest(mutual_info_classif, k=2), VarianceThreshold(), KNNImputer(), SimpleImputer(),
        FunctionTransformer(np.log1p), FunctionTransformer(), FeatureUnion([("a", PCA(1)), ("b", TruncatedSVD(2))]),
        make_pipeline(preprocessing.StandardScaler(), FunctionTransformer(np.tanh), PCA(2)),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*quantile_method.*:FutureWarning")
def test_scikit_learns_own_transformers_need_no_trust(transform: Any, tmp_path: Path) -> None:
    task = Task.from_arrays(X, Y, transform=transform)
    schema = through_a_file(task.schema, tmp_path)
    assert torch.equal(schema.preprocess(X), task.preprocess(X))
    assert not torch.equal(schema.preprocess(X), schema.preprocess(X[::-1].copy()))


class Mine(TransformerMixin, BaseEstimator):
    """A transformer of the user's own."""

    def fit(self, X: Any, y: Any = None) -> Mine:
        self.middle_ = X.mean(0)
        return self

    def transform(self, X: Any) -> Any:
        return X - self.middle_


def double(values: Any) -> Any:
    return 2 * values


@pytest.mark.parametrize(
    ("transform", "name"),
    [
        (Mine(), f"{__name__}.Mine"),
        (FunctionTransformer(double), f"{__name__}.double"),
        (make_pipeline(PCA(2), Mine()), f"{__name__}.Mine"),
    ],
)
def test_what_is_the_users_own_must_be_trusted_by_name(transform: Any, name: str, tmp_path: Path) -> None:
    task = Task.from_arrays(X, Y, transform=transform)
    with pytest.raises(
        CheckpointError, match=rf"transform= holds {name}, .*wb.load_model\(path, trusted=\['{name}'\]\)"
    ):
        through_a_file(task.schema, tmp_path)
    with pytest.raises(CheckpointError, match=rf"trusted=\['other.Thing', '{name}'\]"):
        through_a_file(task.schema, tmp_path, ["other.Thing"])
    for trusted in ([name], (name,), name):
        assert torch.equal(through_a_file(task.schema, tmp_path, trusted).preprocess(X), task.preprocess(X))


@pytest.mark.parametrize("function", [os.system, os.remove, eval, exec, __import__, stats.norm.rvs])
def test_what_could_run_code_is_refused_when_it_is_read(function: Any) -> None:
    try:
        data = to_tensor(FunctionTransformer(function), "transform=")
    except CheckpointError:
        return  # not even written
    with pytest.raises(
        CheckpointError, match=f"transform= holds .*{getattr(function, '__name__', '')}, which can run code"
    ):
        from_tensor(data, (), "transform=")


def test_what_is_trusted_unasked_computes_and_does_nothing_else() -> None:
    roots = {name.partition(".")[0] for name in HARMLESS}
    assert roots == {"numpy", "scipy", "sklearn"}
    assert not [
        name for name in HARMLESS if any(word in name for word in ("load", "fetch", "open", "eval", "system", "run"))
    ]


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_bytes_that_are_no_transformer(data: bytes) -> None:
    vector = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
    with pytest.raises(CheckpointError, match="transform= cannot be read"):
        from_tensor(vector, (), "transform=")


def test_a_state_that_is_none() -> None:
    state = TASKS[5][0].schema.to_state()
    for name in state:
        with pytest.raises(CheckpointError, match=f"the file's task cannot be read .*'{name}'"):
            TaskSchema.from_state({key: value for key, value in state.items() if key != name})
    for name in ("_mean", "_low", "_columns", "clip"):
        part = {key: value for key, value in state["preprocessing"].items() if key != name}
        with pytest.raises(CheckpointError, match=f"the file's task cannot be read .*'{name}'"):
            TaskSchema.from_state({**state, "preprocessing": part})
