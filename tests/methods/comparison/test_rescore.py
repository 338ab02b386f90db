"""Metrics that are computed after the training are those that training would have logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

import workbench as wb
from workbench.core.registry import METRICS

CONFIG = wb.Config(epochs=3, learning_rate=0.01, hidden_units=8)


@pytest.mark.parametrize("split", [(0.6, 0.2, 0.2), wb.Split.folds(3)])
def test_they_equal_those_of_a_task_that_asked_for_them(split: Any, tmp_path: Path) -> None:
    wanted = wb.Workbench(wb.Task.load("wine", split=split, metrics=("accuracy", "log_loss", "f1")))
    wanted.run(CONFIG, seeds=2)
    wb.Workbench(wb.Task.load("wine", split=split), log=tmp_path / "t.db").run(CONFIG, seeds=2)
    bench = wb.Workbench(wb.Task.load("wine", split=split), log=tmp_path / "t.db")  # from its checkpoints
    found = bench.rescore(("log_loss", "f1"))
    names = ["val_log_loss", "val_f1"]
    np.testing.assert_allclose(found[names], wanted.trials[names], rtol=1e-6)
    np.testing.assert_allclose(bench.trials[names], wanted.trials[names], rtol=1e-6)
    assert bench.trials["metric"].tolist() == ["accuracy", "accuracy"]
    assert bench.trials["best_val_metric"].tolist() == wanted.trials["val_accuracy"].tolist()


def test_what_does_not_fit_is_named_and_a_refit_has_no_validation_score() -> None:
    bench = wb.Workbench(wb.Task.load("wine"))
    bench.run(CONFIG)
    bench.refit(1).wait()
    with pytest.raises(
        wb.ConfigError, match=r"metric 'rmse' does not suit a classification task.*there are 'accuracy'"
    ):
        bench.rescore("rmse")
    with pytest.raises(wb.LogError, match="trial 99"):
        bench.rescore("f1", trials=[99])
    with pytest.raises(wb.RunError, match="refit"):
        bench.rescore("f1", trials=[2])
    assert bench.rescore("f1")["trial"].tolist() == [1]


def test_a_metric_that_was_registered_later() -> None:
    bench = wb.Workbench(wb.Task.load("diabetes"))
    bench.run(CONFIG)
    try:
        wb.register_metric(
            "bias", lambda predictions, targets: float((predictions - targets).mean()), kinds=["regression"]
        )
        found = bench.rescore("bias")
        task, model = bench.task, bench.model(1)
        expected = (model.predictions(task.validation.x) - task.validation.target).mean().item()
        assert found["val_bias"].tolist() == pytest.approx([expected])
    finally:
        METRICS.unregister("bias")


def test_a_model_that_is_not_the_measured_one_is_not_measured_again() -> None:
    class OfTheBatch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(13, 3)

        def forward(self, x: Tensor) -> Tensor:
            outputs: Tensor = self.layer(x - x.max(0).values)
            return outputs

    bench = wb.Workbench(wb.Task.load("wine"), models={"of_the_batch": lambda task: OfTheBatch()})
    bench.run(wb.Config(model="of_the_batch", epochs=2))
    with pytest.raises(wb.ModelError, match="trial 1 cannot be measured again: .* depends on the other rows"):
        bench.rescore("f1", trials=[1])
    assert bench.rescore("f1")["reason"].str.contains("cannot be measured again").all()
    assert "val_f1" not in bench.trials
