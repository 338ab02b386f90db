"""The data tab: what it counts, what it never shows of the test rows, and what it escapes."""

from __future__ import annotations

import re
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA

import workbench as wb
from workbench.methods.data.figure import class_bars, target_histograms
from workbench.methods.data.overview import (
    class_sizes,
    group_sizes,
    imbalance,
    preprocessing_words,
    sample_pictures,
    sample_table,
    target_values,
)
from workbench.methods.data.tab import data_html
from workbench.methods.tabs import TABS

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({
    "age": RNG.normal(40, 10, 300).round(1), "city": RNG.choice(["north", "<b>south"], 300), "n": RNG.integers(0, 9, 300),
})  # fmt: skip


def text_of(shown: str) -> str:
    return re.sub(r"<[^>]*>", " ", shown)


@pytest.mark.parametrize("shares", [(0.6, 0.2, 0.2), (0.8, 0.2, 0)])
def test_classes_are_counted_in_the_open_splits_only(shares: tuple[float, ...]) -> None:
    y = np.repeat(["a", "b", "c"], [200, 80, 20])
    task = wb.Task.from_frame(FRAME.assign(y=y), "y", split=shares)
    sizes = class_sizes(task)
    assert sizes is not None
    for split in ("train", "validation"):
        truth = pd.Series(y[task.row_numbers[split]]).value_counts()
        assert sizes[split].to_dict() == truth.to_dict()
    assert sizes["share"].sum() == pytest.approx(1)
    assert "test" not in sizes
    if shares[2]:
        shown = text_of(data_html(task))
        assert "60 test rows, sealed" in shown
        cells = [re.findall(r"<td>([^<]*)</td>", row) for row in re.findall(r"<tr>.*?</tr>", data_html(task))]
        assert ["a", "120", "40", "66.7%"] in cells  # and not the 40 of the test rows


def test_row_numbers_cover_all_but_the_test_rows() -> None:
    task = wb.Task.load("digits")
    open_rows = np.concatenate([task.row_numbers["train"], task.row_numbers["validation"]])
    assert len(set(open_rows.tolist())) == len(open_rows) == 1797 - task.sizes["test"]
    assert set(task.row_numbers) == {"train", "validation"}


@pytest.mark.parametrize(("counts", "said"), [([100, 100, 100], False), ([250, 30, 20], True), ([160, 80, 60], False)])
def test_uneven_classes_are_named_with_what_they_mean(counts: list[int], said: bool) -> None:
    task = wb.Task.from_frame(FRAME.assign(y=np.repeat(["<i>a", "b", "c"], counts)), "y")
    sizes = class_sizes(task)
    assert sizes is not None
    text = imbalance(sizes)
    assert bool(text) == said
    if said:
        share = task.baseline.metric
        assert f"{share:.0%}" in text  # the accuracy of always answering the most frequent class
        assert "'<i>a'" in text
        assert "<i>" not in data_html(task)


def test_groups_are_counted_by_split() -> None:
    assert group_sizes(wb.Task.from_frame(FRAME.assign(y=RNG.normal(size=300)), "y")) is None
    frame = FRAME.assign(patient=[f"p{n}" for n in RNG.integers(0, 40, 300)], y=RNG.normal(size=300))
    task = wb.Task.from_frame(frame, "y", split=wb.Split.grouped("patient"))
    found = group_sizes(task)
    assert found is not None
    for split in ("train", "validation"):
        truth = frame["patient"].iloc[task.row_numbers[split]].value_counts()
        expected = [len(task.row_numbers[split]), len(truth), truth.min(), truth.median(), truth.max()]
        assert found.loc[split].tolist() == expected
    assert "Groups" in data_html(task)
    assert list(found.index) == ["train", "validation"]


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_targets_are_in_their_own_unit(scale: float) -> None:
    y = scale * RNG.normal(7, 2, 300)
    task = wb.Task.from_frame(FRAME.assign(y=y, z=-y), ["y", "z"])
    values = target_values(task)
    assert values is not None
    for split in ("train", "validation"):
        np.testing.assert_allclose(values[split]["y"], y[task.row_numbers[split]], rtol=1e-4)
        np.testing.assert_allclose(values[split]["z"], -y[task.row_numbers[split]], rtol=1e-4)
    figure = target_histograms(values)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        f"{name}: share of the rows of a split" for name in "yz"
    ]
    assert class_sizes(task) is None


