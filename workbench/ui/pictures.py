"""Pictures out of arrays: for the inputs of tasks on images, in a page and in figures."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import traitlets
from matplotlib.image import imsave
from numpy.typing import NDArray

__all__ = ["DescribedImage", "as_colors", "figure_html", "png_of", "thumbnails"]

LEAST_SIDE = 64
"""Pixels of the shorter side on the page: smaller pictures are enlarged by a whole factor, without smoothing."""


class DescribedImage(widgets.Image):  # type: ignore[misc]  # ipywidgets has no types
    """A PNG whose `tooltip` describes it for those who do not see it: the page makes it the `alt` text (frontend/src/names.ts).

    ipywidgets' front end shows no tooltip of a widget that lacks a `description`, and fails over it.
    """

    description = traitlets.Unicode().tag(sync=True)
    format = traitlets.Unicode("png").tag(sync=True)


def as_colors(images: NDArray[Any]) -> NDArray[np.float64]:
    """Images (rows, channels, height, width) as (rows, height, width, 3) from 0 to 1.

    One channel is grey; three or four are red, green, blue (and opacity, which is left out); of any other number the mean is
    drawn. Brightness runs from the lowest to the highest value of all the images together. What is not finite is 0.
    """
    values = np.nan_to_num(np.asarray(images, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    channels = values.shape[1]
    values = values[:, :3] if channels in (3, 4) else np.repeat(values.mean(1, keepdims=True), 3, 1)
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    scaled: NDArray[np.float64] = np.moveaxis((values - low) / (high - low if high > low else 1.0), 1, -1)
    return scaled


def png_of(colors: NDArray[np.float64]) -> bytes:
    """A picture (height, width, 3) as PNG."""
    factor = max(1, round(LEAST_SIDE / min(colors.shape[:2])))
    buffer = io.BytesIO()
    imsave(buffer, colors.repeat(factor, 0).repeat(factor, 1), format="png")
    return buffer.getvalue()


def figure_html(png: bytes, alt: str) -> str:
    """A figure of matplotlib, a PNG, as HTML with a description for those who do not see it, escaped."""
    data = base64.b64encode(png).decode()
    return f'<img class="wb-picture" src="data:image/png;base64,{data}" alt="{html.escape(alt)}">'


def thumbnails(images: NDArray[Any], captions: Sequence[Sequence[str]], classes: Sequence[str] = ()) -> str:
    """A grid of images as HTML, with lines of text under each; texts are escaped.

    images: (rows, channels, height, width). captions: lines of each. classes: further CSS classes of each.
    """
    cells = []
    for index, colors in enumerate(as_colors(images)):
        lines = [html.escape(line) for line in captions[index]]
        data = base64.b64encode(png_of(colors)).decode()
        css = f"wb-thumbnail {classes[index]}" if index < len(classes) else "wb-thumbnail"
        said = "".join(f"<span>{line}</span>" for line in lines)
        cells.append(
            f'<figure class="{css.strip()}"><img src="data:image/png;base64,{data}" alt="{", ".join(lines)}">'
            f"<figcaption>{said}</figcaption></figure>"
        )
    return f'<div class="wb-thumbnails">{"".join(cells)}</div>'
