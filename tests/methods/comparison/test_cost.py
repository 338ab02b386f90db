"""Pareto fronts by brute force, training time by hand, and the table and figure of a real log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

import workbench as wb
from workbench.core.registry import MODELS
from workbench.methods.comparison.cost import complexity, own_seconds, pareto_front
from workbench.methods.comparison.cost_figure import complexity_panels
from workbench.models import build_model
from workbench.runs.session import Session

# few values, so that equal ones are common
VALUES = st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan, np.inf])


@given(
    st.integers(1, 3).flatmap(
        lambda width: arrays(float, st.tuples(st.integers(0, 9), st.just(width)), elements=VALUES)
    )
)
def test_the_front_is_that_of_brute_force(points: np.ndarray) -> None:
    front = pareto_front(points)
    for index, point in enumerate(points):
        others = [other for other in points if np.isfinite(other).all()]
        beaten = any((other <= point).all() and (other < point).any() for other in others)
        assert front[index] == (bool(np.isfinite(point).all()) and not beaten)


def frame(**columns: list[Any]) -> pd.DataFrame:
    count = len(columns["best_val_metric"])
    known = {"state": "completed", "model": "mlp", "epochs_run": 5, "seconds": 9.0}
    return pd.DataFrame({"trial": range(1, count + 1), **known, **columns})


def test_lower_may_be_better_and_unknown_costs_are_on_no_front_that_needs_them() -> None:
    trials = frame(best_val_metric=[0.5, 0.4, 0.9, 0.3])
    seconds, parameters = {1: 1.0, 2: 2.0, 3: 3.0, 4: 9.0}, {1: 10.0, 2: 10.0, 3: 5.0, 4: np.nan}
    low = complexity(trials, seconds, parameters, better="lower")
    assert list(low["pareto_seconds"]) == [True, True, False, True]
    assert list(low["pareto_parameters"]) == [False, True, True, False]
    assert list(low["pareto"]) == [True, True, True, False]
    high = complexity(trials, seconds, parameters, better="higher")
    assert list(high["pareto_seconds"]) == [True, False, True, False]


@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize("state", ["diverged", "failed"])
def test_a_trial_that_diverged_or_failed_is_on_no_front_and_not_the_best(better: Any, state: str) -> None:
    """The planted one is the cheapest and the best; without it trial 2 is, with it the fronts are the same."""
    sign = 1.0 if better == "higher" else -1.0
    trials = frame(best_val_metric=[sign * 0.5, sign * 0.6, sign * 0.9], state=["completed", "stopped", state])
    costs = {1: 1.0, 2: 2.0, 3: 0.5}
    table = complexity(trials, costs, costs, better=better)
    for front in ("pareto", "pareto_seconds", "pareto_parameters"):
        assert list(table[front]) == [True, True, False]
    assert table["best_val_metric"][2] == sign * 0.9, "what it reached stays in the table"
    for axes in complexity_panels(table, better=better).axes:
        drawn = {part.get_label(): part for part in (*axes.collections, *axes.lines)}
        assert "best: trial 2" in drawn
        assert drawn["diverged or failed"].get_offsets().tolist() == [[0.5, sign * 0.9]]
        assert drawn["Pareto front"].get_offsets().tolist() == [[1.0, sign * 0.5], [2.0, sign * 0.6]]
    lost = complexity_panels(table[2:], better=better).axes[0]
    assert [part.get_label() for part in (*lost.collections, *lost.lines)] == ["diverged or failed"]


def test_a_cohorts_time_is_divided_among_those_in_it() -> None:
    """Trials 1 and 2 train together, 3 joins them after two epochs, 4 trains alone."""
    rows = [(1, e, 6.0) for e in (1, 2, 3)] + [(2, e, 6.0) for e in (1, 2, 3)] + [(3, 1, 6.0), (3, 2, 4.0), (4, 1, 5.0)]
    curves = pd.DataFrame(rows, columns=["trial", "epoch", "seconds"])
    places = {1: (1, 0), 2: (1, 0), 3: (1, 2)}
    assert own_seconds(curves, places) == {1: 3 + 3 + 2, 2: 3 + 3 + 2, 3: 2 + 4, 4: 5}
    total = 6 + 6 + 6 + 4 + 5  # of the cohort's four epochs, and of trial 4's one
    assert sum(own_seconds(curves, places).values()) == total


@pytest.fixture(scope="module")
def bench() -> wb.Workbench:
    """Sixteen trials of two widths in cohorts, and one of a model that is forgotten afterwards."""
    bench = wb.Workbench(wb.Task.load("iris"))
    space = {"hidden_units": wb.Choice(4, 32), "learning_rate": wb.LogRange(1e-3, 1e-1)}
    bench.search("random", space, wb.Config(epochs=3), trials=16, blocking=True)
    wb.register_model("forgotten", lambda task: nn.Linear(4, 3))
    bench.run(wb.Config(model="forgotten", epochs=2))
    return bench


def test_the_table_of_a_log(bench: wb.Workbench, new_kernel: Callable[[], None]) -> None:
    table = bench.complexity()
    trials = bench.trials.set_index("trial")
    assert list(table["trial"]) == list(trials.index)
    for row in table.itertuples(index=False):
        module = build_model(bench.task, bench.config(row.trial))
        assert row.parameters == sum(p.numel() for p in module.parameters())
        assert row.best_val_metric == trials.loc[row.trial, "best_val_metric"]
    assert set(table["parameters"]) == {4 * 4 + 4 + 4 * 4 + 4 + 4 * 3 + 3, 4 * 32 + 32 + 32 * 32 + 32 + 32 * 3 + 3, 15}
    searched = table.iloc[:16]
    epochs = bench.curves().merge(
        pd.DataFrame(
            [(t, s, a) for t, (s, a) in bench.log.history.cohorts(*table["trial"]).items()],
            columns=["trial", "series", "after"],
        )
    )
    epochs["at"] = epochs["after"] + epochs["epoch"]
    assert table["seconds"].sum() == pytest.approx(epochs.groupby(["series", "at"])["seconds"].first().sum())
    assert (searched["seconds"] < searched["wall_seconds"]).all()
    # without its builder, a model's parameters are unknown; it still has its place among the times
    MODELS.unregister("forgotten")
    new_kernel()
    fresh = wb.Workbench._of(Session(bench.task, bench.log), "cpu")
    lost = fresh.complexity().iloc[-1]
    assert np.isnan(lost["parameters"])
    assert not lost["pareto"]


def test_the_figure_of_a_log(bench: wb.Workbench) -> None:
    figure = bench.plot("complexity")
    time, size = figure.axes
    assert (time.get_xlabel(), size.get_xlabel()) == ("training time of the trial (s)", "trained parameters")
    assert time.get_xscale() == size.get_xscale() == "log"
    table = bench.complexity()
    front = table[table["pareto_parameters"]].sort_values(["parameters", "best_val_metric"])
    step = next(line for line in size.lines if line.get_drawstyle() == "steps-post")
    assert list(step.get_xdata())[:-1] == list(front["parameters"])
    assert list(step.get_ydata())[:-1] == list(front["best_val_metric"])
    assert np.diff(step.get_ydata()).min() >= 0
    assert figure._repr_png_()


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_a_trial_far_poorer_than_the_others_does_not_squeeze_them(better: Any) -> None:
    sign = 1.0 if better == "higher" else -1.0
    scores = [sign * score for score in (0.5, 0.6, 0.7, -2e16)]
    costs = dict(enumerate((1.0, 2.0, 3.0, 0.5), 1))
    figure = complexity_panels(complexity(frame(best_val_metric=scores), costs, costs, better=better), better=better)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert low < min(scores[:3]) < max(scores[:3]) < high
        assert high - low < 1
    assert figure.get_suptitle() == "1 trial too far from the best to show"
    fair = complexity_panels(complexity(frame(best_val_metric=scores[:3]), costs, costs, better=better), better=better)
    assert fair.get_suptitle() == ""


def test_one_cost_for_all_is_said_and_nothing_to_draw_is_an_error() -> None:
    table = complexity(frame(best_val_metric=[0.5, 0.6]), {1: 1.0, 2: 2.0}, {1: 99.0, 2: 99.0})
    time, size = complexity_panels(table).axes
    assert size.get_title(loc="left") == "all trials have 99 parameters"
    assert time.get_title(loc="left") == ""
    assert complexity_panels(table.iloc[:0])._repr_png_()
    with pytest.raises(wb.RunError, match="no trial with a finished epoch"):
        wb.Workbench(wb.Task.load("iris")).plot("complexity")
    assert wb.Workbench(wb.Task.load("iris")).complexity().empty
