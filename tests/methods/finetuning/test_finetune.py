"""`bench.finetune`: other tasks on one log, sources in new kernels, going back across the opening, files, search, bad input."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import workbench as wb
from workbench.core.registry import MODELS
from workbench.models import Affine, Pretrained

SOURCE = wb.Config(hidden_units=8, learning_rate=0.01, epochs=4, batch_norm=True)
NUMBERS = ["epoch", "step", "train_loss", "train_metric", "val_loss", "val_metric", "learning_rate", "grad_norm"]


def blob_rows(
    classes: int, *, rows: int = 150, seed: int = 0, spread: float = 1.0, features: int = 6
) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % classes
    return rng.normal(0, 1, (rows, features)) * spread + rng.normal(0, 2, (classes, features))[y] + 5, y


def blobs(classes: int, **options: Any) -> wb.Task:
    return wb.Task.from_arrays(*blob_rows(classes, **options), name=f"{classes} blobs", seed=1)


@pytest.fixture(scope="module")
def three() -> wb.Task:
    return blobs(3)


@pytest.fixture(scope="module")
def four() -> wb.Task:
    return blobs(4, seed=1, spread=3.0)


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    before = set(MODELS)
    yield
    for name in set(MODELS) - before:
        MODELS.unregister(name)


@pytest.fixture
def bench(tmp_path: Path, three: wb.Task) -> wb.Workbench:
    bench = wb.Workbench(three, log=tmp_path / "trials.db")
    bench.run(SOURCE)
    return bench


def row(bench: wb.Workbench, trial: int) -> Any:
    return bench.trials.set_index("trial").loc[trial]


def curve(bench: wb.Workbench, trial: int) -> pd.DataFrame:
    return bench.curves(trial)[NUMBERS].reset_index(drop=True)


def forget_sources() -> None:
    """As in a new kernel."""
    for name in list(MODELS):
        if name.startswith("trial_"):
            MODELS.unregister(name)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))


def raw(task: wb.Task, rows: int = 5) -> Any:
    return np.random.default_rng(7).normal(5, 3, (rows, task.input_shape[0]))


# --- from a trial -----------------------------------------------------------------------------------------------------


def test_a_trial_on_another_task_goes_into_the_same_log(bench: wb.Workbench, four: wb.Task, tmp_path: Path) -> None:
    run = bench.finetune(from_trial=1, task=four, seeds=3, name="heads", note="why", tags=["a"]).wait()
    name = MODELS[f"trial_1_{bench.log.identity}"]
    assert name.label == "trial 1: MLP on 3 blobs"
    for index, trial in enumerate(run.trials):
        found = row(bench, trial)
        assert (found["source"], found["parent"], found["state"]) == ("finetune", 1, "completed")
        assert (found["task"], found["model"], found["seed"]) == ("4 blobs", name.name, index)
        assert (found["name"], found["note"]) == ("heads", "why")
        assert bench.log.record(trial).config["hidden_units"] == 8
        assert found["parent_epoch"] == row(bench, 1)["best_epoch"]
        assert bench.log.record(trial).task_fingerprint == four.fingerprint
        assert bench.log.history.largest_cohort(trial) == 3
    other = wb.Workbench(four, log=tmp_path / "trials.db")
    assert list(other.leaderboard()["trial"]) == [run.trials[0]]
    config = other.config(run.trials[0])
    assert config == SOURCE.replace(
        loss="cross_entropy", model=name.name, freeze=2, unfreeze_at=0, learning_rate_factor=0.1
    )


def test_the_body_is_the_trials_best_and_sees_inputs_as_in_its_own_training(
    bench: wb.Workbench, three: wb.Task, four: wb.Task, tmp_path: Path
) -> None:
    """The two tasks are standardised differently: an affine layer stands between."""
    run = bench.finetune(from_trial=1, task=four).wait()
    source, tuned = bench.model(1), wb.Workbench(four, log=tmp_path / "trials.db").model(run.trials[0])
    assert isinstance(tuned.module, Pretrained)
    assert isinstance(tuned.module.adapter, Affine)
    body, X = source.module[:-1], raw(three)  # type: ignore[index]
    assert not torch.allclose(source.preprocess(X), tuned.preprocess(X), atol=0.1)
    with torch.no_grad():
        features = body(source.preprocess(X))
        expected = tuned.module.head(features)
        torch.testing.assert_close(tuned.module(tuned.preprocess(X)), expected, rtol=1e-4, atol=1e-4)
    for key, value in tuned.module.body.state_dict().items():
        assert torch.equal(value, source.module.state_dict()[key])
    assert np.array_equal(tuned.predict(X), four.decode(expected))


def test_what_was_constant_in_the_sources_training_stays_so(tmp_path: Path) -> None:
    X, y = np.random.default_rng(0).normal(3, 2, (150, 6)), np.arange(150) % 3
    X[:, 2] = 4.0
    moved = X.copy()
    moved[:, 2] = np.arange(150)
    bench = wb.Workbench(wb.Task.from_arrays(X, y))
    bench.run(SOURCE.replace(epochs=1))
    other = wb.Task.from_arrays(moved, y % 2, name="other")
    run = bench.finetune(1, other, config=SOURCE.replace(epochs=1)).wait()
    adapter = run.model().adapter
    assert isinstance(adapter, Affine)
    assert torch.equal(adapter(other.train.x)[:, 2], torch.zeros(len(other.train.x)))
    assert float(adapter(other.train.x)[:, 0].std()) == pytest.approx(1.0, abs=0.2)


def test_the_head_stays_when_the_classes_are_the_very_same(bench: wb.Workbench, three: wb.Task) -> None:
    """With next to no learning rate the first epoch measures what the source was; of other classes, another head."""
    config = SOURCE.replace(epochs=1, learning_rate=1e-6)
    run = bench.finetune(from_trial=1, config=config).wait()
    assert row(bench, run.trials[0])["best_val_loss"] == pytest.approx(row(bench, 1)["best_val_loss"], rel=1e-3)
    source = bench.model(1).module.state_dict()
    assert torch.allclose(run.model().state_dict()["head.weight"], source["7.weight"], atol=1e-3)
    again = wb.Task.from_arrays(*(np.concatenate([a, a]) for a in arrays(three)), name="twice", seed=4)
    kept, anew = (bench.finetune(1, task, config=config).wait().model() for task in (again, named(three)))
    assert torch.allclose(kept.state_dict()["head.weight"], source["7.weight"], atol=1e-3)
    assert not torch.allclose(anew.state_dict()["head.weight"], source["7.weight"], atol=1e-2)


def arrays(task: wb.Task) -> tuple[Any, Any]:
    return task.train.x.numpy(), task.train.y.numpy()


def named(task: wb.Task) -> wb.Task:
    X, y = arrays(task)
    return wb.Task.from_arrays(X, np.array(["a", "b", "c"])[y], name="other classes")


def test_in_memory_and_from_a_fine_tuned_trial_and_to_numbers(three: wb.Task, four: wb.Task) -> None:
    bench = wb.Workbench(three)
    bench.run(SOURCE)
    first = bench.finetune(1, four, freeze=1, learning_rate_factor=0.5).wait()
    second = bench.finetune(first.trials[0], freeze=None, config=SOURCE.replace(epochs=2)).wait()
    assert row(bench, second.trials[0])["parent"] == first.trials[0]
    X, y = np.random.default_rng(1).normal(0, 1, (60, 6)), np.random.default_rng(2).normal(0, 1, (60, 1))
    numbers = bench.finetune(second.trials[0], wb.Task.from_arrays(X, y, name="numbers"), freeze=0).wait()
    assert row(bench, numbers.trials[0])["state"] == "completed"
    assert bench.log.record(numbers.trials[0]).config["loss"] == "mse"
    body = first.model().body
    assert isinstance(body, nn.Sequential)
    source = bench.model(1).module.state_dict()
    assert torch.equal(body.state_dict()["1.weight"], source["1.weight"]), "one group was frozen"
    assert not torch.equal(body.state_dict()["4.weight"], source["4.weight"])


def test_a_source_that_has_trained_on_the_targets_test_rows_is_told() -> None:
    bench = wb.Workbench(wb.Task.load("wine"), log=None)
    trial = bench.run(wb.Config(epochs=1, hidden_units=4)).trials[0]
    other = wb.Task.load("wine", seed=1)
    both = set(bench.task.row_keys["train"].tolist()) & set(other.row_keys["test"].tolist())
    quick = wb.Config(epochs=1)
    with pytest.warns(UserWarning, match=f"trained on {len(both)} of the {other.sizes['test']} test rows"):
        bench.finetune(trial, other, config=quick).wait()
    bench.finetune(trial, config=quick).wait()  # on its own division there is nothing to tell


def test_the_batch_is_cut_down_to_the_rows(bench: wb.Workbench) -> None:
    few = blobs(2, rows=30, seed=5)
    run = bench.finetune(1, few).wait()
    assert row(bench, run.trials[0])["batch_size"] == len(few.train.x) == 18
    with pytest.raises(wb.ConfigError, match="batch_size=32: larger than the training split"):
        bench.finetune(1, few, config=SOURCE)


def test_a_source_whose_data_are_not_at_hand_is_read_from_its_checkpoint(
    three: wb.Task, four: wb.Task, tmp_path: Path
) -> None:
    """The shape of its outputs follows from the size of the checkpoint."""
    log, gone = tmp_path / "trials.db", threading.Event()

    def before() -> dict[str, Tensor]:
        bench = wb.Workbench(three, log=log)
        bench.run(SOURCE)
        weakref.finalize(bench._session, gone.set)
        return bench.model(1).module.state_dict()

    source = before()
    for _ in range(600):  # the thread that writes checkpoints holds it for a while
        gc.collect()
        if gone.wait(0.1):
            break
    assert gone.is_set()
    other = wb.Workbench(four, log=log)
    assert other._session.known(three.fingerprint) is None
    run = other.finetune(from_trial=1, freeze="4").wait()
    body = run.model().body.state_dict()
    assert all(torch.equal(value, source[key]) for key, value in body.items())
    with pytest.raises(wb.ModelError, match=r"trial 1 takes inputs of .*shape .*\(5,\)"):
        forget_sources()
        wb.Workbench(blobs(2, features=5), log=log).finetune(from_trial=1)
    for file in (tmp_path / "trials.db.checkpoints").rglob("*.pt"):
        file.unlink()
    forget_sources()
    with pytest.raises(wb.RunError, match=r"no checkpoint has its best model; .*wb.Workbench\(its task, log"):
        wb.Workbench(blobs(2, seed=9), log=log).finetune(from_trial=1)


# --- from a network ---------------------------------------------------------------------------------------------------


def test_a_function_that_makes_a_network_is_a_backbone(three: wb.Task) -> None:
    bench = wb.Workbench(three)
    run = bench.finetune(backbone=network, freeze="1", seeds=2, config=SOURCE).wait()
    assert [str(row(bench, trial)["model"]) for trial in run.trials] == ["network"] * 2
    assert row(bench, 1)["parent"] is pd.NA or np.isnan(row(bench, 1)["parent"])
    assert bench.config(1).freeze == 1, "the normalisation belongs to the group before it"  # type: ignore[attr-defined]
    builder = MODELS["network"].value
    assert bench.finetune(backbone=network, config=SOURCE).wait().done
    assert bench.finetune(backbone="network", freeze=None, config=SOURCE).wait().done
    assert MODELS["network"].value is builder, "made once"
    source = bench.log.builder_source(1)
    assert source is not None
    assert source.startswith("def network()")


@pytest.mark.parametrize(
    ("freeze", "groups"),
    [("all but the head", 2), (None, 0), (0, 0), (1, 1), (np.int64(2), 2), ("0", 1), ("1", 1), ("3", 2)],
)
def test_what_is_frozen_is_a_number_a_name_all_or_nothing(three: wb.Task, freeze: Any, groups: int) -> None:
    bench = wb.Workbench(three)
    bench.finetune(backbone=network, freeze=freeze, config=SOURCE.replace(epochs=1)).wait()
    assert bench.config(1).freeze == groups  # type: ignore[attr-defined]


def test_a_search_over_freezing_and_rates_trains_stacked(three: wb.Task) -> None:
    """What may differ within a cohort does: rates and factors; and the best of it is what another head trains with."""
    wb.register_backbone("net", network)
    bench = wb.Workbench(three)
    space = {
        "freeze": wb.Choice(0, 1, 2), "learning_rate_factor": wb.LogRange(1e-2, 1.0), "learning_rate": wb.LogRange(1e-3, 0.1),
    }  # fmt: skip
    search = bench.search(
        "random", space, SOURCE.replace(model="net", unfreeze_at=0), trials=18, cohort=6, blocking=True
    )
    frame = bench.trials
    assert set(frame["state"]) == {"completed"}
    assert set(frame["freeze"]) == {0, 1, 2}
    assert frame["learning_rate_factor"].nunique() == 18
    together = [bench.log.history.largest_cohort(int(trial)) for trial in frame["trial"]]
    assert min(together) > 1
    assert max(together) >= 5
    assert len(search.trials) == 18
    opened = bench.search("sobol", space, SOURCE.replace(model="net", unfreeze_at=2), trials=8, cohort=4, blocking=True)
    assert {row(bench, trial)["state"] for trial in opened.trials} == {"completed"}
    assert {row(bench, trial)["epochs_run"] for trial in opened.trials} == {4}


def test_the_same_request_while_it_trains_is_the_same_run(bench: wb.Workbench, four: wb.Task) -> None:
    """A cell that is run again defines its function, and makes its task, anew."""
    long = SOURCE.replace(epochs=100_000)

    def begin(**options: Any) -> list[Any]:
        def network() -> nn.Module:
            return make()

        return [
            bench.finetune(1, config=long, **options),
            bench.finetune(1, blobs(4, seed=1, spread=3.0), config=long, **options),
            bench.finetune(backbone=network, config=long, **options),
        ]

    def end() -> None:
        going = [*bench.active, *bench._session.on(four).runner.runs]
        for run in going:
            run.stop()
        for run in going:
            run.wait()

    make: Callable[[], nn.Module] = network
    runs = begin()
    try:
        assert begin(note="a note makes no other request") == runs
        assert not set(begin(freeze=1)) & set(runs)
        assert not set(begin(seeds=2)) & set(runs)
        builder, make = MODELS["network"].value, other_network
        with pytest.raises(
            wb.ConfigError, match=f"trial {runs[2].trials[0]}, which has not ended, began from other weights"
        ):
            begin()
        assert MODELS["network"].value is builder
    finally:
        end()
    again = begin()
    end()
    assert not set(again) & set(runs), "one that has ended is not taken for it"


# --- going back -------------------------------------------------------------------------------------------------------


def test_replay_branch_and_model_across_the_opening(bench: wb.Workbench, four: wb.Task, tmp_path: Path) -> None:
    config = SOURCE.replace(epochs=6, optimizer="momentum")
    run = bench.finetune(1, four, unfreeze_at=3, learning_rate_factor=0.3, config=config).wait()
    other = wb.Workbench(four, log=tmp_path / "trials.db")
    trial = run.trials[0]
    remarks = other.events(trial).query("kind == 'message'")["message"].tolist()
    assert remarks == ["from here on all layers train, the frozen ones included; the optimizer begins with a new state"]
    assert other.replay(trial).wait().identical
    for epoch in (2, 3, 4):
        branch = other.branch(trial, epoch=epoch).wait().trials[0]
        expected = curve(other, trial)[epoch:].reset_index(drop=True)
        pd.testing.assert_frame_equal(curve(other, branch), expected)
        model = other.model(trial, epoch=epoch)
        with torch.no_grad():
            loss = nn.functional.cross_entropy(model(four.validation.x), four.validation.y)
        assert float(loss) == pytest.approx(other.curves(trial)["val_loss"][epoch - 1], rel=1e-5)
    assert other.replay(branch).wait().identical
    with pytest.raises(wb.ConfigError, match="a branch keeps the architecture of its parent"):
        other.branch(trial, epoch=2, freeze=1)


def test_a_new_kernel_knows_the_source_again(bench: wb.Workbench, four: wb.Task, tmp_path: Path) -> None:
    """And so does one in which the source's own data are unknown; a damaged file is told, and hinders nothing else."""
    run = bench.finetune(1, four, unfreeze_at=2).wait()
    name, before = row(bench, run.trials[0])["model"], bench.log.record(run.trials[0]).config
    forget_sources()
    assert name not in MODELS
    other = wb.Workbench(four, log=tmp_path / "trials.db")
    assert name in MODELS
    assert other.config(run.trials[0]).model_dump() == before
    assert other.replay(run.trials[0]).wait().identical
    forget_sources()
    (file,) = (tmp_path / "trials.db.checkpoints").rglob("backbones/*.pt")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="trials that were fine-tuned from it cannot be used"):
        broken = wb.Workbench(four, log=tmp_path / "trials.db")
    with pytest.raises(wb.ConfigError, match=f"trial 2 uses the model '{name}'"):
        broken.config(2)
    assert len(broken.trials) == 3


