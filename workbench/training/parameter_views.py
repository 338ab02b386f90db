"""Named parameters as views of flat buffers, and a module or a stacked forward pass that works on them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from workbench.models.stacking import Forward
from workbench.tasks.rows import Batch

__all__ = ["bind_module", "views_of", "vmapped"]


def views_of(stacked: Tensor, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The named views (trials, *shape) of a buffer (trials, parameters)."""
    views, start = {}, 0
    for name, shape in shapes.items():
        size = shape.numel()
        views[name] = stacked[:, start : start + size].view(len(stacked), *shape)
        start += size
    return views


def bind_module(
    module: nn.Module, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
) -> None:
    """Point a module's parameters, their gradients and its buffers at the first row of these tensors (1, *shape).

    buffers: frozen parameters are among them.
    """
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            parameter.data = weights[name][0]
            parameter.grad = gradients[name][0]
    for name, values in buffers.items():
        owner, _, leaf = name.rpartition(".")
        table = module.get_submodule(owner)
        if leaf in table._buffers:
            table._buffers[leaf] = values[0]
        else:
            getattr(table, leaf).data = values[0]


def vmapped(module: nn.Module) -> Forward:
    """The forward pass of any module, vectorised over trials by `torch.func.vmap`; each trial draws its own random numbers."""

    def one(parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Batch) -> Tensor:
        positional, named = ((), x) if isinstance(x, dict) else ((x,), None)
        outputs: Tensor = functional_call(module, (dict(parameters), dict(buffers)), positional, named)
        return outputs

    stacked: Forward = vmap(one, in_dims=(0, 0, 0), randomness="different")
    return stacked
