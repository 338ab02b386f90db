"""The options of a search."""

from workbench.core.space import GRID_POINTS

__all__ = ["DEFAULTS"]

DEFAULTS = {
    "strategy": "random",
    "trials": None,
    "seconds": None,
    "no_improvement": None,
    "pruner": None,
    "seeds": 1,
    "seed": 0,
    "points": GRID_POINTS,
}
"""The options of a search where none is given; `bench.search` has the same, which a test holds."""
