"""Prints the lowest version of each dependency that pyproject.toml allows, one requirement a line, for `make lowest`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
AS_PINNED = {"torch"}
"""Too large to download a second version: the pinned one is used."""


def lowest(requirement: str) -> str:
    """The requirement with its lower bound as the only version. Raises: ValueError if it has no lower bound.

    >>> lowest("itables[widget]>=2.4")
    'itables[widget]==2.4'
    """
    found = re.fullmatch(r"([\w.-]+(?:\[[\w,-]+\])?)>=([\w.]+)", requirement)
    if found is None:
        raise ValueError(f"{requirement!r}: expected one lower bound, such as numpy>=1.26")
    return "==".join(found.groups())


def main() -> None:
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    pinned = [lowest(one) for one in project["dependencies"]]
    print(*(one for one in pinned if one.partition("==")[0] not in AS_PINNED), sep="\n")


if __name__ == "__main__":
    main()
