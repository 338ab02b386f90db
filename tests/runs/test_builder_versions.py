"""A builder that was edited makes another network: the weights of earlier trials are never put into it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import workbench as wb


def config(seed: int = 0) -> wb.Config:
    return wb.Config(model="mine", epochs=3, learning_rate=0.01, seed=seed)


def builder(activation: type[nn.Module]) -> Callable[..., nn.Module]:
    def build(task: Any, *, width: int = wb.IntRange(4, 64, default=8)) -> nn.Module:  # type: ignore[assignment]
        (inputs,) = task.input_shape
        return nn.Sequential(nn.Linear(inputs, width), activation(), nn.Linear(width, task.output_size))

    return build


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with one trial of the version with ReLU."""
    path = tmp_path / "trials.db"
    bench = wb.Workbench(wb.Task.load("iris"), log=path, models={"mine": builder(nn.ReLU)})
    bench.run(config())
    return path


NEEDS_WEIGHTS: dict[str, Callable[[wb.Workbench, Path], Any]] = {
    "model": lambda bench, folder: bench.model(1),
    "model of an epoch": lambda bench, folder: bench.model(1, epoch=2),
    "predict": lambda bench, folder: bench.predict(1, bench.task.validation.x[:2]),
    "save": lambda bench, folder: bench.save(1, folder / "one.wb"),
    "open_test_set": lambda bench, folder: bench.open_test_set(1),
    "ensemble": lambda bench, folder: bench.ensemble(trials=[1]),
    "layers": lambda bench, folder: bench.layers(1),
    "branch": lambda bench, folder: bench.branch(1, epoch=2),
    "replay": lambda bench, folder: bench.replay(1),
    "finetune": lambda bench, folder: bench.finetune(1),
}


@pytest.mark.parametrize("call", NEEDS_WEIGHTS)
def test_an_edited_builder_is_rejected_before_anything_is_recorded(log: Path, tmp_path: Path, call: str) -> None:
    bench = wb.Workbench(wb.Task.load("iris"), log=log, models={"mine": builder(nn.Sigmoid)})
    with pytest.raises(wb.ModelError, match="another version of the model 'mine'.*earlier, newest"):
        NEEDS_WEIGHTS[call](bench, tmp_path)
    assert len(bench.trials) == 1
    assert bench.openings.empty
    assert not (tmp_path / "one.wb").exists()


def test_an_earlier_version_brought_along_restores_its_trials(log: Path) -> None:
    task = wb.Task.load("iris")
    original = wb.Workbench(task, log=log, models={"mine": builder(nn.ReLU)})
    expected = original.predict(1, task.validation.x)
    both = wb.Workbench(task, log=log, models={"mine": [builder(nn.ReLU), builder(nn.Sigmoid)]})
    np.testing.assert_array_equal(both.predict(1, task.validation.x), expected)
    with pytest.raises(wb.ModelError, match="earlier version.*register that version last"):
        both.branch(1, epoch=2)
    (trial,) = both.run(config()).trials
    assert "Sigmoid" in repr(both.model(trial).module)
    assert "ReLU" in repr(both.model(1).module)


def test_versions_are_different_models_on_the_leaderboard_and_for_a_sampler(log: Path) -> None:
    bench = wb.Workbench(wb.Task.load("iris"), log=log, models={"mine": builder(nn.Sigmoid)})
    bench.run(config())
    assert list(bench.leaderboard()["seeds"]) == [1, 1]
    same = wb.Workbench(wb.Task.load("iris"), log=log, models={"mine": builder(nn.Sigmoid)})
    same.run(config(seed=1))
    assert sorted(same.leaderboard()["seeds"]) == [1, 2]


@pytest.mark.parametrize("models", [{"mine": []}, {"mine": [builder(nn.ReLU), 3]}, {"mine": 3}])
def test_versions_that_are_none(models: Any) -> None:
    with pytest.raises(wb.ConfigError, match="mine"):
        wb.Workbench(wb.Task.load("iris"), models=models)


def test_a_model_file_knows_the_version_of_its_builder(log: Path, tmp_path: Path) -> None:
    task = wb.Task.load("iris")
    bench = wb.Workbench(task, log=log, models={"mine": builder(nn.ReLU)})
    path, rows = bench.save(1, tmp_path / "one.pt"), task.validation.x
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = wb.load_model(path, models={"mine": builder(nn.ReLU)})
        both = wb.load_model(path, models={"mine": [builder(nn.ReLU), builder(nn.Sigmoid)]})
    np.testing.assert_array_equal(same.outputs(rows), bench.model(1).outputs(rows))
    np.testing.assert_array_equal(both.outputs(rows), bench.model(1).outputs(rows))
    with pytest.warns(
        UserWarning, match="one.pt: the code of the model 'mine' is not the one that the file was written with"
    ):
        wb.load_model(path, models={"mine": builder(nn.Sigmoid)})


def test_an_ensemble_file_knows_the_versions_of_its_builders(log: Path, tmp_path: Path) -> None:
    bench = wb.Workbench(wb.Task.load("iris"), log=log, models={"mine": builder(nn.ReLU)})
    path = bench.save(bench.ensemble(trials=[1]), tmp_path / "some.pt")
    with pytest.warns(UserWarning, match="some.pt: the code of the model 'mine' is not the one"):
        wb.load_model(path, models={"mine": builder(nn.Sigmoid)})
