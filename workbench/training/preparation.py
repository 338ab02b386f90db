"""Checks of a configuration before it trains, and which configurations can train together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from workbench.core.config import Config
from workbench.core.domains import Domain, Range
from workbench.core.errors import ConfigError, Problem
from workbench.core.registry import LOSSES, METRICS, MODELS
from workbench.metrics.evaluation import takes_weights
from workbench.metrics.predictions import gives_probabilities
from workbench.models import (
    build_model,
    draws_random_numbers,
    is_library_builder,
    observe,
    probe,
    stacked_forward,
)
from workbench.tasks.rows import Batch, ready
from workbench.training.losses import resolve_loss
from workbench.training.objective import class_weights
from workbench.training.optimizer_registration import check_optimizer
from workbench.training.optimizers import rule_of
from workbench.training.row import TaskData
from workbench.training.stages import trained_part

__all__ = ["OBSERVED", "check", "cohort_key", "draws", "prepare", "unstackable_fields"]


OBSERVED = 4
"""Rows of the batch on which a module is tried out."""


def prepare(task: TaskData, config: Config) -> Config:
    """`config` made concrete for the task, after every check that can be made before the first step.

    Raises: ConfigError naming the field; ModelError when the model cannot be built, returns the wrong shape, or changes in its
    forward pass what no checkpoint could hold (see `observe`).
    """
    config = check(task, config)
    module = build_model(task, config)
    probe(module, task, config)
    if not is_library_builder(MODELS[config.model].value) and stacked_forward(module) is None:
        observe(module, _few(task, module), config.model)
    check_optimizer(config, module)
    return config


def check(task: TaskData, config: Config) -> Config:
    """`prepare` without building the model. Raises: ConfigError naming the field."""
    config = resolve_loss(config, task.kind)
    for name in task.metrics:
        metric = METRICS[name].value  # an unknown metric fails here, with a hint
        if task.train.weight is not None and not takes_weights(metric):
            message = (
                f"metric {name!r} cannot weigh rows, and the task has weights=; give its function a parameter `weights`"
            )
            raise ConfigError([Problem("metrics", name, message)])
    _check_targets(task, config)
    folds = getattr(task, "folds", None)
    rows = min(len(one.train.x) for one in (folds.members if folds else [task]))
    if config.batch_size > rows:
        message = (
            f"batch_size={config.batch_size}: larger than the training split of {rows} rows; choose at most {rows}"
        )
        raise ConfigError([Problem("batch_size", config.batch_size, message)])
    return config


def _check_targets(task: TaskData, config: Config) -> None:
    """Raises: ConfigError for targets that the loss is not made for, or metrics that need probabilities it does not give."""
    class_weights(task, config)  # a class that there is not fails here
    trained = (getattr(task, "folds", None) or task).train.target
    if config.loss == "poisson" and bool((trained < 0).any()):
        message = f"loss='poisson': needs targets from 0 on, the smallest is {float(trained.min()):g}; use 'mse'"
        raise ConfigError([Problem("loss", config.loss, message)])
    if not gives_probabilities(task.kind, config.loss) and task.kind not in ("regression", "count"):
        for name in task.metrics:
            if METRICS[name].value.probabilities or task.kind == "multilabel":
                message = (
                    f"loss={config.loss!r}: the metric {name!r} needs probabilities, and this loss does not say how its outputs "
                    f"become ones; register it with link=, such as wb.register_loss({config.loss!r}, ..., link='softmax')"
                )
                raise ConfigError([Problem("loss", config.loss, message)])


def cohort_key(config: Config) -> tuple[Any, ...]:
    """Trials with the same key can be stacked: same architecture, batch size and loss."""
    shared = ((name, getattr(config, name)) for name in _shared(config))
    return (config.model, config.loss, config.batch_size, rule_of(config).closure, *shared)


def draws(task: TaskData, config: Config) -> bool:
    """Whether the training passes of a model draw random numbers, as dropout does; in a cohort all trials draw together."""
    module = build_model(task, config)
    if draws_random_numbers(trained_part(module)):
        return True
    if is_library_builder(MODELS[config.model].value) or stacked_forward(module) is not None:
        return False
    return observe(module, _few(task, module), config.model).draws


def _few(task: TaskData, module: nn.Module) -> Batch:
    """Some training rows as a module takes them."""
    return ready(task.train.x[:OBSERVED], next(module.parameters()).dtype)


def unstackable_fields(config: Config, space: Mapping[str, Domain]) -> list[str]:
    """The hyperparameters of a search space that prevent stacking: a cohort shares their value, and every draw differs."""
    if config.model not in MODELS or config.loss not in LOSSES:
        return []
    return [name for name in _shared(config) if isinstance(space.get(name), Range)]


def _shared(config: Config) -> list[str]:
    """The hyperparameters that the trials of a cohort share, besides the batch size: those of its model and loss."""
    entries = MODELS[config.model], LOSSES[config.loss]
    by_row: frozenset[str] = getattr(entries[0].value, "by_row", frozenset())
    return sorted(frozenset().union(*(entry.uses for entry in entries)) - by_row)
