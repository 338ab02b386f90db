"""Search and compare in the user interface, without a browser: what is asked for, what is shown, what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import workbench as wb
from tests.ui.test_view import until
from workbench.methods.search.strategies import STRATEGIES
from workbench.methods.tabs import TABS
from workbench.ui.controls import Controls
from workbench.ui.live import DRAWN, LiveRun
from workbench.ui.view import WorkbenchView

SPACE = {"learning_rate": wb.LogRange(1e-4, 1e-1), "l2": wb.LogRange(1e-6, 1e-2)}
BASE = wb.Config(epochs=2, hidden_units=8)


def controls() -> Controls:
    return Controls("classification", changed=lambda: None, live=lambda name, value: None)


def test_a_control_becomes_a_range_around_its_value_and_back() -> None:
    shown = controls()
    field = shown.field("learning_rate")
    field.load(0.01)
    field.toggle.value = True
    assert shown.space() == {"learning_rate": wb.LogRange(1e-3, 1e-1)}
    field.search(wb.LogRange(1e-5, 1e-2))
    assert shown.space() == {"learning_rate": wb.LogRange(1e-5, 1e-2)}
    field.toggle.value = False
    assert shown.space() == {}
    assert shown.read().learning_rate == 0.01


def test_choices_whole_numbers_and_switches_are_searched_too() -> None:
    shown = controls()
    for name in ("optimizer", "hidden_layers", "batch_norm", "batch_size"):
        shown.field(name).toggle.value = True
    shown.field("optimizer").editor.boxes["sgd"].value = False  # type: ignore[union-attr]
    space = shown.space()
    assert "sgd" not in space["optimizer"].options  # type: ignore[union-attr]
    assert space["hidden_layers"] == wb.IntRange(0, 12)
    assert space["batch_norm"].options == (False, True)  # type: ignore[union-attr]
    assert space["batch_size"] == wb.IntRange(8, 128, scale="power2")


def test_what_any_searched_choice_reads_is_shown() -> None:
    shown = controls()
    assert shown.field("momentum").widget.layout.display == "none"
    shown.field("optimizer").toggle.value = True
    assert shown.field("momentum").widget.layout.display != "none"
    shown.field("momentum").toggle.value = True
    assert set(shown.space()) == {"optimizer", "momentum"}
    for name in ("momentum", "nesterov"):
        shown.field("optimizer").editor.boxes[name].value = False  # type: ignore[union-attr]
    shown._refresh()
    assert set(shown.space()) == {"optimizer"}


@pytest.mark.parametrize(
    ("low", "high", "message"), [("1", "0.1", "swap"), ("x", "1", "=&#x27;x&#x27;"), ("0", "1", "=0")]
)
def test_an_impossible_range_is_answered_beside_its_control(low: str, high: str, message: str) -> None:
    shown = controls()
    field = shown.field("learning_rate")
    field.toggle.value = True
    field.editor.low.value, field.editor.high.value = low, high  # type: ignore[union-attr]
    with pytest.raises(wb.ConfigError):
        shown.space()
    assert message in field.message.value


def test_every_strategy_is_in_the_menu_and_the_call_is_the_code(view: WorkbenchView, bench: wb.Workbench) -> None:
    assert [name for _, name in view.body("Search").panel.strategy.options] == list(STRATEGIES)
    assert view.body("Search").panel.start.disabled
    view.controls.field("learning_rate").search(wb.LogRange(1e-3, 1e-1))
    view.controls.field("epochs").text.value = "2"  # type: ignore[attr-defined]
    assert not view.body("Search").panel.start.disabled
    view.body("Search").panel.strategy.value = "sobol"
    view.body("Search").panel.trials.value = "6"
    view.body("Search").panel.seed.value = "4"
    assert "bench.search('sobol'" in view.code.text
    view.body("Search").panel.start.click()
    bench.presenter.tick()
    (by_mouse,) = bench.active
    by_mouse.wait(60)
    exec(view.code.text.splitlines()[-1] + ".wait(60)", {"wb": wb, "bench": bench})
    frame = bench.trials
    drawn = [list(frame.loc[frame["search"] == number, "learning_rate"]) for number in (1, 2)]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 6


def test_a_bad_budget_is_told_under_the_button(view: WorkbenchView, bench: wb.Workbench) -> None:
    view.controls.field("learning_rate").toggle.value = True
    view.body("Search").panel.trials.value = "0"
    view.body("Search").panel.start.click()
    bench.presenter.tick()
    assert "trials=0: must be a whole number from 1" in view.body("Search").panel.message.value
    view.body("Search").panel.trials.value = "many"
    view.body("Search").panel.start.click()
    bench.presenter.tick()
    assert "trials=&#x27;many&#x27;" in view.body("Search").panel.message.value
    assert bench.trials.empty


def test_a_grid_says_how_many_points_before_it_starts(view: WorkbenchView) -> None:
    view.body("Search").panel.strategy.value = "grid"
    for name in SPACE:
        view.controls.field(name).search(SPACE[name])
    assert "25 grid points" in view.body("Search").panel.summary.value
    view.body("Search").panel.points.value = "1000"
    assert "1,000,000 points" in view.body("Search").panel.summary.value
    assert view.body("Search").panel.start.disabled


def test_the_line_tells_where_a_search_stands(view: WorkbenchView, bench: wb.Workbench) -> None:
    view.tabs.selected_index = view.tabs.titles.index("Search")
    bench.search("random", SPACE, BASE, trials=10, pruner="patience", blocking=True)
    bench.presenter.tick()
    line = view.panel.line.value
    assert "Search 1 (random)" in line
    assert "10 of 10 done" in line
    assert "configurations/s" in line
    assert view.panel.progress.value == 1.0
    assert [number for _, number in view.body("Search").panel.continues.options] == [0, 1]
    assert len({series.trial for series in view.curves.series}) == 10


def test_continuing_a_search_shows_its_options_and_an_option_that_is_changed_counts(
    view: WorkbenchView, bench: wb.Workbench
) -> None:
    bench.search("tpe", SPACE, BASE, trials=2, seeds=2, seed=7, pruner="median", blocking=True)
    view.tabs.selected_index = view.tabs.titles.index("Search")
    bench.presenter.tick()
    panel = view.body("Search").panel
    view.load(BASE)
    for name in SPACE:
        view.controls.field(name).search(SPACE[name])
    panel.continues.value = 1
    assert (panel.strategy.value, panel.pruner.value, panel.seeds.value, panel.seed.value) == (
        "tpe",
        "median",
        "2",
        "7",
    )
    panel.strategy.value, panel.seeds.value, panel.pruner.value, panel.trials.value = "random", "1", "", "1"
    panel.start.click()
    bench.presenter.tick()
    bench.active[0].wait(60)
    row = bench.searches.iloc[-1]
    assert (row["strategy"], row["seeds"], row["seed"]) == ("random", 1, 7)
    assert not isinstance(row["pruner"], str)


def test_a_brush_selects_in_the_table_and_in_python(view: WorkbenchView, bench: wb.Workbench) -> None:
    bench.search("random", SPACE, BASE, trials=8, blocking=True)
    view.tabs.selected_index = view.tabs.titles.index("Compare")
    bench.presenter.tick()
    parallel = view.body("Compare").panel.parallel
    assert parallel.trials == list(range(1, 9))
    assert [axis["name"] for axis in parallel.axes] == ["l2", "learning_rate", "best_val_metric"]
    table = np.frombuffer(parallel.values, "<f4").reshape(8, 3)
    np.testing.assert_allclose(table, bench.trials[["l2", "learning_rate", "best_val_metric"]], rtol=1e-6)
    parallel.selected = [2, 5]
    bench.presenter.tick()
    assert sorted(bench.selected) == sorted(view.table.selection) == [2, 5]


@pytest.mark.parametrize("kind", ["leaderboard", "importance", "scatter", "slices"])
def test_every_look_is_drawn_and_a_log_without_trials_is_said(
    view: WorkbenchView, bench: wb.Workbench, kind: str
) -> None:
    view.tabs.selected_index = view.tabs.titles.index("Compare")
    view.body("Compare").panel.kind.value = kind
    bench.presenter.tick()
    empty = view.body("Compare").panel.note.value + view.body("Compare").panel.text.value
    assert "No trial" in empty or "run a search first" in empty
    bench.search("random", SPACE, BASE, trials=8, blocking=True)
    bench.presenter.tick()
    if kind == "leaderboard":
        assert view.body("Compare").panel.text.value.count("<tr") > 2
    else:
        assert view.body("Compare").panel.picture.value[:4] == b"\x89PNG"


def test_a_border_is_warned_of_and_its_button_widens_the_range() -> None:
    bench = wb.Workbench(wb.Task.load("digits"))
    bench.presenter.build(bench, TABS)
    view = bench.presenter.view
    assert view is not None
    # rates so small that the largest is the best
    narrow = {"learning_rate": wb.LogRange(1e-6, 1e-4)}
    bench.search("grid", narrow, BASE.replace(hidden_units=16), points=30, blocking=True)
    view.tabs.selected_index = view.tabs.titles.index("Compare")
    bench.presenter.tick()
    (row,) = view.body("Compare").panel.edges.children
    words, button = row.children
    assert "lie at the high end" in words.value
    button.click()
    bench.presenter.tick()
    assert view.controls.space() == {"learning_rate": wb.LogRange(1e-6, 1e-3)}


def test_text_from_the_log_is_shown_as_text(view: WorkbenchView, bench: wb.Workbench) -> None:
    import pandas as pd

    from workbench.methods.comparison.tab import _board

    hostile = "<img src=x onerror=alert(1)>"
    board = pd.DataFrame(
        {
            "rank": [1], "trial": [1], "seeds": [1], "mean": [0.5], "low": [np.nan], "high": [np.nan], "p_value": [1.0],
            "tied": [True], hostile: [hostile],
        }
    )  # fmt: skip
    assert hostile not in _board(board, hostile)


def test_a_live_change_during_a_search_says_for_whom_it_is(view: WorkbenchView, bench: wb.Workbench) -> None:
    search = bench.search("random", {"l1": wb.LogRange(1e-6, 1e-3)}, wb.Config(epochs=100_000), trials=4, cohort=2)
    until(bench, lambda: view.active)
    view.controls.field("learning_rate").text.value = "0.03"  # type: ignore[attr-defined]
    until(bench, lambda: "Learning rate 0.03 for the trials that train now" in view.panel.message.value)
    search.stop()
    search.wait(60)


def test_the_leaderboard_says_what_it_leaves_out(view: WorkbenchView, bench: wb.Workbench) -> None:
    bench.run(wb.Config(epochs=1), seeds=2)
    run = bench.start(wb.Config(epochs=100_000))
    run.stop()
    run.wait(60)
    view.body("Compare").panel.kind.value = "leaderboard"
    view.tabs.selected_index = view.tabs.titles.index("Compare")
    bench.presenter.tick()
    assert "1 trial that was stopped, pruned, failed or diverged was left out." in view.body("Compare").panel.text.value
    bench.delete(3)
    bench.presenter.look_again()
    bench.presenter.tick()
    assert "left out" not in view.body("Compare").panel.text.value


def test_a_long_search_draws_so_many_curves_and_keeps_the_best() -> None:
    from workbench.core.events import EpochEnd, StateChanged, TrialEnded, TrialState

    live = LiveRun("accuracy", "cross_entropy")
    live.begin_search()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for start in range(1, 400, 50):
            trials = range(start, start + 50)
            live.join(dict.fromkeys(trials, BASE))
            for trial in trials:
                score = 1.0 if trial == 7 else trial / 1000
                live.show(
                    [
                        StateChanged(trial, TrialState.RUNNING),
                        EpochEnd(trial, 1, 1, 1.0, 0.0, 0.5, 1.0, score, 0.01, 1.0, 0.1),
                        TrialEnded(trial, TrialState.COMPLETED, 1, 1, 1, 1.0, score, 0.1),
                    ]
                )
    drawn = {series.trial for series in live.curves.series}
    assert len(drawn) <= DRAWN
    assert 7 in drawn
    assert 400 in drawn


def test_the_seeds_of_a_setting_are_one_line_and_settings_are_several() -> None:
    live = LiveRun("accuracy", "cross_entropy")
    settings = {1: 0.01, 2: 0.01, 3: 0.02, 4: 0.02, 5: 0.03}
    configs = {trial: BASE.replace(learning_rate=rate, seed=trial) for trial, rate in settings.items()}
    for show in (lambda: live.begin(configs, ""), lambda: (live.begin_search(), live.join(configs))):
        show()
        groups = {series.trial: series.group for series in live.curves.series}
        assert groups[1] == groups[2] != groups[3] == groups[4]
        assert groups[5] is None


def test_the_picture_of_a_search_has_a_line_a_setting(bench: wb.Workbench) -> None:
    bench.search("random", SPACE, BASE, trials=3, seeds=2, blocking=True)
    figure = bench.figure()
    labels = [line.get_label() for line in figure.axes[1].get_lines() if "trial" in str(line.get_label())]
    assert len(labels) == 3
    assert all("2 seeds" in str(label) for label in labels)


def test_a_trial_that_joins_again_keeps_its_points() -> None:
    from workbench.core.events import EpochEnd

    live = LiveRun("accuracy", "cross_entropy")
    live.begin_search()
    for _ in range(2):
        live.join({1: BASE})
        live.show(
            [EpochEnd(1, 1, 1, 1.0, 0.0, 0.5, 1.0, 0.5, 0.01, 1.0, 0.1)]
        )  # the same news, read from the log before
    assert len(live.curves.checkpoint()["1/val_loss"][0]) == 1


def test_the_defaults_of_a_search_are_those_of_the_call() -> None:
    import inspect

    from workbench.methods.search.options import DEFAULT, DEFAULTS
    from workbench.methods.search.request import SearchRequest

    signature = inspect.signature(wb.Workbench.search).parameters
    own = ("trials", "seconds", "no_improvement")  # which no earlier search hands on
    assert all(signature[name].default is (None if name in own else DEFAULT) for name in DEFAULTS)
    request = SearchRequest("random", {}, BASE)
    assert {name: getattr(request, name) for name in DEFAULTS} == DEFAULTS
