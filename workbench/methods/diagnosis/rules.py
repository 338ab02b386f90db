"""The rules of the diagnosis: one table, one function each, from a case to a finding or to nothing.

Thresholds were set on planted runs (the calibration half in `tests/methods/diagnosis/planted.py`) and checked on others. Losses
are measured in units of the baseline's, scores by the share of the way from the baseline to the best known score on the task, and
against the standard error that so many validation rows give. Weights say how near a finding is to the cause: a network whose
units are dead underfits because they are dead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from workbench.methods.diagnosis.case import Case, Finding, Prescription, RuleFindings, slope
from workbench.methods.diagnosis.causes import (
    bounded_outputs,
    clipped,
    too_few_epochs,
    undefined_metric,
    unpredictable,
    zero_gradients,
)
from workbench.methods.diagnosis.effect import Measure
from workbench.methods.diagnosis.inside import dead_activations, gradients
from workbench.methods.diagnosis.measures import (
    BLOWN_UP,
    has_usual_rate,
    is_good,
    slopes_of_seeds,
    stands,
    still_falling,
    swinging,
    swings,
)
from workbench.methods.diagnosis.prescriptions import (
    held_down,
    higher_rate,
    lower_rate,
    more_capacity,
    regularise,
)
from workbench.methods.diagnosis.standing import at_baseline, noise

__all__ = ["LAST_RESORT", "RULES", "Rule", "all_rules", "apply_rules"]

NOT_LEARNING = 1.02
"""At the end, a training loss above this many times the baseline's is worse than knowing nothing."""
NOT_MOVED = 0.1
"""Where an untrained model's loss is far above the baseline's, a run whose losses all stay within this share of it has not moved
yet, which is no sign of steps too long."""
SHORT_SHARE, POOR_SHARE = 0.9, 0.75
"""Of the way from the baseline to the best known score: short of it, and poor."""
SWINGS = 0.015
"""Typical change of direction from epoch to epoch, in units of the baseline's loss, of both losses, that is oscillation."""
TRAINING_AHEAD = 0.25
"""A training score so much further on the way from the baseline to the best known than the validation score does not transfer."""
RISE = 0.05
"""A validation loss that rises by this many baseline losses after its lowest point is overfitting."""
AFTER_BEST = 4
"""Epochs after the lowest validation loss that a slope takes."""
RUN_OUT, EARLY = 0.05, 0.6
"""The rate has run out below this share of its highest, and early before this share of the epochs."""
FLAT_FALL = 0.01
"""A loss that falls over its last half by less than this many baseline losses stands still."""


@dataclass(frozen=True)
class Rule:
    """One rule of the diagnosis.

    meaning: what it detects. look: `look(case)` returns its finding, or None. measure: what its prescriptions are measured
    by, a key of `MEASURE_WORDS`; the weights of the best epoch are kept, so "best" cannot show whether a run that went wrong
    after it has improved. explains: the rules whose findings follow from this one's.
    """

    title: str
    meaning: str
    look: Callable[[Case], Finding | None]
    measure: Measure = "best"
    explains: tuple[str, ...] = ()


def apply_rules(case: Case) -> RuleFindings:
    """What the rules find in a case. A finding that a heavier one explains is only noted: its remedy would miss the cause."""
    found = [rule.look(case) for rule in RULES.values()]
    findings = sorted((one for one in found if one is not None), key=lambda one: -one.weight)
    kept: list[Finding] = []
    notes = []
    for one in findings:
        cause = next((heavier for heavier in kept if one.rule in RULES[heavier.rule].explains), None)
        if cause is None:
            kept.append(one)
        else:
            notes.append(f"also seen, and explained by it: {one.title}")
    if all(one.rule == "noise" for one in kept) and (unproven := at_baseline(case)) is not None:
        notes += [f"also seen, and explained by it: {one.title}" for one in kept]
        kept = [unproven]
    return RuleFindings(case, kept, notes)


# --- the rules ------------------------------------------------------------------------------------------------------


