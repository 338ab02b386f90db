"""Launching and controlling trainings: session, runner, runs, and what is restored from checkpoints."""
