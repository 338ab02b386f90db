"""What the log says of prescriptions that were tried: each piece of evidence once, and measured by what its rule is about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import workbench as wb
from workbench.methods.diagnosis.case import Finding, Prescription
from workbench.methods.diagnosis.effect import MEASURE_WORDS

GOOD = wb.Config(learning_rate=0.01, epochs=12, hidden_units=16)
SLOW = GOOD.replace(learning_rate=1e-5)


def noisy(rows: int = 160, seed: int = 0) -> wb.Task:
    """Few rows and wrong labels: whoever trains long learns them by heart."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 8))
    return wb.Task.from_arrays(X, ((X[:, 0] > 0) ^ (rng.random(rows) < 0.25)).astype(int))


@pytest.fixture
def bench() -> wb.Workbench:
    return wb.Workbench(wb.Task.load("wine"))


def record(bench: wb.Workbench, rule: str) -> tuple[int, int]:
    row = bench.rules().set_index("rule").loc[rule]
    return int(row["tried"]), int(row["helped"])


def test_the_very_same_again_is_no_further_evidence(bench: wb.Workbench) -> None:
    bench.run(GOOD)
    bench.run(SLOW)
    for _ in range(3):
        bench.try_it(2).wait()
    assert bench.prescriptions()["repeat"].tolist() == [False, True, True]
    assert bench.prescriptions()["helped"].tolist() == [True] * 3
    assert record(bench, "rate_too_low") == (1, 1)
    # a rerun of the trial is the same trial; another seed of it is not
    bench.run(SLOW)
    bench.try_it(int(bench.trials["trial"].iloc[-1])).wait()
    assert record(bench, "rate_too_low") == (1, 1)
    bench.run(SLOW.replace(seed=5))
    bench.try_it(int(bench.trials["trial"].iloc[-1])).wait()
    assert bench.prescriptions()["repeat"].tolist() == [False, True, True, True, False]
    assert record(bench, "rate_too_low") == (2, 2)
    # and another change of the same trial neither
    found = bench.diagnose(2)
    found.findings = (replace(found.findings[0], prescription=Prescription("less", "new", {"learning_rate": 1.1e-5})),)
    bench.try_it(found).wait()
    assert record(bench, "rate_too_low") == (3, 2)


def test_with_the_counted_one_in_the_bin_a_repeat_counts_for_it(bench: wb.Workbench) -> None:
    bench.run(GOOD)
    bench.run(SLOW)
    first = bench.try_it(2).wait()
    bench.try_it(2).wait()
    bench.delete(*first.trials)
    assert bench.prescriptions()["repeat"].tolist() == [False, False]
    assert record(bench, "rate_too_low") == (1, 1)


def test_one_that_was_cut_off_is_not_what_counts(bench: wb.Workbench) -> None:
    bench.run(GOOD)
    bench.run(SLOW.replace(epochs=40))
    cut = bench.try_it(2)
    cut.stop()
    cut.wait()
    bench.try_it(2).wait()
    assert bench.prescriptions()["repeat"].tolist() == [True, False]
    assert record(bench, "rate_too_low") == (1, 1)


def test_two_settings_are_told_apart_once_however_often_seeds_were_added(bench: wb.Workbench) -> None:
    bench.run(GOOD)
    bench.run(GOOD.replace(learning_rate=0.0101))
    found = bench.diagnose(int(bench.leaderboard()["trial"].iloc[0]))
    assert "noise" in {one.rule for one in found.findings}
    bench.try_it(found, "noise").wait()
    bench.try_it(found, "noise").wait()
    assert bench.prescriptions()["repeat"].tolist() == [False, True]
    assert record(bench, "noise")[0] == 1
    assert "seeds) against" in bench.prescriptions()["compared"].iloc[0]


