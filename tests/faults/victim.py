"""A process that forks others to train and be killed: so each starts at once, with torch imported, as a fresh kernel would.

Reads commands as lines of JSON on standard input: {"job": name, "log": path or URL, "found": path, "resume": bool, "kill_at":
a `Moment` as a list, or null}. Forks a child that does the job (or resumes what is left of it) and writes its outcome; prints
the child's pid, then, after its end, its exit code.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import optuna
import sklearn.datasets  # noqa: F401  what a child would import by itself, each of them again
import sqlalchemy.dialects.sqlite  # noqa: F401
import torch
import torch._dynamo
from torch import nn

import workbench as wb
import workbench.methods.tabs
from tests.faults.moments import Moment, install
from workbench.training.cohort import Cohort

assert wb.Workbench  # imported now, not in each child
THREADS = torch.get_num_threads()
torch.set_num_threads(
    1
)  # threads that torch started here would be missing in the children, which wait for them for good
TASK = wb.Task.load("iris")
torch.set_num_threads(THREADS)
BASE = wb.Config(hidden_units=16, batch_size=16, epochs=30)
SPACE = {"learning_rate": wb.LogRange(1e-4, 1e-1), "l2": wb.LogRange(1e-6, 1e-2), "optimizer": ["adam", "momentum"]}


def alone(bench: wb.Workbench) -> Any:
    config = BASE.replace(epochs=120, dropout=0.3, batch_norm=True, schedule="plateau", plateau_patience=2)
    return bench.start(config, changes=[(100, "learning_rate", 0.01), (333, "l1", 1e-4), (500, "l1", 0.0)])


def seeds(bench: wb.Workbench) -> Any:
    return bench.start(BASE.replace(dropout=0.2, patience=30, learning_rate=0.05, epochs=60), seeds=5)


def branch(bench: wb.Workbench) -> Any:
    bench.run(BASE.replace(epochs=5))
    return bench.branch(1, epoch=3, epochs=40, seeds=2, optimizer="momentum", learning_rate=0.02)


def queue(bench: wb.Workbench) -> Any:
    bench.start(BASE, seeds=2)
    bench.start(BASE.replace(optimizer="sgd", learning_rate=0.1))
    return bench.search("random", SPACE, BASE.replace(epochs=6), trials=8, cohort=4)


def random_search(bench: wb.Workbench) -> Any:
    base = BASE.replace(epochs=8)
    return bench.search("random", SPACE, base, trials=16, pruner="median", cohort=8, seeds=2, seed=3)


def learning_search(bench: wb.Workbench) -> Any:
    bench.run(BASE.replace(epochs=3, learning_rate=0.02))
    return bench.search("tpe", SPACE, BASE.replace(epochs=6), trials=16, pruner="halving", cohort=8)


def grid_search(bench: wb.Workbench) -> Any:
    space = {"learning_rate": wb.LogRange(1e-3, 1e-1), "hidden_units": [8, 16]}
    return bench.search("grid", space, BASE.replace(epochs=10), points=6, cohort=5)


def comparison(bench: wb.Workbench) -> Any:
    nuisance = {"learning_rate": wb.LogRange(1e-3, 1e-1)}
    return bench.compare(
        "optimizer", ["adam", "sgd"], nuisance=nuisance, base=BASE.replace(epochs=6), trials=6, seeds=2
    )


def rejecting_search(bench: wb.Workbench) -> Any:
    """Of few configurations, half of which the task cannot train, so that the others are drawn again."""
    space = {"batch_size": [16, 4096], "optimizer": ["adam", "momentum"]}
    return bench.search("tpe", space, BASE.replace(epochs=6), trials=20, cohort=4)


def constrained_search(bench: wb.Workbench) -> Any:
    return bench.search("random", SPACE, BASE, where=lambda c: c.learning_rate > 1e-3, trials=8, cohort=4)


def build(task: Any, *, width: int = wb.IntRange(4, 64, default=8)) -> nn.Module:  # type: ignore[assignment]
    """A model of one's own."""
    return nn.Sequential(nn.Linear(task.input_shape[0], width), nn.Tanh(), nn.Linear(width, task.output_size))


