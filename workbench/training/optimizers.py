"""Optimizers: torch's own classes, stepped for one trial or for several at once (see `optimizer_step`).

Momentum is PyTorch's: v ← μv + g, w ← w - ηv. The textbook's v ← μv - ηg, w ← w + v has the learning rate inside the
velocity. At a constant rate both walk the same path; when the rate changes, PyTorch's takes effect on the whole velocity at
once, the textbook's only on the gradients to come.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from workbench.core.config import Config
from workbench.core.errors import ConfigError, Problem
from workbench.core.registration import read_arguments, register
from workbench.core.registry import OPTIMIZERS

__all__ = ["Rule", "Traits", "note_traits", "rule_from", "rule_of", "step_length", "takes_fused"]


class Rule(NamedTuple):
    """An optimizer class and the options of one trial's parameter group, without the learning rate.

    proportional: the step is the learning rate times something that depends on neither the rate nor the weights; then
    trials with different rates can share one call. decay: decoupled weight decay, w ← w - η·decay·w before the step.
    usual_rate: a learning rate that usually works for it. by_tensor: it looks at the parameters' shapes or at their whole
    values, so it is given each as a tensor of its own, not all as one vector. closure: its step evaluates the loss by itself.
    """

    optimizer: Callable[..., torch.optim.Optimizer]
    options: dict[str, Any]
    proportional: bool = False
    decay: float = 0.0
    usual_rate: float = 3e-3
    by_tensor: bool = False
    closure: bool = False


class Traits(NamedTuple):
    """What was found out about an optimizer, see `Rule`."""

    by_tensor: bool
    closure: bool


_TRAITS: dict[int, tuple[Callable[..., Any], Traits]] = {}
"""Of the functions that were registered, by their id; the function is held, so that no other one gets its id."""


def sgd() -> Rule:
    """w ← w - ηg."""
    return Rule(torch.optim.SGD, {"momentum": 0.0}, proportional=True, usual_rate=0.05)


def momentum(*, momentum: float) -> Rule:
    """SGD with momentum: v ← μv + g, w ← w - ηv."""
    return Rule(torch.optim.SGD, {"momentum": momentum, "nesterov": False}, proportional=True, usual_rate=0.02)


def nesterov(*, momentum: float) -> Rule:
    """SGD with Nesterov's look-ahead momentum: v ← μv + g, w ← w - η(g + μv)."""
    # torch raises for Nesterov without momentum, with which both rules are plain SGD
    return Rule(torch.optim.SGD, {"momentum": momentum, "nesterov": momentum > 0}, proportional=True, usual_rate=0.02)


def adam(*, beta1: float, beta2: float) -> Rule:
    """Steps scaled by running means of the gradient and its square (Kingma & Ba 2015)."""
    return Rule(torch.optim.Adam, {"betas": (beta1, beta2)}, proportional=True)


def adamw(*, beta1: float, beta2: float, weight_decay: float) -> Rule:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""
    return Rule(torch.optim.Adam, {"betas": (beta1, beta2)}, proportional=True, decay=weight_decay)


def rmsprop(*, alpha: float) -> Rule:
    """Steps scaled by a running mean of the squared gradient (Hinton 2012)."""
    return Rule(torch.optim.RMSprop, {"alpha": alpha}, proportional=True)


def adagrad() -> Rule:
    """Steps scaled by the sum of all squared gradients (Duchi et al. 2011)."""
    return Rule(torch.optim.Adagrad, {}, proportional=True, usual_rate=0.02)


register(OPTIMIZERS, "sgd", sgd, label="SGD")
register(OPTIMIZERS, "momentum", momentum, label="SGD + momentum")
register(OPTIMIZERS, "nesterov", nesterov, label="SGD + Nesterov")
register(OPTIMIZERS, "adam", adam, label="Adam")
register(OPTIMIZERS, "adamw", adamw, label="AdamW")
register(OPTIMIZERS, "rmsprop", rmsprop, label="RMSprop")
register(OPTIMIZERS, "adagrad", adagrad, label="Adagrad")


def rule_of(config: Config) -> Rule:
    """The optimizer class and group options a Config asks for."""
    function = OPTIMIZERS[config.optimizer].value
    return rule_from(function, read_arguments(function, config))


def rule_from(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Rule:
    """What a registered function returns, with what was found out about it: by default that it has to see each tensor.

    Raises: ConfigError if it returns anything but a class and its options.
    """
    found = function(**arguments)
    if not isinstance(found, tuple) or len(found) < 2 or not callable(found[0]) or not isinstance(found[1], Mapping):
        message = f"must return (torch.optim.Optimizer subclass, {{option: value}}), got {found!r}"
        raise ConfigError([Problem("optimizer", found, f"optimizer {function!r}: {message}")])
    optimizer, options, *rest = found
    rule = Rule(optimizer, dict(options), *rest)
    if function.__module__ == __name__:
        return rule
    _, traits = _TRAITS.get(id(function), (function, Traits(by_tensor=True, closure=False)))
    return rule._replace(proportional=rule.proportional and not traits.by_tensor, **traits._asdict())


def note_traits(function: Callable[..., Any], traits: Traits) -> None:
    """Keep what was found out about a function's optimizer."""
    _TRAITS[id(function)] = function, traits


def step_length(config: Config, gradient: float) -> float:
    """How far the first step of a Config's optimizer moves a parameter with this gradient, at a learning rate of 1.

    Tried on one parameter, so that an optimizer of the user's own counts by what it does: the step of SGD is proportional to
    the gradient, that of Adam hardly depends on its size.
    """
    rule = rule_of(config)
    weight = torch.nn.Parameter(torch.zeros(1, 1, dtype=torch.float64))

    def closure() -> float:
        weight.grad = torch.full_like(weight, gradient)
        return weight.item() * gradient

    closure()
    rule.optimizer([weight], lr=1.0, **rule.options).step(closure)
    return abs(weight.item())


def takes_fused(rule: Rule, device: torch.device) -> bool:
    """Whether the class has a fused kernel for the device: one call a trial instead of several element-wise ones."""
    if rule.options.keys() & {"fused", "foreach", "differentiable"}:
        return False  # the user's choice
    return device.type in ("cpu", "cuda", "mps") and "fused" in inspect.signature(rule.optimizer).parameters
