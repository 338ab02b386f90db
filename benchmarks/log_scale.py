"""A log of 100,000 trials with 20 epochs each in one SQLite file: reading, the leaderboard, the views, a further trial.

python -m benchmarks.log_scale [--trials 100000]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sqlalchemy import insert

import workbench as wb
from workbench.core.events import EpochEnd, TrialEnded, TrialState
from workbench.log import NewTrial, TrialLog, schema
from workbench.methods.tabs import TABS

EPOCHS, CHUNK = 20, 2000
LIMITS = {"bench.trials": 1.5, "bench.leaderboard": 1.0, "append of a new trial, 20 epochs": 0.005}


def fill(log: TrialLog, task: wb.Task, trials: int) -> None:
    """Random trials, four seeds a configuration, written in large transactions."""
    rng = np.random.default_rng(0)
    base = wb.Config(loss="cross_entropy").model_dump()
    for start in range(0, trials, CHUNK):
        count = min(CHUNK, trials - start)
        configs = []
        for index in range(count):
            configuration = (start + index) // 4
            draw = np.random.default_rng(configuration)
            values = {"learning_rate": float(10 ** draw.uniform(-4, -1)), "l2": float(10 ** draw.uniform(-6, -2))}
            configs.append({**base, **values, "optimizer": ["adam", "sgd"][configuration % 2], "seed": index % 4})
        numbers = log.create(
            [
                NewTrial(
                    config, task.name, task.fingerprint, task.metric, source="random", cohort=start // 64,
                    configuration=str((start + index) // 4),
                )
                for index, config in enumerate(configs)
            ]
        )  # fmt: skip
        finals = rng.uniform(0.5, 1.0, count)
        with log.database.write() as connection:
            epochs = [
                {
                    "trial": trial, "epoch": epoch, "step": 34 * epoch, "train_loss": 1 / epoch, "penalty": 0.0,
                    "train_metric": 0.9, "val_loss": 1 / epoch, "val_metric": float(final), "learning_rate": 0.01,
                    "grad_norm": 1.0, "seconds": 0.01,
                }
                for trial, final in zip(numbers, finals, strict=True)
                for epoch in range(1, EPOCHS + 1)
            ]  # fmt: skip
            connection.execute(insert(schema.epochs), epochs)
            ends = [
                {
                    "trial": trial, "state": "completed", "epochs_run": EPOCHS, "step": 34 * EPOCHS, "best_epoch": EPOCHS,
                    "best_val_loss": 1 / EPOCHS, "best_val_metric": float(final), "train_loss": 0.05, "val_loss": 0.05,
                    "val_metric": float(final), "seconds": 0.2, "reason": "", "traceback": "",
                    "created": "2026-01-01T00:00:00+00:00",
                }
                for trial, final in zip(numbers, finals, strict=True)
            ]  # fmt: skip
            connection.execute(insert(schema.ends), ends)


def seconds(work: Callable[[], object], rounds: int = 3) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main(trials: int = 100_000) -> dict[str, object]:
    task = wb.Task.load("digits")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trials.db"
        log = TrialLog.open(path)
        fill(log, task, trials)
        bench = wb.Workbench(task, log=path)
        bench.presenter.build(bench, TABS)
        presenter = bench.presenter

        def append() -> None:
            (trial,) = log.create([NewTrial(wb.Config().model_dump(), task.name, task.fingerprint, task.metric)])
            for epoch in range(1, EPOCHS + 1):
                log.append([EpochEnd(trial, epoch, epoch, 1.0, 0.0, 0.5, 1.0, 0.5, 0.01, 1.0, 0.1)])
            log.append([TrialEnded(trial, TrialState.COMPLETED, EPOCHS, EPOCHS, EPOCHS, 1.0, 0.5, 1.0)])

        def refresh() -> None:
            presenter._table_due = True
            presenter.tick()

        bench.trials  # noqa: B018  (the file's pages are then in memory)
        found = {
            "bench.trials": seconds(lambda: bench.trials),
            "bench.leaderboard": seconds(bench.leaderboard),
            "append of a new trial, 20 epochs": seconds(append, 5),
            "refresh of all views": seconds(refresh),
            "one trial's curve": seconds(lambda: bench.curves(trials // 2)),
        }
        size = path.stat().st_size / 2**20
    print(f"\n{trials:,} trials, {EPOCHS} epochs each, {size:.0f} MiB")
    for name, value in found.items():
        limit = LIMITS.get(name)
        note = "" if limit is None else f"  (at most {limit:g} s: {'reached' if value <= limit else 'MISSED'})"
        print(f"{name:35} {value:8.4f} s{note}")
    return {"trials": trials, "mebibytes": size, "seconds": found, "limits": json.loads(json.dumps(LIMITS))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100_000)
    main(parser.parse_args().trials)
