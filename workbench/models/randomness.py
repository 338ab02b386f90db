"""Random numbers from a generator that is handed in, also for code that knows no generator.

`nn.Linear` draws its initial weights, and `F.dropout` its mask, from torch's global generator. Seeding that one would
disturb the user's own random numbers, and any other thread that draws would disturb the trial's. A function mode is local
to its thread and to its `with` block, so inside it each draw is given our generator instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["SeededRandomness", "draws_random_numbers"]

_TAKES_GENERATOR: frozenset[Any] = frozenset(
    [
        torch.bernoulli,
        torch.multinomial,
        torch.normal,
        torch.poisson,
        torch.rand,
        torch.randint,
        torch.randn,
        torch.randperm,
        Tensor.bernoulli,
        Tensor.bernoulli_,
        Tensor.cauchy_,
        Tensor.exponential_,
        Tensor.geometric_,
        Tensor.log_normal_,
        Tensor.multinomial,
        Tensor.normal_,
        Tensor.random_,
        Tensor.uniform_,
    ]
    + [
        function
        for name, function in inspect.getmembers(nn.init, inspect.isfunction)
        if not name.startswith("_") and "generator" in inspect.signature(function).parameters
    ]
)


def _mask(input: Tensor, shape: tuple[int, ...], p: float, generator: torch.Generator) -> Tensor:
    """Zeros with probability p, else 1 / (1 - p); new_empty keeps a vmapped input's mask different for each trial."""
    return input.new_empty(shape).bernoulli_(1 - p, generator=generator).div_(1 - p if p < 1 else 1)


class SeededRandomness(TorchFunctionMode):
    """Within the `with` block, on this thread, torch draws from `generator` (on the device of what is drawn)."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _TAKES_GENERATOR:
            return func(*args, **{**kwargs, "generator": kwargs.get("generator") or self.generator})
        if func is torch.rand_like or func is torch.randn_like:
            draw = Tensor.uniform_ if func is torch.rand_like else Tensor.normal_
            return draw(torch.empty_like(*args, **kwargs), generator=self.generator)
        if func in _DROPOUTS:
            return self._dropout(_DROPOUTS[func], *args, **kwargs)
        return func(*args, **kwargs)

    def _dropout(
        self, kept_axes: int | None, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        """kept_axes: trailing axes that share one draw (channel dropout); None: each element has its own."""
        if not training or p == 0:
            return input
        shape = tuple(input.shape)
        if kept_axes is not None:
            shape = shape[: input.dim() - kept_axes] + (1,) * kept_axes
        mask = _mask(input, shape, p, self.generator)
        return input.mul_(mask) if inplace else input * mask


_DROPOUTS: dict[Callable[..., Any], int | None] = {
    F.dropout: None,
    torch.dropout: None,
    F.dropout1d: 1,
    F.dropout2d: 2,
    F.dropout3d: 3,
}


def draws_random_numbers(module: nn.Module) -> bool:
    """Whether a forward pass of the module in training mode may draw random numbers: it has a dropout or noise layer."""
    return any(
        isinstance(part, (nn.modules.dropout._DropoutNd, nn.RReLU)) and getattr(part, "p", 1)
        for part in module.modules()
    )
