"""Decisions on probabilities: a threshold between two classes, and calibration."""
