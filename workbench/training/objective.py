"""What training minimises on a task: the loss of a configuration, with the weights of classes and rows."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from workbench.core.config import Config
from workbench.core.errors import ConfigError, Problem, nearest
from workbench.core.kinds import KINDS
from workbench.metrics.predictions import loss_entry
from workbench.training.labels import Labels
from workbench.training.losses import loss_of
from workbench.training.row import SplitData, TaskData

__all__ = ["Objective", "class_weights"]


class Objective:
    """The loss of a configuration on the rows of a task.

    A mean over rows is Σ w·l / Σ w, w being the weight of a row times that of its class, as `torch.nn.CrossEntropyLoss(weight=)`
    computes it; labels of a multilabel task have weights of their positive rows (`pos_weight`), which the mean is not divided by.
    """

    def __init__(self, task: TaskData, config: Config, device: torch.device, dtype: torch.dtype) -> None:
        weights = class_weights(task, config)
        self._class_weight = None if weights is None else weights.to(device, dtype)
        self._by_row, self._mean = loss_of(config, self._class_weight)
        self._transformed = loss_entry(config.loss, task.kind).transformed
        self._divides = self._class_weight is not None and KINDS[task.kind].has_classes
        self._inverse = task.target.inverse
        self._device, self._dtype = device, dtype
        y = task.train.y
        self.labels = Labels(task.train.weight is not None, tuple(y.shape[1:]), not y.is_floating_point())

    def targets(self, split: SplitData) -> Tensor:
        """Targets as the loss sees them, with the weights of their rows if there are any (see `Labels`)."""
        targets = (split.y if self._transformed else split.target).to(self._device)
        return self.labels.pack(targets, split.weight, self._dtype)

    @property
    def by_class(self) -> bool:
        """Whether classes have weights, which may depend on the training rows."""
        return self._class_weight is not None

    def mean(self, outputs: Tensor, packed: Tensor) -> Tensor:
        """The mean (): outputs (rows, ...), packed targets (rows, ...)."""
        if not self.labels.weighted and not self._divides:
            return self._mean(outputs, packed)
        return self.means(outputs[None], packed[None])[0]

    def means(self, outputs: Tensor, packed: Tensor, counted: Tensor | None = None) -> Tensor:
        """The mean of each trial (trials,): outputs (trials, rows, ...), packed targets (trials, rows, ...).

        counted: 1 for each row that counts, 0 for one that only fills up a batch, (trials, rows); None if all do.
        """
        targets, weights = self.labels.unpack(packed)
        values = self._by_row(outputs.flatten(0, 1), targets.flatten(0, 1)).view(len(outputs), -1)
        if counted is not None:
            weights = counted if weights is None else weights * counted
        total = self._total(targets, weights)
        if total is None:
            return values.mean(1)
        if weights is not None:
            values = values * weights
        # a batch whose rows weigh nothing teaches nothing
        return values.sum(1) / total.sum(1).clamp_min(torch.finfo(values.dtype).tiny)

    def weights(self, packed: Tensor) -> Tensor | None:
        """What each row counts in a mean, (trials, rows), None if all count the same. packed: targets (trials, rows, ...)."""
        return self._total(*self.labels.unpack(packed))

    def _total(self, targets: Tensor, weights: Tensor | None) -> Tensor | None:
        """The weights of rows (trials, rows) times those of their classes, None for equal ones."""
        if not self._divides:
            return weights
        assert self._class_weight is not None
        of_class = self._class_weight[targets].view(*targets.shape[:2], -1).mean(2)
        return of_class if weights is None else weights * of_class

    def in_own_unit(self, packed: Tensor) -> tuple[Tensor, Tensor | None]:
        """Targets that the loss saw, in their own unit, and the weights of their rows."""
        targets, weights = self.labels.unpack(packed)
        if not targets.is_floating_point():
            return targets, weights
        return self._inverse(targets) if self._transformed else targets.double(), weights


def class_weights(task: TaskData, config: Config) -> Tensor | None:
    """The weights (classes,) or (labels,) that a configuration asks for, float64; None for equal ones.

    "balanced": rows / (classes x rows of the class), as scikit-learn's; of labels, rows without it / rows with it. Raises:
    ConfigError for a class that there is not.
    """
    if config.class_weight is None or not config.uses("class_weight"):
        return None
    y = task.train.y
    known = task.classes if KINDS[task.kind].has_classes else task.target_names
    names = known or tuple(str(index) for index in range(task.output_size))
    if config.class_weight == "balanced":
        if task.kind == "multilabel":
            positive = y.double().sum(0).clamp_min(1)
            return (len(y) - positive).clamp_min(1) / positive
        counts = torch.bincount(y.flatten(), minlength=task.output_size).double()
        return counts.sum() / (len(counts) * counts.clamp_min(1))
    given = json.loads(config.class_weight)
    for name in given:
        if name not in names:
            message = (
                f"class_weight: there is no class {name!r}; the classes are {', '.join(names)}{nearest(name, names)}"
            )
            raise ConfigError([Problem("class_weight", config.class_weight, message)])
    found = torch.tensor([given.get(name, 1.0) for name in names], dtype=torch.float64)
    if not found.any():
        message = "class_weight: the weight of every class is 0; give one of them a weight above 0"
        raise ConfigError([Problem("class_weight", config.class_weight, message)])
    return found
