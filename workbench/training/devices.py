"""Where trials can train on this machine, and with how many cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["available_devices", "fitting_threads"]

SMALL_WORK = 50e6
"""Floating-point operations of a batch's forward pass below which one core trains faster than several."""


def available_devices() -> list[str]:
    """Where trials can train on this machine: the CPU first."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]


@contextmanager
def fitting_threads(device: torch.device, work: float, threads: int | None = None) -> Iterator[None]:
    """One core for small models, for as long as they train; every other thread keeps its setting.

    Torch's workers belong to the thread that calls it. Those of a second thread find no free core, and waking them at each
    operation costs several times the step of a small model (docs/performance.md).
    threads: what larger models get, by default what this thread has. A new thread begins with what any thread set last.
    """
    before = torch.get_num_threads()
    small = device.type == "cpu" and work < SMALL_WORK
    wanted = 1 if small else threads or before
    if wanted != before:
        torch.set_num_threads(wanted)
    try:
        yield
    finally:
        if wanted != before:
            torch.set_num_threads(before)
