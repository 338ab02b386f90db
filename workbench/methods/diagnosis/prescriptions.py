"""What the rules prescribe: changes of the Config that stay within its bounds and within what its choices read."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from workbench.core.config import HYPERPARAMETERS, Config
from workbench.core.domains import IntRange
from workbench.core.text import counted
from workbench.methods.diagnosis.case import Case, Prescription
from workbench.training.optimizers import rule_of

__all__ = [
    "Held",
    "calm",
    "held_down",
    "higher_rate",
    "learn_more",
    "longer",
    "lower_rate",
    "more_capacity",
    "regularise",
    "revive",
]

PENALTY, PENALTY_STRONG = 0.1, 0.5
"""Shares of what training minimises at the initial weights: a penalty that counts, and one that rules."""
DROPOUT, DROPOUT_STRONG = 0.3, 0.6
"""Dropout that may hold a model down, and one that can be the cause by itself."""


def lower_rate(config: Config) -> float:
    """A tenth of the learning rate, at most the optimizer's usual rate."""
    return _tidy(min(config.learning_rate / 10, rule_of(config).usual_rate))


def higher_rate(config: Config) -> float:
    """Ten times the learning rate, at least the optimizer's usual rate."""
    return _tidy(max(10 * config.learning_rate, rule_of(config).usual_rate))


class Held(NamedTuple):
    """A hyperparameter that holds a model down. strongly: enough to be the cause of a poor score by itself."""

    name: str
    value: float
    evidence: str
    strongly: bool


def held_down(case: Case) -> list[Held]:
    """What keeps the weights small, or silences units: penalties by their share of what training minimises, and dropout."""
    config, found = case.config, []
    for name, power in (("l1", 1), ("l2", 2)):
        strength = getattr(config, name)
        if strength > 0:
            penalty = strength * _weights_to(power, case)
            share = penalty / (penalty + case.level)
            words = f"{name}={strength:g}: its penalty begins at {penalty:.2g}, {share:.0%} of what training minimises"
            if math.isnan(penalty):
                found.append(Held(name, 0.0, f"{name}={strength:g}: its penalty is not known", False))
            elif share > PENALTY:
                found.append(Held(name, 0.0, words, share > PENALTY_STRONG))
    if (
        config.uses("dropout")
        and config.dropout > DROPOUT
        and (not config.uses("hidden_layers") or config.hidden_layers)
    ):
        words = f"dropout={config.dropout:g} silences {config.dropout:.0%} of the hidden units in each training step"
        found.append(Held("dropout", 0.0, words, config.dropout > DROPOUT_STRONG))
    if config.uses("weight_decay") and config.weight_decay > 0.1:
        words = f"weight_decay={config.weight_decay:g} pulls all weights towards 0"
        found.append(Held("weight_decay", 0.01, words, False))
    return found


def _weights_to(power: int, case: Case) -> float:
    """Σ|w| or Σw² of the weights that penalties act on: of the initial ones, since a strong penalty makes the later ones small.

    Without them, from the curve's penalty after the first epoch, if only one of the two strengths is set; else NaN.
    """
    if case.initial is not None:
        return sum(float(one.weight.abs().pow(power).sum()) for one in case.initial if one.weight is not None)
    if (case.config.l1 and case.config.l2) or "penalty" not in case.curve:
        return math.nan
    return float(case.curve["penalty"].iloc[0]) / (case.config.l1 or case.config.l2)


def more_capacity(case: Case) -> Prescription:
    """Less of what holds it back, or else a larger model."""
    config = case.config
    held = {one.name: one.value for one in held_down(case)}
    if held:
        return Prescription(f"take away what holds the model down: {', '.join(held)}", "new", held)
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
    patience, source = _patience(case)
    changes: dict[str, Any] = {}
    waits = ""
    if patience < config.epochs - 1:  # else it could not end the trial earlier
        changes["patience"] = patience
        waits = f", and early stopping after {counted(patience, 'epoch')} without a better one ({source})"
    hidden = not config.uses("hidden_layers") or config.hidden_layers > 0
    if config.uses("dropout") and hidden and config.dropout < 0.5:
        changes["dropout"] = round(min(0.5, config.dropout + 0.3), 2)
        return Prescription(f"more dropout{waits}", "new", changes)
    changes["l2"] = float(f"{min(max(10 * config.l2, 1e-3), 1.0):.2g}")
    return Prescription(f"a stronger L2 penalty{waits}", "new", changes)


def _patience(case: Case) -> tuple[int, str]:
    """How long to wait for a better epoch, and where that is from: the log's own trials where there are enough."""
    learned = case.learned_patience()
    if learned is not None and learned[0] is not None:
        return learned[0], f"bench.suggest_patience(), from {counted(learned[1], 'trial')} of this log"
    why = (
        "too few trials to learn it from"
        if learned is None
        else f"none saves epochs in {counted(learned[1], 'trial')} of this log"
    )
    n = len(case.epoch)
    return max(5, min(20, n // 5)), f"a fifth of its {counted(n, 'epoch')}, from 5 to 20: {why}"


def learn_more(case: Case) -> Prescription:
    """A longer run, at the optimizer's usual learning rate if the current one is far below it."""
    config, n = case.config, len(case.epoch)
    if n < config.epochs:  # it still trains, or was stopped
        changes: dict[str, Any] = {"epochs": config.epochs}
        says = f"train it for all of its {config.epochs} epochs"
    else:
        domain = HYPERPARAMETERS["epochs"].domain
        assert isinstance(domain, IntRange)
        changes = {"epochs": min(max(10, 2 * n), domain.high)}
        says = f"train for {counted(changes['epochs'], 'epoch')}"
    usual = rule_of(config).usual_rate
    if config.learning_rate < usual / 10:
        changes["learning_rate"] = higher_rate(config)
        says += f", at a learning rate of {changes['learning_rate']:g} instead of {config.learning_rate:g}"
    return Prescription(f"{says}; bench.lr_range_test(config) suggests a rate", "new", changes)


def longer(case: Case, fall: float) -> Prescription:
    """So many epochs that the training loss could come down at its present fall per epoch: 2 to 10 times as many."""
    config, n = case.config, len(case.epoch)
    if config.learning_rate < rule_of(config).usual_rate / 10:
        return learn_more(case)
    domain = HYPERPARAMETERS["epochs"].domain
    assert isinstance(domain, IntRange)
    wanted = n + math.ceil(min(case.train_loss[-1] / fall, 1e6))
    epochs = min(max(10, min(max(wanted, 2 * n), 10 * n), config.epochs), domain.high)
    changes: dict[str, Any] = {"epochs": epochs}
    says = f"train for {counted(epochs, 'epoch')}"
    if case.state == "early_stopped":
        changes["patience"] = None
        says += ", without early stopping"
    return Prescription(says, "new", changes)


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
