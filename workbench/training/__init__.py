"""The training engine: losses, optimizers, schedules and the cohort of stacked trials."""
