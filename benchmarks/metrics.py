"""What four metrics a trial cost: a search of 64 trials with one and with four, in turn, in one process.

python -m benchmarks.metrics
"""

from __future__ import annotations

import statistics
import time

import workbench as wb

ROUNDS = 5
SPACE = {"learning_rate": wb.LogRange(1e-4, 1e-1)}
METRICS = {
    "one": ("accuracy",),
    "four by class": ("accuracy", "f1", "balanced_accuracy", "mcc"),
    "four with ROC AUC": ("accuracy", "f1", "balanced_accuracy", "roc_auc"),
}


def seconds(metrics: tuple[str, ...]) -> float:
    """Wall time of one search of 64 trials of 10 epochs."""
    bench = wb.Workbench(wb.Task.load("digits", metrics=metrics))
    begun = time.perf_counter()
    bench.search("random", SPACE, wb.Config(epochs=10), trials=64, blocking=True)
    return time.perf_counter() - begun


def main() -> None:
    for metrics in METRICS.values():
        seconds(metrics)  # what the first call of a process loads
    found: dict[str, list[float]] = {name: [] for name in METRICS}
    for _ in range(ROUNDS):
        for name, metrics in METRICS.items():
            found[name].append(seconds(metrics))
    medians = {name: statistics.median(values) for name, values in found.items()}
    lowest = {name: min(values) for name, values in found.items()}
    print({name: [round(value, 2) for value in values] for name, values in found.items()})
    for name in list(METRICS)[1:]:
        medians_ratio, minima_ratio = medians[name] / medians["one"], lowest[name] / lowest["one"]
        print(f"{name} / one: {medians_ratio:.2f} (medians), {minima_ratio:.2f} (minima)")


if __name__ == "__main__":
    main()
