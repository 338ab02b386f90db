"""Peak memory of a cohort of 256 trials with 100,000 parameters each, as a multiple of what it cannot do without.

    python -m benchmarks.memory

What it cannot do without: the stacked parameters, the optimizer's state (two numbers a parameter for Adam), and the
activations of one batch. Measured in a process of its own, above what the process held before the search.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys

TRIALS, UNITS, LIMIT, LIMIT_MIB = 256, 280, 1.5, 2048
CHILD = "--child"


def child() -> None:
    import psutil
    import torch

    import workbench as wb
    from workbench.training.capacity import kept_bytes
    from workbench.training.cohort import Cohort

    task = wb.Task.load("digits")
    base = wb.Config(hidden_units=UNITS, epochs=2, batch_size=32, loss="cross_entropy")
    bench = wb.Workbench(task)
    space = {"learning_rate": wb.LogRange(1e-4, 1e-2)}
    bench.search("random", space, base, trials=2, cohort=2, blocking=True)
    cohort = Cohort(task, {0: base}, torch.device("cpu"))
    parameters = cohort.theta.numel()
    need = TRIALS * (3 * 4 * parameters + kept_bytes(cohort))
    before = psutil.Process().memory_info().rss
    bench.search("random", space, base, trials=TRIALS, cohort=TRIALS, blocking=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"parameters": parameters, "need": need, "before": before, "peak": peak}))


def main() -> dict[str, object]:
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", CHILD], check=True, capture_output=True, text=True
    )
    values: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    ratio = (values["peak"] - values["before"]) / values["need"]
    whole = values["peak"] / 2**20
    print(f"\n{TRIALS} trials of {values['parameters']:,} parameters")
    print(f"peak of the whole process: {whole:.0f} MiB (at most {LIMIT_MIB})")
    verdict = "reached" if ratio <= LIMIT else "MISSED"
    print(
        f"above the process before: {ratio:.2f} x parameters, optimizer state and activations (at most {LIMIT}: {verdict})"
    )
    return {**values, "ratio": ratio, "limit": LIMIT}


if __name__ == "__main__":
    child() if CHILD in sys.argv else main()
