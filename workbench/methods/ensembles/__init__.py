"""Ensembles of trials."""