def test_labels_and_positions_are_counted() -> None:
    X = RNG.normal(size=(200, 3))
    y = (X > 0.5).astype(int)
    task = wb.Task.from_arrays(X, y, kind="multilabel")
    sizes = class_sizes(task)
    assert sizes is not None
    for split in ("train", "validation"):
        assert sizes[split].tolist() == y[task.row_numbers[split]].sum(0).tolist()
    open_rows = np.concatenate([task.row_numbers["train"], task.row_numbers["validation"]])
    np.testing.assert_allclose(sizes["share"], y[open_rows].mean(0))
    assert target_values(task) is None
    assert "rows by label" in class_bars(sizes).axes[0].get_title(loc="left")
    images = RNG.normal(size=(60, 1, 4, 4))
    task = wb.Task.from_arrays(images, (images[:, 0] > 1).astype(int), kind="dense")
    sizes = class_sizes(task)
    assert sizes is not None
    assert sizes[["train", "validation"]].to_numpy().sum() == 16 * (len(task.train) + len(task.validation))
    assert data_html(task).count("<figure") == 20
    task = wb.Task.from_arrays(X, RNG.poisson(3, 200), kind="count")
    values = target_values(task)
    assert values is not None
    assert set(values["train"]["y"]) <= set(range(20))
    assert "Target" in text_of(data_html(task))


def test_bars_are_as_long_as_the_counts() -> None:
    sizes = class_sizes(wb.Task.load("wine"))
    assert sizes is not None
    axes = class_bars(sizes).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [*sizes["train"], *sizes["validation"]]
    many = pd.DataFrame({"train": np.arange(50), "validation": 1, "share": np.arange(50) / 1225}, index=range(50))
    axes = class_bars(many).axes[0]
    assert len(axes.get_yticklabels()) == 30
    assert axes.get_yticklabels()[0].get_text() == "49"


def test_sample_rows_are_raw_training_rows() -> None:
    frame = FRAME.assign(y=RNG.normal(size=300))
    frame.loc[::2, "age"] = np.nan
    task = wb.Task.from_frame(frame, "y")
    shown = sample_table(task)
    assert shown is not None
    assert list(shown) == ["y", "age", "city", "n"]
    trained = frame.iloc[task.row_numbers["train"]]
    for row in shown.itertuples():
        same = trained[trained["y"] == row.y]
        assert len(same) == 1
        assert same["city"].item() == row.city
    assert shown["age"].isna().any()  # as they are, and not as they are filled in
    assert "nan" not in text_of(data_html(task)).lower()
    assert "<b>" not in data_html(task)


def test_pictures_are_of_the_classes_in_turn() -> None:
    task = wb.Task.load("digits")
    found = sample_pictures(task)
    assert found is not None
    pictures, labels = found
    assert labels[:10] == [str(digit) for digit in range(10)]
    from sklearn.datasets import load_digits

    raw = load_digits().data.reshape(-1, 1, 8, 8)[task.row_numbers["train"]]
    for picture in pictures:
        assert (np.abs(raw - picture).max((1, 2, 3)) < 1e-3).any()
    assert sample_table(task) is None
    assert data_html(task).count("<figure") == 20


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["2 columns of numbers", "1 column of text (city)", "Standardized per feature"]),
        ({"clip": 3.0}, ["mean ± 3 standard"]),
        ({"standardize": False}, ["Not standardized"]),
        ({"categories": "codes"}, ["(city): codes from 1", "Standardized per feature"]),
    ],
)
def test_preprocessing_is_said_in_words(options: dict[str, Any], words: list[str]) -> None:
    said = " ".join(preprocessing_words(wb.Task.from_frame(FRAME.assign(y=RNG.normal(size=300)), "y", **options)))
    for part in [*words, "fitted on the training rows alone"]:
        assert part in said


