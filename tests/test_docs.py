"""The generated reference is up to date, and the notebooks are at peace with what they leave behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import workbench as wb

ROOT = Path(__file__).resolve().parents[1]


def test_the_hyperparameter_reference_is_up_to_date() -> None:
    script = [sys.executable, str(ROOT / "tools" / "reference.py"), "--check"]
    assert subprocess.run(script, cwd=ROOT, check=False).returncode == 0, (
        "docs/hyperparameters.md is stale: run `make docs`"
    )


def test_the_quickstart_begins_anew_beside_what_it_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = nbformat.read(ROOT / "notebooks" / "01_quickstart.ipynb", 4).cells
    first = next(cell.source for cell in cells if cell.cell_type == "code")
    bench = wb.Workbench(wb.Task.load("iris"), log="quickstart.db")
    bench.run(wb.Config(epochs=2))
    assert bench.checkpoints.flush(60)
    assert {path.is_dir() for path in tmp_path.glob("quickstart.db*")} == {True, False}
    exec(first, {})
    assert list(tmp_path.glob("quickstart.db*")) == []
