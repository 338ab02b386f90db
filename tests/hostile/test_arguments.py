"""Every public call with values that no argument expects: a right result or an error of the project's own, and no trace."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

import workbench as wb
from tests.hostile.values import SHORT, SPACE, VALUES, Case, cases
from workbench.core.registry import LOSSES, METRICS, MODELS, OPTIMIZERS, SCHEDULES
from workbench.log import schema

REGISTRIES = (LOSSES, METRICS, MODELS, OPTIMIZERS, SCHEDULES)
ALL = list(cases())


@pytest.fixture(scope="module")
def bench() -> wb.Workbench:
    """Three trials, two of a search."""
    bench = wb.Workbench(wb.Task.load("iris"))
    bench.search(space=SPACE, base=SHORT, trials=2, blocking=True)
    bench.run(SHORT)
    return bench


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of its own for what is written, and the tables of choices as they were."""
    monkeypatch.chdir(tmp_path)
    before = [set(registry) for registry in REGISTRIES]
    yield
    for registry, known in zip(REGISTRIES, before, strict=True):
        for name in set(registry) - known:
            registry.unregister(name)


def rows(bench: wb.Workbench) -> list[int]:
    """How much there is in each table of the log."""
    with bench.log.database.read() as connection:
        tables = schema.metadata.sorted_tables
        return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]


def attempt(case: Case, value: Any, bench: wb.Workbench) -> str:
    """What is wrong with the call's answer to the value; empty if nothing is."""
    before = rows(bench)
    try:
        result = case.call(value, bench)
        if hasattr(result, "wait"):
            result.wait(20)
    except wb.WorkbenchError as error:
        if not str(error).strip():
            return "an error without a message"
        if rows(bench) != before:
            return f"rejected ({error}), but rows were written"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:150]}"
    else:
        if complaint := misplaced(case, value):
            return complaint
    if bench.active:
        return "a run is still active"
    return ""


TEXTS = {"name", "note", "label", "meaning"}


def misplaced(case: Case, value: Any) -> str:
    """Why a value cannot have been right where it was accepted; empty if it may have been."""
    if case.argument in TEXTS and not isinstance(value, (str, type(None))):
        return f"accepted {value!r:.60} as a text"
    if case.argument in {"seed", "seeds", "top", "epochs", "trials"} and (isinstance(value, (bool, str, bytes))):
        return f"accepted {value!r:.60} as a whole number"
    if isinstance(value, float) and case.argument in {"low", "high", "default", "learning_rate", "seconds"}:
        return "" if value == 1.5 else f"accepted {value!r} as a number"
    return ""


@pytest.mark.parametrize("call", sorted({case.name for case in ALL}))
def test_each_argument_with_each_value(call: str, bench: wb.Workbench) -> None:
    wrong = []
    for case in (case for case in ALL if case.name == call):
        for name, make in VALUES.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if complaint := attempt(case, make(), bench):
                    wrong.append(f"{call}({case.argument}={name}): {complaint}")
    assert not wrong, f"{len(wrong)} calls:\n" + "\n".join(wrong)
