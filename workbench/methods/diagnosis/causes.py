"""The rules on causes outside the learning rate: the metric, the module, the clip, the targets, and too few epochs."""

from __future__ import annotations

import math

import numpy as np

from workbench.core.text import counted
from workbench.methods.diagnosis.case import Case, Finding, Prescription
from workbench.methods.diagnosis.measures import deadest, has_usual_rate, is_good, stands, still_falling
from workbench.methods.diagnosis.prescriptions import longer
from workbench.training.optimizers import rule_of, step_length

__all__ = ["bounded_outputs", "clipped", "too_few_epochs", "undefined_metric", "unpredictable", "zero_gradients"]

NO_GRADIENT = 1e-10
"""A gradient shorter than this moves nothing: single precision ends the sums of weights of about 1 long before."""
FLOOR = 0.1
"""A lowest possible loss of so much of the baseline's is in the way of learning."""
UNREACHABLE = 0.05
"""So many training targets beyond the outputs' bounds are not outliers."""
SHORTENED = 0.2
"""Steps that the clip shortens to less than this share of their length are another learning rate."""
LEARNED, TRANSFERRED = 0.9, 0.95
"""Of the baseline's loss: what the training loss falls below where rows were learned, and the validation loss where it helped."""
SHORT_SHARE = 0.9
"""Of the way from the baseline to the best known score: short of it."""
CURVE = 6
"""The fewest epochs that a slope is estimated from."""


def undefined_metric(case: Case) -> Finding | None:
    """The validation metric has no value, so that no epoch and no trial can be ranked by it."""
    if not len(case.epoch):
        return None
    values = case.curve["val_metric"].to_numpy(float)
    missing = np.isfinite(case.val_loss) & ~np.isfinite(values)
    if not missing.any() or (math.isfinite(case.score) and missing.mean() < 0.5):
        return None
    n, first = len(values), int(np.flatnonzero(missing)[0])
    evidence = (
        f"the validation {case.metric} is {values[first]} in {counted(int(missing.sum()), 'epoch')} of {n}, first in epoch "
        f"{int(case.epoch[first])}, while the validation loss is {case.val_loss[first]:.3g} there",
        "without a value, the trial has no place in the leaderboard, and a search learns nothing from it",
    )
    says = (
        f"look at what {case.metric!r} returns for the outputs and targets of the validation split, or make the task with "
        "another metric"
    )
    title = f"the validation {case.metric} has no value"
    return Finding("undefined_metric", title, evidence, Prescription(says, "code"), 1.0, int(case.epoch[first]))


def zero_gradients(case: Case) -> Finding | None:
    """The loss has no gradient, though there is something left to learn."""
    if not len(case.epoch) or not case.is_finite or is_good(case):
        return None
    norms = case.curve["grad_norm"].to_numpy(float)
    facts = case.trained if case.trained is not None else case.initial
    if case.config.l1 or case.config.l2:  # then the norm is that of the penalty too
        by_layer = [one.gradient for one in facts or () if math.isfinite(one.gradient)]
        size = max(by_layer, default=math.nan)
    else:
        size = float(norms[case.tail].max())
    dead = deadest(facts)
    if not size < NO_GRADIENT or (dead is not None and dead.dead == 1.0) or case.train_loss[-1] < 1e-3 * case.unit:
        return None
    evidence = (
        f"the gradient of the loss is {size:.2g} in the last {counted(len(norms[case.tail]), 'epoch')}: no weight moves, "
        "whatever the learning rate",
        f"the training loss stands at {case.train_loss[-1]:.3g}; {stands(case)}",
    )
    says = (
        "look at the model's forward pass for what cuts the outputs off from the weights: a product with zero, .detach(), "
        "torch.no_grad(), rounding, argmax, or a comparison"
    )
    return Finding("zero_gradients", "no gradient: the weights do not move", evidence, Prescription(says, "code"), 0.98)


def bounded_outputs(case: Case) -> Finding | None:
    """The module bounds its outputs, and the loss expects numbers without bounds."""
    bounds, loss = case.output_bounds, case.config.loss
    if bounds is None or not len(case.epoch):
        return None
    within = f"whatever its weights are, the model's outputs lie between {bounds.low:.3g} and {bounds.high:.3g}"
    if case.classes is not None and loss == "cross_entropy":
        floor = math.log1p((case.classes - 1) * math.exp(bounds.low - bounds.high))
        if floor < FLOOR * case.level:
            return None
        evidence = (
            within + (", and those of a row sum to 1" if bounds.sums_to_one else ""),
            f"with {case.classes} classes, cross-entropy cannot fall below {floor:.3g} then; the training loss has come to "
            f"{case.train_loss[-1]:.3g}",
        )
        title = "a softmax in front of the loss's own" if bounds.sums_to_one else "the model's outputs are bounded"
        says = (
            "return what the last linear layer gives, without softmax, sigmoid, tanh or normalization after it: cross-entropy "
            "applies a softmax itself, and bench.predict returns probabilities"
        )
        return Finding("bounded_outputs", title, evidence, Prescription(says, "code"), 0.97)
    if case.classes is None and case.unreachable > UNREACHABLE:
        evidence = (
            within,
            f"{case.unreachable:.0%} of the training targets, as the loss sees them, lie outside and cannot be predicted",
        )
        says = "return what the last linear layer gives, without sigmoid, tanh or softmax after it"
        title = "the model's outputs are bounded, and the targets are not"
        return Finding("bounded_outputs", title, evidence, Prescription(says, "code"), 0.97)
    return None


