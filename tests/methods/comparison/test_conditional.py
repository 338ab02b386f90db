"""Hyperparameters that some trials do not read are no values of these trials; options that are tuples are read back as tuples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import nn

import workbench as wb
from workbench.methods.comparison.importance import importance, varied
from workbench.methods.comparison.parallel import ParallelCoordinates
from workbench.methods.comparison.range_edges import range_edges
from workbench.ui.trial_table import readable

BASE = wb.Config(hidden_units=4, batch_size=16, epochs=1)


@pytest.fixture(scope="module")
def flowers() -> wb.Task:
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    return wb.Task.from_arrays(rng.normal(0, 1, (90, 4)) + y[:, None], y, name="three classes")


@pytest.fixture(scope="module")
def bench(flowers: wb.Task) -> wb.Workbench:
    bench = wb.Workbench(flowers)
    space = {
        "optimizer": ["adam", "momentum"],
        "momentum": wb.Range(0.50, 0.51),
        "learning_rate": wb.LogRange(1e-3, 2e-2),
    }
    bench.search("random", space, BASE, trials=24).wait()
    return bench


@pytest.mark.parametrize(
    ("config", "blank", "kept"),
    [
        (BASE, ["momentum", "alpha", "weight_decay", "gamma", "huber_delta", "decay"], ["beta1", "label_smoothing"]),
        (BASE.replace(optimizer="momentum"), ["beta1", "beta2", "alpha"], ["momentum"]),
        (BASE.replace(schedule="cosine"), ["gamma", "step_size", "restart_epochs"], ["min_learning_rate"]),
        (BASE.replace(loss="huber"), ["label_smoothing"], ["huber_delta", "activation"]),
    ],
)
def test_what_a_trial_does_not_read_is_blank_in_the_table(
    flowers: wb.Task, config: wb.Config, blank: list[str], kept: list[str]
) -> None:
    bench = wb.Workbench(flowers)
    bench.run(config)
    row = bench.trials.iloc[0]
    assert {name for name in wb.Config.model_fields if pd.isna(row[name])} >= set(blank)
    read = bench.config(1)
    assert all(
        pd.isna(row[name]) == (not read.uses(name) or getattr(read, name) is None) for name in wb.Config.model_fields
    )
    assert not row[kept].isna().any()
    assert [getattr(read, name) for name in blank] == [
        getattr(config, name) for name in blank
    ]  # the whole of it is kept


def test_a_model_of_ones_own_leaves_texts_and_switches_blank(flowers: wb.Task) -> None:
    bench = wb.Workbench(flowers, models={"plain": lambda task: nn.Linear(4, 3)})
    bench.run(BASE.replace(model="plain"))
    bench.run(BASE)
    frame = bench.trials
    assert frame[["activation", "batch_norm", "hidden_units"]].isna().all(axis=1).tolist() == [True, False]
    assert not {"activation", "hidden units"} & set(readable(frame))  # the trials that read them do not differ
    bench.run(BASE.replace(activation="tanh"))
    text = readable(bench.trials)
    assert text.loc[text["trial"] == 1, "activation"].tolist() == [""]
    for kind in ("parallel", "slices"):
        bench.plot(kind)
    bench.plot("scatter", "activation", "hidden_units")


def test_the_table_has_columns_for_what_differs_among_those_that_read_it(flowers: wb.Task) -> None:
    bench = wb.Workbench(flowers)
    bench.run(BASE)
    bench.run(BASE.replace(optimizer="momentum"))
    assert not {"momentum", "beta1", "gradient clip"} & set(readable(bench.trials))
    bench.run(BASE.replace(optimizer="momentum", momentum=0.5, gradient_clip=1.0))
    text = readable(bench.trials)
    assert text["momentum"].tolist() == ["0.5", "0.9", ""]
    assert text["gradient clip"].tolist() == ["1", "", ""]


def test_a_model_that_is_not_registered_here_keeps_its_values(flowers: wb.Task, tmp_path: Any) -> None:
    log = tmp_path / "trials.db"
    bench = wb.Workbench(flowers, log, models={"own": lambda task, *, hidden_units: nn.Linear(4, 3)})
    bench.run(BASE.replace(model="own", hidden_units=7))
    assert bench.trials["hidden_units"].tolist() == [7]
    assert pd.isna(bench.trials["activation"].iloc[0])
    bench.log.close()
    from workbench.log import TrialLog

    with wb.Workbench(flowers).choices.active():  # which does not know the model
        frame = TrialLog.open(log).trials()
    assert frame["hidden_units"].tolist() == [7]
    assert frame["momentum"].isna().all()


def test_importance_leaves_out_what_not_all_trials_read(bench: wb.Workbench) -> None:
    for evaluator in ("fanova", "ped_anova"):
        assert set(bench.importance(evaluator=evaluator)["hyperparameter"]) == {"optimizer", "learning_rate"}
    frame = bench.trials
    with pytest.raises(wb.RunError, match=r"all 24 trials have the score 0.5: there is no variation"):
        importance(frame.assign(best_val_metric=0.5))
    frame = frame.assign(best_val_metric=np.linspace(0, 1, 24))
    with pytest.warns(UserWarning, match="treat it as a hint"):
        named = importance(frame, names=["momentum", "learning_rate"])
    assert set(named["trials"]) == {int((frame["optimizer"] == "momentum").sum())}
    assert varied(frame) == ["optimizer", "learning_rate"]
    assert varied(frame, conditional=True) == ["optimizer", "learning_rate", "momentum"]


def test_edges_come_from_trials_that_read_the_hyperparameter(bench: wb.Workbench) -> None:
    assert (
        "momentum" not in set(bench.range_edges()["hyperparameter"]) or (bench.trials["optimizer"] == "momentum").any()
    )
    space = {"momentum": wb.Range(0.1, 0.9)}
    frame = pd.DataFrame({"trial": range(40), "best_val_metric": np.linspace(0, 1, 40), "momentum": [0.9] * 40})
    assert [edge.side for edge in range_edges(frame, space)] == ["high"]
    frame.loc[36:, "momentum"] = np.nan  # the best ones are of another optimizer
    assert range_edges(frame, space) == []
    frame.loc[36:, "momentum"] = [0.9, np.nan, 0.9, 0.9]
    (edge,) = range_edges(frame, space)
    assert edge.best == 0.9


def test_the_leaderboard_leaves_out_what_its_configurations_do_not_read(bench: wb.Workbench) -> None:
    board = bench.leaderboard(None)
    own = board[board["optimizer"] == "adam"]
    assert own["momentum"].isna().all()
    assert board.loc[board["optimizer"] == "momentum", "momentum"].between(0.50, 0.51).all()
    assert "beta1" not in board  # one value, of Adam


def build(task: Any, *, hidden: Any = wb.Choice((64, 32), (128,)), act: Any = ["relu", "tanh"]) -> nn.Module:  # noqa: B006
    layers: list[nn.Module] = []
    width = 4
    assert isinstance(hidden, tuple)
    for units in hidden:
        layers += [nn.Linear(width, units), nn.ReLU()]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, task.output_size))


@pytest.mark.parametrize("strategy", ["grid", "random", "tpe", "gp"])
@pytest.mark.parametrize("options", [[(64, 32), (128,)], wb.Choice((64, 32), (128,)), [[64, 32], [128]]])
def test_options_that_are_tuples_are_read_back_as_tuples(
    flowers: wb.Task, strategy: str, options: Any, tmp_path: Any
) -> None:
    log = tmp_path / "trials.db"
    bench = wb.Workbench(flowers, log, models={"net": build})
    space = {"hidden": options, "learning_rate": [0.001, 0.01, 0.05]}
    bench.search(strategy, space, BASE.replace(model="net"), trials=6).wait()
    assert set(bench.trials["hidden"]) == {(64, 32), (128,)}
    again = wb.Workbench(flowers, log, models={"net": build})
    for trial, hidden in zip(again.trials["trial"], again.trials["hidden"], strict=True):
        assert again.config(trial).hidden == hidden
        assert again.config(trial) == wb.Config(**again.config(trial).model_dump())
    assert again.predict(1, np.zeros((1, 4))) is not None
    assert set(again.leaderboard()["hidden"]) == {(64, 32), (128,)}
    with pytest.warns(UserWarning, match="hint only"):
        assert "hidden" in set(again.importance()["hyperparameter"])
    for kind in ("parallel", "slices"):
        again.plot(kind)
    again.plot("scatter", "hidden", "learning_rate")
    widget = ParallelCoordinates()
    widget.show(again.trials, ["hidden", "learning_rate"], metric_label="accuracy", better="higher")
    assert widget.axes[0]["categories"] == ["(128,)", "(64, 32)"]
    assert again.search(continues=1, trials=1).wait() is not None
    assert eval(repr(again.config(1)), {"wb": wb}) == again.config(1)


def test_a_lone_tuple_is_one_option() -> None:
    assert wb.Choice([(64, 32)]).options == ((64, 32),)
    assert wb.Choice((64, 32)).options == (64, 32)
    assert wb.Choice((1, ("a", None)), 2).check([1, ["a", None]]) == (1, ("a", None))
    with pytest.raises(wb.ConfigError, match="must be one of"):
        wb.Choice((1, 2), (3,)).check([1, True])
