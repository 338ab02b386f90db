"""The trial log: append-only events in a database, read as DataFrames."""

from workbench.log.findings import Finding
from workbench.log.heartbeat import LEASE_SECONDS, made_here
from workbench.log.records import NewTrial, SearchStep
from workbench.log.trial_log import TrialLog

__all__ = ["LEASE_SECONDS", "Finding", "NewTrial", "SearchStep", "TrialLog", "made_here"]
