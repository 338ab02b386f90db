"""What is wrong with a trial, what to try, and what came of it."""
