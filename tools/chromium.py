"""Finds a Chromium for the browser tests, installing one where that is possible, and prints its path.

The system's browser comes first, then Playwright's own download, then Debian's package when run as root. Without any the
script fails and says what to do: leaving the browser tests out has to be asked for (`make test BROWSER=no`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
MAC = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)


def find() -> str | None:
    """The path of an installed browser: $CHROMIUM, the system's, or the one Playwright has downloaded."""
    wanted = os.environ.get("CHROMIUM")
    if wanted:
        return wanted if Path(wanted).exists() else None
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    return found or next((path for path in MAC if Path(path).exists()), None) or _playwrights()


def _playwrights() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def install() -> None:
    """Try Playwright's download, then Debian's package."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], timeout=600, **quiet)
    if find() is None and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update"], timeout=300, **quiet)
        subprocess.run(["apt-get", "install", "-y", "chromium"], timeout=900, env=environment, **quiet)


def main() -> int:
    path = find()
    if path is None:
        install()
        path = find()
    if path is None:
        print(
            "No Chromium was found, and none could be installed. Install Chromium or Chrome, or name one by "
            "CHROMIUM=/path/to/chromium; to leave the browser tests out on purpose: make test BROWSER=no",
            file=sys.stderr,
        )
        return 1
    print(f"browser: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
