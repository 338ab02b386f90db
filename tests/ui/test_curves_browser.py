"""Live curves in a real browser: what is drawn, read, zoomed and picked, and what a reload or a second view shows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from tests.ui.harness import (
    Page,
    declare_trial,
    grow,
    make_curves,
    scene_diverged,
    scene_many,
    scene_one_run,
    scene_seeds,
)

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    curves, sent = make_curves(epochs=30)
    tab = browser.new_page(viewport={"width": 1200, "height": 900})
    made = Page(tab, curves, sent)
    yield made
    tab.close()
    assert made.problems == []


def texts(page: Page, selector: str) -> list[str]:
    return [text.strip() for text in page.page.locator(selector).all_inner_texts()]


def middle(page: Page, chart: int = 0, x: float = 0.5, y: float = 0.5) -> tuple[float, float]:
    """A place in a plot's inner area, as shares of its width and height, in page coordinates."""
    box = page.page.locator(".u-over").nth(chart).bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def test_empty_then_growing(page: Page) -> None:
    page.flush()
    assert texts(page, ".wbc-empty") == ["Press Train: curves appear here"] * 2
    assert page.ink() == 0
    declare_trial(page.curves, 1, "#1 adam")
    grow(page.curves, 1, 1, 0.2, 1)
    page.flush()
    assert texts(page, ".wbc-empty") == ["", ""]
    first = page.ink()
    assert first > 0
    grow(page.curves, 1, 20, 0.2, 2, start=2)
    page.flush()
    assert page.ink() > first + 500
    assert page.ink(chart=1) > 500
    y = page.curves.checkpoint()["1/loss/validation"][1][-1]
    assert f"{y:.4g}" in texts(page, ".wbc-readout")[0]
    assert texts(page, ".wbc-entry") == ["#1 adam"]


def test_two_views_and_a_reload_show_everything(page: Page) -> None:
    scene_seeds(page.curves)
    page.flush()
    ink = page.ink()
    page.page.evaluate("harness.view()")
    page.flush()
    assert page.ink(view=1) == page.ink(view=0) == ink
    page.page.evaluate("harness.removeView(0)")
    page.load()  # the kernel is busy: more points come before it can answer the new page's hello
    grow(page.curves, 1, 31, 0.17, 1, start=31)
    page.flush()
    assert page.ink() == 0
    page.answer()
    grow(page.curves, 2, 31, 0.19, 1, start=31)
    page.flush()
    assert page.ink() >= ink
    assert "epoch 31" in texts(page, ".wbc-readout")[0]
    page.answer()
    page.flush()
    assert "epoch 31" in texts(page, ".wbc-readout")[0]


def test_readout_hover_and_pick(page: Page) -> None:
    scene_one_run(page.curves)
    page.flush()
    # epoch 12 is where the learning rate changed: 11/29 of the axis, plus its air of 1.5 %
    at = (11 + 0.435) / (29 + 0.87)
    page.page.mouse.move(*middle(page, 0, at))
    page.flush()
    reading, other = texts(page, ".wbc-readout")
    assert reading.startswith("epoch 12")
    assert "learning rate 0.01 → 0.003" in reading
    assert other.startswith("epoch 12")  # the cursors go together
    page.page.mouse.move(5, 5)
    page.flush()
    assert texts(page, ".wbc-readout")[0].startswith("epoch 22")
    y = page.page.evaluate(
        """() => {
            const canvas = document.querySelector('canvas'), over = document.querySelector('.u-over');
            return [over.clientWidth, over.clientHeight, canvas.width];
        }"""
    )
    assert y[0] > 400
    picked: list[tuple[int, float]] = []
    page.curves.on_pick(lambda trial, epoch: picked.append((trial, epoch)))
    for share in range(2, 99, 4):  # down the plot at epoch 12, through both curves
        page.page.mouse.click(*middle(page, 0, at, share / 100))
    page.answer()
    assert picked
    assert set(picked) == {(1, 12.0)}


def test_zoom_by_drag_survives_new_points_and_resets(page: Page) -> None:
    declare_trial(page.curves, 1)
    grow(page.curves, 1, 10, 0.2, 1)
    page.flush()
    reset = page.page.locator(".wbc-reset").first
    assert not reset.is_visible()
    page.page.mouse.move(*middle(page, 0, 0.1, 0.5))
    page.page.mouse.down()
    page.page.mouse.move(*middle(page, 0, 0.2, 0.5), steps=4)
    grow(page.curves, 1, 12, 0.2, 3, start=11)
    page.flush()
    assert page.page.locator(".u-select").first.bounding_box()["width"] > 20  # type: ignore[index]
    page.page.mouse.up()
    page.flush()
    assert reset.is_visible()
    zoomed = page.ink()
    grow(page.curves, 1, 20, 0.2, 4, start=13)
    page.flush()
    assert page.ink() == pytest.approx(zoomed, rel=0.05)
    reset.click()
    page.flush()
    assert not reset.is_visible()
    page.page.mouse.move(*middle(page, 1, 0.3, 0.2))
    page.page.mouse.down()
    page.page.mouse.move(*middle(page, 1, 0.6, 0.7), steps=4)
    page.page.mouse.up()
    page.flush()
    assert reset.is_visible()
    page.page.mouse.dblclick(*middle(page, 1))
    page.flush()
    assert not reset.is_visible()


