"""Imputing, encoding, clipping and scaling: as scikit-learn does it, and fitted on the training rows alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.impute import SimpleImputer
from sklearn.manifold import TSNE
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.random_projection import GaussianRandomProjection

from workbench.core.errors import TaskError
from workbench.tasks import Split, Task
from workbench.tasks.test_split import open_seal

ROWS = 120
RNG = np.random.default_rng(7)
X = RNG.normal([10, -3, 0.01], [5, 0.1, 1e-4], (ROWS, 3))
Y = np.arange(ROWS) % 3


GIVEN = Split.given(train=np.arange(72), validation=np.arange(72, 96), test=np.arange(96, ROWS))


def divided(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Which rows of the data train and validate, in the order in which the task has them."""
    return task.row_numbers["train"], task.row_numbers["validation"]


def make_frame(rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(11)
    frame = pd.DataFrame(
        {
            "size": rng.normal(50, 20, rows),
            "count": pd.array(rng.integers(0, 9, rows), dtype="Int64"),
            "colour": rng.choice(["red", "green", "blue"], rows),
            "shape": pd.Categorical(rng.choice([3, 4, 5], rows)),
            "flag": rng.choice([True, False], rows),
            "y": np.arange(rows) % 3,
        }
    )
    frame.loc[rng.choice(rows, 15), "size"] = np.nan
    frame.loc[rng.choice(rows, 15), "count"] = pd.NA
    frame.loc[rng.choice(rows, 15), "colour"] = None
    return frame


# --- standardising --------------------------------------------------------------------------------------------------


def test_standardising_is_that_of_scikit_learn_on_the_training_rows() -> None:
    task = Task.from_arrays(X, Y)
    train, validation = divided(task)
    test = np.setdiff1d(np.arange(ROWS), np.concatenate([train, validation]))
    scaler = StandardScaler().fit(X[train])
    np.testing.assert_allclose(task.train.x, scaler.transform(X[train]), atol=1e-6)
    np.testing.assert_allclose(task.validation.x, scaler.transform(X[validation]), atol=1e-6)
    sealed, wanted = open_seal(task).x.numpy(), scaler.transform(X[test])
    np.testing.assert_allclose(sealed[sealed[:, 0].argsort()], wanted[wanted[:, 0].argsort()], atol=1e-6)


def test_large_offsets_keep_their_digits() -> None:
    """Computed in float64: seconds since 1970 that differ by milliseconds would all be equal in float32."""
    times = 1.7e9 + np.arange(ROWS).reshape(-1, 1) * 1e-3
    task = Task.from_arrays(times, Y)
    train, validation = divided(task)
    scaled = StandardScaler().fit(times[train]).transform(times[validation])
    np.testing.assert_allclose(task.validation.x, scaled, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "axes", "says"),
    [
        ((2, 3, 4), (0, 2, 3), "per channel, over rows and pixels"),
        ((1, 3, 4), (0, 2, 3), "per channel, over rows and pixels"),
        ((7, 2), (0, 1), "per channel, over rows and time"),
        ((5, 1), (0, 1), "per channel, over rows and time"),
        ((2, 3, 4, 5), (0, 2, 3, 4), "per channel, over rows and pixels"),
        ((4,), (0,), "per feature"),
    ],
)
@pytest.mark.parametrize("clip", [None, 1.5])
def test_channels_share_a_mean_and_deviation(
    shape: tuple[int, ...], axes: tuple[int, ...], says: str, clip: float | None
) -> None:
    """Of sequences (rows, time, channels) over rows and time, of images (rows, channels, ...) over rows and pixels."""
    values = RNG.normal(size=(ROWS, *shape)) * RNG.uniform(1, 100, shape) + RNG.normal(size=shape)
    task = Task.from_arrays(values, Y, clip=clip)
    train, validation = divided(task)

    def moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return rows.mean(axes, keepdims=True), rows.std(axes, keepdims=True)

    if clip is not None:
        mean, spread = moments(values[train])
        values = np.clip(values, mean - clip * spread, mean + clip * spread)
    mean, spread = moments(values[train])
    assert task.is_image == (len(shape) == 3)
    assert task.input_shape == shape
    assert any(says in line for line in task.summary()["value"])
    np.testing.assert_allclose(task.validation.x, (values[validation] - mean) / spread, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int16])
