"""What a cohort of pretrained models trains, and on which inputs: the part that is not frozen, on the features of the rest.

What a frozen stem makes of the data does not change, so it is computed once, and shared by the cohorts of a search. An
ordinary model is trained whole, on the rows as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import psutil
import torch
from torch import Tensor, nn

from workbench.core.config import Config
from workbench.models import Pretrained
from workbench.training.row import SplitData, TaskData

__all__ = [
    "Features",
    "Inputs",
    "free_bytes",
    "inputs_of",
    "learning_rate_depths",
    "learning_rate_factor",
    "normalises",
    "opens_at",
    "trained_part",
    "unfreezes_at",
]

FEATURES_SHARE = 0.25
"""Of the memory that is free, what the features of a frozen stem may take; beyond, they are computed again for each batch."""
PIECE_ROWS = 256
"""Rows go through a stem in pieces of at most so many."""


def trained_part(module: nn.Module, size: int | None = None) -> nn.Module:
    """The module that trains: of a pretrained one its part that is not frozen, else the module itself.

    size: the number of parameters of a state that it has to take; one as large as the whole model opens it.
    """
    if not isinstance(module, Pretrained):
        return module
    if size is not None and not module.opened and size == module.sizes[1]:
        module.open()
    return module.trained


def unfreezes_at(config: Config) -> int:
    """The hyperparameter of a pretrained model: the epoch after which everything trains, 0 for never."""
    return int(getattr(config, "unfreeze_at", 0))


def learning_rate_factor(config: Config) -> float:
    """The hyperparameter of a pretrained model: the share of the learning rate in the group nearest the input."""
    return float(getattr(config, "learning_rate_factor", 1.0))


def opens_at(module: nn.Module, config: Config) -> int | None:
    """The epoch of a trial after which its frozen layers begin to train, None for never, or if they do already."""
    if not isinstance(module, Pretrained) or module.opened:
        return None
    return unfreezes_at(config) or None


def normalises(module: nn.Module, config: Config) -> bool:
    """Whether a batch normalisation trains at some time, which cannot take a lone row."""
    if isinstance(module, Pretrained):
        return module.normalises(opened=module.opened or unfreezes_at(config) > 0)
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


def learning_rate_depths(module: nn.Module) -> Tensor | None:
    """The depth (parameters,) of each trained parameter (see `Pretrained.depths`), float64, None if all are 0."""
    depths = module.depths() if isinstance(module, Pretrained) else []
    if not any(depth for _, depth in depths):
        return None
    return torch.cat([torch.full((size,), depth, dtype=torch.float64) for size, depth in depths])


@dataclass(eq=False)
class Features:
    """What a stem made of a task's training and validation rows. It lives as long as somebody holds it."""

    x: Tensor
    x_val: Tensor
    made_of: tuple[Any, ...]
    """Kept, so that none of it can be taken for another object that came to lie in the same place."""


@dataclass(eq=False)
class Inputs:
    """Inputs of what trains: training and validation rows. stem: what each batch of them has to go through first, if anything.

    features: where the rows come from, if they are features.
    """

    x: Tensor
    x_val: Tensor
    stem: nn.Module | None = None
    features: Features | None = None

    @torch.no_grad()
    def through(self, x: Tensor) -> Tensor:
        """A batch (rows, ...) as what trains takes it."""
        return x if self.stem is None else torch.cat([self.stem(piece) for piece in torch.split(x, PIECE_ROWS)])


_known: WeakValueDictionary[tuple[Any, ...], Features] = WeakValueDictionary()


def inputs_of(task: TaskData, module: nn.Module, device: torch.device, dtype: torch.dtype) -> Inputs:
    """The inputs of the part of a module that trains, on its device. module: as it was built, with its weights there."""
    stem = module.stem if isinstance(module, Pretrained) else None
    if stem is None:
        return Inputs(_on(task.train, device, dtype), _on(task.validation, device, dtype))
    assert isinstance(module, Pretrained)
    made_of = (module.backbone or module, task.train.x, task.validation.x)
    frozen = 0 if module.opened else module.freeze
    key = (*map(id, made_of), frozen, str(device), dtype)
    found = _known.get(key)
    if found is None:
        x, x_val = _on(task.train, device, dtype), _on(task.validation, device, dtype)
        rows = Inputs(x, x_val, stem)
        few = rows.through(x[:2])
        if (len(x) + len(x_val)) * few[0].numel() * few.element_size() > FEATURES_SHARE * free_bytes(device):
            return rows
        found = _known[key] = Features(rows.through(x), rows.through(x_val), made_of)
    return Inputs(found.x, found.x_val, None, found)


def free_bytes(device: torch.device) -> int:
    """Memory that is free where a model trains."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _on(split: SplitData, device: torch.device, dtype: torch.dtype) -> Tensor:
    return split.x.to(device, dtype)