def widened(task: Any, *, width: int = wb.IntRange(4, 64, default=8)) -> nn.Module:  # type: ignore[assignment]
    return nn.Sequential(nn.Linear(*task.input_shape, width), nn.ReLU(), nn.Linear(width, task.output_size))


def widened_otherwise(task: Any, *, width: int = wb.IntRange(4, 64, default=8)) -> nn.Module:  # type: ignore[assignment]
    return nn.Sequential(nn.Linear(*task.input_shape, width + 2), nn.ReLU(), nn.Linear(width + 2, task.output_size))


@pytest.fixture
def own_source(three: wb.Task, four: wb.Task, tmp_path: Path) -> Path:
    """A log in which trial 2 was fine-tuned from trial 1, a model of the user's own, as a new kernel finds it."""
    bench = wb.Workbench(three, log=tmp_path / "trials.db", models={"widened": widened})
    bench.run(wb.Config(model="widened", epochs=2, learning_rate=0.01))
    bench.finetune(1, four).wait()
    forget_sources()
    MODELS.unregister("widened")
    return tmp_path / "trials.db"


def test_a_source_whose_own_model_is_not_brought_along_is_told_as_that(own_source: Path, four: wb.Task) -> None:
    remedy = r"model 'widened' is not known here; register it with wb\.Workbench\(\.\.\., models=\{'widened': build\}\)"
    with pytest.warns(UserWarning, match=f"cannot be used: its own {remedy}"):
        bench = wb.Workbench(four, log=own_source)
    asked: list[Callable[[], Any]] = [lambda: bench.model(2), lambda: bench.config(2), lambda: bench.replay(2)]
    for ask in asked:
        with pytest.raises(
            wb.ConfigError, match=f"trial 2 uses .* which is trial 1, and cannot be used: its own {remedy}"
        ):
            ask()
    refused(bench, wb.ConfigError, r"trial 1 uses the model 'widened', which is not registered here", 1)
    # as it says
    again = wb.Workbench(four, log=own_source, models={"widened": widened})
    assert again.model(2).predict(raw(four)).shape == (5,)
    assert again.replay(2).wait().identical


