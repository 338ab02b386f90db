"""Matplotlib figures from DataFrames: pure functions without state."""
