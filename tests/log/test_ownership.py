"""The owners of unfinished trials: leases, interrupted trials, and the race to adopt them."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import event, text

import workbench as wb
from tests.log.making import another_process, end, ended, epoch, new, running
from workbench.core.events import StateChanged, TrialState
from workbench.log import LEASE_SECONDS, TrialLog, ownership


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trials.db"


def planted_session(path: Path, **values: Any) -> int:
    """A session written past the log, by default of another machine and long ago."""
    row = {
        "host": "elsewhere", "pid": 1, "process_started": 1.0, "created": "2024-03-01T10:00:00.000+00:00",
        "versions": "{}", "machine": "elsewhere 1 2", **values,
    }  # fmt: skip
    names = ", ".join(row)
    connection = sqlite3.connect(path)
    with connection:
        cursor = connection.execute(
            f"INSERT INTO sessions ({names}) VALUES ({', '.join(f':{name}' for name in row)})", row
        )
    connection.close()
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def planted_trial(path: Path, session: int, created: str = "2024-03-01T10:00:00.000+00:00") -> int:
    """A running trial of a session, written past the log."""
    connection = sqlite3.connect(path)
    with connection:
        number = connection.execute(
            "INSERT INTO trials (session, created, name, note, tags, source, task, task_fingerprint, metric, monitor, "
            "device, config) VALUES (?, ?, '', '', '[]', 'manual', 't', 'f', 'accuracy', 'loss', 'cpu', '{}')",
            (session, created),
        ).lastrowid
        connection.execute(
            "INSERT INTO events (trial, kind, step, name, message, created) VALUES (?, 'state', 0, 'running', '', ?)",
            (number, created),
        )
    connection.close()
    assert number is not None
    return number


def leased(path: Path, session: int, ago: float) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("INSERT OR REPLACE INTO leases VALUES (?, ?)", (session, time.time() - ago))
    connection.close()


def test_trials_of_a_killed_process_are_interrupted(path: Path) -> None:
    log = TrialLog.open(path)
    with another_process(path, trials=2) as (child, theirs):
        assert log.ownership.mark_interrupted() == []
        child.kill()
        child.wait()
        assert log.ownership.mark_interrupted() == theirs
    assert log.ownership.interrupted() == theirs
    last = log.events(theirs[0]).iloc[-1]
    assert (last["kind"], last["name"], last["step"]) == ("state", "interrupted", 10)
    assert log.ownership.mark_interrupted() == []
    assert len(log.events(theirs[0])) == 2
    log.close()


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="zombies are Unix's")
def test_a_zombie_is_gone(path: Path) -> None:
    log = TrialLog.open(path)
    with another_process(path) as (child, theirs):
        child.kill()
        os.waitid(
            os.P_PID, child.pid, os.WEXITED | os.WNOWAIT
        )  # it has died, and its exit status is still to be fetched
        assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
        assert log.ownership.mark_interrupted() == theirs
    log.close()


def test_opening_a_log_marks(path: Path) -> None:
    with another_process(path) as (_, theirs):
        TrialLog.open(path).close()
        log = TrialLog.open(path)
        assert log.state(theirs[0]) is TrialState.RUNNING
        log.close()
    log = TrialLog.open(path)
    assert log.state(theirs[0]) is TrialState.INTERRUPTED
    log.close()


def test_trials_of_this_process_are_not_marked_by_another_log_in_it(path: Path) -> None:
    first = TrialLog.open(path)
    queued, going = first.create([new(), new()])
    first.append(running(going))
    second = TrialLog.open(path)
    assert second.ownership.mark_interrupted() == []
    assert [second.state(trial) for trial in (queued, going)] == [TrialState.QUEUED, TrialState.RUNNING]
    first.close()
    second.close()


def test_ones_own_trials_are_marked_when_they_do_not_go_on(log: TrialLog) -> None:
    going, left, queued, over = log.create([new(), new(), new(), new()])
    log.append([*running(going, left, over), end(over)])
    log.append([epoch(left, 1), epoch(left, 2)])
    assert log.ownership.mark_interrupted({going}) == [left, queued]
    assert log.events(left)["step"].tolist() == [0, 20]
    assert log.ownership.mark_interrupted({going}) == []
    log.append([StateChanged(left, TrialState.RUNNING)])  # takes it back
    assert log.ownership.interrupted() == [queued]
    assert log.ownership.mark_interrupted({going, left}) == []
    log.append([end(queued, state=TrialState.STOPPED)])
    assert log.ownership.interrupted() == []


@pytest.mark.parametrize(
    ("lease", "marked"),
    [(0.0, False), (LEASE_SECONDS - 30, False), (LEASE_SECONDS + 1, True), (-3600.0, True), (None, True)],
)
def test_another_machine_is_judged_by_its_lease(path: Path, lease: float | None, marked: bool) -> None:
    log = TrialLog.open(path)
    session = planted_session(path)
    trial = planted_trial(path, session)
    if lease is not None:
        leased(path, session, lease)
    assert log.ownership.mark_interrupted() == ([trial] if marked else [])
    log.close()


def test_without_a_lease_what_was_written_last_is_the_sign_of_life(path: Path) -> None:
    log = TrialLog.open(path)
    trial = planted_trial(path, planted_session(path), created=ownership.now())
    fresh = planted_trial(path, planted_session(path, created=ownership.now()))
    assert log.ownership.mark_interrupted() == []
    assert {log.state(trial), log.state(fresh)} == {TrialState.RUNNING}
    log.close()


def test_another_machine_of_the_same_host_name_is_another_machine(path: Path) -> None:
    """A process number of a container does not identify this one's processes."""
    log = TrialLog.open(path)
    host = ownership.machine().split()[0]
    session = planted_session(path, host=host, machine=f"{host} other-boot 1", pid=2**22 + 1)
    trial = planted_trial(path, session)
    leased(path, session, 0)
    assert log.ownership.mark_interrupted() == []
    leased(path, session, LEASE_SECONDS + 1)
    assert log.ownership.mark_interrupted() == [trial]
    log.close()


