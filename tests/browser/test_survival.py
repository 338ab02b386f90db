"""What a person at the page may do or suffer in the middle of a training, in a real JupyterLab: nothing is lost by it.

And what a person may type: names, notes, labels and columns full of markup are shown as the text they are.
"""

from __future__ import annotations

import ast
import html
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from playwright.sync_api import Dialog, Page, expect

import workbench as wb
from tools.lab import INK, PATIENCE, SLOW, Lab, Notebook

pytestmark = pytest.mark.timeout(1800)
in_browser = pytest.mark.browser

EPOCHS = 3000
LEFT_INK = INK.replace("canvas.width, canvas.height", "canvas.width * 0.3, canvas.height")
"""How many pixels of curves the first epochs have."""


def write(lab: Lab, name: str, *cells: str) -> Path:
    """A trusted notebook of some cells in the lab's folder."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = lab.folder / f"{name}.ipynb"
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=kernel), path
    )
    lab.trust(path.name)
    return path


def write_bench(lab: Lab, name: str) -> Path:
    """A notebook with a workbench on iris, its log beside it."""
    return write(
        lab,
        name,
        "import os\nprint('kernel', os.getpid())",
        f"import workbench as wb\nbench = wb.Workbench(wb.Task.load('iris'), log='{name}.db')\nbench",
    )


def begin(notebook: Notebook, epochs: int = EPOCHS) -> None:
    """Run both cells and train; returns when there are some epochs."""
    notebook.run_cells(2)
    notebook.expect_status("Nothing trained yet")
    notebook.type_number("epochs", str(epochs))
    notebook.press("Train")
    notebook.expect_status(r"Trial 1 running.*epoch \d{3,}/")
    notebook.expect_ink(30)


def kernel_of(notebook: Notebook) -> int:
    """The process that the first cell named."""
    return int(notebook.page.locator(".jp-OutputArea-output", has_text="kernel").first.inner_text().split()[-1])


def expect_left_ink(notebook: Notebook, least: int = 30) -> None:
    """Wait until the charts show curves from the first epochs on."""
    notebook.page.wait_for_function(
        f"least => ({LEFT_INK})(document.querySelector('.wb-main canvas')) >= least", arg=least, timeout=PATIENCE
    )


def expect_live(notebook: Notebook) -> None:
    """The view takes part in what goes on: the epochs count on, the buttons work."""
    early = notebook.epoch()
    notebook.expect_status(rf"Trial 1 running.*epoch (?!{early}/)\d+/")
    assert notebook.epoch() > early
    notebook.press("Pause")
    notebook.expect_status("Trial 1 paused")
    notebook.press("Resume")
    notebook.expect_status("Trial 1 running")


def left_training(lab: Lab, name: str) -> Notebook:
    """A saved notebook with a long training under way."""
    path = write_bench(lab, name)
    notebook = lab.open(path.name)
    begin(notebook, epochs=50_000)
    notebook.save(path)
    return notebook


def expect_back(notebook: Notebook, left_at: int) -> None:
    """The view comes back with its curves and takes part. left_at: the epoch when it was left, since when it trained on."""
    notebook.scroll_to_workbench()
    notebook.expect_status(r"Trial 1 running.*epoch \d+/50000")
    assert notebook.epoch() > left_at
    notebook.expect_ink(30)
    notebook.expect_ink(30, chart=1)
    expect_live(notebook)


def epochs_in(log: Path) -> list[tuple[int, float]]:
    """Epoch and validation loss of the first trial, as another process finds them in the file."""
    connection = sqlite3.connect(log)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    found = connection.execute("SELECT epoch, val_loss FROM epochs WHERE trial = 1 ORDER BY epoch").fetchall()
    connection.close()
    return found


# --- the page -------------------------------------------------------------------------------------------------------


@in_browser
def test_a_tab_that_is_closed_and_opened_again(lab: Lab) -> None:
    notebook = left_training(lab, "closed")
    left_at = notebook.epoch()
    notebook.page.close()
    again = lab.open("closed.ipynb")
    expect_back(again, left_at)
    again.press("Stop")
    again.expect_status("Trial 1 stopped")
    epochs = epochs_in(lab.folder / "closed.db")
    assert [epoch for epoch, _ in epochs] == list(range(1, len(epochs) + 1))
    assert len(epochs) > left_at
    assert again.problems == []


@in_browser
def test_a_page_that_is_reloaded(lab: Lab) -> None:
    notebook = left_training(lab, "reloaded")
    for _ in range(2):
        left_at = notebook.epoch()
        notebook.page.reload()
        notebook.ready()
        expect_back(notebook, left_at)
    notebook.press("Stop")
    notebook.expect_status("Trial 1 stopped")
    assert notebook.problems == []


IMPATIENT = """
    const later = window.setTimeout;
    window.setTimeout = (action, wait, ...rest) => later(action, wait === 4000 ? 0 : wait, ...rest);
    AbortSignal.timeout = () => {
        const controller = new AbortController();
        queueMicrotask(() => controller.abort());
        return controller.signal;
    };
