"""A plain training loop written out by hand in float64: nothing of the engine is used.

Updates, penalties, schedules and losses are the textbook's formulas, one parameter tensor at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def build(seed: int, inputs: int, outputs: int, *, batch_norm: bool = False) -> nn.Module:
    """Two hidden layers of 8, as `torch.manual_seed(seed)` followed by plain construction makes them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Flatten()]
        width = inputs
        for _ in range(2):
            layers.append(nn.Linear(width, 8, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm1d(8))
            layers.append(nn.ReLU())
            width = 8
        layers.append(nn.Linear(width, outputs))
        return nn.Sequential(*layers).double()


def rate_at(c: Any, step: int, per_epoch: int, drops: int) -> float:
    """The learning rate of step `step` (from 0)."""
    warm = c.warmup * per_epoch
    if step < warm:
        return c.learning_rate * (step + 1) / warm
    step, total = step - warm, c.epochs * per_epoch - warm
    rate, low = c.learning_rate, c.min_learning_rate
    if c.schedule == "step":
        return rate * c.gamma ** math.floor(step / (c.step_size * per_epoch))
    if c.schedule == "exponential":
        return rate * c.decay ** (step / per_epoch)
    if c.schedule == "cosine":
        return low + 0.5 * (rate - low) * (1 + math.cos(math.pi * step / total))
    if c.schedule == "cosine_restarts":
        time, length = step / per_epoch, c.restart_epochs
        while time >= length:
            time, length = time - length, length * c.restart_factor
        return low + 0.5 * (rate - low) * (1 + math.cos(math.pi * time / length))
    if c.schedule == "one_cycle":
        up = 0.3 * total - 1
        first, last = rate / 25, rate / 25 / 1e4
        if step <= up:
            return rate + (first - rate) * (1 + math.cos(math.pi * step / up)) / 2
        return last + (rate - last) * (1 + math.cos(math.pi * (step - up) / (total - 1 - up))) / 2
    if c.schedule == "plateau":
        return max(rate * c.gamma**drops, low)
    return rate


def update(c: Any, weight: Tensor, grad: Tensor, state: dict[str, Any], rate: float) -> None:
    """One step of one parameter tensor."""
    state["t"] = t = state.get("t", 0) + 1
    zero = torch.zeros_like(weight)
    if c.optimizer == "sgd":
        weight -= rate * grad
    elif c.optimizer in ("momentum", "nesterov"):
        velocity = state["v"] = c.momentum * state.get("v", zero) + grad if t > 1 else grad.clone()
        weight -= rate * (velocity if c.optimizer == "momentum" else grad + c.momentum * velocity)
    elif c.optimizer in ("adam", "adamw"):
        if c.optimizer == "adamw":
            weight *= 1 - rate * c.weight_decay
        m = state["m"] = c.beta1 * state.get("m", zero) + (1 - c.beta1) * grad
        v = state["v"] = c.beta2 * state.get("v", zero) + (1 - c.beta2) * grad**2
        weight -= rate * (m / (1 - c.beta1**t)) / ((v / (1 - c.beta2**t)).sqrt() + 1e-8)
    elif c.optimizer == "rmsprop":
        v = state["v"] = c.alpha * state.get("v", zero) + (1 - c.alpha) * grad**2
        weight -= rate * grad / (v.sqrt() + 1e-8)
    elif c.optimizer == "adagrad":
        v = state["v"] = state.get("v", zero) + grad**2
        weight -= rate * grad / (v.sqrt() + 1e-10)
    else:
        raise AssertionError(c.optimizer)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    scores = outputs - outputs.max(1, keepdim=True).values
    return (scores.exp().sum(1).log() - scores[torch.arange(len(targets)), targets]).mean()


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets) ** 2).mean()


def absolute(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).abs().mean()


def huber(delta: float) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        error = (outputs - targets).abs()
        return torch.where(error <= delta, 0.5 * error**2, delta * (error - 0.5 * delta)).mean()

    return loss


def train(
    c: Any,
    task: Any,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    change: tuple[int, dict[str, float]] | None = None,
) -> list[dict[str, float]]:
    """One row an epoch. change: (step, values): a live change in force from the step after `step` on."""
    x, y, x_val, y_val = task.train.x.double(), task.train.y, task.validation.x.double(), task.validation.y
    if y.is_floating_point():
        y, y_val = y.double(), y_val.double()
    model = build(c.seed, x[0].numel(), task.output_size, batch_norm=c.batch_norm)
    order = torch.Generator().manual_seed(c.seed + 2**32)
    per_epoch = math.ceil(len(x) / c.batch_size)
    states: dict[Tensor, dict[str, Any]] = {p: {} for p in model.parameters()}
    step = drops = waited = 0
    best = math.inf
    rows = []
    for _ in range(c.epochs):
        permutation = torch.randperm(len(x), generator=order)
        total, norms = 0.0, []
        model.train()
        for start in range(0, len(x), c.batch_size):
            if change is not None and step == change[0]:
                c = c.replace(**change[1])
            rows_now = permutation[start : start + c.batch_size]
            data = loss(model(x[rows_now]), y[rows_now])
            penalty = sum(c.l1 * p.abs().sum() + c.l2 * (p**2).sum() for p in model.parameters() if p.dim() == 2)
            grads = torch.autograd.grad(data + penalty, list(model.parameters()))
            norm = math.sqrt(sum(float((g**2).sum()) for g in grads))
            norms.append(norm)
            scale = 1.0 if c.gradient_clip is None else min(1.0, c.gradient_clip / (norm + 1e-6))
            rate = rate_at(c, step, per_epoch, drops)
            with torch.no_grad():
                for p, g in zip(model.parameters(), grads, strict=True):
                    update(c, p, g * scale, states[p], rate)
            total += float(data.detach()) * len(rows_now)
            step += 1
        model.eval()
        with torch.no_grad():
            val_loss = float(loss(model(x_val), y_val))
            penalty = sum(float(c.l1 * p.abs().sum() + c.l2 * (p**2).sum()) for p in model.parameters() if p.dim() == 2)
        if val_loss < best:
            best, waited = val_loss, 0
        else:
            waited += 1
            if waited > c.plateau_patience:
                drops, waited = drops + 1, 0
        rows.append(
            {
                "train_loss": total / len(x),
                "penalty": penalty,
                "val_loss": val_loss,
                "learning_rate": rate,
                "grad_norm": sum(norms) / len(norms),
            }
        )
    return rows
