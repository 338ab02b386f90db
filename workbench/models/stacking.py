"""Forward passes of several models of one architecture at once, written out for the layers that are known.

`torch.func.vmap` vectorises any module over its weights, at a price for each operation it passes through. For a sequence of
common layers the stacked form is known: a linear layer is one batched matrix product, batch normalisation sees the
trials' units side by side, a convolution is a batched matrix product over its patches. That is about twice as fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["stacked_forward"]

Tensors = Mapping[str, Tensor]
Forward = Callable[[Tensors, Tensors, Any], Tensor]
"""(parameters (trials, ...), buffers (trials, ...), batch (trials, rows, ...)) -> outputs (trials, rows, ...)"""

ELEMENTWISE = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Hardtanh, nn.Identity,
    nn.Dropout, nn.SELU, nn.Mish, nn.ReLU6, nn.Hardswish,
)  # fmt: skip


def stacked_forward(module: nn.Module) -> Forward | None:
    """The stacked forward pass of a module, None if a layer of it is not known here (then `vmap` has to do).

    The module itself says which mode it is in (training or evaluation); its own weights are not read.
    """
    if not _is_plain(module, nn.Sequential):
        return None
    layers = [(name, part, _LAYERS.get(type(part))) for name, part in module.named_children()]
    if not all(layer is not None and _is_plain(part, type(part)) for _, part, layer in layers):
        return None
    if any(getattr(part, "momentum", 0.0) is None for _, part, _ in layers):
        return None  # a cumulative mean weighs by the batches seen, of which trials that joined later have fewer

    def forward(parameters: Tensors, buffers: Tensors, x: Tensor) -> Tensor:
        trials, merged = len(x), False
        for name, part, layer in layers:
            assert layer is not None
            if layer.merged is not None and layer.merged != merged:
                merged = layer.merged
                x = x.transpose(0, 1).flatten(1, 2) if merged else _unmerged(x, trials)
            own = {leaf: table[f"{name}.{leaf}"] for table, leaf in _leaves(part, name, parameters, buffers)}
            x = layer.forward(part, own, x)
        return _unmerged(x, trials) if merged else x

    return forward


def _unmerged(x: Tensor, trials: int) -> Tensor:
    """(rows, trials × channels, ...) as (trials, rows, channels, ...)."""
    return x.reshape(len(x), trials, -1, *x.shape[2:]).transpose(0, 1)


def _is_plain(part: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether the module is exactly of a kind, without hooks and parametrisations."""
    return type(part) is kind and not (part._forward_hooks or part._forward_pre_hooks or part._backward_hooks)


def _leaves(part: nn.Module, name: str, parameters: Tensors, buffers: Tensors) -> list[tuple[Tensors, str]]:
    """Where each weight and buffer of a layer stands; a frozen weight stands among the buffers."""
    leaves = [leaf for leaf, value in part.named_parameters(recurse=False)]
    found = [(parameters if f"{name}.{leaf}" in parameters else buffers, leaf) for leaf in leaves]
    return [*found, *((buffers, leaf) for leaf, _ in part.named_buffers(recurse=False))]


def _linear(part: nn.Module, own: Tensors, x: Tensor) -> Tensor:
    """x: (trials, rows, ..., units)."""
    if x.dim() > 3:
        return _linear(part, own, x.flatten(1, -2)).reshape(*x.shape[:-1], -1)
    weight = own["weight"].transpose(1, 2)
    return torch.baddbmm(own["bias"].unsqueeze(1), x, weight) if "bias" in own else torch.bmm(x, weight)


def _conv2d(part: nn.Module, own: Tensors, x: Tensor) -> Tensor:
    """x: (rows, trials × channels, height, width): the trials are groups of one convolution."""
    assert isinstance(part, nn.Conv2d)
    weight = own["weight"]
    bias = own["bias"].reshape(-1) if "bias" in own else None
    padding: str | tuple[int, ...] = part.padding
    if part.padding_mode != "zeros":
        x, padding = F.pad(x, part._reversed_padding_repeated_twice, part.padding_mode), (0, 0)
    return F.conv2d(x, weight.flatten(0, 1), bias, part.stride, padding, part.dilation, part.groups * len(weight))


def _batch_norm(part: nn.Module, own: Tensors, x: Tensor) -> Tensor:
    """x: (rows, trials × units, ...): all trials' units are units of one normalisation."""
    assert isinstance(part, nn.modules.batchnorm._BatchNorm)
    assert part.momentum is not None
    tracked = part.track_running_stats
    if part.training and tracked:
        own["num_batches_tracked"].add_(1)
    return F.batch_norm(
        x,
        # views, so that the running statistics are updated in place
        own["running_mean"].view(-1) if tracked else None,
        own["running_var"].view(-1) if tracked else None,
        own["weight"].reshape(-1) if part.affine else None,
        own["bias"].reshape(-1) if part.affine else None,
        part.training or not tracked,
        part.momentum,
        part.eps,
    )


def _flatten(part: nn.Module, own: Tensors, x: Tensor) -> Tensor:
    outputs: Tensor = part(x.flatten(0, 1))
    return outputs.reshape(*x.shape[:2], *outputs.shape[1:])


def _as_it_is(part: nn.Module, own: Tensors, x: Tensor) -> Tensor:
    outputs: Tensor = part(x)
    return outputs


class _Layer(NamedTuple):
    """merged: whether the layer takes inputs (rows, trials × channels, ...) instead of (trials, rows, ...); None: either."""

    forward: Callable[[nn.Module, Tensors, Tensor], Tensor]
    merged: bool | None


_LAYERS: dict[type[nn.Module], _Layer] = {
    nn.Linear: _Layer(_linear, merged=False),
    nn.Flatten: _Layer(_flatten, merged=False),
    nn.Conv2d: _Layer(_conv2d, merged=True),
    nn.BatchNorm1d: _Layer(_batch_norm, merged=True),
    nn.BatchNorm2d: _Layer(_batch_norm, merged=True),
    **dict.fromkeys((nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d), _Layer(_as_it_is, merged=True)),
    **dict.fromkeys(ELEMENTWISE, _Layer(_as_it_is, merged=None)),
}