def test_a_source_whose_builder_is_another_one_is_told_as_that(
    own_source: Path, four: wb.Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.warns(UserWarning, match="cannot be used"):
        bench = wb.Workbench(four, log=own_source, models={"widened": widened_otherwise})
    with pytest.raises(wb.ConfigError, match="cannot be used: the builder of its model 'widened' is another one than"):
        bench.config(2)
    monkeypatch.setattr(bench._session, "known", lambda fingerprint: None)  # as in a new kernel
    refused(bench, wb.ModelError, "the builder of model 'widened' is another one than trial 1 was trained with", 1)


def test_a_source_of_a_model_that_had_taken_a_built_in_name_is_told_as_that(
    bench: wb.Workbench, four: wb.Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a log from before such names were refused."""
    other = wb.Workbench(four, log=bench.log.url)
    monkeypatch.setattr(other._session, "known", lambda fingerprint: None)
    monkeypatch.setattr(other.log, "builder_source", lambda trial: "def build(task): ...")
    refused(
        other,
        wb.ModelError,
        "a model of your own called 'mlp', which is a built-in one here; train one under another",
        1,
    )


def test_a_script_does_a_fine_tuned_trial_again(bench: wb.Workbench, four: wb.Task, tmp_path: Path) -> None:
    """In a process of its own: the source comes with the log, a network by its function and the file of its weights."""
    first = bench.finetune(1, four, unfreeze_at=2, config=SOURCE).wait().trials[0]
    other = wb.Workbench(four, log=tmp_path / "trials.db")
    torch.save(network().state_dict(), tmp_path / "net.pth")
    wb.register_backbone("net", network, weights=tmp_path / "net.pth")
    second = other.finetune(backbone="net", freeze=1, config=SOURCE).wait().trials[0]
    make = "from test_finetune import blob_rows\nX, y = blob_rows(4, seed=1, spread=3.0)\n"
    for trial in (first, second):
        code = other.code(trial).replace("import workbench as wb\n", f"import workbench as wb\n{make}", 1)
        code += "print(bench.trials['best_val_loss'].iloc[-1])\n"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
        )
        assert done.returncode == 0, done.stderr
        assert float(done.stdout.split()[-1]) == pytest.approx(row(other, trial)["best_val_loss"], rel=1e-6)


VICTIM = """
import os, sys
sys.path.insert(0, {tests!r})
import workbench as wb
from tests.methods.finetuning.test_finetune import SOURCE, blobs
from workbench.core.events import EpochEnd

bench = wb.Workbench(blobs(4, seed=1, spread=3.0), log={log!r})
append = bench.log.append

def until(events, **options):
    events = list(events)
    append(events, **options)
    if any(isinstance(event, EpochEnd) and event.epoch == {epoch} for event in events):
        bench._session.checkpoints.flush(10)
        os._exit(3)

bench.log.append = until
bench.finetune(1, unfreeze_at=3, seeds=2, config=SOURCE.replace(epochs=6)).wait()
"""


@pytest.mark.parametrize("epoch", [2, 3, 5])
def test_a_run_that_died_is_resumed_across_the_opening(
    bench: wb.Workbench, four: wb.Task, tmp_path: Path, epoch: int
) -> None:
    log = tmp_path / "trials.db"
    whole = bench.finetune(1, four, unfreeze_at=3, seeds=2, config=SOURCE.replace(epochs=6)).wait()
    script = textwrap.dedent(VICTIM).format(tests=str(Path(__file__).parent), log=str(log), epoch=epoch)
    died = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert died.returncode == 3, died.stderr
    forget_sources()
    other = wb.Workbench(four, log=log)
    left = [int(trial) for trial in other.trials.query("state == 'interrupted'")["trial"]]
    assert len(left) == 2
    other.resume().wait()
    for trial, expected in zip(left, whole.trials, strict=True):
        assert row(other, trial)["state"] == "completed"
        pd.testing.assert_frame_equal(curve(other, trial), curve(other, expected))
        opened = other.events(trial).query("kind == 'message'")["message"].str.startswith("from here on all layers")
        assert opened.sum() == 1


# --- files ------------------------------------------------------------------------------------------------------------


def test_the_file_of_a_trial_from_a_trial_stands_by_itself(bench: wb.Workbench, four: wb.Task, tmp_path: Path) -> None:
    """Where neither log nor source are known, for one that was fine-tuned twice too."""
    first = bench.finetune(1, four, unfreeze_at=2).wait().trials[0]
    second = bench.finetune(first, bench.task, freeze=1, config=SOURCE.replace(epochs=1)).wait().trials[0]
    other = wb.Workbench(four, log=tmp_path / "trials.db")
    X = raw(four)
    expected = [other.model(first).predict_proba(X), bench.model(second).predict_proba(X)]
    paths = [other.save(first, tmp_path / "first.pt"), bench.save(second, tmp_path / "second.pt")]
    forget_sources()
    for path, values in zip(paths[::-1], expected[::-1], strict=True):
        assert np.array_equal(wb.load_model(path).predict_proba(X), values)
    code = f"import workbench as wb; print(repr(wb.load_model({str(paths[1])!r})))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "inputs (6,), 3 classes" in shown


def test_the_file_of_a_trial_from_a_function_asks_for_it(
    three: wb.Task, tmp_path: Path, new_kernel: Callable[[], None]
) -> None:
    bench = wb.Workbench(three)
    builder = wb.register_backbone("net", network)
    bench.finetune(backbone="net", freeze=1, config=SOURCE).wait()
    path = bench.save(1, tmp_path / "model.pt")
    expected = bench.model(1).predict_proba(raw(three))
    MODELS.unregister("net")
    new_kernel()
    with pytest.raises(wb.CheckpointError, match="trained with a model of your own, 'net'; give its builder"):
        wb.load_model(path)
    assert np.array_equal(wb.load_model(path, models={"net": builder}).predict_proba(raw(three)), expected)


# --- a network whose weights change -----------------------------------------------------------------------------------


def other_network() -> nn.Module:
    """As `network`, with other weights."""
    found = network()
    with torch.no_grad():
        next(found.parameters()).add_(0.5)
    return found


OTHER = "began from the backbone 'net' with weights .* that differ from those registered now .* wb.register_backbone"


@pytest.mark.parametrize("freeze", [1, 2])
def test_frozen_weights_are_in_no_checkpoint_so_a_network_with_others_is_refused(
    three: wb.Task, tmp_path: Path, freeze: int
) -> None:
    """Chains are cut behind what is frozen: bench.model, branch and the rest would be silently wrong."""
    log = tmp_path / "trials.db"
    bench = wb.Workbench(three, log=log)
    wb.register_backbone("net", network)
    bench.finetune(backbone="net", freeze=freeze, config=SOURCE).wait()
    expected = bench.model(1).predict_proba(raw(three))
    wb.register_backbone("net", other_network)
    asks: list[Callable[[wb.Workbench], Any]] = [
        lambda place: place.model(1), lambda place: place.predict(1, raw(three)),
        lambda place: place.save(1, tmp_path / "model.pt"), lambda place: place.branch(1, epoch=2, learning_rate=0.02),
        lambda place: place.replay(1), lambda place: place.finetune(1), lambda place: place.ensemble(trials=[1]),
        lambda place: place.open_test_set(1),
    ]  # fmt: skip
    place = wb.Workbench(three, log=log)
    for ask in asks:
        with pytest.raises(wb.ModelError, match=OTHER):
            ask(place)
    assert len(place.curves(1)) == SOURCE.epochs
    assert any("differ from those registered now" in note for note in place.diagnose(1).notes)
    assert len(bench.trials) == 1
    assert np.array_equal(bench.model(1).predict_proba(raw(three)), expected)  # which has the network that it was given
    wb.register_backbone("net", network)
    again = wb.Workbench(three, log=log)
    assert np.array_equal(again.model(1).predict_proba(raw(three)), expected)
    assert again.replay(1).wait().identical


def test_what_a_checkpoint_holds_whole_needs_no_network(three: wb.Task, tmp_path: Path) -> None:
    """Nothing frozen, or opened meanwhile: a model comes out of the checkpoint; from the first step it cannot be done again."""
    bench = wb.Workbench(three, log=tmp_path / "trials.db")
    wb.register_backbone("net", network)
    bench.finetune(backbone="net", freeze=None, config=SOURCE).wait()
    bench.finetune(backbone="net", unfreeze_at=2, config=SOURCE).wait()
    whole = [(1, 1), (1, 4), (2, 3), (2, 4)]
    expected = [bench.model(*one).predict_proba(raw(three)) for one in whole]
    wb.register_backbone("net", other_network)
    other = wb.Workbench(three, log=tmp_path / "trials.db")
    for one, values in zip(whole, expected, strict=True):
        assert np.array_equal(other.model(*one).predict_proba(raw(three)), values)
    with pytest.raises(wb.ModelError, match=OTHER):
        other.model(2, 1)  # still frozen then
    for trial in (1, 2):
        with pytest.raises(wb.ModelError, match=OTHER):
            other.replay(trial)
    branch = other.branch(1, epoch=3, epochs=6).wait().trials[0]
    wb.register_backbone("net", network)
    pd.testing.assert_frame_equal(
        curve(other, branch), curve(bench, bench.branch(1, epoch=3, epochs=6).wait().trials[0])
    )


def test_a_run_that_died_is_not_resumed_on_other_weights(three: wb.Task, tmp_path: Path) -> None:
    log = tmp_path / "trials.db"
    bench = wb.Workbench(three, log=log)
    wb.register_backbone("net", network)
    run = bench.start(SOURCE.replace(model="net", freeze=1, unfreeze_at=0, epochs=100_000))
    number = run.trials[0]
    run.stop()
    run.wait()
    bench.log.create([bench._session.new_trial(run.configs[number].replace(epochs=2))])
    bench.log.ownership.mark_interrupted()
    wb.register_backbone("net", other_network)
    other = wb.Workbench(three, log=log)
    with pytest.raises(wb.ModelError, match=f"^trial {number + 1} {OTHER}"):
        other.resume()
    assert other.active == []
    bench.resume().wait()
    assert row(bench, number + 1)["state"] == "completed"


def test_a_file_holds_the_frozen_weights_too(three: wb.Task, tmp_path: Path) -> None:
    """What of a network with other weights the file's model is built with, none stays."""
    bench = wb.Workbench(three)
    wb.register_backbone("net", network)
    bench.finetune(backbone="net", config=SOURCE).wait()
    path, expected = bench.save(1, tmp_path / "model.pt"), bench.model(1).predict_proba(raw(three))
    wb.register_backbone("net", other_network)
    assert np.array_equal(wb.load_model(path).predict_proba(raw(three)), expected)


# --- bad input --------------------------------------------------------------------------------------------------------


def refused(bench: wb.Workbench, error: type[Exception], says: str, *given: Any, **options: Any) -> None:
    """With nothing entered into the log or the table of models."""
    trials, models = len(bench.trials), list(MODELS)
    with pytest.raises(error, match=says):
        bench.finetune(*given, **options)
    assert len(bench.trials) == trials
    assert list(MODELS) == models


def test_what_cannot_be_fine_tuned_is_told(bench: wb.Workbench, four: wb.Task) -> None:
    refused(bench, wb.LogError, "9", 9)
    refused(bench, wb.ConfigError, "give either from_trial=")
    refused(bench, wb.ConfigError, "give either from_trial=", 1, backbone=network)
    refused(bench, wb.RunError, "from_trial='one'", "one")
    refused(bench, wb.ModelError, r"takes inputs of shape \(6,\), and '2 blobs' has \(5,\)", 1, blobs(2, features=5))
    refused(bench, wb.ConfigError, r"freeze='9'.*1: 1 \(Linear\), 2: 4 \(Linear\)", 1, four, freeze="9")
    refused(bench, wb.ConfigError, "did you mean 'all but the head'", 1, four, freeze="all but head")
    refused(bench, wb.ConfigError, "freeze=3: must be a number of groups from 0 to 2", 1, four, freeze=3)
    refused(bench, wb.ConfigError, "freeze=True", 1, four, freeze=True)
    refused(bench, wb.ConfigError, "unfreeze_at=4: the training ends after epochs=4", 1, four, unfreeze_at=4)
    refused(bench, wb.ConfigError, "learning_rate_factor=2", 1, four, learning_rate_factor=2)
    refused(bench, wb.ConfigError, "seeds=0", 1, four, seeds=0)
    refused(bench, wb.ConfigError, "batch_size=5000: larger", 1, four, config=SOURCE.replace(batch_size=5000))
    refused(bench, wb.ConfigError, "unknown model 'ent'", backbone="ent")
    refused(bench, wb.ConfigError, "backbone='mlp': is a model without pretrained weights", backbone="mlp")
    refused(bench, wb.ModelError, "no parameters but those of its head", backbone=lambda: nn.Linear(6, 2))


def test_sources_without_a_model_are_told(bench: wb.Workbench) -> None:
    bench.run(SOURCE.replace(optimizer="sgd", learning_rate=10.0, hidden_layers=8, batch_norm=False, l2=1.0, epochs=2))
    bench.run(SOURCE, stop_after=1)
    bench.run(SOURCE.replace(hidden_layers=0, batch_norm=False))
    states = dict(zip(bench.trials["trial"], bench.trials["state"], strict=True))
    assert states[2] == "diverged"
    assert states[3] == "stopped"
    refused(bench, wb.RunError, "no epoch|no finished epoch", 2)
    refused(bench, wb.RunError, "no finished epoch|no epoch", 3)
    refused(bench, wb.ModelError, "no parameters but those of its head; there is nothing to transfer", 4)
    run = bench.start(SOURCE.replace(epochs=100_000))
    try:
        with pytest.raises(wb.RunError, match=r"trial 5 is (queued|running); wait for its end"):
            bench.finetune(5)
    finally:
        run.stop()
        run.wait()


def test_columns_have_to_be_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(0, 1, (120, 3)), columns=["a", "b", "c"]).assign(y=np.arange(120) % 2)
    bench = wb.Workbench(wb.Task.from_frame(frame, target="y"))
    bench.run(SOURCE.replace(epochs=1))
    other = wb.Task.from_frame(frame.rename(columns={"b": "d"}).assign(y=np.arange(120) % 3), target="y", name="other")
    refused(bench, wb.ModelError, "trained on the column 'b' where 'other' has 'd'", 1, other)


def test_ties_of_a_tensor(three: wb.Task) -> None:
    """A module that is registered as a backbone keeps its own weights: training works on copies."""
    original = network()
    before: dict[str, Tensor] = {name: value.clone() for name, value in original.state_dict().items()}
    bench = wb.Workbench(three)
    bench.finetune(backbone=lambda: original, freeze=None, learning_rate_factor=1.0, config=SOURCE).wait()
    assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())
