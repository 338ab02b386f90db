"""Checkpoints on disk: the state of each cohort after its epochs, within a budget."""

from workbench.checkpoints.store import BUDGET, CheckpointStore, remove_former

__all__ = ["BUDGET", "CheckpointStore", "remove_former"]
