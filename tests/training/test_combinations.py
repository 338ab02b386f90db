"""Hyperparameters without effect: each note against training with and without what it is about, and where it is shown."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import pandas as pd
import pytest

import workbench as wb
from workbench.core.config import HYPERPARAMETERS
from workbench.training import learning_rate_at, resolve_loss, without_effect
from workbench.training.combinations import COMBINATIONS
from workbench.ui.controls import Controls

BASE = wb.Config(hidden_units=8, epochs=8, learning_rate=0.05, loss="cross_entropy")
RANDOM = wb.Config(hidden_units=64, learning_rate=0.3, loss="cross_entropy", epochs=60)
"""Its validation loss goes up and down, so that epochs without a lower one come soon."""


def notes(**values: Any) -> list[str]:
    return [problem.field for problem in without_effect(BASE.replace(**values))]


@pytest.fixture(scope="module")
def task() -> wb.Task:
    return wb.Task.load("moons", n=120, noise=0.4)


def curves(task: wb.Task, config: wb.Config) -> pd.DataFrame:
    bench = wb.Workbench(task)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bench.run(config)
    return bench.curves(1).drop(columns=["seconds"])


@pytest.mark.parametrize(
    ("pointless", "effective", "field"),
    [
        ({"schedule": "step", "step_size": 8}, {"schedule": "step", "step_size": 7}, "step_size"),
        (
            {"schedule": "step", "step_size": 6, "warmup": 2},
            {"schedule": "step", "step_size": 5, "warmup": 2},
            "step_size",
        ),
        (
            {"schedule": "step", "step_size": 2, "gamma": 1.0},
            {"schedule": "step", "step_size": 2, "gamma": 0.9},
            "gamma",
        ),
        ({"schedule": "exponential", "decay": 1.0}, {"schedule": "exponential", "decay": 0.99}, "decay"),
        (
            {"schedule": "cosine", "min_learning_rate": 0.05},
            {"schedule": "cosine", "min_learning_rate": 0.04},
            "min_learning_rate",
        ),
    ],
)
def test_a_schedule_that_never_lowers_the_rate_is_named(pointless: Any, effective: Any, field: str) -> None:
    assert notes(**pointless) == [field]
    assert notes(**effective) == []

    def after_warmup(values: Any) -> set[float]:
        config = BASE.replace(**values)
        return {learning_rate_at(config, step, 5) for step in range(5 * config.warmup, 40)}

    assert after_warmup(pointless) == {0.05}
    assert len(after_warmup(effective)) > 1


def test_a_restart_that_does_not_come_is_named() -> None:
    for length, restarts in ((8, 0), (7, 1), (3, 2)):
        config = BASE.replace(schedule="cosine_restarts", restart_epochs=length)
        rates = [learning_rate_at(config, step, 5) for step in range(40)]
        assert sum(later > earlier for earlier, later in itertools.pairwise(rates)) == restarts
        assert [one.field for one in without_effect(config)] == ([] if restarts else ["restart_epochs"])


def test_early_stopping_before_the_plateau_schedule_acts_is_named(task: wb.Task) -> None:
    for patience in (1, 4, 5):
        config = RANDOM.replace(schedule="plateau", plateau_patience=4, patience=patience)
        (found,) = without_effect(config)
        assert (found.field, found.value) == ("patience", patience)
        assert found.message.startswith(f"patience={patience}: training stops before the plateau schedule")
        curve = curves(task, config)
        assert len(curve) < 60
        assert set(curve["learning_rate"]) == {0.3}
    config = RANDOM.replace(schedule="plateau", plateau_patience=4, patience=6)
    assert without_effect(config) == []
    assert curves(task, config)["learning_rate"].tolist() == [0.3] * 8 + [0.15] * 10 + [0.075]
    # the default of plateau_patience is part of such a pair, and other schedules of none
    assert [one.field for one in without_effect(RANDOM.replace(schedule="plateau", patience=5))] == ["patience"]
    assert without_effect(RANDOM.replace(schedule="step", patience=5)) == []


@pytest.mark.parametrize("wait", [0, 3, 5])
def test_epochs_too_few_for_the_plateau_schedule_are_named(task: wb.Task, wait: int) -> None:
    """A loss that is lowest after the first epoch, so that the schedule acts as early as it can."""
    worse = wb.Config(
        hidden_units=64, optimizer="sgd", learning_rate=5.0, loss="mse", schedule="plateau", hidden_layers=0
    )
    for epochs in (wait + 2, wait + 3):
        config = worse.replace(plateau_patience=wait, epochs=epochs)
        curve = curves(task, config)
        assert curve["val_loss"].argmin() == 0
        assert curve["learning_rate"].nunique() == (1 if epochs == wait + 2 else 2)
        assert [one.field for one in without_effect(config)] == (["plateau_patience"] if epochs == wait + 2 else [])


def test_early_stopping_that_cannot_end_a_trial_earlier_is_named() -> None:
    assert notes(patience=6) == []
    assert notes(patience=7) == notes(patience=50) == ["patience"]


@pytest.mark.parametrize(
    ("off", "on"),
    [
        ({"hidden_layers": 0}, {"dropout": 0.9}),
        ({"hidden_layers": 0}, {"batch_norm": True}),
        ({"loss": "mse"}, {"label_smoothing": 0.3}),
    ],
)
def test_what_nothing_reads_changes_nothing_and_is_named(task: wb.Task, off: Any, on: Any) -> None:
    (field,) = on
    assert notes(**off, **on) == [field]
    assert notes(**on) == notes(**off) == []
    short = BASE.replace(epochs=3)
    pd.testing.assert_frame_equal(curves(task, short.replace(**off, **on)), curves(task, short.replace(**off)))
    assert not curves(task, short.replace(**on)).equals(curves(task, short))


def test_a_model_of_ones_own_may_not_read_dropout() -> None:
    import torch

    bench = wb.Workbench(wb.Task.load("iris"), models={"mine": lambda task: torch.nn.Linear(4, 3)})
    with pytest.warns(UserWarning, match="dropout=0.2: model 'mine' does not read it; choose model='mlp' or 'cnn'"):
        bench.run(wb.Config(model="mine", dropout=0.2, epochs=1))
    assert bench.trials["state"].tolist() == ["completed"]


def test_a_tiny_clip_is_named_where_the_step_follows_the_gradients_length() -> None:
    for optimizer in ("sgd", "momentum", "nesterov"):
        assert notes(optimizer=optimizer, gradient_clip=1e-3) == ["gradient_clip"]
    for optimizer in ("adam", "adamw", "rmsprop", "adagrad"):
        assert notes(optimizer=optimizer, gradient_clip=1e-3) == []
    assert notes(optimizer="sgd", gradient_clip=0.5) == []
    assert notes(optimizer="sgd", gradient_clip=1e-3, learning_rate=10.0) == []


# --- where it is said -----------------------------------------------------------------------------------------------------


def test_it_is_a_warning_in_python_and_a_message_of_the_trial(task: wb.Task) -> None:
    bench = wb.Workbench(task)
    config = RANDOM.replace(schedule="plateau", plateau_patience=10, patience=5, epochs=20)
    with pytest.warns(UserWarning, match="patience=5: training stops before the plateau schedule") as found:
        bench.run(config, seeds=2)
    assert [one.filename for one in found] == [__file__]  # once, at the call
    for trial in (1, 2):
        assert bench.events(trial)["message"].str.contains("patience=5: training stops before").sum() == 1
    with pytest.warns(UserWarning, match="patience=5"):
        bench.branch(1, epoch=1, l2=1e-3).wait()
    assert bench.events(3)["message"].str.contains("patience=5").any()
    bench.run(BASE)
    assert not bench.events(4)["message"].str.len().any()


def test_a_search_warns_of_its_base_and_logs_it_with_each_trial(task: wb.Task) -> None:
    bench = wb.Workbench(task)
    base = BASE.replace(schedule="step", step_size=9, epochs=2)
    with pytest.warns(UserWarning, match="step_size=9: the step schedule never lowers") as found:
        bench.search("random", {"learning_rate": wb.LogRange(1e-3, 1e-1)}, base, trials=3, blocking=True)
    assert len(found) == 1
    assert found[0].filename == __file__
    assert all(bench.events(trial)["message"].str.contains("step_size=9").any() for trial in (1, 2, 3))
    # what is searched is named for the trials alone that have such a value
    space = {"step_size": [1, 9]}
    bench.search("grid", space, base, blocking=True)
    table = bench.trials.set_index("trial").loc[4:]
    named = {trial: bench.events(int(trial))["message"].str.contains("step_size=9").any() for trial in table.index}
    assert named == dict(table["step_size"] == 9)


def test_it_stands_beside_the_control_until_it_is_mended() -> None:
    controls = Controls("classification", changed=lambda: None, live=lambda name, value: None)

    def shown(name: str) -> str:
        message = controls.field(name)._message
        return "" if message is None else str(message.value)

    controls.load(RANDOM.replace(schedule="plateau", patience=3, loss="auto"))
    assert 'role="note"' in shown("patience")
    assert "patience=3: training stops before the plateau schedule" in shown("patience")
    assert controls.read().patience == 3  # a note prevents nothing, and reading keeps it
    assert 'role="note"' in shown("patience")
    controls.field("patience").text.value = "30"  # type: ignore[attr-defined]
    assert shown("patience") == ""
    # an error takes the place of a note
    controls.field("patience").text.value = "3"  # type: ignore[attr-defined]
    controls.field("patience").show_problem("<wrong>")
    assert "&lt;wrong&gt;" in shown("patience")
    assert 'role="alert"' in shown("patience")
    controls.field("patience").show_problem("")
    assert 'role="note"' in shown("patience")


def test_every_entry_of_the_table_names_hyperparameters() -> None:
    for one in COMBINATIONS:
        assert {one.field, *one.others, *one.needs} <= set(HYPERPARAMETERS)
    assert without_effect(resolve_loss(wb.Config(), "classification")) == []
