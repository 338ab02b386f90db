"""Snapshots on disk: the state of each cohort after its epochs, within a budget."""

from workbench.checkpoints.store import BUDGET, SnapshotStore, remove_former

__all__ = ["BUDGET", "SnapshotStore", "remove_former"]