def rate_too_high(case: Case) -> Finding | None:
    """Diverged, thrown above the baseline's loss, or up and down from epoch to epoch."""
    config, unit = case.config, case.unit
    lower = lower_rate(config)
    evidence, since = [], None
    if case.state == "diverged" or not case.is_finite:
        lost = np.flatnonzero(~(np.isfinite(case.train_loss) & np.isfinite(case.val_loss)))
        since = int(case.epoch[lost[0]]) if len(lost) else int(case.epoch[-1]) + 1 if len(case.epoch) else 1
        evidence.append(
            f"the loss stopped being a number in epoch {since}" + (f": {case.reason}" if case.reason else "")
        )
    elif len(case.epoch) < 3:
        return None
    else:
        highest = case.train_loss.max() / case.level
        of = "the baseline's" if case.level == unit else "an untrained model's"
        # both, since with much dropout the training loss alone is high
        end = min(float(np.median(values[case.tail])) for values in (case.train_loss, case.val_loss)) / unit
        falling = slope(case.epoch[case.tail], case.train_loss[case.tail]).high < 0
        if highest > BLOWN_UP and (not is_good(case) or end > NOT_LEARNING):
            since = int(case.epoch[int(case.train_loss.argmax())])
            evidence.append(f"the training loss was thrown up to {highest:.3g} times {of} in epoch {since}")
        unmoved = bool((np.abs(case.train_loss / case.level - 1) < NOT_MOVED).all())
        if end > NOT_LEARNING and not falling and not (unmoved and case.level > unit):
            since = since or int(case.epoch[0])
            evidence.append(f"at the end the loss is {end:.3g} times that of a model that ignores its input")
        swing = swings(case)
        if not evidence and min(swing) > SWINGS and (highest > BLOWN_UP or case.share(case.score) < POOR_SHARE):
            since = int(case.epoch[case.tail][0])
            thrown = f"the training loss was thrown up to {highest:.3g} times {of}"
            evidence += [thrown, swinging(swing)] if highest > BLOWN_UP else [swinging(swing)]
    if not evidence:
        return None
    says = f"lower the learning rate from {config.learning_rate:g} to {lower:.3g}"
    return Finding(
        "rate_too_high", f"learning rate too high since epoch {since}", tuple(evidence),
        Prescription(says, "new", {"learning_rate": lower}), 0.8, since,
    )  # fmt: skip


def rate_too_low(case: Case) -> Finding | None:
    """The loss still falls steadily at the end, far from what is known to be possible, at a rate below the usual ones."""
    line = still_falling(case)
    if line is None or has_usual_rate(case):
        return None
    config, losses, unit = case.config, case.train_loss, case.unit
    higher = higher_rate(config)
    evidence = (
        f"over the last {len(losses[case.tail])} epochs the training loss fell by {-line.value:.2g} an epoch "
        f"(95% interval {-line.high:.2g} to {-line.low:.2g}), nearly as fast as before: it is still on its way",
        f"it has come to {losses[-1] / unit:.2f} of the baseline's loss; {stands(case)}",
    )
    says = f"raise the learning rate from {config.learning_rate:g} to {higher:.3g} (or train for more epochs)"
    prescription = Prescription(says, "new", {"learning_rate": higher})
    return Finding("rate_too_low", "crawling: learning rate too low", evidence, prescription, 0.7)


def underfitting(case: Case) -> Finding | None:
    """Training and validation are both poor, and no longer get better by themselves."""
    if len(case.epoch) < 3 or not case.is_finite or is_good(case):
        return None
    shares = case.share(case.score), case.share(case.train_score)
    if max(shares) >= SHORT_SHARE or _training_ahead(case):
        return None
    evidence = [stands(case), f"training {case.metric} is {case.train_score:.3g}: {max(0.0, shares[1]):.0%} of the way"]
    held = held_down(case)
    evidence[:0] = [one.evidence for one in held]
    # what holds it strongly is the cause, whatever the curves look like, unless the rate is an unusual one
    strongly = [one.name for one in held if one.strongly]
    title = "underfitting" + (f": held down by {' and '.join(strongly)}" if strongly else "")
    weight = 0.88 if strongly and has_usual_rate(case, below=10, above=10) else 0.5
    return Finding("underfitting", title, tuple(evidence), more_capacity(case), weight)


