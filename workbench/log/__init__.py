"""The trial log: append-only events in a database, read as DataFrames."""

from workbench.log.trial_log import NewTrial, TrialLog

__all__ = ["NewTrial", "TrialLog"]
