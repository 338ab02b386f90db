"""The view of a Workbench that was made again with other models (a cell that is run again) is about the new ones."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from torch import nn

import workbench as wb


def builder(**hyperparameters: Any) -> Any:
    def build(task: Any, *, width: int = wb.IntRange(2, 64, default=hyperparameters["width"])) -> nn.Module:  # type: ignore[assignment]
        return nn.Sequential(nn.Linear(4, width), nn.Linear(width, 3))

    return build


def own_models(view: Any) -> list[str]:
    return [name for _, name in view.controls.field("model").menu() if name in ("mine", "slow")]


def shown(bench: wb.Workbench) -> Any:
    bench._ipython_display_()
    return bench.presenter.shown


def test_controls_are_those_of_the_workbench_on_show(tmp_path: Path) -> None:
    iris, began, go_on = wb.Task.load("iris"), threading.Event(), threading.Event()

    def slow(task: Any) -> nn.Module:
        if threading.current_thread() is not threading.main_thread():
            began.set()
            assert go_on.wait(60)
        return nn.Linear(4, 3)

    first = wb.Workbench(iris, log=tmp_path / "trials.db", models={"mine": builder(width=8), "slow": slow})
    view = shown(first)
    other = wb.Workbench(iris, models={"mine": builder(width=32)})
    view.controls.field("model").control.value = "mine"  # as the mouse does, outside of any call of the Workbench
    assert view.controls.field("width").raw == 8
    assert own_models(view) == ["mine", "slow"]
    run = first.start(wb.Config(model="slow", epochs=1))
    assert began.wait(60)
    assert shown(first) is view
    view.controls.load(wb.Config(epochs=7))
    second = wb.Workbench(iris, log=tmp_path / "trials.db", models={"mine": builder(width=16)})
    again = shown(second)
    assert again is not view
    assert again.controls.read().epochs == 7  # what was set before stays
    again.controls.field("model").control.value = "mine"
    assert again.controls.field("width").raw == 16
    assert own_models(again) == ["mine"]
    go_on.set()
    run.wait()
    assert own_models(shown(other)) == ["mine"]
