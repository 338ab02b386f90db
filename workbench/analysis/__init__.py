"""What a log of trials says: leaderboard, importance, the border of the searched range, a fair comparison."""

from workbench.analysis.border import Border, border
from workbench.analysis.importance import importance, varied
from workbench.analysis.intervals import Interval, score_interval
from workbench.analysis.leaderboard import leaderboard, tied_with_best, with_ensembles

__all__ = [
    "Border",
    "Interval",
    "border",
    "importance",
    "leaderboard",
    "score_interval",
    "tied_with_best",
    "varied",
    "with_ensembles",
]