def test_a_session_from_without_a_machine_is_identified_by_its_host(path: Path) -> None:
    log = TrialLog.open(path)
    nobody = 2**22 + 1  # above the highest process number there is
    here = planted_trial(path, planted_session(path, machine=None, host=socket.gethostname(), pid=nobody))
    session = planted_session(path, machine=None, host="elsewhere", pid=nobody)
    elsewhere = planted_trial(path, session)
    for planted in (session, session - 1):
        leased(path, planted, 0)
    assert log.ownership.mark_interrupted() == [here]
    leased(path, session, LEASE_SECONDS + 1)
    assert log.ownership.mark_interrupted() == [elsewhere]
    log.close()


def test_a_number_that_another_process_has_got_is_no_sign_of_life(path: Path) -> None:
    log = TrialLog.open(path)
    with another_process(path) as (child, _):
        session = planted_session(path, machine=ownership.machine(), pid=child.pid, process_started=1.0)
        trial = planted_trial(path, session)
        leased(path, session, 0)  # the clock may have been set since: who renews a lease is alive
        assert log.ownership.mark_interrupted() == []
        leased(path, session, LEASE_SECONDS + 1)
        assert log.ownership.mark_interrupted() == [trial]
        unleased = planted_trial(path, planted_session(path, machine=ownership.machine(), pid=child.pid))
        assert log.ownership.mark_interrupted() == [unleased]
    log.close()


@pytest.mark.parametrize(("seconds", "gone"), [(0.0, False), (0.9, False), (-0.9, False), (1.5, True), (-1.5, True)])
def test_a_process_is_recognised_by_its_start_within_a_second(path: Path, seconds: float, gone: bool) -> None:
    log = TrialLog.open(path)
    started = psutil.Process().create_time() + seconds
    values = {
        "pid": os.getpid(),
        "process_started": started,
        "created": ownership.now(),
    }  # its age decides nothing here
    session = planted_session(path, machine=ownership.machine(), **values)
    trial = planted_trial(path, session)
    assert log.ownership.mark_interrupted() == ([trial] if gone else [])
    log.close()


def test_a_lease_is_renewed(path: Path) -> None:
    log = TrialLog.open(path)
    times = []
    for clock in (1000.5, 2000.25):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ownership.time, "time", lambda clock=clock: clock)
            log.ownership.renew_lease()
        with log.database.read() as connection:
            times.append(connection.execute(text("SELECT session, renewed FROM leases")).one())
    assert [tuple(row) for row in times] == [(log.ownership.session, 1000.5), (log.ownership.session, 2000.25)]
    log.close()


def test_nothing_to_mark_takes_no_write_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.log.database.LOCK_SECONDS", 0)
    log = TrialLog.open(path)
    ended(log, 3)
    left = log.create([new()])
    assert log.ownership.mark_interrupted() == left
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert log.ownership.mark_interrupted() == []
    writer.execute("ROLLBACK")
    writer.close()
    log.close()