def own_model(bench: wb.Workbench) -> Any:
    wb.register_model("own", build)
    return bench.start(wb.Config(model="own", width=12, epochs=100))


def own_sampler(bench: wb.Workbench) -> Any:
    sampler = optuna.samplers.RandomSampler(seed=1)
    return bench.search(sampler, SPACE, BASE.replace(epochs=20), trials=8, cohort=4)


def fragile(cohort: Cohort, *batch: Any, real: Any = Cohort.step) -> Any:
    """A step that raises from the fourth epoch on where the trial with the learning rate 0.03 takes part."""
    if any(row.config.learning_rate == 0.03 and row.epoch >= 3 for row in cohort.rows):
        raise ValueError("too fragile")
    return real(cohort, *batch)


def breaking(bench: wb.Workbench) -> Any:
    """A cohort whose third trial raises: all are tried again one by one."""
    Cohort.step = fragile  # type: ignore[method-assign]
    return bench.search("grid", {"learning_rate": [0.001, 0.01, 0.03, 0.02]}, BASE.replace(epochs=12), cohort=4)


def changed_at_once(bench: wb.Workbench) -> Any:
    return bench.start(BASE.replace(epochs=5), changes=[(0, "learning_rate", 0.1)])


OTHERS = {
    job.__name__: job
    for job in (own_model, own_sampler, breaking, changed_at_once, rejecting_search, constrained_search)
}
"""Those that not every moment is tried of, and what cannot be resumed without the user's help."""

JOBS = {
    job.__name__: job for job in (alone, seeds, branch, queue, random_search, learning_search, grid_search, comparison)
}


def outcome(bench: wb.Workbench) -> dict[str, Any]:
    """All that an uninterrupted training leaves, without times: the log's numbers, and the last state of each cohort."""
    curves = bench.curves().drop(columns="seconds")
    assert bench.checkpoints.flush(120)  # a disk may be busy with something else
    ends = bench.log.history.ends(*map(int, bench.trials["trial"]))
    states = {}
    for series in sorted(
        {series for series, _ in bench.log.history.cohorts(*map(int, bench.trials["trial"])).values()}
    ):
        kept = bench.checkpoints.epochs(series)
        if not kept:  # killed before the first burst, with nothing left to be resumed
            states[series] = [0, [], ""]
            continue
        last = bench.checkpoints.load(series, kept[-1])
        digest = hashlib.sha256()
        for tensor in (last.theta, *last.orders, *last.noises, *(b.vector for b in last.best if b is not None)):
            digest.update(tensor.contiguous().numpy().tobytes())
        states[series] = [last.epoch, last.trials, digest.hexdigest()]
    return {
        "curves": curves.to_json(orient="split", double_precision=15),
        "bits": hashlib.sha256(curves.to_numpy(float).tobytes()).hexdigest(),
        "ends": {t: [str(e.state), e.epochs_run, e.step, e.best_epoch, repr(e.best_val_loss)] for t, e in ends.items()},
        "configs": {n: one.config for n, one in bench.log.records(list(map(int, bench.trials["trial"]))).items()},
        "states": states,
    }  # fmt: skip


def do(command: dict[str, Any]) -> None:
    asked = threading.Event()
    if command["kill_at"]:
        install(Moment(*command["kill_at"], asked=asked))
    os.chdir(Path(command["found"]).parent)  # where the checkpoints of a server's log lie
    bench = wb.Workbench(TASK, log=command["log"])
    handle = bench.resume() if command["resume"] else {**JOBS, **OTHERS}[command["job"]](bench)
    asked.set()
    handle.wait()
    for run in bench.active:
        run.wait()
    found = outcome(bench)
    Path(command["found"]).write_text(json.dumps(found))


def main() -> None:
    for line in sys.stdin:
        command = json.loads(line)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                do(command)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