def clipped(case: Case) -> Finding | None:
    """The clip shortens nearly every step, so much that the model hardly learns."""
    config, clip = case.config, case.config.gradient_clip
    if clip is None or not len(case.epoch) or not case.is_finite or is_good(case):
        return None
    norms = case.curve["grad_norm"].to_numpy(float)
    typical, share = float(np.median(norms)), float((norms > clip).mean())
    if not typical > clip:
        return None
    # of one parameter, where all have a gradient of the same size
    parameters = sum(one.parameters for one in case.initial or case.trained or ()) or 1000
    own, whole = (step_length(config, size / math.sqrt(parameters)) for size in (clip, typical))
    shortened = own / whole if whole else 1.0
    rate, usual = float(case.rates.max()), rule_of(config).usual_rate
    if not shortened < SHORTENED or rate * shortened > SHORTENED * usual:
        return None
    evidence = (
        f"in {share:.0%} of the epochs the mean length of the gradient is above the clip of {clip:g}; typically it is "
        f"{typical:.2g}",
        f"{config.optimizer} then takes {shortened:.2g} of its step: a learning rate of {rate:g} is effectively "
        f"{rate * shortened:.2g}; {stands(case)}",
    )
    changes: dict[str, float | None] = {"gradient_clip": None}
    says = "remove the clip"
    if rate > usual / SHORTENED:  # chosen for the clip: without it, such a rate would be too high
        changes["learning_rate"] = usual
        says += f", with {config.optimizer}'s usual learning rate of {usual:g}"
    return Finding(
        "clipped", "the gradient clip cuts the steps short", evidence, Prescription(says, "new", changes), 0.87
    )


ENOUGH_ROWS = 50
"""Fewer validation rows do not show that nothing transfers: a weak relation is within their noise."""


def unpredictable(case: Case) -> Finding | None:
    """The training rows are learned, and validation is no better than a model that ignores its input, as in all other trials: not
    by the score, not by the loss, and not by the order in which it puts the rows."""
    if len(case.epoch) < CURVE or not case.is_finite or not (case.at_baseline and case.best_is_baseline):
        return None
    if case.rows < ENOUGH_ROWS:
        return None
    train, unit = float(np.median(case.train_loss[case.tail])), case.unit
    lowest = float(case.val_loss.min())
    if not (train < LEARNED * unit and lowest > TRANSFERRED * unit) or case.ranks:
        return None
    evidence = (
        f"the training loss fell to {train / unit:.2f} of the baseline's, the validation loss never below {lowest / unit:.2f}",
        f"the validation {case.metric} of {case.score:.3g}, and the best known on this task, {case.best_score:.3g}, do not "
        f"differ from the baseline's {case.baseline_score:.3g} beyond noise ({case.rows} validation rows)",
    )
    says = (
        "check the data before the hyperparameters: whether inputs and targets are still in the same order, the target "
        "column, and what the inputs can know of it; a weak relation needs more rows"
    )
    title = "the inputs do not predict the targets"
    return Finding("unpredictable", title, evidence, Prescription(says, "code"), 0.86)


def too_few_epochs(case: Case) -> Finding | None:
    """The loss still falls, at a learning rate that is usual for the optimizer; or the run ended before it could tell."""
    n, losses = len(case.epoch), case.train_loss
    if not n or not case.is_finite:
        return None
    if n >= CURVE:
        if not has_usual_rate(case) or (line := still_falling(case)) is None:
            return None
        fall = -line.value
        shown = (
            f"over the last {counted(len(losses[case.tail]), 'epoch')} the training loss fell by {fall:.2g} an epoch"
        )
    else:
        fall = float((losses[0] if n > 1 else case.level) - losses[-1]) / max(n - 1, 1)
        still = n == 1 or losses[-2] - losses[-1] > fall / 4
        if (
            is_good(case)
            or not still
            or not fall > 0
            or max(case.share(case.score), case.share(case.train_score)) >= SHORT_SHARE
        ):
            return None
        if n < 3 and not case.is_above_baseline:
            return None  # nothing was learned yet
        shown = f"in {counted(n, 'epoch')} the training loss fell to {losses[-1]:.3g}"
    evidence = (
        f"{shown}, {'nearly as fast as before' if n >= CURVE else 'and was still falling'}, at a learning rate of "
        f"{case.rates.max():g} ({case.config.optimizer}'s usual one is {rule_of(case.config).usual_rate:g})",
        f"it has come to {losses[-1] / case.unit:.2f} of the baseline's loss; {stands(case)}",
    )
    return Finding("too_few_epochs", f"too few epochs: {n}", evidence, longer(case, fall), 0.7)
