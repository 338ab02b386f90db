"""What importing may load. The order of imports is a contract in pyproject.toml, held by `make lint`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "workbench"


def test_events_and_errors_know_no_torch() -> None:
    for name in ("events", "errors", "domains", "registry", "config"):
        assert "torch" not in (ROOT / "core" / f"{name}.py").read_text(encoding="utf-8").replace(
            "no torch", ""
        ).replace("without torch", "")


def test_importing_starts_nothing_and_loads_no_plotting() -> None:
    script = (
        "import sys, threading, workbench; "
        "assert threading.active_count() == 1; "
        "bad = {'matplotlib', 'ipywidgets', 'sqlalchemy', 'sklearn', 'optuna'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT.parent)
