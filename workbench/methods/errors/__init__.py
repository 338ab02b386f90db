"""The errors of a trial: which rows it gets wrong, how often, and how sure it is."""
