"""What the rules prescribe: changes of the Config that stay within its bounds and within what its choices read."""

from __future__ import annotations

from typing import Any

from workbench.analysis.diagnosis import Case, Prescription
from workbench.domains import IntRange
from workbench.hyperparameters import HYPERPARAMETERS, Config

__all__ = ["calm", "higher_rate", "lower_rate", "more_capacity", "regularise", "revive"]

LONG_STEPS = {"sgd": 0.05, "momentum": 0.02, "nesterov": 0.02, "adagrad": 0.02}
"""A rate that each optimizer usually bears; 0.003 for those that scale their steps."""
USUAL = 3e-3


def lower_rate(config: Config) -> float:
    """A tenth of the learning rate, and no more than its optimizer usually bears."""
    return _tidy(min(config.learning_rate / 10, LONG_STEPS.get(config.optimizer, USUAL)))


def higher_rate(config: Config) -> float:
    """Ten times the learning rate, and no less than its optimizer usually bears."""
    return _tidy(max(10 * config.learning_rate, LONG_STEPS.get(config.optimizer, USUAL)))


def more_capacity(case: Case) -> Prescription:
    """Less of what holds it back, or else a larger model."""
    config = case.config
    held = {name: 0.0 for name in ("l1", "l2") if getattr(config, name) > 0}
    if config.uses("dropout") and config.dropout > 0.3:
        held["dropout"] = 0.0
    if config.uses("weight_decay") and config.weight_decay > 0.1:
        held["weight_decay"] = 0.01
    if held:
        return Prescription(f"take away what holds the weights down: {', '.join(held)}", "new", held)
    changes: dict[str, Any] = {}
    if config.uses("hidden_layers") and config.hidden_layers < 2:
        changes["hidden_layers"] = 2
    for name in ("hidden_units", "channels"):
        if config.uses(name) and hasattr(config, name):
            domain = HYPERPARAMETERS[name].domain if name in HYPERPARAMETERS else None
            most = domain.high if isinstance(domain, IntRange) else 256
            changes[name] = int(min(max(64, 4 * getattr(config, name)), most))
    if changes:
        return Prescription("give the model more capacity", "new", changes)
    return Prescription("train for longer", "new", {"epochs": 2 * config.epochs})


def regularise(case: Case) -> Prescription:
    """What keeps the model from learning its training rows by heart, and an end before it does."""
    config = case.config
    patience = max(5, min(20, len(case.epoch) // 5))
    changes: dict[str, Any] = {"patience": patience}
    if config.uses("dropout") and config.dropout < 0.5:
        changes["dropout"] = round(min(0.5, config.dropout + 0.3), 2)
        return Prescription(
            f"more dropout, and early stopping after {patience} epochs without a better one", "new", changes
        )
    changes["l2"] = float(f"{min(max(10 * config.l2, 1e-3), 1.0):.2g}")
    return Prescription(f"a stronger L2 penalty, and early stopping after {patience} epochs", "new", changes)


def revive(case: Case, born: bool) -> Prescription:
    config = case.config
    if not born:
        lower = _tidy(config.learning_rate / 10)
        return Prescription("shorter steps, which kill fewer units", "new", {"learning_rate": lower})
    if config.uses("batch_norm") and not config.batch_norm:
        return Prescription(
            "normalise what goes into the activations: batch normalisation", "new", {"batch_norm": True}
        )
    if config.uses("activation") and config.activation not in ("leaky_relu", "elu"):
        return Prescription("an activation that passes gradients everywhere", "new", {"activation": "leaky_relu"})
    return Prescription("other initial weights", "new", {"seed": config.seed + 1})


def calm(case: Case, *, exploding: bool) -> Prescription:
    config = case.config
    if config.uses("batch_norm") and not config.batch_norm:
        return Prescription("normalise between the layers: batch normalisation", "new", {"batch_norm": True})
    if exploding and config.gradient_clip is None:
        return Prescription("clip long gradients", "new", {"gradient_clip": 1.0})
    if not exploding and config.uses("activation") and config.activation in ("sigmoid", "tanh"):
        return Prescription("an activation that does not flatten out", "new", {"activation": "relu"})
    if config.uses("hidden_layers") and config.hidden_layers > 2:
        return Prescription("fewer layers", "new", {"hidden_layers": 2})
    return Prescription("shorter steps", "new", {"learning_rate": _tidy(config.learning_rate / 10)})


# --------------------------------------------------------------------------------------------------------------------


def _tidy(rate: float) -> float:
    """To two digits, within the bounds of the learning rate."""
    return float(f"{min(max(rate, 1e-6), 10.0):.2g}")