"""
"""What a slow machine does to the widget libraries' patience: ipywidgets waits four seconds for the states of all models, and
then asks for each by itself; anywidget waits two for a model's module, and then drops all that the model is told."""


@in_browser
def test_a_page_that_is_slower_than_the_widget_libraries_wait(lab: Lab) -> None:
    notebook = left_training(lab, "slow")
    given_up: list[str] = []
    notebook.page.on("pageerror", lambda error: given_up.append(str(error)) if SLOW in str(error) else None)
    notebook.page.add_init_script(IMPATIENT)
    left_at = notebook.epoch()
    notebook.page.reload()
    notebook.ready()
    expect_back(notebook, left_at)
    assert given_up  # else this page was not slow
    notebook.press("Stop")
    notebook.expect_status("Trial 1 stopped")
    expect(notebook.rows.first).to_contain_text("stopped")  # the trial table is another library's
    assert notebook.problems == []


# --- the kernel -----------------------------------------------------------------------------------------------------


def restart(notebook: Notebook) -> None:
    """By the keyboard, as in the menu."""
    notebook.page.locator(".jp-Cell").first.click()
    notebook.page.keyboard.press("Escape")
    notebook.page.keyboard.press("0")
    notebook.page.keyboard.press("0")
    notebook.page.locator(".jp-Dialog button.jp-mod-accept").click()


def kill(notebook: Notebook) -> None:
    """As the system does when memory runs out."""
    os.kill(kernel_of(notebook), signal.SIGKILL)
    notebook.page.locator(".jp-Dialog button.jp-mod-accept").click()  # "appears to have died", says JupyterLab


def resume_in_code(notebook: Notebook) -> None:
    assert "trial 1" in notebook.execute("bench.resume()")


def resume_by_button(notebook: Notebook) -> None:
    notebook.root.locator(".wb-banner button", has_text="Resume").click()


@in_browser
@pytest.mark.parametrize(("end", "resume"), [(restart, resume_in_code), (kill, resume_by_button)])
def test_a_kernel_that_ends_in_the_middle_is_gone_on_with(
    lab: Lab, end: Callable[[Notebook], None], resume: Callable[[Notebook], None]
) -> None:
    name = f"ended-{end.__name__}"
    path = write_bench(lab, name)
    log = lab.folder / f"{name}.db"
    notebook = lab.open(path.name)
    begin(notebook)
    first = kernel_of(notebook)
    end(notebook)
    # the page is left as it was, and says what to do
    expect(notebook.root).to_have_class(re.compile("jupyter-widgets-disconnected"), timeout=PATIENCE)
    words = notebook.root.evaluate("root => getComputedStyle(root, '::before').content")
    assert "Run the cell again" in words
    notebook.ready()
    acknowledged = epochs_in(log)
    assert 0 < len(acknowledged) < EPOCHS
    # so it is done
    notebook.run_cells(2)
    expect(notebook.root).not_to_have_class(re.compile("jupyter-widgets-disconnected"), timeout=PATIENCE)
    assert kernel_of(notebook) != first
    expect(notebook.rows).to_have_count(1, timeout=PATIENCE)
    expect(notebook.rows.first).to_contain_text("interrupted")
    resume(notebook)
    notebook.expect_status(rf"Trial 1 completed.*epoch {EPOCHS}/{EPOCHS}")
    expect_left_ink(notebook)
    notebook.expect_ink(30, chart=1)
    epochs = epochs_in(log)
    assert [epoch for epoch, _ in epochs] == list(range(1, EPOCHS + 1))
    assert epochs[: len(acknowledged)] == acknowledged
    expect(notebook.rows).to_have_count(1)
    expect(notebook.rows.first).to_contain_text("completed")
    assert notebook.execute("len(bench.resume())") == "0"
    assert notebook.problems == []


# --- markup in everything that a person may name -------------------------------------------------------------------------

