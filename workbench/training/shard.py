"""A part of a cohort's rows, stepped by one core.

A stacked step of small models is memory traffic and many short operations, which torch's own threads share badly. The trials
are independent, so a cohort is divided into shards, one a core, that step in parallel and wait for each other at its end only.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from workbench.models import SeededRandomness
from workbench.models.stacking import Forward
from workbench.tasks.rows import Batch, expanded
from workbench.training.losses import LossFunction
from workbench.training.optimizer_step import RowState, Stepper
from workbench.training.optimizers import Rule

__all__ = ["Shard", "shard_count", "side_by_side"]

ROWS_EACH = 12
"""A shard of fewer rows costs more in Python than a core saves."""
SHARD_BYTES = 16 * 2**20
"""Weights of a shard at most: autograd's gradients are as large again, for the shards that are being worked on only."""
MOST_SHARDS = 4
"""More threads than this would wait for Python's global lock."""

R = TypeVar("R")


class Shard:
    """Rows first, ..., last - 1 of a cohort: views of its buffers, their gradients and optimizers.

    weights, gradients: views (rows, *shape) by name of these rows' part of theta and grad. penalised: names of the weights
    that L1 and L2 act on. forward: the stacked forward pass, None for a cohort of one, which is stepped by its module.
    means: the loss of each row.
    """

    def __init__(
        self,
        first: int,
        last: int,
        theta: Tensor,
        grad: Tensor,
        weights: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        penalised: Sequence[str],
        forward: Forward | None,
        means: LossFunction,
        randomness: AbstractContextManager[object],
    ) -> None:
        self.first, self.last = first, last
        self._theta, self._grad = theta, grad
        self._shapes = [view.shape[1:] for view in gradients.values()]
        self._gradients = list(gradients.values())
        self._pieces = [(weights[name], gradients[name]) for name in penalised]
        self.parameters = {name: view.detach().requires_grad_() for name, view in weights.items()} if forward else {}
        self._buffers, self._forward, self._means, self._randomness = buffers, forward, means, randomness
        self._stepper: Stepper | None = None

    def bind(
        self,
        rules: Sequence[Rule],
        steps: Sequence[int],
        states: Sequence[RowState | None],
        scales: Tensor | None = None,
    ) -> None:
        """Give the rows their optimizers. scales: see `Stepper`."""
        self._stepper = Stepper(self._theta, self._grad, rules, steps, states, scales, shapes=self._shapes)

    def states(self) -> list[RowState | None]:
        """The optimizer state of each row."""
        assert self._stepper is not None
        return self._stepper.states()

    def regularise(self, l1: Sequence[float], l2: Sequence[float], clips: Sequence[float]) -> None:
        """λ1, λ2 and the longest gradient (inf: any) of each row."""
        self._l1 = self._theta.new_tensor(l1) if any(l1) else None
        self._2l2 = self._theta.new_tensor([2 * strength for strength in l2]) if any(l2) else None
        self._clip = self._theta.new_tensor(clips) if min(clips) < math.inf else None

    def backward(self, x: Batch, y: Tensor, means: LossFunction | None = None) -> tuple[Tensor, Tensor]:
        """Forward and backward of all rows at once, the gradients copied into their buffer.

        means: the loss of each row, if it is not the one that all batches have.

        Copied and not accumulated: autograd wants the layout of a gradient to be that of a contiguous parameter.
        """
        assert self._forward is not None
        with self._randomness:
            outputs = self._forward(self.parameters, self._buffers, x)
        losses = self._means(outputs, y) if means is None else means(outputs, y)
        found = torch.autograd.grad(losses.sum(), list(self.parameters.values()), materialize_grads=True)
        torch._foreach_copy_(self._gradients, list(found))
        return losses.detach(), outputs.detach()

    def try_out(self, forward: Forward, x: Batch, y: Tensor) -> None:
        """A forward pass, by `forward`, and a backward pass that leave buffers and draws as they were.

        Raises: whatever the module raises.
        """
        kept = {name: values.clone() for name, values in self._buffers.items()}
        own = self._forward, self._randomness
        self._forward, self._randomness = forward, SeededRandomness(torch.Generator(y.device).manual_seed(0))
        try:
            self.backward(x, y)
        finally:
            self._forward, self._randomness = own
            for name, values in self._buffers.items():
                values.copy_(kept[name])

    def descend(self, rates: Sequence[float], again: Callable[[], Tensor] | None = None) -> Tensor:
        """Penalties, clipping and one optimizer step on the gradients at hand. Returns the norms before clipping (rows,).

        again: for an optimizer that needs a closure; evaluates the mean loss (1,) of the only row and its gradient again.
        """
        norms = self._penalise()

        def closure() -> float:
            assert again is not None
            loss = again()
            self._penalise()
            return float(loss + self.penalties())

        assert self._stepper is not None
        self._stepper.step(rates, closure)
        return norms

    def _penalise(self) -> Tensor:
        """Add the penalties' gradients and clip. Returns the norms before clipping (rows,)."""
        for weight, gradient in self._pieces:
            shape = (-1, *[1] * (weight.dim() - 1))
            if self._2l2 is not None:
                gradient.addcmul_(weight, self._2l2.view(shape))
            if self._l1 is not None:
                gradient.addcmul_(weight.sign(), self._l1.view(shape))
        norms: Tensor = torch.linalg.vector_norm(self._grad, dim=1)
        if self._clip is not None:
            self._grad.mul_((self._clip / (norms + 1e-6)).clamp(max=1.0)[:, None])
        return norms

    def evaluate(self, x: Batch) -> Tensor:
        """Outputs (rows, data rows, outputs) for shared data; the module is in evaluation mode."""
        assert self._forward is not None
        with torch.no_grad():
            return self._forward(self.parameters, self._buffers, expanded(x, self.last - self.first))

    def evaluate_own(self, x: Batch) -> Tensor:
        """As `evaluate`, for data (rows, data rows, ...) of each row's own."""
        assert self._forward is not None
        with torch.no_grad():
            return self._forward(self.parameters, self._buffers, x)

    def penalties(self) -> Tensor:
        """λ1 Σ|w| + λ2 Σw² of each row, at the present weights."""
        total = torch.zeros(self.last - self.first, device=self._theta.device, dtype=self._theta.dtype)
        for weight, _ in self._pieces:
            flat = weight.flatten(1)
            if self._l1 is not None:
                total += flat.abs().sum(1) * self._l1
            if self._2l2 is not None:
                total += flat.square().sum(1) * self._2l2 / 2
        return total


