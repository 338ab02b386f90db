"""The generated reference is up to date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_hyperparameter_reference_is_up_to_date() -> None:
    script = [sys.executable, str(ROOT / "tools" / "reference.py"), "--check"]
    assert subprocess.run(script, cwd=ROOT, check=False).returncode == 0, (
        "docs/hyperparameters.md is stale: run `make docs`"
    )
