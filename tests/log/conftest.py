from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.log import TrialLog


@pytest.fixture(params=["memory", "file", "postgresql"])
def log(request: Any, tmp_path: Path) -> Iterator[TrialLog]:
    if request.param == "postgresql":
        target: Any = request.getfixturevalue("postgresql")
    else:
        target = None if request.param == "memory" else tmp_path / "trials.db"
    log = TrialLog.open(target)
    yield log
    log.close()
