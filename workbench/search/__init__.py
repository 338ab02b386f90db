"""Search: spaces, strategies over optuna's samplers, pruning, and the campaign that hands trials to cohorts."""

from workbench.search.arm import Arm, Result, Suggestion
from workbench.search.campaign import Budget, Campaign, NewRow, Progress
from workbench.search.space import GRID_LIMIT, Space
from workbench.search.strategies import PRUNERS, STRATEGIES, pruning, strategy

__all__ = [
    "GRID_LIMIT",
    "PRUNERS",
    "STRATEGIES",
    "Arm",
    "Budget",
    "Campaign",
    "NewRow",
    "Progress",
    "Result",
    "Space",
    "Suggestion",
    "pruning",
    "strategy",
]
