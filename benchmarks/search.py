"""A random search over learning rate and λ2, 64 trials of 10 epochs, digits, batch 32: the workbench against peers.

    python -m benchmarks.search [--rounds 3] [--without-ray]

Every candidate trains the same architectures on the same split for as long, evaluates loss and accuracy on the validation split
after each epoch, and reports both. The workbench keeps its log in a file and all widgets and charts up to date. Ray Tune is
given 8 trials, and its time is multiplied by 8: it starts a process a trial and would take minutes.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import workbench as wb
from benchmarks.timing import compare, table
from workbench.methods.tabs import TABS

TRIALS, EPOCHS, BATCH = 64, 10, 32
SPACE = {"learning_rate": wb.LogRange(1e-4, 1e-1), "l2": wb.LogRange(1e-6, 1e-2)}
MIXED = {
    **SPACE,
    "optimizer": ["sgd", "momentum", "adam", "adamw", "rmsprop"],
    "batch_size": [16, 32, 64],
    "hidden_units": [32, 64],
}
LIMITS = {"MLP 64-64": 10.0, "MLP 64-64, batch norm, dropout": 5.0, "CNN": 2.5, "mixed": 4.0}
PEER_LIMITS = {"Optuna, SQLite": 12.0, "RandomizedSearchCV, skorch, 2 jobs": 5.0, "Ray Tune, 2 CPUs": 100.0}
RAY_TRIALS = 8


def mlp(units: int = 64, *, normal: bool = False) -> nn.Module:
    """The architecture as a person writes it down."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs in (64, units):
        layers += [nn.Linear(inputs, units), *([nn.BatchNorm1d(units)] if normal else []), nn.ReLU()]
        layers += [nn.Dropout(0.2)] if normal else []
    return nn.Sequential(*layers, nn.Linear(units, 10))


def cnn(task: wb.Task) -> nn.Module:
    from workbench.models import build_model
    from workbench.training import prepare

    return build_model(task, prepare(task, wb.Config(model="cnn")))


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": lambda p, **o: torch.optim.SGD(p, momentum=0.9, **o),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}


def loader_loop(
    task: wb.Task,
    make: Callable[[], nn.Module],
    optimizer: str,
    rate: float,
    l2: float,
    batch: int,
    told: Callable[..., None],
) -> float:
    """The loop of most tutorials: a DataLoader, an optimizer, accuracy on the validation split after each epoch."""
    from torch.utils.data import DataLoader, TensorDataset

    loader = DataLoader(TensorDataset(task.train.x, task.train.y), batch_size=batch, shuffle=True)
    net, criterion = make(), nn.CrossEntropyLoss()
    steps = OPTIMIZERS[optimizer](net.parameters(), lr=rate, weight_decay=2 * l2)
    accuracy = 0.0
    for epoch in range(EPOCHS):
        net.train()
        for x, y in loader:
            loss = criterion(net(x), y)
            steps.zero_grad()
            loss.backward()
            steps.step()
        net.eval()
        with torch.no_grad():
            outputs = net(task.validation.x)
            criterion(outputs, task.validation.y).item()
            accuracy = (outputs.argmax(1) == task.validation.y).double().mean().item()
        told(accuracy, epoch)
    return accuracy


def optuna_search(task: wb.Task, case: str, storage: str | None = None) -> None:
    import optuna

    def objective(trial: Any) -> float:
        rate, l2 = (
            trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
            trial.suggest_float("l2", 1e-6, 1e-2, log=True),
        )
        optimizer, batch, make = "adam", BATCH, mlp
        if case == "CNN":
            make = lambda: cnn(task)  # noqa: E731
        elif case == "MLP 64-64, batch norm, dropout":
            make = lambda: mlp(normal=True)  # noqa: E731
        elif case == "mixed":
            optimizer = trial.suggest_categorical("optimizer", MIXED["optimizer"])
            batch = trial.suggest_categorical("batch_size", MIXED["batch_size"])
            units = trial.suggest_categorical("hidden_units", MIXED["hidden_units"])
            make = lambda: mlp(units)  # noqa: E731
        return loader_loop(task, make, optimizer, rate, l2, batch, trial.report)

    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0), direction="maximize")
    study.optimize(objective, n_trials=TRIALS)


