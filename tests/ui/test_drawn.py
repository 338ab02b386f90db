"""Which curves of a long search are drawn: the best, whichever way the metric goes."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from workbench.core.direction import Better
from workbench.core.events import TrialState
from workbench.ui.live import DRAWN, left_out


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_failed_and_worst_trials_leave_the_charts_first(better: Better) -> None:
    drawn: dict[int, Any] = {}
    for trial in range(DRAWN + 30):
        failed = trial < 20
        score = None if trial < 10 else SimpleNamespace(val_metric=math.nan if failed else float(trial))
        drawn[trial] = SimpleNamespace(best=score, state=TrialState.FAILED if failed else TrialState.COMPLETED)
    worst = range(20, 30) if better == "higher" else range(DRAWN + 20, DRAWN + 30)
    assert left_out(drawn, better) == {*range(20), *worst}
