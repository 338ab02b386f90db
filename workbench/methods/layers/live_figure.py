"""What moves in the live views, as small texts and bytes: histograms as SVG in an HTML grid, a plane as a PNG with few colours.

A matplotlib picture takes some 40 ms, which is more than a training step; these take about one. Colours of text and lines are
those of the page's theme.
"""

from __future__ import annotations

import html
import math
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.methods.layers.views import BINS, SIDE, Block, Boundary, Distribution, Plane
from workbench.ui.figures import COLORS

__all__ = [
    "PLANE_BOX",
    "class_color",
    "layer_grid",
    "moments",
    "plane_frame",
    "plane_png",
    "points_drawn",
    "stage_parts",
    "stage_titles",
]

MOST_BLOCKS = 12
"""More layers than this are left to the figure."""
MOST_POINTS = 400
"""Of each split, so many points are drawn."""

MOST_KEYS = 8
"""So many classes are named."""

WIDTH, HEIGHT, TOP, FLOOR = 132, 58, 12, 44
"""Of a histogram's picture; bars stand on FLOOR and reach up to TOP."""
STAGE_COLORS = (COLORS[0], COLORS[5], COLORS[2], COLORS[3])

PLANE_BOX = (40, 8, 256)
"""Left, top and side of the plane in its frame, in pixels: where the picture has to lie."""
LEVELS = 30
"""Shades of each colour in the plane's picture; a palette holds 256 entries."""
DEEPEST = 0.45
"""Opacity of the plane where the model is certain, so that points of the same colour stand out."""


# --- histograms ---------------------------------------------------------------------------------------------------------


def layer_grid(blocks: Sequence[Block]) -> str:
    """The histograms of each layer with weights, a line each: weights, outputs, and these after normalisation and activation."""
    titles = stage_titles(blocks)
    heads = "".join(f'<span class="wb-layer-stage">{text}</span>' for text in titles.values())
    rows = [_row(block, titles) for block in blocks[:MOST_BLOCKS]]
    if len(blocks) > MOST_BLOCKS:
        rows.append(
            f'<div class="wb-layer-name">and {len(blocks) - MOST_BLOCKS} more: bench.layers(trial).figure()</div>'
        )
    style = f"grid-template-columns: repeat({len(titles)}, minmax(0, 1fr))"
    return f'<div class="wb-layer-grid" style="{style}">{heads}{"".join(rows)}</div>'


def stage_parts(block: Block) -> tuple[Distribution | None, ...]:
    """The distribution of each stage: weights, outputs, after normalisation, after activation."""
    norm = None if block.norm is None else block.norm.outputs
    activation = None if block.activation is None else block.activation.outputs
    return block.layer.weights, block.layer.outputs, norm, activation


def stage_titles(blocks: Sequence[Block]) -> dict[int, str]:
    """What the stages are called that any of the layers has, by their number."""
    kinds = {block.norm.kind for block in blocks if block.norm is not None}
    norm = "batch norm" if all(kind.startswith("BatchNorm") for kind in kinds) else "normalisation"
    titles = ("weights", f"before {norm}" if kinds else "outputs", f"after {norm}", "after activation")
    return {
        stage: title
        for stage, title in enumerate(titles)
        if any(stage_parts(block)[stage] is not None for block in blocks)
    }


def _row(block: Block, titles: Mapping[int, str]) -> str:
    layer = block.layer
    weights = layer.weights.size if layer.weights is not None else 0
    facts = [f"{weights:,} weights", f"norm {_number(layer.norm)}", f"{_share(layer.zeros)} near zero"]
    if block.activation is not None and not math.isnan(block.activation.dead):
        facts.append(f"{_share(block.activation.dead)} of {html.escape(block.activation.kind)} dead")
    name = f"<b>{html.escape(f'{layer.name} {layer.kind}'.strip())}</b>"
    parts = stage_parts(block)
    cells = "".join(_histogram(parts[stage], STAGE_COLORS[stage], title) for stage, title in titles.items())
    return f'<div class="wb-layer-name">{name}<span>{" · ".join(facts)}</span></div>{cells}'


def _histogram(found: Distribution | None, color: str, what: str) -> str:
    if found is None:
        return "<span></span>"
    text = moments(found)
    step = f"h{WIDTH / BINS:.2f}"
    most = int(found.counts.max(initial=0))
    tops = np.round(found.counts * ((FLOOR - TOP) / max(1, most)), 1)
    # relative moves: half the text of absolute ones
    steps = "".join(f"v{-move:.1f}{step}" if move else step for move in np.diff(tops, prepend=0.0).tolist())
    zero = WIDTH * -found.low / (found.high - found.low)
    ends = (
        f'<text x="0" y="55">{_number(found.low)}</text>'
        f'<text x="{WIDTH}" y="55" text-anchor="end">{_number(found.high)}</text>'
    )
    if 0.2 < zero / WIDTH < 0.8:
        ends += f'<text x="{zero:.1f}" y="55" text-anchor="middle">0</text>'
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{what}: {text}"><title>{what}: {text}</title>'
        f'<path d="M0 {FLOOR}{steps}V{FLOOR}z" fill="{color}"/>'
        f'<path class="wb-layer-axis" d="M0 {FLOOR}H{WIDTH}M{zero:.1f} {TOP - 3}V{FLOOR + 3}"/>'
        f'<text x="{WIDTH}" y="8" text-anchor="end">{text}</text>{ends}</svg>'
    )


