"""What the layers panel costs: a trial that trains with the panel in front, and behind, in turns of a second.

    python -m benchmarks.watching

Two MLPs on the digits data, and one on a task with two inputs, whose decision boundary is drawn. The views are ticked as the
pump does, some 15 times a second, and what the panel sends is serialised as ipykernel does it. Also told: looks a second, what
one took, and the bytes it sent. The limit is 1.05 times as long for a step. On a busy machine the interval of
that ratio is wide; steadier is what training loses while a look is under way, against its pace with the panel behind.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from jupyter_client.session import Session
from numpy.typing import NDArray
from torch import nn

import workbench as wb
from workbench.methods.layers.tab import LayersPanel, Picture
from workbench.methods.layers.watch import Watcher, _Eye

LIMIT, TICK_SECONDS = 1.05, 1 / 15
WINDOW_SECONDS, PAIRS = 1.0, 40
CASES = {
    "digits, MLP 64-64": ("digits", wb.Config(hidden_units=64, batch_size=32)),
    "digits, MLP 512-512-512, batch norm": (
        "digits",
        wb.Config(hidden_layers=3, hidden_units=512, batch_norm=True, batch_size=64),
    ),
    "moons, MLP 64-64, boundary": ("moons", wb.Config(hidden_units=64, batch_size=32)),
}


class Front(LayersPanel):
    """A panel that counts what it shows and serialises it for a page."""

    def __init__(self) -> None:
        super().__init__(lambda epoch: None)
        self.bytes: list[int] = []
        self._session = Session(key=b"benchmark", username="user")

    def show(self, picture: Picture) -> None:
        super().show(picture)
        state = {"caption": self.caption.value, "layers": self.layers.value}
        message = self._session.msg("comm_msg", {"comm_id": "0" * 32, "data": {"method": "update", "state": state}})
        sent = self._session.serialize(message, b"comm-0123")
        self.bytes.append(sum(map(len, sent)) + len(picture.raster or b""))


class Eye(_Eye):
    """Counts the training's steps while it looks."""

    def __init__(self, task: wb.Task, steps: Callable[[], int]) -> None:
        super().__init__(task)
        self.looks: list[tuple[float, int]] = []
        self._steps = steps

    def picture(self, module: nn.Module, caption: str) -> Picture:
        started, first = time.perf_counter(), self._steps()
        try:
            return super().picture(module, caption)
        finally:
            self.looks.append((time.perf_counter() - started, self._steps() - first))


def measure(name: str) -> dict[str, Any]:
    """One case: the ratio, and what the looks were like."""
    data, config = CASES[name]
    task = wb.Task.load(data)
    bench, panel = wb.Workbench(task, log=None), Front()
    run = bench.start(config.replace(epochs=100_000))
    trial, took, spent = run.trials[0], list[float](), [0.0]

    def window(in_front: bool) -> tuple[float, int]:
        """Seconds and optimizer steps of one window, which ends with no look under way."""
        started, first = time.perf_counter(), run._training._row_of[trial].step
        before = spent[0]
        while (now := time.perf_counter() - started) < WINDOW_SECONDS or watcher._working:
            if in_front:
                spent[0] = before + now
            if (found := watcher._found) is not None:
                took.append(1e3 * found.seconds)
            watcher.tick(trial, in_front=in_front or watcher._working)
            run._done.wait(TICK_SECONDS)
        spent[0] = before + now * in_front
        return now, run._training._row_of[trial].step - first

    # by a clock that stands still while the panel is behind, looks are as far apart as if it were always in front
    watcher = Watcher(
        task, panel, run_of=lambda _: run, model_of=bench.model, epochs_of=lambda _: (1, 1), clock=lambda: spent[0]
    )
    while trial not in run._training._row_of:
        run._done.wait(TICK_SECONDS)
    eye = watcher._eye = Eye(task, lambda: run._training._row_of[trial].step)
    window(True)  # the first look makes what later ones use
    panel.bytes.clear()
    took.clear()
    eye.looks.clear()
    # the order of the two changes from pair to pair, so that a drift of the machine's speed hits both alike
    pairs = []
    for turn in range(PAIRS):
        found = {in_front: window(in_front) for in_front in ((False, True) if turn % 2 else (True, False))}
        pairs.append((found[False], found[True]))
    run.stop()
    run.wait()
    ratio, low, high = slowdown(np.array(pairs))
    verdict = "reached" if ratio <= LIMIT else "MISSED"
    looks, kib = len(panel.bytes) / sum(pair[1][0] for pair in pairs), max(panel.bytes) / 1024
    print(
        f"\n{name}\nin front / behind: {ratio:.3f} (95% interval {low:.3f} to {high:.3f}; at most {LIMIT}: {verdict})"
    )
    times = np.array(pairs)
    pace = times[:, 0, 1].sum() / times[:, 0, 0].sum()
    lost = sum(seconds - steps / pace for seconds, steps in eye.looks) / times[:, 1, 0].sum()
    print(f"while it looks, training loses {100 * lost:.1f}% of all its time")
    print(f"{looks:.1f} looks a second, {statistics.median(took):.1f} ms and {kib:.1f} KiB each")
    return {
        "ratio": ratio,
        "interval": [low, high],
        "lost": lost,
        "looks a second": looks,
        "milliseconds": statistics.median(took),
        "KiB": kib,
    }


def slowdown(pairs: NDArray[np.float64]) -> tuple[float, float, float]:
    """Time a step in front over time a step behind, with its 95% bootstrap interval. pairs: (pairs, 2, 2): seconds, steps."""

    def ratio(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        seconds, steps = np.moveaxis(rows.sum(-3), -1, 0)
        pace = seconds / steps
        return np.asarray(pace[..., 1] / pace[..., 0])

    draws = pairs[np.random.default_rng(0).integers(0, len(pairs), (2000, len(pairs)))]
    low, high = np.quantile(ratio(draws), [0.025, 0.975])
    return float(ratio(pairs)), float(low), float(high)


def main() -> dict[str, Any]:
    return {name: measure(name) for name in CASES} | {"limit": LIMIT}


if __name__ == "__main__":
    main()