def test_statistics_of_many_pieces_are_those_of_all_rows(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large offsets: the digits that a sum of squares would lose."""
    values = (RNG.uniform(0, 3, (ROWS, 3, 2, 2)) + 120).astype(dtype)
    whole = Task.from_arrays(values, Y)
    monkeypatch.setattr("workbench.tasks.preprocessing.PIECE", 100)
    pieces = Task.from_arrays(values, Y)
    for name in ("_mean", "_scale"):
        one, other = (getattr(task.schema.preprocessing, name) for task in (whole, pieces))
        np.testing.assert_allclose(one, other, rtol=1e-12)
    assert whole.fingerprint == pieces.fingerprint
    raw = values.astype(np.float64)[divided(whole)[0]]
    np.testing.assert_allclose(pieces.schema.preprocessing._scale.ravel(), raw.std((0, 2, 3)), rtol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8 + 0.1, -7])
def test_a_constant_column_becomes_zero(value: float) -> None:
    task = Task.from_arrays(np.column_stack([X[:, 0], np.full(ROWS, value)]), Y)
    assert torch.equal(task.train.x[:, 1], torch.zeros(len(task.train)))
    assert torch.equal(task.validation.x[:, 1], torch.zeros(len(task.validation)))


def test_unscaled_inputs_stay_as_they_are() -> None:
    task = Task.from_arrays(X, Y, standardize=False)
    np.testing.assert_array_equal(task.train.x, X[divided(task)[0]].astype(np.float32))


def test_regression_targets_are_standardised_with_the_training_rows() -> None:
    y = RNG.normal([100, -5], [30, 0.2], (ROWS, 2))
    task = Task.from_arrays(X, y)
    train, validation = divided(task)
    scaler = StandardScaler().fit(y[train])
    assert task.kind == "regression"
    assert task.output_size == 2
    assert task.train.y.dtype == torch.float32
    np.testing.assert_allclose(task.target_mean, scaler.mean_)
    np.testing.assert_allclose(task.target_std, scaler.scale_)
    np.testing.assert_allclose(task.validation.y, scaler.transform(y[validation]), atol=1e-6)
    np.testing.assert_allclose(task.decode(task.validation.y), y[validation], rtol=1e-5)


# --- clipping -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*training row:UserWarning")
def test_clipping_holds_outliers_at_the_training_rows_bounds() -> None:
    spiked = X.copy()
    spiked[::10, 0] = 1e4
    task = Task.from_arrays(spiked, Y, clip=1.5, standardize=False)
    train, validation = divided(task)
    low, high = (spiked[train].mean(0) + sign * 1.5 * spiked[train].std(0) for sign in (-1, 1))
    np.testing.assert_allclose(task.validation.x, np.clip(spiked[validation], low, high), rtol=1e-6)
    assert task.train.x[:, 0].max() < 1e4


def test_clipping_leaves_one_hot_columns_alone() -> None:
    frame = pd.DataFrame({"number": X[:, 0], "kind": np.where(np.arange(ROWS) % 10 == 0, "rare", "usual"), "y": Y})
    task = Task.from_frame(frame, "y", clip=1, standardize=False)
    assert task.feature_names == ("number", "kind_rare", "kind_usual")
    assert set(task.train.x[:, 1:].unique().tolist()) == {0.0, 1.0}
    assert task.train.x[:, 0].max() < X[divided(task)[0], 0].max()


@pytest.mark.parametrize("clip", [0, -1, float("nan"), float("inf"), "3", True])
def test_impossible_clips_are_refused(clip: Any) -> None:
    with pytest.raises(TaskError, match=r"clip=.*above 0, such as 3, or None"):
        Task.from_arrays(X, Y, clip=clip)


# --- transformers ---------------------------------------------------------------------------------------------------


def test_a_pipeline_is_fitted_on_the_training_rows_and_left_untouched() -> None:
    pipeline = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False), PCA(4))
    task = Task.from_arrays(X, Y, transform=pipeline, standardize=False)
    train, validation = divided(task)
    assert not hasattr(pipeline[0], "mean_")  # cloned
    wanted = pipeline.fit(X[train]).transform(X[validation])
    np.testing.assert_allclose(task.validation.x, wanted, atol=1e-5)
    assert task.input_shape == (4,)


def test_a_transformer_is_given_the_training_targets() -> None:
    noise = RNG.normal(size=(ROWS, 6))
    noise[:, 4] = Y + noise[:, 4] / 100
    task = Task.from_arrays(noise, Y, transform=SelectKBest(f_classif, k=1), standardize=False)
    assert torch.equal(task.validation.x[:, 0].round().long(), task.validation.y)


def test_a_transformer_sees_imputed_and_encoded_columns() -> None:
    seen: list[np.ndarray] = []

    def look(values: np.ndarray) -> np.ndarray:
        seen.append(values)
        return values

    task = Task.from_frame(make_frame(), "y", transform=FunctionTransformer(look))
    assert task.feature_names is not None
    assert all(values.shape[1] == len(task.feature_names) and np.isfinite(values).all() for values in seen)


def test_feature_names_after_a_transformer() -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=Y)
    assert Task.from_frame(frame, "y").feature_names == ("a", "b", "c")
    assert Task.from_frame(frame, "y", transform=PCA(2)).feature_names == ("pca0", "pca1")
    silent = FunctionTransformer(lambda values: values[:, :2])
    assert Task.from_frame(frame, "y", transform=silent).feature_names == ("feature 0", "feature 1")
    assert Task.load("iris").feature_names[0] == "sepal length (cm)"
    assert Task.from_arrays(X, Y).feature_names is None


def test_images_stay_images_when_the_number_of_values_is_kept() -> None:
    pictures = RNG.uniform(0, 1, (ROWS, 1, 4, 4))
    assert Task.from_arrays(pictures, Y, transform=StandardScaler()).input_shape == (1, 4, 4)
    flat = Task.from_arrays(pictures, Y, transform=PCA(5))
    assert flat.input_shape == (5,)
    np.testing.assert_allclose(flat.train.x.std(0, correction=0), np.ones(5), atol=1e-5)  # a feature at a time


def test_a_sparse_result_is_taken() -> None:
    digits = np.arange(ROWS).reshape(-1, 1) % 4
    task = Task.from_arrays(digits, Y, transform=OneHotEncoder(), standardize=False, split=GIVEN)
    assert task.train.x.sum(1).tolist() == [1.0] * len(task.train)


def test_a_random_transformer_gives_new_rows_the_same_treatment() -> None:
    task = Task.from_arrays(X, Y, transform=GaussianRandomProjection(2, random_state=0))
    assert torch.equal(task.preprocess(X[divided(task)[1]]), task.validation.x)


class Raises:
    """Duck-typed, but no scikit-learn estimator."""

    def fit(self, X: Any, y: Any) -> None: ...

    def transform(self, X: Any) -> Any:
        return X


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (np.log, "must be a scikit-learn transformer"),
        (PCA, "must be a scikit-learn transformer"),
        (TSNE(), "must be a scikit-learn transformer"),
        (Raises(), "cannot clone it"),
        (PCA(50), "cannot be fitted to the training rows"),
        (FunctionTransformer(lambda values: values[:5]), "gives the shape .5, 3. for 72 rows"),
        (FunctionTransformer(lambda values: values[:, 0]), "gives the shape .72,. for 72 rows"),
        (FunctionTransformer(lambda values: values / 0 if len(values) else values), "no float32 can hold.*transform="),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_transformers_that_do_not_work_are_refused(transform: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Task.from_arrays(X, Y, transform=transform)


# --- tables ---------------------------------------------------------------------------------------------------------


def test_columns_are_imputed_and_encoded_as_scikit_learn_does_on_the_training_rows() -> None:
    frame = make_frame()
    task = Task.from_frame(frame, "y", standardize=False)
    train, validation = divided(task)
    numbers = frame[["size", "count"]].astype(float)
    numeric = SimpleImputer(strategy="median").fit(numbers.iloc[train]).transform(numbers.iloc[validation])
    columns = frame[["colour", "shape", "flag"]]
    text = columns.astype(object).map(str).where(columns.notna(), np.nan).astype(object)
    filled = SimpleImputer(strategy="most_frequent").fit(text.iloc[train])
    encoder = OneHotEncoder(sparse_output=False).fit(filled.transform(text.iloc[train]))
    wanted = np.column_stack([numeric, encoder.transform(filled.transform(text.iloc[validation]))])
    np.testing.assert_allclose(task.validation.x, wanted, rtol=1e-6)
    assert task.feature_names == (
        "size", "count", "colour_blue", "colour_green", "colour_red", "shape_3", "shape_4", "shape_5", "flag_False",
        "flag_True",
    )  # fmt: skip


def test_an_unknown_category_is_all_zeros() -> None:
    frame = pd.DataFrame({"text": ["a", "b"] * 30, "y": [0, 1] * 30})
    task = Task.from_frame(frame, "y", standardize=False)
    rows = task.preprocess(pd.DataFrame({"text": ["a", "b", "never seen"]}))
    assert rows.tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]


def test_columns_keep_the_role_they_had_in_training() -> None:
    frame = pd.DataFrame({"grade": pd.Categorical([1, 2] * 30), "size": np.arange(60.0), "y": [0, 1] * 30})
    task = Task.from_frame(frame, "y", standardize=False)
    # a category given as a plain number, a number as text, in another order and beside another column
    rows = task.preprocess(pd.DataFrame({"other": [1, 2], "size": ["5", "6"], "grade": [2, 1]}))
    assert rows.tolist() == [[5.0, 0.0, 1.0], [6.0, 1.0, 0.0]]
    with pytest.raises(TaskError, match="column 'size' holds numbers in the training rows, and now"):
        task.preprocess(pd.DataFrame({"size": ["big"], "grade": [1]}))


def test_numbers_kept_as_objects_are_numbers() -> None:
    frame = pd.DataFrame({"a": pd.Series([1, 2.5, None, 4] * 15, dtype=object), "y": [0, 1] * 30})
    assert Task.from_frame(frame, "y").feature_names == ("a",)


@pytest.mark.parametrize("dtype", [bool, "boolean", object])
def test_booleans_are_categories_in_every_type(dtype: Any) -> None:
    frame = pd.DataFrame({"flag": pd.Series([True, False] * 30, dtype=dtype), "y": [0, 1, 1] * 20})
    assert Task.from_frame(frame, "y").feature_names == ("flag_False", "flag_True")


def test_a_column_empty_in_the_training_rows_is_named() -> None:
    column = np.full(ROWS, np.nan)
    column[72:96] = 1.0
    with pytest.raises(TaskError, match="column 'gone' has no value in the training split; drop it"):
        Task.from_frame(pd.DataFrame({"kept": X[:, 0], "gone": column, "y": Y}), "y", split=GIVEN)


# --- nothing is learnt from validation and test rows ----------------------------------------------------------------

OPTIONS: list[dict[str, Any]] = [{}, {"clip": 1.5}, {"transform": PCA(2)}, {"standardize": False}]


@pytest.mark.parametrize("options", OPTIONS)
def test_other_rows_change_nothing_in_the_training_split(options: dict[str, Any]) -> None:
    changed = X.copy()
    changed[72:] = 1e3 * RNG.normal(size=(ROWS - 72, 3))
    before, after = (Task.from_arrays(data, Y, split=GIVEN, **options) for data in (X, changed))
    assert torch.equal(before.train.x, after.train.x)
    assert torch.equal(before.preprocess(X), after.preprocess(X))  # so nothing that was fitted changed
    assert not torch.equal(before.validation.x, after.validation.x)
    assert before.fingerprint != after.fingerprint


@pytest.mark.parametrize("options", OPTIONS)
def test_other_rows_change_nothing_in_the_training_split_of_a_table(options: dict[str, Any]) -> None:
    frame = make_frame()
    changed = frame.copy()
    changed.loc[72:, "size"] = 1e6
    changed.loc[72:, "count"] = pd.NA
    changed.loc[72:, "colour"] = [f"colour {row}" for row in range(72, ROWS)]
    before, after = (Task.from_frame(data, "y", split=GIVEN, **options) for data in (frame, changed))
    assert before.feature_names == after.feature_names
    assert torch.equal(before.train.x, after.train.x)
    assert torch.equal(before.preprocess(frame), after.preprocess(frame))


def test_other_rows_change_nothing_in_the_target_scale() -> None:
    y = RNG.normal(size=ROWS)
    changed = y.copy()
    changed[72:] *= 100
    before, after = Task.from_arrays(X, y, split=GIVEN), Task.from_arrays(X, changed, split=GIVEN)
    assert torch.equal(before.train.y, after.train.y)
    assert torch.equal(before.target_std, after.target_std)


# --- raw rows later -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [*OPTIONS, {"clip": 2, "transform": PolynomialFeatures(2), "seed": 4}])
def test_raw_rows_are_preprocessed_like_those_of_the_task(options: dict[str, Any]) -> None:
    task = Task.from_arrays(X, Y, **options)
    assert torch.equal(task.preprocess(X[divided(task)[1]]), task.validation.x)
    frame = make_frame()
    table = Task.from_frame(frame, "y", **options)
    rows = divided(table)[1]
    assert torch.equal(table.preprocess(frame.iloc[rows].drop(columns="y")), table.validation.x)


def test_raw_rows_of_another_kind_are_refused() -> None:
    task = Task.from_arrays(X, Y)
    with pytest.raises(TaskError, match=r"rows have the shape \(2,\), this task's have \(3,\)"):
        task.preprocess(X[:, :2])
    with pytest.raises(TaskError, match="1 NaN or infinite value, first in column 1"):
        task.preprocess([[0, float("nan"), 0]])
    table = Task.from_frame(make_frame(), "y")
    with pytest.raises(TaskError, match="made from a DataFrame: give one with the columns size, count, colour"):
        table.preprocess(X)
    with pytest.raises(TaskError, match="column 'colour' is missing; did you mean 'color'"):
        table.preprocess(make_frame().rename(columns={"colour": "color"}))
    with pytest.raises(TaskError, match="column 'size' has infinite values; replace them by NaN"):
        table.preprocess(make_frame().assign(size=[1.0, np.inf] * 60))


def one_hot(trained: Any, given: Any) -> tuple[Task, torch.Tensor]:
    """A task on one column that is no number, and what it makes of other values of the column."""
    frame = pd.DataFrame({"n": np.arange(60.0), "c": trained, "y": np.arange(60) % 2})
    task = Task.from_frame(frame, "y", standardize=False)
    return task, task.preprocess(pd.DataFrame({"n": np.zeros(len(given)), "c": given}))[:, 1:]


TENS = pd.Series([10, 20, 30] * 20).astype("category")


@pytest.mark.parametrize(
    ("trained", "given", "wanted"),
    [
        ([True, False] * 30, [1, 0], [[0, 1], [1, 0]]),
        ([True, False] * 30, [1.0, 0.0], [[0, 1], [1, 0]]),
        ([True, False] * 30, pd.array([1, 0], dtype="Int64"), [[0, 1], [1, 0]]),
        (pd.Series([1, 0] * 30).astype("category"), [True, False], [[0, 1], [1, 0]]),
        (TENS, [10.0, 30.0], [[1, 0, 0], [0, 0, 1]]),
        (TENS, [20, 40], [[0, 1, 0], [0, 0, 0]]),
        (TENS, [20.0, 20.5], [[0, 1, 0], [0, 0, 0]]),
        (TENS.astype(float).astype("category"), [20, 10], [[0, 1, 0], [1, 0, 0]]),
        (TENS.astype(str), [20.0, 10], [[0, 1, 0], [1, 0, 0]]),
        # texts are taken as they stand, and so is what could be either of two
        (["1.0", "1"] * 30, ["1", "1.0"], [[1, 0], [0, 1]]),
        (["1", "2"] * 30, ["1.0", "2"], [[0, 0], [0, 1]]),
        (["007", "8"] * 30, [7, 8], [[0, 0], [0, 1]]),
    ],
)
def test_equal_values_of_other_types_are_the_same_category(trained: Any, given: Any, wanted: Any) -> None:
    assert one_hot(trained, given)[1].tolist() == wanted


def test_a_missing_value_beside_whole_numbers_turns_none_of_them_into_nothing() -> None:
    found = one_hot(TENS, [30.0, np.nan])[1]
    assert found[0].tolist() == [0, 0, 1]
    assert found[1].sum() == 1  # the most frequent


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([40, 50], "column 'c': none of its values, such as '40', was in .*; it expects '10', '20', '30'$"),
        (["x", None], "column 'c': none of its values, such as 'x', was in"),
    ],
)
def test_a_column_without_any_known_value_is_warned_of(given: Any, message: str) -> None:
    with pytest.warns(UserWarning, match=message) as told:
        found = one_hot(TENS, given)[1]
    assert len(told) == 1
    assert found[0].tolist() == [0, 0, 0]


def test_the_names_of_many_categories_are_cut_short() -> None:
    with pytest.warns(UserWarning, match=r"it expects 'a', 'b', 'c', 'd', 'e', 'f' and 4 more$"):
        one_hot(list("abcdefghij") * 6, ["z"])


def test_making_a_task_does_not_warn_of_rare_values() -> None:
    rare = np.array(["usual"] * 60, dtype=object)
    rows = np.arange(60)
    rare[40:] = "never in the training rows"
    split = Split.given(train=rows < 40, validation=rows >= 40)
    task = Task.from_frame(pd.DataFrame({"n": rows, "c": rare, "y": rows % 2}), "y", standardize=False, split=split)
    assert (task.validation.x[:, 1] == 0).all()


def test_decoding_gives_labels() -> None:
    task = Task.from_arrays(X, np.array(["b", "c", "a"])[Y])
    outputs = torch.nn.functional.one_hot(task.validation.y, 3).float().requires_grad_()
    assert task.classes == ("a", "b", "c")
    assert list(task.decode(outputs)) == list(np.array(["b", "c", "a"])[Y[divided(task)[1]]])


def test_values_beyond_float32_are_named() -> None:
    huge = X.copy()
    huge[5, 1] = 1e39
    with pytest.raises(TaskError, match=r"input 1 is 1e\+39 in row \d+ after preprocessing, which no float32 can hold"):
        Task.from_arrays(huge, Y, standardize=False)
