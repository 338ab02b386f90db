"""Writes constraints.txt: every installed package at its present version, so that notebooks run the same everywhere."""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path

HEADER = """\
# Every package that lab, tests and development need, pinned so that notebooks give the same outputs everywhere.
# Written by `make pin`.
"""
LEFT_OUT = {"pip", "setuptools", "tuning-workbench"}


def main() -> None:
    pins = {
        name.lower().replace("_", "-"): distribution.version.partition("+")[0]
        for distribution in distributions()
        if (name := distribution.metadata["Name"]) and name.lower() not in LEFT_OUT
    }
    lines = [f"{name}=={version}" for name, version in sorted(pins.items())]
    page = Path(__file__).resolve().parent.parent / "constraints.txt"
    page.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
