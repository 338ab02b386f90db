"""The table of metrics, and the intervals of scores."""

from workbench.metrics import table as table