def _training_ahead(case: Case) -> bool:
    """Whether the training score is far above the validation score, beyond the noise of the validation rows."""
    ahead = case.share(case.train_score) - case.share(case.score)
    error = case.error_of(case.score)
    return ahead > TRAINING_AHEAD and not abs(case.train_score - case.score) <= 3 * error


def overfitting(case: Case) -> Finding | None:
    """Since some epoch the validation loss rises while the training loss falls, or training is far ahead of validation."""
    return _rising(case) or _apart(case)


def _apart(case: Case) -> Finding | None:
    """The training score is far above a validation score that is not good, without a rise of the validation loss."""
    if len(case.epoch) < 3 or not case.is_finite or is_good(case) or not _training_ahead(case) or case.gap <= 0:
        return None
    evidence = (
        f"the training {case.metric} is {case.train_score:.3g}, {case.share(case.train_score):.0%} of the way from the "
        f"baseline's {case.baseline_score:.3g} to the best known; {stands(case)}",
        f"the losses end at {case.train_loss[-1]:.3g} (training) and {case.val_loss[-1]:.3g} (validation): a {case.gap_words}",
    )
    title = "overfitting: training is far ahead of validation"
    return Finding("overfitting", title, evidence, regularise(case), 0.52)


def _rising(case: Case) -> Finding | None:
    """Since some epoch the validation loss rises while the training loss falls."""
    after = len(case.epoch) - 1 - case.best if len(case.epoch) else 0
    if after < AFTER_BEST or not case.is_finite:
        return None
    config = case.config
    if config.patience is not None and after <= config.patience:
        return None  # early stopping is doing its work
    epochs, losses = case.epoch[case.best :], case.val_loss[case.best :]
    line = slope(epochs, losses)
    # of several epochs, since one may be an exception; the evidence quotes the ends of the curves
    rise, gap = float(np.mean(losses[-3:]) - losses[0]), float(np.mean((case.val_loss - case.train_loss)[-3:]))
    falls = float(np.mean(case.train_loss[-3:])) < case.train_loss[case.best]
    if not (rise > RISE * case.unit and line.low > 0 and falls and gap > 0):
        return None
    since = int(case.epoch[case.best])
    evidence = [
        f"the validation loss was lowest in epoch {since} ({losses[0]:.3g}) and ends at {losses[-1]:.3g}, "
        f"{losses[-1] - losses[0]:.3g} higher",
        f"since then it rises by {line.value:.2g} an epoch (95% interval {line.low:.2g} to {line.high:.2g})",
        f"meanwhile the training loss fell from {case.train_loss[case.best]:.3g} to {case.train_loss[-1]:.3g}: "
        f"a {case.gap_words} at the end",
    ]
    over_seeds = slopes_of_seeds(case)
    if over_seeds is not None:
        mean, low, high, n = over_seeds
        evidence.insert(2, f"over {n} seeds the slope is {mean:.2g} (95% interval {low:.2g} to {high:.2g})")
    points = ((float(epochs[0]), line.first), (float(epochs[-1]), line.last))
    prescription = regularise(case)
    return Finding("overfitting", f"overfitting since epoch {since}", tuple(evidence), prescription, 0.6, since, points)