@pytest.mark.parametrize(
    ("X", "options", "words"),
    [
        (RNG.integers(0, 256, (60, 3, 4, 4), dtype=np.uint8), {}, "Standardized per channel, over rows and pixels."),
        (RNG.normal(size=(60, 9, 2)), {}, "Standardized per channel, over rows and time."),
        (RNG.integers(0, 7, (60, 4)), {"inputs": "tokens"}, "Tokens, kept as they are, below 7."),
        (RNG.normal(size=(60, 3, 4, 4)), {"transform": PCA(5)}, "Standardized per feature."),
        (
            {"a": RNG.normal(size=(60, 2)), "b": RNG.normal(size=(60, 5, 2))},
            {},
            "b: standardized per channel, over rows and time.",
        ),
    ],
)
def test_scaling_is_named_by_the_kind_of_input(X: Any, options: dict[str, Any], words: str) -> None:
    assert words in preprocessing_words(wb.Task.from_arrays(X, np.arange(60) % 2, **options))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pictures_have_the_values_of_the_data(dtype: Any) -> None:
    X = RNG.integers(0, 256, (60, 3, 4, 4)).astype(dtype)
    task = wb.Task.from_arrays(X, np.arange(60) % 2)
    found = sample_pictures(task)
    assert found is not None
    for picture in found[0]:
        assert (np.abs(X - picture).max((1, 2, 3)) < 1e-3).sum() == 1


def test_the_facts_are_there_at_once_and_the_rest_when_the_tab_is_in_front() -> None:
    frame = FRAME.assign(one=1.0, y=RNG.normal(size=300))
    bench = wb.Workbench(wb.Task.from_frame(frame, "y"))
    view = bench.presenter.build(bench, TABS)
    body = view.body("Data")
    assert "constant in the training rows" in text_of(body.facts.value)  # a warning of the task
    bench.presenter.tick()
    assert body.rest.value == ""
    view.tabs.selected_index = view.tabs.titles.index("Data")
    deadline = time.monotonic() + 60
    while not body.rest.value:
        bench.presenter.tick()
        assert time.monotonic() < deadline
    assert body.rest.value == data_html(bench.task)


# --- folds --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"groups": "who"}, {"order": "when"}], ids=["random", "grouped", "ordered"]
)  # fmt: skip
def test_under_folds_all_rows_outside_the_test_set_are_counted_once(options: dict[str, str]) -> None:
    rng = np.random.default_rng(5)
    y = np.repeat(["a", "b", "c"], [60, 60, 30])
    frame = pd.DataFrame({"x": rng.normal(size=150), "who": np.arange(150) % 10, "when": rng.permutation(150), "y": y})
    task = wb.Task.from_frame(frame, "y", split=wb.Split.folds(3, **options))
    sizes = class_sizes(task)
    assert sizes is not None
    assert task.folds is not None
    members = task.folds.members
    rows = set().union(*(set(own.row_numbers[split]) for own in members for split in ("train", "validation")))
    assert sizes["open"].sum() == len(rows) == 150 - task.sizes["test"]
    assert sizes["open"].to_dict() == pd.Series(y)[sorted(rows)].value_counts().to_dict()
    for name in "abc":
        counts = [int((y[own.row_numbers["validation"]] == name).sum()) for own in members]
        assert sizes.loc[name, "fewest"] == min(counts)
    assert sizes["share"].sum() == pytest.approx(1)
    assert "outside the test set" in data_html(task)
    assert ">training<" not in data_html(task)
    assert "separately for each fold" in data_html(task)
    groups = group_sizes(task)
    assert (groups is None) == ("groups" not in options)
    if groups is not None:
        assert groups.loc["open", ["rows", "groups"]].tolist() == [len(rows), frame["who"][sorted(rows)].nunique()]


def test_numbers_under_folds_are_those_of_all_rows_outside_the_test_set() -> None:
    y = np.random.default_rng(5).normal(50, 3, 90)
    task = wb.Task.from_arrays(y[:, None] + 1, y, split=wb.Split.folds(3))
    values = target_values(task)
    assert values is not None
    assert list(values) == ["open"]
    assert set(values["open"].iloc[:, 0]) <= set(y)
    assert len(values["open"]) == 90 - task.sizes["test"]
    assert "outside the test set" in target_histograms(values).axes[0].get_title(loc="left")
