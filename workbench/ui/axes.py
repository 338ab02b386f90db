"""How the axes of all figures look."""

from __future__ import annotations

from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

__all__ = ["literal", "over_epochs", "tidy"]


def tidy(axes: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """Small tick labels, a pale grid, no frame at the top and on the right."""
    axes.tick_params(labelsize=8, which="both")
    axes.grid(axis=grid, alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def over_epochs(axes: Axes, title: str) -> None:
    """Axes of a curve over whole epochs, with a title at the left."""
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xlabel("epoch", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes)


def literal(text: object) -> str:
    """A text of the user's, such as a class's name, that matplotlib draws as it is and not as a formula between dollar signs."""
    return str(text).replace("$", r"\$")