def test_ended_trials_cost_nothing_to_mark(path: Path) -> None:
    """The tables that grow with every trial are looked up by number, but for one walk along an index."""
    log = TrialLog.open(path)
    ended(log, 3)
    asked: list[tuple[str, Any]] = []
    event.listen(log.database.engine, "before_cursor_execute", lambda *args: asked.append((args[2], args[3])))
    log.ownership.mark_interrupted()
    log.ownership.interrupted()
    with log.database.read() as connection:
        plans = [
            row[3]
            for statement, values in asked
            if statement.startswith("SELECT")
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]
    scans = [plan for plan in plans if plan.startswith("SCAN")]
    assert len(plans) > 5
    assert [plan for plan in scans if "COVERING INDEX" not in plan and "trash" not in plan] == []
    log.close()


def test_interrupted_trials_of_a_task(log: TrialLog) -> None:
    one, other, trashed = log.create([new(), new(task_fingerprint="g"), new()])
    log.ownership.mark_interrupted()
    log.trash.delete([trashed])
    assert (log.ownership.interrupted(), log.ownership.interrupted("g")) == ([one, other], [other])


def test_an_adopted_trial_is_the_new_owners(path: Path) -> None:
    log = TrialLog.open(path)
    with another_process(path) as (_, theirs):
        pass
    log.ownership.mark_interrupted()
    log.ownership.adopt(theirs)
    assert log.state(theirs[0]) is TrialState.QUEUED
    assert log.ownership.mark_interrupted(theirs) == []
    log.append([*running(*theirs), epoch(theirs[0], 2)])
    log.append([end(theirs[0], 2)])
    assert log.trials()["state"].tolist() == ["completed"]
    log.close()


def test_an_adopted_trial_can_be_left_behind_again(path: Path) -> None:
    log = TrialLog.open(path)
    (trial,) = log.create([new()])
    log.ownership.mark_interrupted()
    session = planted_session(path)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "INSERT INTO adoptions (trial, session, created) VALUES (?, ?, ?)",
            (trial, session, "2024-03-01T10:00:00.000+00:00"),
        )
    connection.close()
    log.append(running(trial))
    leased(path, session, 0)
    assert log.ownership.mark_interrupted() == []  # it is not this session's any more
    leased(path, session, LEASE_SECONDS + 1)
    assert log.ownership.mark_interrupted() == [trial]
    log.close()


def test_what_cannot_be_adopted(log: TrialLog) -> None:
    going, left, over, trashed = log.create([new() for _ in range(4)])
    log.append([*running(going), end(over)])
    log.ownership.mark_interrupted({going})
    log.trash.delete([trashed])
    for trial, message in (
        (going, f"trial {going} is not interrupted any more: another kernel continues it"),
        (over, f"trial {over} is not interrupted any more: it has ended"),
        (trashed, f"trial {trashed} is in the trash; restore it first"),
        (99, "trial 99 is not in the log"),
    ):
        with pytest.raises(wb.LogError, match=message):
            log.ownership.adopt([left, trial])
    assert log.ownership.interrupted() == [left]  # all or nothing
    log.ownership.adopt([left])
    with pytest.raises(wb.LogError, match=f"trial {left} is not interrupted any more"):
        log.ownership.adopt([left])


def test_of_several_who_adopt_one_wins(path: Path) -> None:
    first = TrialLog.open(path)
    for _ in range(10):
        trials = first.create([new(), new()])
        first.ownership.mark_interrupted()
        logs = [TrialLog.open(path) for _ in range(4)]
        start, outcomes = threading.Barrier(len(logs)), []

        def attempt(log: TrialLog, trials: list[int] = trials, start: Any = start, outcomes: Any = outcomes) -> None:
            start.wait()
            try:
                log.ownership.adopt(trials)
                outcomes.append(log.ownership.session)
            except wb.LogError as error:
                outcomes.append(str(error))

        threads = [threading.Thread(target=attempt, args=(log,)) for log in logs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = [outcome for outcome in outcomes if isinstance(outcome, int)]
        rejected = f"trial {trials[0]} is not interrupted any more: another kernel continues it"
        assert [outcome for outcome in outcomes if outcome != winner] == [rejected] * 3
        with first.database.read() as connection:
            owners = connection.execute(text(f"SELECT session FROM adoptions WHERE trial IN {tuple(trials)}"))
            assert owners.scalars().all() == [winner, winner]
        first.append([end(trial) for trial in trials])
        for log in logs:
            log.close()
    first.close()


def test_a_new_trial_has_an_owner_with_a_lease_by_the_database_clock(log: TrialLog) -> None:
    with log.database.write() as connection:
        connection.execute(text("UPDATE leases SET renewed = 1"))
    log.create([new()])
    with log.database.read() as connection:
        renewed = connection.execute(text("SELECT renewed FROM leases")).scalar_one()
        clock = connection.execute(ownership.select(ownership._clock(connection))).scalar_one()
    assert 0 <= clock - renewed < 30
