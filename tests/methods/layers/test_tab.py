"""The layers tab without a browser: what it shows, what it asks for, what it sends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from workbench.methods.layers.tab import HINT, LayersPanel, Picture

PNG = b"\x89PNG\r\n\x1a\n"
LIVE = Picture("Trial 7, training: epoch 4, step 41", "<div>histograms</div>", PNG, "<svg></svg>", epoch=4)
ENDED = replace(LIVE, caption="Trial 7 after its best epoch 9", epochs=(3, 12), epoch=9)


@pytest.fixture
def asked() -> list[int | None]:
    return []


@pytest.fixture
def panel(asked: list[int | None]) -> LayersPanel:
    return LayersPanel(asked.append)


def hidden(widget: Any) -> bool:
    return bool(widget.layout.display == "none")


def test_without_a_trial_it_says_what_to_do(panel: LayersPanel) -> None:
    assert HINT in panel.caption.value
    assert hidden(panel._both)
    assert hidden(panel._past)


def test_a_picture_is_shown_and_a_task_without_a_plane_has_none(panel: LayersPanel) -> None:
    panel.show(LIVE)
    assert (panel.layers.value, panel.raster.value, panel.frame.value) == (LIVE.layers, PNG, LIVE.frame)
    assert not hidden(panel._both)
    assert not hidden(panel._plane)
    panel.show(replace(LIVE, raster=None))
    assert hidden(panel._plane)
    panel.show_problem("trial 8 has no <finished> epoch")
    assert "no &lt;finished&gt; epoch" in panel.caption.value
    assert hidden(panel._both)
    panel.show(LIVE)
    assert not hidden(panel._both)


def test_of_an_ended_trial_an_epoch_can_be_chosen_and_the_best_one(panel: LayersPanel, asked: list[int | None]) -> None:
    panel.show(LIVE)
    assert (panel.epoch.value, panel.epoch.max, panel.epoch.disabled) == (4, 4, True)
    assert panel.best.disabled
    panel.show(ENDED)
    assert (panel.epoch.min, panel.epoch.max, panel.epoch.value) == (3, 12, 9)
    assert not panel.epoch.disabled
    assert asked == []  # what the panel sets itself is no wish
    panel.epoch.value = 5
    panel.best.click()
    assert asked == [5, None]


@pytest.mark.parametrize("second", [(1, 2), (40, 90), (3, 12)])
def test_another_trial_has_other_epochs(panel: LayersPanel, asked: list[int | None], second: tuple[int, int]) -> None:
    panel.show(ENDED)
    panel.show(replace(ENDED, epochs=second, epoch=second[1]))
    assert (panel.epoch.min, panel.epoch.max, panel.epoch.value) == (*second, second[1])
    assert asked == []


def test_while_weights_are_fetched_it_says_so_and_keeps_the_picture(panel: LayersPanel) -> None:
    panel.show(ENDED)
    panel.busy = "Reading the weights of trial 7 …"
    assert "Reading the weights" in panel.caption.value
    assert not hidden(panel._both)
    panel.show(replace(ENDED, epoch=5))
    assert panel.busy == ""
    assert "best epoch 9" in panel.caption.value


def test_only_what_changed_is_sent(panel: LayersPanel) -> None:
    panel.show(LIVE)
    sent: list[str] = []
    for name in ("caption", "layers", "raster", "frame"):
        getattr(panel, name).observe(lambda change, name=name: sent.append(name), "value")
    panel.show(replace(LIVE, caption="Trial 7, training: epoch 5, step 52", layers="<div>others</div>"))
    assert sent == ["caption", "layers"]


def test_text_of_the_users_is_escaped(panel: LayersPanel) -> None:
    panel.show(replace(LIVE, caption="<b>mine</b>"))
    assert "<b>mine" not in panel.caption.value
