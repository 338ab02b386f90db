"""The cost of training: how many similar trials to train together, and the work of a cohort's step."""

from __future__ import annotations

import math
import time

import torch

from workbench.core.config import Config
from workbench.models import build_model, probe
from workbench.training.cohort import Cohort
from workbench.training.endings import out_of_memory
from workbench.training.fold_cohort import cohort_class
from workbench.training.row import TaskData
from workbench.training.stages import free_bytes, trained_part

__all__ = ["capacity", "kept_bytes", "row_bytes", "work_of"]

MEMORY_SHARE = 0.5
"""Of the memory that is free, what a cohort may take; the rest is for the user, the page and what is not foreseen."""
LARGEST = 256
SIZES = (16, 32, 64, 128, 256)
STEPS = 2
WORTH = 0.95
"""A larger cohort must need less than this part of the time a trial and step, else the smaller one is taken."""
MEASURE_SECONDS = 0.5
COPIES = 8
"""Vectors of a trial's parameters that training keeps at its peak: weights, gradients and autograd's, two of the optimizer's,
the best weights, and those of rows that join or leave."""


def row_bytes(task: TaskData, config: Config, device: torch.device) -> int:
    """Memory that one more trial takes: its parameters and what goes with them, and one batch with its activations."""
    cohort = cohort_class(task)(task, {0: config}, device)
    parameters = cohort.theta.numel() * cohort.theta.element_size()
    return COPIES * parameters + 2 * kept_bytes(cohort)


def kept_bytes(cohort: Cohort) -> int:
    """Bytes that autograd keeps of one batch for the way back, weights left out; takes a step."""
    weights = {cohort.theta.untyped_storage().data_ptr()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = next(iter(cohort.batches()))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        cohort.step(batch.x.clone(), *batch[1:])
    return sum(kept.values())


def capacity(task: TaskData, config: Config, device: torch.device | str, wanted: int = LARGEST) -> int:
    """The size of a cohort of trials like `config`, at most `wanted`: from the memory that is free, and a short measurement.

    A few steps of ever larger cohorts are timed, until a trial's share of a step no longer falls; up to 16 trials are not
    worth that. 1 for a model that cannot be stacked, or when memory runs out. Raises what the model or the data raise.
    """
    device = torch.device(device)
    try:
        _held = cohort_class(task)(
            task, {0: config}, device
        ).inputs  # the features of a frozen stem serve all that follows
        fits = int(MEMORY_SHARE * free_bytes(device) / row_bytes(task, config, device))
        most = max(1, min(wanted, LARGEST, fits))
        if most == 1 or _unstackable(task, config, device):
            return 1
        return most if most <= SIZES[0] else _fastest(task, config, device, most)
    except Exception as error:
        if not out_of_memory(error):
            raise
        return 1


def _fastest(task: TaskData, config: Config, device: torch.device, most: int) -> int:
    best, share, started = 1, float("inf"), time.perf_counter()
    for size in sorted({min(size, most) for size in SIZES}):
        seconds = _seconds_a_row(task, config, device, size)
        if seconds > WORTH * share:
            break
        best, share = size, seconds
        # the next one takes at most twice as long: stop before measuring costs more than it can save
        if time.perf_counter() - started > MEASURE_SECONDS:
            break
    return best


def _seconds_a_row(task: TaskData, config: Config, device: torch.device, size: int) -> float:
    """The fastest of a few steps of a cohort of `size`, divided by its size."""
    cohort = cohort_class(task)(task, dict.fromkeys(range(size), config), device)
    times = []
    for _, batch in zip(range(STEPS + 1), cohort.batches(), strict=False):
        before = time.perf_counter()
        losses, _, _ = cohort.step(*batch)
        losses.tolist()  # waits for a GPU
        times.append(time.perf_counter() - before)
    return min(times) / size


def _unstackable(task: TaskData, config: Config, device: torch.device) -> bool:
    return bool(cohort_class(task)(task, {0: config, 1: config}, device).stacking_error())


def work_of(task: TaskData, cohort: Cohort) -> float:
    """Floating-point operations of a cohort's forward pass over one batch; inf if they cannot be counted."""
    from torch.utils.flop_counter import FlopCounterMode

    if len(cohort.shards) > 1:
        return 0.0  # each of its shards has a core of its own
    model = build_model(task, cohort.rows[0].config)
    rows: list[int] = []
    try:
        with FlopCounterMode(display=False) as counter:
            if cohort.inputs.features is not None:
                _try_out(trained_part(model, cohort.theta.shape[1]), cohort.x[:2].float().cpu(), rows)
            else:
                model.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
                probe(model, task, cohort.rows[0].config)
    except Exception:  # a model that the counter cannot follow trains all the same
        return math.inf
    return float(counter.get_total_flops() / sum(rows) * cohort.batch_size * len(cohort.rows))


@torch.no_grad()
def _try_out(module: torch.nn.Module, x: torch.Tensor, rows: list[int]) -> None:
    rows.append(len(x))
    module.eval()(x)
