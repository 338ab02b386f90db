"""Results, searches and the history of trials against answers worked out by hand."""

from __future__ import annotations

import math

import pytest

import workbench as wb
from tests.log.making import end, ended, epoch, new, running
from workbench.core.events import Branched, CohortJoined, CohortLeft, KnobChanged, Scripted, TrialEnded, TrialState
from workbench.log import SearchStep, TrialLog


def scored(log: TrialLog, score: float, state: TrialState = TrialState.COMPLETED, **values: object) -> int:
    """A trial that ended in a state with a best validation metric."""
    (trial,) = log.create([new(**values)])
    log.append([epoch(trial, 1), TrialEnded(trial, state, 1, 10, 1, 0.5, score, 1.0)])
    return trial


def test_the_best_trial_in_either_direction(log: TrialLog) -> None:
    low, high = scored(log, 0.1), scored(log, 0.9)
    scored(log, math.nan)
    scored(log, 0.9)
    scored(log, 2.0, metric="rmse")
    scored(log, 2.0, task_fingerprint="g")
    assert log.results.best("f", "accuracy", "higher") == {"trial": high, "best_val_metric": 0.9, "best_epoch": 1}
    assert log.results.best("f", "accuracy", "lower") == {"trial": low, "best_val_metric": 0.1, "best_epoch": 1}
    assert log.results.best("h", "accuracy", "lower") is None


def test_scores_are_those_of_trials_that_ran_to_their_end(log: TrialLog) -> None:
    completed = scored(log, 0.5, configuration="a")
    early = scored(log, 0.6, TrialState.EARLY_STOPPED, configuration="b")
    for state in (TrialState.STOPPED, TrialState.PRUNED, TrialState.FAILED, TrialState.DIVERGED):
        scored(log, 0.7, state, configuration="a")
    scored(log, 0.7, metric="rmse")
    scored(log, 0.7, TrialState.STOPPED, metric="rmse")
    scored(log, 0.7, TrialState.STOPPED, task_fingerprint="g")
    frame = log.results.scores("f", "accuracy")
    assert frame[["trial", "configuration", "score"]].to_numpy().tolist() == [[completed, "a", 0.5], [early, "b", 0.6]]
    assert log.results.cut_off("f", "accuracy") == 4


def test_an_altered_trial_is_a_configuration_of_its_own(log: TrialLog) -> None:
    plain, changed, branch = log.create([new(configuration="a")] * 3)
    log.append([KnobChanged(changed, 1, 5, "l2", 0.0, 0.1), Branched(branch, plain, 1, {})])
    log.append([end(trial) for trial in (plain, changed, branch)])
    assert log.results.altered() == {changed, branch}
    found = log.results.scores("f", "accuracy")["configuration"].tolist()
    assert found == ["a", f"trial {changed}", f"trial {branch}"]


def test_the_largest_cohort_of_a_trial(log: TrialLog) -> None:
    one, two, three, alone = log.create([new()] * 4)
    log.append([CohortJoined(trial, 7, 0, 2) for trial in (one, two)])
    assert log.history.largest_cohort(one) == 2
    log.append([CohortJoined(three, 7, 3, 3)])  # the rows that were there before did not report it
    assert [log.history.largest_cohort(trial) for trial in (one, two, three, alone)] == [3, 3, 3, 1]
    log.append([CohortLeft(two), CohortLeft(three)])
    assert log.history.members(7) == {one: 0}
    assert [log.history.largest_cohort(trial) for trial in (one, two)] == [2, 2]


def test_origin_and_script(log: TrialLog) -> None:
    parent, branch, scripted = log.create([new()] * 3)
    log.append([Branched(branch, parent, 4, {"l2": (0.0, 0.1)})])
    assert (log.history.origin(branch), log.history.origin(parent)) == ((parent, 4), None)
    log.append([Scripted(scripted, [(3, "l2", 0.5)], 9)])
    log.append([Scripted(scripted, [(4, "l1", 0.25)], None)])
    assert log.history.script(scripted) == ([(4, "l1", 0.25)], None)  # the last one counts
    assert log.history.script(parent) == ([], None)


def test_suggestions_of_a_search_are_counted_with_those_of_removed_trials(log: TrialLog) -> None:
    search, other = (log.searches.create("random", {}, task_fingerprint="f") for _ in range(2))
    assert log.searches.suggestions(search) == 0
    ended(log, search=search, suggestion=0)
    (last,) = ended(log, search=search, suggestion=4)
    ended(log, search=other, suggestion=9)
    assert log.searches.suggestions(search) == 5
    log.trash.delete([last])
    log.trash.empty()
    assert log.searches.suggestions(search) == 5


def test_a_search_is_unfinished_between_its_begin_and_its_end(log: TrialLog) -> None:
    created, active, abandoned, over, elsewhere = (
        log.searches.create("random", {}, task_fingerprint=task) for task in "ffffg"
    )
    for search in (active, abandoned, over, elsewhere):
        log.searches.add_step(SearchStep(search, "begun", {}))
    log.searches.add_step(SearchStep(over, "ended", {}))
    assert log.ownership.unfinished_searches("f", {active}) == [abandoned]
    assert log.ownership.unfinished_searches("f") == [active, abandoned]
    assert created not in log.ownership.unfinished_searches("f")


def test_who_adopted_a_search_last_owns_it(tmp_path: object) -> None:
    first = TrialLog.open(f"{tmp_path}/trials.db")
    search = first.searches.create("random", {}, task_fingerprint="f")
    first.searches.add_step(SearchStep(search, "begun", {}))
    second, third = TrialLog.open(f"{tmp_path}/trials.db"), TrialLog.open(f"{tmp_path}/trials.db")
    first.ownership.adopt([], [search])
    first.searches.add_step(SearchStep(search, "adopted", {"session": second.ownership.session}))
    assert first.ownership.unfinished_searches("f") == []  # the session lives
    assert third.ownership.unfinished_searches("f") == []
    assert second.ownership.unfinished_searches("f") == [search]
    assert second.ownership.unfinished_searches("f", {search}) == []
    for log in (first, second, third):
        log.close()


def test_a_search_that_has_ended_cannot_be_adopted(log: TrialLog) -> None:
    search = log.searches.create("random", {}, task_fingerprint="f")
    log.searches.add_step(SearchStep(search, "begun", {}))
    log.ownership.adopt([], [search])
    assert [step.kind for step in log.searches.steps(search)] == ["begun", "adopted"]
    log.searches.add_step(SearchStep(search, "ended", {}))
    with pytest.raises(wb.LogError, match=f"search {search} is not unfinished any more"):
        log.ownership.adopt([], [search])


def test_the_environments_of_all_owners(tmp_path: object) -> None:
    first = TrialLog.open(f"{tmp_path}/trials.db")
    (trial,) = first.create([new()])
    first.append(running(trial))
    first.ownership.mark_interrupted()
    second = TrialLog.open(f"{tmp_path}/trials.db")
    assert len(first.ownership.environments(trial)) == 1
    second.ownership.adopt([trial])
    (one, two) = first.ownership.environments(trial)
    assert one == two
    assert set(one) == {"tuning-workbench", "torch", "processor", "cores"}
    first.close()
    second.close()
