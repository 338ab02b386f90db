"""Registering an optimizer of one's own: what its class needs is found out on a few parameters, before any trial uses it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench.core.config import Config
from workbench.core.errors import ConfigError, Problem
from workbench.core.registration import register
from workbench.core.registry import OPTIMIZERS
from workbench.models import SeededRandomness
from workbench.training.encoding import decoded, encoded
from workbench.training.optimizer_step import RowState, Stepper
from workbench.training.optimizers import Rule, Traits, note_traits, rule_from, rule_of

__all__ = ["check_optimizer", "register_optimizer"]

SHAPES = tuple(torch.Size(shape) for shape in ((130, 128), (4, 3, 3, 3), (5000,), (5,)))
"""Large and small ones: some optimizers treat tensors by their size."""
SCALES = (1.0, 100.0, 0.01, 10.0)
STEPS = 3
RATES = (0.01, 0.01, 0.02)


def register_optimizer(name: str, rule: Callable[..., Any], *, label: str = "", meaning: str = "") -> None:
    """Add an optimizer: `rule(*, hyperparameters...) -> (torch.optim.Optimizer subclass, {option: value})`.

    The options are those of the class, without the learning rate, which the engine sets at every step. A few steps are tried
    on parameters of several shapes. A class whose steps do not depend on the shapes, like Adam, gets each trial's parameters
    as one vector, which is faster; any other, like Muon or Adafactor, gets them as they are. One that needs a closure, like
    LBFGS, trains its trials one after another. Raises: ConfigError with the reason if its steps fail, or if they differ once
    its state is stored and read again, as for a checkpoint; and as `register`.
    """

    def check(defaults: Mapping[str, Any]) -> None:
        try:
            note_traits(rule, _traits(rule_from(rule, defaults)))
        except ConfigError:
            raise
        except Exception as error:
            message = f"optimizer {name!r} cannot be used: {_described(error)}"
            raise ConfigError([Problem("optimizer", name, message)]) from error

    register(OPTIMIZERS, name, rule, label=label, meaning=meaning, check=check)


def check_optimizer(config: Config, module: nn.Module) -> None:
    """Raises: ConfigError if an optimizer that sees each parameter does not take one of a module's, or one of its options."""
    rule = rule_of(config)
    if not rule.by_tensor:
        return
    parameters = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    try:
        rule.optimizer([parameter for _, parameter in parameters], lr=config.learning_rate, **rule.options)
    except Exception as error:
        message = f"optimizer={config.optimizer!r}: does not take the model {config.model!r}: {_described(error)}"
        raise ConfigError([Problem("optimizer", config.optimizer, message)]) from error


def _traits(rule: Rule) -> Traits:
    """What an optimizer needs. Raises: whatever its steps raise; ValueError if it cannot be stored and read again."""
    shapes: Sequence[torch.Size] = SHAPES
    closure = _needs_closure(rule)
    try:
        plain = _plain_steps(rule, shapes, closure)
    except Exception as error:
        shapes = [shape for shape in SHAPES if len(shape) == 2] * 2  # some take matrices only
        try:
            plain = _plain_steps(rule, shapes, closure)
        except Exception:
            raise error from None
    for by_tensor in (False, True):
        try:
            if _agrees(_engine_steps(rule._replace(by_tensor=by_tensor, closure=closure), shapes), plain):
                return Traits(by_tensor, closure)
        except Exception:
            if by_tensor:
                raise
    raise ValueError(
        "its steps differ once its state is read into a new object: it must keep all of it in self.state[parameter] and "
        "self.param_groups, and read the learning rate at each step"
    )


def _needs_closure(rule: Rule) -> bool:
    """Whether its `step` has to be given a closure."""
    optimizer = rule.optimizer([nn.Parameter(torch.ones(2, 2))], lr=RATES[0], **rule.options)
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def _start(shapes: Sequence[torch.Size]) -> tuple[list[Tensor], list[Tensor]]:
    """Values and the minimum of a quadratic loss, by parameter."""
    generator = torch.Generator().manual_seed(0)
    values, minima = (
        [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes] for _ in range(2)
    )
    return values, minima


def _loss(values: Sequence[Tensor], minima: Sequence[Tensor]) -> float:
    return float(sum(0.5 * scale * (v - m).square().sum() for v, m, scale in zip(values, minima, SCALES, strict=False)))


def _plain_steps(rule: Rule, shapes: Sequence[torch.Size], closure: bool) -> list[Tensor]:
    """The parameters after a few steps of torch alone."""
    values, minima = _start(shapes)
    parameters = [nn.Parameter(value) for value in values]
    optimizer = rule.optimizer(parameters, lr=RATES[0], **rule.options)

    def evaluate() -> float:
        for parameter, minimum, scale in zip(parameters, minima, SCALES, strict=False):
            parameter.grad = scale * (parameter.detach() - minimum)
        return _loss([parameter.detach() for parameter in parameters], minima)

    with SeededRandomness(torch.Generator().manual_seed(0)):
        for rate in RATES:
            optimizer.param_groups[0]["lr"] = rate
            evaluate()
            optimizer.step(evaluate) if closure else optimizer.step()
    return [parameter.detach() for parameter in parameters]


def _engine_steps(rule: Rule, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """The parameters after the same steps of the engine, which begins with a new optimizer before the last one."""
    values, minima = _start(shapes)
    theta = torch.cat([value.reshape(-1) for value in values])[None]
    minimum = torch.cat([value.reshape(-1) for value in minima])
    scale = torch.cat(
        [torch.full((len(m.reshape(-1)),), s, dtype=m.dtype) for m, s in zip(minima, SCALES, strict=False)]
    )
    grad, state = torch.zeros_like(theta), _NOTHING

    def views() -> list[Tensor]:
        parts = torch.split(theta[0], [shape.numel() for shape in shapes])
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

    def evaluate() -> float:
        grad.copy_(scale * (theta - minimum))
        return _loss(views(), minima)

    with SeededRandomness(torch.Generator().manual_seed(0)):
        for step, rate in enumerate(RATES):
            if step in (0, STEPS - 1):
                stepper = Stepper(
                    theta, grad, [rule._replace(proportional=False, decay=0.0)], [step], state, shapes=shapes
                )
            evaluate()
            stepper.step([rate], evaluate)
            state = [_stored(one) for one in stepper.states()]
    return views()


def _stored(state: RowState | None) -> RowState | None:
    """An optimizer's state out of a checkpoint."""
    tensors: list[Tensor] = []

    def put(tensor: Tensor) -> int:
        tensors.append(tensor.clone())
        return len(tensors) - 1

    found: RowState | None = decoded(json.loads(json.dumps(encoded(state, put))), tensors)
    return found


_NOTHING: list[RowState | None] = [None]


def _agrees(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(one, other, strict=True))


def _described(error: Exception) -> str:
    """An error in words, with what to do about the common ones."""
    text = f"{type(error).__name__}: {error}"
    if "does not support dense gradients" in text:
        return f"{text} (gradients are dense here; for embeddings, use Adam)"
    if "keyword argument" in text:
        return f"{text} (the class is called with the parameters, lr= and the options)"
    return text
