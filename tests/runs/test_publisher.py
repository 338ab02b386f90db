"""What a session publishes, heard by a subscriber that is no view."""

from __future__ import annotations

import subprocess
import sys

import workbench as wb
from workbench.core.events import EpochEnd, TrialEnded, TrialState
from workbench.runs.publisher import LogChanged
from workbench.runs.session import Session
from workbench.training import prepare

SHORT = wb.Config(epochs=3, hidden_units=8)


def test_a_subscriber_hears_each_epoch_after_it_is_in_the_log_and_acts_while_a_caller_waits() -> None:
    task = wb.Task.load("iris")
    session = Session(task, wb.TrialLog.open(None))
    heard: list[object] = []
    in_log: list[int] = []
    waited: list[int] = []

    def hear(group: object) -> None:
        for one in group:  # type: ignore[attr-defined]
            heard.append(one)
            if isinstance(one, EpochEnd):
                in_log.append(int(session.log.curves(1)["epoch"].max()) - one.epoch)

    end = session.subscribe(hear, waiting=lambda: waited.append(len(heard)))
    session.launch([prepare(task, SHORT)], device="cpu").wait()
    assert [one.epoch for one in heard if isinstance(one, EpochEnd)] == [1, 2, 3]
    assert all(lag >= 0 for lag in in_log)
    assert [one.state for one in heard if isinstance(one, TrialEnded)] == [TrialState.COMPLETED]
    assert waited[-1] == len(heard)  # once more at the end
    session.log.trash.delete([1])
    session.forget([1])
    assert heard[-1] == LogChanged(deleted=(1,))
    end()
    count = len(heard)
    session.launch([prepare(task, SHORT)], device="cpu").wait()
    assert len(heard) == count


def test_a_workbench_says_what_was_deleted_and_restored() -> None:
    bench = wb.Workbench(wb.Task.load("iris"))
    bench.run(SHORT)
    heard: list[object] = []
    bench.presenter.session.subscribe(heard.extend)
    bench.delete(1)
    bench.restore(1)
    assert heard == [LogChanged(deleted=(1,)), LogChanged(restored=(1,))]


def test_a_session_trains_without_any_module_of_the_views() -> None:
    code = (
        "import sys; import workbench as wb; from workbench.runs.session import Session; from workbench.training import prepare; "
        "session = Session(wb.Task.load('iris'), wb.TrialLog.open(None)); "
        "session.launch([prepare(session.task, wb.Config(epochs=1, hidden_units=8))], device='cpu').wait(); "
        "found = [name for name in sys.modules if name.startswith(('workbench.ui', 'workbench.methods', 'ipywidgets'))]; "
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
