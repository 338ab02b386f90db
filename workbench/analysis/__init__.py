"""What a log of trials says: leaderboard, importance, the border of the searched range, a fair comparison."""

from workbench.analysis.border import Border, border
from workbench.analysis.importance import importance, varied
from workbench.analysis.leaderboard import leaderboard, tied_with_best

__all__ = ["Border", "border", "importance", "leaderboard", "tied_with_best", "varied"]
