"""The main job, by mouse and keyboard, in a real JupyterLab: tune a model, live, and find every attempt in the log."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

from tools.lab import Lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CELLS_TO_THE_WORKBENCH = 8


def test_tune_by_hand(lab: Lab) -> None:
    notebook = lab.open("01_quickstart.ipynb")
    page = notebook.page
    notebook.run_cells(CELLS_TO_THE_WORKBENCH)
    notebook.expect_status("Nothing trained yet")

    # the slider and the number field say the same
    expect(notebook.number("learning_rate")).to_have_value("0.001")
    notebook.drag_slider("learning_rate", 8)
    expect(notebook.number("learning_rate")).not_to_have_value("0.001")

    # points appear while it trains
    notebook.type_number("epochs", "20000")
    notebook.press("Train")
    notebook.expect_status(r"Trial 1 running.*epoch \d+/20000")
    rate = float(notebook.number("learning_rate").input_value())
    assert rate > 0.001
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
    notebook.save(lab.folder / "01_quickstart.ipynb")
    page.reload()
    notebook.ready()
    notebook.scroll_to_workbench()
    notebook.expect_status("Trial 2 completed")
    notebook.expect_ink(30)
    notebook.expect_ink(30, chart=1)

    # what happened stands in the DataFrame
    page.locator(".jp-Cell").first.click()
    table = notebook.execute(
        "print(bench.trials[['trial', 'state', 'learning_rate', 'epochs_run']].to_csv(index=False))"
    )
    first, second = (line.split(",") for line in table.split()[1:])
    assert (first[0], first[1], float(first[2])) == ("1", "stopped", rate)
    assert (second[0], second[1], float(second[2]), second[3]) == ("2", "completed", 0.0005, "3")
    changes = notebook.execute(
        "print(bench.events(1).query(\"kind == 'change'\")[['name', 'new']].to_csv(index=False))"
    )
    assert "learning_rate,0.0005" in changes

    # a value that cannot be is answered beside its control, and nothing starts
    notebook.type_number("learning_rate", "fast")
    problem = notebook.field("learning_rate").locator(".wb-problem")
    expect(problem).to_contain_text("learning_rate='fast'")
    notebook.press("Train")
    notebook.expect_message("Not started")
    assert notebook.execute("len(bench.trials)") == "2"
    notebook.type_number("learning_rate", "0.01")
    expect(problem).to_be_hidden()
    assert not notebook.problems


def test_without_a_kernel_it_says_what_to_do(lab: Lab) -> None:
    shutil.copy(NOTEBOOKS / "01_quickstart.ipynb", lab.folder / "unrun.ipynb")
    lab.trust("unrun.ipynb")
    notebook = lab.open("unrun.ipynb")  # as it was saved, no cell run
    notebook.scroll_to_workbench()
    words = notebook.root.evaluate("root => getComputedStyle(root, '::before').content")
    assert "Run the cell again" in words
    icons = notebook.root.locator(".jupyter-widgets-disconnected").first
    assert icons.evaluate("part => getComputedStyle(part, '::before').content") == "none"


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
