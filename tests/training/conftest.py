from __future__ import annotations

import numpy as np
import pytest

import workbench as wb


@pytest.fixture(scope="session")
def flowers() -> wb.Task:
    """Three noisy classes, 90 training rows: a ragged last batch at batch size 16."""
    rng = np.random.default_rng(0)
    y = np.arange(150) % 3
    return wb.Task.from_arrays(rng.normal(0, 1, (150, 6)) + y[:, None] * 0.5, y, name="three classes")


@pytest.fixture(scope="session")
def numbers() -> wb.Task:
    rng = np.random.default_rng(1)
    X = rng.normal(0, 1, (150, 6))
    return wb.Task.from_arrays(X, X[:, :2] @ [[1.0], [-2.0]] + rng.normal(0, 0.3, (150, 1)), name="numbers")
