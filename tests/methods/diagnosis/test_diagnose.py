"""Diagnosing trials of a log, trying what is prescribed, and the record that the log keeps of it."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import workbench as wb
from workbench.core.registry import METRICS
from workbench.methods.diagnosis.case import Finding, Prescription
from workbench.methods.diagnosis.rules import all_rules
from workbench.metrics.intervals import standard_error

GOOD = wb.Config(learning_rate=0.01, epochs=8, hidden_units=16)
WILD = GOOD.replace(optimizer="sgd", learning_rate=8.0)
SLOW = GOOD.replace(learning_rate=1e-5)


@pytest.fixture(scope="module")
def task() -> wb.Task:
    return wb.Task.load("wine")


@pytest.fixture
def bench(task: wb.Task) -> wb.Workbench:
    return wb.Workbench(task)


def kept(bench: wb.Workbench) -> tuple[int, int, int]:
    """How much there is in the log."""
    return len(bench.trials), len(bench.curves()), len(bench.log.findings())


def test_a_diagnosis_reads_and_neither_writes_nor_disturbs(bench: wb.Workbench) -> None:
    bench.run(GOOD)
    bench.run(WILD)
    before, random = kept(bench), torch.get_rng_state()
    found = bench.diagnose(np.int64(2))  # type: ignore[arg-type]  # a number out of a table
    assert found.verdict == "rate_too_high"
    assert found.trial == 2
    assert kept(bench) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert bench.diagnose(1).verdict == "healthy"


def test_what_is_prescribed_is_trained_helps_and_is_on_record(bench: wb.Workbench) -> None:
    bench.run(GOOD)
    bench.run(SLOW, name="slow")
    found = bench.diagnose(2)
    assert found.verdict == "rate_too_low"
    assert bench.rules().set_index("rule").loc["rate_too_low", "tried"] == 0
    run = bench.try_it(found).wait()
    assert bench.config(3) == bench.config(2).replace(**found.findings[0].prescription.changes)
    row = bench.trials.set_index("trial").loc[3]
    assert (run.trials, row["source"], row["parent"], row["state"]) == ((3,), "prescription", 2, "completed")
    assert row["note"].startswith("learning rate too low: raise the learning rate")
    tried = bench.prescriptions().iloc[0]
    before, after = bench.trials.set_index("trial").loc[[2, 3], "best_val_metric"]
    assert (tried["trial"], tried["rule"], tried["how"], tried["tried"]) == (2, "rate_too_low", "new", [3])
    assert (tried["score_before"], tried["score_after"], tried["difference"]) == (before, after, after - before)
    assert tried["helped"] == (after - before > standard_error("accuracy", before, 36))
    assert tried["helped"]
    said = "helped 1 of 1 time in this log, by the best validation metric"
    assert bench.diagnose(2).findings[0].record == said
    bench.try_it(2).wait()  # the same seed comes to the same, which is no second piece of evidence
    rules = bench.rules().set_index("rule").loc["rate_too_low"]
    interval = stats.binomtest(1, 1).proportion_ci(0.95, "exact")
    assert tuple(rules[["tried", "helped", "share", "low", "high"]]) == pytest.approx(
        (1, 1, 1.0, interval.low, interval.high)
    )
    assert list(bench.rules()["rule"]) == list(all_rules())


def test_one_that_did_not_help_says_so_and_one_of_another_rule_is_not_counted(bench: wb.Workbench) -> None:
    bench.run(GOOD)
    bench.run(SLOW)
    found = bench.diagnose(2)
    useless = replace(found.findings[0].prescription, changes={"learning_rate": 1.1e-5})
    found.findings = (replace(found.findings[0], prescription=useless),)
    bench.try_it(found).wait()
    assert not bench.prescriptions()["helped"].item()
    rules = bench.rules().set_index("rule")
    assert (rules.loc["rate_too_low", "tried"], rules.loc["rate_too_low", "helped"]) == (1, 0)
    assert (rules["tried"].sum(), rules["share"].notna().sum()) == (1, 1)


def test_while_it_trains_it_is_not_known_and_asking_again_starts_no_second(bench: wb.Workbench) -> None:
    bench.run(GOOD)
    bench.run(SLOW.replace(epochs=300), stop_after=60)
    run = bench.try_it(2)
    again = bench.try_it(2)
    assert again is run
    tried = bench.prescriptions()
    assert len(tried) == 1
    assert pd.isna(tried["helped"].item()) or run.done
    run.stop()
    run.wait()
    assert not pd.isna(bench.prescriptions()["helped"].item())


def test_two_clicks_at_once_start_one_run(bench: wb.Workbench) -> None:
    bench.run(GOOD)
    bench.run(SLOW.replace(epochs=100_000), stop_after=60)
    diagnosed, gate = bench.diagnose(2), threading.Barrier(6)
    runs: list[wb.Run] = []

    def click() -> None:
        gate.wait()
        runs.append(bench.try_it(diagnosed))

    clicks = [threading.Thread(target=click) for _ in range(6)]
    for one in clicks:
        one.start()
    for one in clicks:
        one.join()
    runs[0].stop()
    runs[0].wait()
    assert len(runs) == 6
    assert all(run is runs[0] for run in runs)
    assert len(bench.prescriptions()) == 1
    assert len(bench.trials) == 3


def test_a_metric_that_is_not_known_here_leaves_the_record_readable(tmp_path: Path) -> None:
    def share(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        return float((outputs.argmax(-1) == targets).double().mean())

    wb.register_metric("share_for_diagnosis", share, better="higher")
    bench = wb.Workbench(wb.Task.load("wine", metrics="share_for_diagnosis"), log=tmp_path / "a.db")
    bench.run(GOOD)
    bench.run(WILD.replace(epochs=12))
    bench.try_it(2).wait()
    assert bench.prescriptions()["helped"].tolist() == [True]
    METRICS.unregister("share_for_diagnosis")  # as in a new kernel
    other = wb.Workbench(wb.Task.load("wine"), log=tmp_path / "a.db")
    other.run(GOOD)
    assert other.prescriptions()["helped"].isna().tolist() == [True]
    assert other.rules()["tried"].sum() == 0
    assert other.diagnose(4).verdict == "healthy"
    # the very same data, but scores that cannot be compared
    with pytest.raises(wb.RunError, match="trial 2 was measured by 'share_for_diagnosis'.*this task's 'accuracy'"):
        other.diagnose(2)


def test_a_plateau_is_branched_off_where_it_began(bench: wb.Workbench) -> None:
    bench.run(GOOD)
    found = bench.diagnose(1)
    given = Prescription("let it fall", "branch", {"schedule": "cosine"}, 5)
    found.findings = (Finding("plateau", "plateau since epoch 5", ("1",), given, 0.5, 5),)
    bench.try_it(found, "plateau").wait()
    row = bench.trials.set_index("trial").loc[2]
    assert (row["source"], row["parent"], row["parent_epoch"], row["schedule"]) == ("branch", 1, 5, "cosine")
    assert bench.prescriptions()["how"].item() == "branch"
    # a change that cannot be is refused, and nothing is logged
    wrong = replace(given, changes={"hidden_units": 3})
    found.findings = (replace(found.findings[0], prescription=wrong),)
    before = kept(bench)
    with pytest.raises(wb.ConfigError, match="keeps the architecture"):
        bench.try_it(found)
    assert kept(bench) == before


def test_more_seeds_go_to_both_settings_and_settle_it_or_not(bench: wb.Workbench) -> None:
    config = GOOD.replace(epochs=3, batch_size=16)
    bench.run(config)
    bench.run(config.replace(learning_rate=0.011))
    leader = int(bench.leaderboard()["trial"].iloc[0])
    found = bench.diagnose(leader)
    assert found.verdict == "noise"
    run = bench.try_it(found).wait()
    frame = bench.trials.set_index("trial")
    assert sorted(frame.loc[list(run.trials), "parent"]) == [1] * 4 + [2] * 4
    assert frame.loc[[leader, *run.trials], "seed"].nunique() == 5
    board = bench.leaderboard()
    assert list(board["seeds"]) == [5, 5]
    own, other = (frame.loc[frame["learning_rate"] == rate, "best_val_metric"] for rate in (0.01, 0.011))
    assert bench.prescriptions()["helped"].item() == (stats.ttest_ind(own, other, equal_var=False).pvalue < 0.05)
    assert bench.diagnose(int(board["trial"].iloc[0])).verdict == "healthy"  # five seeds each: no more is asked for


def test_a_trial_that_diverged_at_once_is_diagnosed_and_helped_by_any_score(bench: wb.Workbench) -> None:
    bench.run(GOOD)
    bench.run(GOOD.replace(optimizer="sgd", loss="mse", learning_rate=10.0, hidden_units=256))
    assert bench.trials["state"].iloc[1] == "diverged"
    found = bench.diagnose(2)
    assert found.verdict == "rate_too_high"
    assert found.figure()._repr_png_().startswith(b"\x89PNG")
    bench.try_it(found).wait()
    assert bench.prescriptions()["helped"].item()
    bench.delete(2)
    assert pd.isna(bench.prescriptions()["helped"].item())
    assert bench.rules()["tried"].sum() == 0


def test_an_unfinished_trial_is_judged_by_what_there_is(bench: wb.Workbench) -> None:
    run = bench.start(GOOD.replace(epochs=50_000))
    try:
        while len(bench.curves(1)) < 3:
            threading.Event().wait(0.01)
        run.pause()
        while not run.paused:
            threading.Event().wait(0.01)
        found = bench.diagnose(1)
        told = len(bench.curves(1))
        assert any(f"the trial is paused: diagnosed from its first {told} epochs" in note for note in found.notes)
        assert found.verdict in {*all_rules(), "healthy"}
    finally:
        run.stop()
        run.wait()


def test_layers_after_training_come_from_a_checkpoint_in_another_kernel(task: wb.Task, tmp_path: Path) -> None:
    config = GOOD.replace(learning_rate=2.0)
    first = wb.Workbench(task, log=tmp_path / "a.db")
    first.run(GOOD)
    first.run(config)
    assert first.checkpoints.flush(60)
    again = wb.Workbench(task, log=tmp_path / "a.db").diagnose(2)
    assert again.case.trained_epoch == 8
    assert again.case.trained is not None
    module = first.model(2, epoch=8).module
    weights = [part.weight.detach().flatten() for part in module if isinstance(part, torch.nn.Linear)]
    for fact, expected in zip([one for one in again.case.trained if one.weight is not None], weights, strict=True):
        assert torch.equal(fact.weight, expected)  # type: ignore[arg-type]
    assert again.verdict == first.diagnose(2).verdict == "rate_too_high"
    assert not any("no weights" in note for note in again.notes)


def test_without_a_checkpoint_nothing_is_trained_again_for_the_layers(task: wb.Task, tmp_path: Path) -> None:
    first = wb.Workbench(task, log=tmp_path / "a.db")
    first.run(GOOD)
    assert first.checkpoints.flush(60)
    assert first.checkpoints.folder is not None
    shutil.rmtree(first.checkpoints.folder)
    bare = wb.Workbench(task, log=tmp_path / "a.db").diagnose(1)
    assert bare.case.trained is None
    assert bare.case.initial is not None
    assert bare.verdict == "healthy"
    assert any("its weights are not available" in note for note in bare.notes)
    # where the kernel still has the best ones, they do
    at_hand = first.diagnose(1).case
    assert at_hand.trained_epoch == first.trials["best_epoch"].item()


def test_a_branch_has_no_initial_weights_of_its_own(bench: wb.Workbench) -> None:
    bench.run(GOOD)
    bench.branch(1, epoch=6, learning_rate=1e-3).wait()
    assert bench.diagnose(2).case.initial is None


def test_the_baseline_is_measured_by_the_tasks_own_metric(task: wb.Task) -> None:
    bench = wb.Workbench(task)
    bench.run(GOOD.replace(epochs=2))
    case = bench.diagnose(1).case
    assert (case.baseline_score, case.baseline_loss) == pytest.approx((task.baseline.metric, task.baseline.loss))
    rmse = wb.Task.load("diabetes", metrics="rmse")
    bench = wb.Workbench(rmse)
    bench.run(wb.Config(epochs=2))
    assert bench.diagnose(1).case.baseline_score == pytest.approx(
        rmse.baseline.loss**0.5 * rmse.target_std.item(), rel=1e-5
    )
    # another loss than the baseline's cannot be measured by it
    bench.run(wb.Config(epochs=2, loss="mae"))
    assert np.isnan(bench.diagnose(2).case.baseline_loss)


def test_an_untrained_models_loss_is_not_taken_for_thrown_up_where_a_class_is_rare() -> None:
    """One row in thirteen: knowing that alone gives a loss of 0.27, and a network begins at ln 2."""
    X = np.random.default_rng(0).normal(size=(600, 6))
    bench = wb.Workbench(wb.Task.from_arrays(X, (X[:, 0] + X[:, 1] > 2).astype(int)))
    assert np.log(2) > 2 * bench.task.baseline.loss
    config = wb.Config(hidden_units=16, epochs=15, learning_rate=0.01)
    for rate in (0.01, 1e-4, 1e-6):
        bench.run(config.replace(learning_rate=rate))
    bench.run(config.replace(optimizer="sgd", learning_rate=10.0))
    verdicts = [bench.diagnose(trial).verdict for trial in (1, 2, 3, 4)]
    assert verdicts[1:] == ["rate_too_low", "rate_too_low", "rate_too_high"]
    assert verdicts[0] != "rate_too_high"


def test_a_loss_that_weighs_classes_is_not_measured_by_the_baseline_that_does_not() -> None:
    """A rare class that counts as much as the frequent one: the loss at rest lies above that of the class shares alone."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4))
    rare = (X[:, 0] + rng.normal(size=600) > 1.9).astype(int)
    bench = wb.Workbench(wb.Task.from_arrays(X, rare, metrics="balanced_accuracy"))
    weighed = wb.Config(hidden_layers=0, epochs=12, learning_rate=0.05, class_weight="balanced")
    bench.run(weighed)
    assert bench.curves(1)["train_loss"].iloc[-1] > 1.1 * bench.task.baseline.loss  # so it would seem to learn nothing
    assert bench.curves(1)["val_metric"].iloc[-1] > 0.75
    found = bench.diagnose(1)
    assert not any("ignores its input" in text for one in found.findings for text in one.evidence)
    assert found.verdict != "rate_too_high"
    bench.run(weighed.replace(class_weight={"1": 10.0}, epochs=1))
    bench.run(weighed.replace(class_weight=None, epochs=1))
    labels = wb.Workbench(wb.Task.from_arrays(X, np.stack([rare, X[:, 1] > 0], 1), kind="multilabel"))
    labels.run(weighed.replace(epochs=1))
    losses = [one.diagnose(trial).case.baseline_loss for one, trial in ((bench, 2), (bench, 3), (labels, 1))]
    assert np.isnan(losses).tolist() == [True, False, True]


