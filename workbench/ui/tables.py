"""Small tables and headings as HTML, for tabs."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import pandas as pd

__all__ = ["cell_text", "heading", "html_table"]

LONGEST = 40
"""Characters of a cell."""


def heading(text: str) -> str:
    """A heading in a tab; the text is escaped."""
    return f'<div class="wb-heading">{html.escape(text)}</div>'


def html_table(frame: pd.DataFrame, pale: Sequence[bool] | None = None, *, longest: int = LONGEST) -> str:
    """A DataFrame without its index; all text escaped.

    pale: the rows that do not stand out. longest: characters of a cell.
    """
    head = "".join(f'<th scope="col">{html.escape(str(name))}</th>' for name in frame)
    lines = []
    for index, row in enumerate(frame.itertuples(index=False, name=None)):
        css = ' class="wb-worse"' if pale is not None and pale[index] else ""
        cells = "".join(f"<td>{html.escape(cell_text(cell, longest))}</td>" for cell in row)
        lines.append(f"<tr{css}>{cells}</tr>")
    return f'<table class="wb-leaderboard"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def cell_text(value: Any, longest: int = LONGEST) -> str:
    """A value as a cell shows it: numbers with four digits, "" for a missing one, long text cut off."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
