"""The data of a task, to look at before anything trains."""
