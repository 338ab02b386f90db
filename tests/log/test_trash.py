"""The trash against a model in plain Python, and what it leaves alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

import workbench as wb
from tests.log.making import end, ended, epoch, new, running
from workbench.core.events import Branched, TrialEnded, TrialState
from workbench.log import TrialLog


@dataclass
class Model:
    """What a log with a trash should hold."""

    parents: dict[int, int | None] = field(default_factory=dict)
    over: set[int] = field(default_factory=set)
    trashed: set[int] = field(default_factory=set)
    given: int = 0
    suggested: int = 0

    def create(self, parent: int | None) -> int:
        self.given += 1
        self.suggested += 1
        self.parents[self.given] = parent
        return self.given

    def empty(self) -> tuple[list[int], list[int]]:
        kept: set[int] = set()
        while True:
            needed = {self.parents[trial] for trial in self.parents if trial not in self.trashed or trial in kept}
            if needed & self.trashed <= kept:
                break
            kept |= needed & self.trashed
        removed = self.trashed - kept
        for trial in removed:
            del self.parents[trial]
        self.trashed -= removed
        return sorted(removed), sorted(kept)


numbers = st.lists(st.integers(1, 12), max_size=4)
steps = st.one_of(
    st.tuples(st.just("create"), st.lists(st.integers(0, 12), min_size=1, max_size=3)),
    st.tuples(st.just("end"), numbers),
    st.tuples(st.just("delete"), numbers),
    st.tuples(st.just("restore"), st.one_of(st.none(), numbers)),
    st.tuples(st.just("empty"), st.none()),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, max_size=16))
def test_any_sequence_does_what_the_model_does(sequence: list[tuple[str, list[int] | None]]) -> None:
    log, model = TrialLog.open(None), Model()
    search = log.searches.create("random", {}, task_fingerprint="f")
    for step, given_numbers in sequence:
        wanted = given_numbers or []
        match step:
            case "create":
                parents = [parent if parent in model.parents else None for parent in wanted]
                expected = [model.create(parent) for parent in parents]
                start = model.suggested - len(parents)
                created = log.create(
                    [new(parent=parent, search=search, suggestion=start + i) for i, parent in enumerate(parents)]
                )
                assert created == expected
            case "end":
                for trial in wanted:
                    if trial in model.parents and trial not in model.over:
                        log.append([epoch(trial, 1), end(trial, 1)])
                        model.over.add(trial)
            case "delete":
                if set(wanted) <= set(model.parents) & model.over - model.trashed:
                    log.trash.delete(wanted)
                    model.trashed |= set(wanted)
                else:
                    with pytest.raises(wb.LogError, match=r"not in the log|in the trash already|stop it first"):
                        log.trash.delete(wanted)
            case "restore":
                if given_numbers is None:
                    assert log.trash.restore() == sorted(model.trashed)
                    model.trashed.clear()
                elif set(wanted) <= model.trashed:
                    assert sorted(log.trash.restore(wanted)) == sorted(set(wanted))
                    model.trashed -= set(wanted)
                else:
                    with pytest.raises(wb.LogError, match="is not in the trash"):
                        log.trash.restore(wanted)
            case "empty":
                assert log.trash.empty() == model.empty()
        outside = sorted(set(model.parents) - model.trashed)
        assert list(log.trials()["trial"]) == outside
        assert log.searches.suggestions(search) == model.suggested
    assert list(log.trash.trials()["trial"]) == sorted(model.trashed)
    outside = sorted(set(model.parents) - model.trashed)
    assert log.results.count("f") == len(outside)
    assert list(log.curves()["trial"]) == [trial for trial in outside if trial in model.over]
    assert list(log.searches.table()["trials"]) == [len(outside)]
    log.close()


@pytest.mark.parametrize("state", [TrialState.DIVERGED, TrialState.FAILED])
def test_what_broke_off_is_not_the_best(log: TrialLog, state: TrialState) -> None:
    broken = log.create([new()])
    log.append([*running(*broken), epoch(broken[0], 1), TrialEnded(broken[0], state, 1, 10, 1, 0.1, 0.99, 1.0)])
    assert log.results.best("f", "accuracy", "higher") is None
    (whole,) = ended(log)
    assert log.results.best("f", "accuracy", "higher") == {"trial": whole, "best_val_metric": 0.9, "best_epoch": 1}


def test_what_is_in_the_trash_is_in_no_table(log: TrialLog) -> None:
    search = log.searches.create("random", {}, task_fingerprint="f")
    (kept,) = ended(log, search=search, configuration="s")
    (trashed,) = log.create([new(search=search, configuration="s")])
    log.append([epoch(trashed, 1), TrialEnded(trashed, TrialState.COMPLETED, 1, 10, 1, 0.1, 0.99, 1.0)])
    (left,) = log.create([new()])
    log.append([*running(left), Branched(left, kept, 1, {"seed": (0, 1)}), epoch(left, 1)])
    log.ownership.mark_interrupted()
    assert log.results.best("f", "accuracy", "higher")["trial"] == trashed  # type: ignore[index]
    assert list(log.results.scores("f", "accuracy")["trial"]) == [kept, trashed]
    assert list(log.history.branches()["trial"]) == [left]
    log.trash.delete([trashed, left])
    assert list(log.trials()["trial"]) == list(log.trials(last=2)["trial"]) == [kept]
    assert log.results.count("f") == 1
    assert log.results.best("f", "accuracy", "higher")["trial"] == kept  # type: ignore[index]
    assert list(log.results.scores("f", "accuracy")["trial"]) == [kept]
    assert set(log.curves()["trial"]) == set(log.events()["trial"]) == {kept}
    assert log.history.branches().empty
    assert log.ownership.interrupted() == []
    assert list(log.searches.table()["trials"]) == [1]
    assert list(log.curves(trashed)["trial"]) == [trashed]
    assert set(log.events(left)["trial"]) == {left}
    log.trash.restore([left])
    assert log.ownership.interrupted() == list(log.history.branches()["trial"]) == [left]


def test_the_trash_is_shown_like_trials(log: TrialLog) -> None:
    _one, two = ended(log, 2, name="x", tags=["a"])
    before = log.trials()
    assert log.trash.trials().empty
    assert list(log.trash.trials().columns) == [*before.columns, "deleted"]
    log.trash.delete([two])
    row = log.trash.trials().iloc[0]
    same = before.columns
    assert row[same].astype(str).tolist() == before.iloc[1][same].astype(str).tolist()
    assert row["deleted"] >= row["created"]
    assert str(log.trash.trials()["deleted"].dtype).endswith("UTC]")


def test_only_what_stands_still_is_deleted(log: TrialLog) -> None:
    (over,) = ended(log)
    queued, going = log.create([new(), new()])
    log.append(running(going))
    for trial, message in (
        (queued, f"trial {queued} is queued; stop it first"),
        (going, f"trial {going} is running; stop it first"),
        (99, "trial 99 is not in the log"),
    ):
        with pytest.raises(wb.LogError, match=message):
            log.trash.delete([over, trial])
    assert log.trash.trials().empty  # all or nothing
    log.trash.delete([over, over])
    with pytest.raises(wb.LogError, match=f"trial {over} is in the trash already"):
        log.trash.delete([over])
    with pytest.raises(wb.LogError, match=f"trial {going} is not in the trash"):
        log.trash.restore([over, going])
    assert list(log.trash.trials()["trial"]) == [over]


def test_an_interrupted_trial_can_be_removed_for_good(log: TrialLog) -> None:
    (trial,) = log.create([new()])
    log.append([*running(trial), epoch(trial, 1)])
    log.ownership.mark_interrupted()
    log.ownership.adopt([trial])
    log.annotate(trial, note="x")
    log.ownership.mark_interrupted()
    log.trash.delete([trial])
    assert log.trash.trials()["state"].tolist() == ["interrupted"]
    assert log.trash.empty() == ([trial], [])
    with log.database.read() as connection:
        for table in ("epochs", "events", "ends", "annotations", "adoptions", "trials"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0
    assert log.trash.trials().empty
    assert log.trash.restore() == []
    with pytest.raises(wb.LogError, match="no trial of that number"):
        log.append([epoch(trial, 2)])


def test_what_others_were_made_from_is_kept(log: TrialLog) -> None:
    first, alone = ended(log, 2)
    second, *_ = ended(log, 1, parent=first)
    third, *_ = ended(log, 1, parent=second)
    log.trash.delete([first, second, alone])
    assert log.trash.empty() == ([alone], [first, second])
    log.trash.delete([third])
    assert log.trash.empty() == ([first, second, third], [])
    assert ended(log) == [third + 1]  # a number is never given twice


def test_many_are_removed_at_once(log: TrialLog) -> None:
    """More than fit into one condition, in chains that cross the limits of the groups."""
    previous: int | None = None
    trials = []
    for _ in range(3):
        group = log.create([new(parent=previous)] * 400)
        log.append([end(trial) for trial in group])
        trials += group
        previous = group[0]
    log.trash.delete(trials)
    assert log.trash.empty() == (trials, [])
    assert log.trials().empty


def test_purging_is_for_the_trash_only(log: TrialLog) -> None:
    (one,) = ended(log)
    with pytest.raises(wb.LogError, match="append-only"), log.database.write() as connection:
        connection.execute(text(f"INSERT INTO purged (trial, created) VALUES ({one}, '')"))
    log.trash.delete([one])
    log.trash.restore()
    with pytest.raises(wb.LogError, match="append-only"), log.database.write() as connection:
        connection.execute(text(f"INSERT INTO purged (trial, created) VALUES ({one}, '')"))


def test_a_replay_is_no_attempt(log: TrialLog) -> None:
    (one,) = ended(log, configuration="s")
    (replay,) = log.create([new(source="replay", parent=one, configuration="s")])
    log.append([epoch(replay, 1), TrialEnded(replay, TrialState.COMPLETED, 1, 10, 1, 0.1, 0.99, 1.0)])
    assert log.results.best("f", "accuracy", "higher") == {"trial": one, "best_val_metric": 0.9, "best_epoch": 1}
    assert list(log.results.scores("f", "accuracy")["trial"]) == [one]
    assert list(log.trials()["trial"]) == [one, replay]
    assert math.isclose(log.trials()["best_val_metric"][1], 0.99)
