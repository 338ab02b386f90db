"""Backbones: the builders of models from pretrained networks.

A backbone is registered like any model (`register_backbone`), and its freezing, unfreezing and learning rates are
hyperparameters of it, so that controls, search and log know them.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import os
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from workbench.core.domains import Domain, IntRange, LogRange
from workbench.core.errors import ConfigError, ModelError, Problem
from workbench.core.registration import register_model
from workbench.models.builtin import DataShape
from workbench.models.layer_groups import expected, head_of, layer_groups, without
from workbench.models.outputs import attach_output
from workbench.models.pretrained import Pretrained, plain_outputs
from workbench.models.weights import fill_network, load_weights

__all__ = ["Backbone", "register_backbone"]


class Backbone:
    """The builder of a model from a pretrained network: what `register_backbone` puts into the table of models.

    make: returns the network with its weights; called once. head: the name of its last layer, None to look for the last
    `nn.Linear`. weights: a file to take the weights from. adapt: the `adapter` of a task, if any. keep_head: whether a task may
    go on with the network's own head.
    groups: what can be frozen, from the input on. meanings: of its hyperparameters, by name.

    Raises: ModelError if there is no head, or nothing but a head.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], nn.Module],
        *,
        head: str | None = None,
        weights: str | os.PathLike[str] | None = None,
        adapt: Callable[[DataShape], nn.Module | None] = lambda task: None,
        keep_head: Callable[[DataShape], bool] = lambda task: False,
        source: Any = None,
    ) -> None:
        self.name, self.make, self.source, self.weights = name, make, source, weights
        self._adapt, self._keep_head = adapt, keep_head
        network = self._made()
        self.head_name = head_of(network, head, name)
        if weights is not None:
            fill_network(network, load_weights(weights), self.head_name, os.fspath(weights))
        self._head = copy.deepcopy(network.get_submodule(self.head_name))
        self._body = without(network, self.head_name)
        if type(self._body) is not nn.Sequential:
            attach_output(self._body, name, None)  # the features, whose number is the network's own
        self.groups = layer_groups(self._body)
        if not self.groups:
            raise ModelError(
                f"backbone {name!r}: has no parameters but those of its head; there is nothing to transfer"
            )
        self._features: dict[tuple[int, ...], int] = {}
        count = len(self.groups)
        own: dict[str, tuple[Domain, str]] = {
            "freeze": (
                IntRange(0, count, default=count),
                "Groups of layers that keep their pretrained weights, counted from the input.",
            ),
            "unfreeze_at": (
                IntRange(0, 100_000, default=0),
                "Epoch after which the frozen layers train as well; 0: never.",
            ),
            "learning_rate_factor": (
                LogRange(1e-4, 1.0, default=0.1),
                "Share of the learning rate in the group nearest the input; it grows geometrically towards the head.",
            ),
        }
        kinds = inspect.Parameter
        self.__signature__ = inspect.Signature(
            [kinds("task", kinds.POSITIONAL_OR_KEYWORD)]
            + [kinds(name, kinds.KEYWORD_ONLY, default=domain) for name, (domain, _) in own.items()]
        )
        self.meanings = {name: meaning for name, (_, meaning) in own.items()}
        # rows of a cohort may differ in these: the shapes of what trains do not depend on them
        self.by_row = frozenset({"learning_rate_factor"})

    def __call__(self, task: DataShape, *, freeze: int, unfreeze_at: int, learning_rate_factor: float) -> Pretrained:
        adapter = self._adapt(task)
        features = self.features(task.input_shape)
        own = self._keep_head(task)
        head = copy.deepcopy(self._head).requires_grad_() if own else nn.Linear(features, task.output_size)
        return Pretrained(copy.deepcopy(self._body), head, freeze=freeze, adapter=adapter, backbone=self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Backbone:
        return self

    def __repr__(self) -> str:
        return f"<Backbone {self.name!r}: {', '.join(group.description for group in self.groups)}; head {self.head_name!r}>"

    @cached_property
    def digest(self) -> str:
        """What two networks share whose weights without the head are equal to the last bit: 16 hexadecimal digits."""
        found = hashlib.sha256()
        for value in (*self._body.parameters(), *self._body.buffers()):
            found.update(f"{value.dtype}{tuple(value.shape)}".encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return found.hexdigest()[:16]

    def features(self, shape: tuple[int, ...]) -> int:
        """What the body makes of an input of this shape (without rows). Raises: ModelError naming both shapes."""
        if shape not in self._features:
            self._features[shape] = self._probe(shape)
        return self._features[shape]

    def _made(self) -> nn.Module:
        try:
            network = self.make()
        except Exception as error:
            message = f"backbone {self.name!r}: making it raised {type(error).__name__}: {error}"
            raise ModelError(message) from error
        if not isinstance(network, nn.Module):
            message = f"make must return an nn.Module with its weights, got {type(network).__name__}"
            raise ModelError(f"backbone {self.name!r}: {message}")
        return network

    def _probe(self, shape: tuple[int, ...]) -> int:
        first = next(self._body.parameters())
        rows = torch.zeros(2, *shape, dtype=first.dtype, device=first.device)
        try:
            with torch.no_grad():
                found = plain_outputs(self._body.eval()(rows))
        except Exception as error:
            message = f"without its head {self.head_name!r} it raised {type(error).__name__} on inputs of shape {shape}"
            takes = f"its first layer takes {expected(self._body)}"
            raise ModelError(f"backbone {self.name!r}: {message}, where {takes}: {error}") from error
        wanted = self._head.in_features if isinstance(self._head, nn.Linear) else None
        if not isinstance(found, Tensor) or found.dim() != 2 or wanted not in (None, found.shape[1]):
            got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            size = "features" if wanted is None else wanted
            message = (
                f"without its head {self.head_name!r} it must give (2, {size}) for 2 rows of shape {shape}, got {got}"
            )
            raise ModelError(f"backbone {self.name!r}: {message}; name its last layer with head=")
        return found.shape[1]


def register_backbone(
    name: str,
    make: Callable[[], nn.Module],
    *,
    head: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    label: str = "",
    meaning: str = "",
) -> Backbone:
    """Add a pretrained network as a model: `make() -> nn.Module` returns it with its weights, or they come from a file.

    weights: a `.safetensors` file or a torch state dict (see `load_weights`); what it has for the head is left out.

    Its last layer, the submodule named `head` or else the last `nn.Linear`, is replaced by a new linear layer for the task.
    Outputs that carry `.logits`, as Hugging Face's do, are unwrapped. It brings these hyperparameters along: freeze (so many
    groups of layers are frozen, counted from the input; all by default, which leaves the head), unfreeze_at (after this epoch
    everything trains; 0: never), learning_rate_factor (of the group nearest the input; between it and the head, the learning
    rate grows geometrically)::

        wb.register_backbone("resnet", lambda: torchvision.models.resnet18(weights="DEFAULT"))

    Returns the builder, for `models={name: builder}`. Raises: ModelError naming what is wrong with the network; CheckpointError
    naming what of the file does not fit; ConfigError for a name that is no identifier, or a built-in model's.
    """
    if not callable(make):
        message = (
            f"make={make!r}: must be a function without parameters that returns the network, such as lambda: network"
        )
        raise ConfigError([Problem("make", make, message)])
    backbone = Backbone(name, make, head=head, weights=weights)
    register_model(name, backbone, label=label, meaning=meaning or "A pretrained network with a head for the task.")
    return backbone