def skorch_search(task: wb.Task) -> None:
    from scipy.stats import loguniform
    from sklearn.model_selection import PredefinedSplit, RandomizedSearchCV
    from skorch import NeuralNetClassifier
    from skorch.callbacks import EpochScoring
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split

    x = torch.cat([task.train.x, task.validation.x]).numpy()
    y = torch.cat([task.train.y, task.validation.y]).numpy()
    fold = np.r_[np.full(len(task.train.x), -1), np.zeros(len(task.validation.x), int)]
    net = NeuralNetClassifier(
        mlp, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, max_epochs=EPOCHS, batch_size=BATCH, verbose=0,
        train_split=predefined_split(Dataset(task.validation.x.numpy(), task.validation.y.numpy())),
        callbacks=[EpochScoring("accuracy", name="accuracy", lower_is_better=False)],
    )  # fmt: skip
    space = {"lr": loguniform(1e-4, 1e-1), "optimizer__weight_decay": loguniform(2e-6, 2e-2)}
    RandomizedSearchCV(
        net, space, n_iter=TRIALS, cv=PredefinedSplit(fold), n_jobs=2, refit=False, random_state=0, scoring="accuracy"
    ).fit(x, y)


def ray_search(folder: Path) -> float:
    """Seconds of `RAY_TRIALS` trials on 2 CPUs, the start of Ray left out."""
    import ray
    from ray import tune

    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False, configure_logging=True, logging_level="ERROR")

    def trainable(config: dict[str, float]) -> None:
        task = wb.Task.load("digits")
        loader_loop(
            task, mlp, "adam", config["learning_rate"], config["l2"], BATCH,
            lambda accuracy, _: tune.report({"accuracy": accuracy}),
        )  # fmt: skip

    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"learning_rate": tune.loguniform(1e-4, 1e-1), "l2": tune.loguniform(1e-6, 1e-2)},
        tune_config=tune.TuneConfig(num_samples=RAY_TRIALS, metric="accuracy", mode="max"),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    )
    start = time.perf_counter()
    tuner.fit()
    seconds = time.perf_counter() - start
    ray.shutdown()
    return seconds


def main(rounds: int = 3, with_ray: bool = True) -> dict[str, object]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")
    logging.getLogger("ray").setLevel(logging.ERROR)
    task = wb.Task.load("digits")
    base = wb.Config(epochs=EPOCHS, batch_size=BATCH, hidden_units=64, hidden_layers=2)
    cases = {
        "MLP 64-64": (SPACE, base),
        "MLP 64-64, batch norm, dropout": (SPACE, base.replace(batch_norm=True, dropout=0.2)),
        "CNN": (SPACE, base.replace(model="cnn")),
        "mixed": (MIXED, base),
    }
    found = []
    counter = itertools.count()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case, (space, config) in cases.items():
            bench = wb.Workbench(task, log=folder / f"{len(found)}.db")
            # all widgets, with their messages, but nobody who displays them
            bench.presenter.build(bench, TABS)

            def ours(bench: wb.Workbench = bench, space: Any = space, config: wb.Config = config) -> None:
                bench.search("random", space, config, trials=TRIALS, seed=next(counter), blocking=True)

            candidates: dict[str, Callable[[], object]] = {
                "workbench": ours,
                "Optuna, in memory": lambda case=case: optuna_search(task, case),  # type: ignore[misc]
            }
            if case == "MLP 64-64":
                candidates["Optuna, SQLite"] = lambda: optuna_search(
                    task, "MLP 64-64", f"sqlite:///{folder}/optuna{next(counter)}.db"
                )
                candidates["RandomizedSearchCV, skorch, 2 jobs"] = lambda: skorch_search(task)
            ours()  # the first search imports optuna and measures the cohort's size
            few = 1 if case == "CNN" else rounds
            rows = compare(candidates, rounds=few, baseline="workbench", warm_up=False)
            if case == "MLP 64-64" and with_ray:
                seconds = ray_search(folder) * TRIALS / RAY_TRIALS
                rows.append({"name": "Ray Tune, 2 CPUs", "seconds": seconds, "ratio": seconds / rows[0]["seconds"]})
            table(f"{case}: {TRIALS} trials", rows, "workbench")
            limits = {"Optuna, in memory": LIMITS[case], **PEER_LIMITS}
            for row in rows[1:]:
                row["limit"] = limits[row["name"]]
                verdict = "reached" if row["ratio"] >= row["limit"] else "MISSED"
                print(f"  {row['name']}: {row['ratio']:.1f}x, at least {row['limit']:g}x wanted: {verdict}")
            found.append({"case": case, "trials": TRIALS, "rows": rows})
    return {"cases": found}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-ray", action="store_true")
    arguments = parser.parse_args()
    main(arguments.rounds, not arguments.without_ray)
