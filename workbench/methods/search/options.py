"""The options of a search."""

from enum import Enum
from typing import Any

from workbench.core.space import GRID_POINTS

__all__ = ["DEFAULT", "DEFAULTS", "Default", "given_options"]


class Default(Enum):
    """Marks an argument that was not given, which no value that can be given does."""

    DEFAULT = "default"

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT = Default.DEFAULT

DEFAULTS: dict[str, Any] = {
    "strategy": "random",
    "trials": None,
    "seconds": None,
    "no_improvement": None,
    "pruner": None,
    "seeds": 1,
    "seed": 0,
    "points": GRID_POINTS,
}
"""The options of a search where none is given, and no earlier search is continued; a test holds `SearchRequest` to them."""


def given_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, without those that are `DEFAULT`."""
    return {name: value for name, value in options.items() if value is not DEFAULT}
