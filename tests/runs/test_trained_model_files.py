"""The file of a trained model: what it asks for before it is loaded, and what it refuses."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import FunctionTransformer
from torch import nn

import workbench as wb
from tests.runs.trained_cases import Case, digits, own_code, own_model, own_transformer, table, trained
from workbench.core import files
from workbench.core.errors import CheckpointError
from workbench.core.registry import ACTIVATIONS, LOSSES, MODELS, OPTIMIZERS, SCHEDULES
from workbench.methods.ensembles.ensemble import load_model
from workbench.runs.trained_model import TrainedModel, save_model
from workbench.tasks import Task

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where models are saved, with a module of the user's own beside them."""
    with own_code(tmp_path_factory.mktemp("models")) as folder:
        yield folder


@pytest.fixture(scope="module")
def cases(folder: Path) -> dict[str, Case]:
    """Some models, all of them saved."""
    cases = {make.__name__: make() for make in (digits, table, own_model, own_transformer)}
    for name, case in cases.items():
        save_model(case.model, folder / f"{name}.pt")
    return cases


# --- a model of the user's own --------------------------------------------------------------------------------------


@pytest.fixture
def unregistered(cases: dict[str, Case]) -> Iterator[None]:
    """The process has not seen the user's model."""
    entry = MODELS["gated"]
    MODELS.unregister("gated")
    yield
    wb.register_model("gated", entry.value)


@pytest.mark.usefixtures("unregistered")
def test_the_builder_of_a_model_of_the_users_own_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    wanted = (
        r"own_model.pt was trained with a model of your own, 'gated'; give its builder: "
        r"wb.load_model\('own_model.pt', models=\{'gated': build\}\)"
    )
    with pytest.raises(CheckpointError, match=wanted):
        load_model("own_model.pt")
    with pytest.raises(CheckpointError, match=wanted):
        load_model("own_model.pt", models={"other": lambda task: nn.Linear(1, 1)})
    MODELS.unregister("other")


def own(make: Callable[[int, int], nn.Module]) -> Callable[..., nn.Module]:
    def build(task: Any, *, width: int = wb.IntRange(2, 64)) -> nn.Module:  # type: ignore[assignment]
        return make(task.input_shape[0], width)

    return build


def raising(task: Any, *, width: int = wb.IntRange(2, 64)) -> nn.Module:  # type: ignore[assignment]
    return nn.Linear(len(task.train.x), width)


def renamed(task: Any, *, size: int = wb.IntRange(2, 64)) -> nn.Module:  # type: ignore[assignment]
    return nn.Linear(10, size)


