"""Looking closer by mouse, in a real JupyterLab: a range test, a diagnosis tried, live layers, the seal broken once, new data."""

from __future__ import annotations

import re

import nbformat
import pytest
from playwright.sync_api import expect

from tools.lab import PATIENCE, Lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

CODE = "import workbench as wb\nbench = wb.Workbench(wb.Task.load('moons', n=600), log='insight.db')\nbench"
TABLE = """import numpy as np
import pandas as pd
import workbench as wb
rng = np.random.default_rng(0)
old = pd.DataFrame({'a': rng.normal(size=300), 'b': rng.choice(['x', 'y'], 300)})
old['target'] = np.where(old['a'] > 0, 'high', 'low')
bench = wb.Workbench(wb.Task.from_frame(old, 'target', name='growing'), log=None)
bench"""
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def test_the_method_by_hand(lab: Lab) -> None:
    cells = [nbformat.v4.new_code_cell(CODE)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), lab.folder / "insight.ipynb")
    notebook = lab.open("insight.ipynb", height=1500)
    notebook.run_cells(1)
    notebook.expect_status("Nothing trained yet")
    root = notebook.root

    # far too high a rate: the diagnosis says so, and what it prescribes is started
    notebook.field("optimizer").locator("select").select_option(label="SGD")
    notebook.type_number("learning_rate", "10")
    notebook.type_number("epochs", "12")
    notebook.press("Train")
    notebook.expect_status("Trial 1 (completed|diverged)")
    notebook.open_tab("Diagnose")
    expect(root.locator(".wb-diagnosis-verdict")).to_contain_text("earning rate too high", timeout=PATIENCE)
    root.locator(".wb-diagnosis-card button:visible", has_text="Try it").first.click()
    notebook.expect_status("Trial 2 completed")

    # a range test finds a rate, and puts it into the control
    notebook.open_tab("Search")
    root.locator("button", has_text="Range test").click()
    use = root.locator("button:visible", has_text="Use it")
    expect(use).to_be_enabled(timeout=PATIENCE)
    use.click()
    rate = notebook.field("learning_rate").locator(".wb-number input").first
    expect(rate).not_to_have_value("10")

    # the layers, and the boundary of a task with two inputs, while a trial trains
    notebook.open_tab("Layers")
    notebook.type_number("epochs", "3000")
    notebook.press("Train( next)?")
    caption = root.locator(".wb-layers-caption")
    expect(caption).to_contain_text(re.compile(r"Trial 3, training: epoch \d+"), timeout=PATIENCE)
    before = caption.inner_text()
    expect(caption).not_to_have_text(before, timeout=PATIENCE)
    expect(root.locator(".wb-layer-grid svg").first).to_be_visible()
    picture = root.locator(".wb-plane-raster")
    expect(picture).to_be_visible()
    notebook.press("Stop")
    notebook.expect_status("Trial 3 stopped")

    # the test set asks twice, and opens once
    notebook.open_tab("Test set")
    tab = root.locator(".wb-seal")
    expect(tab).to_contain_text("Sealed", timeout=PATIENCE)
    tab.locator("button", has_text="Open the test set").click()
    expect(tab.locator("[role=alertdialog]")).to_contain_text("This can be done once")
    tab.locator("button", has_text="Open it").click()
    expect(tab).to_contain_text("Opened once", timeout=PATIENCE)
    expect(tab).to_contain_text("95% interval")
    tab.locator("button", has_text="Open again").click()
    expect(tab.locator("[role=alertdialog]")).to_contain_text("reused (2)")
    tab.locator("button", has_text="Keep it sealed").click()
    expect(tab.locator("[role=alertdialog]")).to_be_hidden()
    assert notebook.problems == []


def test_continuing_on_a_variable_of_the_notebook(lab: Lab) -> None:
    cells = [nbformat.v4.new_code_cell(TABLE)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), lab.folder / "growing.ipynb")
    notebook = lab.open("growing.ipynb", height=1500)
    notebook.run_cells(1)
    notebook.expect_status("Nothing trained yet")
    root = notebook.root
    notebook.type_number("epochs", "10")
    notebook.press("Train")
    notebook.expect_status("Trial 1 completed")
    # a variable that came after the workbench was shown
    notebook.execute("new_rows = pd.concat([old, old.assign(a=old['a'] + 0.01)], ignore_index=True)")
    notebook.open_tab("Transfer")
    panel = root.locator(".wb-versions")
    expect(panel.locator("datalist option[value=new_rows]")).to_be_attached(timeout=PATIENCE)
    data, message = panel.locator("input").first, panel.locator(".wb-message")
    data.fill("new_row")
    data.press("Tab")
    panel.locator("button").click()
    expect(message).to_contain_text("did you mean 'new_rows'", timeout=PATIENCE)
    data.fill("new_rows")  # and pressed at once: the click must not overtake what was typed
    panel.locator("button").click()
    expect(message).to_contain_text("Version 2 is trained", timeout=PATIENCE)
    expect(panel).to_contain_text("Change for each configuration")
    notebook.open_tab("Code")
    expect(root.locator(".wb-code").first).to_contain_text("run = bench.continue_on(new_rows)")
    assert notebook.execute("bench.versions['version'].tolist()").strip() == "[1, 2]"
    assert notebook.problems == []
