"""Takes the README's picture of the workbench, or with `--all FOLDER` every scene in both themes and at two widths.

The pictures show the real thing: a JupyterLab, a headless Chromium, a model that trains.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from playwright.sync_api import expect

from tools.lab import PATIENCE, Lab, Notebook, headless_browser

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "workbench.png"
CELL = """import workbench as wb
bench = wb.Workbench(wb.Task.load("digits"), log=None)
bench"""
TABLE = """import numpy as np
import pandas as pd
import workbench as wb


def customers(rows, seed, richer=0.0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"age": rng.normal(40, 10, rows), "income": rng.normal(3, 1, rows) + richer})
    frame["city"] = rng.choice(["north", "south", "east"], rows)
    frame["buys"] = np.where(frame["income"] + rng.normal(0, 0.4, rows) > 3, "yes", "no")
    return frame


last_year = customers(1500, 0)
new_rows = pd.concat([last_year, customers(900, 1, richer=1.5)], ignore_index=True)
bench = wb.Workbench(wb.Task.from_frame(last_year, "buys", name="customers"), log=None)
bench"""
EARLIER = """for rate, name in ((0.0003, "too slow"), (0.02, "fast")):
    bench.run(wb.Config(learning_rate=rate, epochs=25), name=name)
bench.run(wb.Config(optimizer="momentum", learning_rate=0.05, schedule="cosine", epochs=25), name="momentum, cosine")"""


def picture(notebook: Notebook, path: Path) -> None:
    notebook.root.scroll_into_view_if_needed()
    notebook.root.screenshot(path=path)
    print(path)


def stage(lab: Lab, width: int, scale: float = 1, cell: str = CELL) -> Notebook:
    """A notebook with a workbench shown."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)], metadata=kernel)
    nbformat.write(notebook, lab.folder / f"tuning-{width}.ipynb")
    page = lab.open(f"tuning-{width}.ipynb", width=width, height=1400, scale=scale)
    page.run_cells(1)
    page.expect_status("Nothing trained yet")
    return page


def train(notebook: Notebook) -> None:
    """Some trials with their curves, and one under way."""
    notebook.execute(EARLIER)
    notebook.expect_status("Trial 3 completed")
    for index in (0, 1):
        notebook.rows.nth(index).locator("td").nth(1).click(modifiers=["Control"] if index else [])
    notebook.type_number("epochs", "400")
    notebook.unfold("Loss")
    notebook.type_number("l2", "0.0001")
    notebook.press("Train")
    notebook.expect_status(r"Trial 4 running.*epoch 1\d\d/400")


def branch(notebook: Notebook) -> None:
    """A branch that trains beside its parent, held still, and the bar of the next one."""
    notebook.type_number("epochs", "60")
    notebook.type_number("learning_rate", "0.01")
    notebook.press("Train")
    notebook.expect_status("Trial 1 completed")
    notebook.pick(20, 60)
    notebook.type_number("learning_rate", "0.0005")
    notebook.field("optimizer").locator("select").select_option(label="RMSprop")
    notebook.press("Branch")
    notebook.expect_status("Trial 2 completed")
    notebook.pick(12, 60)
    notebook.unfold("Loss")
    notebook.type_number("l2", "0.001")
    notebook.type_number("learning_rate", "0.003")
    notebook.type_number("epochs", "120")
    notebook.press("Branch")
    notebook.expect_status(r"Trial 3 running.*epoch [2-9]\d/120")
    notebook.press("Pause")
    notebook.expect_status("Trial 3 paused")
    notebook.pick(16, 120)
    notebook.unfold("Model")
    notebook.type_number("dropout", "0.2")
    notebook.type_number("batch_size", "64")
    expect(notebook.root.locator(".wb-bar-text")).to_contain_text("batch size")


def history(notebook: Notebook) -> None:
    """After `branch`: a replay's verdict, the tree, the checkpoints, and two trials in the trash."""
    notebook.root.locator(".wb-bar .wb-close").click()
    notebook.press("Stop")
    notebook.expect_status("Trial 3 stopped")
    notebook.execute(
        "bench.run(wb.Config(epochs=5), name='a first try'); bench.run(wb.Config(epochs=5)); "
        "bench.branch(2, 40, learning_rate=0.0001, name='gentle').wait(); bench.delete(4, 5); bench.replay(1).wait()"
    )
    notebook.open_tab("History")
    notebook.expect_message("a replay of trial 1")
    expect(notebook.root.locator(".wb-trash option")).to_have_count(2, timeout=PATIENCE)


def search(notebook: Notebook) -> None:
    """A search that has ended, its best trials brushed in the parallel coordinates."""
    notebook.unfold("Loss")
    for name in ("learning_rate", "l2", "optimizer"):
        notebook.search_over(name)
    notebook.open_tab("Search")
    notebook.root.locator(".wb-search button", has_text="Search").click()
    notebook.expect_status("64 of 64 done")
    notebook.open_tab("Compare")
    expect(notebook.root.locator(".wbp-note")).to_contain_text("64 trials", timeout=PATIENCE)
    notebook.brush(1.0, 0.95, 1.05)
    expect(notebook.root.locator(".wbp-note")).to_contain_text("selected")


