"""Where a warning points to."""

from __future__ import annotations

import sys

__all__ = ["callers_level"]


def callers_level() -> int:
    """The `stacklevel` of the first caller outside of the package, for a warning of the function that calls this."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("workbench."):
        frame, level = frame.f_back, level + 1
    return level
