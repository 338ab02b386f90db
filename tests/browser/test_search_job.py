"""A search by mouse, in a real JupyterLab: two controls searched, curves that race, a brush that selects trials."""

from __future__ import annotations

import re

import nbformat
import pytest
from playwright.sync_api import expect

from tools.lab import PATIENCE, Lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

CODE = "import workbench as wb\nbench = wb.Workbench(wb.Task.load('digits'), log='search.db')\nbench"
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def test_search_by_hand(lab: Lab) -> None:
    cells = [nbformat.v4.new_code_cell(CODE)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), lab.folder / "search.ipynb")
    notebook = lab.open("search.ipynb", height=1300)
    notebook.run_cells(1)
    notebook.expect_status("Nothing trained yet")
    root = notebook.root

    # without anything to search the tab says how to
    notebook.open_tab("Search")
    start = root.locator(".wb-search button", has_text="Search")
    expect(start).to_be_disabled()
    expect(root.locator(".wb-space")).to_contain_text("next to a hyperparameter")

    # two controls become ranges; an impossible one is answered beside its control
    notebook.unfold("Loss")
    for name in ("learning_rate", "l2"):
        notebook.search_over(name)
    low = notebook.field("learning_rate").locator(".wb-number input").first
    low.fill("1")
    low.press("Tab")
    expect(notebook.field("learning_rate").locator(".wb-problem")).to_contain_text("swap them")
    expect(start).to_be_disabled()
    low.fill("0.0001")
    low.press("Tab")
    expect(root.locator(".wb-space")).to_contain_text("learning rate")
    root.locator(".wb-search-grid select").first.select_option(label="Grid")
    expect(root.locator(".wb-space")).to_contain_text("25 grid points")
    root.locator(".wb-search-grid select").first.select_option(label="Random")

    notebook.type_number("epochs", "40")
    expect(start).to_be_enabled()
    start.click()
    # all curves race in the chart
    notebook.expect_status(r"Search 1 \(random\) running.*of 64")
    early = notebook.expect_ink(100)
    notebook.expect_ink(2 * early)
    notebook.press("Pause")
    notebook.expect_status("paused")
    notebook.press("Resume")
    notebook.expect_status(r"Search 1 \(random\) completed.*64 of 64 done.*best accuracy")

    # a brush on the metric selects trials in the table and in Python
    notebook.open_tab("Compare")
    expect(root.locator(".wbp-note")).to_contain_text("64 trials", timeout=PATIENCE)
    notebook.brush(1.0, 0.9, 1.05)
    expect(root.locator(".wbp-note")).to_contain_text("of 64 trials selected")
    count = int(re.findall(r"(\d+) of 64", root.locator(".wbp-note").inner_text())[0])
    assert 0 < count < 64
    notebook.open_tab("Trials")
    expect(root.locator(".wb-hint", has_text=f"{count} selected")).to_be_visible()
    expect(root.locator(".wb-table tbody tr.selected").first).to_be_visible()
    found = notebook.execute(
        "f = bench.trials.set_index('trial').best_val_metric; s = set(bench.selected)\n"
        "len(s), bool(f[list(s)].min() > f[[t for t in f.index if t not in s]].max())"
    )
    assert found == f"({count}, True)"

    # more seeds for the contenders, by the button
    notebook.scroll_to_workbench()
    notebook.open_tab("Compare")
    root.locator(".wb-compare select").first.select_option(label="Leaderboard")
    expect(root.locator(".wb-leaderboard tbody tr").first).to_contain_text("needs 2 seeds", timeout=PATIENCE)
    root.locator(".wb-compare button", has_text="Add seeds").click()
    expect(root.locator(".wb-leaderboard tbody tr", has_text="6").first).to_be_visible(timeout=PATIENCE)
    notebook.expect_status("Trials 65-79 completed")
    assert not notebook.problems
