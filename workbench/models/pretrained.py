"""Pretrained networks with a new head: which layers are frozen, which train, and at which share of the learning rate.

A backbone is registered like any model (`register_backbone`), and its freezing, unfreezing and learning rates are
hyperparameters of it, so that controls, search and log know them.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from workbench.domains import Domain, IntRange, LogRange
from workbench.errors import ConfigError, ModelError, Problem, did_you_mean
from workbench.models.builtin import DataShape
from workbench.models.weights import fill_network, load_weights
from workbench.registration import register_model

__all__ = ["Affine", "Backbone", "Group", "PlainOutputs", "Pretrained", "layer_groups", "register_backbone"]

_NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)


@dataclass(frozen=True)
class Group:
    """Layers that are frozen together and share a learning rate. name: of the first of them. parts: names in the body."""

    name: str
    parts: tuple[str, ...]
    says: str


def layer_groups(body: nn.Module) -> list[Group]:
    """The groups of a body without its head, from the input on: its direct children that have parameters.

    A normalisation belongs to the group before it. Where one child holds all parameters, its children are taken instead.
    """
    prefix, place = "", body
    while True:
        children = [(name, child) for name, child in place.named_children() if _has_parameters(child)]
        if len(children) != 1 or not any(_has_parameters(grandchild) for grandchild in children[0][1].children()):
            break
        prefix, place = f"{prefix}{children[0][0]}.", children[0][1]
    groups: list[Group] = []
    for name, child in children:
        if groups and _only_normalises(child):
            last = groups[-1]
            groups[-1] = Group(last.name, (*last.parts, prefix + name), last.says)
        else:
            groups.append(Group(prefix + name, (prefix + name,), f"{prefix}{name} ({type(child).__name__})"))
    return groups


class Affine(nn.Module):
    """x · scale + shift, a feature at a time: fixed, it translates one standardisation of the inputs into another."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class Pretrained(nn.Module):
    """A pretrained body with a head of its own. (rows, *input_shape) -> (rows, outputs).

    freeze: so many of the body's groups, counted from the input, are frozen: they do not train, and stay in evaluation mode
    (batch normalisation keeps its statistics, dropout is off), until `open`. adapter: what inputs go through first; it never
    trains. backbone: what the body is a copy of.

    What trains is the module `trained`; `stem`, which it gets its inputs from, does not change, so its outputs can be
    computed once. A body that is a plain `nn.Sequential` is cut behind its last frozen layer; any other one is only when all
    of it is frozen.
    """

    def __init__(
        self,
        body: nn.Module,
        head: nn.Module,
        *,
        freeze: int = 0,
        adapter: nn.Module | None = None,
        backbone: Backbone | None = None,
    ) -> None:
        super().__init__()
        self.adapter, self.body, self.head = adapter, body, head
        self.backbone, self.freeze = backbone, freeze
        self.groups = layer_groups(body)
        self.opened = freeze == 0
        place = {part: index for index, group in enumerate(self.groups) for part in group.parts}
        # what belongs to the body itself, such as a class token, counts to the group nearest the input
        self._group_of = {name: _place_of(name, place) for name, _ in body.named_parameters()}
        for name, parameter in body.named_parameters():
            parameter.requires_grad_(self._group_of[name] >= freeze)
        self.train()

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.adapter is None else self.adapter(x)
        outputs: Tensor = self.head(plain_outputs(self.body(x)))
        return outputs

    def train(self, mode: bool = True) -> Pretrained:
        super().train(mode)
        for part in self._frozen():
            part.eval()
        return self

    def open(self) -> None:
        """Let everything train from here on."""
        self.opened = True
        for parameter in self.body.parameters():
            parameter.requires_grad_()
        self.train(self.training)

    @property
    def sizes(self) -> tuple[int, int]:
        """The number of parameters that train before and after `open`."""
        own = [(self._group_of[name], p.numel()) for name, p in self.body.named_parameters()]
        head = sum(parameter.numel() for parameter in self.head.parameters())
        return head + sum(size for group, size in own if group >= self.freeze), head + sum(size for _, size in own)

    @property
    def stem(self) -> nn.Module | None:
        """What turns inputs into those of `trained`, in evaluation mode; None: nothing does."""
        parts = [("adapter", self.adapter)] if self.adapter is not None else []
        cut = self._cut()
        if cut is None:
            return nn.Sequential(OrderedDict(parts)).eval() if parts else None
        if self._is_chain:
            parts += list(self.body.named_children())[:cut]
        else:
            parts += [("body", PlainOutputs(self.body))]
        return nn.Sequential(OrderedDict(parts)).eval() if parts else None

    @property
    def trained(self) -> nn.Module:
        """What trains, a module that shares the parameters of this one."""
        cut = self._cut()
        if cut is None:
            return _Whole(self)
        rest = list(_flat(list(self.body.named_children())[cut:])) if self._is_chain else []
        return nn.Sequential(OrderedDict([*rest, ("head", self.head)]))

    @property
    def rests_on_backbone(self) -> bool:
        """Whether some of the body is no part of `trained`, so that whoever keeps that alone has to get it from the backbone."""
        return not self.opened and self._cut() is not None

    def depths(self) -> list[tuple[int, float]]:
        """Size and depth of each parameter that `trained` trains, in its order: 0 in the head, 1 in the group nearest the input.

        The learning rate of a group is that of the head times a factor to the power of its depth.
        """
        groups = len(self.groups)
        own = [(p, self._group_of[name]) for name, p in self.body.named_parameters() if p.requires_grad]
        found = [(p.numel(), (groups - group) / groups) for p, group in own]
        return [*found, *((p.numel(), 0.0) for p in self.head.parameters())]

    def normalises(self, *, opened: bool) -> bool:
        """Whether a batch normalisation trains, now or, if it will be opened, later."""
        place = self.modules() if opened else self.trained.modules()
        return any(isinstance(m, nn.modules.batchnorm._BatchNorm) and (opened or m.training) for m in place)

    @property
    def _is_chain(self) -> bool:
        return type(self.body) is nn.Sequential and not _is_listened_to(self.body)

    def _cut(self) -> int | None:
        """How many of the body's children are cut off, None if it has to stay whole."""
        frozen = 0 if self.opened else self.freeze
        if not self._is_chain:
            return 0 if frozen == len(self.groups) and frozen else None
        if frozen == len(self.groups):
            return len(self.body)  # type: ignore[arg-type]
        names = [name for name, _ in self.body.named_children()]
        if frozen == 0:
            return 0
        first = self.groups[frozen].name.partition(".")[0]
        inside = first in {part.partition(".")[0] for group in self.groups[:frozen] for part in group.parts}
        return None if inside else names.index(first)

    def _frozen(self) -> Iterator[nn.Module]:
        if self.adapter is not None:
            yield self.adapter
        if self.opened:
            return
        cut = self._cut()
        if self.freeze == len(self.groups):
            yield self.body
        elif cut is not None:
            yield from list(self.body.children())[:cut]
        else:
            for group in self.groups[: self.freeze]:
                for part in group.parts:
                    yield self.body.get_submodule(part)


