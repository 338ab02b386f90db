"""The sealed test set."""
