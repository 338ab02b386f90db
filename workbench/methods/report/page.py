"""An HTML page that needs nothing but itself: its style and pictures are in the file."""

from __future__ import annotations

import html
from collections.abc import Sequence

__all__ = ["page"]

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Content security policy: the page loads nothing, whatever stands in it."""
STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --muted: #5c6370; --line: #d9dce1; --ground: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --muted: #a0a6b0; --line: #3a3f47; --ground: #17191c; } }
body { margin: 2rem auto; max-width: 64rem; padding: 0 1rem; color: var(--ink); background: var(--ground);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .3rem 0; } .note { color: var(--muted); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--muted); font-weight: 500; } .wb-heading { font-weight: 600; margin: .8rem 0 .2rem; }
pre { overflow-x: auto; padding: .8rem; border: 1px solid var(--line); border-radius: 4px; font-size: 13px; }
img { max-width: 100%; height: auto; background: #fff; } summary { cursor: pointer; color: var(--muted); }
"""


def page(title: str, lines: Sequence[str], sections: Sequence[tuple[str, str]]) -> str:
    """A page. lines: sentences below the title. sections: heading and HTML of each."""
    intro = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    body = "".join(
        f'<section><h2>{html.escape(heading)}</h2><div class="scroll">{content}</div></section>'
        for heading, content in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{html.escape(title)}</h1>\n{intro}\n{body}\n</body>\n</html>\n"
    )
