"""Training on new versions of the data."""