IMAGE = "<img src=x onerror=alert(1)>"
SQL = "'); DROP TABLE trials;--"
SCRIPT = "</script><script>alert(2)</script>"
NAME = f"{IMAGE} 🦉 $\\frac{{"
NOTE = f"{SQL} <b class=smuggled>bold</b> {SCRIPT}"
TAGS = ["<svg onload=alert(3)>", "word" * 60]
COLUMN = "<i class=smuggled>width</i>"
LABELS = ["<u class=smuggled>yes</u>", "no & \"never\" 'ever'", "🦉 $\\frac{"]
TASK = "<h1 class=smuggled>task</h1>"
SMUGGLED = ".smuggled, img[src=x], svg[onload], [onerror]"
HOSTILE_CELL = f"""\
import numpy as np, pandas as pd, workbench as wb
from sklearn.datasets import load_iris
X, y = load_iris(return_X_y=True)
frame = pd.DataFrame(X, columns=[{COLUMN!r}, {IMAGE!r}, {SQL!r}, {"long" * 60!r}])
frame[{SCRIPT!r}] = np.array({LABELS!r})[y]
task = wb.Task.from_frame(frame, {SCRIPT!r}, name={TASK!r})
bench = wb.Workbench(task, log="hostile.db")
bench"""


@pytest.fixture
def state_saving_lab(browser: Any, tmp_path: Path) -> Iterator[Lab]:
    """A JupyterLab that saves the widgets' state into the notebook, where markup could do harm as well."""
    lab = Lab(tmp_path, browser)
    file = lab._home / "settings" / "@jupyter-widgets" / "jupyterlab-manager" / "plugin.jupyterlab-settings"
    file.parent.mkdir(parents=True)
    file.write_text('{"saveState": true}')
    with lab:
        yield lab


def expect_nothing_made(page: Page) -> None:
    """No text became an element."""
    assert page.locator(SMUGGLED).evaluate_all("found => found.map(one => one.outerHTML)") == []


@in_browser
def test_markup_is_shown_as_text_and_nothing_is_run(state_saving_lab: Lab) -> None:
    lab = state_saving_lab
    path = write(lab, "hostile", HOSTILE_CELL)
    notebook = lab.open(path.name)
    page = notebook.page
    dialogs: list[str] = []

    def heard(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", heard)
    notebook.run_cells(1)
    notebook.expect_status("Nothing trained yet")

    # typed into the page, and given in code
    notebook.root.locator(".wb-name input").fill(NAME)
    notebook.type_number("epochs", "3")
    notebook.press("Train")
    notebook.expect_status("Trial 1 completed")
    notebook.execute(f"bench.annotate(1, note={NOTE!r}, tags={TAGS!r})")
    # a table of more than a page has a search box
    notebook.execute(f"run = bench.run(wb.Config(epochs=1), seeds=11, name={'long' * 20!r}, note='plain')")
    expect(notebook.rows.filter(has_text="completed")).to_have_count(10, timeout=PATIENCE)

    # the search box finds it, and the table shows it
    search = notebook.root.locator(".wb-table input[type=search]")
    for part in (IMAGE, "DROP TABLE", "🦉", "<b class=smuggled>"):
        search.fill(part)
        expect(notebook.rows).to_have_count(1)
        expect(notebook.rows.first).to_contain_text(part)
    search.fill("🦉")
    expect(notebook.rows.filter(has_text=NAME).filter(has_text=NOTE)).to_have_count(1)

    # the charts' legend and the readout under the cursor
    notebook.rows.filter(has_text=NAME).locator("td").nth(2).click()
    notebook.expect_legend(NAME)
    plot = notebook.root.locator(".wb-main .u-over").first
    plot.hover()
    entry = notebook.root.locator(".wbc-entry", has_text=NAME).first
    entry.hover()
    expect_nothing_made(page)

    # every tab, and the fields below the table
    fields = notebook.root.locator(".wb-tablebar input")
    assert NAME in [field.input_value() for field in fields.all()]
    for tab in notebook.root.locator(".wb-tabs .lm-TabBar-tab").all():
        tab.click()
        expect_nothing_made(page)
        if tab.inner_text().strip() == "Code":
            expect(notebook.root.locator(".wb-code").first).to_contain_text(IMAGE)
            for code in notebook.root.locator(".wb-code").all_inner_texts():
                ast.parse(code)  # what is to be pasted into a cell is Python, whatever the names
        if tab.inner_text().strip() == "Data":
            facts = notebook.root.locator(".wb-facts")
            for part in (TASK, *LABELS):
                expect(facts).to_contain_text(part)

    # pandas' own table and the task, in cells of their own
    shown = notebook.execute("display(bench.trials[['name', 'note', 'tags']].head(2), task)")
    for part in (IMAGE, "🦉", SQL, TASK, LABELS[0]):
        assert part in shown
    expect_nothing_made(page)
    notebook.save(path)

    # the saved notebook as a page of its own
    text = exported(path)
    for part in (NAME, TASK, LABELS[0]):
        assert html.escape(part, quote=False) in text
    still = lab._browser.new_page()
    still.on("dialog", heard)
    still.route("**/*", lambda route: route.continue_() if route.request.url.startswith("file:") else route.abort())
    still.goto(path.with_suffix(".html").as_uri(), wait_until="domcontentloaded")
    expect(still.locator("td", has_text=IMAGE).first).to_be_visible()
    expect_nothing_made(still)
    still.close()
    assert dialogs == []
    assert notebook.problems == []


def exported(path: Path) -> str:
    """A notebook as HTML, by nbconvert."""
    subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "html", str(path)], check=True, capture_output=True, timeout=120
    )
    return path.with_suffix(".html").read_text()


