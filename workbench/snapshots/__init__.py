"""Snapshots on disk: the state of each cohort after its epochs, within a budget."""

from workbench.snapshots.store import BUDGET, SnapshotStore

__all__ = ["BUDGET", "SnapshotStore"]
