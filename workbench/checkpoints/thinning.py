"""Which checkpoints to remove when they take more than the budget."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Set

__all__ = ["to_drop"]

Sizes = Mapping[int, Mapping[int, int]]
"""Bytes by series and epoch."""


def to_drop(
    sizes: Sizes, kept: Mapping[int, Set[int]], open_series: Set[int], budget: int
) -> Iterator[tuple[int, int]]:
    """Yield series and epoch of the checkpoints to remove until the rest fits into `budget` bytes or must stay.

    kept: epochs that must stay, by series: those that a branch began from and those of the leaderboard's top. First come the
    epochs between a series' first and last one, always the one that leaves the smallest gap, so that the rest is spaced
    evenly. If that is not enough, the oldest series are removed, except for the last epoch of one that still trains
    (`open_series`).
    """
    left = {series: dict(epochs) for series, epochs in sizes.items()}
    total = sum(sum(epochs.values()) for epochs in left.values())
    for series, epoch in _inner(left, kept):
        if total <= budget:
            return
        total -= left[series].pop(epoch)
        yield series, epoch
    for series in sorted(left):
        stays = set(kept.get(series, ()))
        if series in open_series and left[series]:
            stays.add(max(left[series]))
        for epoch in sorted(left[series].keys() - stays):
            if total <= budget:
                return
            total -= left[series].pop(epoch)
            yield series, epoch


def _inner(sizes: Sizes, kept: Mapping[int, Set[int]]) -> Iterator[tuple[int, int]]:
    """Yield the checkpoints between first and last that need not stay, next always the one with the closest neighbours.

    Closest as a share of the series' length; of equal ones that of the older series, then the earlier epoch.
    """
    neighbours: dict[tuple[int, int], tuple[int, int]] = {}
    lengths: dict[int, int] = {}
    heap: list[tuple[float, int, int]] = []

    def push(series: int, epoch: int, before: int, after: int) -> None:
        neighbours[series, epoch] = before, after
        if epoch not in kept.get(series, ()):
            heapq.heappush(heap, ((after - before) / lengths[series], series, epoch))

    for series, epochs in sizes.items():
        order = sorted(epochs)
        if order:
            lengths[series] = order[-1] - order[0] + 1
        for before, epoch, after in zip(order, order[1:], order[2:], strict=False):
            push(series, epoch, before, after)
    while heap:
        gap, series, epoch = heapq.heappop(heap)
        if (series, epoch) not in neighbours:
            continue
        before, after = neighbours[series, epoch]
        if gap != (after - before) / lengths[series]:
            continue  # a neighbour was removed: the heap has it again with its wider gap
        del neighbours[series, epoch]
        if (series, before) in neighbours:
            push(series, before, neighbours[series, before][0], after)
        if (series, after) in neighbours:
            push(series, after, before, neighbours[series, after][1])
        yield series, epoch
