"""`bench.continue_on`: the best configurations on a new version of the task, against hand computation; what an error
leaves behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

import workbench as wb
from tests.tasks.test_row_identity import splits_of
from workbench.core.events import TrialState
from workbench.methods.data_versions.score_change import score_change
from workbench.metrics.evaluation import evaluate_metric
from workbench.metrics.intervals import Interval
from workbench.tasks.row_identity import row_keys
from workbench.training.preparation import OBSERVED

QUICK = wb.Config(epochs=5, learning_rate=0.03, hidden_units=8)


def people(rows: int, seed: int, richer: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, rows),
            "income": rng.normal(3, 1, rows) + richer,
            "city": rng.choice(["north", "south"], rows),
        }
    )
    frame["buys"] = np.where(frame["income"] + rng.normal(0, 0.4, rows) > 3, "yes", "no")
    return frame


OLD = people(300, 0)
NEW = pd.concat([people(200, 1, richer=1.5), OLD], ignore_index=True)


def made(log: Any = None) -> wb.Workbench:
    """A workbench with three configurations, one of them with two seeds."""
    bench = wb.Workbench(wb.Task.from_frame(OLD, "buys", name="people"), log)
    bench.run(QUICK, seeds=2)
    bench.run(QUICK.replace(learning_rate=1e-4))
    bench.run(QUICK.replace(hidden_units=4))
    return bench


@pytest.fixture(scope="module")
def done() -> tuple[wb.Workbench, Any]:
    bench = made()
    return bench, bench.continue_on(NEW, top=2, seeds=2, name="spring", note="more of them", blocking=True)


# --- what happens -------------------------------------------------------------------------------------------------------


def test_the_best_settings_are_trained_anew_on_the_new_version(done: tuple[wb.Workbench, Any]) -> None:
    bench, made = done
    board = bench.leaderboard()
    scores = bench.trials.set_index("trial")
    best = {}
    for lead in board["trial"][:2]:
        own = [t for t in range(1, 5) if bench.config(t).configuration == bench.config(int(lead)).configuration]
        best[max(own, key=lambda t: scores.at[t, "best_val_metric"])] = own
    assert made.table["trial"].tolist() == list(best)
    assert made.done
    rows = bench.trials.query("source == 'continue'")
    assert rows["task_fingerprint"].unique().tolist() == [made.task.fingerprint]
    assert rows["parent"].tolist() == [old for old in best for _ in range(2)]
    assert rows["seed"].tolist() == [bench.config(old).seed + i for old in best for i in range(2)]
    assert rows["name"].unique().tolist() == ["spring"]
    assert made.table["reruns"].tolist() == [tuple(rows.query("parent == @old")["trial"]) for old in best]
    for old, rerun in zip(rows["parent"], rows["trial"], strict=True):
        assert bench.config(int(rerun)).replace(seed=0) == bench.config(int(old)).replace(seed=0)
    assert splits_of(bench.task).items() <= splits_of(made.task).items()
    # a workbench of its own on the same log
    assert made.bench.log is bench.log
    assert made.bench.leaderboard()["seeds"].tolist() == [2, 2]
    assert len(bench.leaderboard()) == 3  # the former version's is as it was
    assert made.bench.predict(int(rows["trial"].iloc[0]), NEW).shape == (500,)


def test_a_new_trial_is_what_training_on_the_version_gives(done: tuple[wb.Workbench, Any]) -> None:
    _, made = done
    rerun = made.table["reruns"][0][0]
    alone = wb.Workbench(wb.Task.from_frame(OLD, "buys", name="people").version(NEW))
    alone.run(made.bench.config(rerun))
    assert alone.curves(1)["val_loss"].tolist() == pytest.approx(
        made.bench.curves(rerun)["val_loss"].tolist(), rel=1e-4
    )


def test_the_old_model_is_measured_by_hand(done: tuple[wb.Workbench, Any]) -> None:
    bench, made = done
    keys = splits_of(made.task)
    # the rows of the new validation split, found by asking for each raw row where it went
    where = [keys[int(key)] for key in _keys(made.task, NEW)]
    validation = NEW[[split == "validation" for split in where]]
    for row in made.table.itertuples():
        answers = bench.model(row.trial).predict(validation)
        right = answers == validation["buys"].to_numpy()
        assert row.old_model == pytest.approx(right.mean())
        assert row.old_model_new_rows == pytest.approx(right[validation.index < 200].mean())
        assert row.score == bench.trials.set_index("trial").at[row.trial, "best_val_metric"]
        scores = bench.trials.set_index("trial").loc[list(row.reruns), "best_val_metric"]
        assert row.rerun == pytest.approx(scores.mean())
        assert row.change == pytest.approx(row.rerun - row.old_model)
        probabilities = bench.model(row.trial).predict_proba(validation)
        loss = -np.log(probabilities[np.arange(len(validation)), (validation["buys"] == "yes").astype(int)]).mean()
        found = [
            f.data for f in bench.log.findings("evaluation", made.task.fingerprint) if f.data["trial"] == row.trial
        ]
        assert [one["score"] for one in found] == [row.old_model]
        assert found[0]["loss"] == pytest.approx(loss, rel=1e-5)
        assert (found[0]["rows"], found[0]["of"]) == (len(validation), bench.task.fingerprint)


def _keys(task: wb.Task, frame: pd.DataFrame) -> Any:
    return row_keys(frame[["age", "income", "city"]], (frame["buys"] == "yes").to_numpy().astype(int), ("no", "yes"))


def test_the_drift_compares_old_training_rows_with_new_ones_outside_the_test_split(
    done: tuple[wb.Workbench, Any],
) -> None:
    bench, made = done
    table = made.drift.set_index("column")
    assert table.index[table["moved"]].tolist()[0] == "income"
    assert not table.loc[["age", "city"], "moved"].any()
    before, after = splits_of(bench.task), splits_of(made.task)
    keys = [int(key) for key in _keys(made.task, NEW)]
    trained = NEW[[before.get(key) == "train" for key in keys]]
    arrived = NEW[[key not in before and after[key] != "test" for key in keys]]
    expected = stats.ks_2samp(trained["income"], arrived["income"], method="asymp")
    assert table.at["income", "p_value"] == pytest.approx(expected.pvalue)
    assert table.loc["income", ["old_rows", "new_rows"]].tolist() == [len(trained), len(arrived)]


def test_the_log_knows_the_versions_and_what_they_changed(done: tuple[wb.Workbench, Any]) -> None:
    bench, made = done
    versions = bench.versions
    assert versions["version"].tolist() == [1, 2]
    assert versions["current"].tolist() == [True, False]
    assert versions["fingerprint"].tolist() == [bench.task.fingerprint, made.task.fingerprint]
    assert versions.loc[1, ["train", "validation", "test"]].to_dict() == made.task.sizes
    assert versions.loc[0, ["train", "validation", "test"]].to_dict() == bench.task.sizes
    assert versions["new_rows"][1] == 200
    assert versions["moved"][1].split(", ")[0] == "income"
    assert versions["trials"].tolist() == [4, 4]
    assert versions.loc[1, ["name", "note"]].tolist() == ["spring", "more of them"]
    pd.testing.assert_frame_equal(bench.version_changes.drop(columns="version"), made.table)
    pd.testing.assert_frame_equal(bench.drift.drop(columns="version"), made.drift, check_dtype=False)
    assert made.bench.versions["current"].tolist() == [False, True]
    pd.testing.assert_frame_equal(made.bench.version_changes, bench.version_changes)
    kinds = [finding.kind for finding in bench.log.findings()]
    assert kinds == ["version", "evaluation", "evaluation", "change"]


def test_figures_and_texts(done: tuple[wb.Workbench, Any]) -> None:
    _, made = done
    figure = made.figure()
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"trial {row.trial}\n{row.verdict}" for row in made.table.itertuples()
    ]
    drawn = next(line for line in axes.lines if line.get_label() == "old model on the new version")
    assert drawn.get_xdata().tolist() == made.table["old_model"].tolist()
    assert axes.get_xlabel() == "validation accuracy (higher is better)"
    bars = made.drift_figure().axes[0]
    assert bars.get_yticklabels()[-1].get_text() == "income"
    assert len({tuple(bar.get_facecolor()) for bar in bars.patches}) == 2  # what moved has a colour of its own
    assert made.figure()._repr_png_()[:4] == made.drift_figure()._repr_png_()[:4] == b"\x89PNG"
    assert "version 2, done: 2 configurations, moved: income" in repr(made)
    assert "<table" in made._repr_html_()


def test_a_further_version_follows_and_a_new_kernel_finds_them_all(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    bench = made(path)
    second = bench.continue_on(NEW, top=1, blocking=True)
    assert second.bench.log is bench.log
    newest = pd.concat([NEW, people(100, 2)], ignore_index=True)
    third = second.bench.continue_on(newest, top=1, blocking=True)
    assert third.task.version_number == 3
    assert splits_of(bench.task).items() <= splits_of(third.task).items()
    again = wb.Task.from_frame(OLD, "buys", name="people").version(NEW)  # as after a restart
    there = wb.Workbench(again, path)
    assert there.versions["version"].tolist() == [1, 2, 3]
    assert there.versions["current"].tolist() == [False, True, False]
    assert there.versions["new_rows"].tolist()[1:] == [200, 100]
    assert there.version_changes["version"].tolist() == [2, 3]
    assert len(there.leaderboard()) == 1
    assert there.versions.equals(third.bench.versions.assign(current=there.versions["current"]))
    other = wb.Workbench(wb.Task.load("iris"), path)
    assert other.versions["version"].tolist() == [1]
    assert other.version_changes.empty
    assert other.drift.empty


def test_versions_of_one_task_have_numbers_of_their_own() -> None:
    """In the order in which they were begun; the task itself knows only that one stands before it."""
    bench = made()
    second = bench.continue_on(NEW, top=1, blocking=True)
    third = bench.continue_on(pd.concat([OLD, people(150, 3, richer=3.0)]), top=1, blocking=True)
    fourth = second.bench.continue_on(pd.concat([NEW, people(50, 4)]), top=1, blocking=True)
    bench.continue_on(NEW, top=1, seeds=2, blocking=True)  # the same data are the same version
    assert [one.task.version_number for one in (second, third, fourth)] == [2, 2, 3]
    assert [one.version for one in (second, third, fourth)] == [2, 3, 4]
    assert "version 3, done: 1 configuration, moved" in repr(third)
    versions = bench.versions
    assert versions["version"].tolist() == [1, 2, 3, 4]
    fingerprints = [bench.task.fingerprint, *(one.task.fingerprint for one in (second, third, fourth))]
    assert versions["fingerprint"].tolist() == fingerprints
    assert versions["former"].tolist()[1:] == [fingerprints[0], fingerprints[0], fingerprints[1]]
    assert bench.version_changes["version"].tolist() == [2, 2, 3, 4]
    drifted = bench.drift
    assert not drifted.duplicated(["version", "column"]).any()
    for number, one in ((2, second), (3, third), (4, fourth)):
        assert drifted.loc[drifted["version"] == number, "statistic"].tolist() == pytest.approx(
            one.drift["statistic"].tolist()
        )
    assert third.bench.versions["version"].tolist() == [1, 2, 3, 4]


def test_old_rows_that_are_left_out_are_told() -> None:
    bench = made()
    window = pd.concat([OLD.iloc[120:], people(200, 1)], ignore_index=True)
    with pytest.warns(
        UserWarning, match=r"120 of the 300 rows of 'people' \(version 1\) are not in .*pd\.concat\(\[old, new\]\)"
    ):
        found = bench.continue_on(window, top=1, blocking=True)
    assert "120 former rows left out>" in repr(found)
    assert sum(found.task.sizes.values()) == 380
    assert bench.versions["new_rows"].tolist()[1:] == [200]


def test_a_regression_is_compared_in_the_units_of_the_new_version() -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(240, 3))
    y = 100 + X @ [30.0, -10.0, 5.0] + rng.normal(size=240)
    more = np.concatenate([X, X + 2])
    targets = np.concatenate([y, 40 + 3 * y])
    bench = wb.Workbench(wb.Task.from_arrays(X, y, metrics="rmse"))
    bench.run(QUICK.replace(epochs=10))
    made = bench.continue_on((more, targets), blocking=True)
    keys = row_keys(more, targets[:, None])
    rows = np.array([np.flatnonzero(keys == key)[0] for key in made.task.row_keys["validation"]])
    answers = bench.model(1).predict(more[rows])
    by_hand = np.sqrt(((answers - targets[rows]) ** 2).mean())
    row = made.table.iloc[0]
    assert row["old_model"] == pytest.approx(by_hand, rel=1e-4)
    assert row["rerun"] == pytest.approx(made.bench.trials["best_val_metric"].iloc[-1], rel=1e-5)
    assert row["verdict"] == "better"  # lower is better here
    assert row["change"] < 0


# --- the handle ---------------------------------------------------------------------------------------------------------


def test_it_returns_at_once_stops_and_can_be_awaited() -> None:
    bench = made()
    slow = wb.Workbench(bench.task)
    slow.run(QUICK.replace(epochs=3))
    started = bench.continue_on(NEW, top=1)
    assert bench.continue_on(NEW, top=1) is started or started.done  # a cell that was run again
    assert asyncio.run(_awaited(started)) is started
    assert started.done
    assert started.table["rerun"].notna().all()
    assert started.result.equals(started.table)


async def _awaited(handle: Any) -> Any:
    return await handle


def gated(steps: int, gate: threading.Event) -> Callable[[Any], nn.Module]:
    """The builder of a model whose training on more than 200 rows waits at a gate after so many steps."""

    class Gated(nn.Module):
        def __init__(self, large: bool) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)
            self.left = steps if large else 10**9

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training and len(x) > OBSERVED:
                self.left -= 1
                if self.left < 0:
                    gate.wait(60)
            out: torch.Tensor = self.linear(x)
            return out

    return lambda task: Gated(len(task.train.x) > 200) if hasattr(task, "train") else Gated(False)


def test_stopping_compares_what_there_is() -> None:
    gate = threading.Event()
    bench = wb.Workbench(wb.Task.from_frame(OLD, "buys"), models={"gated_e": gated(15, gate)})
    bench.run(QUICK.replace(model="gated_e"))  # 10 steps an epoch on the new version
    started = bench.continue_on(NEW, top=1)
    assert not started.done
    assert started.table["verdict"].tolist() == ["in training"]
    assert bench.continue_on(NEW, top=1) is started
    assert "running" in repr(started)
    while not any(started.runs[0]._epochs.values()):
        started.runs[0]._done.wait(0.01)
    # who looks for what was left behind leaves it alone, on either version
    assert not bench.resume()
    assert not started.bench.resume()
    assert wb.Workbench(started.task)._session is started.bench._session  # attaches to the training that goes on
    started.stop()
    gate.set()
    started.wait(60)
    assert started.stopped
    assert set(started.runs[0].states.values()) == {TrialState.STOPPED}
    assert started.bench.trials["epochs_run"].tolist() == [5, 1]
    assert started.table["rerun"].notna().all()
    assert started.table["verdict"].tolist() != ["in training"]
    assert bench.version_changes["version"].tolist() == [2]


def test_what_is_stopped_before_its_first_epoch_has_no_new_model() -> None:
    gate = threading.Event()
    bench = wb.Workbench(wb.Task.from_frame(OLD, "buys"), models={"gated_f": gated(2, gate)})
    bench.run(QUICK.replace(model="gated_f"))
    started = bench.continue_on(NEW)
    while not any(state is TrialState.RUNNING for state in started.runs[0].states.values()):
        started.runs[0]._done.wait(0.01)
    started.stop()
    gate.set()
    started.wait(60)
    assert started.bench.trials["epochs_run"].tolist() == [5, 0]
    assert started.table["verdict"].tolist() == ["no new model"]
    assert started.table["old_model"].notna().all()
    assert bench.version_changes["verdict"].tolist() == ["no new model"]


def test_a_kernel_that_dies_leaves_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = wb.Workbench(wb.Task.from_frame(OLD, "buys"))
    bench.run(QUICK)
    add, lost = bench.log.add_finding, RuntimeError("the kernel is gone")

    def dies(kind: str, data: Any, **about: Any) -> int:
        if kind == "change":
            raise lost
        return add(kind, data, **about)

    monkeypatch.setattr(bench.log, "add_finding", dies)
    started = bench.continue_on(NEW)
    with pytest.raises(RuntimeError, match="the kernel is gone"):
        started.wait(60)
    row, told = bench.version_changes.iloc[0], started.table.iloc[0]
    for name in ("version", "trial", "score", "old_model", "old_model_new_rows", "rerun", "change", "reruns"):
        assert row[name] == pytest.approx(told[name] if name != "version" else 2)
    assert np.isnan(row["change_low"])
    assert row["verdict"] == "not compared to the end"


def test_a_model_that_raises_is_told_and_the_others_are_compared() -> None:
    def fragile(task: Any) -> nn.Module:
        class Fragile(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.linear = nn.Linear(4, 2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                if self.training and len(x) == 120:  # the second batch of the new version
                    raise ValueError("not with 120 rows")
                out: torch.Tensor = self.linear(x)
                return out

        return Fragile()

    bench = wb.Workbench(wb.Task.from_frame(OLD, "buys"), models={"fragile_e": fragile})
    bench.run(QUICK.replace(model="fragile_e", batch_size=180))
    bench.run(QUICK)
    started = bench.continue_on(NEW, top=2)
    with pytest.raises(ValueError, match="not with 120 rows"):
        started.wait(60)
    table = started.table.set_index("trial")
    assert table.at[1, "verdict"] == "no new model"
    assert np.isnan(table.at[1, "rerun"])
    assert table["old_model"].notna().all()
    assert np.isfinite(table.at[2, "change_low"])
    assert bench.trials.set_index("parent")["state"].dropna().loc[[1, 2]].tolist() == ["failed", "completed"]
    assert bench.version_changes["verdict"].tolist() == started.table["verdict"].tolist()


# --- what is refused ----------------------------------------------------------------------------------------------------


def _left(bench: wb.Workbench) -> tuple[int, int, list[Any]]:
    return len(bench.trials), len(bench.log.findings()), bench.active


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda b: b.continue_on(OLD), wb.TaskError, "no new row"),
        (lambda b: b.continue_on(NEW.drop(columns="age")), wb.TaskError, "the column 'age' is missing"),
        (lambda b: b.continue_on(NEW.drop(columns="buys")), wb.TaskError, "the target column 'buys' is missing"),
        (lambda b: b.continue_on(NEW.assign(age="old")), wb.TaskError, "column 'age' holds text"),
        (lambda b: b.continue_on(NEW.replace("no", "perhaps")), wb.TaskError, "has the class 'perhaps'"),
        (lambda b: b.continue_on(wb.Task.load("iris")), wb.TaskError, "is not a version of 'people'"),
        (lambda b: b.continue_on(wb.Task.from_frame(NEW, "buys", name="people")), wb.TaskError, "test rows would be trained on"),
        (lambda b: b.continue_on(NEW, top=0), wb.ConfigError, "top=0: must be a whole number from 1"),
        (lambda b: b.continue_on(NEW, seeds=0), wb.ConfigError, "seeds=0"),
        (lambda b: b.continue_on(NEW, device="tpu"), wb.ConfigError, "device='tpu'"),
        (lambda b: b.continue_on(people(200, 1)), UserWarning, "300 of the 300 rows"),  # an error where the user wants it so
        (lambda b: b.continue_on(people(12, 9)), wb.ConfigError, "batch_size=32: larger than the training split"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_nothing_changed(
    done: tuple[wb.Workbench, Any], ask: Callable[[Any], Any], error: type[Exception], message: str
) -> None:
    bench, _ = done
    before = _left(bench)
    with pytest.raises(error, match=message):
        ask(bench)
    assert _left(bench) == before


def test_without_an_ended_trial_there_is_nothing_to_continue() -> None:
    bench = wb.Workbench(wb.Task.from_frame(OLD, "buys", name="people"))
    with pytest.raises(wb.RunError, match=r"no trial on 'people' has run to its end.*bench\.run"):
        bench.continue_on(NEW)
    assert _left(bench) == (0, 0, [])
    assert bench.versions["version"].tolist() == [1]


def test_a_ready_version_is_taken(done: tuple[wb.Workbench, Any]) -> None:
    bench = made()
    version = bench.task.version(NEW)
    found = bench.continue_on(version, top=1, blocking=True)
    assert found.task is version
    assert found.task.fingerprint == done[1].task.fingerprint


# --- the intervals ------------------------------------------------------------------------------------------------------


def outputs(right: Any) -> torch.Tensor:
    """Outputs of a two-class model that is right where it says so; the targets are all 0."""
    return torch.tensor(np.stack([np.asarray(right, float), 1 - np.asarray(right, float)], 1))


def test_the_interval_of_paired_accuracies_is_agresti_and_mins() -> None:
    before, after = np.array([1] * 50 + [0] * 20 + [1] * 4 + [0] * 26), np.array([1] * 50 + [1] * 20 + [0] * 30)
    change = score_change("accuracy", outputs(before), [outputs(after)], torch.zeros(100, dtype=torch.long))
    b, c, n = 20.5, 4.5, 102  # half a row added to each cell of the table
    centre = (b - c) / n
    half = stats.norm.ppf(0.975) * np.sqrt((b + c) / n - centre**2) / np.sqrt(n)
    assert change.change == pytest.approx(0.16)
    assert (change.change_low, change.change_high) == pytest.approx((centre - half, centre + half))
    assert change.beyond_noise
    exact = stats.binomtest(70, 100).proportion_ci(method="exact")
    assert (change.low, change.high) == pytest.approx((exact.low, exact.high))
    assert not score_change(
        "accuracy", outputs(after), [outputs(after)], torch.zeros(100, dtype=torch.long)
    ).beyond_noise


def test_the_intervals_hold_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted truth: two models that are right with known probability, the second one's seeds better or worse."""
    # the interval of the score itself is not asked for here, and takes long
    monkeypatch.setattr(
        "workbench.methods.data_versions.score_change.score_interval", lambda *_: Interval(0.0, 0.0, 0.0, "")
    )
    rng, covered, false_alarms, rounds = np.random.default_rng(0), 0, 0, 300
    zeros = torch.zeros(150, dtype=torch.long)
    for _ in range(rounds):
        hard = rng.random(150)
        seeds = [outputs(hard < np.clip(0.75 + rng.normal(0, 0.02), 0, 1)) for _ in range(3)]
        better = score_change("accuracy", outputs((hard + rng.normal(0, 0.1, 150)) < 0.65), seeds, zeros)
        covered += better.change_low <= 0.1 <= better.change_high
        same = [outputs((hard + rng.normal(0, 0.1, 150)) < 0.7)]
        false_alarms += score_change(
            "accuracy", outputs((hard + rng.normal(0, 0.1, 150)) < 0.7), same, zeros
        ).beyond_noise
    assert covered / rounds > 0.95 - 3 * np.sqrt(0.05 * 0.95 / rounds)
    assert 0 < false_alarms / rounds < 0.05 + 3 * np.sqrt(0.05 * 0.95 / rounds)


