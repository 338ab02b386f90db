"""K trials trained as one cohort against the same K one after another: digits, batch 32, 5 epochs, several models.

python -m benchmarks.cohort [--rounds 3]
"""

from __future__ import annotations

import argparse

import workbench as wb
from benchmarks.timing import compare, table
from workbench.training import Training, prepare

EPOCHS = 5
CASES = {
    "MLP 64-64": wb.Config(epochs=EPOCHS),
    "MLP 64-64, batch norm, dropout": wb.Config(epochs=EPOCHS, batch_norm=True, dropout=0.2),
    "CNN": wb.Config(model="cnn", epochs=EPOCHS),
}


def main(rounds: int = 3, sizes: tuple[int, ...] = (8, 32)) -> dict[str, object]:
    task = wb.Task.load("digits")
    found = []
    for name, config in CASES.items():
        for k in sizes:
            if name == "CNN" and k > 8:
                continue
            trials = {i: prepare(task, config.replace(seed=i, learning_rate=1e-3 * 1.1**i)) for i in range(k)}

            def together(trials: dict[int, wb.Config] = trials) -> None:
                for _ in Training(task, trials).moments():
                    pass

            def apart(trials: dict[int, wb.Config] = trials) -> None:
                for trial, config in trials.items():
                    for _ in Training(task, {trial: config}).moments():
                        pass

            rows = compare({"one cohort": together, "one by one": apart}, rounds=rounds, baseline="one cohort")
            table(f"{name}, K={k}", rows, "one cohort")
            found.append({"case": name, "k": k, "rows": rows})
    return {"cases": found}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    main(parser.parse_args().rounds)
