"""Handles are complete before they are queued: a job that ends at once meets no missing attribute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import workbench as wb
from workbench.runs.run import Run
from workbench.runs.runner import Runner

SHORT = wb.Config(epochs=2)
RATES = {"learning_rate": wb.Choice(0.01, 0.1)}
CALLS: dict[str, Callable[[wb.Workbench], Any]] = {
    "start": lambda bench: bench.start(SHORT.replace(seed=7)),
    "branch": lambda bench: bench.branch(1, epoch=1, learning_rate=0.02),
    "replay": lambda bench: bench.replay(1),
    "add_seeds": lambda bench: bench.add_seeds(1, 1),
    "finetune": lambda bench: bench.finetune(1, config=SHORT),
    "search": lambda bench: bench.search("random", RATES, SHORT, trials=2),
    "compare": lambda bench: bench.compare("optimizer", ["sgd", "adam"], nuisance=RATES, base=SHORT, trials=2, seeds=2),
    "continue_on": lambda bench: bench.continue_on(more(bench), top=1),
}


def more(bench: wb.Workbench) -> Any:
    """All rows of iris, and one that is new."""
    import numpy as np
    from sklearn.datasets import load_iris

    X, y = load_iris(return_X_y=True)
    return np.vstack([X, X[:1] + 0.01]), np.append(y, y[0])


@pytest.mark.parametrize("call", CALLS)
def test_a_handle_is_complete_when_it_is_queued(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.datasets import load_iris

    bench = wb.Workbench(wb.Task.from_arrays(*load_iris(return_X_y=True), name="rows"))
    bench.run(SHORT)
    submit, queued = Runner.submit, []

    def submitted(runner: Runner, run: Run) -> None:
        queued.append(run)
        names = [name for name in dir(type(run)) if isinstance(getattr(type(run), name, None), property)]
        for name in names:
            try:
                getattr(run, name)
            except AttributeError as error:
                raise AssertionError(f"{type(run).__name__}.{name}: {error}") from error
            except Exception:  # of a table without trials yet, which says so
                continue
        repr(run)
        before = set(vars(run))
        submit(runner, run)
        run.wait(60)  # it has ended before the call returns
        late.append((run, before))

    late: list[tuple[Run, set[str]]] = []
    monkeypatch.setattr(Runner, "submit", submitted)
    CALLS[call](bench)
    assert queued
    for run, before in late:
        assert set(vars(run)) == before
