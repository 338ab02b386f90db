"""The user interface. Views only read; callbacks only enqueue."""
