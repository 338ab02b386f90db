"""Trials entered together, the journal of a search, and what resuming and branching read."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.log.making import end, epoch, new, running
from workbench.core.events import Branched, CohortJoined, KnobChanged, Message
from workbench.log import SearchStep, TrialLog


@settings(deadline=None)
@given(st.data())
def test_numbers_ascend_and_replicates_get_their_parent(data: Any) -> None:
    count = data.draw(st.integers(1, 12))
    first = [data.draw(st.none() | st.integers(0, i - 1)) if i else None for i in range(count)]
    log = TrialLog.open(None)
    log.create([new()] * 3)
    numbers = log.create([new(name=str(i), replicates=lead) for i, lead in enumerate(first)])
    assert numbers == list(range(4, 4 + count))
    frame = log.trials().set_index("trial").loc[numbers]
    assert list(frame["name"]) == [str(i) for i in range(count)]
    parents = [None if value is pd.NA else int(value) for value in frame["parent"]]
    assert parents == [None if lead is None else numbers[lead] for lead in first]
    log.close()


def plain(steps: list[SearchStep]) -> list[SearchStep]:
    """Without the moments of entry, of which each has one."""
    assert all(step.created for step in steps)
    return [step._replace(created="") for step in steps]


@pytest.mark.parametrize("index", [1, 2, 5, -1])
def test_a_replicate_comes_after_what_it_replicates(log: TrialLog, index: int) -> None:
    with pytest.raises(ValueError, match=rf"trials\[1\].replicates={index}: names no earlier trial"):
        log.create([new(), new(replicates=index), new()])
    with pytest.raises(ValueError, match="give one of them"):
        log.create([new(), new(replicates=0, parent=1)])
    assert log.trials().empty


def test_trials_and_their_step_are_entered_together(log: TrialLog) -> None:
    search = log.searches.create("random", {}, task_fingerprint="f")
    step = SearchStep(search, "rows", {"joins": True, "note": "é <b>"})
    numbers = log.create([new(), new(replicates=0), new()], step=step)
    assert plain(log.searches.steps(search)) == [
        SearchStep(search, "rows", {"joins": True, "note": "é <b>", "trials": numbers})
    ]
    assert step.data == {"joins": True, "note": "é <b>"}
    with pytest.raises(wb.LogError, match="search 99 is not in the log"):
        log.create([new()], step=SearchStep(99, "rows", {}))
    assert len(log.trials()) == 3  # not one without the other


def test_a_moment_is_written_with_its_events(log: TrialLog) -> None:
    search, other = (log.searches.create("random", {}, task_fingerprint="f") for _ in range(2))
    one, two = log.create([new(), new()])
    log.append(running(two, one), search=search)  # nothing that a search learns from
    log.append(iter([epoch(two, 1), Message(two, "x"), epoch(one, 1)]), search=search)
    log.append([epoch(one, 2), end(two, 1), end(one, 2)], search=search)
    log.searches.add_step(SearchStep(search, "ask", {"value": [1, None, "x"]}))
    log.searches.add_step(SearchStep(other, "ask", {}))
    assert plain(log.searches.steps(search)) == [
        SearchStep(search, "moment", {"epochs": [two, one], "ends": []}),
        SearchStep(search, "moment", {"epochs": [one], "ends": [two, one]}),
        SearchStep(search, "ask", {"value": [1, None, "x"]}),
    ]
    assert plain(log.searches.steps(other)) == [SearchStep(other, "ask", {})]
    with pytest.raises(wb.LogError, match="ended"):
        log.append([epoch(one, 3)], search=search)
    assert len(log.searches.steps(search)) == 3
    with pytest.raises(wb.LogError, match="search 99 is not in the log"):
        log.searches.add_step(SearchStep(99, "ask", {}))


def test_an_epoch_is_not_kept_without_its_moment(log: TrialLog) -> None:
    (one,) = log.create([new()])
    with pytest.raises(wb.LogError, match="search 99"):
        log.append([epoch(one, 1)], search=99)
    assert log.curves(one).empty


def test_the_last_cohort_counts(log: TrialLog) -> None:
    one, two, three = log.create([new()] * 3)
    log.append([CohortJoined(one, 4, 0), CohortJoined(two, 4, 3)])
    log.append([CohortJoined(one, 9, 12)])
    assert log.history.cohorts(one, two, three) == {one: (9, 12), two: (4, 3)}
    assert log.history.cohorts(three, two) == {two: (4, 3)}
    assert log.history.cohorts() == {}
    assert log.events(one).empty
    assert log.events().empty


def test_live_changes_come_back_in_order(log: TrialLog) -> None:
    one, two = log.create([new()] * 2)
    log.append([KnobChanged(one, 2, 15, "l2", 0.0, 0.1), KnobChanged(two, 1, 1, "l1", 0.0, 0.5)])
    log.append([KnobChanged(one, 2, 15, "learning_rate", 0.01, 1e-3), KnobChanged(one, 3, 21, "l2", 0.1, math.inf)])
    assert log.history.changes(one) == [(15, "l2", 0.1), (15, "learning_rate", 0.001), (21, "l2", math.inf)]
    assert log.history.changes(log.create([new()])[0]) == []
    with pytest.raises(wb.LogError, match="trial 77"):
        log.history.changes(77)


def test_branches(log: TrialLog) -> None:
    one, other = log.create([new(), new(task_fingerprint="g")])
    first, second = log.create([new(source="branch", parent=one), new(parent=other, task_fingerprint="g")])
    changes = {"learning_rate": (0.01, 0.001), "optimizer": ("adam", "sgd"), "clip": (None, math.inf)}
    log.append([Branched(first, one, 12, changes), Message(first, "x"), Branched(second, other, 3, {})])
    frame = log.history.branches()
    assert list(frame.columns) == ["trial", "parent", "epoch", "changes"]
    assert frame.to_numpy().tolist() == [[first, one, 12, changes], [second, other, 3, {}]]
    assert list(log.history.branches("g")["trial"]) == [second]
    events = log.events(first)
    assert list(events["kind"]) == ["branch", "message"]
    assert events.loc[0, ["name", "epoch"]].tolist() == ["", 12]
    assert events["message"][0] == (
        f"from trial {one} after epoch 12: learning_rate 0.01 → 0.001, optimizer 'adam' → 'sgd', clip None → inf"
    )
    assert log.events(second)["message"].tolist() == [f"from trial {other} after epoch 3"]


def test_no_branches_have_the_same_columns(log: TrialLog) -> None:
    assert list(log.history.branches().columns) == ["trial", "parent", "epoch", "changes"]
    assert log.history.branches().empty


def test_a_branch_is_kept_as_json(tmp_path: Path) -> None:
    log = TrialLog.open(tmp_path / "trials.db")
    one, two = log.create([new(), new()])
    log.append([Branched(two, one, 12, {"optimizer": ("adam", "sgd")}), CohortJoined(two, 5, 12)])
    log.close()
    connection = sqlite3.connect(tmp_path / "trials.db")
    rows = connection.execute("SELECT trial, kind, epoch, name, message FROM events ORDER BY id").fetchall()
    connection.close()
    assert rows == [(two, "branch", 12, str(one), '{"optimizer": ["adam", "sgd"]}'), (two, "cohort", 12, "5", "")]
