"""The learning-rate range test against the classic sweep in one run, on tasks that its rule was not set on.

    OMP_NUM_THREADS=1 python -m benchmarks.range_test [--json FILE]

The rule's constants were set on digits, moons, breast_cancer, diabetes, wine and spirals with an MLP 64-64, and looked at on
mnist1d and Friedman's first function; none of these counts here. Digits with a CNN is told apart: the model is new to the rule,
the data are not. Each way suggests a rate in three draws (seeds of weights and order), and each suggestion is trained.
Some 13 minutes of one core in all.

Regret: of what the best rate of a grid gains over the untrained model in validation loss, the share that a training with the
suggestion lacks; means of the same seeds on both sides. A training that gets no better than the untrained model lacks all of it,
and so does a way that makes no suggestion. Spread: standard deviation of log10 of the suggestions over the draws.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import datasets
from torch.nn.functional import cross_entropy, mse_loss

import workbench as wb
from workbench.core.events import TrialEnded
from workbench.models import build_model
from workbench.training import prepare

OURS, CLASSIC = "range test", ("minimum / 10", "steepest", "valley")
LOW, HIGH, STEPS = 1e-5, 10.0, 100
DRAWS, SEEDS = (0, 100, 200), (1000, 1001)
EPOCHS, GRID = 20, np.geomspace(LOW, HIGH, 25)
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda weights: torch.optim.SGD(weights, LOW),
    "momentum": lambda weights: torch.optim.SGD(weights, LOW, momentum=0.9),
    "adam": lambda weights: torch.optim.Adam(weights, LOW),
    "rmsprop": lambda weights: torch.optim.RMSprop(weights, LOW),
}


def gratings(rows: int = 600) -> wb.Task:
    """Pictures of 8 x 8 pixels: stripes in one of four directions, at any phase, under noise."""
    rng = np.random.default_rng(0)
    y = np.arange(rows) % 4
    down, right = np.mgrid[:8, :8]
    angle, phase = (np.pi / 4 * y)[:, None, None], rng.uniform(0, 2 * np.pi, (rows, 1, 1))
    X = np.sin(1.6 * (right * np.cos(angle) + down * np.sin(angle)) + phase) + rng.normal(0, 1, (rows, 8, 8))
    return wb.Task.from_arrays(X[:, None], y, name="gratings")


def numbers(make: Callable[..., Any], noise: float) -> Callable[[], wb.Task]:
    return lambda: wb.Task.from_arrays(*make(600, noise=noise, random_state=0), kind="regression", name=make.__name__)


def twenty() -> wb.Task:
    """Three classes in twenty columns, of which eight tell something."""
    X, y = datasets.make_classification(
        600, n_features=20, n_informative=8, n_redundant=4, n_classes=3, flip_y=0.05, random_state=0
    )
    return wb.Task.from_arrays(X, y, name="twenty columns")


MLP, CNN = wb.Config(epochs=EPOCHS), wb.Config(model="cnn", channels=4, epochs=EPOCHS)  # type: ignore[call-arg]
FRESH: dict[str, tuple[Callable[[], wb.Task], wb.Config]] = {
    "iris": (lambda: wb.Task.load("iris"), MLP),
    "circles": (lambda: wb.Task.load("circles", n=600, noise=0.15), MLP),
    "twenty columns": (twenty, MLP),
    "Friedman 2": (numbers(datasets.make_friedman2, 50.0), MLP),
    "Friedman 3": (numbers(datasets.make_friedman3, 0.1), MLP),
    "gratings, CNN": (gratings, CNN),
}
KNOWN = {"digits, CNN": (lambda: wb.Task.load("digits"), CNN)}
"""Left out of the summary."""


def sweep(task: wb.Task, config: wb.Config) -> dict[str, float | None]:
    """One run whose rate grows by a constant factor a step, and what fastai's heuristics read off its smoothed training loss.

    The run ends early at four times the least loss so far. The first tenth of the steps and the last five do not count.
    """
    module = build_model(task, config)
    optimizer = OPTIMIZERS[config.optimizer](module.parameters())
    loss_of = cross_entropy if task.kind == "classification" else mse_loss
    order = torch.Generator().manual_seed(config.seed)
    rows, mean = torch.empty(0, dtype=torch.long), 0.0
    rates: list[float] = []
    losses: list[float] = []
    for step in range(STEPS):
        if not len(rows):
            rows = torch.randperm(len(task.train.x), generator=order)
        batch, rows = rows[: config.batch_size], rows[config.batch_size :]
        rate = optimizer.param_groups[0]["lr"] = LOW * (HIGH / LOW) ** (step / (STEPS - 1))
        loss = loss_of(module(task.train.x[batch]), task.train.y[batch])
        mean = 0.98 * mean + 0.02 * float(loss.detach())
        smooth = mean / (1 - 0.98 ** (step + 1))
        if not math.isfinite(smooth):
            break
        rates.append(rate)
        losses.append(smooth)
        if smooth > 4 * min(losses):
            break
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return read_off(rates[STEPS // 10 : -5], losses[STEPS // 10 : -5])


def read_off(rates: Sequence[float], losses: Sequence[float]) -> dict[str, float | None]:
    """A tenth of the rate of the least loss; the rate of the steepest fall; the middle of the longest falling subsequence.

    None each of fewer than two points.
    """
    if len(rates) < 2:
        return dict.fromkeys(CLASSIC)
    falls = np.diff(losses) / np.diff(np.log(rates))
    length: list[int] = []
    for index, loss in enumerate(losses):
        length.append(1 + max((length[i] for i in range(index) if losses[i] > loss), default=0))
    end = int(np.argmax(length))
    middle = end - length[end] + length[end] // 3 + length[end] // 6
    return {
        "minimum / 10": rates[int(np.argmin(losses))] / 10,
        "steepest": rates[int(np.argmin(falls))],
        "valley": rates[max(0, middle)],
    }


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def cell(task: wb.Task, config: wb.Config) -> dict[str, Any]:
    """One task and optimizer: of each way the suggestions and their regrets, one a draw; seconds of the ways, one a draw."""
    bench = wb.Workbench(task, log=None)
    rates: dict[str, list[float | None]] = {}
    seconds: dict[str, list[float]] = {"range test": [], "sweep": []}
    for turn, draw in enumerate(DRAWS):
        anew = config.replace(seed=draw)
        ways: dict[str, Callable[[], dict[str, float | None]]] = {
            "range test": lambda anew=anew: {OURS: bench.lr_range_test(anew, blocking=True).suggestion},  # type: ignore[misc]
            "sweep": lambda anew=anew: sweep(task, anew),  # type: ignore[misc]
        }
        for way in list(ways)[:: 1 if turn % 2 else -1]:
            took, found = timed(ways[way])
            seconds[way].append(took)
            for name, rate in found.items():
                rates.setdefault(name, []).append(rate)
    tried = [*GRID, *(rate for name in (OURS, *CLASSIC) for rate in rates[name] if rate is not None)]
    losses, start = trained(task, config, tried)
    least = losses[: len(GRID)].min()
    regrets = iter(((losses[len(GRID) :] - least) / (start - least)).tolist())
    regret = {name: [1.0 if rate is None else next(regrets) for rate in rates[name]] for name in (OURS, *CLASSIC)}
    return {"rates": rates, "regret": regret, "seconds": seconds}


def trained(task: wb.Task, config: wb.Config, rates: Sequence[float]) -> tuple[NDArray[np.float64], float]:
    """Least validation loss of a training with each rate, mean over the seeds and at most the untrained model's; that one's."""
    loss_of = cross_entropy if task.kind == "classification" else mse_loss
    untrained = np.empty(len(SEEDS))
    for index, seed in enumerate(SEEDS):
        with torch.no_grad():
            outputs = build_model(task, config.replace(seed=seed)).eval()(task.validation.x)
            untrained[index] = float(loss_of(outputs, task.validation.y))
    pairs = [(rate, seed) for rate in rates for seed in SEEDS]
    domain = (1e-6, 10.0)
    trials = {
        number: config.replace(learning_rate=float(np.clip(rate, *domain)), seed=seed)
        for number, (rate, seed) in enumerate(pairs)
    }
    ends = np.full(len(pairs), np.inf)
    for event in wb.train(task, trials):
        if isinstance(event, TrialEnded):
            ends[event.trial] = event.best_val_loss if event.best_epoch else np.inf
    return np.fmin(ends.reshape(-1, len(SEEDS)), untrained).mean(1), float(untrained.mean())


def summary(cells: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """Of each way: regret over all draws, how far it is behind the range test (95% interval, tasks drawn anew), spread, failures.

    cells: by task, by optimizer.
    """
    found: dict[str, dict[str, float]] = {}
    drawn = np.random.default_rng(0).integers(0, len(cells), (10_000, len(cells)))
    by_task = {
        name: np.array([np.mean([one["regret"][name] for one in group.values()]) for group in cells.values()])
        for name in (OURS, *CLASSIC)
    }
    for name in (OURS, *CLASSIC):
        several = [one for group in cells.values() for one in group.values()]
        regrets = np.array([one["regret"][name] for one in several])
        behind = by_task[name] - by_task[OURS]
        low, high = np.quantile(behind[drawn].mean(1), [0.025, 0.975])
        logs = [np.log10([rate for rate in one["rates"][name] if rate is not None]) for one in several]
        found[name] = {
            "mean regret": float(regrets.mean()),
            "q90": float(np.quantile(regrets, 0.9)),
            "max": float(regrets.max()),
            "behind": float(behind.mean()),
            "behind, low": float(low),
            "behind, high": float(high),
            "spread": float(np.mean([places.std(ddof=1) for places in logs if len(places) > 1])),
            "failures": sum(rate is None for one in several for rate in one["rates"][name]),
            "suggestions": regrets.size,
        }
    return found


def report(title: str, cells: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, float]]:
    found = summary(cells)
    print(
        f"\n{title}\n{'':14}{'mean regret':>12}{'q90':>7}{'max':>7}{'behind range test':>26}{'spread':>8}  no suggestion"
    )
    for name, row in found.items():
        behind = f"{row['behind']:+.3f} ({row['behind, low']:+.3f} to {row['behind, high']:+.3f})"
        print(
            f"{name:14}{row['mean regret']:12.3f}{row['q90']:7.3f}{row['max']:7.3f}{behind:>26}{row['spread']:8.2f}  "
            f"{row['failures']} of {row['suggestions']}"
        )
    return found


def main(tasks: dict[str, tuple[Callable[[], wb.Task], wb.Config]] | None = None) -> dict[str, Any]:
    warm = wb.Task.load("moons")  # what runs for the first time is slow
    sweep(warm, prepare(warm, MLP))
    cells: dict[str, dict[str, dict[str, Any]]] = {}
    for name, (load, base) in (tasks or FRESH | KNOWN).items():
        task = load()
        for optimizer in OPTIMIZERS:
            config = prepare(task, base.replace(optimizer=optimizer))
            one = cells.setdefault(name, {})[optimizer] = cell(task, config)
            means = ", ".join(f"{way} {np.mean(values):.3f}" for way, values in one["regret"].items())
            print(f"{name}, {optimizer}: {means}", flush=True)
    found: dict[str, Any] = {"cells": cells}
    counted = {name: group for name, group in cells.items() if name not in KNOWN}
    found["summary"] = report("tasks new to the rule", counted)
    for name in KNOWN:
        if name in cells:
            found[name] = report(name, {name: cells[name]})
    print("\nmean regret by task")
    for name, group in cells.items():
        line = [f"{way} {np.mean([one['regret'][way] for one in group.values()]):.3f}" for way in (OURS, *CLASSIC)]
        print(f"{name:16}" + "  ".join(line))
    pairs = [
        pair
        for group in cells.values()
        for one in group.values()
        for pair in zip(one["seconds"]["range test"], one["seconds"]["sweep"], strict=True)
    ]
    found["time ratio"] = statistics.median(ours / theirs for ours, theirs in pairs)
    print(f"\ntime, range test / sweep: {found['time ratio']:.1f}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write all results to this file")
    arguments = parser.parse_args()
    results = main()
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
