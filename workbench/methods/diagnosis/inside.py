"""The rules on what goes on inside a network: dead units, and gradients that vanish or explode on their way back."""

from __future__ import annotations

import math

import numpy as np

from workbench.methods.diagnosis.case import Case, Finding
from workbench.methods.diagnosis.measures import BLOWN_UP, deadest, is_good
from workbench.methods.diagnosis.prescriptions import calm, revive

__all__ = ["dead_activations", "gradients"]

DEAD_SHARE, DEAD_LATER, DEAD_OUT = 0.8, 0.6, 0.95
"""Share of dead units in one layer: at the initial weights, of a trained network, whose units specialise, and of nearly all."""
VANISHING, EXPLODING = 1e-4, 20.0
"""Gradient relative to the weights: of the smallest layer against the largest one; of the largest one by itself."""


def dead_activations(case: Case) -> Finding | None:
    """Many units of a layer are flat on every training row, so that they learn nothing."""
    before, after = deadest(case.initial), deadest(case.trained)
    born = before is not None and before.dead >= DEAD_SHARE and (after is None or after.dead >= DEAD_SHARE)
    died = after is not None and after.dead >= DEAD_LATER and not (len(case.epoch) and is_good(case))
    if not born and not died:
        return None
    # where nothing holds the weights down, a layer that died out is what keeps the network from learning
    died_out = after is not None and after.dead >= DEAD_OUT and not case.config.l1 and not case.config.l2
    weight = 0.95 if born else 0.55 if died_out else 0.4
    shown = before if born else after
    assert shown is not None
    when = "at the initial weights" if born else f"after epoch {case.trained_epoch}"
    evidence = [
        f"{when}, {shown.dead:.0%} of the units of layer {shown.title} pass no gradient for any of the training rows "
        "looked at"
    ]
    if born and after is not None:
        evidence.append(f"after epoch {case.trained_epoch} it is {after.dead:.0%} of layer {after.title}")
    return Finding(
        "dead_activations", f"dead activations in layer {shown.title}", tuple(evidence), revive(case, born),
        weight, None, on_layers=True,
    )  # fmt: skip


def gradients(case: Case) -> Finding | None:
    """Gradients shrink to nothing or grow without bound on their way back through the layers."""
    facts = case.initial if case.initial is not None else case.trained
    layers = [one for one in facts or () if one.weight is not None and math.isfinite(one.gradient)]
    if not layers:
        return None
    when = "at the initial weights" if case.initial is not None else f"after epoch {case.trained_epoch}"
    sizes = [one.gradient / max(one.weight_norm, 1e-12) for one in layers]
    small, large = layers[int(np.argmin(sizes))], layers[int(np.argmax(sizes))]
    thrown_up = case.state == "diverged" or not len(case.epoch) or not case.train_loss.max() <= BLOWN_UP * case.level
    suffers = thrown_up or not is_good(case)
    if suffers and not max(sizes) <= EXPLODING:
        evidence = (
            f"{when} the gradient of layer {large.title} is {max(sizes):.3g} times as long as its weights",
            f"that of layer {small.title} is {min(sizes):.3g} times as long",
        )
        return Finding(
            "gradients", "exploding gradients", evidence, calm(case, exploding=True), 0.9, on_layers=True
        )  # fmt: skip
    if suffers and min(sizes) < VANISHING * max(sizes):
        ratio = (
            f"{when} the gradient of layer {small.title}, relative to its weights, is {min(sizes) / max(sizes):.1e} of that "
            f"of layer {large.title}: the layers far from the output learn nothing"
        )
        return Finding(
            "gradients", "vanishing gradients", (ratio,), calm(case, exploding=False), 0.9, on_layers=True
        )  # fmt: skip
    return None
