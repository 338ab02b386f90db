"""The main job, by mouse and keyboard, in a real JupyterLab: tune a model, live, and find every attempt in the log."""

from __future__ import annotations

import re

import nbformat
import pytest
from playwright.sync_api import expect

from tools.lab import PATIENCE, Lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

CELLS_TO_THE_WORKBENCH = 8


def test_tune_by_hand(lab: Lab) -> None:
    notebook = lab.open("01_quickstart.ipynb")
    page = notebook.page
    notebook.run_cells(CELLS_TO_THE_WORKBENCH)
    notebook.expect_status("Nothing trained yet")

    # the slider and the number field say the same
    expect(notebook.number("learning_rate")).to_have_value("0.001")
    notebook.drag_slider("learning_rate", 40)
    expect(notebook.number("learning_rate")).not_to_have_value("0.001")
    rate = float(notebook.number("learning_rate").input_value())
    assert rate > 0.001

    # points appear while it trains
    notebook.type_number("epochs", "20000")
    notebook.press("Train")
    notebook.expect_status(r"Trial 1 running.*epoch \d+/20000")
    notebook.expect_ink(30)
    early = notebook.epoch()
    notebook.expect_status(rf"epoch (?!{early}/)\d+/20000")
    assert notebook.epoch() > early

    # a live change, then pause, resume and stop
    notebook.type_number("learning_rate", "0.0005")
    notebook.press("Pause")
    notebook.expect_status("Trial 1 paused")
    paused = notebook.epoch()
    notebook.press("Resume")
    notebook.expect_status(rf"Trial 1 running.*epoch (?!{paused}/)\d+/")
    assert notebook.epoch() > paused
    notebook.press("Stop")
    notebook.expect_status("Trial 1 stopped")

    notebook.type_number("epochs", "3")
    notebook.press("Train")
    notebook.expect_status("Trial 2 completed.*epoch 3/3")
    expect(notebook.rows).to_have_count(2)

    # two rows selected in the table lie over each other in the charts
    expect(notebook.root.locator(".wbc-entry", has_text="trial 1")).to_have_count(0)
    for index in range(2):
        notebook.rows.nth(index).locator("td").nth(1).click(modifiers=["Control"] if index else [])
    notebook.expect_legend("trial 1")
    assert notebook.execute("sorted(bench.selected)") == "[1, 2]"

    # a reload finds the curves again
    page.keyboard.press("Escape")
    page.keyboard.press("Control+s")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    page.reload()
    notebook.ready()
    notebook.expect_status("Trial 2 completed")
    notebook.expect_ink(30)
    notebook.expect_ink(30, chart=1)

    # what happened stands in the DataFrame
    page.locator(".jp-Cell").first.click()
    table = notebook.execute(
        "print(bench.trials[['trial', 'state', 'learning_rate', 'epochs_run']].to_csv(index=False))"
    )
    assert re.search(rf"^1,stopped,{rate:g}\d*,\d+$", table, re.MULTILINE), table
    assert re.search(r"^2,completed,0.0005,3$", table, re.MULTILINE), table
    changes = notebook.execute(
        "print(bench.events(1).query(\"kind == 'change'\")[['name', 'new']].to_csv(index=False))"
    )
    assert "learning_rate,0.0005" in changes

    # a value that cannot be is answered beside its control, and nothing starts
    notebook.type_number("learning_rate", "fast")
    problem = notebook.field("learning_rate").locator(".wb-problem")
    expect(problem).to_contain_text("learning_rate='fast'")
    notebook.press("Train")
    expect(notebook.root.locator(".wb-message")).to_contain_text("Not started", timeout=PATIENCE)
    assert notebook.execute("len(bench.trials)") == "2"
    notebook.type_number("learning_rate", "0.01")
    expect(problem).to_be_hidden()
    assert not notebook.problems


def test_a_cell_run_again_attaches_to_what_is_training(lab: Lab) -> None:
    cell = nbformat.v4.new_code_cell("import workbench as wb\nwb.Workbench(wb.Task.load('iris'), log='again.db')")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), lab.folder / "again.ipynb")
    notebook = lab.open("again.ipynb")
    notebook.run_cells(1)
    notebook.expect_status("Nothing trained yet")
    notebook.type_number("epochs", "50000")
    notebook.press("Train")
    notebook.expect_status("Trial 1 running")
    notebook.run_cells(1)
    early = notebook.epoch()
    notebook.expect_status(rf"Trial 1 running.*epoch (?!{early}/)\d+/50000")
    notebook.expect_ink(30)
    notebook.press("Stop")
    notebook.expect_status("Trial 1 stopped")
