"""The vocabulary that every other package uses: errors, events, domains, the hyperparameters and their tables of choices."""
