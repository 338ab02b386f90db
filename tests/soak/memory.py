"""Does memory stay flat while trials train for thousands of epochs with the workbench on show in a real browser?

`python -m tests.soak.memory` trains small trials of 10,000 epochs, one after the other, in a JupyterLab with a headless
Chromium on it, pauses each at the same epochs, and samples there the resident memory of the kernel and of the page, and the
page's JavaScript heap after a garbage collection. It prints the samples as a table, then what grew beyond what is kept on
purpose (see `ALLOWED`), and exits with 1 if that is too much.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import psutil
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tools.lab import Lab, Notebook, headless_browser

EPOCHS = 10_000
MARKS = (2_000, 4_000, 6_000, 8_000, 10_000)
"""Epochs at which a trial is paused and measured; the first is taken for the end of the warm-up."""
POINT_BYTES = 4 * 16
"""What the live charts keep of an epoch on purpose: an x and a y of 8 bytes each in four curves."""
ALLOWED = {"kernel": 24.0, "page heap": 4.0, "page": 48.0}
"""MiB that may be there beyond the points, from the first mark to the last, and from a trial's end to the next one's.

kernel: SQLite's page caches (2 MB a connection), the index of the checkpoints (some 0.2 KiB an epoch) and pieces of the heap
that the allocator has not given back. page heap: after a collection little else than the points may grow. page: the browser
gives memory back late and in large pieces. A leak of 4 KiB an epoch, which is less than one message to the page, shows in all
three.
"""
MIB = 2**20
CELL = """\
import os
import workbench as wb
print("kernel", os.getpid())
bench = wb.Workbench(wb.Task.load("iris"), log="soak.db")
bench"""


class Sample(NamedTuple):
    trial: int
    epoch: int
    kernel: float
    heap: float
    page: float
    seconds: float


class Meter:
    """Reads the memory of a kernel and of a page, in MiB."""

    def __init__(self, browser: Any, page: Any, kernel: int) -> None:
        self._kernel = psutil.Process(kernel)
        self._processes = browser.new_browser_cdp_session()
        self._page = page.context.new_cdp_session(page)
        self._page.send("Performance.enable")

    def read(self) -> tuple[float, float, float]:
        """The kernel's resident memory, the page's heap in use, the resident memory of the page's processes."""
        self._page.send("HeapProfiler.collectGarbage")
        metrics = {one["name"]: one["value"] for one in self._page.send("Performance.getMetrics")["metrics"]}
        found = self._processes.send("SystemInfo.getProcessInfo")["processInfo"]
        page = sum(psutil.Process(one["id"]).memory_info().rss for one in found if one["type"] == "renderer")
        return self._kernel.memory_info().rss / MIB, metrics["JSHeapUsedSize"] / MIB, page / MIB


def pause_at(notebook: Notebook, trial: int, mark: int, deadline: float) -> int:
    """Let the trial go on to an epoch or a little further, pause it, wait until the page has drawn; returns the epoch."""
    notebook.page.wait_for_function(
        """([trial, mark]) => {
            const text = document.querySelector('.wb-status')?.innerText ?? '';
            const found = new RegExp(`Trial ${trial} .*epoch ([0-9]+)/`).exec(text);
            return found && +found[1] >= mark;
        }""",
        arg=[trial, mark],
        timeout=1000 * max(1.0, deadline - time.monotonic()),
    )
    if mark < EPOCHS:
        notebook.press("Pause")
        notebook.expect_status(f"Trial {trial} paused")
    else:
        notebook.expect_status(f"Trial {trial} completed")
    notebook.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return notebook.epoch()


def soak(folder: Path, trials: int, minutes: float) -> list[Sample]:
    """The samples of as many trials as fit into the time."""
    started = time.monotonic()
    deadline = started + 60 * minutes
    cell = nbformat.v4.new_code_cell(CELL)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), folder / "soak.ipynb")
    samples: list[Sample] = []
    with headless_browser() as browser, Lab(folder, browser) as lab:
        notebook = lab.open("soak.ipynb")
        notebook.run_cells(1)
        notebook.expect_status("Nothing trained yet")
        number = notebook.page.locator(".jp-OutputArea-output", has_text="kernel").first.inner_text().split()[-1]
        meter = Meter(browser, notebook.page, int(number))
        notebook.type_number("epochs", str(EPOCHS))
        for trial in range(1, trials + 1):
            before = time.monotonic()
            notebook.press("Train")
            for mark in MARKS:
                try:
                    epoch = pause_at(notebook, trial, mark, deadline)
                except PlaywrightTimeout:
                    print(f"Trial {trial} did not come to epoch {mark:,} in {minutes:g} minutes.")
                    return samples
                samples.append(Sample(trial, epoch, *meter.read(), time.monotonic() - started))
                print(row(samples[-1]), flush=True)
                if mark < EPOCHS:
                    notebook.press("Resume")
            if time.monotonic() + 1.2 * (time.monotonic() - before) > deadline:
                break
        if notebook.problems:
            raise SystemExit(f"the page reported errors: {notebook.problems}")
    return samples


def growths(samples: list[Sample]) -> list[tuple[str, str, float, float]]:
    """What, over which stretch, grown by how many MiB beyond the points of the charts, and how much may be."""
    ends = [one for one in samples if one.epoch == EPOCHS]
    if not ends:
        raise SystemExit("No trial came to its end; give it more --minutes.")
    first, *_ = samples
    stretches = [("trial 1, after its warm-up", first, ends[0])]
    if (
        len(ends) > 2
    ):  # of the first trial the kernel and the page are warm, and the points of one give way to those of the next
        stretches.append((f"from the end of trial 2 to that of trial {ends[-1].trial}", ends[1], ends[-1]))
    found = []
    for name, start, end in stretches:
        points = (end.epoch - start.epoch) * POINT_BYTES / MIB
        for what, grown in (
            ("kernel", end.kernel - start.kernel),
            ("page heap", end.heap - start.heap),
            ("page", end.page - start.page),
        ):
            found.append((what, name, grown - points, ALLOWED[what]))
    return found


HEADER = (
    "| trial | epoch | kernel, MiB | page heap, MiB | page, MiB | after, s |\n| --- | --- | --- | --- | --- | --- |"
)


def row(one: Sample) -> str:
    return f"| {one.trial} | {one.epoch:,} | {one.kernel:.0f} | {one.heap:.1f} | {one.page:.0f} | {one.seconds:.0f} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="when to end at the latest")
    parser.add_argument(
        "--trials", type=int, default=5, help=f"of {EPOCHS:,} epochs each, as many as fit into the time"
    )
    options = parser.parse_args()
    print(HEADER)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        samples = soak(Path(folder), options.trials, options.minutes)
    failed = False
    print("\n| what | over | grown beyond the charts' points, MiB | allowed, MiB |\n| --- | --- | --- | --- |")
    for what, stretch, grown, allowed in growths(samples):
        failed |= grown > allowed
        print(f"| {what} | {stretch} | {grown:+.1f} | {allowed:.0f} |")
    print("\nMemory grows: it does not stay flat." if failed else "\nMemory stays flat.")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