def plateau(case: Case) -> Finding | None:
    """The loss stands still short of what is possible: the rate ran out early, or it is too long for what is left."""
    n = len(case.epoch)
    if n < 6 or not case.is_finite or is_good(case):
        return None
    rates, losses, unit = case.rates, case.train_loss, case.unit
    spent = np.flatnonzero(rates < RUN_OUT * rates.max())
    fall = float(np.mean(losses[n // 2 : n // 2 + 3]) - np.mean(losses[-3:])) / unit
    if len(spent) and spent[0] < EARLY * n and len(spent) == n - spent[0] and fall < FLAT_FALL:
        since = int(case.epoch[spent[0]])
        ran_out = (
            f"the schedule had brought the learning rate down to {rates[spent[0]]:.2g} by epoch {since}, from {rates.max():.2g}",
            f"since then the training loss stands at {losses[-1]:.3g}; {stands(case)}",
        )
        prescription = Prescription(
            "lower the rate over the whole run: a cosine schedule", "new", {"schedule": "cosine", "warmup": 0}
        )
        title = f"plateau: the learning rate ran out in epoch {since}"
        return Finding("plateau", title, ran_out, prescription, 0.65, since)
    if case.config.schedule != "constant" or max(case.share(case.score), case.share(case.train_score)) < POOR_SHARE:
        return None
    swing = swings(case)
    if min(swing) <= SWINGS:
        return None  # at rest: shorter steps would change nothing
    since = int(case.epoch[n // 2])
    evidence = f"{swinging(swing)}: at a constant rate the steps stay too long to come to rest"
    falling = {"schedule": "cosine"}
    prescription = Prescription(
        f"continue from epoch {since} with a falling rate: a cosine schedule", "branch", falling, since
    )
    if case.cross_validated:  # which has no single model to branch from
        prescription = Prescription("train again with a falling rate: a cosine schedule", "new", falling)
    return Finding("plateau", f"plateau since epoch {since}", (evidence, stands(case)), prescription, 0.55, since)


UNTRAINED = ("rate_too_high", "rate_too_low", "too_few_epochs", "plateau", "underfitting", "noise")
"""What follows where a model hardly learns, for whatever reason."""

RULES: dict[str, Rule] = {
    "undefined_metric": Rule(
        "metric without a value", "a validation metric that is no number", undefined_metric,
        "best", ("rate_too_low", "too_few_epochs", "plateau", "underfitting", "noise"),
    ),
    "zero_gradients": Rule(
        "no gradient", "a gradient of zero in every step", zero_gradients,
        "best", (*UNTRAINED, "bounded_outputs", "gradients", "clipped"),
    ),
    "bounded_outputs": Rule(
        "bounded outputs", "a softmax or another bound in front of a loss that expects none", bounded_outputs,
        "best", (*UNTRAINED, "gradients", "clipped"),
    ),
    "clipped": Rule("steps cut short", "a gradient clip that shortens nearly every step", clipped, "best", UNTRAINED),
    "unpredictable": Rule(
        "inputs that do not predict", "training rows learned by heart, and nothing that transfers", unpredictable,
        "best", (*UNTRAINED, "overfitting"),
    ),
    "too_few_epochs": Rule(
        "too few epochs", "a loss that still falls at a usual rate, or a run too short to tell", too_few_epochs,
        "best", ("plateau", "underfitting", "noise"),
    ),
    "dead_activations": Rule(
        "dead activations", "units that no training row moves", dead_activations,
        "best", (*UNTRAINED, "gradients"),
    ),
    "gradients": Rule(
        "exploding or vanishing gradients", "gradients that grow or shrink layer by layer at the initial weights", gradients,
        "best", (*UNTRAINED, "dead_activations"),
    ),
    "rate_too_high": Rule(
        "learning rate too high", "a loss that diverges, is thrown up, or goes up and down", rate_too_high,
        "end", (*UNTRAINED, "overfitting", "dead_activations"),
    ),
    "rate_too_low": Rule(
        "learning rate too low", "a loss that still falls steadily, at a rate below the usual ones", rate_too_low,
        "best", ("plateau", "underfitting", "noise"),
    ),
    "plateau": Rule("plateau", "a loss that stands still short of what is possible", plateau, "end", ("underfitting",)),
    "overfitting": Rule(
        "overfitting", "a validation loss that rises while the training loss falls, or far above it", overfitting, "end"
    ),
    "underfitting": Rule(
        "underfitting", "training and validation both far from what is possible", underfitting,
        "best", (*UNTRAINED, "dead_activations"),
    ),
    "noise": Rule("too few seeds", "a lead that is smaller than what chance makes", noise, "apart"),
}  # fmt: skip
"""Every rule by name. Which finding is the verdict follows from its weight."""

LAST_RESORT: dict[str, Rule] = {
    "at_baseline": Rule(
        "no better than the baseline", "a score no better than the baseline's, nothing else found", at_baseline
    )
}
"""Asked where no other rule finds anything, but for too few seeds: what has learned nothing is not healthy."""


def all_rules() -> dict[str, Rule]:
    """Every rule by name, the last resort included."""
    return {**RULES, **LAST_RESORT}