def closer(notebook: Notebook, take: Callable[[str], None]) -> None:
    """The tabs that look closer, each with something in it: take is called with a name when one is to be pictured."""
    root = notebook.root
    notebook.execute(
        "bench.run(wb.Config(epochs=30, hidden_units=256), name='wide'); "
        "bench.run(wb.Config(epochs=15, optimizer='sgd', learning_rate=5.0), name='too fast')"
    )
    notebook.open_tab("Diagnose")
    expect(root.locator(".wb-diagnosis-verdict")).to_contain_text("rate too high", timeout=PATIENCE)
    take("diagnose")
    notebook.open_tab("Search")
    root.locator("button", has_text="Range test").click()
    expect(root.locator("button:visible", has_text="Use it")).to_be_enabled(timeout=PATIENCE)
    take("range-test")
    notebook.open_tab("Transfer")
    expect(root.locator(".wb-transfer-grid option").first).to_be_attached(timeout=PATIENCE)
    take("transfer")
    notebook.open_tab("Test set")
    root.locator("button", has_text="Open the test set").click()
    take("test-set-asks")
    root.locator("button", has_text="Open it").click()
    expect(root.locator(".wb-seal")).to_contain_text("Opened once", timeout=PATIENCE)
    take("test-set")
    notebook.type_number("epochs", "2000")
    notebook.press("Train( next)?")
    notebook.open_tab("Layers")
    expect(root.locator(".wb-layers-caption")).to_contain_text("training", timeout=PATIENCE)
    take("layers")
    notebook.press("Stop")


def continuing(notebook: Notebook, take: Callable[[str], None]) -> None:
    """The transfer tab of a table: what can be continued on, while it trains, what came of it, and a refusal."""
    root = notebook.root
    notebook.execute(
        "for rate in (0.01, 0.03):\n    bench.run(wb.Config(learning_rate=rate, epochs=20))\n"
        "bench.run(wb.Config(hidden_layers=3, epochs=20))"
    )
    notebook.open_tab("Transfer")
    data, button = root.locator(".wb-versions input").first, root.locator(".wb-versions button")
    data.fill("new_rows")
    data.press("Tab")
    seeds = root.locator(".wb-versions-counts input").nth(1)
    seeds.fill("8")
    seeds.press("Tab")
    expect(root.locator(".wb-transfer-grid option", has_text="(Linear)").first).to_be_attached(timeout=PATIENCE)
    take("continue")
    button.click()
    expect(root.locator(".wb-versions .wb-message")).to_contain_text("in training", timeout=PATIENCE)
    take("continue-running")
    expect(root.locator(".wb-versions .wb-message")).to_contain_text("is trained", timeout=PATIENCE)
    take("continue-done")
    data.fill("last_year")
    data.press("Tab")
    button.click()
    expect(root.locator(".wb-versions [role=alert]")).to_contain_text("no new row", timeout=PATIENCE)
    take("continue-refused")


def readme_picture() -> None:
    with tempfile.TemporaryDirectory() as folder, headless_browser() as browser, Lab(Path(folder), browser) as lab:
        notebook = stage(lab, 1281, scale=1.5)
        search(notebook)
        picture(notebook, PICTURE.with_name("search.png"))
        notebook = stage(lab, 1280, scale=1.5)
        train(notebook)
        notebook.press("Pause")
        notebook.expect_status("paused")
        notebook.press("Resume")
        picture(notebook, PICTURE)


def all_scenes(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with headless_browser() as browser:
        for dark in (False, True):
            with tempfile.TemporaryDirectory() as folder, Lab(Path(folder), browser, dark=dark) as lab:
                for width in (1200, 800):
                    suffix = f"{'dark' if dark else 'light'}-{width}.png"
                    notebook = stage(lab, width)
                    picture(notebook, target / f"empty-{suffix}")
                    train(notebook)
                    picture(notebook, target / f"running-{suffix}")
                    notebook.type_number("learning_rate", "fast")
                    notebook.type_number("batch_size", "9000")
                    notebook.press("Train( next)?")
                    notebook.expect_message("Not started")
                    picture(notebook, target / f"error-{suffix}")
                    notebook = stage(lab, width + 2)
                    branch(notebook)
                    picture(notebook, target / f"branch-{suffix}")
                    history(notebook)
                    picture(notebook, target / f"history-{suffix}")
                    notebook = stage(lab, width + 1)
                    search(notebook)
                    picture(notebook, target / f"search-{suffix}")
                    notebook = stage(lab, width + 3)
                    closer(notebook, lambda name, n=notebook, s=suffix: picture(n, target / f"{name}-{s}"))  # type: ignore[misc]
                    notebook = stage(lab, width + 4, cell=TABLE)
                    continuing(notebook, lambda name, n=notebook, s=suffix: picture(n, target / f"{name}-{s}"))  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every scene into this folder, to look at")
    arguments = parser.parse_args()
    if arguments.all:
        all_scenes(arguments.all)
    else:
        readme_picture()


if __name__ == "__main__":
    main()
