"""Patience against a simulation written out, the engine itself, and planted waits."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import workbench as wb
from workbench.methods.comparison.patience import patience_table, suggest_patience

Curve = list[tuple[float, float]]
"""Monitored value, lower is better, and metric of each epoch."""


def curves(trials: list[Curve]) -> pd.DataFrame:
    rows = [(t, e, loss, metric) for t, curve in enumerate(trials, 1) for e, (loss, metric) in enumerate(curve, 1)]
    return pd.DataFrame(rows, columns=["trial", "epoch", "monitored", "val_metric"])


def stopped(curve: Curve, patience: int, min_delta: float) -> tuple[int, int]:
    """Epochs run and best epoch under early stopping, as a person would play it."""
    reference, waited, best, epoch = math.inf, 0, 0, 0
    for epoch, (loss, _) in enumerate(curve, 1):
        if not best or loss < curve[best - 1][0]:
            best = epoch
        if loss < reference - min_delta:
            reference, waited = loss, 0
        else:
            waited += 1
        if waited >= patience:
            break
    return epoch, best


CURVE = st.lists(
    st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), st.sampled_from([0.5, 0.6, 0.7])), min_size=2, max_size=9
)


@given(st.lists(CURVE, min_size=1, max_size=4), st.sampled_from([0.0, 0.15]), st.sampled_from(["higher", "lower"]))
def test_the_table_is_that_of_a_simulation(trials: list[Curve], min_delta: float, better: str) -> None:
    deltas = dict.fromkeys(range(1, len(trials) + 1), min_delta)
    table = patience_table(curves(trials), better=better, noise=0.1, min_delta=deltas)  # type: ignore[arg-type]
    assert list(table["patience"]) == list(range(1, max(map(len, trials))))
    for row in table.itertuples(index=False):
        played = [stopped(curve, row.patience, min_delta) for curve in trials]
        full = [stopped(curve, 10**6, min_delta) for curve in trials]
        assert row.saved == pytest.approx(1 - sum(n for n, _ in played) / sum(map(len, trials)))
        assert row.best_kept == pytest.approx(np.mean([a[1] == b[1] for a, b in zip(played, full, strict=True)]))
        sign = 1 if better == "higher" else -1
        lost = [
            sign * (curve[b[1] - 1][1] - curve[a[1] - 1][1]) for curve, a, b in zip(trials, played, full, strict=True)
        ]
        assert row.metric_loss == pytest.approx(np.mean(lost))
        assert row.within_noise == pytest.approx(np.mean([loss <= 0.1 + 1e-9 for loss in lost]))


def waiting(wait: int, epochs: int = 40) -> Curve:
    """Falls for 5 epochs, waits so many without a fall, falls once more, and then never again."""
    losses = [1.0 - 0.1 * e for e in range(5)] + [0.7] * wait + [0.2]
    losses += [0.9] * (epochs - len(losses))
    return [(loss, 1 - loss) for loss in losses]


@pytest.mark.parametrize("wait", [1, 4, 11])
def test_a_planted_wait_is_found(wait: int) -> None:
    """A patience of the wait itself stops one epoch too early."""
    found = suggest_patience(curves([waiting(wait) for _ in range(6)]), noise=0.01)
    assert found.suggestion == wait + 1
    row = found.table.set_index("patience").loc[wait + 1]
    assert row["saved"] == pytest.approx(1 - (5 + wait + 1 + wait + 1) / 40)
    assert row["metric_loss"] == 0
    assert f"A patience of {wait + 1} epochs" in found.reason
    assert "100% (54% to 100%) of the trials (exact 95% interval)" in found.reason  # 0.025 ** (1 / 6)
    assert "the metric is the same in all of them" in found.reason
    before = found.table.set_index("patience").loc[wait]
    assert before["best_kept"] == 0
    assert before["metric_loss"] == pytest.approx(0.4)


def test_one_odd_trial_in_twenty_does_not_decide() -> None:
    many = [waiting(2) for _ in range(19)] + [waiting(20)]
    assert suggest_patience(curves(many), noise=0.01).suggestion == 3
    assert suggest_patience(curves(many[4:]), noise=0.01).suggestion == 21


def test_the_intervals_are_exact_and_bootstrapped() -> None:
    many = [waiting(2) for _ in range(19)] + [waiting(20)]
    found = suggest_patience(curves(many), noise=0.01)
    exact = stats.binomtest(19, 20).proportion_ci(0.95, "exact")
    assert f"95% ({exact.low:.0%} to {exact.high:.0%}) of the trials (exact 95% interval)" in found.reason
    lost = np.array([0.0] * 19 + [0.4])
    means = np.random.default_rng(1).choice(lost, (20_000, 20)).mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    assert f"worse by 0.02 on average ({low:.2g} to {high:.2g}, bootstrap over the trials)" in found.reason


def test_a_gain_within_the_noise_is_not_waited_for() -> None:
    trials = curves([waiting(8) for _ in range(5)])
    assert suggest_patience(trials, noise=0.5).suggestion == 1
    assert suggest_patience(trials, noise=0.3).suggestion == 9


def test_where_every_epoch_helps_none_is_suggested() -> None:
    falling = [[(1 / e, 1 - 1 / e) for e in range(1, 31)] for _ in range(5)]
    found = suggest_patience(curves(falling), noise=0.0)
    assert found.suggestion is None
    assert "No patience saves epochs" in found.reason
    assert "more epochs may help" in found.reason


def test_too_few_trials_are_refused() -> None:
    with pytest.raises(wb.RunError, match=r"at least 5 trials .* there are 4"):
        suggest_patience(curves([waiting(2) for _ in range(4)]))
    with pytest.raises(wb.RunError, match="no trial that ran all its epochs"):
        wb.Workbench(wb.Task.load("iris")).suggest_patience()


@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_the_engine_stops_where_the_table_says(monitor: str) -> None:
    """The advice from a log of full trials, against training the very same configurations with that patience."""
    bench = wb.Workbench(wb.Task.load("iris", monitor=monitor))
    base = wb.Config(hidden_units=8, epochs=30, min_delta=0.002, learning_rate=0.05)
    bench.run(base, seeds=8)
    bench.run(
        base.replace(patience=2, seed=100)
    )  # stopped early itself: it cannot tell what waiting would have brought
    advice = bench.suggest_patience()
    assert advice.trials == 8
    table = advice.table.set_index("patience")
    assert "over seeds" in advice.reason
    for patience in (1, 3, 6):
        run = bench.run(base.replace(patience=patience), seeds=8)
        epochs = bench.trials.set_index("trial").loc[list(run.trials), "epochs_run"]
        assert table.loc[patience, "saved"] == pytest.approx(1 - epochs.sum() / (8 * 30), abs=1e-9)
    assert bench.suggest_patience().trials == 8
    (axes,) = advice.figure().axes
    assert axes.get_xlabel() == "patience (epochs)"
    assert advice._repr_png_()
