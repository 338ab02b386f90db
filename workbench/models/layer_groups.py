"""How a network is cut: its head off its body, and the body into groups of layers from the input on."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from workbench.core.errors import ModelError, did_you_mean

__all__ = [
    "NORMALISATIONS",
    "Group",
    "expected",
    "flat",
    "head_of",
    "is_listened_to",
    "layer_groups",
    "place_of",
    "without",
]

NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)


@dataclass(frozen=True)
class Group:
    """Layers that are frozen together and share a learning rate. name: of the first of them. parts: names in the body."""

    name: str
    parts: tuple[str, ...]
    description: str


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
            groups[-1] = Group(last.name, (*last.parts, prefix + name), last.description)
        else:
            groups.append(Group(prefix + name, (prefix + name,), f"{prefix}{name} ({type(child).__name__})"))
    return groups


def head_of(network: nn.Module, head: str | None, name: str) -> str:
    layers = [path for path, part in network.named_modules() if isinstance(part, nn.Linear)]
    if head is None:
        if not layers:
            raise ModelError(f"backbone {name!r}: has no nn.Linear layer; name its last layer with head=")
        return str(layers[-1])
    known = [path for path, _ in network.named_modules() if path]
    if head not in known:
        raise ModelError(f"backbone {name!r}: head={head!r} names no part of it{did_you_mean(head, layers or known)}")
    return head


def without(network: nn.Module, head: str) -> nn.Module:
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
    while type(body) is nn.Sequential and not is_listened_to(body):
        holders = [name for name, child in body.named_children() if _has_parameters(child)]
        if len(holders) != 1:
            break
        inner = body.get_submodule(holders[0])
        if type(inner) is not nn.Sequential or is_listened_to(inner):
            break
        parts: list[tuple[str, nn.Module]] = []
        for name, child in body.named_children():
            own = list(inner.named_children()) if name == holders[0] else []
            parts += [(f"{name}_{leaf}", part) for leaf, part in own] or [(name, child)]
        body = nn.Sequential(OrderedDict(parts))
    return body


def flat(children: list[tuple[str, nn.Module]], prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of nested plain sequences in one row, whose stacked forward pass is known."""
    for name, child in children:
        if type(child) is nn.Sequential and not is_listened_to(child):
            yield from flat(list(child.named_children()), f"{prefix}{name}_")
        else:
            yield f"{prefix}{name}", child


def place_of(name: str, place: dict[str, int]) -> int:
    """The group that a parameter belongs to."""
    return next((index for part, index in place.items() if name.startswith(f"{part}.")), 0)


def expected(body: nn.Module) -> str:
    """The input shape that a network's first layer asks for, in words."""
    for part in body.modules():
        if isinstance(part, nn.modules.conv._ConvNd):
            names = ("length",) if isinstance(part, nn.Conv1d) else ("height", "width")
            return f"({', '.join([str(part.in_channels), *names])})"
        if isinstance(part, nn.Linear):
            return f"({part.in_features},)"
    return "another kind"


def is_listened_to(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _only_normalises(module: nn.Module) -> bool:
    owners = [part for part in module.modules() if next(part.parameters(recurse=False), None) is not None]
    return all(isinstance(part, NORMALISATIONS) for part in owners)
