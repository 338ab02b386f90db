"""Processes that train and are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


class Victims:
    """Forks processes that train (see victim.py)."""

    def __init__(self) -> None:
        self._told = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed in `close`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.victim"], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._told,
        )  # fmt: skip

    def run(
        self,
        job: str,
        log: Path | str,
        *,
        found: Path | None = None,
        resume: bool = False,
        kill_after: float | None = None,
        kill_at: tuple[str, int] | None = None,
        of: dict[str, Any] | None = None,
    ) -> float:
        """One process: to its end, or killed after so many seconds or at a moment. Returns how long it lived.

        kill_at: a name out of `moments.MOMENTS` and at which of them, from 1. of: what an event has to be to count.
        log: a path or URL. found: where the outcome is written, beside the file of the log by default.
        """
        found = Path(log).with_suffix(".json") if found is None else found
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        started = time.monotonic()
        moment = None if kill_at is None else [*kill_at, of or {}]
        command = {"job": job, "log": str(log), "found": str(found), "resume": resume, "kill_at": moment}
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        child = int(self._process.stdout.readline())
        if kill_after is not None:
            time.sleep(max(0.0, kill_after - (time.monotonic() - started)))  # the moment of the kill is what is tried
            with suppress(ProcessLookupError):  # it was faster
                os.kill(child, signal.SIGKILL)
        code = int(self._process.stdout.readline())
        if kill_after is None and code != (0 if kill_at is None else -signal.SIGKILL):
            self._told.seek(0)
            raise AssertionError(f"exit code {code} of {command}:\n{self._told.read()}")
        return time.monotonic() - started

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._told.close()


@pytest.fixture(scope="session")
def victims() -> Iterator[Victims]:
    victims = Victims()
    yield victims
    victims.close()
