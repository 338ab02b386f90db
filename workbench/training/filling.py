"""From modules to the flat weights of a cohort's rows, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from workbench.core.errors import ModelError
from workbench.models import Pretrained
from workbench.training.stages import trained_part
from workbench.training.state import Weights

__all__ = ["check_fits", "constants_of", "filled", "moved", "unfreezer"]


def check_fits(module: nn.Module, weights: Weights) -> None:
    """Raises: ModelError if a module has other parameters than the one that the weights were trained in."""
    module = trained_part(module, weights.vector.numel())
    own = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    shapes = [tuple(value.shape) for _, value in constants_of(module)]
    if own != weights.vector.numel() or shapes != [tuple(value.shape) for value in weights.buffers.values()]:
        raise ModelError(
            f"the model has {own} parameters now and had {weights.vector.numel()} when it was trained: its builder has "
            "changed since; register the original builder (bench.log.builder_source(trial) returns its source)"
        )


def filled(module: nn.Module, weights: Weights) -> nn.Module:
    """The module, in evaluation mode, with copies of these weights. Raises: ModelError, see `check_fits`.

    The frozen part of a pretrained module keeps its own weights.
    """
    check_fits(module, weights)
    start, trained = 0, trained_part(module, weights.vector.numel())
    if trained is not module:
        module.to(weights.vector.dtype)
    for parameter in trained.parameters():
        if parameter.requires_grad:
            piece = weights.vector[start : start + parameter.numel()]
            parameter.data, parameter.grad = piece.view(parameter.shape).cpu().clone(), None
            start += parameter.numel()
    # by position: with another dropout rate the layers have other names
    for (name, _), value in zip(list(constants_of(trained)), weights.buffers.values(), strict=True):
        owner, _, leaf = name.rpartition(".")
        getattr(trained.get_submodule(owner), leaf).data = value.cpu().clone()
    return module.eval()


def unfreezer(model: nn.Module) -> Callable[[Weights], Weights]:
    """A function from the weights of a pretrained model's trained part to those of all of it. model: new; it is unfrozen."""
    assert isinstance(model, Pretrained)
    part = trained_part(model)
    parameters = [parameter for parameter in part.parameters() if parameter.requires_grad]
    constants = [value for _, value in constants_of(part)]
    model.unfreeze()
    whole = trained_part(model)

    def widened(weights: Weights) -> Weights:
        pieces = torch.split(weights.vector, [parameter.numel() for parameter in parameters])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.data.copy_(piece.view(parameter.shape))
        for constant, value in zip(constants, weights.buffers.values(), strict=True):
            constant.copy_(value)
        vector = torch.cat([parameter.detach().reshape(-1) for parameter in whole.parameters()])
        return Weights(vector, {name: value.clone() for name, value in constants_of(whole)}, weights.outputs)

    return widened


def moved(weights: Weights | None, device: torch.device) -> Weights | None:
    """The weights on another device."""
    if weights is None:
        return None
    buffers = {name: value.to(device) for name, value in weights.buffers.items()}
    return Weights(weights.vector.to(device), buffers, None if weights.outputs is None else weights.outputs.to(device))


def constants_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a module that do not train: buffers and frozen parameters."""
    yield from module.named_buffers()
    yield from ((name, p.detach()) for name, p in module.named_parameters() if not p.requires_grad)
