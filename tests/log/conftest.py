from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.log import TrialLog


@pytest.fixture(params=["memory", "file"])
def log(request: Any, tmp_path: Path) -> Iterator[TrialLog]:
    log = TrialLog.open(None if request.param == "memory" else tmp_path / "trials.db")
    yield log
    log.close()
