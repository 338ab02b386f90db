"""Data sets, their splits and what is fitted on them."""
