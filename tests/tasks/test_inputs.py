"""What is taken as data, and how what cannot be used is refused: with the field, the value and the remedy."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from workbench import Config
from workbench.core.errors import ConfigError, TaskError
from workbench.models import build_model
from workbench.tasks import Task
from workbench.tasks.targets import kind_of

RNG = np.random.default_rng(1)
X = RNG.normal(size=(60, 3))
Y = np.arange(60) % 3
NUMBERS = RNG.normal(size=60)


# --- what is accepted -----------------------------------------------------------------------------------------------

REFERENCE = Task.from_arrays(X, Y)


@pytest.mark.parametrize(
    "values",
    [X.tolist(), torch.tensor(X), torch.tensor(X, requires_grad=True), torch.tensor(X).to_sparse(), sparse.csr_matrix(X),
     sparse.coo_array(X), pd.DataFrame(X), X.astype(object), np.asfortranarray(X), [tuple(row) for row in X],
     np.ma.masked_array(X, np.zeros_like(X, dtype=bool))],
)  # fmt: skip
def test_inputs_in_every_container_are_the_same_task(values: Any) -> None:
    task = Task.from_arrays(values, Y)
    assert torch.equal(task.train.x, REFERENCE.train.x)
    assert task.fingerprint == REFERENCE.fingerprint


@pytest.mark.parametrize(
    "values",
    [Y.tolist(), torch.tensor(Y), pd.Series(Y), pd.Series(Y, dtype="Int64"), pd.Categorical(Y), Y.reshape(-1, 1),
     Y.astype(float), Y.astype(object), Y.astype(np.uint8), pd.DataFrame({"y": Y})],
)  # fmt: skip
def test_labels_in_every_container_are_the_same_task(values: Any) -> None:
    task = Task.from_arrays(X, values)
    assert (task.kind, task.classes) == ("classification", ("0", "1", "2"))
    assert torch.equal(task.train.y, REFERENCE.train.y)
    assert task.fingerprint == REFERENCE.fingerprint


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.float16, torch.bfloat16, torch.float16])
def test_inputs_of_every_real_type_are_taken(dtype: Any) -> None:
    pixels = RNG.integers(0, 2, (60, 4))
    values = torch.tensor(pixels).to(dtype) if isinstance(dtype, torch.dtype) else pixels.astype(dtype)
    task = Task.from_arrays(values, Y, standardize=False)
    assert task.train.x.dtype == torch.float32
    assert set(task.train.x.unique().tolist()) == {0.0, 1.0}


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(
        st.one_of(st.text(max_size=8), st.booleans(), st.integers(-(10**12), 10**12)), min_size=2, max_size=5,
        unique_by=lambda label: str(label),
    )
)  # fmt: skip
def test_every_set_of_labels_comes_back(labels: list[Any]) -> None:
    """Text, booleans and any whole numbers come back as they are, mixtures as their text; indices run from 0."""
    y = np.array([labels[row % len(labels)] for row in range(60)], dtype=object)
    task = Task.from_arrays(np.arange(60).reshape(-1, 1), y, kind="classification", standardize=False)
    assert task.classes is not None
    assert set(task.classes) == {str(label) for label in labels}
    assert task.output_size == len(labels)
    outputs = torch.nn.functional.one_hot(task.validation.y, len(labels)).float()
    found = task.decode(outputs).tolist()
    wanted = [y[int(row)] for row in task.validation.x[:, 0]]
    mixed = len({type(label) for label in labels}) > 1
    assert found == [str(label) for label in wanted] if mixed else found == wanted
    assert {type(label) for label in found} <= ({str} if mixed else {type(labels[0])})


def test_classes_are_in_the_order_of_their_values() -> None:
    assert Task.from_arrays(X, np.array([10, 9, -2])[Y]).classes == ("-2", "9", "10")
    assert Task.from_arrays(X, np.array([10.0, 9.0, -2.0])[Y]).classes == ("-2", "9", "10")
    assert Task.from_arrays(X, Y == 0).classes == ("False", "True")


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (np.array(["a", "b"])[Y % 2], "classification"),
        (Y == 0, "classification"),
        (Y * 1.0, "classification"),
        (np.arange(60) % 12, "classification"),
        (np.arange(60), "regression"),
        (Y + 0.5, "regression"),
        (NUMBERS, "regression"),
        (RNG.normal(size=(60, 2)), "regression"),
        (RNG.integers(0, 5, (60, 2)), "regression"),
        (NUMBERS.astype(object), "regression"),
    ],
)
def test_the_kind_is_recognised_and_says_why(y: Any, kind: str) -> None:
    task = Task.from_arrays(X, y)
    assert task.kind == kind
    assert task.metric == {"classification": "accuracy", "regression": "r2"}[kind]
    lines = task.summary()["value"].tolist()
    assert task.kind_rule in " ".join(lines[: task.summary().index.get_loc("rows")])


def test_many_whole_numbers_are_labels_when_each_is_frequent() -> None:
    """The boundary of the documented rule: more than 20 values, and more than one in twenty rows."""
    for rows, kind in ((419, "regression"), (420, "classification")):
        assert Task.from_arrays(np.arange(rows).reshape(-1, 1), np.arange(rows) % 21).kind == kind


def test_the_kind_can_be_said() -> None:
    assert Task.from_arrays(X, Y, kind="regression").output_size == 1
    assert Task.from_arrays(X, Y + 0.5, kind="classification").kind == "classification"
    assert Task.from_arrays(X, Y, kind="regression").kind_rule == ""
    assert Task.from_arrays(X, Y, metrics="f1").metric == "f1"


def test_several_targets() -> None:
    task = Task.from_arrays(X, np.column_stack([NUMBERS, Y]))
    assert task.train.y.shape == (36, 2)
    assert task.output_size == 2
    assert task.classes is None


# --- what is refused ------------------------------------------------------------------------------------------------


def spoiled(value: Any, *places: tuple[int, int]) -> np.ndarray:
    values = X.astype(object) if value is None else X.copy()
    for place in places:
        values[place] = value
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"X has the shape \(0,\): there is no data"),
        (np.empty((60, 0)), r"X has the shape \(60, 0\): there is no data"),
        (NUMBERS, r"X has the shape \(60,\).*use X.reshape\(-1, 1\)"),
        (5, r"X has the shape \(\); it needs one row per example"),
        (None, r"X has the shape \(\); it needs one row per example"),
        (spoiled(np.nan, (3, 2), (9, 1), (11, 1)), r"X has 3 NaN or infinite values, first in column 1 \(NaN\).*use Task.from_frame"),  # noqa: E501
        (spoiled(np.inf, (3, 2)), r"X has 1 NaN or infinite value, first in column 2 \(infinite\); remove"),
        (spoiled(None, (3, 2)), r"X has 1 NaN or infinite value"),
        (X.astype(complex), "X has the type complex128; give real and imaginary parts"),
        (np.full((60, 2), "a"), r"X has the type <U1; it must hold numbers \(Task.from_frame takes text columns\)"),
        (np.full((60, 2), "a", dtype=object), "X holds values that are not numbers.*use Task.from_frame"),
        ([[1, 2]] * 59 + [[1, 2, 3]], "X: its rows have different lengths"),
        (pd.DataFrame({"a": [[1, 2]] * 60, "b": NUMBERS}), "X holds values that are not numbers"),
        ([[10**400, 1]] * 60, "X holds values that are not numbers"),
        (np.ma.masked_less(X, 0), r"X has \d+ masked values"),
        (np.array(["2020-01-01"] * 60, dtype="datetime64[D]").reshape(-1, 1), "X has the type datetime64"),
    ],
)  # fmt: skip
def test_inputs_that_cannot_be_used(values: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Task.from_arrays(values, Y)


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (Y[:-1], {}, "X has 60 rows and y has 59 rows: give one target for each row"),
        (3, {}, "y=3: give an array or a list with one target for each row of X"),
        (np.zeros(60, int), {}, "y has only one class, '0'; a classification needs at least two"),
        (["same"] * 60, {}, "y has only one class, 'same'"),
        (np.full(60, 2.5), {}, r"y is 2.5 in every row: there is nothing to learn"),
        (np.column_stack([NUMBERS, np.full(60, 7.5)]), {}, "y, column 1, is 7.5 in every row"),
        (np.where(Y == 0, np.nan, NUMBERS), {}, "y has 20 NaN or infinite values; remove those rows"),
        (np.where(np.arange(60) == 5, np.inf, NUMBERS), {}, "y has 1 NaN or infinite value"),
        (["a", "b", None] * 20, {}, "y has 20 missing values; remove those rows"),
        (pd.Series(["a", "b", None] * 20), {}, "y has 20 missing values"),
        (pd.array([1, 2, None] * 20, dtype="Int64"), {}, "y has 20 (missing|NaN or infinite) values"),
        (["a", "b", "c"] * 20, {"kind": "regression"}, "a regression needs numbers; for labels use kind='classification'"),
        (Y.astype(complex), {}, "y has the type complex128; it must hold labels or real numbers"),
        (np.arange(60).astype("datetime64[D]"), {}, "y holds dates; turn them into numbers"),
        (np.arange(60).astype("timedelta64[s]"), {}, r"y holds durations; turn them into numbers: .*\.dt\.total_seconds\(\)"),
        (np.zeros((60, 2, 2)), {}, r"y has the shape \(60, 2, 2\); give one target a row"),
        (np.empty((60, 0)), {}, r"y has the shape \(60, 0\)"),
        (np.eye(3)[Y], {}, r"y has the shape \(60, 3\) and looks one-hot: use y.argmax\(axis=1\)"),
        (np.eye(3)[Y], {"kind": "classification"}, r"y has the shape \(60, 3\): classes need one label a row; use y.argmax"),
        ([[1, 2], [3]] * 30, {}, "y: its rows have different lengths"),
        (pd.Series([[1], [2, 3]] * 30), {}, r"y holds lists, such as \[1\]; give one target a row"),
        (Y, {"kind": "regresion"}, "kind='regresion': must be one of auto, classification, regression, .*; did you mean"),
        (Y, {"kind": 3}, "kind=3: must be one of"),
        (Y, {"metrics": len}, "metrics=<built-in function len>: give names of metrics"),
        (Y, {"standardize": "yes"}, "standardize='yes': must be True or False"),
        (Y, {"standardise": True}, "unknown option 'standardise' of a task; did you mean 'standardize'"),
        (Y, {"classes": ("a", "b", "c")}, "unknown option 'classes'"),
    ],
)  # fmt: skip
def test_targets_and_options_that_cannot_be_used(y: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Task.from_arrays(X, y, **options)


PICTURES = RNG.normal(size=(60, 3, 8, 8))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_whose_channels_come_last_are_warned_of(channels: int) -> None:
    last = RNG.normal(size=(60, 8, 8, channels))
    with pytest.warns(UserWarning, match=r"of 8 channels with 8 x . pixels; .* give X.transpose\(0, 3, 1, 2\)") as told:
        task = Task.from_arrays(last, Y)
    assert told[0].filename == __file__
    assert task.input_shape == (8, 8, channels)
    Task.from_arrays(last.transpose(0, 3, 1, 2), Y)  # warnings are errors here
    Task.from_arrays(RNG.normal(size=(60, 16, 4, 4)), Y)
    Task.from_arrays(RNG.normal(size=(60, 8, 8, 2)), Y)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sequences_whose_channels_come_first_are_warned_of(channels: int) -> None:
    first = RNG.normal(size=(60, channels, 30))
    with pytest.warns(
        UserWarning, match=rf"of {channels} time steps? with 30 channels; .*X.transpose\(0, 2, 1\)"
    ) as told:
        Task.from_arrays(first, Y)
    assert told[0].filename == __file__
    Task.from_arrays(first.transpose(0, 2, 1), Y)  # warnings are errors here
    Task.from_arrays(RNG.normal(size=(60, 8, 8)), Y)
    Task.from_arrays(RNG.integers(0, 9, (60, channels, 30)), Y, inputs="tokens")


@pytest.mark.parametrize(
    ("trained", "given", "remedy"),
    [
        (PICTURES, PICTURES.transpose(0, 2, 3, 1), r"; their channels come last: give X.transpose\(0, 3, 1, 2\)$"),
        (PICTURES[:, :1], PICTURES[:, 0], r"; give X\[:, None\]$"),
        (PICTURES, PICTURES.reshape(60, -1), r"; give X.reshape\(-1, 3, 8, 8\)$"),
        (PICTURES, PICTURES[..., 1:], r"\(3, 8, 8\)$"),
    ],
)
def test_rows_of_another_shape_are_told_with_the_remedy(trained: Any, given: Any, remedy: str) -> None:
    task = Task.from_arrays(trained, Y)
    with pytest.raises(TaskError, match=r"rows have the shape \(.*\), this task's have .*" + remedy):
        task.preprocess(given)
    with pytest.raises(TaskError, match=r"the new rows have the shape \(.*\), this task's have .*" + remedy):
        task.version((given, Y))


def test_a_cnn_says_how_pictures_come() -> None:
    flat = Task.from_arrays(PICTURES[:, 0], Y)
    with pytest.raises(
        ConfigError, match=r"this task has \(8, 8\); make it from X\[:, None\], of one channel, or use 'mlp'"
    ):
        build_model(flat, Config(model="cnn"))
    with pytest.raises(ConfigError, match=r"this task has \(4,\); use 'mlp'"):
        build_model(Task.from_arrays(np.ones((60, 4)) * NUMBERS[:, None], Y), Config(model="cnn"))
    with pytest.warns(UserWarning, match="if the channels come last"):
        last = Task.from_arrays(PICTURES.transpose(0, 2, 3, 1), Y)
    with pytest.raises(ConfigError, match=r"make the task from X.transpose\(0, 3, 1, 2\)"):
        build_model(last, Config(model="cnn"))


def test_one_hot_numbers_can_be_insisted_on() -> None:
    assert Task.from_arrays(X, np.eye(3)[Y], kind="regression").output_size == 3


# --- tables ---------------------------------------------------------------------------------------------------------


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": NUMBERS, **columns, "y": Y})


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.date_range("2020-01-01", periods=60), r"column 'c' holds dates; .*df\['c'\].dt.dayofyear, or drop it"),
        (pd.to_timedelta(np.arange(60), unit="D"), r"column 'c' holds durations; .*: df\['c'\].dt.total_seconds\(\)$"),
        (
            pd.Series([datetime.timedelta(1)] * 60, dtype=object),
            r"column 'c' holds durations; .*: pd.to_timedelta\(df\['c'\]\).dt.total_seconds\(\)$",
        ),
        ([datetime.date(2020, 1, 1)] * 60, "column 'c' holds dates"),
        (
            ["2020-01-31"] * 59 + [None],
            "column 'c' holds dates as text, such as '2020-01-31'; parse it with pd.to_datetime",
        ),
        (["31.12.2020"] * 60, "column 'c' holds dates as text"),
        ([[1, 2]] * 60, "column 'c' holds lists; expand them into one column a value, or drop it"),
        ([None] * 59 + [{"k": 1}], "column 'c' holds dicts"),
        ([np.zeros(2)] * 60, "column 'c' holds ndarrays"),
        (X[:, 0] + 1j, "column 'c' holds complex numbers"),
        ([np.inf, -np.inf, *X[:58, 0]], "column 'c' has 2 infinite values; replace them by NaN"),
    ],
)
def test_columns_that_cannot_be_used_are_named(column: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Task.from_frame(frame(c=column), "y")


def test_a_column_of_names_is_refused_before_it_fills_the_memory() -> None:
    many = pd.DataFrame({"id": [f"row {row}" for row in range(1001)], "y": np.arange(1001) % 2})
    with pytest.raises(TaskError, match="column 'id' has 1001 different texts, such as 'row 0'.*at most 1000"):
        Task.from_frame(many, "y")
    assert len(Task.from_frame(many[:1000], "y").feature_names or ()) == 600


@pytest.mark.parametrize(
    ("data", "target", "message"),
    [
        (frame(), "Y", "target='Y': there is no such column; (did you mean 'y'|known: a, y)"),
        (frame(), ["y", "z"], "target='z': there is no such column"),
        (frame(), [], "there is nothing to learn from"),
        (frame()[:0], "y", "the data has 0 rows"),
        (frame()[["y"]], "y", "0 input columns"),
        (pd.concat([frame(), frame()[["a"]]], axis=1), "y", "the column 'a' occurs twice in the data; rename one"),
        (X, "y", "from_frame needs a DataFrame, got ndarray; use Task.from_arrays"),
        (frame(price=[np.nan, *X[:59, 0]]), "price", "target 'price' has 1 NaN or infinite value"),
        (frame(p=["x"] * 60), "p", "target 'p' has only one class, 'x'"),
    ],
)
def test_tables_that_cannot_be_used(data: Any, target: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Task.from_frame(data, target)


def test_column_names_that_are_no_text() -> None:
    data = pd.DataFrame(X).assign(y=Y)  # columns 0, 1, 2 and "y"
    task = Task.from_frame(data, "y")
    assert task.feature_names == ("0", "1", "2")
    assert torch.equal(task.train.x, REFERENCE.train.x)
    assert Task.from_frame(data, 0).kind == "regression"  # type: ignore[arg-type]
    assert torch.equal(task.preprocess(data), Task.from_arrays(X, Y).preprocess(X))


def test_several_target_columns() -> None:
    task = Task.from_frame(frame(b=X[:, 0], c=X[:, 1]), ["b", "c"])
    assert (task.kind, task.output_size, task.feature_names) == ("regression", 2, ("a", "y"))


def test_the_users_frame_is_left_as_it_was() -> None:
    data = frame(text=["u", None] * 30)
    before = data.copy()
    Task.from_frame(data, "y")
    pd.testing.assert_frame_equal(data, before)


# --- CSV ------------------------------------------------------------------------------------------------------------


def test_a_csv_file_is_the_same_task_as_its_frame(tmp_path: Path) -> None:
    data = frame(text=["u", "v", None] * 20).round(3)
    path = tmp_path / "flowers.csv"
    data.to_csv(path)  # with its index, as people write it
    task = Task.from_csv(path, "y")
    assert task.name == "flowers"
    assert task.feature_names == ("a", "text_u", "text_v")
    assert torch.equal(task.train.x, Task.from_frame(data, "y").train.x)
    assert Task.from_csv(str(path), "y", name="mine", split=(0.8, 0.2, 0)).sizes["test"] == 0


def test_csv_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"path='.*nowhere.csv': there is no such file"):
        Task.from_csv(tmp_path / "nowhere.csv", "y")
    with pytest.raises(TaskError, match="there is no such file"):
        Task.from_csv(tmp_path, "y")
    with pytest.raises(TaskError, match=r"path is a DataFrame: .*Task\.from_frame"):
        Task.from_csv(frame(), "y")  # type: ignore[arg-type]
    empty = tmp_path / "empty.csv"
    empty.touch()
    with pytest.raises(TaskError, match="no CSV file that pandas can read"):
        Task.from_csv(empty, "y")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(TaskError, match="no CSV file that pandas can read"):
        Task.from_csv(binary, "y")
    semicolons = tmp_path / "semicolons.csv"
    frame().to_csv(semicolons, sep=";", index=False)
    with pytest.raises(
        TaskError, match=r"single column, 'a;y'.*Task.from_frame\(pd.read_csv\(path, sep=';'\), target='y'"
    ):
        Task.from_csv(semicolons, "y")
    good = tmp_path / "good.csv"
    frame().to_csv(good, index=False)
    with pytest.raises(TaskError, match="target='label': there is no such column; known: a, y"):
        Task.from_csv(good, "label")


# --- torch data sets ------------------------------------------------------------------------------------------------


class Items(Dataset[Any]):
    """A map-style data set whose items a function makes."""

    def __init__(self, make: Any, rows: int = 60) -> None:
        self.make, self.rows = make, rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


def test_a_data_set_is_the_same_task_as_its_arrays() -> None:
    reads: list[int] = []

    def item(index: int) -> tuple[np.ndarray, int]:
        reads.append(index)
        return X[index], int(Y[index])

    assert Task.from_dataset(Items(item)).fingerprint == REFERENCE.fingerprint
    assert reads[-60:] == list(range(60))  # in order, after a few that are read twice to find out whether they differ
    assert len(reads) < 70
    task = Task.from_dataset(TensorDataset(torch.tensor(X), torch.tensor(Y)))
    assert task.fingerprint == REFERENCE.fingerprint
    assert task.name == "TensorDataset"
    assert Task.from_dataset(Items(lambda i: (X[i], "abc"[Y[i]]))).classes == ("a", "b", "c")
    assert Task.from_dataset(Items(lambda i: (torch.zeros(1, 4, 4) + i, Y[i]))).is_image
    assert Task.from_dataset(Items(lambda i: (X[i], torch.tensor([NUMBERS[i], X[i, 0]])))).output_size == 2


def test_an_item_that_raises_is_named_and_its_cause_kept() -> None:
    def item(index: int) -> tuple[np.ndarray, int]:
        if index == 17:
            raise OSError("disk on fire")
        return X[index], int(Y[index])

    with pytest.raises(TaskError, match=r"item 17 of the data set cannot be read: OSError: disk on fire") as caught:
        Task.from_dataset(Items(item))
    assert isinstance(caught.value.__cause__, OSError)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([(0.0, 1)])

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Items(lambda i: (np.zeros(4 if i == 9 else 3), 0)), r"item 9 .* an x of shape \(4,\), item 0 has \(3,\)"),
        (Items(lambda i: (X[i], np.zeros(2 if i == 5 else 1))), r"item 5 .* an y of shape \(2,\), item 0 has \(1,\)"),
        (Items(lambda i: X[i]), "item 0 of the data set cannot be read: ValueError.*each item must be a pair"),
        (Items(lambda i: 5), "item 0 of the data set cannot be read: TypeError"),
        (Items(lambda i: (X[i], Y[i]), rows=0), "the data set is empty"),
        (Stream(), "dataset: a Stream has no length or cannot be indexed.*collect an iterable one into a list"),
        (iter([(1, 2)]), "a list_iterator has no length or cannot be indexed"),
        (Items(lambda i: ("text", 0)), r"X has the (shape|type)"),
    ],
)
def test_data_sets_that_cannot_be_used(dataset: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Task.from_dataset(dataset)


@pytest.mark.parametrize(("values", "kind"), [(20, "classification"), (21, "regression")])
def test_whole_numbers_are_labels_up_to_twenty_different_ones_in_few_rows(values: int, kind: str) -> None:
    assert kind_of(np.arange(200) % values, "auto") == kind
