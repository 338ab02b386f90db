"""Search: spaces, strategies over optuna's samplers, pruning, and the campaign that hands trials to cohorts."""

from workbench.search.arm import Arm, Result, Suggestion
from workbench.search.campaign import Budget, Call, Campaign, Desk, NewRow, Progress
from workbench.search.space import GRID_LIMIT, GRID_POINTS, Space
from workbench.search.strategies import PRUNERS, STRATEGIES, pruning, strategy

__all__ = [
    "DEFAULTS",
    "GRID_LIMIT",
    "PRUNERS",
    "STRATEGIES",
    "Arm",
    "Budget",
    "Call",
    "Campaign",
    "Desk",
    "NewRow",
    "Progress",
    "Result",
    "Space",
    "Suggestion",
    "pruning",
    "strategy",
]

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
