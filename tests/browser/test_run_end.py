"""A run ends while somebody types or holds a slider: the view stays as it is, and the saved file has a picture."""

from __future__ import annotations

import string
from itertools import cycle, islice
from typing import Any

import nbformat
import pytest
from playwright.sync_api import expect

from tools.lab import PATIENCE, Lab, Notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

BEYOND = 10
"""Letters that are typed after the end, one every 100 ms: what the end of a run sets off comes within half a second."""
PICTURE = ".jp-OutputArea-child:has(.wb-root) + .jp-OutputArea-child img"


def opened(lab: Lab, name: str, before: str = "") -> Notebook:
    """A notebook with a workbench on iris. before: code that trains something in it, nothing by default."""
    code = f"import workbench as wb\nbench = wb.Workbench(wb.Task.load('iris'), log=None)\n{before}\nbench"
    cell = nbformat.v4.new_code_cell(code)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), lab.folder / name)
    notebook = lab.open(name)
    notebook.run_cells(1)
    notebook.expect_status("completed" if before else "Nothing trained yet")
    return notebook


def train(notebook: Notebook) -> Any:
    """Start a run of some seconds; returns the view's element."""
    notebook.type_number("epochs", "1000")
    notebook.press("Train")
    notebook.expect_status("Trial 1 running")
    return notebook.root.element_handle()


def status(notebook: Notebook) -> str:
    return str(notebook.root.locator(".wb-status").inner_text())


def expect_picture(lab: Lab, notebook: Notebook, view: Any, name: str) -> None:
    """Wait until the picture lies below the view, out of sight, and find it in the saved file."""
    picture = notebook.page.locator(PICTURE)
    expect(picture).to_be_attached(timeout=PATIENCE)
    expect(picture).to_be_hidden()
    assert view.evaluate("view => view.isConnected")
    notebook.page.locator(".jp-Cell .cm-content").first.click()  # where the keys to save are heard
    notebook.save(lab.folder / name)
    widget, below = nbformat.read(lab.folder / name, as_version=4).cells[0].outputs
    assert widget.data["text/plain"] == "Workbench on iris"
    assert below.data["image/png"]
    assert below.data["text/plain"].startswith("Workbench on iris: 1 trial")


def test_what_is_typed_while_a_run_ends_is_kept(lab: Lab) -> None:
    notebook = opened(lab, "typed.ipynb")
    page, name = notebook.page, notebook.root.locator(".wb-name input")
    view = train(notebook)
    name.click()
    typed = ""
    left = BEYOND
    for letter in cycle(string.ascii_lowercase):
        page.keyboard.type(letter)
        typed += letter
        page.wait_for_timeout(100)
        if len(typed) == 1:
            assert "running" in status(notebook)
        left -= "completed" in status(notebook)
        if not left:
            break
    expect(name).to_have_value(typed)
    expect(name).to_be_focused()
    expect_picture(lab, notebook, view, "typed.ipynb")
    expect(name).to_have_value(typed)
    assert not notebook.problems


def test_a_slider_held_while_a_run_ends_keeps_what_it_is_moved_to(lab: Lab) -> None:
    notebook = opened(lab, "slid.ipynb")
    page = notebook.page
    view = train(notebook)
    handle = notebook.field("learning_rate").locator(".noUi-handle")
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 4, y, steps=4)
    assert "running" in status(notebook)
    notebook.expect_status("Trial 1 completed")
    for step in islice(range(5, 100), BEYOND):
        page.mouse.move(x + step, y)
        page.wait_for_timeout(100)
    page.mouse.up()
    rate = notebook.number("learning_rate").input_value()
    assert float(rate) > 0.001
    expect_picture(lab, notebook, view, "slid.ipynb")
    expect(notebook.number("learning_rate")).to_have_value(rate)
    assert not notebook.problems


def test_the_picture_is_what_is_seen_where_no_workbench_is(lab: Lab) -> None:
    notebook = opened(lab, "left.ipynb")
    view = train(notebook)
    notebook.expect_status("Trial 1 completed")
    expect_picture(lab, notebook, view, "left.ipynb")
    saved = nbformat.read(lab.folder / "left.ipynb", as_version=4)
    saved.cells[0].outputs[0].data.pop(
        "application/vnd.jupyter.widget-view+json"
    )  # as a reader without ipywidgets has it
    nbformat.write(saved, lab.folder / "read.ipynb")
    reader = lab.open("read.ipynb")
    expect(reader.page.locator(".jp-OutputArea-child img")).to_be_visible(timeout=PATIENCE)


def test_what_the_table_is_searched_for_is_kept_when_rows_come_in(lab: Lab) -> None:
    notebook = opened(lab, "searched.ipynb", "bench.run(wb.Config(epochs=2), seeds=12);")
    search = notebook.root.locator(".dt-search input")
    search.fill("manual")
    expect(notebook.rows).to_have_count(1)  # the others are its replicates
    notebook.type_number("epochs", "2")
    notebook.press("Train")
    notebook.expect_status("Trial 13 completed")
    expect(notebook.rows).to_have_count(2)
    expect(search).to_have_value("manual")
    assert not notebook.problems
