from __future__ import annotations

from collections.abc import Iterator

import pytest

import workbench as wb
from workbench.ui.view import WorkbenchView
from workbench.workbench import _Actions


@pytest.fixture
def bench() -> Iterator[wb.Workbench]:
    bench = wb.Workbench(wb.Task.load("iris"))
    yield bench
    for run in bench.active:
        run.stop()
        run.wait()


@pytest.fixture
def view(bench: wb.Workbench) -> WorkbenchView:
    bench._session._build_view(bench, _Actions(bench))
    assert bench._session.view is not None
    return bench._session.view