class Wider(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(inputs, width + 1), nn.Linear(width + 1, 1)
        self.register_buffer("shift", torch.zeros(width + 1))


@pytest.mark.usefixtures("unregistered")
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (own(lambda i, w: nn.Linear(i, w)), "'gated' builds a parameter 'weight' that the file does not have; the builder"),
        (own(lambda i, w: nn.ModuleDict({"first": nn.Linear(i, w)})), r"builds no parameter '.*', which the file has"),
        (own(Wider), r"builds a parameter '(shift|first.weight)' of shape \((6|6, 10)[,)].* is \((5|5, 10)[,)].* in the file"),
        (raising, "'gated': its builder raised AttributeError: .*'train'; a builder is given what the file says of the task"),
        (renamed, "unknown hyperparameter 'width'.*the model was built with it"),
    ],
)  # fmt: skip
def test_another_builder_is_told_by_the_first_parameter_that_differs(build: Any, message: str, folder: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_model(folder / "own_model.pt", models={"gated": build})


@pytest.mark.usefixtures("unregistered")
def test_a_given_builder_replaces_the_one_before(folder: Path, cases: dict[str, Case]) -> None:
    mine, rows = importlib.import_module("mine"), cases["own_model"].rows
    wb.register_model("gated", own(lambda inputs, width: nn.Linear(inputs, width)))
    model = load_model(folder / "own_model.pt", models={"gated": mine.build})
    np.testing.assert_array_equal(model.predict(rows), cases["own_model"].model.predict(rows))
    with pytest.raises(CheckpointError, match="'gated' builds"):  # what is given is for this file only
        load_model(folder / "own_model.pt")


def test_a_builtin_name_taken_by_a_model_of_the_users_own(folder: Path, cases: dict[str, Case]) -> None:
    entry = MODELS["mlp"]
    try:
        # as by a version that had no model of that name yet
        MODELS.register("mlp", own(lambda inputs, width: nn.Linear(inputs, width)))
        with pytest.raises(CheckpointError, match="a model of your own has taken its name here"):
            load_model(folder / "digits.pt")
    finally:
        MODELS.register(**vars(entry))


# --- configurations that are not known here -------------------------------------------------------------------------------


def test_choices_of_training_that_are_not_registered_here_do_not_matter(tmp_path: Path) -> None:
    def loss(outputs: torch.Tensor, targets: torch.Tensor, *, sharpness: float = wb.Range(0.5, 4.0)) -> torch.Tensor:  # type: ignore[assignment]
        return nn.functional.cross_entropy(sharpness * outputs, targets, reduction="none")

    def rule(*, haste: float = wb.Range(0.0, 1.0)) -> Any:  # type: ignore[assignment]
        return torch.optim.SGD, {"momentum": haste}

    wb.register_loss("sharp", loss, link="softmax")
    wb.register_optimizer("hasty", rule)
    wb.register_schedule("flat", lambda rate, progress: rate)
    try:
        config = wb.Config(
            loss="sharp", optimizer="hasty", schedule="flat", sharpness=2.0, haste=0.5, hidden_units=8, epochs=1
        )
        model = trained(Task.load("iris"), config)
        place = save_model(model, tmp_path / "model.pt")
        assert load_model(place).config == model.config
    finally:
        for table, name in ((LOSSES, "sharp"), (OPTIMIZERS, "hasty"), (SCHEDULES, "flat")):
            table.unregister(name)
    with pytest.warns(UserWarning, match="model.pt: .*predictions do not depend on it") as caught:
        again = load_model(place)
    for told in ("loss='sharp'", "optimizer='hasty'", "schedule='flat'", "sharpness=2.0", "haste=0.5"):
        assert told in str(caught[0].message)
    assert caught[0].filename == __file__
    assert again.config.changed() == {"hidden_units": 8, "epochs": 1}
    rows = np.random.default_rng(0).normal(3, 2, (20, 4))
    np.testing.assert_array_equal(again.predict_proba(rows), model.predict_proba(rows))


def test_predictions_depend_on_the_link_of_the_loss_which_the_file_keeps(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(120, 3))

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs.exp() - targets).square().mean(-1)

    task = Task.from_arrays(X, np.exp(X[:, 0]) * 1e3)
    wanted = {}
    for name, link in (("by_name", "exp"), ("by_function", torch.exp)):
        wb.register_loss(name, loss, kinds=["regression"], link=link, transformed=False)
        try:
            model = trained(task, wb.Config(loss=name, hidden_units=8, epochs=1))
            wanted[name] = model.predict(X)
            save_model(model, tmp_path / f"{name}.pt")
        finally:
            LOSSES.unregister(name)
    with pytest.warns(UserWarning, match="loss='by_name'"):
        again = load_model(tmp_path / "by_name.pt")
    np.testing.assert_array_equal(again.predict(X), wanted["by_name"])
    assert (wanted["by_name"] > 0).all()
    with (
        pytest.warns(UserWarning, match="by_function"),
        pytest.raises(CheckpointError, match="'by_function', whose link= is a function"),
    ):
        load_model(tmp_path / "by_function.pt")


def test_a_choice_that_the_model_was_built_with_does_matter(tmp_path: Path) -> None:
    ACTIVATIONS.register("cube", nn.Hardtanh)
    try:
        place = save_model(trained(Task.load("iris"), wb.Config(activation="cube", epochs=1)), tmp_path / "model.pt")
    finally:
        ACTIVATIONS.unregister("cube")
    with pytest.raises(
        CheckpointError, match=r"model.pt: activation='cube': must be one of .*the model was built with it"
    ):
        load_model(place)


