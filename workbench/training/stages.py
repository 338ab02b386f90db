"""The trained part of a cohort's model and its inputs: of a pretrained model, the unfrozen part on the features of the rest.

The features of a frozen stem do not change, so they are computed once and shared by the cohorts of a search. An ordinary
model trains as a whole, on the rows themselves.
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
    "rows_per_epoch",
    "trained_part",
    "unfreezes_at",
    "unfreezing_epoch",
]

FEATURES_SHARE = 0.25
"""Of the memory that is free, what the features of a frozen stem may take; beyond, they are computed again for each batch."""
PIECE_ROWS = 256
"""Rows go through a stem in pieces of at most so many."""


def trained_part(module: nn.Module, size: int | None = None) -> nn.Module:
    """The module that trains: the unfrozen part of a pretrained one, else the module itself.

    size: number of parameters of a state to be restored; if it is that of the whole model, the model is unfrozen.
    """
    if not isinstance(module, Pretrained):
        return module
    if size is not None and not module.unfrozen and size == module.sizes[1]:
        module.unfreeze()
    return module.trained


def unfreezes_at(config: Config) -> int:
    """The hyperparameter of a pretrained model: the epoch after which everything trains, 0 for never."""
    return int(getattr(config, "unfreeze_at", 0))


def learning_rate_factor(config: Config) -> float:
    """The hyperparameter of a pretrained model: the share of the learning rate in the group nearest the input."""
    return float(getattr(config, "learning_rate_factor", 1.0))


def unfreezing_epoch(module: nn.Module, config: Config) -> int | None:
    """The epoch after which a trial's frozen layers begin to train; None if never, or if they train already."""
    if not isinstance(module, Pretrained) or module.unfrozen:
        return None
    return unfreezes_at(config) or None


def normalises(module: nn.Module, config: Config) -> bool:
    """Whether a batch normalisation trains at some time; it cannot train on a single row."""
    if isinstance(module, Pretrained):
        return module.normalises(unfrozen=module.unfrozen or unfreezes_at(config) > 0)
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


def rows_per_epoch(rows: int, module: nn.Module, config: Config) -> int:
    """How many of the training rows an epoch takes: all, but for a last batch of one row that a normalisation cannot take."""
    lone = rows % config.batch_size == 1 and rows > 1 and normalises(module, config)
    return rows - int(lone)


def learning_rate_depths(module: nn.Module) -> Tensor | None:
    """The depth (parameters,) of each trained parameter (see `Pretrained.depths`), float64, None if all are 0."""
    depths = module.depths() if isinstance(module, Pretrained) else []
    if not any(depth for _, depth in depths):
        return None
    return torch.cat([torch.full((size,), depth, dtype=torch.float64) for size, depth in depths])


@dataclass(eq=False)
class Features:
    """A stem's outputs for a task's training and validation rows. Shared while any cohort refers to them."""

    x: Tensor
    x_val: Tensor
    made_of: tuple[Any, ...]
    """Kept alive, because the key of `_known` is made of their addresses."""


@dataclass(eq=False)
class Inputs:
    """Training and validation inputs of the trained part. stem: to apply to each batch first, if not None.

    features: what x and x_val belong to, if they are features.
    """

    x: Tensor
    x_val: Tensor
    stem: nn.Module | None = None
    features: Features | None = None

    @torch.no_grad()
    def through(self, x: Tensor, *, stacked: bool = False) -> Tensor:
        """A batch (rows, ...) as the trained part takes it. stacked: (trials, rows, ...)."""
        if self.stem is None:
            return x
        rows = x.flatten(0, 1) if stacked else x
        found = torch.cat([self.stem(piece) for piece in torch.split(rows, PIECE_ROWS)])
        return found.view(*x.shape[:2], *found.shape[1:]) if stacked else found


_known: WeakValueDictionary[tuple[Any, ...], Features] = WeakValueDictionary()


def inputs_of(task: TaskData, module: nn.Module, device: torch.device, dtype: torch.dtype) -> Inputs:
    """The inputs of a module's trained part, on its device. module: new, on the device."""
    stem = module.stem if isinstance(module, Pretrained) else None
    if stem is None:
        return Inputs(_on(task.train, device, dtype), _on(task.validation, device, dtype))
    assert isinstance(module, Pretrained)
    made_of = (module.backbone or module, task.train.x, task.validation.x)
    frozen = 0 if module.unfrozen else module.freeze
    key = (*map(id, made_of), frozen, str(device), dtype)
    found = _known.get(key)
    if found is None:
        x, x_val = _on(task.train, device, dtype), _on(task.validation, device, dtype)
        rows = Inputs(x, x_val, stem)
        few = rows.through(x[:2])
        if (len(x) + len(x_val)) * few[0].numel() * few.element_size() > FEATURES_SHARE * free_bytes(device):
            return rows
        found = _known[key] = Features(rows.through(x), rows.through(x_val) if len(x_val) else x_val, made_of)
    return Inputs(found.x, found.x_val, None, found)


def free_bytes(device: torch.device) -> int:
    """Memory that is free where a model trains."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _on(split: SplitData, device: torch.device, dtype: torch.dtype) -> Tensor:
    return split.x.to(device, dtype)
