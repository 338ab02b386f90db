"""The tabs of a `Workbench`, in the order in which they stand: a new capability adds its line here."""

from __future__ import annotations

from workbench.methods.comparison.tab import COMPARE
from workbench.methods.data.tab import DATA
from workbench.methods.data_versions.transfer_tab import TRANSFER
from workbench.methods.diagnosis.tab import DIAGNOSE
from workbench.methods.diff.tab import DIFF
from workbench.methods.errors.tab import ERRORS
from workbench.methods.layers.live_tab import LAYERS
from workbench.methods.search.tab import SEARCH
from workbench.methods.test_set.tab import TEST_SET
from workbench.ui.builtin_tabs import CODE, HISTORY, TRIALS

__all__ = ["TABS"]

TABS = (
    TRIALS, HISTORY, SEARCH, COMPARE, DIFF, DIAGNOSE, ERRORS, LAYERS, TRANSFER, TEST_SET, CODE, DATA,
)  # fmt: skip