def test_other_metrics_are_resampled_in_pairs() -> None:
    rng = np.random.default_rng(1)
    truth = torch.tensor(rng.normal(size=(300, 1)))
    noise = torch.tensor(rng.normal(size=(300, 1)))
    before, after = truth + noise, truth + 0.97 * noise  # the same errors, a little smaller: pairs show it
    change = score_change("rmse", before, [after], truth)
    assert change.change == pytest.approx(
        evaluate_metric("rmse", after, truth) - evaluate_metric("rmse", before, truth)
    )
    assert change.beyond_noise
    assert change.low < change.before < change.high  # side by side they could not be told apart
    draws = np.random.default_rng(9).integers(0, 300, (2000, 300))
    errors = noise.numpy()[draws, 0]
    by_hand = (-0.03 * np.sqrt((errors**2).mean(1))).std()
    assert (change.change_high - change.change_low) / (2 * 1.96) == pytest.approx(by_hand, rel=0.1)


def test_seeds_that_differ_widen_the_interval_and_no_model_is_no_score() -> None:
    rng = np.random.default_rng(2)
    zeros = torch.zeros(400, dtype=torch.long)
    before = outputs(rng.random(400) < 0.6)
    shared = rng.random(400)
    steady = [outputs(shared < 0.8)] * 3
    apart = [outputs(shared < share) for share in (0.6, 0.8, 0.99)]
    near, far = (score_change("accuracy", before, seeds, zeros) for seeds in (steady, apart))
    assert near.beyond_noise
    assert not far.beyond_noise
    scores = [evaluate_metric("accuracy", one, zeros) for one in apart]
    spread = stats.t.ppf(0.975, 2) * np.std(scores, ddof=1) / np.sqrt(3)
    assert (far.change_high - far.change_low) / 2 > spread
    lost = score_change("accuracy", before, [], zeros)
    assert np.isnan(lost.after)
    assert not lost.beyond_noise