def moments(found: Distribution) -> str:
    """Mean ± standard deviation, rounded to the precision of the deviation."""
    if not (math.isfinite(found.mean) and math.isfinite(found.std)):
        return "not finite"
    if not 1e-4 < found.std < 1e5:
        return f"{_number(found.mean)} ± {_number(found.std)}"
    decimals = max(0, 1 - math.floor(math.log10(found.std)))
    mean = f"{round(found.mean, decimals) + 0.0:.{decimals}f}"  # no minus before a zero
    return f"{mean} ± {found.std:.{decimals}f}".replace("-", "−")


def _number(value: float) -> str:
    """Short, with a proper minus sign."""
    if not math.isfinite(value):
        return "not finite"
    text = f"{value:.0f}" if 100 <= abs(value) < 1e5 else f"{value:.2g}"
    return text.replace("-", "−")


def _share(value: float) -> str:
    """A percentage: 0%, <1%, 12%."""
    if math.isnan(value):
        return "–"
    return "<1%" if 0 < value < 0.01 else f"{100 * value:.0f}%"


# --- a plane ------------------------------------------------------------------------------------------------------------


def class_color(index: int) -> str:
    """The colour of a class."""
    return COLORS[index % (len(COLORS) - 1)]


def plane_png(boundary: Boundary, classes: int) -> bytes:
    """What a model answers over a plane as a PNG of SIDE x SIDE pixels, about 1 kB, transparent where it is undecided.

    The colour is that of the likeliest class, deeper with its probability; of a regression blue below the mean and red above,
    deeper up to two standard deviations. classes: how many there are, 0 for a regression.
    """
    colors = [class_color(index) for index in range(min(max(2, classes), len(COLORS) - 1))]
    hue, depth = boundary.shades(classes)
    pixels = hue % len(colors) * LEVELS + np.round(depth * (LEVELS - 1)).astype(np.int64)
    palette = b"".join(bytes.fromhex(color[1:]) * LEVELS for color in colors)
    opacity = bytes(round(255 * DEEPEST * level / (LEVELS - 1)) for level in range(LEVELS)) * len(colors)
    rows = np.zeros((SIDE, SIDE + 1), np.uint8)  # each row begins with the number of its filter, none
    rows[:, 1:] = pixels
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", palette), (b"tRNS", opacity), (b"IDAT", zlib.compress(rows.tobytes(), 6)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in (*chunks, (b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def points_drawn(count: int) -> slice:
    """Which of so many points are drawn: evenly spaced ones."""
    return slice(None, None, max(1, math.ceil(count / MOST_POINTS)))


def plane_frame(plane: Plane) -> str:
    """What lies over the picture of a plane and does not move: the points (training dots, validation rings) and the axes."""
    left, top, side = PLANE_BOX
    width, height = left + side + 12, top + side + 34
    marks = []
    for split, points in plane.points.items():
        some = points_drawn(len(points))
        x = left + side * (points[some, 0] - plane.low[0]) / (plane.high[0] - plane.low[0])
        y = top + side * (plane.high[1] - points[some, 1]) / (plane.high[1] - plane.low[1])
        colors = _point_colors(plane, plane.targets[split][some])
        for color in dict.fromkeys(colors):
            place = "".join(f"M{a:.0f} {b:.0f}h0" for a, b, own in zip(x, y, colors, strict=True) if own == color)
            marks.append(f'<path class="wb-plane-{split}" stroke="{color}" d="{place}"/>')
            if split == "validation":
                marks.append(f'<path class="wb-plane-hole" d="{place}"/>')
    axes = f'<rect class="wb-layer-axis" x="{left}" y="{top}" width="{side}" height="{side}"/>'
    for value in _ticks(plane.low[0], plane.high[0]):
        at = left + side * (value - plane.low[0]) / (plane.high[0] - plane.low[0])
        axes += f'<path class="wb-layer-axis" d="M{at:.1f} {top + side}v4"/>'
        axes += f'<text x="{at:.1f}" y="{top + side + 15}" text-anchor="middle">{_number(value)}</text>'
    for value in _ticks(plane.low[1], plane.high[1]):
        at = top + side * (plane.high[1] - value) / (plane.high[1] - plane.low[1])
        axes += f'<path class="wb-layer-axis" d="M{left - 4} {at:.1f}h4"/>'
        axes += f'<text x="{left - 7}" y="{at + 3.5:.1f}" text-anchor="end">{_number(value)}</text>'
    first, second = (html.escape(name) for name in plane.names)
    middle = top + side / 2
    axes += f'<text x="{left + side / 2}" y="{height - 4}" text-anchor="middle">{first}</text>'
    axes += f'<text transform="translate(10 {middle}) rotate(-90)" text-anchor="middle">{second}</text>'
    svg = f'<svg class="wb-plane-frame" width="{width}" height="{height}">{"".join(marks)}{axes}</svg>'
    return f'{svg}<div class="wb-plane-legend">{_legend(plane)}</div>'


def _legend(plane: Plane) -> str:
    """Which colour is which class, and which mark which split."""
    if plane.classes is None:
        keys = [(COLORS[0], "below the mean"), (COLORS[1], "above")]
    else:
        keys = [(class_color(index), label) for index, label in enumerate(plane.classes[:MOST_KEYS])]
    found = "".join(f'<i style="background: {color}"></i>{html.escape(label)} ' for color, label in keys)
    marks = "dots: training, rings: validation" if "validation" in plane.points else "dots: training"
    return f"{found}<span>{marks}</span>"


def _point_colors(plane: Plane, targets: NDArray[np.float64]) -> list[str]:
    if plane.classes is None:
        return [COLORS[1] if value > 0 else COLORS[0] for value in targets]
    return [class_color(int(value)) for value in targets]


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers between two."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= raw)
    first = math.ceil(low / step)
    return [index * step for index in range(first, math.floor(high / step) + 1)]
