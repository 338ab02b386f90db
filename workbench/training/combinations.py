"""Hyperparameters that are valid alone and have no effect together: one table, for Python, the controls and the log.

Nothing here prevents training; what cannot train is rejected by `Config` and `check`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from workbench.core.config import CHOICES, Config
from workbench.core.errors import Problem
from workbench.core.registry import MODELS
from workbench.core.text import counted
from workbench.models.backbone import Backbone
from workbench.training.optimizers import rule_of, step_length

__all__ = ["COMBINATIONS", "Combination", "without_effect"]

SHORT_CLIP = 0.02
"""Gradients are about 1 long at the beginning, within a factor of 10 or so: a clip far below that shortens every step..."""
SLOW = 50.0
"""...which matters if the step is then shorter by this factor than one at the optimizer's usual rate."""


@dataclass(frozen=True)
class Combination:
    """One entry. field: at whose control it is shown. note: what has no effect and what to do, "" where it does not apply.

    others: the other hyperparameters that decide it. needs: applies only while the choices read all of these.
    """

    field: str
    note: Callable[[Config], str]
    others: tuple[str, ...]
    needs: tuple[str, ...] = ()


def _epochs(config: Config) -> int:
    """Epochs that the schedule sees."""
    return config.epochs - config.warmup


def _stops_before_plateau(config: Config) -> str:
    # the plateau schedule waits for more than plateau_patience epochs, early stopping for patience epochs
    wait = config.plateau_patience
    if config.patience is None or config.patience > wait + 1:
        return ""
    return (
        f"patience={config.patience}: training stops before the plateau schedule lowers the learning rate, which takes "
        f"{counted(wait + 1, 'epoch')} without an improvement; raise patience above {wait + 1}, or lower plateau_patience"
    )


def _no_plateau(config: Config) -> str:
    wait = config.plateau_patience
    if config.epochs > wait + 2:
        return ""
    return (
        f"plateau_patience={wait}: in {counted(config.epochs, 'epoch')} the plateau schedule never lowers the learning rate; "
        f"give more than {wait + 2} epochs, or lower plateau_patience"
    )


def _no_step(config: Config) -> str:
    if config.step_size < _epochs(config):
        return ""
    return (
        f"step_size={config.step_size}: the step schedule never lowers the learning rate in "
        f"{counted(_epochs(config), 'epoch')}; lower step_size or raise epochs"
    )


def _no_restart(config: Config) -> str:
    if config.restart_epochs < _epochs(config):
        return ""
    return (
        f"restart_epochs={config.restart_epochs}: no restart comes in {counted(_epochs(config), 'epoch')}; lower "
        "restart_epochs, or choose schedule='cosine'"
    )


def _factor_of_one(name: str) -> Callable[[Config], str]:
    def note(config: Config) -> str:
        if getattr(config, name) != 1:
            return ""
        return f"{name}=1: the {config.schedule} schedule never lowers the learning rate; lower {name}"

    return note


def _no_fall(config: Config) -> str:
    if config.min_learning_rate < config.learning_rate:
        return ""
    return (
        f"min_learning_rate={config.min_learning_rate:g}: equals the learning rate, so that the {config.schedule} schedule "
        "changes nothing; lower it"
    )


def _never_stops(config: Config) -> str:
    if config.patience is None or config.patience < config.epochs - 1:
        return ""
    return (
        f"patience={config.patience}: early stopping cannot end {counted(config.epochs, 'epoch')} earlier; lower patience or "
        "raise epochs"
    )


def _not_read(name: str, field: str) -> Callable[[Config], str]:
    """Something that is switched on, by a value other than its default, and that the chosen entry does not read."""

    def note(config: Config) -> str:
        value = getattr(config, name)
        if not value or config.uses(name):
            return ""
        if field == "model" and config.model in MODELS and isinstance(MODELS[config.model].value, Backbone):
            return ""  # its hyperparameters are those of the trial or network that it came from
        chosen, registry = getattr(config, field), CHOICES[field]
        readers = [repr(one) for one, entry in registry.items() if name in entry.uses]
        others = f"choose {field}={' or '.join(readers)}, or leave it out" if readers else "leave it out"
        return f"{name}={value}: {field} {chosen!r} does not read it; {others}"

    return note


def _no_hidden_layers(name: str) -> Callable[[Config], str]:
    def note(config: Config) -> str:
        value = getattr(config, name)
        if not value or config.hidden_layers:
            return ""
        return f"{name}={value}: acts on hidden layers, and there are none; raise hidden_layers"

    return note


def _tiny_clip(config: Config) -> str:
    clip = config.gradient_clip
    if clip is None or clip >= SHORT_CLIP:
        return ""
    shortened = step_length(config, clip) / step_length(config, 1.0)
    rule = rule_of(config)
    if shortened >= SHORT_CLIP or config.learning_rate * shortened > rule.usual_rate / SLOW:
        return ""
    return (
        f"gradient_clip={clip:g}: with {config.optimizer} at learning rate {config.learning_rate:g} no gradient moves the "
        f"weights by more than {config.learning_rate * clip:.2g}; raise gradient_clip to about 1, or switch it off"
    )


COMBINATIONS: tuple[Combination, ...] = (
    Combination("patience", _stops_before_plateau, ("schedule", "plateau_patience"), ("plateau_patience",)),
    Combination("plateau_patience", _no_plateau, ("schedule", "epochs"), ("plateau_patience",)),
    Combination("step_size", _no_step, ("schedule", "epochs", "warmup"), ("step_size",)),
    Combination("restart_epochs", _no_restart, ("schedule", "epochs", "warmup"), ("restart_epochs",)),
    Combination("gamma", _factor_of_one("gamma"), ("schedule",), ("gamma",)),
    Combination("decay", _factor_of_one("decay"), ("schedule",), ("decay",)),
    Combination("min_learning_rate", _no_fall, ("schedule", "learning_rate"), ("min_learning_rate",)),
    Combination("patience", _never_stops, ("epochs",)),
    Combination("label_smoothing", _not_read("label_smoothing", "loss"), ("loss",)),
    Combination("dropout", _not_read("dropout", "model"), ("model",)),
    Combination("batch_norm", _not_read("batch_norm", "model"), ("model",)),
    Combination("dropout", _no_hidden_layers("dropout"), ("model", "hidden_layers"), ("dropout", "hidden_layers")),
    Combination(
        "batch_norm", _no_hidden_layers("batch_norm"), ("model", "hidden_layers"), ("batch_norm", "hidden_layers")
    ),
    Combination("gradient_clip", _tiny_clip, ("optimizer", "learning_rate")),
)
"""Every combination, in the order in which the notes are given."""


def without_effect(config: Config, searched: Collection[str] = ()) -> list[Problem]:
    """The hyperparameters of a configuration that have no effect in it, each with the reason and the remedy.

    config: as `prepare` returned it, with a concrete loss. searched: names whose values vary; what depends on one is left out.
    """
    found = []
    for one in COMBINATIONS:
        if not {one.field, *one.others} & set(searched) and all(config.uses(name) for name in one.needs):
            text = one.note(config)
            found += [Problem(one.field, getattr(config, one.field), text)] if text else []
    return found
