"""Named parameters as views of flat buffers, and a module or a stacked forward pass that works on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from workbench.core.errors import ModelError
from workbench.models.stacking import Forward

__all__ = ["Bound", "bind_module", "views_of", "vmapped"]


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


def vmapped(module: nn.Module, assigned: Sequence[str] = ()) -> Forward:
    """The forward pass of any module, vectorised over trials by `torch.func.vmap`; each trial draws its own random numbers.

    assigned: names of buffers that the module replaces by new tensors; the new values are copied into those given.
    """

    def one(
        parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        everything = {**parameters, **buffers}  # `functional_call` puts the module's new tensors here
        outputs: Tensor = functional_call(module, everything, (x,))
        return outputs, {name: everything[name].detach() for name in assigned}

    stacked = vmap(one, in_dims=(0, 0, 0), randomness="different")

    def forward(parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
        # copies of those that are overwritten, since the way back may need what they held
        given = {name: value.clone() if name in assigned else value for name, value in buffers.items()}
        outputs, changed = stacked(parameters, given, x)
        for name, value in changed.items():
            buffers[name].copy_(value)
        return outputs

    return forward


class Bound:
    """The tensors of a module that point at a cohort's: kept so while the module's forward pass assigns new ones.

    buffers: those of the cohort (1, *shape) by name, frozen parameters among them; one that the module gives another dtype
    replaces the cohort's. parameters: whether the module may also assign data of its parameters.
    """

    def __init__(
        self, module: nn.Module, weights: Mapping[str, Tensor], buffers: dict[str, Tensor], *, parameters: bool
    ) -> None:
        self._buffers = buffers
        self._places: list[tuple[str, dict[str, Tensor | None], str, Tensor]] = []
        self._parameters: list[tuple[nn.Parameter, Tensor]] = []
        own = dict(module.named_parameters())
        for name in buffers:
            owner, _, leaf = name.rpartition(".")
            table = module.get_submodule(owner)._buffers
            held = table.get(leaf)
            if held is not None:  # else a frozen parameter
                self._places.append((name, table, leaf, held))
        if parameters:
            known = {**weights, **{name: values for name, values in buffers.items() if name in own}}
            self._parameters = [(own[name], values[0]) for name, values in known.items()]

    def restore(self) -> None:
        """Copy what the module has assigned into the cohort's tensors, and point the module at them again."""
        for place, (name, table, leaf, held) in enumerate(self._places):
            now = table[leaf]
            if now is held:
                continue
            if now is None or now.shape != held.shape:
                shape = None if now is None else tuple(now.shape)
                raise ModelError(
                    f"the forward pass of the model changes the shape of its buffer {name!r} from {tuple(held.shape)} to "
                    f"{shape}, so no checkpoint could be restored; give it its final shape in __init__"
                )
            if now.dtype != held.dtype:
                self._buffers[name] = now.detach().to(held.device, copy=True)[None]
                held = self._buffers[name][0]
                self._places[place] = name, table, leaf, held
            else:
                held.copy_(now.detach())
            table[leaf] = held
        for parameter, held in self._parameters:
            if parameter.data_ptr() != held.data_ptr():
                held.copy_(parameter.detach())
                parameter.data = held