def test_scores_of_folds_rest_on_the_rows_of_all_of_them() -> None:
    X = np.random.default_rng(0).normal(size=(60, 3))
    bench = wb.Workbench(wb.Task.from_arrays(X, (X[:, 0] > 0).astype(int), split=wb.Split.folds(3, test=0.2)))
    bench.run(GOOD.replace(epochs=3))
    assert bench.diagnose(1).case.rows == 48


def test_validation_rows_that_are_easy_do_not_make_a_training_loss_high() -> None:
    X = np.random.default_rng(0).normal(size=(300, 3))
    task = wb.Task.from_arrays(X, X @ [1.0, -1.0, 0.5])
    easy = task.validation.y.abs()[:, 0] < 0.4
    task.validation = task.validation.part(easy)
    assert task.baseline.loss < 0.2
    bench = wb.Workbench(task)
    bench.run(GOOD)
    bench.run(SLOW)
    assert bench.diagnose(2).case.untrained_loss == pytest.approx(1, rel=0.01)
    assert "rate_too_high" not in {one.rule for one in bench.diagnose(2).findings}


def test_bad_input_is_named_and_changes_nothing(bench: wb.Workbench, task: wb.Task) -> None:
    bench.run(GOOD)
    bench.run(WILD)
    before = kept(bench)
    calls: list[tuple[Any, type[Exception], str]] = [
        (lambda: bench.diagnose(99), wb.LogError, "99"),
        (lambda: bench.diagnose("best"), wb.RunError, "trial='best'"),  # type: ignore[arg-type]
        (lambda: bench.try_it(99), wb.LogError, "99"),
        (lambda: bench.try_it(1), wb.RunError, "there is nothing to try; its diagnosis is 'healthy'"),
        (lambda: bench.try_it(2, "rate_to_high"), wb.ConfigError, "did you mean 'rate_too_high'"),
        (lambda: bench.try_it(2, "noise"), wb.RunError, r"rule 'noise' found nothing.*rate_too_high"),
        (lambda: bench.try_it(2, device="gpu"), wb.ConfigError, "device='gpu'"),
    ]
    for call, error, words in calls:
        with pytest.raises(error, match=words):
            call()
    assert kept(bench) == before


def test_a_trial_on_other_data_or_without_an_epoch_is_refused(task: wb.Task, tmp_path: Path) -> None:
    iris = wb.Workbench(wb.Task.load("iris"), log=tmp_path / "a.db")
    iris.run(GOOD.replace(epochs=1))
    bench = wb.Workbench(task, log=tmp_path / "a.db")
    with pytest.raises(wb.RunError, match="trial 1 is of other data than 'wine'"):
        bench.diagnose(1)
    run = bench.start(GOOD, stop_after=1)
    run.wait()
    with pytest.raises(wb.RunError, match="trial 2 has no finished epoch to diagnose"):
        bench.diagnose(2)
