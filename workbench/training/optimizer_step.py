"""The optimizer steps of a cohort: rows with the same optimizer, options and number of steps share one call.

A parameter group of torch has one learning rate, a cohort has one a row. The steps of SGD, Adam and similar optimizers are
the rate times something that depends on neither the rate nor the weights. So the optimizer runs at rate 1 on a scratch
buffer of zeros; the result is the step of each row, which is applied times the row's own rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from workbench.training.optimizers import Rule, takes_fused

__all__ = ["RowState", "Stepper", "copied", "step_key"]

CHUNK_BYTES = 4 * 2**20
"""Rows that share a call are taken in chunks of about this size: the scratch stays small, and in the cache."""

RowState = dict[str, Any]
"""One row's part of an optimizer's state."""


def copied(state: RowState | None) -> RowState | None:
    """A copy that later steps do not change."""
    return state and {name: v.clone() if isinstance(v, Tensor) else deepcopy(v) for name, v in state.items()}


def step_key(rule: Rule, step: int) -> tuple[Any, ...]:
    """Rows with the same key can share a call: same class and options, same number of steps taken."""
    return (rule.optimizer, rule.proportional, tuple(sorted(rule.options.items())), step)


@dataclass
class _Block:
    """Neighbouring rows first, ..., last - 1 with one optimizer. scratch: where it works, None for the weights themselves."""

    first: int
    last: int
    optimizer: torch.optim.Optimizer
    parameter: nn.Parameter
    theta: Tensor
    scratch: Tensor | None


class Stepper:
    """Optimizers over the rows of theta and grad, both (rows, parameters).

    rules: each row's rule. steps: optimizer steps each row has taken. states: each row's optimizer state, None for
    a row that has not begun. scales: the share (rows, parameters) of the learning rate that each parameter has; None: all of
    it. Exact for rules whose step is proportional to the rate; for any other rule, the step is scaled.
    """

    def __init__(
        self,
        theta: Tensor,
        grad: Tensor,
        rules: Sequence[Rule],
        steps: Sequence[int],
        states: Sequence[RowState | None],
        scales: Tensor | None = None,
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
                self._blocks.append(_block(theta, grad, first, last, rules[first], shared))
                _put_state(self._blocks[-1], states[first:last])

    def step(self, rates: Sequence[float]) -> None:
        """One step of every row at its learning rate."""
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
                block.optimizer.step()
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


def _block(theta: Tensor, grad: Tensor, first: int, last: int, rule: Rule, scratch: Tensor | None) -> _Block:
    rows = theta[first:last]
    # a lone row is a flat vector, which is what a user's own optimizer may count on
    target = rows[0] if scratch is None else scratch
    parameter = nn.Parameter(target)
    parameter.grad = grad[first] if scratch is None else grad[first:last]
    fused = {"fused": True} if takes_fused(rule.optimizer, theta.device) else {}
    optimizer = rule.optimizer([parameter], lr=1.0, **rule.options, **fused)
    return _Block(first, last, optimizer, parameter, rows, scratch)


def _take_state(block: _Block) -> list[RowState | None]:
    state: Mapping[str, Any] = block.optimizer.state.get(block.parameter, {})
    count = block.last - block.first
    if not state:
        return [None] * count
    if block.scratch is None:
        return [dict(state)]
    shape = block.parameter.shape
    return [
        {
            name: value[row] if isinstance(value, Tensor) and value.shape == shape else value
            for name, value in state.items()
        }
        for row in range(count)
    ]


def _put_state(block: _Block, states: Sequence[RowState | None]) -> None:
    first = states[0]
    if first is None:
        return
    if block.scratch is None:
        # what was cut out of a stack keeps the stack alive; a row of its own takes a copy
        block.optimizer.state[block.parameter] = {
            name: value.clone() if isinstance(value, Tensor) else value for name, value in first.items()
        }
        return
    rows = [state for state in states if state is not None]
    assert len(rows) == len(states), "rows that began together have a state each"
    shape = block.parameter.shape[1:]
    block.optimizer.state[block.parameter] = {
        name: torch.stack([row[name] for row in rows])
        if isinstance(value, Tensor) and value.shape == shape
        else value.clone()
        if isinstance(value, Tensor)
        else value
        for name, value in first.items()
    }
