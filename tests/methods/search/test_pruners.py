"""The pruners by name, on planted learning curves."""

from __future__ import annotations

import optuna
import pytest

from workbench.methods.search.strategies import pruning


def pruned_at(completed: int, epochs: int, curve: float) -> list[int]:
    """The epochs at which the median pruner ends a trial of constant score `curve` after `completed` trials of score 0.9."""
    median = pruning("median")
    assert median is not None
    study = optuna.create_study(direction="maximize", pruner=median.make(epochs))
    for _ in range(completed):
        scores = dict.fromkeys(range(1, epochs + 1), 0.9)
        study.add_trial(optuna.trial.create_trial(value=0.9, intermediate_values=scores))
    trial = study.ask()
    found = []
    for epoch in range(1, epochs + 1):
        trial.report(curve, epoch)
        if trial.should_prune():
            found.append(epoch)
    return found


@pytest.mark.parametrize("completed", [0, 1, 4])
def test_the_median_of_fewer_than_five_trials_ends_none(completed: int) -> None:
    assert pruned_at(completed, 40, 0.1) == []


@pytest.mark.parametrize(("epochs", "first"), [(5, 1), (40, 4)])
def test_the_median_of_five_trials_ends_a_worse_one_after_a_tenth_of_the_epochs(epochs: int, first: int) -> None:
    assert pruned_at(5, epochs, 0.1) == list(range(first, epochs + 1))
    assert pruned_at(5, epochs, 0.95) == []
