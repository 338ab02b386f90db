"""A trained model's answers: those of a plain pipeline, and to the last bit the same in a process that loads its file."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import workbench as wb
from tests.runs.trained_cases import MAKERS, NAMES, Case, own_code
from workbench.core.errors import TaskError
from workbench.methods.ensembles.ensemble import load_model
from workbench.runs.trained_model import TrainedModel, save_model
from workbench.tasks import Task
from workbench.training import Training, prepare

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import pickle, sys, traceback
from pathlib import Path
import numpy as np
import workbench as wb

folder = Path(sys.argv[1])
answers = {}
for name, (rows, options) in pickle.loads((folder / "rows").read_bytes()).items():
    if "models" in options:
        import mine
        options = {"models": {"gated": mine.build}}
    model = wb.load_model(folder / f"{name}.pt", **options)
    proba = model.predict_proba(rows) if model.schema.classes else None
    answers[name] = (model.predict(rows), proba, model.preprocess(rows), repr(model), model.config.changed(), model.versions)
assert "workbench.log" not in sys.modules and "sqlalchemy" not in sys.modules
(folder / "answers").write_bytes(pickle.dumps(answers))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where models are saved, with a module of the user's own beside them."""
    with own_code(tmp_path_factory.mktemp("models")) as folder:
        yield folder


@pytest.fixture(scope="module")
def cases(folder: Path) -> dict[str, Case]:
    return {make.__name__: make() for make in MAKERS}