def test_a_hyperparameter_of_a_newer_version(
    cases: dict[str, Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, usual = cases["table"].model, files.pack

    def newer(reads: list[str]) -> Callable[..., bytes]:
        def pack(kind: str, content: dict[str, Any]) -> bytes:
            config = {**content["config"], "quantum": 3}
            return usual(kind, {**content, "config": config, "reads": content["reads"] + reads})

        return pack

    monkeypatch.setattr(files, "pack", newer([]))
    save_model(model, tmp_path / "model.pt")
    with pytest.warns(UserWarning, match="quantum=3 is not known here"):
        load_model(tmp_path / "model.pt")
    monkeypatch.setattr(files, "pack", newer(["quantum"]))
    save_model(model, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="unknown hyperparameter 'quantum'.*the model was built with it"):
        load_model(tmp_path / "model.pt")


# --- what a file may hold -------------------------------------------------------------------------------------------


def test_a_transformer_of_the_users_own_must_be_trusted_by_name(folder: Path, cases: dict[str, Case]) -> None:
    wanted = r"own_transformer.pt: transform= holds mine.Halved, .*wb.load_model\(path, trusted=\['mine.Halved'\]\)"
    for trusted in ([], ["mine.Other"], "mine"):
        with pytest.raises(CheckpointError, match=wanted.replace(r"\['mine", r"\[.*'mine")):
            load_model(folder / "own_transformer.pt", trusted=trusted)
    assert load_model(folder / "own_transformer.pt", trusted="mine.Halved").trial == 7


def test_what_is_not_trusted_is_not_even_imported(folder: Path, cases: dict[str, Case]) -> None:
    script = (
        "import sys, workbench as wb\n"
        "try: wb.load_model('own_transformer.pt')\n"
        "except wb.CheckpointError as error: assert 'mine.Halved' in str(error)\n"
        "else: raise SystemExit('it was loaded')\n"
        "assert 'mine' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, check=True)


def test_a_trusted_class_that_is_not_there(
    folder: Path, cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(sys.modules["mine"], "Halved")
    with pytest.raises(
        CheckpointError, match="transform= cannot be made again: .*Halved.*; import or define the classes"
    ):
        load_model(folder / "own_transformer.pt", trusted=["mine.Halved"])


def hidden() -> Any:
    class Inner(FunctionTransformer):
        pass

    return Inner()


@pytest.mark.parametrize(
    ("transform", "reason"),
    [(FunctionTransformer(lambda X: X * 2), "it holds <lambda>"), (hidden(), "Inner"), (hidden, "hidden")],
)
def test_a_transformer_that_cannot_be_saved_says_so_at_once(transform: Any, reason: str, tmp_path: Path) -> None:
    if transform is hidden:
        transform = FunctionTransformer(kw_args={"order": iter(())}, func=np.sort)
        reason = "iterator"
    task = Task.load("iris", standardize=False, transform=FunctionTransformer())
    fitted = transform.fit(np.ones((3, 4)))
    task.schema.preprocessing._transform = fitted
    model = TrainedModel(nn.Linear(4, 3), wb.Config(), task.schema)
    with pytest.raises(
        CheckpointError, match=rf"(?s)model.pt' was not written: transform=.* cannot be saved .*{reason}.*; define"
    ):
        save_model(model, tmp_path / "model.pt")
    assert list(tmp_path.iterdir()) == []


def test_the_path(cases: dict[str, Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = cases["table"].model
    monkeypatch.setenv("HOME", str(tmp_path))
    assert save_model(model, "~/model.pt") == tmp_path / "model.pt"
    assert load_model("~/model.pt").epoch == 3
    before = (tmp_path / "model.pt").read_bytes()
    model.module[1].weight.data += 0  # unchanged: the same file again, in place of the old one
    save_model(model, str(tmp_path / "model.pt"))
    assert len((tmp_path / "model.pt").read_bytes()) == len(before)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
    with pytest.raises(CheckpointError, match=r"there is no folder .*nowhere'; make it first"):
        save_model(model, tmp_path / "nowhere" / "model.pt")
    with pytest.raises(CheckpointError, match="could not be written: Is a directory"):
        save_model(model, tmp_path)
    with pytest.raises(CheckpointError, match="there is no such file"):
        load_model(tmp_path / "gone.pt")
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        load_model(tmp_path)
    with pytest.raises(CheckpointError, match="path=3: .*give the path of a file"):
        load_model(3)  # type: ignore[arg-type]


def test_other_files_are_refused(cases: dict[str, Case], tmp_path: Path) -> None:
    place = save_model(cases["table"].model, tmp_path / "model.pt")
    content = files.read(place, "model")
    for missing in content:
        files.write(place, files.pack("model", {name: part for name, part in content.items() if name != missing}))
        with pytest.raises(CheckpointError, match=f"model.pt: holds no model that this version can read .*{missing}"):
            load_model(place)
    schema = {name: part for name, part in content["schema"].items() if name != "classes"}
    files.write(place, files.pack("model", {**content, "schema": schema}))
    with pytest.raises(CheckpointError, match="model.pt: the file's task cannot be read .*classes"):
        load_model(place)
    files.write(place, files.pack("checkpoint", content))
    with pytest.raises(CheckpointError, match="is a checkpoint file; a model file is needed here"):
        load_model(place)
