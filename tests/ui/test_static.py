"""The committed front end was built from the committed sources; needs no Node."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FRONTEND = ROOT / "frontend"
STATIC = ROOT / "workbench" / "ui" / "static"


def hash_of_sources() -> str:
    """As in frontend/build.mjs: SHA-256 over path, NUL, text with \\n line ends, NUL of each source in sorted order."""
    paths = [path.relative_to(FRONTEND).as_posix() for path in (FRONTEND / "src").rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    for path in sorted([*paths, "build.mjs", "package-lock.json", "package.json"]):
        text = (FRONTEND / path).read_bytes().replace(b"\r\n", b"\n")
        digest.update(path.encode() + b"\0" + text + b"\0")
    return digest.hexdigest()


@pytest.mark.parametrize(
    "name", ["access.js", "access.css", "curves.js", "curves.css", "parallel.js", "parallel.css", "tree.js", "tree.css"]
)
def test_built_file_is_up_to_date(name: str) -> None:
    banner = (STATIC / name).read_text(encoding="utf-8").splitlines()[0]
    found = re.search(r"sources sha256:([0-9a-f]{64})", banner)
    assert found, banner
    assert found[1] == hash_of_sources(), f"{name} is stale: run `npm ci && npm run build` in frontend/ and commit it"


def test_the_licence_of_the_bundled_library_is_next_to_it() -> None:
    licence = (STATIC / "uPlot-LICENSE.txt").read_text(encoding="utf-8")
    assert "MIT License" in licence
    assert "Leon Sorokin" in licence


def test_lock_file_names_no_registry() -> None:
    assert "://" not in re.sub(r'"url": "[^"]*"', "", (FRONTEND / "package-lock.json").read_text(encoding="utf-8"))
