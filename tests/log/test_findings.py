"""Findings: kept in order and unchanged, unless the check rejects them, and longer than the trials they name."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

import workbench as wb
from tests.log.making import ended
from workbench.log import Finding, TrialLog

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("fg"), st.dictionaries(st.text(), values)), max_size=6)
)
def test_they_come_back_as_they_were_in_order(written: list[tuple[str, str, dict[str, object]]]) -> None:
    log = TrialLog.open(None)
    numbers = [log.add_finding(kind, data, task_fingerprint=task) for kind, task, data in written]
    found = log.findings()
    assert [(one.kind, one.task_fingerprint, one.data) for one in found] == written
    assert [one.number for one in found] == numbers == sorted(numbers)
    assert [one.number for one in log.findings("a", "f")] == [
        number for number, (kind, task, _) in zip(numbers, written, strict=True) if (kind, task) == ("a", "f")
    ]
    log.close()


def test_nan_and_infinity_are_kept() -> None:
    log = TrialLog.open(None)
    log.add_finding("a", {"loss": math.inf, "metric": math.nan}, task_fingerprint="f")
    (found,) = log.findings()
    assert found.data["loss"] == math.inf
    assert math.isnan(found.data["metric"])


def test_a_check_that_raises_keeps_it_out(tmp_path: Path) -> None:
    log = TrialLog.open(tmp_path / "trials.db")
    log.add_finding("a", {"n": 1}, task_fingerprint="f")
    log.add_finding("b", {"n": 2}, task_fingerprint="f")

    def once(earlier: Sequence[Finding]) -> None:
        assert [one.data for one in earlier] == [{"n": 1}]
        raise wb.LogError("only once")

    with pytest.raises(wb.LogError, match="only once"):
        log.add_finding("a", {"n": 3}, task_fingerprint="f", check=once)
    log.close()
    again = TrialLog.open(tmp_path / "trials.db")
    assert [one.data for one in again.findings()] == [{"n": 1}, {"n": 2}]
    again.close()


@pytest.mark.parametrize("kind", ["file", "postgresql"])
def test_of_many_at_once_one_passes_the_check(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """All of them open a log that is not there yet."""
    target = request.getfixturevalue("postgresql") if kind == "postgresql" else tmp_path / "trials.db"
    start, rejected = threading.Barrier(6), []

    def race() -> None:
        start.wait()
        log = TrialLog.open(target)

        def once(earlier: Sequence[Finding]) -> None:
            if earlier:
                raise wb.LogError("only once")

        try:
            log.add_finding("a", {}, task_fingerprint="f", check=once)
        except wb.LogError as error:
            rejected.append(str(error))
        log.close()

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = TrialLog.open(target)
    assert len(log.findings()) == 1
    assert rejected == ["only once"] * 5
    log.close()


def test_they_are_never_changed_and_outlive_their_trials() -> None:
    log = TrialLog.open(None)
    (trial,) = ended(log)
    log.add_finding("a", {"trial": trial}, task_fingerprint="f")
    log.trash.delete([trial])
    assert log.trash.empty() == ([trial], [])
    assert [one.data for one in log.findings("a")] == [{"trial": trial}]
    for statement in ("DELETE FROM findings", "UPDATE findings SET kind = 'b'"):
        with pytest.raises(wb.LogError, match="append-only"), log.database.write() as connection:
            connection.execute(text(statement))
