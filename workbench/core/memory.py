"""Memory: how much of it is free for this process, and whether an error says that it ran out."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

__all__ = ["free_memory", "out_of_memory"]

CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes that this process may still take: what the machine has, within the limits of its container and of the process."""
    free = [int(psutil.virtual_memory().available)]
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            free.append(limit - int(psutil.Process().memory_info().vms))
    except (ImportError, OSError):  # not on Windows
        pass
    free += _container()
    return max(0, min(free))


def _container() -> list[int]:
    """What the control group of a container leaves, if it has a limit (version 2 of Linux's control groups)."""
    try:
        limit, used = ((CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        statistics = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        # cached files are given up when memory is asked for
        return [] if limit == "max" else [int(limit) - int(used) + int(statistics.get("inactive_file", 0))]
    except (OSError, ValueError):
        return []


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, in the words of Python, NumPy, torch's CPU allocator or CUDA."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
    return isinstance(error, (RuntimeError, OSError)) and any(word in str(error).lower() for word in words)
