"""The trial log: append-only events in a database, read as DataFrames."""

from workbench.log.findings import Finding
from workbench.log.ownership import LEASE_SECONDS, environment
from workbench.log.records import UNRANKED, NewTrial, SearchStep, TrialRecord
from workbench.log.trial_log import TrialLog

__all__ = [
    "LEASE_SECONDS", "UNRANKED", "Finding", "NewTrial", "SearchStep", "TrialLog", "TrialRecord", "environment",
]  # fmt: skip
