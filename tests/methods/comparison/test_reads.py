"""What is read of the log for the views, against what was put into it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import workbench as wb
from workbench.methods.comparison.reads import Reads

QUICK = wb.Config(epochs=3, hidden_units=8)


def test_origins_are_the_best_usable_trials_of_each_task_this_one_first() -> None:
    other = wb.Workbench(wb.Task.load("diabetes"))
    for rate in (0.001, 0.01, 0.05):
        other.run(QUICK.replace(learning_rate=rate))
    other.run(wb.Config(optimizer="sgd", learning_rate=10.0, epochs=8))  # diverges
    session = other.presenter.session.on(wb.Task.load("iris"))
    bench = wb.Workbench._of(session, "cpu")
    bench.run(QUICK, seeds=3)
    bench.replay(5).wait()
    found = Reads.of(session).origins(2)
    assert found.columns.tolist() == ["trial", "task", "own", "metric", "best_val_metric"]
    assert found["own"].tolist() == [True, True, False, False]
    assert found["metric"].tolist() == ["accuracy", "accuracy", "r2", "r2"]
    frame = bench.trials.set_index("trial")
    assert set(frame.loc[frame["state"] == "diverged"].index) == {4}
    own = frame.loc[[5, 6, 7], "best_val_metric"].sort_values(ascending=False, kind="stable")
    assert found["trial"].tolist()[:2] == own.index.tolist()[:2]
    there = frame.loc[[1, 2, 3], "best_val_metric"].sort_values(ascending=False)
    assert found["trial"].tolist()[2:] == there.index.tolist()[:2]


def test_the_best_of_this_task_is_an_origin_however_old_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = wb.Workbench(wb.Task.load("iris"))
    bench.run(QUICK.replace(epochs=30, learning_rate=0.03))
    bench.run(QUICK.replace(learning_rate=1e-5))
    bench.run(QUICK.replace(learning_rate=1e-5, seed=1))
    monkeypatch.setattr("workbench.methods.comparison.reads.TABLE_TRIALS", 1)
    reads = Reads.of(bench.presenter.session)
    assert reads.origins(5)["trial"].tolist() == [1, 3]
    assert reads.origins(1)["trial"].tolist() == [1]


def test_altered_trials_are_no_draws_of_the_setting_they_began_or_ended_with() -> None:
    bench = wb.Workbench(wb.Task.load("iris"))
    bench.run(QUICK, seeds=3)
    bench.run(QUICK.replace(seed=3), changes=[(2, "learning_rate", 1e-6)])
    bench.run(QUICK.replace(learning_rate=1e-6))
    branch = bench.branch(5, epoch=2, learning_rate=QUICK.learning_rate)
    branch.wait(60)
    board = bench.leaderboard(None)
    seeds = dict(zip(board["trial"], board["seeds"], strict=True))
    assert seeds == {1: 3, 4: 1, 5: 1, branch.trials[0]: 1}
    first = board.set_index("trial").loc[1, "mean"]
    assert first == pytest.approx(bench.trials["best_val_metric"][:3].mean())
    assert bench.diagnose(4).verdict  # its configuration is none of the others'
    run = bench.add_seeds(top=4, seeds=1)
    run.wait(60)
    assert not {4, branch.trials[0]} & set(bench.trials.set_index("trial").loc[list(run.trials), "parent"])


def test_without_a_trial_there_is_no_origin() -> None:
    bench = wb.Workbench(wb.Task.load("iris"))
    found = Reads.of(bench.presenter.session).origins(5)
    assert isinstance(found, pd.DataFrame)
    assert found.empty


def test_the_groups_of_layers_are_those_that_freezing_counts() -> None:
    bench = wb.Workbench(wb.Task.load("iris"))
    bench.run(QUICK.replace(hidden_layers=3, batch_norm=True))
    groups = Reads.of(bench.presenter.session).layer_groups(1)
    bench.finetune(from_trial=1, freeze=len(groups), config=QUICK).wait()
    with pytest.raises(wb.ConfigError, match=f"from 0 to {len(groups)}"):
        bench.finetune(from_trial=1, freeze=len(groups) + 1, config=QUICK)
    assert all("(Linear)" in group for group in groups)
    assert len(Reads.of(bench.presenter.session).layer_groups(2)) == len(groups)  # fine-tuned itself


def test_the_groups_of_a_model_that_is_not_registered_are_not_known() -> None:
    bench = wb.Workbench(wb.Task.load("iris"), models={"passing": lambda task: __import__("torch").nn.Linear(4, 3)})
    bench.run(wb.Config(model="passing", epochs=1))
    reads = Reads.of(bench.presenter.session)
    assert reads.layer_groups(1) == []  # nothing but a head
    from workbench.core.registry import MODELS

    MODELS.unregister("passing")
    assert reads.layer_groups(1) == []


def test_trials_under_another_monitor_are_another_configuration(tmp_path: Path) -> None:
    """The same training, of which another epoch counts: neither the same draw nor a further seed."""
    log = tmp_path / "trials.db"
    steep = QUICK.replace(learning_rate=0.05, epochs=8)
    wb.Workbench(wb.Task.load("iris"), log).run(steep, seeds=2)
    bench = wb.Workbench(wb.Task.load("iris", monitor="accuracy"), log)
    bench.run(steep, seeds=2)
    frame, board = bench.trials.set_index("trial"), bench.leaderboard().set_index("trial")
    assert board["seeds"].to_dict() == {1: 2, 3: 2}
    for first in (1, 3):
        assert board.loc[first, "mean"] == pytest.approx(frame.loc[[first, first + 1], "best_val_metric"].mean())
    search = bench.search("tpe", {"learning_rate": wb.LogRange(1e-3, 1)}, steep, trials=1, blocking=True)
    assert search.progress.learned == 2
