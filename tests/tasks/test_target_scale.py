"""Targets as losses see them, and back in their own unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, PowerTransformer, StandardScaler

import workbench as wb
from workbench.core.errors import TaskError
from workbench.tasks.target_scale import TargetScale

RNG = np.random.default_rng(0)
Y = np.exp(RNG.normal(size=(200, 2))) * [1.0, 1e6]
X = RNG.normal(size=(200, 3))


@pytest.mark.parametrize("how", [None, "standardize", "log1p", MinMaxScaler(), PowerTransformer(), StandardScaler()])
def test_the_inverse_gives_the_targets_back(how: Any) -> None:
    scale = TargetScale(how, 2).fit(Y)
    back = scale.inverse(scale.apply(Y).double())
    np.testing.assert_allclose(back.numpy(), Y, rtol=2e-5)
    several = scale.inverse(torch.stack([scale.apply(Y), scale.apply(Y)]))
    np.testing.assert_allclose(several[1].numpy(), back.numpy())


def test_standardising_is_that_of_scikit_learn_and_log1p_of_the_logarithms() -> None:
    reference = StandardScaler().fit_transform(Y)
    np.testing.assert_allclose(TargetScale("standardize", 2).fit(Y).apply(Y).numpy(), reference, atol=1e-5)
    reference = StandardScaler().fit_transform(np.log1p(Y))
    np.testing.assert_allclose(TargetScale("log1p", 2).fit(Y).apply(Y).numpy(), reference, atol=1e-5)
    np.testing.assert_allclose(TargetScale(None, 2).fit(Y).apply(Y).numpy(), Y.astype(np.float32))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("log", "target_transform='log': must be 'standardize', 'log1p', None or a transformer"),
        (StandardScaler, "with fit, transform and inverse_transform"),
        (np.log, "with fit, transform and inverse_transform"),
        (FunctionTransformer(np.square), "misses y by up to|cannot be fitted"),
        (FunctionTransformer(np.abs, np.negative), "its inverse misses y by up to"),
        (FunctionTransformer(np.log, np.exp), "NaN or infinite"),
        (FunctionTransformer(lambda y: y[:, :1]), "it must keep the shape"),
        (3, "target_transform=3: must be"),
    ],
)
def test_a_transformation_that_cannot_be_used_is_rejected(how: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message), np.errstate(all="ignore"):
        wb.Task.from_arrays(X, np.column_stack([-Y[:, 0], Y[:, 1]]), target_transform=how)


def test_log1p_needs_values_above_minus_one() -> None:
    with pytest.raises(TaskError, match=r"target_transform='log1p': y has values down to -2, .*'standardize'"):
        wb.Task.from_arrays(X, np.r_[[-2.0] * 150, np.ones(50)], kind="regression", target_transform="log1p")


@pytest.mark.parametrize("how", ["standardize", "log1p", StandardScaler()])
def test_a_transformation_is_for_numbers(how: Any) -> None:
    with pytest.raises(TaskError, match=r"target_transform=.*: is for numbers, and this is a classification task"):
        wb.Task.from_arrays(X, np.arange(200) % 2, target_transform=how)


def test_it_is_fitted_on_the_training_rows_alone_and_part_of_the_identity() -> None:
    task = wb.Task.from_arrays(X, Y[:, 0], kind="regression")
    assert task.target_mean.item() == pytest.approx(task.train.target.mean().item())
    assert task.train.target.dtype == torch.float64
    other = wb.Task.from_arrays(X, Y[:, 0], kind="regression", target_transform=None)
    assert other.fingerprint != task.fingerprint
    np.testing.assert_allclose(other.train.y.numpy(), other.train.target.numpy(), rtol=1e-6)


def test_a_model_file_keeps_it(tmp_path: Any) -> None:
    for how in ("log1p", PowerTransformer()):
        bench = wb.Workbench(wb.Task.from_arrays(X, Y[:, 1], target_transform=how))
        bench.run(wb.Config(epochs=1))
        bench.save(1, tmp_path / "model.pt")
        loaded = wb.load_model(tmp_path / "model.pt")
        np.testing.assert_allclose(loaded.predict(X), bench.predict(1, X))


@pytest.mark.parametrize("how", ["standardize", "log1p"])
@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e6 + 0.1, 0.0])
@pytest.mark.parametrize("rows", [3, 37, 1000])
def test_a_target_that_the_training_rows_have_one_value_of_is_not_divided_by_rounding(
    how: str, value: float, rows: int
) -> None:
    scale = TargetScale(how, 1).fit(np.full((rows, 1), value))
    assert scale.std.item() == 1
    later = np.array([[value], [value + 1]])
    assert scale.apply(later).abs().max() <= 1.001
    np.testing.assert_allclose(scale.inverse(scale.apply(later)).numpy(), later, rtol=1e-6, atol=1e-6)
