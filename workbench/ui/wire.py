"""Points as bytes: what an append of the live curves carries. The front end's side is frontend/src/wire.ts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack", "thinned"]


def pack(runs: Sequence[tuple[int, Any, Any]]) -> bytes:
    """Runs of points (handle, x, y), each with at least one point, as one little-endian buffer.

    Layout: handles uint32 (runs,), counts uint32 (runs,) unless every run has one point, x float32 (points,),
    y float32 (points,). NaN and infinity stay; a finite y beyond float32 becomes its largest number, not infinity,
    because a view shows the first as an outlier and the second as a gap.
    """
    handles = np.array([handle for handle, _, _ in runs], "<u4")
    counts = np.array([len(x) for _, x, _ in runs], "<u4")
    x = np.concatenate([x for _, x, _ in runs])
    y = np.concatenate([y for _, _, y in runs])
    with np.errstate(over="ignore"):
        short = y.astype("<f4")
    beyond = np.isinf(short) & np.isfinite(y)
    short[beyond] = np.copysign(np.finfo(np.float32).max, y[beyond])
    middle = b"" if len(x) == len(handles) else counts.tobytes()
    return handles.tobytes() + middle + x.astype("<f4").tobytes() + short.tobytes()


def thinned(
    x: NDArray[np.float64], y: NDArray[np.float64], limit: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most `limit` >= 6 points of a curve, x and y of shape (points,), that keep its look.

    Of each stretch the first, the lowest and the highest finite point stay, and the curve's last point.
    """
    if len(x) <= limit:
        return x, y
    stretches = np.array_split(np.arange(len(x)), (limit - 1) // 3)
    finite = np.isfinite(y)
    low, high = np.where(finite, y, np.inf), np.where(finite, y, -np.inf)
    keep = {len(x) - 1}
    for stretch in stretches:
        first, end = int(stretch[0]), int(stretch[-1]) + 1
        keep |= {first, first + int(low[first:end].argmin()), first + int(high[first:end].argmax())}
    chosen = np.array(sorted(keep))
    return x[chosen], y[chosen]
