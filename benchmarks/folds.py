"""A trial on five folds against a trial on one of them, and against five such trials one after another: digits, batch 32.

python -m benchmarks.folds [--rounds 5]
"""

from __future__ import annotations

import argparse

import workbench as wb
from benchmarks.timing import compare, table
from workbench.tasks.fold_data import Fold
from workbench.training import Training, prepare

EPOCHS = 10
CASES = {
    "MLP 64-64": wb.Config(epochs=EPOCHS),
    "MLP 64-64, batch norm, dropout": wb.Config(epochs=EPOCHS, batch_norm=True, dropout=0.2),
}


def trained(task: wb.Task | Fold, config: wb.Config) -> None:
    for _ in Training(task, {0: config}).moments():
        pass


def main(rounds: int = 5, folds: int = 5) -> dict[str, object]:
    task = wb.Task.load("digits", split=wb.Split.folds(folds))
    assert task.folds is not None
    members, found = task.folds.members, []
    for name, given in CASES.items():
        config = prepare(task, given)
        candidates = {
            "one run": lambda config=config: trained(members[0], config),
            "folds together": lambda config=config: trained(task, config),
            "one by one": lambda config=config: [trained(member, config) for member in members],
        }
        rows = compare(candidates, rounds=rounds, baseline="one run")
        table(f"{name}, {folds} folds", rows, "one run")
        found.append({"case": name, "rows": rows})
    return {"cases": found}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    main(parser.parse_args().rounds)