@pytest.fixture(scope="module")
def answers(cases: dict[str, Case], folder: Path) -> dict[str, Any]:
    """What a process that has seen neither tasks nor log answers from the files."""
    for name, case in cases.items():
        assert save_model(case.model, folder / f"{name}.pt") == folder / f"{name}.pt"
    rows = {name: (case.rows, dict.fromkeys(case.options) | case.options) for name, case in cases.items()}
    rows["own_model"] = (cases["own_model"].rows, {"models": None})
    (folder / "rows").write_bytes(pickle.dumps(rows))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    script = [sys.executable, "-W", "error", "-c", CHILD, str(folder)]
    done = subprocess.run(script, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = pickle.loads((folder / "answers").read_bytes())
    return found


# --- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_are_those_of_a_plain_pipeline(name: str, cases: dict[str, Case]) -> None:
    model, rows, _, prepared, forward, labels = cases[name]
    np.testing.assert_allclose(model.preprocess(rows), prepared, atol=2e-5)
    with torch.no_grad():
        outputs = forward(model.module, torch.tensor(prepared, dtype=torch.float32)).double().numpy()
    if model.schema.classes is None:
        mean, spread = labels
        numbers = outputs * spread + mean
        wanted = numbers[:, 0] if name == "own_model" else numbers  # its target is (rows,)
        np.testing.assert_allclose(model.predict(rows), wanted, rtol=1e-4)
        assert model.predict(rows).dtype == np.float64
        return
    assert model.predict_proba(rows).dtype == np.float64
    np.testing.assert_allclose(model.predict_proba(rows).sum(1), 1, atol=1e-14)
    odds = np.exp(outputs)
    np.testing.assert_allclose(model.predict_proba(rows), odds / odds.sum(1, keepdims=True), atol=1e-4)
    clear = np.sort(odds / odds.sum(1, keepdims=True), 1)[:, -2:] @ [-1, 1] > 1e-3  # no tie that rounding decides
    assert clear.mean() > 0.9
    assert list(model.predict(rows)[clear]) == list(labels[outputs.argmax(1)][clear])
    assert len(set(model.predict(rows))) > 1


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_process_gives_the_same_answers_to_the_last_bit(
    name: str, cases: dict[str, Case], answers: dict[str, Any]
) -> None:
    model, rows = cases[name].model, cases[name].rows
    labels, proba, prepared, shown, changed, versions = answers[name]
    assert torch.equal(model.preprocess(rows), prepared)
    assert labels.dtype == model.predict(rows).dtype
    np.testing.assert_array_equal(labels, model.predict(rows))
    if proba is not None:
        np.testing.assert_array_equal(proba, model.predict_proba(rows))
    assert shown == repr(model)
    assert (changed, versions) == (model.config.changed(), model.versions)
    assert versions["torch"] == torch.__version__
    assert versions["workbench"] == wb.__version__


def test_the_model_tells_what_it_is(cases: dict[str, Case]) -> None:
    shown = repr(cases["digits"].model)
    assert shown == "<TrainedModel trial 7 (mlp, epoch 2) on 'digits': inputs (1, 8, 8), 10 classes>"
    model = cases["own_model"].model
    plain = TrainedModel(model.module, model.config, model.schema)
    assert repr(plain) == "<TrainedModel (gated) on 'diabetes': inputs (10,), 1 target>"


def test_predicting_leaves_the_training_flags_alone_and_is_never_in_training_mode(cases: dict[str, Case]) -> None:
    """With dropout and batch normalisation, whose statistics must stay; a frozen part stays in its own mode."""
    model, rows = cases["digits"].model, cases["digits"].rows
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wanted = model.predict_proba(rows)
    assert not model.training
    assert model.module(model.preprocess(rows[:2])).requires_grad  # so predicting does switch gradients off
    model.train()
    model.module[2].eval()
    np.testing.assert_array_equal(model.predict_proba(rows), wanted)
    assert [part.training for part in model.modules()].count(False) == 1
    assert not model.module[2].training
    model.eval()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_training_flags_come_back_when_the_module_raises(cases: dict[str, Case]) -> None:
    model = TrainedModel(nn.Sequential(nn.Linear(3, 2)), cases["digits"].model.config, cases["digits"].model.schema)
    model.train()
    with pytest.raises(RuntimeError):
        model.predict(cases["digits"].rows)
    assert all(part.training for part in model.modules())


def test_many_rows_go_through_the_module_in_pieces(cases: dict[str, Case]) -> None:
    model, rows = cases["pictures"].model, cases["pictures"].rows
    many, sizes = np.concatenate([rows] * 5), []
    handle = model.module.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    found = model.predict_proba(many)
    handle.remove()
    assert sum(sizes) == len(many) == len(found)
    assert max(sizes) <= 4096
    assert len(sizes) > 1
    np.testing.assert_allclose(found[-len(rows) :], model.predict_proba(rows), atol=1e-6)


def test_forward_takes_prepared_rows(cases: dict[str, Case]) -> None:
    model, rows = cases["table"].model, cases["table"].rows
    assert isinstance(model, nn.Module)
    assert torch.equal(model(model.preprocess(rows)), model.module(model.preprocess(rows)))
    assert list(model.predict(rows)) == list(model.schema.decode(model(model.preprocess(rows))))


def test_a_model_of_another_precision_keeps_it(cases: dict[str, Case], tmp_path: Path) -> None:
    task, config = Task.load("iris"), wb.Config(epochs=1)
    training = Training(task, {1: prepare(task, config)}, dtype=torch.float64)
    list(training.moments())
    model = TrainedModel(training.module(1), config, task.schema)
    again = load_model(save_model(model, tmp_path / "model.pt"))
    rows = np.random.default_rng(0).normal(3, 2, (20, 4))
    assert {value.dtype for value in again.module.state_dict().values()} == {torch.float64}
    np.testing.assert_array_equal(again.predict_proba(rows), model.predict_proba(rows))


def test_raw_rows_that_do_not_fit_keep_their_clear_errors(
    cases: dict[str, Case], answers: dict[str, Any], folder: Path
) -> None:
    frame = cases["table"].rows
    for model in (cases["table"].model, load_model(folder / "table.pt")):
        with pytest.raises(TaskError, match="the column 'colour' is missing; did you mean 'color'"):
            model.predict(frame.rename(columns={"colour": "color"}))
        with pytest.raises(TaskError, match="made from a DataFrame: give one with the columns size, colour, count"):
            model.predict(frame.to_numpy())
        with pytest.raises(TaskError, match="column 'size' holds numbers in the training rows, and now"):
            model.predict(frame.assign(size="big"))
        with pytest.raises(TaskError, match="the column 'size' occurs twice in the data"):
            model.predict(pd.concat([frame, frame[["size"]]], axis=1))
        with pytest.raises(TaskError, match="the data has no row"):
            model.predict(frame[:0])
        with pytest.warns(UserWarning, match="column 'colour': none of its values, such as 'never seen', was"):
            unseen = model.predict(frame.assign(colour="never seen", more=1))
        assert set(unseen) <= {"yes", "no"}
    model = load_model(folder / "digits.pt")
    with pytest.raises(TaskError, match=r"rows have the shape \(64,\), this task's have \(1, 8, 8\)"):
        model.predict(cases["digits"].rows.reshape(-1, 64))
    with pytest.raises(TaskError, match="'arrays' is a regression task: there are no classes.*use predict"):
        load_model(folder / "progression.pt").predict_proba(cases["progression"].rows)