def test_overfitting_is_measured_at_the_end_and_over_the_seeds_there_are() -> None:
    bench = wb.Workbench(noisy())
    bench.run(wb.Config(learning_rate=0.01, epochs=60))
    found = bench.diagnose(1)
    assert found.verdict == "overfitting"
    run = bench.try_it(found).wait()
    row = bench.prescriptions().iloc[0]
    ends = [bench.curves(trial)["val_loss"].tail(3).mean() for trial in (1, *run.trials)]
    assert ends[1] < ends[0] / 2
    assert f"{ends[1]:.3g} against {ends[0]:.3g} before" in row["compared"]
    assert "one seed, its noise unknown" in row["compared"]
    assert "best validation accuracy" in row["compared"]
    kept = row["difference"] >= -bench.diagnose(1).case.error_of(row["score_before"])
    assert row["helped"] == kept
    rules = bench.rules().set_index("rule")
    assert rules.loc["overfitting", "measure"] == MEASURE_WORDS["end"]
    assert bench.diagnose(1).findings[0].record.endswith(f"in this log, by {MEASURE_WORDS['end']}")
    # further seeds of both configurations, whoever started them
    before, after = bench.config(1), bench.config(run.trials[0])
    more = [bench.run(config.replace(seed=seed)).trials[0] for seed in (1, 2) for config in (before, after)]
    again = bench.prescriptions().iloc[0]
    first, second = (
        [bench.curves(trial)["val_loss"].tail(3).mean() for trial in trials]
        for trials in ((1, *more[::2]), (run.trials[0], *more[1::2]))
    )
    interval = stats.ttest_rel(second, first).confidence_interval(0.95)
    assert f"difference {interval.low:+.2g} to {interval.high:+.2g}, paired t over 3 seeds" in again["compared"]
    assert (again["helped"], again["score_after"]) == (row["helped"], row["score_after"])


def test_a_prescription_that_changes_the_loss_is_measured_by_the_metric() -> None:
    bench = wb.Workbench(noisy())
    bench.run(wb.Config(learning_rate=0.01, epochs=60))
    found = bench.diagnose(1)
    assert found.verdict == "overfitting"
    smooth = Prescription("smoother labels", "new", {"label_smoothing": 0.2})
    found.findings = (replace(found.findings[0], prescription=smooth),)
    bench.try_it(found).wait()
    assert bench.prescriptions()["compared"].iloc[0].startswith("best validation accuracy:")


def test_other_initial_weights_are_not_compared_with_themselves(bench: wb.Workbench) -> None:
    """A prescription of another seed: both runs are of one configuration."""
    bench.run(GOOD)
    found = bench.diagnose(1)
    other = Finding("dead_activations", "dead", ("1",), Prescription("other weights", "new", {"seed": 1}), 0.9)
    found.findings = (other,)
    bench.try_it(found).wait()
    before, after = bench.trials["best_val_metric"]
    assert f"{after:.3g} against {before:.3g} before" in bench.prescriptions()["compared"].iloc[0]
    assert "one seed" in bench.prescriptions()["compared"].iloc[0]


def test_what_has_learned_nothing_in_one_epoch_is_too_short_to_judge_and_helped_by_more() -> None:
    bench = wb.Workbench(noisy())
    bench.run(wb.Config(epochs=1, learning_rate=1e-6))
    found = bench.diagnose(1)
    assert found.case.score <= found.case.baseline_score
    assert found.verdict == "at_baseline"
    scores = f"({found.case.score:.3g} against {found.case.baseline_score:.3g})"
    assert found.title == f"too short to diagnose: 1 epoch, and not yet better than the baseline {scores}"
    assert found.findings[0].prescription.changes == {"epochs": 10, "learning_rate": 0.003}
    assert "bench.lr_range_test" in found.findings[0].prescription.description
    assert found.figure()._repr_png_().startswith(b"\x89PNG")
    bench.try_it(1).wait()
    assert record(bench, "at_baseline") == (1, int(bench.prescriptions()["helped"].item()))
    row = bench.trials.set_index("trial").loc[2]
    assert row["note"].startswith("no better than the baseline: train for 10 epochs")


def test_the_prescribed_patience_is_the_one_learned_from_the_log() -> None:
    bench = wb.Workbench(noisy())
    config = wb.Config(learning_rate=0.01, epochs=60)
    bench.run(config)
    alone = bench.diagnose(1).finding("overfitting")
    assert alone is not None
    assert alone.prescription.changes["patience"] == 12
    assert "a fifth of its 60 epochs, from 5 to 20: too few trials to learn it from" in alone.prescription.description
    bench.run(config.replace(seed=10), seeds=5)
    learned = bench.diagnose(1).finding("overfitting")
    advice = bench.suggest_patience()
    assert learned is not None
    assert advice.suggestion not in (None, 12)
    assert learned.prescription.changes["patience"] == advice.suggestion
    assert f"bench.suggest_patience(), from {advice.trials} trials of this log" in learned.prescription.description
