"""The optimizer steps of a cohort: rows with the same optimizer, options and number of steps share one call.

A parameter group of torch has one learning rate, a cohort has one a row. The steps of SGD, Adam and similar optimizers are
the rate times something that depends on neither the rate nor the weights. So the optimizer runs at rate 1 on a scratch
buffer of zeros; the result is the step of each row, which is applied times the row's own rate.

A row of any other optimizer has a call of its own: on its flat vector of parameters, or, for one that looks at whole tensors
(`Rule.by_tensor`), on a parameter for each of them, which are views of that vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from workbench.training.optimizers import Rule, takes_fused

__all__ = ["Closure", "RowState", "Stepper", "copied", "step_key"]

GROUP = "group"
CHUNK_BYTES = 4 * 2**20
"""Rows that share a call are taken in chunks of about this size: the scratch stays small, and in the cache."""

RowState = dict[str, Any]
"""One row's part of an optimizer's state: by name, of an optimizer by tensors by place and name, such as "0.exp_avg"; what the
optimizer keeps in its group is under "group"."""
Closure = Callable[[], float]
"""Evaluates the loss of a row that trains alone, and its gradient, again at the present weights."""


def copied(state: RowState | None) -> RowState | None:
    """A copy that later steps do not change."""
    return state and {name: v.clone() if isinstance(v, Tensor) else deepcopy(v) for name, v in state.items()}


def step_key(rule: Rule, step: int) -> tuple[Any, ...]:
    """Rows with the same key can share a call: same class and options, same number of steps taken."""
    return (rule.optimizer, rule.proportional, rule.by_tensor, tuple(sorted(rule.options.items())), step)


@dataclass
class _Block:
    """Neighbouring rows first, ..., last - 1 with one optimizer. scratch: where it works, None for the weights themselves.

    parameters: what it steps; gradients: of each, views. made_with: its group's values before its first step.
    """

    first: int
    last: int
    optimizer: torch.optim.Optimizer
    parameters: list[nn.Parameter]
    gradients: list[Tensor]
    theta: Tensor
    scratch: Tensor | None
    closure: bool
    made_with: dict[str, Any]

    def step(self, closure: Closure | None) -> None:
        """One step. closure: for an optimizer that evaluates the loss by itself."""
        if not self.closure:
            self.optimizer.step()
            return
        assert closure is not None, "such a row trains alone"

        def evaluate() -> float:
            loss = closure()
            for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
                parameter.grad = gradient  # its `zero_grad` may have let go of it
            return loss

        self.optimizer.step(evaluate)


class Stepper:
    """Optimizers over the rows of theta and grad, both (rows, parameters).

    rules: each row's rule. steps: optimizer steps each row has taken. states: each row's optimizer state, None for
    a row that has not begun. scales: the share (rows, parameters) of the learning rate that each parameter has; None: all of
    it. Exact for rules whose step is proportional to the rate; for any other rule, the step is scaled.
    shapes: of a row's parameters, in order.
    """

    def __init__(
        self,
        theta: Tensor,
        grad: Tensor,
        rules: Sequence[Rule],
        steps: Sequence[int],
        states: Sequence[RowState | None],
        scales: Tensor | None = None,
        *,
        shapes: Sequence[torch.Size],
    ) -> None:
        self._blocks: list[_Block] = []
        self._theta, self._scales = theta, scales
        decay = [rule.decay for rule in rules]
        self._decay = theta.new_tensor(decay)[:, None] if any(decay) else None
        row_bytes = max(1, theta[0].numel() * theta.element_size())
        # rows with and without a state cannot share a call (momentum may be 0 for some rows)
        keys = [(*step_key(r, n), s is None) for r, n, s in zip(rules, steps, states, strict=True)]
        scratch: dict[int, Tensor] = {}
        for _, neighbours in groupby(range(len(rules)), keys.__getitem__):
            rows = list(neighbours)
            size = max(2, CHUNK_BYTES // row_bytes) if rules[rows[0]].proportional else 1
            for start in range(0, len(rows), size):
                first, last = rows[start], rows[min(start + size, len(rows)) - 1] + 1
                shared = None
                if last - first > 1 or (scales is not None and rules[first].proportional):
                    shared = scratch.setdefault(last - first, torch.zeros_like(theta[first:last]))
                self._blocks.append(_block(theta, grad, first, last, rules[first], shared, shapes))
                _put_state(self._blocks[-1], states[first:last])

    def step(self, rates: Sequence[float], closure: Closure | None = None) -> None:
        """One step of every row at its learning rate. closure: of the only row, if its rule takes one."""
        column = None
        if self._decay is not None or self._scales is not None or len(self._blocks) < len(rates):
            column = self._theta.new_tensor(rates)[:, None]
        if self._decay is not None and column is not None:
            decay = column * self._decay
            self._theta.mul_(1 - (decay if self._scales is None else decay * self._scales))
        for block in self._blocks:
            scales = None if self._scales is None else self._scales[block.first : block.last]
            if block.scratch is None:
                before = None if scales is None else block.theta.clone()
                block.optimizer.param_groups[0]["lr"] = rates[block.first]
                block.step(closure)
                if before is not None and scales is not None:
                    block.theta.copy_(torch.lerp(before, block.theta, scales))
            else:
                assert column is not None
                block.optimizer.step()
                if scales is not None:
                    block.scratch.mul_(scales)
                block.theta.addcmul_(block.scratch, column[block.first : block.last])
                block.scratch.zero_()

    def states(self) -> list[RowState | None]:
        """The optimizer state of each row, in the order of the rows."""
        return [state for block in self._blocks for state in _take_state(block)]


def _block(
    theta: Tensor, grad: Tensor, first: int, last: int, rule: Rule, scratch: Tensor | None, shapes: Sequence[torch.Size]
) -> _Block:
    rows = theta[first:last]
    # a lone row is a flat vector, which is what a user's own optimizer may count on
    targets, gradients = (
        [rows[0] if scratch is None else scratch],
        [grad[first] if scratch is None else grad[first:last]],
    )
    if rule.by_tensor:
        targets, gradients = _pieces(rows[0], shapes), _pieces(grad[first], shapes)
    parameters = [nn.Parameter(target) for target in targets]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    fused = {"fused": True} if takes_fused(rule, theta.device) else {}
    optimizer = rule.optimizer(parameters, lr=1.0, **rule.options, **fused)
    made_with = {key: copy(value) for key, value in optimizer.param_groups[0].items() if key != "params"}
    return _Block(first, last, optimizer, parameters, gradients, rows, scratch, rule.closure, made_with)


def _pieces(vector: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """The parameters of a row as views of its vector."""
    parts = torch.split(vector, [shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def _take_state(block: _Block) -> list[RowState | None]:
    if block.scratch is None:
        found: RowState = {}
        for place, parameter in enumerate(block.parameters):
            own = block.optimizer.state.get(parameter, {})
            found |= {f"{place}.{name}" if len(block.parameters) > 1 else name: value for name, value in own.items()}
        group = {key: value for key, value in _group(block).items() if _other(value, block.made_with.get(key))}
        return [({**found, GROUP: group} if group else found) or None]
    (parameter,) = block.parameters
    state: Mapping[str, Any] = block.optimizer.state.get(parameter, {})
    count = block.last - block.first
    if not state:
        return [None] * count
    shape = parameter.shape
    return [
        {
            name: value[row] if isinstance(value, Tensor) and value.shape == shape else value
            for name, value in state.items()
        }
        for row in range(count)
    ]


def _group(block: _Block) -> dict[str, Any]:
    """What an optimizer keeps in its parameter group, such as its number of steps, besides parameters and learning rate."""
    return {key: value for key, value in block.optimizer.param_groups[0].items() if key not in ("params", "lr")}


def _other(one: Any, other: Any) -> bool:
    """Whether a value of a group differs from what it was."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return not torch.equal(one, other)
    return type(one) is not type(other) or bool(one != other)


def _put_state(block: _Block, states: Sequence[RowState | None]) -> None:
    first = states[0]
    if first is None:
        return
    if block.scratch is None:
        # what was cut out of a stack keeps the stack alive; a row of its own takes a copy
        mine = copied(first) or {}
        block.optimizer.param_groups[0].update(mine.pop(GROUP, {}))
        for key, value in mine.items():
            place, _, name = key.partition(".") if len(block.parameters) > 1 else ("0", "", key)
            block.optimizer.state.setdefault(block.parameters[int(place)], {})[name] = value
        return
    (parameter,) = block.parameters
    rows = [state for state in states if state is not None]
    assert len(rows) == len(states), "rows that began together have a state each"
    shape = parameter.shape[1:]
    block.optimizer.state[parameter] = {
        name: torch.stack([row[name] for row in rows])
        if isinstance(value, Tensor) and value.shape == shape
        else value.clone()
        if isinstance(value, Tensor)
        else value
        for name, value in first.items()
    }
