"""The table of metrics, and the intervals of scores."""