# --- a database's password ------------------------------------------------------------------------------------------

PASSWORD = "s3cret-of-the-lab"


def refused_by(driver: types.ModuleType, what: str) -> Any:
    """The `connect` of a driver whose server does not answer, and which is talkative about it."""

    def connect(*arguments: Any, **options: Any) -> Any:
        raise driver.OperationalError(f"connection to server at 127.0.0.1, port 1 failed: {what}")

    return connect


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A driver for PostgreSQL that never reaches a server: none need be installed."""
    driver = types.ModuleType("psycopg2")
    driver.paramstyle, driver.__version__ = "pyformat", "2.9.9"  # type: ignore[attr-defined]
    for name in ("Error", "OperationalError"):
        kind = type(name, (getattr(driver, "Error", Exception),), {})
        setattr(driver, name, kind)
    driver.connect = refused_by(driver, "Connection refused")  # type: ignore[attr-defined]
    for name in ("extras", "extensions"):
        part = types.ModuleType(f"psycopg2.{name}")
        setattr(driver, name, part)
        monkeypatch.setitem(sys.modules, part.__name__, part)
    monkeypatch.setitem(sys.modules, "psycopg2", driver)
    return driver


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg2://lab:{PASSWORD}@127.0.0.1:1/trials",
        f"postgresql+psycopg2://127.0.0.1:1/trials?user=lab&password={PASSWORD}",
        f"postgresql+psycopg2://lab:{PASSWORD}@127.0.0.1:no-port/trials",
        f"postgresql+psycopg2://lab:{PASSWORD}/trials",
        f"postgresql+psycopg2://lab:{PASSWORD}/as-a-slash-is-in-it@127.0.0.1:1/trials",
        f"postgresql+nosuchdriver://lab:{PASSWORD}@127.0.0.1:1/trials",
        f"nosuchdatabase://lab:{PASSWORD}@127.0.0.1:1/trials",
        f"postgresql+psycopg2://lab:{PASSWORD}@extra@127.0.0.1:1/trials",
    ],
)
def test_a_server_that_is_not_there_is_told_without_its_password(url: str, driver: types.ModuleType) -> None:
    with pytest.raises(wb.LogError) as caught:
        wb.Workbench(wb.Task.load("iris"), log=url)
    told = [str(caught.value), repr(caught.value), *traceback.format_exception(caught.value)]
    assert not [text for text in told if PASSWORD in text]
    if url.startswith(("postgresql+psycopg2://lab:s3cret-of-the-lab@127.0.0.1:1/", "postgresql+psycopg2://127")):
        assert "Connection refused" in told[0]
        assert "check that the server runs and can be reached" in told[0]
        assert "127.0.0.1" in told[0]


def test_a_password_is_in_nothing_that_is_shown_or_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # SQLite passes over parts of its URI that it does not know, so that this is a database with a password everywhere
    bench = wb.Workbench(wb.Task.load("iris"), log=f"sqlite:///file:trials.db?password={PASSWORD}&uri=true")
    InteractiveShell.clear_instance()
    InteractiveShell.instance()
    with capture_output() as shown:
        bench._ipython_display_()
        run = bench.run(wb.Config(epochs=2), name="one")
        bench.branch(1, epoch=1, learning_rate=0.01).wait(60)
        bench._ipython_display_()
    InteractiveShell.clear_instance()
    assert shown.outputs
    assert bench.checkpoints.flush(60)
    log = bench.log
    with pytest.raises(wb.LogError) as caught:
        bench.curves(99)
    told = [
        repr(bench), repr(log), log.url, repr(run), repr(bench.checkpoints), str(caught.value), shown.stdout, shown.stderr,
        json.dumps(bench.presenter._picture(), default=str), *(json.dumps(one.data, default=str) for one in shown.outputs),
    ]  # fmt: skip
    assert not [text for text in told if PASSWORD in text]
    log.close()
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "trials.db" in [path.name for path in kept]
    assert not [path for path in kept if PASSWORD.encode() in path.read_bytes() or PASSWORD in str(path)]
