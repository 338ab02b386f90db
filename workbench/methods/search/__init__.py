"""Search: strategies and pruners over optuna, and the campaign that hands trials to cohorts."""
