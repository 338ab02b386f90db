"""The built front end in a real browser, with a `LiveCurves` in this process playing the kernel.

Run as a script with a folder to look at every scene: `PYTHONPATH=. python tests/widgets/harness.py shots`.
"""

from __future__ import annotations

import base64
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.lab import INK
from workbench.ui.curves import Chart, LiveCurves, Series

ROOT = Path(__file__).parents[2]
ORIGIN = "http://curves.invalid"  # answered from the disk, never by a network
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def make_curves(**settings: Any) -> tuple[LiveCurves, list[tuple[dict[str, Any], list[bytes]]]]:
    """Live curves with two charts, and the list into which their messages go."""
    curves = LiveCurves(
        [
            Chart("loss", "Loss", "cross-entropy"),
            Chart("metric", "Accuracy", "share of correct labels", better="higher"),
        ],
        **settings,
    )
    sent: list[tuple[dict[str, Any], list[bytes]]] = []
    curves.send = lambda content, buffers=None: sent.append((content, list(buffers or [])))
    return curves, sent


def declare_trial(curves: LiveCurves, trial: int, label: str = "", **configurations: Any) -> None:
    """Train and validation series of one trial on both charts, with ids like `7/loss/train`."""
    curves.declare(
        [
            Series(f"{trial}/{chart}/{role}", chart, trial, label or f"#{trial}", role, **configurations)
            for chart in ("loss", "metric")
            for role in ("train", "validation")
        ]
    )


class Page:
    """A browser page with the widget; `flush` carries the messages over, `answer` plays the kernel's side."""

    def __init__(self, page: Any, curves: LiveCurves, sent: list[tuple[dict[str, Any], list[bytes]]]) -> None:
        self.page, self.curves, self.sent = page, curves, sent
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda line: self.problems.append(line.text) if line.type == "error" else None)
        page.route(f"{ORIGIN}/**", self._serve)
        self.load()

    def _serve(self, route: Any) -> None:
        path = ROOT / route.request.url.removeprefix(ORIGIN).lstrip("/")
        if path.is_file():
            route.fulfill(path=path, content_type=TYPES.get(path.suffix, "text/plain"))
        else:
            route.fulfill(status=204)

    def load(self) -> None:
        """Opens or reloads the page: a new model with the synced traits only, which says hello."""
        self.page.goto(f"{ORIGIN}/frontend/dev/harness.html")
        self.page.wait_for_selector("body[data-ready]")
        self.page.evaluate("state => { harness.start(state); harness.view(); }", self.curves.get_state())

    def answer(self) -> None:
        """Hands what the page said to the kernel's side."""
        for content in self.page.evaluate("harness.sent.splice(0)"):
            self.curves._receive(self.curves, content, [])

    def flush(self) -> None:
        """Delivers the messages waiting and waits until they are drawn."""
        messages = [[content, [base64.b64encode(b).decode() for b in buffers]] for content, buffers in self.sent]
        self.sent.clear()
        for trait in ("epochs", "x_label", "empty_text"):
            self.page.evaluate("([name, value]) => harness.set(name, value)", [trait, getattr(self.curves, trait)])
        self.page.evaluate("m => { harness.deliver(m); return harness.settled(); }", messages)

    def theme(self, dark: bool) -> None:
        self.page.evaluate("light => { document.body.dataset.jpThemeLight = light; }", "false" if dark else "true")
        self.page.evaluate("harness.settled()")

    def ink(self, chart: int = 0, view: int = 0) -> int:
        """How many saturated pixels (curves, not axes) the canvas of a chart holds."""
        canvas = self.page.locator(".view").nth(view).locator("canvas").nth(chart)
        return int(canvas.evaluate(INK))


def grow(curves: LiveCurves, trial: int, epochs: int, rate: float, seed: int, start: int = 1) -> None:
    """A plausible run: train loss falls, validation loss turns up again later."""
    noise = random.Random(seed)
    loss_train, loss_val, score_train, score_val = [], [], [], []
    xs = list(range(start, epochs + 1))
    for epoch in xs:
        base = 2.2 * math.exp(-rate * epoch) + 0.05
        loss_train.append(base + noise.gauss(0, 0.015))
        loss_val.append(base + 0.12 + 0.004 * rate * epoch + noise.gauss(0, 0.02))
        score_train.append(min(1.0, 1 - 0.4 * base + noise.gauss(0, 0.006)))
        score_val.append(min(1.0, 0.96 - 0.38 * base + noise.gauss(0, 0.008)))
    curves.append(
        {
            f"{trial}/loss/train": (xs, loss_train),
            f"{trial}/loss/validation": (xs, loss_val),
            f"{trial}/metric/train": (xs, score_train),
            f"{trial}/metric/validation": (xs, score_val),
        }
    )


