"""A run ends while somebody types or holds a slider: the view stays as it is, and the saved picture comes afterwards."""

from __future__ import annotations

import string
from itertools import cycle, islice
from typing import Any

import nbformat
import pytest
from playwright.sync_api import expect

from tools.lab import PATIENCE, Lab, Notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

BEYOND = 10
"""Letters that are typed after the end, one every 100 ms: what the end of a run sets off comes within half a second."""


def opened(lab: Lab, name: str) -> Notebook:
    """A notebook with a workbench on iris, of which nothing is trained yet."""
    cell = nbformat.v4.new_code_cell("import workbench as wb\nwb.Workbench(wb.Task.load('iris'), log=None)")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), lab.folder / name)
    notebook = lab.open(name)
    notebook.run_cells(1)
    notebook.expect_status("Nothing trained yet")
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
    """Wait until the output was made anew, and find the picture in the saved file."""
    notebook.page.wait_for_function("view => !view.isConnected", arg=view, timeout=PATIENCE)
    expect(notebook.root).to_be_visible(timeout=PATIENCE)
    notebook.save(lab.folder / name)
    (output,) = nbformat.read(lab.folder / name, as_version=4).cells[0].outputs
    assert output.data["image/png"]


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
    assert view.evaluate("view => view.isConnected")

    # and when the hands have gone elsewhere, the picture comes
    page.locator(".jp-Cell .cm-content").first.click()
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
    assert view.evaluate("view => view.isConnected")
    expect_picture(lab, notebook, view, "slid.ipynb")
    expect(notebook.number("learning_rate")).to_have_value(rate)
    assert not notebook.problems


def test_the_focus_is_on_the_same_element_when_the_view_was_made_anew(lab: Lab) -> None:
    notebook = opened(lab, "focused.ipynb")
    view = train(notebook)
    field = notebook.number("batch_size")
    field.click()
    notebook.page.wait_for_function("view => !view.isConnected", arg=view, timeout=PATIENCE)
    expect(field).to_be_focused(timeout=PATIENCE)
    assert not notebook.problems
