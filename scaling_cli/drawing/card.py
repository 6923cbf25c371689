"""A result of a notebook as a card: its figure above its table; no script, no other file.

The figure's styles hold inside the card alone. A notebook says by an attribute or a class of its
page that it is dark; where nothing says so, the card is light.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from scaling_cli.drawing.figure import Figure
from scaling_cli.drawing.svg import figure_css, legend, to_svg
from scaling_cli.text import html

DARK = (
    "[data-jp-theme-light=false]",  # JupyterLab
    ".vscode-dark",
    ".dark",  # marimo
    "[data-md-color-scheme=slate]",  # pages of mkdocs-material
)
_STYLE = """
& { color-scheme: light; background: var(--paper); color: var(--ink); padding: .5rem .8rem;
  font: 14px/1.45 system-ui, sans-serif; }
:is(DARK) & { color-scheme: dark; }
.drawn { max-width: 40rem; }
.datum:hover { opacity: 1; stroke: var(--ink); }
ul.legend.legend { display: flex; }
.said { color: var(--soft); margin: .2rem 0 .6rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; }
td, th { padding: .1rem .6rem; text-align: right; white-space: nowrap; }
caption { text-align: left; padding: .1rem .6rem; max-width: 40rem; }
"""


def card(figure: Figure, table: str) -> str:
    """The figure, its caption, and a table that is HTML already."""
    drawn = figure.thinned()
    parts = to_svg(drawn, tips=True)
    name = f"{figure.name}-{sha256(parts.encode()).hexdigest()[:8]}"  # many cards stand on one page
    drawn = replace(drawn, name=name)
    return "\n".join(
        (
            f'<div class="scalefit-card"><style>.scalefit-card {{ {_style()} }}</style>',
            f'<div class="drawn"><strong id="{html(name)}-title">{html(drawn.title)}</strong>',
            to_svg(drawn, tips=True),
            f'<ul class="legend">{"".join(legend(drawn))}</ul>',
            f'<p class="said" id="{html(name)}-caption">{html(drawn.caption)}</p></div>',
            f'<div class="wide">{table}</div></div>',
        )
    )


def _style() -> str:
    own = _STYLE.replace("DARK", ", ".join(DARK))
    return figure_css().replace(":root", "&").replace("color-scheme: light dark; ", "") + own
