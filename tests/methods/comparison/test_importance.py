"""On how many trials an importance has to rest."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from workbench.methods.comparison.importance import importance


@pytest.mark.parametrize(("trials", "enough"), [(9, False), (10, True)])
def test_ten_trials_for_each_hyperparameter_are_enough(trials: int, enough: bool) -> None:
    scores = np.linspace(0.1, 0.9, trials)
    frame = pd.DataFrame({"learning_rate": np.geomspace(1e-3, 1e-1, trials), "best_val_metric": scores})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = importance(frame, names=["learning_rate"])
    assert table["enough"].tolist() == [enough]
    assert [one.category for one in caught if "rests on 9 trials" in str(one.message)] == [UserWarning] * (not enough)