def scene_empty(curves: LiveCurves) -> None:
    curves.epochs = 30


def scene_one_point(curves: LiveCurves) -> None:
    curves.epochs = 30
    declare_trial(curves, 1, "#1 adam 0.01")
    grow(curves, 1, 1, 0.2, 1)


def scene_one_run(curves: LiveCurves) -> None:
    curves.epochs = 30
    declare_trial(curves, 1, "#1 adam 0.01")
    grow(curves, 1, 22, 0.2, 1)
    curves.mark(1, 18, "best")
    curves.mark(1, 12, "change", "learning rate 0.01 → 0.003")


def scene_seeds(curves: LiveCurves) -> None:
    curves.epochs = 40
    for trial in range(1, 6):
        declare_trial(curves, trial, "adam 0.01", group="adam")
        grow(curves, trial, 30, 0.15 + 0.02 * trial, trial)
        curves.mark(trial, 24 + trial, "best")


def scene_overlay(curves: LiveCurves) -> None:
    curves.epochs = 40
    for trial in (1, 2, 3):
        declare_trial(curves, trial, f"#{trial} sgd", style="faint")
        grow(curves, trial, 40, 0.05 + 0.04 * trial, trial)
    declare_trial(curves, 4, "#4 adamw", style="selected")
    grow(curves, 4, 30, 0.12, 4)
    declare_trial(curves, 5, "#5 adam 0.01")
    grow(curves, 5, 22, 0.25, 5)
    curves.mark(5, 20, "best")


def scene_many(curves: LiveCurves) -> None:
    curves.epochs = 50
    for trial in range(1, 65):
        declare_trial(curves, trial)
        grow(curves, trial, 20 + trial % 25, 0.01 + 0.006 * trial, trial)
        curves.mark(trial, 15, "best")


def scene_diverged(curves: LiveCurves) -> None:
    curves.epochs = 30
    declare_trial(curves, 1, "#1 adam 0.01")
    grow(curves, 1, 30, 0.2, 1)
    declare_trial(curves, 2, "#2 sgd 10")
    curves.append(
        {
            "2/loss/train": ([1, 2, 3, 4], [2.5, 60.0, 1e30, math.inf]),
            "2/loss/validation": ([1, 2, 3, 4], [2.6, 3.4, 1e28, math.nan]),
            "2/metric/validation": ([1, 2, 3, 4], [0.1, 0.12, 0.1, math.nan]),
        }
    )
    curves.mark(2, 4, "diverged")


def scene_long(curves: LiveCurves) -> None:
    declare_trial(curves, 1, "#1 adam 0.01")
    grow(curves, 1, 10_000, 0.002, 1)


SCENES: dict[str, Callable[[LiveCurves], None]] = {
    name.removeprefix("scene_"): scene for name, scene in list(globals().items()) if name.startswith("scene_")
}


def main(folder: Path) -> None:
    from tools.lab import headless_browser

    folder.mkdir(parents=True, exist_ok=True)
    with headless_browser() as browser:
        for name, scene in SCENES.items():
            curves, sent = make_curves()
            scene(curves)
            page = Page(browser.new_page(viewport={"width": 1200, "height": 380}), curves, sent)
            page.flush()
            page.page.screenshot(path=folder / f"{name}-1200-light.png")
            page.theme(dark=True)
            page.page.screenshot(path=folder / f"{name}-1200-dark.png")
            page.page.set_viewport_size({"width": 800, "height": 380})
            page.flush()
            page.page.screenshot(path=folder / f"{name}-800-dark.png")
            page.page.set_viewport_size({"width": 600, "height": 700})
            page.theme(dark=False)
            page.flush()
            page.page.screenshot(path=folder / f"{name}-600-light.png")
            if page.problems:
                print(name, page.problems)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