def test_log_scale_is_per_chart_and_survives_updates(page: Page) -> None:
    scene_one_run(page.curves)
    page.flush()
    toggle = page.page.get_by_role("button", name="log").first
    assert toggle.get_attribute("aria-pressed") == "false"
    toggle.click()
    page.flush()
    assert toggle.get_attribute("aria-pressed") == "true"
    assert "click for a linear one" in (toggle.get_attribute("title") or "")
    assert page.page.get_by_role("button", name="log").nth(1).get_attribute("aria-pressed") == "false"
    assert page.ink() > 500
    page.curves.append({"1/loss/validation": ([23, 24, 25], [0.0, -1.0, 0.2])})  # no logarithm: gaps
    page.flush()
    assert page.ink() > 500


def test_divergence_is_flagged_and_does_not_squash(page: Page) -> None:
    scene_diverged(page.curves)
    page.flush()
    assert texts(page, ".wbc-beyond") == ["▲ up to 1e30", ""]
    assert page.ink() > 1000
    page.curves.clear()
    page.flush()
    assert texts(page, ".wbc-beyond") == ["", ""]
    assert texts(page, ".wbc-entry") == []


def test_only_nan_and_infinity(page: Page) -> None:
    declare_trial(page.curves, 1)
    page.curves.append({"1/loss/validation": ([1, 2], [math.nan, math.inf])})
    page.flush()
    assert texts(page, ".wbc-empty") == ["", ""]
    assert "inf" in texts(page, ".wbc-readout")[0]
    page.page.get_by_role("button", name="log").first.click()
    page.flush()


def test_themes_switch_live(page: Page) -> None:
    scene_many(page.curves)
    page.flush()
    colour = "getComputedStyle(document.querySelector('.wbc-entry .wbc-chip')).backgroundColor"
    light = page.page.evaluate(colour)
    page.theme(dark=True)
    assert page.page.evaluate(colour) != light
    page.theme(dark=False)
    assert page.page.evaluate(colour) == light


def test_side_by_side_from_560_pixels_and_steady_in_height(page: Page) -> None:
    def places() -> list[dict[str, float]]:
        return [page.page.locator(".wbc-chart").nth(i).bounding_box() for i in (0, 1)]  # type: ignore[misc]

    def height() -> float:
        return page.page.locator(".wbc").bounding_box()["height"]  # type: ignore[index,no-any-return]

    page.flush()
    empty = height()
    scene_many(page.curves)
    page.flush()
    assert height() == empty
    for width, beside in ((800, True), (540, False), (1200, True)):
        page.page.set_viewport_size({"width": width, "height": 900})
        page.flush()
        left, right = places()
        assert (left["y"] == right["y"]) == beside
        assert right["x"] + right["width"] <= width
        canvas = page.page.locator("canvas").first.bounding_box()
        assert canvas is not None
        assert abs(canvas["width"] - left["width"]) < 1.5


def test_legend_hides_and_highlights(page: Page) -> None:
    declare_trial(page.curves, 1, "#1")
    declare_trial(page.curves, 2, "#2")
    grow(page.curves, 1, 20, 0.2, 1)
    grow(page.curves, 2, 20, 0.05, 2)
    page.flush()
    both = page.ink()
    entry = page.page.get_by_role("button", name="#2")
    entry.click()
    page.page.mouse.move(5, 5)
    entry.blur()
    page.flush()
    assert entry.get_attribute("aria-pressed") == "false"
    assert 0 < page.ink() < 0.8 * both
    entry.click()
    page.page.mouse.move(5, 5)
    entry.blur()
    page.flush()
    assert page.ink() == both


def test_a_broken_message_leaves_the_widget_alive(page: Page) -> None:
    scene_one_run(page.curves)
    page.flush()
    page.answer()
    page.sent.clear()
    page.sent.append(({"seq": page.curves._sequence + 1, "ops": [{"op": "append", "runs": 1, "points": 9}]}, [b"abcd"]))
    page.flush()
    assert "9 points in 1 runs" in texts(page, ".wbc-error")[0]
    assert len(page.problems) == 1
    page.problems.clear()
    page.page.wait_for_timeout(3100)  # a front end asks for a checkpoint again after 3 s at the earliest
    page.curves.append({"1/loss/validation": ([23], [0.2])})
    page.flush()
    page.answer()
    page.flush()
    page.page.get_by_role("button", name="Draw again").click()
    page.flush()
    assert not page.page.locator(".wbc-error").is_visible()
    assert "epoch 23" in texts(page, ".wbc-readout")[0]
    assert page.ink() > 500
