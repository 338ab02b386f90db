"""Pretrained networks with a new head: which layers are frozen, which train, and at which share of the learning rate."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from workbench.models.layer_groups import flat, is_listened_to, layer_groups, place_of

if TYPE_CHECKING:
    from workbench.models.backbone import Backbone

__all__ = ["Affine", "PlainOutputs", "Pretrained", "plain_outputs"]


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
    (batch normalisation keeps its statistics, dropout is off), until `unfreeze`. adapter: what inputs go through first; it never
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
        self.unfrozen = freeze == 0
        place = {part: index for index, group in enumerate(self.groups) for part in group.parts}
        # what belongs to the body itself, such as a class token, counts to the group nearest the input
        self._group_of = {name: place_of(name, place) for name, _ in body.named_parameters()}
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

    def unfreeze(self) -> None:
        """Let everything train from here on."""
        self.unfrozen = True
        for parameter in self.body.parameters():
            parameter.requires_grad_()
        self.train(self.training)

    @property
    def sizes(self) -> tuple[int, int]:
        """The number of parameters that train before and after `unfreeze`."""
        own = [(self._group_of[name], p.numel()) for name, p in self.body.named_parameters()]
        head = sum(parameter.numel() for parameter in self.head.parameters())
        return head + sum(size for group, size in own if group >= self.freeze), head + sum(size for _, size in own)

    @property
    def stem(self) -> nn.Module | None:
        """What turns inputs into those of `trained`, in evaluation mode; None: nothing does."""
        # a body that was fine-tuned itself has an adapter of its own, which must not take the place of this one
        parts = [(_free("adapter", self.body), self.adapter)] if self.adapter is not None else []
        cut = self._cut()
        if cut is None:
            return nn.Sequential(OrderedDict(parts)).eval() if parts else None
        if self._is_chain:
            parts += list(self.body.named_children())[:cut]
        else:
            parts += [("whole_body", PlainOutputs(self.body))]
        return nn.Sequential(OrderedDict(parts)).eval() if parts else None

    @property
    def trained(self) -> nn.Module:
        """What trains, a module that shares the parameters of this one."""
        cut = self._cut()
        if cut is None:
            return _Whole(self)
        rest = list(flat(list(self.body.named_children())[cut:])) if self._is_chain else []
        return nn.Sequential(OrderedDict([*rest, (_free("head", self.body), self.head)]))

    @property
    def rests_on_backbone(self) -> bool:
        """Whether some of the body is no part of `trained`, which then has to come from the backbone on loading."""
        return not self.unfrozen and self._cut() is not None

    def depths(self) -> list[tuple[int, float]]:
        """Size and depth of each parameter that `trained` trains, in its order: 0 in the head, 1 in the group nearest the input.

        The learning rate of a group is that of the head times a factor to the power of its depth.
        """
        groups = len(self.groups)
        own = [(p, self._group_of[name]) for name, p in self.body.named_parameters() if p.requires_grad]
        found = [(p.numel(), (groups - group) / groups) for p, group in own]
        return [*found, *((p.numel(), 0.0) for p in self.head.parameters())]

    def normalises(self, *, unfrozen: bool) -> bool:
        """Whether a batch normalisation trains, now or, if it will be unfrozen, later."""
        place = self.modules() if unfrozen else self.trained.modules()
        return any(isinstance(m, nn.modules.batchnorm._BatchNorm) and (unfrozen or m.training) for m in place)

    @property
    def _is_chain(self) -> bool:
        return type(self.body) is nn.Sequential and not is_listened_to(self.body)

    def _cut(self) -> int | None:
        """How many of the body's children are cut off, None if it has to stay whole."""
        frozen = 0 if self.unfrozen else self.freeze
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
        if self.unfrozen:
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


def _free(name: str, body: nn.Module) -> str:
    """A name that no child of the body has."""
    taken = {own for own, _ in body.named_children()}
    while name in taken:
        name += "_"
    return name


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


def plain_outputs(outputs: Any) -> Any:
    """What a network put out, as a tensor where it comes as `.logits` of a record."""
    return getattr(outputs, "logits", outputs)
