"""What keeping a 20-epoch trial in a log on disk costs: create, 20 epochs in a transaction each, the end.

    python -m benchmarks.log_append [--trials 200]

Beside it Optuna's SQLite storage doing the same (a trial with two parameters and 20 intermediate values), as ratio.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import workbench as wb
from workbench.core.events import EpochEnd, StateChanged, TrialEnded, TrialState
from workbench.log import NewTrial, TrialLog

EPOCHS, LIMIT_MS = 20, 3.0


def ours(folder: Path, trials: int) -> float:
    """Milliseconds a trial, median."""
    log = TrialLog.open(folder / "ours.db")
    config = wb.Config(epochs=EPOCHS).model_dump()
    times = []
    for _ in range(trials):
        start = time.perf_counter()
        (trial,) = log.create([NewTrial(config=config, task="digits", task_fingerprint="0" * 64, metric="accuracy")])
        log.append([StateChanged(trial, TrialState.RUNNING)])
        for epoch in range(1, EPOCHS + 1):
            events = [EpochEnd(trial, epoch, epoch * 34, 1.0, 0.0, 0.5, 1.0, 0.5, 0.001, 1.0, 0.01)]
            if epoch == EPOCHS:
                ended = TrialEnded(trial, TrialState.COMPLETED, epoch, epoch * 34, epoch, 1.0, 0.5, 0.2, "")
                events.append(ended)
            log.append(events)
        times.append(1e3 * (time.perf_counter() - start))
    log.close()
    return statistics.median(times)


def optuna(folder: Path, trials: int) -> float:
    """Milliseconds a trial, median."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=f"sqlite:///{folder / 'optuna.db'}", sampler=optuna.samplers.RandomSampler(0))
    times = []
    for _ in range(trials):
        start = time.perf_counter()
        trial = study.ask()
        trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        trial.suggest_float("l2", 1e-6, 1e-2, log=True)
        for epoch in range(EPOCHS):
            trial.report(0.5, epoch)
        study.tell(trial, 0.5)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main(trials: int = 200) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        own = ours(Path(folder), trials)
        peer = optuna(Path(folder), max(5, trials // 10))
    print(
        f"\nA 20-epoch trial in a log on disk: {own:.2f} ms (limit {LIMIT_MS}); Optuna's SQLite {peer:.1f} ms, {peer / own:.0f} x"
    )
    return {"milliseconds": own, "limit": LIMIT_MS, "optuna over workbench": peer / own}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    main(parser.parse_args().trials)
