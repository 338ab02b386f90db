"""Reliability bins and Brier score against scikit-learn and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from workbench.metrics.calibration import brier_score, expected_calibration_error, reliability

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("bins", [1, 5, 10, 15])
def test_bins_agree_with_scikit_learn(bins: int) -> None:
    chances = np.concatenate([RNG.random(300), [0.0, 0.1, 0.2, 0.3, 0.7, 1.0]])
    happened = RNG.random(len(chances)) < chances
    found = reliability(chances, happened, bins)
    full = found[found["rows"] > 0]
    true, predicted = calibration_curve(happened, chances, n_bins=bins)
    np.testing.assert_allclose(full["accuracy"], true)
    np.testing.assert_allclose(full["confidence"], predicted)
    assert (len(found), found["rows"].sum()) == (bins, len(chances))


def test_the_expected_error_agrees_with_its_definition() -> None:
    chances, happened = RNG.random(200), RNG.random(200) < 0.5
    total = 0.0
    for low in np.arange(10) / 10:
        own = (chances > low) & (chances <= low + 0.1)
        if own.any():
            total += own.sum() / 200 * abs(happened[own].mean() - chances[own].mean())
    assert expected_calibration_error(reliability(chances, happened)) == pytest.approx(total)


def test_planted_overconfidence_is_measured() -> None:
    right = np.arange(1000) < 600
    found = reliability(np.full(1000, 0.95), right)
    assert expected_calibration_error(found) == pytest.approx(0.35)
    assert found["gap"].dropna().tolist() == [pytest.approx(-0.35)]
    assert np.isnan(expected_calibration_error(reliability(np.zeros(0), np.zeros(0))))
    assert np.isnan(expected_calibration_error(reliability(np.full(3, np.nan), np.ones(3))))


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_brier_score_agrees_with_scikit_learn(classes: int) -> None:
    chances = RNG.dirichlet(np.ones(classes), 100)
    targets = np.concatenate([np.arange(classes), RNG.integers(0, classes, 100 - classes)])
    own = chances[:, 1] if classes == 2 else chances
    assert brier_score(chances, targets) == pytest.approx(brier_score_loss(targets, own))