class PlainOutputs(nn.Module):
    """A module with its outputs as a plain tensor."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = plain_outputs(self.inner(x))
        return outputs


class _Whole(nn.Module):
    """Body and head where the body cannot be cut; frozen parts stay in evaluation mode."""

    def __init__(self, whole: Pretrained) -> None:
        super().__init__()
        self.body, self.head = whole.body, whole.head
        frozen = {id(part) for part in whole._frozen()}
        self._fixed = [name for name, part in self.named_modules() if id(part) in frozen]

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(plain_outputs(self.body(x)))
        return outputs

    def train(self, mode: bool = True) -> _Whole:
        super().train(mode)
        for name in self._fixed:
            self.get_submodule(name).eval()
        return self


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
        self.head_name = _head_of(network, head, name)
        if weights is not None:
            fill_network(network, load_weights(weights), self.head_name, os.fspath(weights))
        self._head = copy.deepcopy(network.get_submodule(self.head_name))
        self._body = _without(network, self.head_name)
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
        return f"<Backbone {self.name!r}: {', '.join(group.says for group in self.groups)}; head {self.head_name!r}>"

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
            expected = f"its first layer takes {_expected(self._body)}"
            raise ModelError(f"backbone {self.name!r}: {message}, where {expected}: {error}") from error
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


def plain_outputs(outputs: Any) -> Any:
    """What a network put out, as a tensor where it comes as `.logits` of a record."""
    return getattr(outputs, "logits", outputs)


# ----------------------------------------------------------------------------------------------------------------------


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _only_normalises(module: nn.Module) -> bool:
    owners = [part for part in module.modules() if next(part.parameters(recurse=False), None) is not None]
    return all(isinstance(part, _NORMALISATIONS) for part in owners)


def _is_listened_to(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def _place_of(name: str, place: dict[str, int]) -> int:
    """The group that a parameter belongs to."""
    return next((index for part, index in place.items() if name.startswith(f"{part}.")), 0)


def _flat(children: list[tuple[str, nn.Module]], prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of nested plain sequences in one row, whose stacked forward pass is known."""
    for name, child in children:
        if type(child) is nn.Sequential and not _is_listened_to(child):
            yield from _flat(list(child.named_children()), f"{prefix}{name}_")
        else:
            yield f"{prefix}{name}", child


