"""Peak memory: of a cohort, of making a task, and of validation, each in a process of its own and above what it held before.

    python -m benchmarks.memory [cohort] [inputs] [validation]

cohort: 256 trials with 100,000 parameters each, as a multiple of what it cannot do without: the stacked parameters, the
optimizer's state (two numbers a parameter for Adam), and the activations of one batch. inputs: `Task.from_arrays` on 6,000
images of 3 x 32 x 32, as a multiple of their size. validation: one epoch of a transformer on 110 rows of 64 tokens with 1,980
validation rows, as a multiple of a hand-written loop that trains and evaluates in batches of 32.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys

TRIALS, UNITS, LIMIT, LIMIT_MIB = 256, 280, 1.5, 2048
CHILD = "--child"
IMAGES, INPUTS_LIMIT, PIECE_MIB = (6000, 3, 32, 32), 2.0, 50
VALIDATION_LIMIT = 1.3


def cohort_child() -> None:
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


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def inputs_child(dtype: str) -> None:
    import numpy as np

    import workbench as wb

    wb.Task.from_arrays(np.zeros((20, 3, 8, 8), dtype), np.arange(20) % 2)  # what is imported on use
    images = np.random.default_rng(0).integers(0, 256, IMAGES, dtype=np.uint8)
    images = images.astype(dtype, copy=False)
    before = peak_mib()
    task = wb.Task.from_arrays(images, np.arange(len(images)) % 10)
    print(json.dumps({"size": images.nbytes / 2**20, "peak": peak_mib() - before, "rows": len(task.train)}))


def validation_child(how: str) -> None:
    import numpy as np
    import torch
    from torch import nn

    import workbench as wb

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(1000, 128)
            self.layer = nn.TransformerEncoderLayer(128, 8, 512, 0.0, batch_first=True)
            self.head = nn.Linear(128, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.layer(self.embedding(x)).mean(1))

    ids = np.random.default_rng(0).integers(0, 1000, size=(2200, 64))
    task = wb.Task.from_arrays(ids, (ids[:, 0] > 500).astype(int), inputs="tokens", split=(0.05, 0.9, 0.05))
    bench = wb.Workbench(task, models={"net": lambda task: Net()})
    before = peak_mib()
    if how == "workbench":
        bench.start(wb.Config(model="net", epochs=1, batch_size=32)).wait()
    else:
        model = Net()
        optimizer = torch.optim.Adam(model.parameters())
        for rows in torch.randperm(len(task.train)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(task.train.x[rows]), task.train.y[rows]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            torch.cat([model(x) for x in task.validation.x.split(32)])
    print(json.dumps({"peak": peak_mib() - before}))


def measured(*arguments: str) -> dict[str, float]:
    """What a fresh process prints."""
    command = [sys.executable, "-m", "benchmarks.memory", CHILD, *arguments]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    values: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return values


def verdict(reached: bool) -> str:
    return "reached" if reached else "MISSED"


def cohort() -> dict[str, object]:
    values = measured("cohort")
    ratio = (values["peak"] - values["before"]) / values["need"]
    whole = values["peak"] / 2**20
    print(f"\n{TRIALS} trials of {values['parameters']:,} parameters")
    print(f"peak of the whole process: {whole:.0f} MiB (at most {LIMIT_MIB})")
    what = "x parameters, optimizer state and activations"
    print(f"above the process before: {ratio:.2f} {what} (at most {LIMIT}: {verdict(ratio <= LIMIT)})")
    return {**values, "ratio": ratio, "limit": LIMIT}


def inputs() -> dict[str, object]:
    found: dict[str, object] = {}
    for dtype in ("uint8", "float32"):
        values = measured("inputs", dtype)
        most = INPUTS_LIMIT * values["size"] + PIECE_MIB
        found[dtype] = values["peak"] / values["size"]
        print(f"\n{IMAGES[0]:,} images of {dtype}: {values['size']:.0f} MiB, {values['peak']:.0f} MiB more at the peak")
        reached = verdict(values["peak"] <= most)
        print(f"{found[dtype]:.2f} x their size (at most {INPUTS_LIMIT} x and {PIECE_MIB} MiB: {reached})")
    return found


def validation() -> dict[str, object]:
    ours, plain = (measured("validation", how)["peak"] for how in ("workbench", "loop"))
    ratio = ours / plain
    print(f"\nvalidation of 1,980 rows of 64 tokens: {ours:.0f} MiB, by hand {plain:.0f} MiB")
    print(f"{ratio:.2f} x a hand-written loop (at most {VALIDATION_LIMIT}: {verdict(ratio <= VALIDATION_LIMIT)})")
    return {"ratio": ratio, "limit": VALIDATION_LIMIT}


PARTS = {"cohort": cohort, "inputs": inputs, "validation": validation}


def main(parts: list[str] | None = None) -> dict[str, object]:
    return {name: PARTS[name]() for name in parts or PARTS}


if __name__ == "__main__":
    given = sys.argv[1:]
    if given[:1] == [CHILD]:
        children = {"cohort": cohort_child, "inputs": inputs_child, "validation": validation_child}
        children[given[1]](*given[2:])
    else:
        main(given)
