"""A log in PostgreSQL: the same numbers as in a file, and the same end after a kill or when the server was away."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import psutil
import pytest

import workbench as wb
from tests.conftest import serving, url_of
from tests.faults.heard import PATIENCE, Heard

if TYPE_CHECKING:
    from tests.faults.conftest import Victims


@pytest.mark.parametrize(
    ("job", "of"),
    [
        ("alone", {"kind": "EpochEnd", "trial": 1, "epoch": 60}),
        ("branch", {"kind": "EpochEnd", "trial": 3, "epoch": 20}),
        ("learning_search", {"kind": "TrialEnded", "trial": 9}),
    ],
)
def test_killed_and_resumed_it_ends_as_in_a_file(
    victims: Victims, tmp_path: Path, postgresql: str, job: str, of: dict[str, Any]
) -> None:
    whole, found = tmp_path / "whole.db", tmp_path / "server.json"
    victims.run(job, whole)
    victims.run(job, postgresql, found=found, kill_at=("event committed", 1), of=of)
    assert not found.exists()
    victims.run(job, postgresql, found=found, resume=True)
    wanted, outcome = json.loads(whole.with_suffix(".json").read_text()), json.loads(found.read_text())
    assert wanted["ends"]
    for part in ("configs", "ends", "bits"):
        assert outcome[part] == wanted[part], part


def test_the_seal_holds_on_a_server(postgresql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the checkpoints of a server's log lie in the present folder
    bench = wb.Workbench(wb.Task.load("iris"), log=postgresql)
    bench.run(wb.Config(epochs=5))
    first = bench.open_test_set(1)
    again = wb.Workbench(wb.Task.load("iris"), log=postgresql)
    with pytest.raises(wb.SealError, match="again=True"):
        again.open_test_set(1)
    second = again.open_test_set(1, again=True)
    assert (first.score, "reused (2)") == (second.score, second.stamp)
    assert len(again.openings) == 2
    again.delete(1)
    again.empty_trash()
    assert len(wb.Workbench(wb.Task.load("iris"), log=postgresql).openings) == 2


def test_training_waits_for_a_server_that_went_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("workbench.runs.runner.RETRY_SECONDS", 0.02)
    config = wb.Config(hidden_units=8, batch_size=8, epochs=40, dropout=0.2)
    undisturbed = wb.Workbench(wb.Task.load("iris"))
    undisturbed.run(config)
    with serving() as server:
        bench = wb.Workbench(wb.Task.load("iris"), log=url_of(server, "postgres"))

        def go_down() -> None:
            process = psutil.Process(server.get_pid())
            os.kill(process.pid, signal.SIGQUIT)  # at once, without a word to those who are connected
            process.wait(PATIENCE)

        heard = Heard(bench, after_epoch=10, do=go_down)
        run = bench.start(config)
        heard.wait_for_remark("waits and tries again")
        assert not run.done
        server.ensure_postgres_running()
        run.wait(PATIENCE)
        heard.wait_for_remark("Written now")
        wanted, found = (one.curves(1).drop(columns="seconds") for one in (undisturbed, bench))
        pd.testing.assert_frame_equal(found, wanted, check_exact=True)
        assert bench.trials["state"].tolist() == ["completed"]
        bench.log.close()
