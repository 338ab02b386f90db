"""How the benchmarks compare: candidates take turns on the same work in one process, and ratios of medians are told.

On a shared machine seconds say little; alternating rounds let a slow minute hit every candidate alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["compare", "table"]


def compare(
    candidates: Mapping[str, Callable[[], object]], *, rounds: int, baseline: str, warm_up: bool = True
) -> list[dict[str, Any]]:
    """Seconds of each candidate (median of `rounds` alternating calls) and its ratio to `baseline`.

    The ratio is the median over rounds of the ratios within a round.
    """
    if warm_up:
        for run in candidates.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds):
        names = list(candidates)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            candidates[name]()
            seconds[name].append(time.perf_counter() - start)
    return [
        {
            "name": name,
            "seconds": statistics.median(found),
            "ratio": statistics.median(own / base for own, base in zip(found, seconds[baseline], strict=True)),
        }
        for name, found in seconds.items()
    ]


def table(title: str, rows: list[dict[str, Any]], baseline: str) -> None:
    """Print the rows of `compare`."""
    width = max(len(row["name"]) for row in rows)
    print(f"\n{title}\n{'':{width}}  {'seconds':>9}  x {baseline}")
    for row in rows:
        print(f"{row['name']:{width}}  {row['seconds']:9.4f}  {row['ratio']:6.2f}")
