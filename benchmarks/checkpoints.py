"""What checkpoints cost: the same training with a checkpoint after each epoch, and with none, in turns.

    python -m benchmarks.checkpoints

Digits, MLP 64-64, batch 32, Adam, on a log and a folder on disk; and a random search of 64 such trials. A limit of 1.05 holds
for the one trial. Also: what reading one back, a branch from it, and a model out of it take.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import workbench as wb
from benchmarks.timing import compare, table

EPOCHS, LIMIT = (20, 60, 200), 1.05
CONFIG = wb.Config(hidden_units=64, batch_size=32)


def bench_in(folder: Path, name: str, budget: int | None) -> wb.Workbench:
    bench = wb.Workbench(wb.Task.load("digits"), log=folder / f"{name}.db")
    if budget is not None:
        bench.checkpoints.budget = budget
    return bench


def main() -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    try:
        with_, without = bench_in(folder, "with", None), bench_in(folder, "without", 0)
        found: dict[str, Any] = {}
        for epochs in EPOCHS:
            config = CONFIG.replace(epochs=epochs)
            rows = compare(
                {"no checkpoints": lambda c=config: without.run(c), "checkpoints": lambda c=config: with_.run(c)},
                rounds=max(5, 900 // epochs // 3),
                baseline="no checkpoints",
            )
            table(f"one trial, {epochs} epochs", rows, "no checkpoints")
            ratio = rows[1]["ratio"]
            kept = len(with_.checkpoints.epochs(int(with_.trials["trial"].iloc[-1])))
            found[f"{epochs} epochs"], found[f"kept of {epochs}"] = rows, kept
            verdict = "reached" if ratio <= LIMIT else "MISSED"
            print(f"checkpoints / none: {ratio:.3f} (at most {LIMIT}: {verdict}); {kept} of {epochs} epochs kept")

        space = {"learning_rate": wb.LogRange(1e-4, 1e-1), "l2": wb.LogRange(1e-6, 1e-2)}
        base = CONFIG.replace(epochs=10)

        def search(bench: wb.Workbench) -> Callable[[], object]:
            return lambda: bench.search("random", space, base, trials=64, cohort=64, blocking=True)

        rows = compare(
            {"no checkpoints": search(without), "checkpoints": search(with_)}, rounds=7, baseline="no checkpoints"
        )
        table("search of 64 trials, 10 epochs", rows, "no checkpoints")
        found["search"] = rows

        trial = int(with_.run(CONFIG).trials[0])
        series = with_.checkpoints.epochs(trial)
        epoch = series[len(series) // 2]
        actions: dict[str, Callable[[], object]] = {
            "one epoch of training": lambda: without.run(CONFIG.replace(epochs=1)),
            "read a checkpoint": lambda: with_.checkpoints.load(trial, epoch),
            "branch of one epoch": lambda: with_.branch(trial, epoch=epoch, epochs=epoch + 1).wait(),
            "model of an epoch": lambda: with_.model(trial, epoch=epoch),
        }
        rows = compare(actions, rounds=9, baseline="one epoch of training")
        table("going back", rows, "one epoch of training")
        found["going back"] = rows
        file = next((with_.checkpoints.folder / f"{trial:08d}").glob("*.pt"))
        print(f"a checkpoint: {file.stat().st_size / 1024:.0f} KiB")
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
