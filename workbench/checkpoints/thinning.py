"""Which checkpoints go when they take more than the budget."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Set

__all__ = ["to_drop"]

Sizes = Mapping[int, Mapping[int, int]]
"""Bytes by series and epoch."""


def to_drop(
    sizes: Sizes, kept: Mapping[int, Set[int]], open_series: Set[int], budget: int
) -> Iterator[tuple[int, int]]:
    """Series and epoch of one checkpoint after the other to drop, until the rest fits into `budget` bytes or must stay.

    kept: epochs that must stay, by series: those that a branch began from and those of the leaderboard's top. First go
    epochs between a series' first, last and best one, always where the gap that they leave is the smallest, so that what
    stays lies evenly. If that is not enough, the oldest series go as a whole, all but the last of one that still trains
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
    """All checkpoints between first and last that need not stay, always the one next whose neighbours lie closest.

    Closest as a share of the series' length; of two, the one of the older series, the earlier epoch.
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
            continue  # a neighbour has gone since: it stands in the heap again with its wider gap
        del neighbours[series, epoch]
        if (series, before) in neighbours:
            push(series, before, neighbours[series, before][0], after)
        if (series, after) in neighbours:
            push(series, after, before, neighbours[series, after][1])
        yield series, epoch
