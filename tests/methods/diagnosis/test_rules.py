"""The rules on planted truths: the held-out half of the trained cases, and curves made by hand for what each rule measures."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import workbench as wb
from tests.methods.diagnosis import planted_causes
from tests.methods.diagnosis.planted import (
    CALIBRATION,
    CALIBRATION_HEALTHY,
    HELD_OUT,
    HELD_OUT_HEALTHY,
    config,
    healthy,
    planted,
)
from workbench.methods.diagnosis.case import (
    HEALTHY,
    Case,
    Finding,
    Prescription,
    Rival,
    RuleFindings,
    slope,
)
from workbench.methods.diagnosis.rules import RULES, apply_rules
from workbench.metrics.intervals import standard_error
from workbench.models.layers import LayerFacts

# --- the acceptance: trained cases ------------------------------------------------------------------------------------


def test_nine_of_ten_planted_pathologies_of_the_held_out_half_are_the_verdict() -> None:
    found = [(pathology, told, diagnosed) for pathology, told, diagnosed in planted(HELD_OUT)]
    wrong = [
        f"{told}: {pathology}, found {diagnosed.verdict}"
        for pathology, told, diagnosed in found
        if diagnosed.verdict != pathology
    ]
    assert len(found) >= 24
    assert len(wrong) <= 0.1 * len(found), wrong
    # none is missed altogether
    assert all(any(diagnosed.verdict == rule for rule_, _, diagnosed in found if rule_ == rule) for rule in HELD_OUT)
    for _, told, diagnosed in found:
        for one in diagnosed.findings:
            assert any(char.isdigit() for char in one.evidence[0]), told


def test_at_most_one_healthy_run_in_twenty_is_called_ill() -> None:
    found = list(healthy(HELD_OUT_HEALTHY, seeds=3))
    ill = [f"{told}: {diagnosed.title}" for told, diagnosed in found if diagnosed.verdict != HEALTHY]
    assert len(found) >= 20
    assert len(ill) <= len(found) / 20, ill


def test_the_two_halves_share_nothing() -> None:
    held, known = ({case for group in cases.values() for case in group} for cases in (HELD_OUT, CALIBRATION))
    held |= set(HELD_OUT_HEALTHY)
    known |= set(CALIBRATION_HEALTHY)
    assert not {place for place, _ in held} & {place for place, _ in known}
    assert not {text for _, text in held} & {text for _, text in known}
    assert set(HELD_OUT) == set(CALIBRATION)
    assert set(HELD_OUT) | set(planted_causes.HELD_OUT) == set(RULES) | {HEALTHY}
    assert all(len({place for place, _ in group}) == 3 for group in HELD_OUT.values())
    assert config("adam 0.01 3 units=8 activation=tanh") == wb.Config(
        learning_rate=0.01, epochs=3, hidden_units=8, activation="tanh"
    )


# --- curves made by hand ----------------------------------------------------------------------------------------------


def case(
    train: Any,
    val: Any = None,
    *,
    score: float = 0.9,
    train_score: float = 0.9,
    rate: Any = 0.01,
    trial: int = 7,
    **more: Any,
) -> Case:
    """A case of a classification with baseline loss 2 and accuracy 0.1, best known 0.95, on 400 rows."""
    train = np.asarray(train, float)
    n = len(train)
    curve = pd.DataFrame(
        {
            "trial": trial, "epoch": np.arange(1, n + 1), "train_loss": train, "val_loss": train if val is None else val,
            "train_metric": train_score, "val_metric": score, "learning_rate": rate, "grad_norm": 1.0,
        }
    )  # fmt: skip
    about: dict[str, Any] = {
        "trial": trial, "config": wb.Config(epochs=max(n, 1)), "state": "completed", "metric": "accuracy", "better": "higher",
        "curve": curve, "baseline_loss": 2.0, "baseline_score": 0.1, "best_score": 0.95, "rows": 400,
    }  # fmt: skip
    return Case(**{**about, **more})


def layer(
    role: Any, *, name: str = "0", gradient: float = math.nan, dead: float = math.nan, norm: float = 1.0
) -> LayerFacts:
    weight = torch.tensor([norm]) if role == "linear" else None
    return LayerFacts(
        name, "ReLU" if role == "activation" else "Linear", role, weight, torch.zeros(1, 1), gradient, dead
    )


def stack(*gradients: float, dead: float = 0.1) -> list[LayerFacts]:
    return [
        one
        for place, gradient in enumerate(gradients)
        for one in (
            layer("linear", name=f"{2 * place}", gradient=gradient),
            layer("activation", name=f"{2 * place + 1}", dead=dead),
        )
    ]


FALLING = 2 * np.exp(-np.arange(12) / 3) + 0.05


def test_a_slope_and_its_interval_are_those_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    x = np.arange(5, 30)
    y = 3 + 0.2 * x + rng.normal(0, 0.5, len(x))
    found = slope(x, y)
    design = np.stack([np.ones(len(x)), x], 1)
    coefficients, residual, *_ = np.linalg.lstsq(design, y, rcond=None)
    error = math.sqrt(residual[0] / (len(x) - 2) * np.linalg.inv(design.T @ design)[1, 1])
    half = stats.t.ppf(0.975, len(x) - 2) * error
    assert found[:3] == pytest.approx((coefficients[1], coefficients[1] - half, coefficients[1] + half))
    assert found[3:] == pytest.approx(tuple(design[[0, -1]] @ coefficients))
    assert math.isnan(slope([1, 2], [1.0, 2.0]).value)
    assert slope([1, 2, 3, 4], [1.0, 2.0, math.nan, 4.0]).value == pytest.approx(1)


def test_the_interval_of_a_slope_holds_19_times_of_20() -> None:
    rng = np.random.default_rng(1)
    held = [
        (s := slope(np.arange(12), 0.3 * np.arange(12) + rng.normal(0, 1, 12))).low < 0.3 < s.high for _ in range(1000)
    ]
    assert 0.93 < np.mean(held) < 0.97


def test_a_run_that_learned_is_healthy() -> None:
    diagnosed = apply_rules(case(FALLING, score=0.94, train_score=0.97))
    assert (diagnosed.verdict, diagnosed.findings) == (HEALTHY, ())
    assert "healthy" in repr(diagnosed)


def test_a_diverged_trial_says_when_also_without_a_finished_epoch() -> None:
    one = apply_rules(case([0.5, 3.0, math.nan], state="diverged", reason="training loss is nan at step 90"))
    assert (one.verdict, one.findings[0].since) == ("rate_too_high", 3)
    assert "nan at step 90" in one.findings[0].evidence[0]
    none = apply_rules(case([], state="diverged", reason="training loss is inf at step 3"))
    assert (none.verdict, none.findings[0].since) == ("rate_too_high", 1)


def test_ups_and_downs_are_told_from_noise_and_from_a_trend() -> None:
    up_and_down = 1.2 + 0.2 * (-1.0) ** np.arange(12)
    assert apply_rules(case(up_and_down, score=0.5, train_score=0.5)).verdict == "rate_too_high"
    # a steady rise has no ups and downs, and one loss alone may jump: few rows make it noisy
    assert apply_rules(case(np.linspace(0.5, 1.5, 12), score=0.5, train_score=0.5)).verdict != "rate_too_high"
    assert apply_rules(case(up_and_down, np.full(12, 1.0), score=0.5, train_score=0.5)).verdict != "rate_too_high"


def test_a_lower_rate_is_one_the_optimizer_bears_and_a_higher_one_too() -> None:
    configuration = wb.Config(optimizer="momentum", learning_rate=5.0)
    high = apply_rules(case([9.0] * 6, score=0.1, train_score=0.1, config=configuration))
    assert high.findings[0].prescription.changes == {"learning_rate": 0.02}
    poor: dict[str, Any] = {"score": 0.15, "train_score": 0.15}
    slow = case(2 - 0.001 * np.arange(12), rate=1e-6, config=wb.Config(learning_rate=1e-6), **poor)
    assert apply_rules(slow).findings[0].prescription.changes == {"learning_rate": 0.003}
    quick = case(2 - 0.001 * np.arange(12), rate=5e-4, config=wb.Config(learning_rate=5e-4), **poor)
    assert apply_rules(quick).findings[0].prescription.changes == {"learning_rate": 0.005}


def test_a_steady_fall_is_crawling_only_far_from_what_is_possible() -> None:
    losses = 1.9 - 0.02 * np.arange(12)
    assert apply_rules(case(losses, score=0.3, train_score=0.3, rate=1e-4)).verdict == "rate_too_low"
    assert apply_rules(case(losses, score=0.945, train_score=0.95, rival=Rival(1, (0.95,)))).verdict == HEALTHY
    # nothing known to compare with, and hardly learned: still crawling
    assert apply_rules(case(losses, score=0.3, best_score=0.3, rate=1e-4)).verdict == "rate_too_low"
    # a fall that dies away is not
    assert apply_rules(case(FALLING + 0.5, score=0.3, train_score=0.3, rate=1e-4)).verdict == "underfitting"


def test_overfitting_is_told_since_when_and_how_fast() -> None:
    n, low = 20, 6
    rng = np.random.default_rng(3)
    val = np.where(np.arange(n) < low, 1.5 - 0.2 * np.arange(n), 0.3 + 0.05 * (np.arange(n) - low))
    val[low:] += rng.normal(0, 0.005, n - low)
    val[low] = 0.29
    ill = case(2 * np.exp(-np.arange(n) / 4), val, score=0.9, train_score=0.99)
    found = apply_rules(ill).findings[0]
    assert (found.rule, found.since, found.prescription.how) == ("overfitting", low + 1, "new")
    assert found.line is not None
    (x0, y0), (x1, y1) = found.line
    assert (y1 - y0) / (x1 - x0) == pytest.approx(0.05, abs=0.005)
    assert {"patience", "dropout"} == set(found.prescription.changes)
    # over the seeds of the configuration, Student's interval of their slopes
    others = [
        ill.curve.assign(val_loss=np.where(np.arange(n) < low, val, val[low] + k * (np.arange(n) - low)))
        for k in (0.04, 0.06)
    ]
    several = apply_rules(dataclasses.replace(ill, seeds=others)).findings[0]
    slopes = [slope(np.arange(low, n), val[low:]).value, 0.04, 0.06]
    mean, half = np.mean(slopes), stats.t.ppf(0.975, 2) * stats.sem(slopes)
    assert (
        f"over 3 seeds the slope is {mean:.2g} (95% interval {mean - half:.2g} to {mean + half:.2g})"
        in several.evidence
    )


def test_early_stopping_at_work_a_rise_by_chance_and_a_small_one_are_no_overfitting() -> None:
    train = 2 * np.exp(-np.arange(12) / 3)
    rising = np.concatenate([train[:7], 0.3 + 0.1 * np.arange(5)])
    assert apply_rules(case(train, rising)).verdict == "overfitting"
    waiting = case(train, rising, config=wb.Config(patience=5), state="early_stopped")
    assert apply_rules(waiting).verdict == HEALTHY
    jumps = np.concatenate([train[:7], [0.3, 0.6, 0.3, 0.6, 0.45]])
    assert apply_rules(case(train, jumps)).verdict == HEALTHY
    small = np.concatenate([train[:7], 0.3 + 0.005 * np.arange(5)])
    assert apply_rules(case(train, small)).verdict == HEALTHY


def test_a_rate_that_ran_out_early_is_a_plateau_and_one_that_ends_at_zero_is_not() -> None:
    losses = np.concatenate([[1.6, 1.1, 0.9], np.full(9, 0.88)])
    rates = np.concatenate([[0.01, 0.001], np.full(10, 1e-4)])
    found = apply_rules(case(losses, score=0.6, train_score=0.6, rate=rates)).findings[0]
    assert (found.rule, found.since, found.prescription.changes["schedule"]) == ("plateau", 3, "cosine")
    cosine = 0.005 * (1 + np.cos(np.pi * np.arange(12) / 12))
    assert apply_rules(case(losses, score=0.6, train_score=0.6, rate=cosine)).verdict == "underfitting"


def test_bouncing_near_the_best_is_a_plateau_whose_rate_should_fall_from_there_on() -> None:
    losses = 0.5 + 0.1 * (-1.0) ** np.arange(12)
    found = apply_rules(case(losses, score=0.85, train_score=0.85)).findings[0]
    assert (found.rule, found.prescription.how, found.prescription.epoch) == ("plateau", "branch", 7)
    assert found.prescription.code(7) == "bench.branch(7, epoch=7, schedule='cosine')"
    assert apply_rules(case(losses, score=0.945, train_score=0.94)).verdict == HEALTHY
    folds = dataclasses.replace(case(losses, score=0.85, train_score=0.85), cross_validated=True)
    given = apply_rules(folds).findings[0].prescription
    assert given.code(7) == "bench.start(bench.config(7).replace(schedule='cosine'))"


def test_what_holds_the_weights_down_is_taken_away_before_the_model_grows() -> None:
    stuck = np.full(12, 1.5)
    held = case(stuck, score=0.3, train_score=0.3, config=wb.Config(l2=0.5, dropout=0.8))
    assert apply_rules(held).findings[0].prescription.changes == {"l2": 0.0, "dropout": 0.0}
    small = case(stuck, score=0.3, train_score=0.3, config=wb.Config(hidden_layers=0, hidden_units=4))
    assert apply_rules(small).findings[0].prescription.changes == {"hidden_layers": 2, "hidden_units": 64}
    big = case(stuck, score=0.3, train_score=0.3, config=wb.Config(hidden_units=2048))
    assert apply_rules(big).findings[0].prescription.changes == {"hidden_units": 2048}


def test_dead_units_at_birth_explain_the_rest() -> None:
    stuck = case(
        np.full(8, 2.0),
        score=0.1,
        train_score=0.1,
        initial=stack(0.0, 0.1, dead=1.0),
        trained=stack(0.0, 0.1, dead=1.0),
    )
    diagnosed = apply_rules(stuck)
    assert [one.rule for one in diagnosed.findings] == ["dead_activations"]
    assert any("explained by it: underfitting" in note for note in diagnosed.notes)
    assert diagnosed.findings[0].prescription.changes == {"batch_norm": True}
    normed = dataclasses.replace(stuck, config=wb.Config(batch_norm=True))
    assert apply_rules(normed).findings[0].prescription.changes == {"activation": "leaky_relu"}
    # revived in training, or dead without harm: nothing to say
    assert (
        apply_rules(case(FALLING, initial=stack(0.1, 0.1, dead=1.0), trained=stack(0.1, 0.1, dead=0.2))).verdict
        == HEALTHY
    )
    assert apply_rules(case(FALLING, score=0.95, trained=stack(0.1, 0.1, dead=0.9))).verdict == HEALTHY


def test_gradients_are_compared_across_layers_relative_to_their_weights() -> None:
    bad: dict[str, Any] = {"score": 0.1, "train_score": 0.1}
    vanishing = apply_rules(case(np.full(8, 2.0), initial=stack(1e-8, 1e-4, 0.3), **bad))
    assert (vanishing.verdict, vanishing.title) == ("gradients", "vanishing gradients")
    exploding = apply_rules(case([40.0, 3.0, 2.5, 2.2], initial=stack(5.0, 90.0, 30.0), **bad))
    assert (exploding.verdict, exploding.title) == ("gradients", "exploding gradients")
    assert "layer 2 Linear is 90 times as long" in exploding.findings[0].evidence[0]
    assert (
        apply_rules(case(FALLING, score=0.95, initial=stack(1e-8, 0.3))).verdict == HEALTHY
    )  # it learned all the same
    large = [layer("linear", name="a", gradient=90.0, norm=100.0), layer("linear", name="b", gradient=1.0)]
    assert apply_rules(case(np.full(8, 2.0), initial=large, **bad)).verdict == "underfitting"


def test_without_layers_the_rules_that_need_them_are_silent() -> None:
    assert apply_rules(case(np.full(8, 2.0), score=0.1, train_score=0.1)).verdict == "underfitting"


def test_a_lead_within_the_noise_asks_for_seeds() -> None:
    close = case(FALLING, score=0.95, scores=(0.95,), rival=Rival(3, (0.94,)), leads=True)
    found = apply_rules(close).findings[0]
    assert (found.rule, found.prescription.how, found.prescription.rival) == ("noise", "seeds", 3)
    error = 2 * math.hypot(standard_error("accuracy", 0.95, 400), standard_error("accuracy", 0.94, 400))
    assert f"up to {error:.2g}" in found.evidence[1]
    assert apply_rules(dataclasses.replace(close, rival=Rival(3, (0.80,)))).verdict == HEALTHY
    assert apply_rules(dataclasses.replace(close, leads=False)).verdict == HEALTHY
    five = (0.95, 0.951, 0.949, 0.95, 0.952)
    assert apply_rules(dataclasses.replace(close, scores=five, rival=Rival(3, five))).verdict == HEALTHY
    # the seeds' spread counts where it is larger than that of the rows
    wide = dataclasses.replace(close, scores=(0.99, 0.85), rival=Rival(3, (0.86, 0.84)))
    assert apply_rules(wide).verdict == "noise"


def test_lower_may_be_better_and_an_unknown_metric_has_no_noise() -> None:
    about: dict[str, Any] = {"metric": "rmse", "better": "lower", "baseline_score": 1.0}
    assert apply_rules(case(FALLING, score=0.5, train_score=0.5, best_score=0.49, **about)).verdict == HEALTHY
    worse = case(np.full(12, 1.9), score=0.99, train_score=0.99, best_score=0.4, **about)
    assert apply_rules(worse).verdict == "underfitting"
    mine = case(FALLING, score=0.94, train_score=0.94, metric="mine")
    assert apply_rules(mine).verdict == HEALTHY
    assert apply_rules(dataclasses.replace(mine, best_score=1.5)).verdict == "underfitting"
    assert (
        apply_rules(dataclasses.replace(mine, best_score=1.5, baseline_score=math.nan)).verdict == HEALTHY
    )  # nothing to go by


def test_one_epoch_says_little_and_breaks_nothing() -> None:
    assert apply_rules(case([1.0], score=0.5)).verdict in {*RULES, HEALTHY}
    assert apply_rules(case([1.0, 0.9], score=0.95)).verdict == HEALTHY


def test_a_judgement_tells_its_findings_heaviest_first_and_escapes_them() -> None:
    light = Finding("noise", "b", ("x < y",), Prescription("more", "seeds", seeds=4), 0.2)
    heavy = Finding(
        "overfitting", "a", ("1",), Prescription("less", "new", {"dropout": 0.3}), 0.6, record="helped 1 of 2 times"
    )
    diagnosed = RuleFindings(case([1.0]), [light, heavy], ["a note"])
    assert (diagnosed.verdict, diagnosed.finding(), diagnosed.finding("noise")) == (
        "overfitting",
        heavy,
        light,
    )
    assert diagnosed.finding("plateau") is None
    text = repr(diagnosed)
    assert text.index("trial 7: a") < text.index("also: b")
    assert "helped 1 of 2 times" in text
    assert "bench.start(bench.config(7).replace(dropout=0.3))" in text
    assert "x &lt; y" in diagnosed._repr_html_()
