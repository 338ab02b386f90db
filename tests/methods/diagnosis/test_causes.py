"""Causes outside the learning rate: trained cases of a held-out half, and curves and modules made by hand."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import workbench as wb
from tests.methods.diagnosis import planted_causes as planted
from tests.methods.diagnosis.test_rules import FALLING, case, stack
from workbench.methods.diagnosis.case import HEALTHY, OutputBounds, Rival, RuleFindings
from workbench.methods.diagnosis.outputs import output_bounds
from workbench.methods.diagnosis.rules import apply_rules

POOR: dict[str, Any] = {"score": 0.15, "train_score": 0.15}

# --- the acceptance: trained cases ------------------------------------------------------------------------------------

Diagnosed = tuple[str, str, wb.Workbench, RuleFindings]


@pytest.fixture(scope="module")
def held_out() -> list[Diagnosed]:
    return list(planted.planted_causes(planted.HELD_OUT))


def test_eleven_of_twelve_planted_causes_are_the_verdict(held_out: list[Diagnosed]) -> None:
    wrong = [
        f"{told}: {verdict}, found {found.verdict}" for verdict, told, _, found in held_out if found.verdict != verdict
    ]
    assert len(held_out) >= 20
    assert len(wrong) <= len(held_out) / 12, wrong


def test_what_is_prescribed_for_a_planted_cause_is_better_than_the_trial(held_out: list[Diagnosed]) -> None:
    tried = 0
    for verdict, told, bench, found in held_out:
        if found.verdict != verdict or not found.findings or not found.findings[0].prescription.can_be_tried:
            continue
        after = bench.try_it(found).wait().trials[0]
        before = bench.trials.set_index("trial")["best_val_metric"].get(found.trial, math.nan)
        best = bench.trials.set_index("trial")["best_val_metric"][after]
        assert not best <= before, (told, before, best)
        assert bench.prescriptions().iloc[-1]["helped"], told
        tried += 1
    assert tried >= 10


def test_the_halves_share_no_place_and_no_configuration() -> None:
    held, known = (
        {one for group in cases.values() for one in group} for cases in (planted.HELD_OUT, planted.CALIBRATION)
    )
    assert not {place for place, _ in held} & {place for place, _ in known}
    assert not {text for _, text in held} & {text for _, text in known}
    assert set(planted.HELD_OUT) == set(planted.CALIBRATION)


# --- a metric without a value -------------------------------------------------------------------------------------------


def test_a_trial_without_a_score_is_not_healthy() -> None:
    nan, half = math.nan, np.where(np.arange(12) % 2, 0.9, math.nan)
    none = apply_rules(case(FALLING, score=nan, baseline_score=nan, best_score=nan))
    assert none.verdict == "undefined_metric"
    assert "nan in 12 epochs of 12, first in epoch 1" in none.findings[0].evidence[0]
    assert apply_rules(case(FALLING, score=-math.inf)).verdict == "undefined_metric"
    # of single epochs, that of the best one counts
    late = np.where(np.arange(12) < 11, 0.9, nan)
    assert apply_rules(case(FALLING, score=late)).verdict == "undefined_metric"
    early = np.where(np.arange(12) == 0, nan, 0.94)
    assert apply_rules(case(FALLING, score=early)).verdict == HEALTHY
    assert apply_rules(case(FALLING, score=half)).verdict == "undefined_metric"
    # a loss that is no number explains a metric that is none
    burst = np.concatenate([FALLING[:5], np.full(7, nan)])
    metric = np.concatenate([np.full(5, 0.5), np.full(7, nan)])
    assert apply_rules(case(burst, score=metric)).verdict == "rate_too_high"


def test_what_no_hyperparameter_cures_is_said_and_starts_no_trial() -> None:
    wb.register_metric("planted", planted.broken)
    bench = wb.Workbench(wb.Task.load("iris", metrics="planted"))
    bench.run(wb.Config(epochs=2))
    found = bench.diagnose(1)
    assert found.verdict == "undefined_metric"
    assert "to do: look at what 'planted' returns" in repr(found)
    assert "bench.start" not in repr(found) + found._repr_html_()
    assert found.figure()._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(wb.RunError, match="no hyperparameter cures.*'planted' returns"):
        bench.try_it(found)
    assert len(bench.trials) == 1
    assert bench.prescriptions().empty


# --- gradients of zero --------------------------------------------------------------------------------------------------


def test_no_gradient_comes_before_every_learning_rate() -> None:
    still = case(np.full(5, 2.2), **POOR)
    still.curve["grad_norm"] = 0.0
    found = apply_rules(still)
    assert [one.rule for one in found.findings] == ["zero_gradients"]
    assert found.findings[0].prescription.how == "code"
    # a penalty has a gradient of its own: the layers tell
    penalised = dataclasses.replace(still, config=wb.Config(l2=1e-4), initial=stack(0.0, 0.0))
    penalised.curve["grad_norm"] = 0.1
    assert apply_rules(penalised).verdict == "zero_gradients"
    penalised = dataclasses.replace(penalised, initial=stack(0.1, 0.1))
    assert apply_rules(penalised).verdict != "zero_gradients"
    # nothing left to learn, and units that are dead, are other things
    learned = case(np.full(5, 0.0), score=0.95, train_score=1.0)
    learned.curve["grad_norm"] = 0.0
    assert apply_rules(learned).verdict == HEALTHY
    dead = dataclasses.replace(still, initial=stack(0.0, 0.0, dead=1.0), trained=stack(0.0, 0.0, dead=1.0))
    assert apply_rules(dead).verdict == "dead_activations"


@pytest.mark.parametrize(
    ("function", "verdict"),
    [
        (lambda x: x * 0, "zero_gradients"),
        (lambda x: x.sign(), "zero_gradients"),
        (lambda x: x.detach() + 0 * x, "zero_gradients"),
        (lambda x: (x > 0).to(x) + 0 * x, "zero_gradients"),
        (lambda x: 2 * x, HEALTHY),
    ],
)
def test_what_cuts_the_outputs_off_from_the_weights(function: Any, verdict: str) -> None:
    bench = wb.Workbench(wb.Task.load("iris"), models={"mine": planted.through(function)})
    bench.run(wb.Config(learning_rate=0.01, epochs=8))
    bench.run(wb.Config(model="mine", learning_rate=0.01, epochs=8))
    assert bench.diagnose(2).verdict == verdict


# --- bounded outputs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "bounds"),
    [
        (lambda x: x.softmax(-1), (0, 1, True)),
        (torch.sigmoid, (0, 1, False)),
        (torch.tanh, (-1, 1, False)),
        (lambda x: 5 * torch.tanh(x), (-5, 5, False)),
        (lambda x: x.clamp(-2, 3), (-2, 3, False)),
        (lambda x: x, None),
        (torch.relu, None),
        (lambda x: x.log_softmax(-1), None),
        (lambda x: x * 0, None),
    ],
)
def test_bounds_of_the_outputs_are_found_without_reading_the_module(function: Any, bounds: Any) -> None:
    torch.manual_seed(0)
    x = torch.randn(100, 6)
    inner = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 4))

    class Module(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return function(super().forward(x))  # type: ignore[no-any-return]

    module = Module(inner)
    before, random = [one.clone() for one in module.parameters()], torch.get_rng_state()
    found = output_bounds(module, x)
    assert module.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))
    if bounds is None:
        assert found is None
    else:
        assert found == pytest.approx(bounds, abs=1e-4)


def test_a_module_that_checks_its_values_has_no_known_bounds() -> None:
    class Strict(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.weight.abs().max() > 10:
                raise ValueError("weights are too large")
            return super().forward(x)

    assert output_bounds(Strict(3, 2), torch.randn(5, 3)) is None


def test_the_floor_that_bounds_leave_is_that_of_cross_entropy() -> None:
    soft = case(FALLING + 1.4, score=0.95, classes=10, output_bounds=OutputBounds(0, 1, True))
    soft = dataclasses.replace(soft, config=wb.Config(loss="cross_entropy"))
    found = apply_rules(soft)
    assert found.verdict == "bounded_outputs"
    assert "softmax in front of the loss's own" in found.title
    floor = float(nn.functional.cross_entropy(torch.eye(10)[:1], torch.tensor([0])))
    assert f"cannot fall below {floor:.3g}" in found.findings[0].evidence[1]
    # bounds far enough apart, and a loss that expects them, are no fault
    wide = dataclasses.replace(soft, output_bounds=OutputBounds(-10, 10, False))
    assert apply_rules(wide).verdict != "bounded_outputs"
    squared = dataclasses.replace(soft, config=wb.Config(loss="mse"))
    assert apply_rules(squared).verdict != "bounded_outputs"
    # of numbers, those targets count that cannot be reached
    numbers = dataclasses.replace(soft, classes=None, config=wb.Config(loss="mse"), unreachable=0.6)
    assert apply_rules(numbers).verdict == "bounded_outputs"
    assert apply_rules(dataclasses.replace(numbers, unreachable=0.01)).verdict != "bounded_outputs"


# --- the clip -------------------------------------------------------------------------------------------------------------


def clip_case(optimizer: str, clip: float, norm: float, rate: float, **more: Any) -> RuleFindings:
    config = wb.Config(optimizer=optimizer, gradient_clip=clip, learning_rate=rate, epochs=12)
    made = case(2.3 - 1e-4 * np.arange(12), rate=rate, config=config, **{**POOR, **more})
    made.curve["grad_norm"] = norm
    return apply_rules(made)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov"])
def test_a_clip_shortens_the_steps_of_an_optimizer_that_follows_the_gradients_length(optimizer: str) -> None:
    found = clip_case(optimizer, 1e-3, 0.5, 0.05)
    assert found.verdict == "clipped"
    assert "takes 0.002 of its step: a learning rate of 0.05 is effectively 0.0001" in found.findings[0].evidence[1]
    assert found.findings[0].prescription.changes == {"gradient_clip": None}


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "adagrad"])
def test_a_clip_does_not_shorten_the_steps_of_the_others(optimizer: str) -> None:
    assert clip_case(optimizer, 1e-3, 0.5, 0.01).verdict == "too_few_epochs"


def test_a_clip_that_is_seldom_reached_or_made_up_for_by_the_rate_is_not_the_cause() -> None:
    assert clip_case("sgd", 1.0, 0.5, 0.05).verdict != "clipped"
    assert clip_case("sgd", 0.3, 0.5, 0.05).verdict != "clipped"
    assert clip_case("sgd", 0.01, 0.5, 5.0).verdict != "clipped"
    assert clip_case("sgd", 1e-3, 0.5, 0.05, score=0.95, train_score=0.95, rival=Rival(1, (0.95,))).verdict == HEALTHY
    # a rate that was chosen for the clip would be too high without it
    assert clip_case("sgd", 1e-4, 0.5, 5.0).findings[0].prescription.changes == {
        "gradient_clip": None,
        "learning_rate": 0.05,
    }


# --- too few epochs, targets, and training ahead of validation --------------------------------------------------------------


def test_a_loss_that_still_falls_at_a_usual_rate_needs_epochs() -> None:
    falling = 1.9 - 0.02 * np.arange(12)
    found = apply_rules(case(falling, rate=0.003, **POOR)).findings[0]
    assert (found.rule, found.prescription.how) == ("too_few_epochs", "new")
    assert found.prescription.changes == {"epochs": 96}  # 12, and 1.68 at 0.02 an epoch
    stopped = apply_rules(
        case(falling, rate=0.003, state="early_stopped", config=wb.Config(epochs=50, patience=3), **POOR)
    )
    assert stopped.findings[0].prescription.changes == {"epochs": 96, "patience": None}
    early = apply_rules(case(falling, rate=0.003, state="stopped", config=wb.Config(epochs=200), **POOR))
    assert early.findings[0].prescription.changes == {"epochs": 200}
    # a run of few epochs is not given more capacity
    short = apply_rules(case([2.2, 1.9, 1.6], rate=0.003, score=0.4, train_score=0.4))
    assert short.verdict == "too_few_epochs"
    assert any("explained by it: underfitting" in note for note in short.notes)
    assert apply_rules(case([1.9], rate=0.003, score=0.4, train_score=0.3)).verdict == "too_few_epochs"
    assert apply_rules(case([1.6, 1.6, 1.6, 1.6], rate=0.003, score=0.4, train_score=0.4)).verdict == "underfitting"


def test_rows_learned_by_heart_where_nothing_transfers_are_a_matter_of_the_data() -> None:
    known: dict[str, Any] = {"score": 0.11, "best_score": 0.12, "train_score": 1.0}
    found = apply_rules(case(FALLING, np.linspace(2.0, 4.0, 12), **known))
    assert [one.rule for one in found.findings] == ["unpredictable"]
    assert found.findings[0].prescription.how == "code"
    # others did better, the validation loss came down, or nothing was learned at all
    assert (
        apply_rules(case(FALLING, np.linspace(2.0, 4.0, 12), **{**known, "best_score": 0.9})).verdict == "overfitting"
    )
    assert apply_rules(case(FALLING, 1.5 + FALLING / 4, **known)).verdict != "unpredictable"
    assert apply_rules(case(np.full(12, 2.0), np.full(12, 2.0), **known)).verdict != "unpredictable"


def test_no_more_capacity_where_training_is_far_ahead_of_validation() -> None:
    ahead = apply_rules(case(FALLING, np.full(12, 1.5), score=0.4, train_score=0.8))
    assert ahead.verdict == "overfitting"
    assert ahead.findings[0].prescription.changes["dropout"] == 0.3
    assert all(one.rule != "underfitting" for one in ahead.findings)
    both = apply_rules(case(np.full(12, 1.5), score=0.4, train_score=0.5))
    assert both.verdict == "underfitting"
    # of few rows, such a difference is chance
    few = case(np.full(12, 1.5), np.full(12, 1.6), score=0.4, train_score=0.7, rows=9)
    assert apply_rules(few).verdict == "underfitting"


# --- what holds a model down ----------------------------------------------------------------------------------------------


def test_a_strong_penalty_or_dropout_comes_before_the_rate_and_a_weak_one_does_not() -> None:
    swinging = 1.6 + 0.3 * (-1.0) ** np.arange(12)
    weights = stack(0.1, 0.1)  # two layers of one weight of 1

    def found(rate: float = 0.003, **config: Any) -> RuleFindings:
        made = wb.Config(learning_rate=rate, **config)
        return apply_rules(case(swinging, rate=rate, config=made, initial=weights, **POOR))

    assert found().verdict == "rate_too_high"
    assert found(dropout=0.9).title == "underfitting: held down by dropout"
    assert found(dropout=0.9).findings[0].prescription.changes == {"dropout": 0.0}
    assert found(l1=1.0, l2=1.0).verdict == "rate_too_high"  # of such weights, it is no half of the loss
    heavy = stack(0.1, 0.1)
    heavy[0] = dataclasses.replace(heavy[0], weight=torch.full((100,), 0.5))
    for strength, verdict in (
        ({"l1": 0.5}, "underfitting"),
        ({"l2": 0.5}, "underfitting"),
        ({"l2": 1e-4}, "rate_too_high"),
    ):
        made = case(swinging, rate=0.003, config=wb.Config(**strength), initial=heavy, **POOR)
        assert apply_rules(made).verdict == verdict
    # at a rate far from the usual ones, the rate comes first; and without hidden layers nothing is silenced
    assert found(rate=0.5, dropout=0.9).verdict == "rate_too_high"
    assert found(dropout=0.9, hidden_layers=0).verdict == "rate_too_high"


def test_a_penalty_too_weak_to_matter_is_not_taken_away() -> None:
    stuck = np.full(12, 1.5)
    weak = case(stuck, config=wb.Config(l2=1e-6, hidden_layers=1, hidden_units=4), initial=stack(0.1, 0.1), **POOR)
    assert apply_rules(weak).findings[0].prescription.changes == {"hidden_layers": 2, "hidden_units": 64}
    # of a branch, the first epoch of the curve says how much it is
    branch = case(stuck, config=wb.Config(l2=0.5, hidden_units=4), **POOR)
    branch.curve["penalty"] = np.linspace(6.0, 0.1, 12)
    found = apply_rules(branch).findings[0]
    assert found.prescription.changes == {"l2": 0.0}
    assert "begins at 6, 75% of what training minimises" in found.evidence[0]
