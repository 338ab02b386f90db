"""From a model's outputs to predictions: probabilities, or numbers in the target's own unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from workbench.core.errors import TaskError
from workbench.core.kinds import KINDS
from workbench.core.registration import Loss
from workbench.core.registry import LOSSES

__all__ = [
    "LINKS",
    "Scale",
    "TargetFacts",
    "check_probabilities",
    "gives_probabilities",
    "loss_entry",
    "predictions_of",
    "predictor",
]


class Scale(Protocol):
    """How the targets that losses see are made of the target's own values."""

    def inverse(self, values: Tensor) -> Tensor: ...


class TargetFacts(Protocol):
    """What is asked of a task: its kind, and how its targets are transformed."""

    @property
    def kind(self) -> str: ...
    @property
    def target(self) -> Scale: ...


def _shares(outputs: Tensor) -> Tensor:
    """Outputs that approximate one-hot rows as probabilities: clipped at 0 and normalised."""
    clipped = outputs.clamp(min=0)
    total = clipped.sum(-1, keepdim=True)
    largest = torch.nn.functional.one_hot(outputs.argmax(-1), outputs.shape[-1]).to(outputs.dtype)
    return torch.where(total > 0, clipped / total, largest)


LINKS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda outputs: outputs,
    "softmax": lambda outputs: outputs.softmax(-1),
    "sigmoid": torch.sigmoid,
    "exp": torch.exp,
    "mean": lambda outputs: outputs[..., : outputs.shape[-1] // 2],
    "clipped": lambda outputs: outputs.clamp(0, 1),
    "shares": _shares,
}
"""By name; the last axis is that of the outputs."""


def loss_entry(loss: str | Loss, kind: str) -> Loss:
    """The entry of a loss; "auto" is the default one of the kind of task."""
    if isinstance(loss, Loss):
        return loss
    entry: Loss = LOSSES[KINDS[kind].loss if loss == "auto" else loss].value
    return entry


def predictor(task: TargetFacts, loss: str | Loss) -> Callable[[Tensor], Tensor]:
    """Makes predictions of outputs (..., outputs), those of a model that was trained with `loss`; float64.

    Probabilities of the classes or labels, or numbers in the target's own unit.
    """
    return partial(_predictions, link=loss_entry(loss, task.kind), kind=task.kind, target=task.target)


def _predictions(outputs: Tensor, link: Loss, kind: str, target: Scale) -> Tensor:
    function = link.link_for(kind)
    outputs = outputs.double()
    if function is not None:
        outputs = LINKS[function](outputs) if isinstance(function, str) else function(outputs)
    return target.inverse(outputs) if link.transformed else outputs


def predictions_of(task: TargetFacts, loss: str | Loss, outputs: Tensor) -> Tensor:
    """Outputs (rows, outputs), or (rows, classes, *positions) of a dense task, as predictions of the same axes; float64."""
    predict = predictor(task, loss)
    if task.kind == "dense":
        return predict(outputs.movedim(1, -1)).movedim(-1, 1)
    return predict(outputs)


def gives_probabilities(kind: str, loss: str | Loss) -> bool:
    """Whether predictions of a model trained with this loss are probabilities."""
    if not (KINDS[kind].has_classes or kind == "multilabel"):
        return False
    return loss_entry(loss, kind).link_for(kind) is not None


def check_probabilities(task: Any, loss: str, entry: Loss | None = None) -> None:
    """Raises: TaskError unless predictions of a model that was trained with this loss are probabilities. entry: of the loss, by
    default the registered one."""
    if gives_probabilities(task.kind, entry or loss):
        return
    if not (KINDS[task.kind].has_classes or task.kind == "multilabel"):
        raise TaskError(
            f"{task.name!r} is a {task.kind} task: there are no classes to give probabilities of; use predict"
        )
    raise TaskError(
        f"loss={loss!r} does not say how its outputs become probabilities; register it with link=, for instance "
        f"wb.register_loss({loss!r}, ..., link='softmax')"
    )
