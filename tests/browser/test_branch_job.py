"""Going back by mouse, in a real JupyterLab: a point of a curve becomes a branch, a trial is replayed, deleted, brought back."""

from __future__ import annotations

import re

import nbformat
import pytest
from playwright.sync_api import Dialog, expect

from tools.lab import PATIENCE, Lab, Notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def opened(lab: Lab, name: str) -> Notebook:
    """A notebook with a workbench; a dialog that opens is a problem."""
    code = f"import workbench as wb\nbench = wb.Workbench(wb.Task.load('digits'), log='{name}.db')\nbench"
    cells = [nbformat.v4.new_code_cell(code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), lab.folder / f"{name}.ipynb")
    notebook = lab.open(f"{name}.ipynb", height=1400)

    def refuse(dialog: Dialog) -> None:
        if dialog.type == "beforeunload":  # of a reload
            dialog.accept()
        else:
            notebook.problems.append(f"a dialog opened: {dialog.message}")
            dialog.dismiss()

    notebook.page.on("dialog", refuse)
    notebook.run_cells(1)
    notebook.expect_status("Nothing trained yet")
    return notebook


def test_branch_replay_delete(lab: Lab) -> None:
    notebook = opened(lab, "branch")
    root, words = notebook.root, notebook.root.locator(".wb-bar-text")
    notebook.type_number("epochs", "20")
    notebook.press("Train")
    notebook.expect_status("Trial 1 completed.*epoch 20/20")
    place = root.locator(".wbc").bounding_box()

    # a click on a point of the curve opens the bar, and nothing jumps
    notebook.pick(12, 20)
    expect(words).to_contain_text("Branch from trial 1 after epoch 12")
    assert root.locator(".wbc").bounding_box() == place
    notebook.type_number("learning_rate", "0.0001")
    expect(words).to_contain_text("learning rate 0.001 → 0.0001")
    notebook.open_tab("Code")
    expect(root.locator(".wb-code").first).to_have_text("run = bench.branch(1, epoch=12, learning_rate=0.0001)")

    # what cannot be changed is answered beside its control
    notebook.type_number("hidden_units", "32")
    notebook.press("Branch")
    expect(notebook.field("hidden_units").locator(".wb-problem")).to_contain_text("keeps the architecture")
    notebook.type_number("hidden_units", "64")

    # the branch is drawn beside its parent, from its point, and stands in the table and in the tree
    notebook.press("Branch")
    notebook.expect_status("Trial 2 completed.*epoch 20/20")
    expect(words).to_have_count(0)
    notebook.expect_legend("trial 1")
    notebook.expect_legend("trial 2")
    notebook.open_tab("Trials")
    expect(notebook.rows.first).to_contain_text("branch of 1 @ 12")
    notebook.open_tab("History")
    tree = root.locator(".wbt-row")
    expect(tree).to_have_count(2, timeout=PATIENCE)
    expect(tree.nth(1)).to_contain_text("trial 2 after epoch 12: learning_rate 0.001 → 0.0001")
    expect(tree.nth(1)).to_have_class(re.compile("wbt-shown"))
    tree.nth(0).click()
    notebook.open_tab("Trials")
    expect(root.locator(".wb-table tbody tr.selected td").first).to_have_text("1")

    # a replay ends with its verdict, which stays
    notebook.press_in_table("Replay")
    notebook.expect_status("Trial 3 completed")
    notebook.expect_message("Trial 3, a replay of trial 1, is identical to it: 20 epochs")
    expect(root.locator(".wb-panel .wb-good")).to_be_visible()

    # delete, undo
    notebook.select_rows(0, 1)
    expect(root.locator(".wb-tablehint")).to_contain_text("2 selected")
    notebook.press_in_table("Delete")
    expect(root.locator(".wb-tablehint")).to_contain_text(re.compile("Deleted trials [23], [23]"))
    expect(notebook.rows).to_have_count(1)
    root.locator(".wb-tablehint button", has_text="Undo").click()
    expect(notebook.rows).to_have_count(3)
    expect(root.locator(".wb-table tbody tr.selected")).to_have_count(2)
    assert notebook.execute("sorted(bench.selected)") == "[2, 3]"

    # the budget, and what it cannot be
    notebook.scroll_to_workbench()
    notebook.open_tab("History")
    budget = root.locator(".wb-history .wb-number input")
    expect(root.locator(".wb-used")).to_contain_text("of 1 GiB")
    budget.fill("much")
    budget.press("Tab")
    expect(root.locator(".wb-history .wb-error")).to_contain_text("must be a number of GiB")
    budget.fill("0.5")
    budget.press("Tab")
    expect(root.locator(".wb-used")).to_contain_text("of 512 MiB")
    expect(root.locator(".wb-history .wb-error")).to_have_count(0)
    assert notebook.execute("bench.checkpoints.budget") == str(2**29)
    assert not notebook.problems


