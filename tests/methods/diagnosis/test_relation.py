"""A rare class that is ranked well is predictable, whatever its accuracy; baselines under class weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import optimize

import workbench as wb
from tests.methods.diagnosis.test_rules import FALLING, case
from workbench.methods.diagnosis.relation import class_weighted_losses
from workbench.methods.diagnosis.rules import apply_rules

ROWS = 600


def rare(related: bool, seed: int, kind: str = "classification") -> wb.Task:
    """One positive row in thirteen, moved by one deviation in two of six inputs; or labels drawn at random."""
    rng = np.random.default_rng(seed)
    y, X = (np.arange(ROWS) % 13 == 0).astype(int), rng.normal(size=(ROWS, 6))
    X[:, :2] += y[:, None]
    y = y if related else rng.permutation(y)
    return wb.Task.from_arrays(X, np.stack([y, np.arange(ROWS) % 2], 1) if kind == "multilabel" else y)


def diagnosed(task: wb.Task, **options: Any) -> Any:
    bench = wb.Workbench(task)
    return bench.diagnose(bench.run(wb.Config(epochs=20, learning_rate=0.01, **options)).trials[0])


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_a_rare_class_that_is_ranked_well_is_predictable(class_weight: Any) -> None:
    found = diagnosed(rare(True, 1), class_weight=class_weight)
    assert "unpredictable" not in [one.rule for one in found.findings]
    assert found.case.chance() < 1e-3


@pytest.mark.parametrize(("class_weight", "seed"), [(None, 0), ("balanced", 5)])
def test_a_rare_class_at_random_is_not(class_weight: Any, seed: int) -> None:
    found = diagnosed(rare(False, seed), class_weight=class_weight)
    assert found.verdict == "unpredictable"
    assert found.case.chance() > 0.05


def test_the_chance_of_a_ranking_is_that_of_permuted_targets() -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(300, 3))
    bench = wb.Workbench(wb.Task.from_arrays(X, X[:, 0] * 0.25 + rng.normal(size=300)))
    found = bench.diagnose(bench.run(wb.Config(epochs=3)).trials[0])
    chance = found.case.chance()
    predictions = torch.tensor(bench.predict(1, X[bench.task.row_numbers["validation"]])).argsort().argsort().double()
    y = bench.task.validation.y[:, 0].argsort().argsort().double()
    orders = torch.stack(
        [torch.randperm(len(y), generator=torch.Generator().manual_seed(seed)) for seed in range(5000)]
    )
    drawn = (y[orders] * predictions).sum(1)
    assert chance == pytest.approx(float((drawn >= (y * predictions).sum()).double().mean()), abs=0.02)


def test_a_score_at_the_baseline_of_a_model_that_ranks_says_what_sees_it() -> None:
    known: dict[str, Any] = {"score": 0.1, "best_score": 0.1, "baseline_score": 0.1, "train_score": 1.0, "classes": 10}
    validation = np.linspace(2.3, 4.0, 12)
    assert apply_rules(case(FALLING, validation, **known, chance=lambda: 0.4)).verdict == "unpredictable"
    assert apply_rules(case(FALLING, validation, **known, chance=lambda: 0.001)).verdict != "unpredictable"
    still = {**known, "train_score": 0.1}
    found = apply_rules(case([2.3] * 12, [2.25] * 12, **still, rate=0.003, chance=lambda: 0.001))
    if found.verdict == "at_baseline":
        assert "roc_auc" in found.findings[0].prescription.description


@pytest.mark.parametrize("weights", ["balanced", {"1": 5.0}, {"0": 0.5, "1": 3.0}])
def test_baselines_with_class_weights_are_the_best_constant_outputs(weights: Any) -> None:
    task, config = rare(True, 0), wb.Config(loss="cross_entropy", class_weight=weights)
    loss, untrained = class_weighted_losses(task, config)  # type: ignore[misc]
    counts = torch.bincount(task.train.y).double()
    given = (
        counts.sum() / (2 * counts) if weights == "balanced" else torch.tensor([weights.get("0", 1.0), weights["1"]])
    )
    given = given.double()

    def of(logit: float, y: torch.Tensor) -> float:
        return float(F.cross_entropy(torch.tensor([[0.0, logit]]).double().expand(len(y), 2), y, given))

    best = optimize.minimize_scalar(
        of, args=(task.train.y,), bounds=(-10, 10), method="bounded", options={"xatol": 1e-9}
    ).x
    assert loss == pytest.approx(of(best, task.validation.y), rel=1e-6)
    assert untrained == pytest.approx(of(0.0, task.train.y))


def test_baselines_with_weights_of_labels() -> None:
    task, config = rare(True, 0, "multilabel"), wb.Config(loss="binary_cross_entropy", class_weight="balanced")
    loss, untrained = class_weighted_losses(task, config)  # type: ignore[misc]
    y, seen = task.train.y, task.validation.y
    given = (1 - y).sum(0) / y.sum(0)
    bce = F.binary_cross_entropy_with_logits
    assert loss == pytest.approx(float(bce(torch.zeros_like(seen), seen, pos_weight=given)))  # balanced: even odds
    assert untrained == pytest.approx(float(bce(torch.zeros_like(y), y, pos_weight=given)))
    assert class_weighted_losses(task, config.replace(class_weight=None)) is None
    assert math.isfinite(diagnosed(task, class_weight="balanced").case.unit)
