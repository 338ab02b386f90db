"""The parts of the user interface. Views only read; callbacks only enqueue."""