def test_a_name_full_of_html_is_text(lab: Lab) -> None:
    notebook = opened(lab, "hostile")
    root = notebook.root
    name = root.locator(".wb-name input")
    name.fill(HOSTILE)
    notebook.type_number("epochs", "5")
    notebook.press("Train")
    notebook.expect_status("Trial 1 completed")
    notebook.expect_legend("<img src=x")
    expect(notebook.rows.first).to_contain_text(HOSTILE)

    # on the last epoch there is room for as many again
    notebook.pick(5, 5)
    expect(root.locator(".wb-bar-text")).to_contain_text("epochs 5 → 10")
    notebook.press("Branch")
    notebook.expect_status("Trial 2 completed.*epoch 10/10")
    notebook.open_tab("History")
    expect(root.locator(".wbt-row")).to_have_count(2, timeout=PATIENCE)
    expect(root.locator(".wbt-row").first).to_contain_text(HOSTILE)

    # without the mouse on a curve: the best epoch of the row selected; and the script
    notebook.open_tab("Trials")
    notebook.select_rows(1)
    notebook.press_in_table("Branch…")
    expect(root.locator(".wb-bar-text")).to_contain_text("Branch from trial 1 after epoch")
    root.locator(".wb-bar .wb-close").click()
    expect(root.locator(".wb-bar-text")).to_have_count(0)
    notebook.open_tab("Code")
    expect(root.locator(".wb-code").nth(1)).to_contain_text("bench.start(")

    # the trash asks before it is emptied, and keeps what a branch was made from
    notebook.open_tab("Trials")
    notebook.press_in_table("Delete")
    expect(notebook.rows).to_have_count(1)
    notebook.open_tab("History")
    expect(root.locator(".wb-trash option").first).to_contain_text(HOSTILE)
    root.locator(".wb-history button", has_text="Empty trash").click()
    root.locator(".wb-history button", has_text="Remove 1 trial permanently").click()
    expect(root.locator(".wb-history .wb-note")).to_contain_text("Kept trial 1")
    assert root.locator("img[src=x], script").count() == 0
    assert not notebook.problems


def test_resume_what_a_killed_kernel_left(lab: Lab) -> None:
    notebook = opened(lab, "killed")
    banner = notebook.root.locator(".wb-banner")
    expect(banner).to_have_count(0)
    notebook.type_number("epochs", "4000")
    notebook.press("Train")
    notebook.expect_status(r"Trial 1 running.*epoch [1-9]\d+/4000")
    notebook.restart_kernel()
    # without a reload JupyterLab 4.6 goes on to name a subshell of the kernel that died, and ipykernel drops the clicks
    notebook.page.reload()
    notebook.ready()
    notebook.run_cells(1)
    expect(banner).to_contain_text("1 trial was interrupted when its kernel died.", timeout=PATIENCE)
    notebook.open_tab("Trials")
    expect(notebook.rows.first).to_contain_text("interrupted")
    banner.locator("button", has_text="Resume").click()
    notebook.expect_status(r"Trial 1 running.*epoch \d+/4000")
    expect(banner).to_have_count(0)
    notebook.press("Stop")
    notebook.expect_status("Trial 1 stopped")
    assert not notebook.problems
