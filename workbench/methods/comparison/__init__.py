"""What a log of trials says: leaderboard, importance, edges of the search space, cost, patience."""
