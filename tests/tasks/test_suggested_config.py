"""The configuration that the interface begins with."""

from __future__ import annotations

import numpy as np
import pytest

import workbench as wb
from workbench.methods.tabs import TABS


@pytest.mark.parametrize(
    ("name", "epochs"),
    [
        ("digits", 300), ("moons", 490), ("mnist1d", 150), ("iris", 1500), ("wine", 1400), ("diabetes", 860),
        ("breast_cancer", 750),
    ],
)  # fmt: skip
def test_the_run_of_a_built_in_task_lasts_some_ten_seconds(name: str, epochs: int) -> None:
    """epochs: 10 s by the seconds an epoch that were measured, (3.9 + 0.86 steps) ms, to two digits."""
    task = wb.Task.load(name)
    assert task.suggested_config() == wb.Config(epochs=epochs)
    steps = -(-task.sizes["train"] // wb.Config().batch_size)
    assert epochs * (0.0039 + 0.00086 * steps) == pytest.approx(10, rel=0.05)


def test_folds_cost_two_runs_and_large_data_get_the_least() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 2)), rng.normal(size=300)
    one = wb.Task.from_arrays(X, y, split=(0.8, 0.2, 0.0)).suggested_config().epochs
    folds = wb.Task.from_arrays(X, y, split=wb.Split.folds(5, test=0.0)).suggested_config().epochs
    assert folds == pytest.approx(one / 2, rel=0.1)
    large = wb.Task.from_arrays(rng.normal(size=(60_000, 2)), rng.normal(size=60_000))
    assert large.suggested_config().epochs == 10


def test_the_controls_and_the_code_begin_with_it(bench: wb.Workbench) -> None:
    view = bench.presenter.build(bench, TABS)
    assert view.controls.read() == bench.task.suggested_config()
    assert view.code.text == f"run = bench.start({bench.task.suggested_config()!r})"
    assert wb.Config().epochs == 20  # calls keep their defaults


def test_a_range_has_to_contain_what_the_controls_begin_with() -> None:
    task = wb.Task.load("iris")
    with pytest.raises(wb.ConfigError, match=r"does not contain 1500.*widen it to \(5, 1500\)"):
        wb.Workbench(task, ranges={"epochs": (5, 50)})
    bench = wb.Workbench(task, controls=["epochs"], ranges={"epochs": (5, 2000)})
    assert bench.presenter.build(bench, TABS).controls.read().epochs == 1500
