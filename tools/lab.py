"""A JupyterLab server with a headless browser on it, for the browser tests and the screenshots."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tools.chromium import find

START_SECONDS = 240
PATIENCE = 180_000
"""Milliseconds that a condition in the page may take on a busy machine."""
expect.set_options(timeout=PATIENCE)
SLOW = "[anywidget] Failed to initialize model."
"""What anywidget says of a model that took more than two seconds to load; the view comes all the same, as the tests see."""
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SETTINGS = {
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "apputils-extension/themes": '{"theme": "%s"}',
    # a page that is reloaded finds only what was saved; the tests save when they mean it
    "docmanager-extension/plugin": '{"autosave": false}',
}
WIDGET = "application/vnd.jupyter.widget-view+json"
INK = """canvas => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let n = 0;
    for (let i = 0; i < data.length; i += 4) {
        const [r, g, b, a] = data.subarray(i, i + 4);
        if (a > 80 && Math.max(r, g, b) - Math.min(r, g, b) > 60) n++;
    }
    return n;
}"""
"""How many saturated pixels (curves, not axes) a canvas holds."""


@contextmanager
def headless_browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=list(FLAGS))
        yield browser
        browser.close()


class Lab:
    """A JupyterLab server on `folder` with settings of its own, looked at with `browser`. Use in a `with`."""

    def __init__(self, folder: Path, browser: Browser, *, dark: bool = False) -> None:
        self.folder, self._browser = folder, browser
        self._pages: list[Page] = []
        self._home = Path(tempfile.mkdtemp(prefix="lab-"))
        for name, text in SETTINGS.items():
            file = self._home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text % ("JupyterLab Dark" if dark else "JupyterLab Light") if "%s" in text else text)

    def __enter__(self) -> Lab:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._environment = environment = {
            **os.environ,
            "JUPYTERLAB_SETTINGS_DIR": str(self._home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(self._home / "workspaces"),
            "JUPYTER_CONFIG_DIR": str(self._home / "config"),
            "JUPYTER_RUNTIME_DIR": str(self._home / "runtime"),
            "JUPYTER_DATA_DIR": str(self._home / "data"),
            "IPYTHONDIR": str(self._home / "ipython"),
        }
        self.trust(*(file.name for file in self.folder.glob("*.ipynb")))
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
        options = ["--ServerApp.port_retries=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={self.folder}"]
        self._output = (self._home / "server.log").open("w")
        self._server = subprocess.Popen(
            [*command, *options], env=environment, stdout=self._output, stderr=subprocess.STDOUT
        )
        try:
            self._await_server()
        except BaseException:
            self._server.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.leave()
        finally:
            self._server.terminate()
            try:
                self._server.wait(20)
            except subprocess.TimeoutExpired:
                self._server.kill()
        self._output.close()
        shutil.rmtree(self._home, ignore_errors=True)

    def trust(self, *notebooks: str) -> None:
        """Have widgets shown in notebooks of the folder, as `make lab` does for the project's."""
        if notebooks:
            command = [sys.executable, "-m", "jupyter", "trust", *(str(self.folder / name) for name in notebooks)]
            subprocess.run(command, env=self._environment, check=True, capture_output=True)

    def open(self, notebook: str, *, width: int = 1200, height: int = 1000, scale: float = 1) -> Notebook:
        """Open a notebook of the folder by itself and wait for its kernel."""
        page = self._browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=scale)
        self._pages.append(page)
        page.set_default_timeout(PATIENCE)
        page.goto(f"{self.url}/doc/tree/{notebook}")
        return Notebook(page)

    def leave(self) -> None:
        """Close the pages and end the kernels.

        Whatever stays open takes part in the next test: the server tells each page when any kernel becomes busy or idle, and a
        kernel that was left training takes a core.
        """
        for page in self._pages:
            if not page.is_closed():
                request, sessions = page.context.request, f"{self.url}/api/sessions"
                token = next((c["value"] for c in page.context.cookies() if c["name"] == "_xsrf"), "")
                for session in request.get(sessions, timeout=PATIENCE).json():
                    headers = {"X-XSRFToken": token}
                    request.delete(f"{sessions}/{session['id']}", headers=headers, timeout=PATIENCE)
                page.close()
        self._pages.clear()

    def _await_server(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/api", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                if self._server.poll() is not None or time.monotonic() > deadline:
                    text = (self._home / "server.log").read_text()
                    raise RuntimeError(f"JupyterLab did not start:\n{text}") from None
                time.sleep(0.1)


class Notebook:
    """An open notebook with a workbench in it, in the words of a person at the mouse."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("pageerror", lambda error: None if SLOW in str(error) else self.problems.append(str(error)))
        self.ready()

    def ready(self) -> None:
        """Wait until the kernel answers; before, JupyterLab takes a cell's execution and loses it."""
        expect(self.page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=PATIENCE)

    def run_cells(self, count: int) -> None:
        """Run the first cells by the keyboard."""
        self.page.locator(".jp-Cell").first.click()
        self.page.keyboard.press("Escape")
        for _ in range(count):
            self.page.keyboard.press("Shift+Enter")

    def restart_kernel(self) -> None:
        """Kill the notebook's kernel and start another one."""
        self.page.evaluate(
            """async () => {
                const [session] = await (await fetch('/api/sessions')).json();
                const token = document.cookie.match(/_xsrf=([^;]+)/)?.[1] ?? '';
                const all = await (await fetch('/api/sessions')).json();
                const mine = all.find(({ path }) => location.pathname.endsWith(path)) ?? session;
                await fetch(`/api/kernels/${mine.kernel.id}/restart`, { method: 'POST', headers: { 'X-XSRFToken': token } });
            }"""
        )
        self.ready()

    def execute(self, code: str) -> str:
        """Type code into a new cell below the present one, run it, return the text it shows."""
        self.page.locator(".jp-Cell.jp-mod-active .jp-InputPrompt, .jp-Cell.jp-mod-active .jp-InputArea").first.click()
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("b")
        self.page.keyboard.press("Enter")
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Control+Enter")
        cell = self.page.locator(".jp-Cell.jp-mod-active")
        expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]:"), timeout=PATIENCE)
        return "\n".join(cell.locator(".jp-OutputArea-output").all_inner_texts())

    def save(self, path: Path) -> None:
        """Save by the keyboard and wait until the file on disk has the cells' outputs, the workbench among them."""
        before = path.stat().st_mtime_ns
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("Control+s")
        deadline = time.monotonic() + PATIENCE / 1000
        while path.stat().st_mtime_ns == before or WIDGET not in path.read_text():
            assert time.monotonic() < deadline, f"{path.name} was not saved"
            self.page.wait_for_timeout(100)

    def scroll_to_workbench(self) -> None:
        """Scroll down until the workbench is there; JupyterLab attaches the outputs that are near the view only."""
        scroller = self.page.locator(".jp-WindowedPanel-outer").first
        for _ in range(100):
            if self.page.locator(".wb-root").count():
                break
            scroller.hover()
            self.page.mouse.wheel(0, 300)
            self.page.wait_for_timeout(200)
        # a page that is reloaded on a busy machine has all of the view's models to make first
        self.root.scroll_into_view_if_needed(timeout=2 * PATIENCE)

    # --- the workbench ----------------------------------------------------------------------------------------------

    @property
    def root(self) -> Any:
        return self.page.locator(".wb-root").first

    def field(self, name: str) -> Any:
        return self.root.locator(f".wb-field-{name}")

    def number(self, name: str) -> Any:
        """The number field of a hyperparameter."""
        return self.field(name).locator(".wb-number input")

    def type_number(self, name: str, text: str) -> None:
        self.number(name).fill(text)
        self.number(name).press("Tab")
        expect(self.number(name)).to_have_value(text)

    def drag_slider(self, name: str, pixels: int) -> None:
        handle = self.field(name).locator(".noUi-handle")
        handle.scroll_into_view_if_needed()
        box = handle.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + pixels, y, steps=8)
        self.page.mouse.up()

    def unfold(self, section: str) -> None:
        """Show the controls of a section that is folded."""
        self.root.locator("button.wb-heading", has_text=re.compile(f"^{section}")).click()

    def search_over(self, name: str) -> None:
        """Switch a hyperparameter's control to a range or a set of choices."""
        self.field(name).locator(".wb-toggle").click()
        # the button answers in the page, the range comes from the kernel
        expect(self.field(name).locator(".wb-range, .wb-options-list")).to_be_visible(timeout=PATIENCE)

    def open_tab(self, title: str) -> None:
        self.root.locator(".wb-tabs .lm-TabBar-tab", has_text=re.compile(f"^{title}$")).click()

    def brush(self, axis: float, low: float, high: float) -> None:
        """Drag along an axis of the parallel coordinates. axis: 0 for the first to 1 for the last; low, high: shares of it."""
        canvas = self.root.locator(".wbp canvas")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        x = box["x"] + 44 + axis * (box["width"] - 88)  # the margins of frontend/src/parallel.ts
        top, height = box["y"] + 34, box["height"] - 48
        self.page.mouse.move(x, top + (1 - low) * height)
        self.page.mouse.down()
        self.page.mouse.move(x, top + (1 - high) * height, steps=6)
        self.page.mouse.up()

    def pick(self, epoch: int, epochs: int, chart: int = 0) -> None:
        """Click the point of a curve at an epoch. epochs: the last one on the axis."""
        over = self.root.locator(".u-over").nth(chart)
        over.scroll_into_view_if_needed()
        box = over.bounding_box()
        assert box is not None
        span = epochs - 1  # the axis has 1.5 % of air on each side (frontend/src/stats.ts)
        x = box["x"] + box["width"] * (epoch - 1 + 0.015 * span) / (1.03 * span)
        for share in range(2, 100, 2):
            y = box["y"] + box["height"] * share / 100
            self.page.mouse.move(x, y)
            if "wbc-picks" in (over.get_attribute("class") or ""):
                self.page.mouse.click(x, y)
                # what is typed before the controls are loaded would be overwritten
                expect(self.root.locator(".wb-bar-text")).to_contain_text(f"after epoch {epoch}", timeout=PATIENCE)
                return
        raise AssertionError(f"no curve of chart {chart} has a point at epoch {epoch}")

    def select_rows(self, *rows: int) -> None:
        """Select rows of the trial table by their place, the newest trial first."""
        for index, row in enumerate(rows):
            self.rows.nth(row).locator("td").first.click(modifiers=["Control"] if index else [])

    def press_in_table(self, label: str) -> None:
        """Press a button below the table."""
        self.root.locator(".wb-tablebuttons button", has_text=label).click()

    def press(self, label: str) -> None:
        self.root.locator(".wb-buttons button", has_text=re.compile(f"^\\s*{label}\\s*$")).click()

    def expect_status(self, pattern: str) -> str:
        """Wait until the status line matches, as long as it takes while the line changes; returns it."""
        line, last, deadline = self.root.locator(".wb-status"), None, 0.0
        while not re.search(pattern, text := line.inner_text()):
            if text != last:
                last, deadline = text, time.monotonic() + PATIENCE / 1000
            assert time.monotonic() < deadline, f"the status line stands still at {text!r}, not {pattern!r}"
            self.page.wait_for_timeout(100)
        return str(text)

    def expect_message(self, pattern: str) -> None:
        """Wait until the message under the buttons says so."""
        expect(self.root.locator(".wb-panel .wb-message")).to_contain_text(re.compile(pattern), timeout=PATIENCE)

    def expect_ink(self, least: int = 1, chart: int = 0) -> int:
        """Wait until a chart shows that many coloured pixels; returns their number."""
        canvas = self.root.locator(".wb-main canvas").nth(chart)
        deadline = time.monotonic() + PATIENCE / 1000
        while True:
            ink = int(canvas.evaluate(INK))
            if ink >= least:
                return ink
            assert time.monotonic() < deadline, f"chart {chart} shows {ink} coloured pixels, not {least}"
            self.page.wait_for_timeout(100)

    def epoch(self) -> int:
        """The epoch in the status line."""
        found = re.search(r"epoch (\d+)/", self.root.locator(".wb-status").inner_text())
        return int(found[1]) if found else 0

    def expect_legend(self, label: str) -> None:
        """Wait until the charts' legend has a trial of this label."""
        expect(self.root.locator(".wbc-entry", has_text=label).first).to_be_visible(timeout=PATIENCE)

    @property
    def rows(self) -> Any:
        """The rows of the trial table."""
        return self.root.locator(".wb-table tbody tr")
