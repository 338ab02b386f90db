"""Kernel time and bytes of one live update: K curves on each of two charts get one new point each.

    python -m benchmarks.live_update

Time is CPU time of this process for `append` with the message serialised as ipykernel does it (JSON content, signature,
buffers beside it), the median of 300 updates; bytes are everything that would go to the socket.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from jupyter_client.session import Session

from workbench.ui.curves import Chart, LiveCurves, Series

UPDATES = 300
LIMIT_MS, LIMIT_BYTES = 2.0, 4096


def measure(k: int) -> dict[str, Any]:
    """One row: K, milliseconds and bytes of an update."""
    curves = LiveCurves([Chart("loss", "Loss"), Chart("metric", "Accuracy", better="higher")])
    curves.declare([Series(f"{trial}/{c}", c, trial, f"#{trial}") for trial in range(k) for c in ("loss", "metric")])
    session = Session(key=b"benchmark", username="user")
    parent = session.msg("execute_request")
    sizes: list[int] = []

    def send(content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        data = {"comm_id": "0" * 32, "data": {"method": "custom", "content": content}}
        parts = session.serialize(session.msg("comm_msg", data, parent=parent["header"]), b"comm-0123")
        sizes.append(sum(map(len, parts)) + sum(map(len, buffers or [])))

    curves.send = send
    names = [series.id for series in curves.series]
    times = []
    for epoch in range(1, UPDATES + 1):
        points = {name: ([epoch], [1 / epoch]) for name in names}
        start = time.process_time()
        curves.append(points)
        times.append(1e3 * (time.process_time() - start))
    return {"curves": k, "milliseconds": statistics.median(times), "bytes": max(sizes)}


def main() -> dict[str, Any]:
    rows = [measure(k) for k in (1, 8, 64)]
    print(f"\n{'K':>4} {'ms/update':>10} {'bytes':>7}   limits at K=64: {LIMIT_MS} ms, {LIMIT_BYTES} bytes")
    for row in rows:
        print(f"{row['curves']:>4} {row['milliseconds']:>10.3f} {row['bytes']:>7}")
    return {"rows": rows, "limits": {"milliseconds": LIMIT_MS, "bytes": LIMIT_BYTES}}


if __name__ == "__main__":
    main()
