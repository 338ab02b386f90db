"""Counts have an upper bound, Stop works while configurations are drawn, and a search that is done is not running."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

import workbench as wb
from workbench.core.space import Space
from workbench.methods.search.arm import Arm, Suggestion
from workbench.methods.search.campaign import Campaign
from workbench.methods.search.fair_comparison import Comparison
from workbench.methods.search.protocol import Budget, Call, NewRow
from workbench.methods.search.strategies import strategy
from workbench.runs.run import Run
from workbench.runs.session import Session

SPACE = {"learning_rate": wb.LogRange(1e-4, 1e-1)}
BASE = wb.Config(hidden_units=4, epochs=1)


@pytest.mark.parametrize("name", ["trials", "no_improvement", "seeds", "cohort", "seed", "points"])
def test_every_count_of_a_search_has_an_upper_bound(name: str) -> None:
    bench = wb.Workbench(wb.Task.load("iris"), log=None)
    with pytest.raises(wb.ConfigError, match=rf"{name}=10+: must be a whole number from \d+ to \d+"):
        bench.search("random", SPACE, BASE, **{"trials": 1, name: 10**30})
    assert bench.searches.empty


class StoppingRecorder:
    """Asks to stop at the given call of `stopped`."""

    def __init__(self, looks: int) -> None:
        self.looks, self.created = looks, 0

    def create(self, rows: Sequence[NewRow], call: Call) -> list[int]:
        self.created += len(rows)
        return list(range(1, len(rows) + 1))

    def note(self, call: Call) -> None: ...
    def shrunk(self, size: int) -> None: ...
    def ended(self, reason: str) -> None: ...
    def fits(self, config: wb.Config, wanted: int) -> int:
        return wanted

    def is_up(self, up: bool) -> bool:
        return up

    def stopped(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def test_a_stop_ends_the_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    ask = Arm.ask

    def counted(self: Arm, number: int, seeds: int) -> Suggestion | None:
        asked.append(number)
        return ask(self, number, seeds)

    monkeypatch.setattr(Arm, "ask", counted)
    recorder = StoppingRecorder(3)
    arm = Arm(Space(SPACE, BASE), strategy("random"), better="higher")
    campaign = Campaign([arm], Budget(200), recorder=recorder, better="higher", check=lambda config: config)
    assert campaign.next() == {}
    assert (len(asked), recorder.created) == (3, 0)


def test_a_view_never_finds_a_run_neither_going_nor_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment between the two is made long here."""
    finish = Run._finish

    def slow(self: Run, error: BaseException | None) -> None:
        time.sleep(0.3)
        finish(self, error)

    monkeypatch.setattr(Run, "_finish", slow)
    bench = wb.Workbench(wb.Task.load("iris"), log=None)
    run = bench.start(BASE)
    runner = bench._session.runner
    while runner.runs:
        time.sleep(0.002)
    assert run.done
    run.wait()
    again = bench.start(BASE)  # the same request after the end is a new run
    assert again is not run
    again.wait()


def test_the_handle_of_a_comparison_is_complete_when_it_is_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that ends at once finds everything there: here each comparison has ended before `submit` returns."""
    submit = Session.submit
    tables = []

    def ended(self: Session, run: Comparison) -> None:
        complete = set(vars(run))
        submit(self, run)
        run.wait()
        tables.append(run.table)
        assert set(vars(run)) == complete

    monkeypatch.setattr(Session, "submit", ended)
    bench = wb.Workbench(wb.Task.load("iris"), log=None)
    options = {"nuisance": {"learning_rate": [0.01, 0.1]}, "trials": 1, "seeds": 2}
    run = bench.compare("optimizer", ["adam", "sgd"], base=BASE, **options)
    assert (run.field, run.nuisance) == ("optimizer", ("learning_rate",))
    assert list(tables[0]["seeds"]) == [2, 2]
    assert set(tables[0]["optimizer"]) == {"adam", "sgd"}
