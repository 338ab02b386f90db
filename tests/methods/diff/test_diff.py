"""`bench.diff`: what trials differ in, against planted differences, scipy and the leaderboard."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from torch import nn

import workbench as wb
from tests.ui.canned import record
from workbench.core.errors import ConfigError, LogError, RunError
from workbench.core.events import EpochEnd, Event, StateChanged, TrialEnded, TrialState
from workbench.methods.comparison.fold_test import corrected_p_value
from workbench.methods.diff.view import TrialDiff

BASE = wb.Config(epochs=2, hidden_units=8)
FAST = BASE.replace(learning_rate=0.1)
SCORES = {"base": [0.90, 0.92, 0.91, 0.90], "fast": [0.84, 0.86, 0.83], "wide": [0.80, 0.81, 0.86]}
F1 = {"base": [0.70, 0.75, 0.72, 0.71], "fast": [0.74, 0.76, 0.71], "wide": [0.60, 0.64, 0.61]}


def entered(bench: wb.Workbench, config: wb.Config, accuracy: Sequence[float], f1: Sequence[float]) -> list[int]:
    """Trials of one configuration, one a seed, with planted scores at their first epoch, which is the best."""
    session = bench.presenter.session
    numbers = []
    for seed, (score, other) in enumerate(zip(accuracy, f1, strict=True)):
        (trial,) = session.log.create([session.new_trial(config.replace(seed=seed))])
        events: list[Event] = [StateChanged(trial, TrialState.RUNNING)]
        for epoch, shift in ((1, 0.0), (2, -0.1)):
            metrics = {"accuracy": (0.5, score + shift), "f1": (0.5, other + shift)}
            events.append(
                EpochEnd(trial, epoch, 5 * epoch, 1, 0, 0.5, epoch, score + shift, 0.1, 1, 0.1, metrics=metrics)
            )
        events.append(TrialEnded(trial, TrialState.COMPLETED, 2, 10, 1, 1.0, score, 0.1))
        session.log.append(events)
        numbers.append(trial)
    return numbers


@pytest.fixture(scope="module")
def planted() -> tuple[wb.Workbench, dict[str, list[int]]]:
    bench = wb.Workbench(wb.Task.load("iris", metrics=("accuracy", "f1")))
    configs = {"base": BASE, "fast": FAST, "wide": BASE.replace(optimizer="momentum", l2=1e-3)}
    return bench, {name: entered(bench, config, SCORES[name], F1[name]) for name, config in configs.items()}


def differing(first: wb.Config, second: wb.Config) -> dict[str, tuple[Any, Any]]:
    """Brute force: the fields that both or one of two configurations read, with other values."""
    values = [{name: value for name, value in one.model_dump().items() if one.uses(name)} for one in (first, second)]
    names = dict.fromkeys([*values[0], *values[1]])
    pairs = {name: (values[0].get(name, "unread"), values[1].get(name, "unread")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def cells(found: TrialDiff, part: str) -> dict[str, tuple[Any, ...]]:
    rows = found.table.loc[part] if part in found.table.index.get_level_values("part") else pd.DataFrame()
    return {
        str(name): tuple("unread" if value is math.nan else value for value in rows.loc[name]) for name in rows.index
    }


# --- configurations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [("base", "fast"), ("fast", "wide"), ("wide", "base")])
def test_only_hyperparameters_that_differ_are_listed(
    planted: tuple[wb.Workbench, dict[str, list[int]]], pair: tuple[str, str]
) -> None:
    bench, trials = planted
    first, second = (trials[name][0] for name in pair)
    found = bench.diff(first, second)
    assert cells(found, "hyperparameter") == differing(bench.config(first), bench.config(second))
    assert found.table.columns.tolist() == [first, second]
    assert not {"live change", "branch", "code", "data", "result"} & set(found.table.index.get_level_values("part"))


def test_of_three_trials_a_row_stands_for_each_difference_of_any_two(
    planted: tuple[wb.Workbench, dict[str, list[int]]],
) -> None:
    bench, trials = planted
    numbers = [trials[name][0] for name in ("base", "fast", "wide")]
    configs = [bench.config(trial) for trial in numbers]
    expected = {name for one in configs for other in configs for name in differing(one, other)}
    assert set(cells(bench.diff(*numbers), "hyperparameter")) == expected


def test_of_two_seeds_of_a_configuration_only_the_seed_differs(
    planted: tuple[wb.Workbench, dict[str, list[int]]],
) -> None:
    bench, trials = planted
    found = bench.diff(*trials["base"][:2])
    assert cells(found, "hyperparameter") == {"seed": (0, 1)}
    assert found.table.loc[("accuracy", "p_value")].isna().all()
    assert "seeds of one configuration" in found.sentences[0]


# --- scores -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("metric", "planted_scores"), [("accuracy", SCORES), ("f1", F1)])
@pytest.mark.parametrize("pair", [("base", "fast"), ("fast", "base"), ("fast", "wide")])
def test_means_intervals_and_p_values_are_scipys(
    planted: tuple[wb.Workbench, dict[str, list[int]]],
    pair: tuple[str, str],
    metric: str,
    planted_scores: dict[str, list[float]],
) -> None:
    bench, trials = planted
    first, second = (trials[name][1] for name in pair)
    rows = bench.diff(first, second).table.loc[metric]
    for name, trial in zip(pair, (first, second), strict=True):
        values = planted_scores[name]
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert rows.loc[["mean", "low", "high"], trial].tolist() == pytest.approx([np.mean(values), low, high])
        assert rows.at["score", trial] == pytest.approx(values[1])
        assert rows.at["seeds", trial] == len(values)
    one, other = (planted_scores[name] for name in pair)
    assert rows.at["p_value", second] == pytest.approx(stats.ttest_ind(one, other, equal_var=False).pvalue)
    assert rows.at["difference", second] == pytest.approx(np.mean(other) - np.mean(one))
    assert math.isnan(rows.at["p_value", first])


def test_against_the_best_the_p_value_is_the_leaderboards(
    planted: tuple[wb.Workbench, dict[str, list[int]]],
) -> None:
    bench, trials = planted
    board = bench.leaderboard().set_index("trial")
    assert board.index[0] == trials["base"][0]
    rows = bench.diff(trials["base"][2], trials["fast"][0], trials["wide"][1]).table.loc["accuracy"]
    for column, name in zip(rows.columns[1:], ("fast", "wide"), strict=True):
        row = board.loc[trials[name][0]]
        assert rows.loc[["mean", "low", "high", "p_value"], column].tolist() == pytest.approx(
            row[["mean", "low", "high", "p_value"]].tolist()
        )


def test_a_single_seed_is_compared_by_the_pooled_variance() -> None:
    bench = wb.Workbench(wb.Task.load("iris", metrics=("accuracy", "f1")))
    base = entered(bench, BASE, SCORES["base"], F1["base"])
    (one,) = entered(bench, FAST, [0.8], [0.7])
    entered(bench, BASE.replace(l2=0.01), SCORES["wide"], F1["wide"])
    groups = [SCORES["base"], SCORES["wide"]]
    freedom = sum(len(group) - 1 for group in groups)
    pooled = sum((len(group) - 1) * np.var(group, ddof=1) for group in groups) / freedom
    t = (np.mean(groups[0]) - 0.8) / np.sqrt(pooled * (1 / 4 + 1))
    for pair in ((base[0], one), (one, base[0])):
        found = bench.diff(*pair)
        assert found.table.at[("accuracy", "p_value"), pair[1]] == pytest.approx(2 * stats.t.sf(t, freedom))
        assert math.isnan(found.table.at[("accuracy", "low"), one])
    assert "worse beyond the seeds' noise" in bench.diff(base[0], one).sentences[0]
    assert "better beyond the seeds' noise" in bench.diff(one, base[0]).sentences[0]


def test_without_replicates_the_comparison_is_unknown() -> None:
    bench = wb.Workbench(wb.Task.load("iris", metrics=("accuracy", "f1")))
    first, second = entered(bench, BASE, [0.9], [0.7]) + entered(bench, FAST, [0.8], [0.7])
    found = bench.diff(first, second)
    assert math.isnan(found.table.at[("accuracy", "p_value"), second])
    assert "bench.add_seeds" in found.sentences[0]
    assert "p unknown: needs more seeds" in repr(found)


def test_folds_are_compared_by_the_corrected_test() -> None:
    task = wb.Task.load("iris", split=wb.Split.folds(3), metrics=("accuracy", "f1"))
    bench = wb.Workbench(task)
    first, second = bench.run(BASE).trials[0], bench.run(FAST).trials[0]
    rows = bench.diff(second, first).table
    folds = bench.log.history.folds(first, second)
    frame = bench.trials.set_index("trial")
    assert task.folds is not None
    for metric in ("accuracy", "f1"):
        one, other = (
            folds[(folds["trial"] == trial) & (folds["epoch"] == frame.at[trial, "best_epoch"])][f"val_{metric}"]
            for trial in (first, second)
        )
        expected = corrected_p_value(other.to_numpy(), one.to_numpy(), task.folds.ratio)
        assert rows.at[(metric, "p_value"), first] == pytest.approx(expected)
        assert rows.at[(metric, "mean"), first] == pytest.approx(one.mean())


# --- live changes, branches, code, data ---------------------------------------------------------------------------------


@pytest.fixture
def canned() -> wb.Workbench:
    return wb.Workbench(wb.Task.load("iris"))


def test_live_changes_are_listed_with_epoch_and_values(canned: wb.Workbench) -> None:
    plain, changed, other = (
        record(canned), record(canned, change=(2, 0.05)), record(canned, change=(3, 0.5)),
    )  # fmt: skip
    assert cells(canned.diff(plain, changed), "live change") == {"learning_rate": ("", "epoch 2: 0.001 → 0.05")}
    assert cells(canned.diff(changed, other), "live change") == {
        "learning_rate": ("epoch 2: 0.001 → 0.05", "epoch 3: 0.001 → 0.5")
    }
    assert "live changes of the learning rate" in canned.diff(plain, changed).title
    twin = record(canned, change=(2, 0.05))
    assert cells(canned.diff(changed, twin), "live change") == {}
    assert canned.diff(changed, twin).table.at[("accuracy", "seeds"), twin] == 1  # each a configuration of its own


def test_a_branch_has_its_origin_and_the_changes_before_it(canned: wb.Workbench) -> None:
    parent = record(canned, change=(3, 0.05))
    config = canned.config(parent)
    early = record(canned, config.replace(l2=0.1), branch=(parent, 2))
    late = record(canned, config.replace(l2=0.1), branch=(parent, 3))
    grandchild = record(canned, config.replace(l2=0.1, epochs=6), branch=(late, 4))
    found = canned.diff(early, late)
    assert cells(found, "branch") == {"from": (f"trial {parent} after epoch 2", f"trial {parent} after epoch 3")}
    by_parent = f"epoch 3: 0.001 → 0.05 (trial {parent})"
    assert cells(found, "live change") == {"learning_rate": ("", by_parent)}
    assert cells(canned.diff(early, grandchild), "live change") == {"learning_rate": ("", by_parent)}
    assert cells(canned.diff(parent, late), "live change") == {}  # the same change, made by the same trial
    assert cells(canned.diff(parent, late), "hyperparameter")["l2"] == (0.0, 0.1)


def small(task: wb.Task, *, width: Any = wb.IntRange(2, 64, default=8)) -> nn.Module:
    return nn.Linear(task.input_shape[0], task.output_size)


def deep(task: wb.Task, *, width: Any = wb.IntRange(2, 64, default=8)) -> nn.Module:
    return nn.Sequential(nn.Linear(task.input_shape[0], width), nn.ReLU(), nn.Linear(width, task.output_size))


def test_an_edited_builder_is_other_code_with_its_source(tmp_path: Path, new_kernel: Callable[[], None]) -> None:
    task, config, log = wb.Task.load("iris"), {"model": "mine", "epochs": 1}, tmp_path / "log.db"
    bench = wb.Workbench(task, log, models={"mine": small})
    one, seed = bench.run(wb.Config(**config), seeds=2).trials
    assert cells(bench.diff(one, seed), "code") == {}
    new_kernel()
    bench = wb.Workbench(task, log, models={"mine": [small, deep]})
    two = bench.run(wb.Config(**config)).trials[0]
    found = bench.diff(one, two)
    identities = cells(found, "code")["model"]
    assert identities == (bench.log.record(one).builder, bench.log.record(two).builder)
    assert identities[0] != identities[1]
    assert "hyperparameter" not in found.table.index.get_level_values("part")
    assert "-    return nn.Linear(task.input_shape[0], task.output_size)" in found.source
    assert "nn.ReLU()" in found._repr_html_()
    assert "code of the model" in found.title


def test_data_versions_are_named_and_their_scores_are_not_compared() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=120), "b": rng.normal(size=120)})
    frame["y"] = np.where(frame["a"] + 0.1 * frame["b"] > 0, "yes", "no")
    bench = wb.Workbench(wb.Task.from_frame(frame.head(90), "y"))
    old = bench.run(BASE).trials[0]
    made = bench.continue_on(frame, top=1, name="june", blocking=True)
    new = int(bench.trials["trial"].max())
    found = made.bench.diff(old, new)
    assert cells(found, "data") == {"version": ("1", "2 (june)")}
    assert found.table.loc[("accuracy", "p_value")].isna().all()
    assert f"Trial {old} is on another version of the data" in found.sentences[0]
    assert np.isfinite(found.table.loc[("accuracy", "score")].astype(float)).all()
    assert "version of the data" in found.title


# --- trials without a score, and arguments that cannot be ---------------------------------------------------------------


@pytest.mark.parametrize("state", [TrialState.STOPPED, TrialState.PRUNED, TrialState.DIVERGED, None])
def test_a_trial_that_did_not_run_to_its_end_is_not_compared(canned: wb.Workbench, state: TrialState | None) -> None:
    first, second = record(canned), record(canned, state=state)
    found = canned.diff(first, second)
    assert cells(found, "result")["state"] == ("completed", "running" if state is None else str(state))
    assert found.table.at[("accuracy", "seeds"), second] == 0
    assert (
        f"Trial {second} is {'running' if state is None else state}, so its score is not compared" in found.sentences[0]
    )


def test_a_trial_in_the_trash_is_shown_and_not_compared(canned: wb.Workbench) -> None:
    first, second = record(canned), record(canned, wb.Config(epochs=4, hidden_units=8, l2=0.5))
    canned.delete(second)
    found = canned.diff(first, second)
    assert cells(found, "hyperparameter") == {"l2": (0.0, 0.5)}
    assert f"bench.restore({second})" in found.sentences[0]


def test_arguments_that_cannot_be_compared_are_rejected(canned: wb.Workbench) -> None:
    first = record(canned)
    for trials, words in (((), "two or more"), ((first,), "two or more"), ((first, first), "given twice")):
        with pytest.raises(ConfigError, match=words):
            canned.diff(*trials)
    with pytest.raises(ConfigError, match=r"bench.diff\(\*\[1, 2\]\)"):
        canned.diff([1, 2])  # type: ignore[arg-type]
    with pytest.raises(LogError, match="999"):
        canned.diff(first, 999)
    with pytest.raises(RunError, match="whole number"):
        canned.diff(first, "two")  # type: ignore[arg-type]


def test_a_trial_of_another_task_is_rejected(tmp_path: Path) -> None:
    log = tmp_path / "log.db"
    wine = record(wb.Workbench(wb.Task.load("wine"), log))
    bench = wb.Workbench(wb.Task.load("iris"), log)
    with pytest.raises(RunError, match=f"trial {wine} is on other data than 'iris'"):
        bench.diff(record(bench), wine)


def test_text_out_of_the_log_is_escaped(canned: wb.Workbench) -> None:
    config = wb.Config(epochs=2, class_weight={"<b>setosa": 1.0})
    shown = canned.diff(record(canned), record(canned, config))._repr_html_()
    assert "&lt;b&gt;setosa" in shown
    assert "<b>setosa" not in shown


def test_another_monitor_is_named_once(tmp_path: Path) -> None:
    log = tmp_path / "log.db"
    first = record(wb.Workbench(wb.Task.load("iris"), log))
    bench = wb.Workbench(wb.Task.load("iris", monitor="accuracy"), log)
    found = bench.diff(first, record(bench))
    assert cells(found, "data") == {"monitor": ("loss", "accuracy")}
    assert cells(found, "code") == {}