def shard_count(rows: int, row_bytes: int, cores: int) -> int:
    """Into how many shards to cut so many rows: one a core if that pays, more if their gradients would fill the memory."""
    busy = min(cores, MOST_SHARDS, rows // ROWS_EACH)
    return max(1, busy, min(rows, -(-rows * row_bytes // SHARD_BYTES)))


def side_by_side(shards: Sequence[Shard], work: Callable[[Shard], R], cores: int) -> list[R]:
    """`work` on each shard, by this thread and others, each taking the next shard when it is done. Errors are raised here."""
    if len(shards) == 1:
        return [work(shards[0])]
    found: dict[int, R] = {}
    waiting = iter(range(len(shards)))  # next() on it is one step of the interpreter, which no other thread can split

    def take() -> None:
        for index in waiting:
            found[index] = work(shards[index])

    others: list[Future[None]] = []
    with suppress(RuntimeError):  # the interpreter ends and gives no more threads: this one takes them all
        for _ in range(min(cores, MOST_SHARDS, len(shards)) - 1):
            others.append(_team().submit(take))
    try:
        take()
    finally:
        # no thread may still write into the cohort's buffers when an error leaves this function
        ended = [future.exception() for future in others]
    for error in ended:
        if error is not None:
            raise error
    return [found[index] for index in range(len(shards))]


@cache
def _team() -> ThreadPoolExecutor:
    """Threads that each use one core; torch's setting belongs to the thread."""
    return ThreadPoolExecutor(
        max(1, min(MOST_SHARDS, os.cpu_count() or 1) - 1),
        thread_name_prefix="workbench-shard",
        initializer=torch.set_num_threads,
        initargs=(1,),
    )