def _head_of(network: nn.Module, head: str | None, name: str) -> str:
    layers = [path for path, part in network.named_modules() if isinstance(part, nn.Linear)]
    if head is None:
        if not layers:
            raise ModelError(f"backbone {name!r}: has no nn.Linear layer; name its last layer with head=")
        return str(layers[-1])
    known = [path for path, _ in network.named_modules() if path]
    if head not in known:
        raise ModelError(f"backbone {name!r}: head={head!r} names no part of it{did_you_mean(head, layers or known)}")
    return head


def _without(network: nn.Module, head: str) -> nn.Module:
    """A copy of a network with its head taken out."""
    if not head:  # the network is one linear layer
        return nn.Identity()
    body = copy.deepcopy(network)
    owner, _, leaf = head.rpartition(".")
    place = body.get_submodule(owner)
    if type(place) is nn.Sequential and list(place._modules)[-1] == leaf and len(place) > 1:
        del place._modules[leaf]
    else:
        setattr(place, leaf, nn.Identity())
    return _inlined(body)


def _inlined(body: nn.Module) -> nn.Module:
    """A plain sequence in which one plain sequence holds all parameters, as one sequence."""
    while type(body) is nn.Sequential and not _is_listened_to(body):
        holders = [name for name, child in body.named_children() if _has_parameters(child)]
        if len(holders) != 1:
            break
        inner = body.get_submodule(holders[0])
        if type(inner) is not nn.Sequential or _is_listened_to(inner):
            break
        parts: list[tuple[str, nn.Module]] = []
        for name, child in body.named_children():
            own = list(inner.named_children()) if name == holders[0] else []
            parts += [(f"{name}_{leaf}", part) for leaf, part in own] or [(name, child)]
        body = nn.Sequential(OrderedDict(parts))
    return body


def _expected(body: nn.Module) -> str:
    """The input shape that a network's first layer asks for, in words."""
    for part in body.modules():
        if isinstance(part, nn.modules.conv._ConvNd):
            names = ("length",) if isinstance(part, nn.Conv1d) else ("height", "width")
            return f"({', '.join([str(part.in_channels), *names])})"
        if isinstance(part, nn.Linear):
            return f"({part.in_features},)"
    return "another kind"