def test_a_metric_of_the_users_may_raise_where_a_class_is_missing() -> None:
    def picky(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        if len(targets.unique()) < 2:
            raise ValueError("one class")
        return evaluate_metric("accuracy", outputs, targets)

    wb.register_metric("picky_for_continuing", picky, better="higher")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 3)), np.arange(90) % 15 // 14
    bench = wb.Workbench(wb.Task.from_arrays(X[:75], y[:75], metrics="picky_for_continuing"))
    bench.run(QUICK)
    new = y[:75].tolist() + [0] * 15  # among the new rows one class is missing
    row = bench.continue_on((X, new), seeds=2, blocking=True).table.iloc[0]
    assert np.isnan(row["old_model_new_rows"])
    assert np.isfinite(row[["old_model", "rerun", "change_low", "change_high"]].astype(float)).all()


def test_a_single_row_is_no_evidence() -> None:
    change = score_change("rmse", torch.tensor([[1.0]]), [torch.tensor([[0.5]])], torch.tensor([[0.0]]))
    assert change.change == pytest.approx(-0.5)
    assert np.isnan([change.low, change.high, change.change_low, change.change_high]).all()
    assert not change.beyond_noise


@pytest.mark.parametrize("metric", ["f1", "rmse"])
def test_rows_of_a_group_are_one_piece_of_evidence(metric: str) -> None:
    """Eight copies of each row, in groups: as sure as one copy of each, and not nearly as sure as of rows that stand alone."""
    rng = np.random.default_rng(0)
    truth = torch.from_numpy(rng.normal(size=(60, 1)) if metric == "rmse" else rng.integers(0, 2, 60))
    models = [torch.from_numpy(rng.normal(size=(60, 1 if metric == "rmse" else 2))) for _ in range(2)]
    copies = np.repeat(np.arange(60), 8)
    once = score_change(metric, models[0], models[1:], truth)
    many = [one[copies] for one in models]
    grouped, alone = (score_change(metric, many[0], many[1:], truth[copies], own) for own in (copies, None))

    def width(change: Any) -> float:
        return float(change.change_high - change.change_low)

    assert grouped.change == pytest.approx(once.change)
    assert width(grouped) == pytest.approx(width(once), rel=0.15)  # of other draws
    assert width(alone) < 0.8 * width(grouped)
    assert np.isnan(score_change(metric, many[0], many[1:], truth[copies], np.zeros(480)).change_low)
